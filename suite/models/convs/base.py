"""What a message-passing layer is: it maps h to the rows that `op` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from suite.operators import EdgeList, Operators, rooted

THETA = 0.5  # GCNII's, as published


@dataclass
class Memory:
    """What layers may read besides h, kept by the model from layer to layer.

    Attributes:
        initial: H0, the state before the first layer, at the rows that this layer writes.
        hidden: the states before each layer so far, h last, at the rows that this layer reads; for layers that `read_past`.
        on_edges: the states that the layer before gave its edges, and those edges; for layers that have them.
        shared: what all layers of the model have in common (`Conv.shared`).
        alpha, theta: the share of H0, and how much layers transform; for layers that take them (GCNII).
    """

    initial: Tensor
    hidden: list[Tensor] = field(default_factory=list)
    on_edges: tuple[Tensor, EdgeList] | None = None
    shared: nn.Module | None = None
    alpha: float = 0.1
    theta: float = THETA

    def written(self, windows: Sequence[Operators], h: Tensor) -> None:
        """Add `h` to the states to be read, and bring the others to the rows that the layer of these windows wrote."""
        self.hidden = [*(rooted(earlier, windows) for earlier in self.hidden), h]


class Conv(nn.Module):
    """Base: `(in_channels, out_channels, index, bias)`: index counts layers from 0; bias is off before a BatchNorm.

    Attributes:
        operator: whose fixed space the layer smooths towards.
        stepwise: whether a layer is one step of it and no more: no gate, earlier state or farther shell beside.
        reads_past: whether it reads the states of earlier layers (`Memory.hidden`).
        by_distance: whether it has other weights for each distance up to `hops`.
        equal_widths: whether what it reads must be as wide as what it writes.
        on_edges: whether it hands edge states on (`Memory.on_edges`), so that all layers must have the same edges.
        activated: whether its output has been through an activation: the model then adds none.
        channel: the global channel it opens, as `Norm.channel`, where it has a norm inside.
    """

    operator: ClassVar[str] = "none"
    stepwise: ClassVar[bool] = True
    reads_past: ClassVar[bool] = False
    by_distance: ClassVar[bool] = False
    equal_widths: ClassVar[bool] = False
    on_edges: ClassVar[bool] = False
    activated: ClassVar[bool] = False
    channel: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__()

    @classmethod
    def shared(cls, _channels: int) -> nn.Module | None:
        """Return a module that all layers use together, for states of this width: the model owns it, once."""
        return None

    @classmethod
    def hops(cls, _index: int) -> int:
        """Return how many edges far a layer, numbered from 0, reads."""
        return 1

    @classmethod
    def reads_edges(cls) -> bool:
        """Return whether it reads any edge."""
        return cls.hops(0) > 0

    @classmethod
    def reach(cls, num_layers: int) -> int:
        """Return how far the output of `num_layers` layers can depend on an input, in hops."""
        return sum(map(cls.hops, range(num_layers)))

    @classmethod
    def not_adjacent(cls) -> str | None:
        """Return why the layer has no use for the edges of a complete graph, behind its name; None: it has."""
        if cls.on_edges:
            return "new edges do not have its states on edges"
        if cls.by_distance:
            return "all other nodes are at its first distance then"
        return None if cls.hops(0) else "it reads no neighbours"

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        raise NotImplementedError

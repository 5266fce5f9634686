"""What attention is: it maps h to the rows that `op` writes, and may read every node of the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from suite.models.encodings import Needs
from suite.operators import Operators


@dataclass
class Surroundings:
    """What attention may read besides h, kept by the model from layer to layer.

    Attributes:
        needs: the encodings that the model needs, by name.
        shared: what all layers of the model have in common (`Attention.shared`).
        virtual: the states of the virtual nodes of each graph, one row per graph; none before the first layer.
    """

    needs: dict[str, Tensor] = field(default_factory=dict)
    shared: nn.Module | None = None
    virtual: list[Tensor] = field(default_factory=list)


class Attention(nn.Module):
    """Base: `(channels, heads, index)`; index counts layers from 0.

    Attributes:
        channel: what it carries information through, as `Model.global_channel` names it.
        needs: the encodings that it always reads.
        reads_edges: whether it reads the edges that it runs on, as `Model.reads_edges` says.
        random: whether it draws random numbers while training.
    """

    channel: ClassVar[frozenset[str]] = frozenset({"attention"})
    needs: ClassVar[frozenset[str]] = frozenset()
    reads_edges: ClassVar[bool] = False
    random: ClassVar[bool] = False

    def __init__(self, channels: int, heads: int, index: int = 0) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"hidden_channels: must be a multiple of heads = {heads}, got {channels}")
        self.heads = heads

    @classmethod
    def needed(cls, _expander_degree: int) -> Needs:
        """Return `needs`, with the settings that they are to be made with."""
        return cls.needs

    @classmethod
    def shared(cls, _channels: int, _num_virtual_nodes: int) -> nn.Module | None:
        """Return a module that all layers use together, for states of this width: the model owns it, once."""
        return None

    def forward(self, h: Tensor, op: Operators, around: Surroundings) -> Tensor:
        raise NotImplementedError

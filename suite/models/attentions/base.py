"""What attention is: it maps h to the rows that `op` writes, and may read every node of the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from suite.operators import Operators


@dataclass
class Surroundings:
    """What attention may read besides h, kept by the model from layer to layer.

    Attributes:
        needs: the encodings that the model needs, by name.
    """

    needs: dict[str, Tensor] = field(default_factory=dict)


class Attention(nn.Module):
    """Base: `(channels, heads, index)`; index counts layers from 0.

    Attributes:
        channel: what it carries information through, as `Model.global_channel` names it.
        needs: the encodings that it always reads.
    """

    channel: ClassVar[frozenset[str]] = frozenset({"attention"})
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, channels: int, heads: int, index: int = 0) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"hidden_channels: must be a multiple of heads = {heads}, got {channels}")
        self.heads = heads

    def forward(self, h: Tensor, op: Operators, around: Surroundings) -> Tensor:
        raise NotImplementedError

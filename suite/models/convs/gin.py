"""Graph isomorphism network."""

from __future__ import annotations

from torch import Tensor

from suite.models.convs.base import Conv, Memory
from suite.models.layers import MLP
from suite.operators import Operators


class GIN(Conv):
    """MLP(h + sum of the neighbours), epsilon = 0 (1810.00826; twin of `GINConv`)."""

    operator = "sum"

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.mlp = MLP(in_channels, out_channels, out_channels, bias)

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        out: Tensor = self.mlp(op.root(h) + op.sum(h))
        return out

"""Graph convolution."""

from __future__ import annotations

from torch import Tensor

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear
from suite.operators import Operators


class GCN(Conv):
    """S h W + b, S the symmetrically normalised adjacency with self-loops (1609.02907; twin of `GCNConv`)."""

    operator = "gcn"

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lin = Linear(in_channels, out_channels, bias)

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        return self.lin.around(op.gcn, h)

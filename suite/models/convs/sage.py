"""GraphSAGE."""

from __future__ import annotations

from torch import Tensor

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear
from suite.operators import Operators


class SAGE(Conv):
    """W1 mean(h_neighbours) + b + W2 h (1706.02216; twin of `SAGEConv`)."""

    operator = "mean"

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lin_neighbour, self.lin_self = Linear(in_channels, out_channels, bias), Linear(in_channels, out_channels, bias=False)

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        out: Tensor = self.lin_neighbour.around(op.mean, h) + self.lin_self(op.root(h))
        return out

"""No edges at all."""

from __future__ import annotations

from torch import Tensor

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear
from suite.operators import Operators


class NodeWise(Conv):
    """h W + b: no edges at all, the graph-blind control."""

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lin = Linear(in_channels, out_channels, bias)

    @classmethod
    def hops(cls, _index: int) -> int:
        return 0

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        out: Tensor = self.lin(op.root(h))
        return out

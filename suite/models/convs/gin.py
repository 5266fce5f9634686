"""Graph isomorphism networks."""

from __future__ import annotations

from torch import Tensor

from suite.models.convs.base import Conv, Memory
from suite.models.layers import MLP, BatchNorm, Linear
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


class BatchNormGIN(Conv):
    """As GIN, with a BatchNorm behind each of the MLP's two maps: the layer of 2006.05205, whose last ReLU is the model's."""

    operator, channel = "sum", BatchNorm.channel

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.first, self.second = (Linear(width, out_channels, bias=False) for width in (in_channels, out_channels))
        self.first_norm, self.second_norm = BatchNorm(out_channels), BatchNorm(out_channels)  # with biases of their own

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        inner = self.first_norm(self.first(op.root(h) + op.sum(h)), op).relu_()
        out: Tensor = self.second_norm(self.second(inner), op)
        return out

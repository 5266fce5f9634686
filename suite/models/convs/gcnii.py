"""Graph convolution with initial residual and identity mapping."""

from __future__ import annotations

import math

from torch import Tensor

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear
from suite.operators import Operators


class GCNII(Conv):
    """((1-alpha) S h + alpha H0) ((1-beta) I + beta W), beta = ln(theta / l + 1) (2007.02133; twin of `GCN2Conv`).

    l = index + 1; alpha and theta are the model's (`Memory`); .1 and .5 are the published defaults.
    """

    operator = "gcn"
    stepwise, equal_widths = False, True

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        if in_channels != out_channels:
            raise ValueError(f"GCNII: needs equal widths behind an encoder, got {in_channels} to {out_channels} channels")
        self.number = index + 1
        self.lin = Linear(in_channels, out_channels, bias=False)

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        mixed = (1 - memory.alpha) * op.gcn(h) + memory.alpha * memory.initial
        beta = math.log(memory.theta / self.number + 1)
        out: Tensor = (1 - beta) * mixed + beta * self.lin(mixed)
        return out

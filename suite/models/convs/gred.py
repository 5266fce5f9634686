"""A state space over hops: a linear recurrence reads what stands at each distance, the farthest first."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear, per_replica
from suite.operators import Operators


class GRED(Conv):
    """Re(C s_0) + b, s_k = Lambda s_{k+1} + B x_k for k = 4 ... 0, s_5 = 0, x_k = S_k ReLU(W h + c), x_0 of the node itself.

    S_k links nodes exactly k hops apart, as in DRew; Lambda is diagonal and complex, |Lambda| = exp(-exp(decay)) < 1, so that one
    layer reads 4 hops by 4 powers of what it learns of one (2312.01538). A state space needs a sequence, and distance gives one
    on its own: renumbering nodes renumbers the output. Graph-Mamba (2402.00789) and others order the nodes of a graph by degree
    and ties by chance, and are equivariant in distribution only; for long chains the order would also be an answer.

    Differences: shells are weighed as GCN weighs neighbours (there: plain sums, which tell multisets apart, and explode); the map
    before the sum has one layer and that behind it is B alone; no gated unit, for norm, activation and skip are the stack's.
    |Lambda| begins as the radius of a uniform point in the unit disk, phases are uniform, as there.
    """

    operator = "gcn"
    stepwise = False
    num_hops = 4

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lin, self.enter = Linear(in_channels, out_channels), Linear(out_channels, 2 * out_channels, bias=False)
        self.leave = Linear(2 * out_channels, out_channels, bias)
        radius = torch.rand(out_channels).clamp(1e-3, 0.999).sqrt()
        self.decay, self.phase = nn.Parameter((-radius.log()).log()), nn.Parameter(2 * math.pi * torch.rand(out_channels))

    @classmethod
    def hops(cls, _index: int) -> int:
        return cls.num_hops

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        entered = self.enter(self.lin(h).relu())  # [..., real parts | imaginary parts]: B before S_k, once for all shells
        state = op.shell(entered, self.num_hops)
        for hops in range(self.num_hops - 1, -1, -1):
            state = self._turned(state) + (op.shell(entered, hops) if hops else op.root(entered))
        out: Tensor = self.leave(state)
        return out

    def _turned(self, state: Tensor) -> Tensor:
        """Return Lambda times the state."""
        radius = (-self.decay.exp()).exp()
        across, up = (per_replica(radius * part, 1, state) for part in (self.phase.cos(), self.phase.sin()))
        real, imaginary = state.chunk(2, -1)
        return torch.cat([across * real - up * imaginary, up * real + across * imaginary], dim=-1)

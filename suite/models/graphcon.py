"""Graph-coupled oscillators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.dynamics import Dynamics
from suite.models.layers import Linear
from suite.operators import Operators


class Step(nn.Module):
    """Y' = Y + dt (ReLU(S X W + b) - gamma X - alpha Y), X' = X + dt Y'; the state is [X | Y]."""

    def __init__(self, channels: int, dt: float, alpha: float, gamma: float) -> None:
        super().__init__()
        self.dt, self.alpha, self.gamma = dt, alpha, gamma
        self.lin = Linear(channels, channels)

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        place, speed = op.root(h).chunk(2, -1)
        force = self.lin.around(op.gcn, h.chunk(2, -1)[0].contiguous()).relu()
        speed = speed + self.dt * (force - self.gamma * place - self.alpha * speed)
        return torch.cat([place + self.dt * speed, speed], dim=-1)


class GraphCON(Dynamics):
    """GraphCON with GCN as the coupling: damped oscillators, driven by their neighbours (2202.02296).

    Y begins as X does, and the decoder reads X. With dt = alpha = gamma = 1 a step is X' = ReLU(S X W + b), a GCN, so by default
    the oscillators are not damped. (The paper tunes all three.)

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes; X and Y are `hidden_channels` wide each.
        dt: length of a step; alpha: damping; gamma: square of the frequency.
        shared: one set of weights for all layers, or one each, as in the paper.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        dt: float = 1.0,
        alpha: float = 0.0,
        gamma: float = 1.0,
        shared: bool = False,
    ) -> None:
        sizes = in_channels, hidden_channels, num_layers, out_channels
        super().__init__(*sizes, lambda: Step(hidden_channels, dt, alpha, gamma), shared, num_parts=2)

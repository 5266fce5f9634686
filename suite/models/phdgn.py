"""Port-Hamiltonian deep graph network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.dynamics import Dynamics
from suite.models.layers import Linear
from suite.operators import Operators


class Energy(nn.Module):
    """The gradient of sum over nodes and channels of log cosh(W h_v + (S h V)_v + b); it reads two hops, one a window."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.own, self.neighbours = Linear(channels, channels), Linear(channels, channels, bias=False)

    def forward(self, h: Tensor, first: Operators, second: Operators) -> Tensor:
        slope = (self.own(first.root(h)) + self.neighbours.around(first.gcn, h)).tanh()
        out: Tensor = second.root(slope) @ self.own.weight + second.gcn(slope) @ self.neighbours.weight
        return out


class Step(nn.Module):
    """p' = p - epsilon dH/dq(q), q' = q + epsilon dH/dp(p'), which keeps volumes; the state is [p | q]."""

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.kinetic, self.potential = Energy(channels), Energy(channels)

    def forward(self, h: Tensor, *windows: Operators) -> Tensor:
        first, second, third, fourth = windows
        p, q = second.root(first.root(h)).chunk(2, -1)
        p = p - self.epsilon * self.potential(h.chunk(2, -1)[1].contiguous(), first, second)
        q = fourth.root(third.root(q.contiguous())) + self.epsilon * self.kinetic(p, third, fourth)
        return torch.cat([fourth.root(third.root(p)), q], dim=-1)


class PHDGN(Dynamics):
    """PH-DGN's conservative part: symplectic Euler steps of H(p, q) = K(p) + U(q), which keep H up to O(epsilon) (2405.17163).

    K and U couple neighbours, so a step reads four hops: two for p, two more for q. p begins as q does, and the decoder reads
    both. Left out are dissipation and external force. The gradient takes S for its own transpose: on directed graphs, where it
    is not, H is not conserved (nor is it in the reference). Weights begin as Glorot's, biases at 0 (there uniform).

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes; p and q are `hidden_channels` wide each.
        epsilon: length of a step.
        shared: one set of weights for all layers, as in the paper, or one each.
    """

    hops = 4

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        epsilon: float = 0.1,
        shared: bool = True,
    ) -> None:
        sizes = in_channels, hidden_channels, num_layers, out_channels
        super().__init__(*sizes, lambda: Step(hidden_channels, epsilon), shared, num_parts=2, num_read=2)

"""Anti-symmetric deep graph network."""

from __future__ import annotations

from torch import Tensor, nn

from suite.models.dynamics import Antisymmetric, Dynamics
from suite.models.layers import Linear
from suite.operators import Operators


class Step(nn.Module):
    """h + epsilon tanh((W - W^T - gamma I) h + Phi(h) + b), Phi(h) = S h V with S as in GCN (twin of `AntiSymmetricConv`)."""

    def __init__(self, channels: int, epsilon: float, gamma: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.own = Antisymmetric(channels, gamma)
        self.neighbours = self._neighbours(channels)

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        root = op.root(h)
        out: Tensor = root + self.epsilon * (self.own(root) + self._received(h, op)).tanh()
        return out

    def _neighbours(self, channels: int) -> Linear:
        return Linear(channels, channels, bias=False)

    def _received(self, h: Tensor, op: Operators) -> Tensor:
        return self.neighbours.around(op.gcn, h)


class ADGN(Dynamics):
    """A-DGN: a node's own dynamics have imaginary eigenvalues, less gamma: its state is not forgotten (2210.09789).

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        epsilon: length of a step; gamma: decay. (The paper tries 1 to 0.001 for both; these are PyG's.)
        shared: one set of weights for all layers, as in the paper, or one each.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        epsilon: float = 0.1,
        gamma: float = 0.1,
        shared: bool = True,
    ) -> None:
        sizes = in_channels, hidden_channels, num_layers, out_channels
        super().__init__(*sizes, lambda: Step(hidden_channels, epsilon, gamma), shared)

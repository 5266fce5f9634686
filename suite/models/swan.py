"""Space-weight antisymmetric deep graph network."""

from __future__ import annotations

from torch import Tensor

from suite.models import adgn
from suite.models.dynamics import Antisymmetric, Dynamics
from suite.models.layers import Linear
from suite.operators import Operators


class Symmetric(Linear):
    """`h @ (W + W.T)`."""

    @property
    def matrix(self) -> Tensor:
        return self.weight + self.weight.mT


class Step(adgn.Step):
    """A-DGN's with Phi(h) = S h (V - V^T) + beta (P - P^T) h (Z + Z^T), P = D^-1 A: all of it is antisymmetric."""

    def __init__(self, channels: int, epsilon: float, gamma: float, beta: float) -> None:
        super().__init__(channels, epsilon, gamma)
        self.beta = beta
        self.across = Symmetric(channels, channels, bias=False)

    def _neighbours(self, channels: int) -> Linear:
        return Antisymmetric(channels, bias=False)

    def _received(self, h: Tensor, op: Operators) -> Tensor:
        return super()._received(h, op) + self.beta * self.across.around(lambda g: op.mean(g) - op.spread(g), h)


class SWAN(Dynamics):
    """SWAN: antisymmetric over nodes and channels together, so that a whole graph's state is not forgotten (2405.01009).

    S has self-loops (the paper's has none), which leaves it symmetric. On regular graphs, rings among them, P - P^T is 0, and
    with it the spatial term. On directed graphs P^T is over the edges that lead in, as S and P are: then only nearly so.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        epsilon: length of a step; gamma: decay; beta: weight of the spatial term. (The paper tries several of each.)
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
        beta: float = 0.5,
        shared: bool = True,
    ) -> None:
        sizes = in_channels, hidden_channels, num_layers, out_channels
        super().__init__(*sizes, lambda: Step(hidden_channels, epsilon, gamma, beta), shared)

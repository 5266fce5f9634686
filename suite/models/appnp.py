"""Predict, then propagate."""

from __future__ import annotations

from torch import Tensor

from suite.models.base import Model
from suite.models.layers import MLP, dropout
from suite.operators import Operators


class APPNP(Model):
    """Z0 = MLP(x), one row of outputs a node; then `num_layers` times Z <- (1 - alpha) S Z + alpha Z0 (1810.05997).

    Twin of PyG's `APPNP` behind an MLP. Outputs are what is propagated, so states are `out_channels` wide.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes; hidden_channels is the MLP's.
        alpha: probability of a walk to go back to where it began.
        dropout: probability of a zero in x, while training. (The paper also drops within the MLP, and edges at every step.)
    """

    operator = "gcn"

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        alpha: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.predict = MLP(in_channels, hidden_channels, out_channels)
        self.alpha, self.dropout, self.num_layers = alpha, dropout, num_layers
        self.reach, self.random = num_layers, dropout > 0

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        first = self.predict(dropout(x, self.dropout) if self.dropout and self.training else x)
        hidden = [first]
        for index in range(self.num_layers):
            layer = op.layer(index)
            first = layer.root(first)
            hidden.append((1 - self.alpha) * layer.gcn(hidden[-1]) + self.alpha * first)
        return hidden

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1]

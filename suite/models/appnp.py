"""Predict, then propagate."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from suite.models.convs import Memory
from suite.models.layered import Layered
from suite.models.layers import MLP, dropout
from suite.operators import Operators

RESTARTS = {"skip=initial": "which has an initial residual of its own: every state holds a share alpha of the first"}


class APPNP(Layered):
    """Z0 = MLP(x), one row of outputs a node; then `num_layers` times Z <- (1 - alpha) S Z + alpha Z0 (1810.05997).

    Twin of PyG's `APPNP` behind an MLP. Outputs are what is propagated, so states are `out_channels` wide.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes; hidden_channels is the MLP's.
        alpha: probability of a walk to go back to where it began.
        dropout: probability of a zero in x, while training. (The paper also drops within the MLP, and edges at every step.)
    """

    operator = "gcn"
    refuses = RESTARTS

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
        super().__init__([out_channels] * (num_layers + 1), out_channels)
        self.predict = MLP(in_channels, hidden_channels, out_channels)
        self.back, self.dropout, self.decoder = alpha, dropout, nn.Identity()
        self.reach, self.random = num_layers, dropout > 0

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        h = self.predict(dropout(x, self.dropout, self.training))
        return h, Memory(h)

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        return (1 - self.back) * windows[0].gcn(h) + self.back * memory.initial

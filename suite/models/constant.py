"""The answer that needs no question."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.base import Model
from suite.models.layers import per_replica
from suite.operators import Operators


class Constant(Model):
    """One learned output for all nodes of all graphs, whatever their features and edges: what the answers' frequencies give.

    `hidden_channels` and `num_layers` change nothing: the state, the output itself, is the same after every layer.
    """

    reads_edges = reads_features = False

    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.output = nn.Parameter(torch.zeros(out_channels))

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        hidden = [0 * x[..., :1] + per_replica(self.output, 1, x)]  # so that there are derivatives by x, and they are 0
        for index in range(self.num_layers):
            hidden.append(op.layer(index).root(hidden[-1]))
        return hidden

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1]

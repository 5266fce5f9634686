"""Propagation without weights between the steps: SGC, and what smoothing alone does to a task."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from suite.models.base import Model
from suite.models.layers import Linear
from suite.operators import Operators


class Propagation(Model):
    """S^L x, then one linear map: SGC (1902.07153; twin of `SGConv`).

    The model has no width: its states are as wide as x, and `hidden_channels` is not used, whatever a study gives.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        rescale: bring every row to length one before the linear map. That takes away what depth does to the size of features,
            so that only their direction is left to read (ours).
    """

    operator, skips, frozen = "gcn", "none", True

    def __init__(
        self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int, *, rescale: bool = True
    ) -> None:
        super().__init__()
        self.num_layers = self.reach = num_layers
        self.rescale = rescale
        self.decoder = Linear(in_channels, out_channels)

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        return list(self._steps(x, op))

    def last_state(self, x: Tensor, op: Operators, **needs: Tensor) -> Tensor:
        return deque(self._steps(x, op), maxlen=1).pop()

    def _steps(self, x: Tensor, op: Operators) -> Iterator[Tensor]:
        yield x
        for index in range(self.num_layers):
            x = op.layer(index).gcn(x)
            yield x

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.decoder(F.normalize(hidden[-1], dim=-1) if self.rescale else hidden[-1])
        return out

"""Propagation without weights between the steps: SGC, and what smoothing alone does to a task."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from suite.models.convs import Memory
from suite.models.layered import Layered
from suite.models.layers import Linear
from suite.operators import Operators

WEIGHED = (
    "skip=dense",
    "skip=gated",
    "virtual_node=True",
    *(f"norm={name}" for name in ("batch", "diff_group", "graph", "layer")),
)
UNWEIGHED = dict.fromkeys(WEIGHED, "which has no weights between its steps, where this would put some")


class Propagation(Layered):
    """S^L x, then one linear map: SGC (1902.07153; twin of `SGConv`).

    The model has no width: its states are as wide as x, and `hidden_channels` is not used, whatever a study gives.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        rescale: bring every row to length one before the linear map. That takes away what depth does to the size of features,
            so that only their direction is left to read (ours).
    """

    operator, skips, frozen = "gcn", "none", True
    refuses = UNWEIGHED

    def __init__(
        self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int, *, rescale: bool = True
    ) -> None:
        super().__init__([in_channels] * (num_layers + 1), out_channels)
        self.reach = num_layers
        self.rescale = rescale
        self.decoder = Linear(in_channels, out_channels)

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        return x, Memory(x)

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        return windows[0].gcn(h)

    def decode(self, hidden: list[Tensor]) -> Tensor:
        read = self.read(hidden)
        out: Tensor = self.decoder(F.normalize(read, dim=-1) if self.rescale else read)
        return out

"""Principal neighbourhood aggregation."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear, per_replica
from suite.operators import EdgeList, Operators

LEAST_VARIANCE = 1e-5  # below, the deviation is 0: its derivative has no end there


class PNA(Conv):
    """U [h_v | {1, s, 1/s} x {mean, min, max, std} over neighbours u of M [h_v | h_u]] (2004.05718).

    s = log(d_v + 1) / delta, delta the mean of log(d + 1) over the nodes of the first training batch, taken once while
    `calibrating` (cf. `DataNorm`) and fixed from then on; 1 before, and of graphs without edges. Twin of `PNAConv` with one
    tower, one layer before and one after the aggregation; its last map, there to mix towers, is left out: it would be a linear
    map behind a linear map.
    """

    operator = "mean"
    aggregators = ("mean", "min", "max")  # and std
    num_scalers = 3
    mean_log_degree: Tensor

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        aggregated = self.num_scalers * (len(self.aggregators) + 1) * in_channels
        self.lin_target, self.lin_source = Linear(in_channels, in_channels), Linear(in_channels, in_channels, bias=False)
        self.lin_out = Linear(in_channels + aggregated, out_channels, bias)
        self.register_buffer("mean_log_degree", torch.ones(()))
        self.calibrating = False

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        edges, root = op.edges(h), op.root(h)
        message = edges.source(self.lin_source(h)) + edges.target(self.lin_target(root))
        found = self._aggregated(edges, message)
        log_degree = (edges.count + 1).to(h.dtype).log()
        if self.calibrating and bool(log_degree.any()):  # without an edge there is nothing to scale
            self.mean_log_degree.copy_(log_degree.mean())
        usual = per_replica(self.mean_log_degree, 0, found)
        more, less = log_degree / usual, usual / log_degree.clamp(min=torch.log(log_degree.new_tensor(2.0)))
        out: Tensor = self.lin_out(torch.cat([root, found, found * more, found * less], dim=-1))
        return out

    def _aggregated(self, edges: EdgeList, message: Tensor) -> Tensor:
        """Return the aggregates [..., num_targets, 4 * channels], all 0 where no edge leads."""
        parts = [edges.reduce(message, how) for how in self.aggregators]
        variance = edges.reduce(message.square(), "mean") - parts[0].square()
        deviation = variance.clamp(min=LEAST_VARIANCE).sqrt()
        return torch.cat([*parts, deviation.masked_fill(variance <= LEAST_VARIANCE, 0.0)], dim=-1)

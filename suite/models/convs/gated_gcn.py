"""Gated graph convolution, with a state on every edge."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear, per_replica
from suite.operators import Operators


class GatedGCN(Conv):
    """A h_v + sum_u eta_vu * B h_u, with gates eta = sigmoid(e) / (sum_u sigmoid(e) + 1e-6) and edge states e (1711.07553).

    The gates see a = C e_vu + D h_v + E h_u, and the next layer finds e_vu + ReLU(a), as in 2003.00982 (its norms and skip are
    settings of the stack, and its edges have no norm). Edge states begin as one learned vector.
    """

    operator, on_edges = "mean", True

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lin_self, self.lin_source = Linear(in_channels, out_channels, bias), Linear(in_channels, out_channels)
        self.gate_target, self.gate_source = Linear(in_channels, out_channels), Linear(in_channels, out_channels, bias=False)
        if index:
            self.gate_edge = Linear(out_channels, out_channels, bias=False)
        else:
            self.first = nn.Parameter(torch.zeros(out_channels))

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        edges, root = op.edges(h), op.root(h)
        asked = edges.source(self.gate_source(h)) + edges.target(self.gate_target(root))
        if memory.on_edges is None:
            state = per_replica(self.first, 1, asked)
            asked = asked + state
        else:
            state = edges.carry(*memory.on_edges)
            asked = asked + self.gate_edge(state)
        gate = asked.sigmoid()
        received = edges.reduce(gate * edges.source(self.lin_source(h)))
        memory.on_edges = state + asked.relu(), edges
        out: Tensor = self.lin_self(root) + received / (edges.reduce(gate) + 1e-6)
        return out

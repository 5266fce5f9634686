"""Graph attention whose ranking of the neighbours may differ from node to node."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from suite.models.convs.base import Conv, Memory
from suite.models.convs.gat import score_matrix
from suite.models.layers import Linear, per_replica
from suite.operators import Operators


class GATv2(Conv):
    """sum_u alpha_vu W h_u + b, alpha the softmax over neighbours and self of a . LeakyReLU(W h_u + V h_v + c) (2105.14491).

    Twin of `GATv2Conv` with 4 heads side by side; a narrow last layer has one. PyG's third bias, of W, is left out: it would
    shift the scores as c does, and the output as b does.
    """

    operator = "mean"
    heads, slope = 4, 0.2

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        heads = self.heads if out_channels % self.heads == 0 else 1
        self.lin_source, self.lin_target = Linear(in_channels, out_channels, bias=False), Linear(in_channels, out_channels)
        self.att = nn.Parameter(torch.empty(heads, out_channels // heads))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.xavier_uniform_(self.att)

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        edges, heads = op.edges(h, loops=True), self.att.size(-2)
        value = edges.source(self.lin_source(h))  # [..., num_edges, heads * channels]
        asked = F.leaky_relu(value + edges.target(self.lin_target(op.root(h))), self.slope)
        share = edges.softmax(asked @ score_matrix(self.att)).unsqueeze(-1)
        message = rearrange(value, "... (h c) -> ... h c", h=heads) * share
        out = edges.reduce(rearrange(message, "... h c -> ... (h c)"))
        return out if self.bias is None else out + per_replica(self.bias, 1, out)

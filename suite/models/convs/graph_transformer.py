"""Attention along the edges of the graph."""

from __future__ import annotations

from torch import Tensor

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear, head_products, weigh_heads
from suite.operators import Operators


class GraphTransformer(Conv):
    """O sum_u alpha_vu V h_u + b, alpha the softmax over neighbours of <Q h_v, K h_u> / sqrt(d), d channels a head (2012.09699).

    4 heads, or one where the output is too narrow. As in the paper, Q, K and V have no bias, and the node itself is no neighbour
    of its own: its state comes back by the skip around the layer. Twin of `TransformerConv` without root weight, and O behind it.
    """

    operator = "mean"
    heads = 4

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.num_heads = self.heads if out_channels % self.heads == 0 else 1
        self.query, self.key, self.value = (Linear(in_channels, out_channels, bias=False) for _ in range(3))
        self.out = Linear(out_channels, out_channels, bias)

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        edges = op.edges(h)
        query, key, value = edges.target(self.query(op.root(h))), edges.source(self.key(h)), edges.source(self.value(h))
        share = edges.softmax(head_products(query, key, self.num_heads))
        out: Tensor = self.out(edges.reduce(weigh_heads(share, value)))
        return out

"""Attention along the edges of the graph, of an expander over its nodes, and to and from virtual nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.attentions.base import Attention, Surroundings
from suite.models.encodings import Needs
from suite.models.layers import Linear, head_products, per_replica, weigh_heads
from suite.operators import Operators

TO_VIRTUAL, FROM_VIRTUAL = 2, 3  # of the first virtual node, behind the two kinds of `suite.models.expander`; then the next's


class Kinds(nn.Module):
    """What the layers of an Exphormer have in common: a vector for each kind of edge, and each virtual node's first state."""

    def __init__(self, channels: int, num_virtual_nodes: int) -> None:
        super().__init__()
        self.num_virtual_nodes = num_virtual_nodes
        self.edges = nn.Parameter(torch.randn(2 + 2 * num_virtual_nodes, channels))
        self.virtual = nn.Parameter(torch.randn(num_virtual_nodes * channels))  # one behind the other


class ExpanderAttention(Attention):
    """O concat over heads of sum_u alpha_vu V h_u, alpha the softmax over u of <Q h_v, E e_vu * K h_u> / sqrt(d) (2303.06147).

    u are the nodes that `suite.models.expander` joins to v, and the virtual nodes; e_vu is learned for each kind of edge: of the
    graph, of the expander, from and to each virtual node. These read all nodes of their graph, not each other, by the same rule
    with the same weights, and what one reads is its next state, as in the authors' code. An edge of both kinds is here one of
    the graph alone.
    """

    channel = frozenset({"rewiring", "virtual_node"})
    reads_edges = True
    needs = frozenset({"expander"})

    def __init__(self, channels: int, heads: int, index: int = 0) -> None:
        super().__init__(channels, heads)
        self.query, self.key, self.value, self.kind = (Linear(channels, channels, bias=False) for _ in range(4))
        self.out = Linear(channels, channels)

    @classmethod
    def needed(cls, expander_degree: int) -> Needs:
        return {"expander": {"degree": expander_degree}}

    @classmethod
    def shared(cls, channels: int, num_virtual_nodes: int) -> nn.Module:
        return Kinds(channels, num_virtual_nodes)

    def forward(self, h: Tensor, op: Operators, around: Surroundings) -> Tensor:
        assert isinstance(around.shared, Kinds)
        kinds = self.kind(around.shared.edges)
        if not around.virtual:
            like = op.global_mean(h)
            first = per_replica(around.shared.virtual, 1, h).chunk(around.shared.num_virtual_nodes, -1)
            around.virtual = [state.expand_as(like) for state in first]
        key, value = self.key(h), self.value(h)
        read = self._nodes(self.query(op.root(h)), key, value, kinds, op, around)
        around.virtual = [
            self._virtual(self.query(state), key * _of(kinds, TO_VIRTUAL + 2 * number), value, op)
            for number, state in enumerate(around.virtual)
        ]
        out: Tensor = self.out(read)
        return out

    def _nodes(self, query: Tensor, key: Tensor, value: Tensor, kinds: Tensor, op: Operators, around: Surroundings) -> Tensor:
        """Return what the rows written read along edges, and from the virtual nodes, under one softmax."""
        pairs = around.needs["expander"]
        edges = op.edges_among(key, pairs > 0)
        kind = kinds.index_select(-2, pairs[pairs > 0][edges.number] - 1)
        score = head_products(edges.target(query), edges.source(key) * kind, self.heads)
        last = [
            head_products(query, op.to_nodes(self.key(state) * _of(kinds, FROM_VIRTUAL + 2 * number), query), self.heads)
            for number, state in enumerate(around.virtual)
        ]
        top = edges.reduce(score.detach(), "max")  # for the sake of exp alone
        for one in last:
            top = torch.maximum(top, one.detach())
        weight = (score - edges.target(top)).exp()
        total, read = edges.reduce(weight), edges.reduce(weigh_heads(weight, edges.source(value)))
        for one, state in zip(last, around.virtual, strict=True):
            final = (one - top).exp()
            total, read = total + final, read + weigh_heads(final, op.to_nodes(self.value(state), query))
        return weigh_heads(1 / total, read)

    def _virtual(self, query: Tensor, key: Tensor, value: Tensor, op: Operators) -> Tensor:
        """Return what a virtual node of each graph reads from its nodes: [..., graphs, channels]."""
        (keys, real), (values, _) = op.dense(key), op.dense(value)
        score = head_products(query.unsqueeze(-2), keys, self.heads)  # [..., graphs, nodes, heads]
        if real is not None:
            score = score.masked_fill(~real.unsqueeze(-1), -torch.inf)
        return weigh_heads(score.softmax(-2), values).sum(-2)


def _of(kinds: Tensor, kind: int) -> Tensor:
    """Return the vector of one kind of edge, to meet rows: [1, channels] or [replicas, 1, channels]."""
    return kinds[..., kind : kind + 1, :]

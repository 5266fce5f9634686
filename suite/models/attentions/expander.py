"""Attention along the edges of the graph, of an expander over its nodes, and to and from a virtual node."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.attentions.base import Attention, Surroundings
from suite.models.layers import Linear, head_products, per_replica, weigh_heads
from suite.operators import Operators

TO_VIRTUAL, FROM_VIRTUAL = 2, 3  # behind the two kinds of `suite.models.expander`


class Kinds(nn.Module):
    """What the layers of an Exphormer have in common: a vector for each kind of edge, and the virtual node's first state."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges, self.virtual = nn.Parameter(torch.randn(4, channels)), nn.Parameter(torch.randn(channels))


class ExpanderAttention(Attention):
    """O concat over heads of sum_u alpha_vu V h_u, alpha the softmax over u of <Q h_v, E e_vu * K h_u> / sqrt(d) (2303.06147).

    u are the nodes that `suite.models.expander` joins to v, and one virtual node; e_vu is learned for each kind of edge: of the
    graph, of the expander, from and to the virtual node. That reads all nodes of its graph by the same rule with the same
    weights, and what it reads is its next state, as in the authors' code. An edge of both kinds is here one of the graph alone.
    """

    channel = frozenset({"rewiring", "virtual_node"})
    reads_edges = True
    needs = frozenset({"expander"})

    def __init__(self, channels: int, heads: int, index: int = 0) -> None:
        super().__init__(channels, heads)
        self.query, self.key, self.value, self.kind = (Linear(channels, channels, bias=False) for _ in range(4))
        self.out = Linear(channels, channels)

    @classmethod
    def shared(cls, channels: int) -> nn.Module:
        return Kinds(channels)

    def forward(self, h: Tensor, op: Operators, around: Surroundings) -> Tensor:
        assert isinstance(around.shared, Kinds)
        kinds = self.kind(around.shared.edges)
        if around.virtual is None:
            first = per_replica(around.shared.virtual, 1, h)
            around.virtual = first.expand_as(op.global_mean(h))
        key, value = self.key(h), self.value(h)
        read = self._nodes(self.query(op.root(h)), key, value, kinds, op, around)
        around.virtual = self._virtual(self.query(around.virtual), key * _of(kinds, TO_VIRTUAL), value, op)
        out: Tensor = self.out(read)
        return out

    def _nodes(self, query: Tensor, key: Tensor, value: Tensor, kinds: Tensor, op: Operators, around: Surroundings) -> Tensor:
        """Return what the rows written read along edges, and from the virtual node, under one softmax."""
        pairs, virtual = around.needs["expander"], around.virtual
        edges = op.edges_among(key, pairs > 0)
        kind = kinds.index_select(-2, pairs[pairs > 0][edges.number] - 1)
        score = head_products(edges.target(query), edges.source(key) * kind, self.heads)
        last = head_products(query, op.to_nodes(self.key(virtual) * _of(kinds, FROM_VIRTUAL), query), self.heads)
        top = torch.maximum(edges.reduce(score.detach(), "max"), last.detach())  # for the sake of exp alone
        weight, final = (score - edges.target(top)).exp(), (last - top).exp()
        total = edges.reduce(weight) + final
        read = edges.reduce(weigh_heads(weight, edges.source(value))) + weigh_heads(
            final, op.to_nodes(self.value(virtual), query)
        )
        return weigh_heads(1 / total, read)

    def _virtual(self, query: Tensor, key: Tensor, value: Tensor, op: Operators) -> Tensor:
        """Return what the virtual node of each graph reads from its nodes: [..., graphs, channels]."""
        (keys, real), (values, _) = op.dense(key), op.dense(value)
        score = head_products(query.unsqueeze(-2), keys, self.heads)  # [..., graphs, nodes, heads]
        if real is not None:
            score = score.masked_fill(~real.unsqueeze(-1), -torch.inf)
        return weigh_heads(score.softmax(-2), values).sum(-2)


def _of(kinds: Tensor, kind: int) -> Tensor:
    """Return the vector of one kind of edge, to meet rows: [1, channels] or [replicas, 1, channels]."""
    return kinds[..., kind : kind + 1, :]

"""Attention among all nodes that weighs neighbours and others apart."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from suite.models.attentions.base import Attention, Surroundings
from suite.models.layers import Linear
from suite.operators import Operators


class SANAttention(Attention):
    """O concat over heads of (1 / (1 + gamma)) sum_u a_vu V h_u over neighbours u + (gamma / (1 + gamma)) the same over others.

    a is the softmax of <Q h_v, K h_u> / sqrt(d) over the neighbours, and another with another Q and K over the nodes that no edge
    joins to v (2106.03893). v is neither, unless it has a loop; where there are none of a kind, that part is 0. The authors' code
    divides both kinds by one common sum, and clamps logits to 5; the paper's equation, with a sum for each, is what is here. Its
    vectors for kinds of edges scale K where edges have no features, and are left out, as is its learned encoding of Laplacian
    eigenvectors, for encodings are the suite's to give. gamma = 0.1 (theirs is chosen for each data set).
    """

    reads_edges = True
    needs = frozenset({"joined"})
    gamma = 0.1

    def __init__(self, channels: int, heads: int, index: int = 0) -> None:
        super().__init__(channels, heads)
        self.query, self.key, self.other_query, self.other_key, self.value = (
            Linear(channels, channels, bias=False) for _ in range(5)
        )
        self.out = Linear(channels, channels)

    def forward(self, h: Tensor, op: Operators, around: Surroundings) -> Tensor:
        joined = op.arrange_pairs(around.needs["joined"]).unsqueeze(-3)  # for every head
        near = self._shares(self.query(h), self.key(h), joined == 1, op)
        far = self._shares(self.other_query(h), self.other_key(h), joined == 0, op)
        values = self._by_head(op.dense(self.value(h))[0])
        read = (near + self.gamma * far) @ values / (1 + self.gamma)
        out: Tensor = self.out(op.flat(rearrange(read, "... h n c -> ... n (h c)")))
        return out

    def _shares(self, query: Tensor, key: Tensor, among: Tensor, op: Operators) -> Tensor:
        """Return the softmax of query and key among the pairs that are so, 0 elsewhere: [..., graphs, heads, n_out, n]."""
        q, k = self._by_head(op.dense_root(query)), self._by_head(op.dense(key)[0])
        logits = (q * q.size(-1) ** -0.5) @ k.mT
        lowest = torch.finfo(logits.dtype).min  # unlike -inf it leaves rows without any pair finite
        shares: Tensor = logits.masked_fill(~among, lowest).softmax(-1) * among
        return shares

    def _by_head(self, rows: Tensor) -> Tensor:
        return rearrange(rows, "... n (h c) -> ... h n c", h=self.heads)

"""Attention among all nodes at linear cost by a kernel of random features, with Gumbel noise, and a bias for edges."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from suite.models.attentions.base import Attention, Surroundings
from suite.models.attentions.performer import orthogonal
from suite.models.layers import Linear, per_replica
from suite.operators import Operators


class NodeFormerAttention(Attention):
    """O concat over heads of sum_u w_vu v_u + sigmoid(b) (S v)_v, w_vu ~ phi(q_v).phi(k_u) exp(g_u / tau) (2306.08385).

    phi(q) = exp(W q - |q|^2 / 2 - top) + 1e-6 at q / sqrt(tau sqrt(d)), top the largest entry of W q: of a query its own, of keys
    that of the graph, as in the authors' code. So phi(q).phi(k) estimates exp(q.k / (tau sqrt(d))) up to a factor that cancels,
    where the 1e-6 do not count. W has 30 rows, orthogonal in blocks of d, of the lengths that normal ones have, and tau is 0.25.

    While training, g_u are Gumbel noise, and the mean over 10 draws is returned; in eval mode they are 0: the same kernel without
    noise, as the authors evaluate. Differences: W is drawn once for each layer (theirs anew at every call, from a seed that the
    queries make, which no replica and no gradient could follow); heads share the width; S v is GCN's propagation, loops included,
    the relational bias of first order; and there is no loss that asks edges to have weight.
    """

    random, reads_edges = True, True
    num_features, num_samples, tau, epsilon = 30, 10, 0.25, 1e-6
    projection: Tensor

    def __init__(self, channels: int, heads: int, index: int = 0) -> None:
        super().__init__(channels, heads)
        self.query, self.key, self.value, self.out = (Linear(channels, channels) for _ in range(4))
        self.edge_bias = nn.Parameter(torch.full((heads,), 0.1))
        width = channels // heads
        length = torch.randn(self.num_features, width).norm(dim=1, keepdim=True)
        self.register_buffer("projection", length * orthogonal(self.num_features, width))

    def forward(self, h: Tensor, op: Operators, around: Surroundings) -> Tensor:
        value = self.value(h)
        query, (key, real), (values, _) = op.dense_root(self.query(h)), op.dense(self.key(h)), op.dense(value)
        read = self._attend(self._queries(query), self._keys(key, real), self._by_head(values))
        share = self.edge_bias.sigmoid().repeat_interleave(value.size(-1) // self.heads, dim=-1)
        along_edges = op.gcn(value) * per_replica(share, 1, value)
        out: Tensor = self.out(op.flat(rearrange(read, "... h n c -> ... n (h c)")) + along_edges)
        return out

    def _queries(self, query: Tensor) -> Tensor:
        """Return phi of queries [..., graphs, nodes, heads * d]: [..., graphs, heads, nodes, num_features]."""
        logits, half = self._logits(query)
        return (logits - half - logits.amax(-1, keepdim=True)).exp() + self.epsilon

    def _keys(self, key: Tensor, real: Tensor | None) -> Tensor:
        """Return phi of keys as of queries, 0 for padding; while training times the noise, each draw along a new first axis."""
        logits, half = self._logits(key)
        shut = None if real is None else ~real[:, None, :, None]
        seen = logits if shut is None else logits.masked_fill(shut, -torch.inf)
        features = (logits - half - seen.amax((-2, -1), keepdim=True)).exp() + self.epsilon
        if shut is not None:
            features = features.masked_fill(shut, 0)
        if not self.training:
            return features
        noise = _gumbel((self.num_samples, *features.shape[:-1], 1), features) / self.tau
        return features * (noise - noise.amax(-2, keepdim=True)).exp()  # what all keys have in common cancels

    def _logits(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return W q and |q|^2 / 2 of each head, q scaled: [..., graphs, heads, nodes, num_features] and [..., 1]."""
        q = self._by_head(rows)
        q = q * (self.tau * q.size(-1) ** 0.5) ** -0.5
        return q @ per_replica(self.projection, 2, q).mT, q.square().sum(-1, keepdim=True) / 2

    def _by_head(self, rows: Tensor) -> Tensor:
        return rearrange(rows, "... n (h c) -> ... h n c", h=self.heads)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        read = query @ (key.mT @ value) / (query @ key.sum(-2, keepdim=True).mT)
        return read.mean(0) if self.training else read


def _gumbel(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return -torch.empty(shape, dtype=like.dtype, device=like.device).exponential_().log()

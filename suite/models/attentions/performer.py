"""Attention whose cost is linear in the nodes: a kernel of random features in place of the softmax."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from suite.models.attentions.base import Attention, Surroundings
from suite.models.layers import Linear, per_replica
from suite.operators import Operators


class PerformerAttention(Attention):
    """O concat over heads of sum_u phi(q_v).phi(k_u) v_u / sum_u phi(q_v).phi(k_u), phi(q) = ReLU(W q) + .001 (2009.14794).

    The rows of W are d log d random directions for d channels a head, orthogonal in blocks of d, drawn once. Twin of
    `PerformerAttention` with its default kernel: the ReLU one of the paper, not the positive features that approach the
    softmax. Weights never get sharp: it reads averages. Unlike the twin, padding does not count in the sum below.
    """

    projection: Tensor
    epsilon = 1e-3

    def __init__(self, channels: int, heads: int, index: int = 0) -> None:
        super().__init__(channels, heads)
        width = channels // heads
        num_features = int(width * math.log(width))
        if not num_features:
            raise ValueError(f"hidden_channels: performer needs 2 a head, got {channels} for {heads} heads")
        self.query, self.key, self.value = (Linear(channels, channels, bias=False) for _ in range(3))
        self.out = Linear(channels, channels)
        self.register_buffer("projection", orthogonal(num_features, width))

    def forward(self, h: Tensor, op: Operators, around: Surroundings) -> Tensor:
        query, key = self._features(self.query(h)), self._features(self.key(h))
        out: Tensor = self.out(op.attend_linearly(query, key, self.value(h), self.heads))
        return out

    def _features(self, q: Tensor) -> Tensor:
        """Map [..., rows, heads * d] to [..., rows, heads * num_features]."""
        by_head = rearrange(q, "... (h c) -> ... h c", h=self.heads)
        return ((by_head @ per_replica(self.projection, 2, by_head).mT).relu() + self.epsilon).flatten(-2)


def orthogonal(num_rows: int, num_columns: int) -> Tensor:
    """Return random unit rows, orthogonal in blocks of `num_columns`, every direction as likely as any other."""
    found = [torch.linalg.qr(torch.randn(num_columns, num_columns)) for _ in range(-(-num_rows // num_columns))]
    blocks = [q.T * r.diagonal().sign().unsqueeze(1) for q, r in found]  # QR alone decides on a sign, and directions lean one way
    return torch.cat(blocks)[:num_rows]

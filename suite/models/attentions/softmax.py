"""Softmax attention among all nodes of a graph, and what it may know of each pair of nodes."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from suite.models.attentions.base import Attention, Surroundings
from suite.models.encodings import PAIR_CHANNELS
from suite.models.layers import MLP, Linear
from suite.operators import Operators


class DistanceBias(nn.Module):
    """A learned bias per head and hop distance, as Graphormer's (2106.05234).

    Distances 0 ... buckets - 3 have one each, farther nodes share one, and nodes that no path joins share the last.
    """

    def __init__(self, buckets: int, heads: int) -> None:
        super().__init__()
        if buckets < 3:
            raise ValueError(f"distance_buckets: must be >= 3 (the node itself, other nodes, no path), got {buckets}")
        self.table = nn.Parameter(torch.zeros(buckets, heads))

    def forward(self, hops: Tensor) -> Tensor:
        """Map hops [graphs or 1, n, m] to biases [replicas or 1, graphs or 1, n, m, heads]."""
        buckets = self.table.size(-2)
        bucket = torch.where(hops < 0, buckets - 1, hops.clamp(max=buckets - 2))
        table = self.table if self.table.dim() == 3 else self.table.unsqueeze(0)
        return rearrange(table[:, bucket.flatten()], "r (g n m) h -> r g n m h", g=hops.size(0), n=hops.size(1), m=hops.size(2))


class FeatureBias(nn.Module):
    """A bias per head from continuous features of the pair, by an MLP with 32 hidden units."""

    width = 32

    def __init__(self, pair_channels: int, heads: int) -> None:
        super().__init__()
        self.mlp = MLP(pair_channels, self.width, heads, bias=False)  # which would shift all logits of a node

    def forward(self, features: Tensor) -> Tensor:
        """Map features [graphs or 1, n, m, k] to biases [replicas or 1, graphs or 1, n, m, heads]."""
        flat, weight = features.flatten(0, 2), self.mlp.first.weight
        flat = flat.to(weight.dtype).expand(weight.size(0) if weight.dim() == 3 else 1, -1, -1)
        return self.mlp(flat).unflatten(1, features.shape[:3])  # type: ignore[no-any-return]


# What a bias may depend on besides none, and the encoding that it reads.
PAIR_BIASES = {"spd": "hop_distance", "rrwp": "rrwp", "resistance": "resistance"}


def bias_reach(pair_bias: str, distance_buckets: int) -> int | None:
    """Return up to how many hops apart such a bias tells distances from each other, as `Model.pe_reach` says."""
    last_of_its_own = distance_buckets - 3  # the distances beyond share one, and what no path joins has one
    return {"none": 0, "spd": last_of_its_own, "rrwp": PAIR_CHANNELS["rrwp"] - 1}.get(pair_bias)


class SoftmaxAttention(Attention):
    """O concat over heads of softmax(q k^T / sqrt(d) + bias) v (1706.03762; twin of `MultiheadAttention`).

    The bias depends on what `pair_bias` names of a pair of nodes: none, spd, by `DistanceBias` with so many buckets, or rrwp or
    resistance, by `FeatureBias`.
    """

    def __init__(self, channels: int, heads: int, index: int = 0, pair_bias: str = "none", distance_buckets: int = 40) -> None:
        super().__init__(channels, heads)
        self.query, self.value, self.out = (Linear(channels, channels) for _ in range(3))
        self.key = Linear(channels, channels, bias=False)  # one would add the same to all logits of a node: no effect
        self.pairs = PAIR_BIASES.get(pair_bias, "")
        self.bias: DistanceBias | FeatureBias | None = None
        if pair_bias == "spd":
            self.bias = DistanceBias(distance_buckets, heads)
        elif self.pairs:
            self.bias = FeatureBias(PAIR_CHANNELS[self.pairs], heads)

    def forward(self, h: Tensor, op: Operators, around: Surroundings) -> Tensor:
        bias = None if self.bias is None else self.bias(op.arrange_pairs(around.needs[self.pairs]))
        read = op.attend_all(self.query(op.root(h)), self.key(h), self.value(h), self.heads, bias)
        out: Tensor = self.out(read)
        return out

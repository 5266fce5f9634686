"""Graph transformers: every node attends to every node of its graph; a local channel and a distance bias are settings."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from suite.models.base import Model
from suite.models.convs import CONVS, Memory
from suite.models.layers import MLP, Linear, dropout, find_norm, make_norm
from suite.operators import Operators


class Attention(nn.Module):
    """Multi-head attention among the nodes of a graph; with `buckets`, a learned bias per head and hop distance.

    The bias is Graphormer's (2106.05234): distances 0 ... buckets - 3 have one each, farther nodes share one, and nodes
    that no path joins share the last.
    """

    def __init__(self, channels: int, heads: int, buckets: int = 0) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"hidden_channels: must be a multiple of heads = {heads}, got {channels}")
        self.heads, self.buckets = heads, buckets
        self.query, self.value, self.out = (Linear(channels, channels) for _ in range(3))
        self.key = Linear(channels, channels, bias=False)  # one would add the same to all logits of a node: no effect
        if buckets:
            self.bias = nn.Parameter(torch.zeros(buckets, heads))

    def forward(self, h: Tensor, op: Operators, hop_distance: Tensor | None) -> Tensor:
        bias = None if hop_distance is None else self._bias(op.arrange_pairs(hop_distance))
        read = op.attend_all(self.query(op.root(h)), self.key(h), self.value(h), self.heads, bias)
        out: Tensor = self.out(read)
        return out

    def _bias(self, hops: Tensor) -> Tensor:
        """Map hops [graphs or 1, n, m] to biases [replicas or 1, graphs or 1, n, m, heads]."""
        bucket = torch.where(hops < 0, self.buckets - 1, hops.clamp(max=self.buckets - 2))
        table = self.bias if self.bias.dim() == 3 else self.bias.unsqueeze(0)
        return rearrange(table[:, bucket.flatten()], "r (g n m) h -> r g n m h", g=hops.size(0), n=hops.size(1), m=hops.size(2))


class Block(nn.Module):
    """norm(h + conv(h)) + norm(h + attention(h)), then norm(h + MLP(h)), as in GPS (2205.12454; twin of `GPSConv`).

    Without a local channel the first term is left out: a post-norm transformer block.
    """

    def __init__(
        self, channels: int, heads: int, conv: str, norm: str, buckets: int, mlp_channels: int, dropout: float, index: int
    ) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(channels, heads, buckets), make_norm(norm, channels)
        self.conv = CONVS[conv](channels, channels, index) if conv != "none" else None
        self.conv_norm = make_norm(norm if conv != "none" else "none", channels)
        self.mlp, self.mlp_norm = MLP(channels, mlp_channels, channels), make_norm(norm, channels)
        self.dropout = dropout

    def forward(self, h: Tensor, op: Operators, memory: Memory, hop_distance: Tensor | None) -> Tensor:
        root = op.root(h)  # added in place: sums as large as h would wait for memory
        out: Tensor = self.attention_norm(self._drop(self.attention(h, op, hop_distance)).add_(root), op)
        if self.conv is not None:
            out = self.conv_norm(self._drop(self.conv(h, op, memory)).add_(root), op).add_(out)
        result: Tensor = self.mlp_norm(self._drop(self.mlp(out)).add_(out), op)
        return result

    def _drop(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout) if self.dropout and self.training else h


class Transformer(Model):
    """Encoder, `num_layers` transformer blocks, decoder.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        heads: attention heads; must divide hidden_channels.
        conv: local channel beside the attention, as in `Stack`, or none.
        mlp_channels: inner width of the blocks' MLPs; None: twice hidden_channels.
        distance_buckets: 0, or the number of learned hop-distance biases per head (distances beyond are not told apart).
        norm: as in `Stack`.
        dropout: after attention, convolution and MLP, while training.
    """

    version = 2

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        heads: int = 4,
        conv: str = "none",
        mlp_channels: int | None = None,
        distance_buckets: int = 0,
        norm: str = "layer",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if conv != "none" and conv not in CONVS:
            raise ValueError(f"conv: must be none or one of {', '.join(CONVS)}; got '{conv}'")
        inner = 2 * hidden_channels if mlp_channels is None else mlp_channels
        self.encoder = MLP(in_channels, hidden_channels, hidden_channels)
        self.blocks = nn.ModuleList(
            Block(hidden_channels, heads, conv, norm, distance_buckets, inner, dropout, i) for i in range(num_layers)
        )
        self.reads_past = conv != "none" and CONVS[conv].reads_past
        self.shared = CONVS[conv].shared(hidden_channels) if conv != "none" else None
        self.decoder = Linear(hidden_channels, out_channels)
        self.width_multiple = math.lcm(heads, getattr(CONVS.get(conv), "heads", 1))
        self.needs = frozenset({"hop_distance"} if distance_buckets else ())
        self.global_channel = frozenset({"attention"}) | find_norm(norm).channel
        self.operator, self.reach, self.random = "complete", None, dropout > 0

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        h = self.encoder(x)
        hidden, memory = [h], Memory(h, [h], shared=self.shared)
        for index, block in enumerate(self.blocks):
            layer = op.layer(index)
            memory.initial = layer.root(memory.initial)
            h = block(h, layer, memory, needs.get("hop_distance"))
            if self.reads_past:
                memory.written(layer, h)
            hidden.append(h)
        return hidden

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.decoder(hidden[-1])
        return out

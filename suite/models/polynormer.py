"""Polynormer: products of a node's own map and what it reads, along edges first, then at linear cost from all nodes."""

from __future__ import annotations

import math

from torch import Tensor, nn

from suite.models.base import Model
from suite.models.convs import CONVS, Conv, Memory
from suite.models.layers import MLP, LayerNorm, Linear, dropout, find_norm, make_norm
from suite.operators import Operators


class LocalLayer(nn.Module):
    """x = ReLU(norm(conv(h) + h W)), then (1 - beta) LayerNorm(ReLU(h V) * x) + beta x: degree two in h, layer by layer."""

    def __init__(self, channels: int, conv: Conv, norm: str, beta: float, dropout: float) -> None:
        super().__init__()
        self.conv, self.norm, self.product_norm = conv, make_norm(norm, channels), LayerNorm(channels)
        self.own = Linear(channels, channels, not find_norm(norm).centres)
        self.gate = Linear(channels, channels)
        self.beta, self.dropout = beta, dropout

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        root = op.root(h)
        x = self.norm(self.conv(h, op, memory) + self.own(root), op).relu()
        x = dropout(x, self.dropout) if self.dropout and self.training else x
        product: Tensor = self.product_norm(self.gate(root).relu() * x, op)
        return (1 - self.beta) * product + self.beta * x


class GlobalLayer(nn.Module):
    """ReLU((LayerNorm(attend(h)) * (h V + beta)) W + b), attention linear in the nodes with sigmoids of queries and keys.

    Twin of `PolynormerAttention`, whose heads lie otherwise among the channels; `epsilon`, as there, is added to the sum of the
    weights.
    """

    epsilon = 1e-6

    def __init__(self, channels: int, heads: int, beta: float, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (Linear(channels, channels, bias=False) for _ in range(3))
        self.gate, self.norm, self.out = Linear(channels, channels), LayerNorm(channels), Linear(channels, channels)
        self.heads, self.beta, self.dropout = heads, beta, dropout

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        read = op.attend_linearly(self.query(h).sigmoid(), self.key(h).sigmoid(), self.value(h), self.heads, self.epsilon)
        out: Tensor = self.out(self.norm(read, op) * (self.gate(op.root(h)) + self.beta)).relu()
        return dropout(out, self.dropout) if self.dropout and self.training else out


class Polynormer(Model):
    """Encoder, `num_layers` local layers, `global_layers` layers of attention on the sum of their states, decoder (2403.01232).

    Twin of PyG's `Polynormer`, behind an encoder. State l is that after l local layers; the last one is what the layers of
    attention make of LayerNorm(x_1 + ... + x_L). Differences: the authors first train the local layers alone, here all are
    trained together; GAT has a loop at each node (theirs has none; h W is there in both). beta is fixed, as in PyG; the
    authors may learn it.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        heads: of the global attention; must divide hidden_channels. (Authors and PyG give each head hidden_channels.)
        conv: of the local layers, as in `Stack`: in the paper GAT, whose default of one head is taken here, or gcn.
        global_layers: of attention; 0: local layers alone, a message-passing model. Without local ones there is nothing to read.
        beta: the share of x in local layers, and what is added to the gate in global ones.
        norm: of the local layers, as in `Stack`.
        mlp_channels: inner width of the encoder; None: hidden_channels.
        dropout: after each layer, while training (PyG: 0.5).
    """

    version = 2

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        heads: int = 1,
        conv: str = "gat_one_head",
        global_layers: int = 2,
        beta: float = 0.9,
        norm: str = "batch",
        mlp_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if conv not in CONVS:
            raise ValueError(f"conv: must be one of {', '.join(CONVS)}; got '{conv}'")
        if hidden_channels % heads:
            raise ValueError(f"hidden_channels: must be a multiple of heads = {heads}, got {hidden_channels}")
        global_layers = global_layers if num_layers else 0
        width = hidden_channels
        self.encoder = MLP(in_channels, mlp_channels or width, width)
        self.local_layers = nn.ModuleList(
            LocalLayer(width, CONVS[conv](width, width, index, False), norm, beta, dropout) for index in range(num_layers)
        )
        self.shared = CONVS[conv].shared(width)
        self.norm = LayerNorm(width) if global_layers else None
        self.global_layers = nn.ModuleList(GlobalLayer(width, heads, beta, dropout) for _ in range(global_layers))
        self.decoder = Linear(width, out_channels)
        self.width_multiple = math.lcm(heads, getattr(CONVS[conv], "heads", 1))
        self.global_channel = find_norm(norm).channel | CONVS[conv].channel | ({"attention"} if global_layers else set())
        self.operator = "complete" if global_layers else CONVS[conv].operator
        self.reach = None if self.global_channel - {"norm(train)"} else CONVS[conv].reach(num_layers)
        self.layer_hops = (*map(CONVS[conv].hops, range(num_layers)), *[0] * global_layers)
        self.random, self.reads_edges = dropout > 0, CONVS[conv].reads_edges()

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        h = self.encoder(x)
        hidden, memory = [h], Memory(h, [h], shared=self.shared)
        total: Tensor | None = None
        for index, local in enumerate(self.local_layers):
            layer = op.layer(index)
            memory.initial = layer.root(memory.initial)
            h = local(h, layer, memory)
            memory.written(layer, h)
            total = h if total is None else layer.root(total) + h
            hidden.append(h)
        if total is None:
            return hidden
        for index, attend in enumerate(self.global_layers):
            layer = op.layer(len(self.local_layers) + index)
            total = attend(total if index or self.norm is None else self.norm(total, layer), layer)
        return [*hidden[:-1], total]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.decoder(hidden[-1])
        return out

"""Polynormer: products of a node's own map and what it reads, along edges first, then at linear cost from all nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from suite.models.convs import CONVS, Conv, Memory
from suite.models.layered import Layered
from suite.models.layers import MLP, LayerNorm, Linear, dropout, find_norm, make_norm
from suite.operators import Operators, rooted


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


@dataclass(kw_only=True)
class Summed(Memory):
    """And the sum of the states after each local layer so far."""

    total: Tensor | None = None


class Polynormer(Layered):
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
        super().__init__([hidden_channels] * (num_layers + 1), out_channels)
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
        reason = CONVS[conv].not_adjacent()
        self.not_adjacent = reason and f"with conv = {conv}: {reason}"
        self.reads_past = CONVS[conv].reads_past
        self.width_multiple = math.lcm(heads, getattr(CONVS[conv], "heads", 1))
        self.global_channel = find_norm(norm).channel | CONVS[conv].channel | ({"attention"} if global_layers else set())
        self.operator = "complete" if global_layers else CONVS[conv].operator
        self.reach = None if self.global_channel - {"norm(train)"} else CONVS[conv].reach(num_layers)
        self.layer_hops = (*map(CONVS[conv].hops, range(num_layers)), *[0] * global_layers)
        self.random, self.reads_edges = dropout > 0, CONVS[conv].reads_edges()

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        h = self.encoder(x)
        return h, Summed(h, [h], shared=self.shared)

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        out: Tensor = self.local_layers[index](h, windows[0], memory)
        return out

    def written(self, h: Tensor, windows: Sequence[Operators], memory: Memory) -> None:
        super().written(h, windows, memory)
        assert isinstance(memory, Summed)
        memory.total = h if memory.total is None else rooted(memory.total, windows) + h

    def leave(self, hidden: list[Tensor], last: Operators, op: Operators, memory: Memory) -> list[Tensor]:
        assert isinstance(memory, Summed)
        total = memory.total
        if total is None:
            return hidden
        for index, attend in enumerate(self.global_layers):
            layer = op.layer(self.num_layers * self.windows_a_layer + index)
            total = attend(total if index or self.norm is None else self.norm(total, layer), layer)
            if self.readout != "last":
                hidden = [layer.root(earlier) for earlier in hidden]
        return [*hidden[:-1], total]

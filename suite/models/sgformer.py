"""SGFormer: one branch attends to all nodes at linear cost, the other propagates along edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from suite.models.convs import CONVS, Memory
from suite.models.layered import Layered
from suite.models.layers import MLP, LayerNorm, Linear, dropout, find_norm, make_norm
from suite.operators import Operators


class SimpleAttention(nn.Module):
    """(n v_i + sum_j (q_i . k_j) v_j) / (n + sum_j q_i . k_j) over the n nodes of a graph (2306.10759; `SGFormerAttention`).

    Queries and keys have length one each, as in PyG; the paper divides all by the Frobenius norm of their matrix, and the weight
    of others then falls with n. Weights may be negative. Every head is as wide as h, and the mean over heads is returned. n
    counts the nodes of the graph, where PyG counts the padding of a batch too.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (Linear(channels, heads * channels, bias=False) for _ in range(3))

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        value = self.value(h)
        keys, real = op.dense(self._unit(self.key(h)))
        count = keys.size(-2) if real is None else real.sum(1).view(-1, 1, 1, 1)
        read = op.dense_root(self._unit(self.query(h))), keys, op.dense(value)[0], op.dense_root(value)
        q, k, v, own = (rearrange(t, "... n (h c) -> ... h n c", h=self.heads) for t in read)
        total = count + q @ k.sum(-2, keepdim=True).mT
        return op.flat(((count * own + q @ (k.mT @ v)) / total).mean(-3))

    def _unit(self, h: Tensor) -> Tensor:
        """Scale each head to length one. Zeros count as 1e-6, as in PyG: a row of zeros has no direction, nor a gradient."""
        by_head = rearrange(h.masked_fill(h == 0, 1e-6), "... (h c) -> ... h c", h=self.heads)
        return F.normalize(by_head, dim=-1).flatten(-2)


BRANCHED = dict.fromkeys(
    ("skip=dense", "skip=gated", "virtual_node=True"),
    "whose states are mixtures that no layer reads: each reads a branch's",
) | {
    "skip=residual": "whose branches have a residual of their own, to the state before and to the first",
    "skip=initial": "whose graph branch has an initial residual of its own",
}


@dataclass(kw_only=True)
class Branches(Memory):
    """And the states of both branches."""

    attended: Tensor
    graph: Tensor


class SGFormer(Layered):
    """Encoder, mix of two branches of `num_layers` layers each, decoder (2306.10759; twin of PyG's `SGFormer` behind an encoder).

        attention:  a <- ReLU(LayerNorm((attend(a) + a) / 2))
        graph:      g <- ReLU(norm(conv(g))) + g0

    State l is graph_weight * g + (1 - graph_weight) * a after l layers of both: what the decoder reads of the last. The
    authors use one layer of attention whatever the depth of the other branch; here the branches are equally deep.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        heads: of the attention.
        conv: of the graph branch, as in `Stack`.
        graph_weight: the share of the graph branch.
        norm: of the graph branch, as in `Stack`.
        mlp_channels: inner width of the encoder; None: hidden_channels.
        dropout: after each layer of both branches, while training (authors and PyG: 0.5).
    """

    refuses = BRANCHED

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        heads: int = 1,
        conv: str = "gcn",
        graph_weight: float = 0.5,
        norm: str = "batch",
        mlp_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__([hidden_channels] * (num_layers + 1), out_channels)
        if conv not in CONVS:
            raise ValueError(f"conv: must be one of {', '.join(CONVS)}; got '{conv}'")
        if not 0 < graph_weight < 1:
            raise ValueError(f"graph_weight: must lie between 0 and 1, got {graph_weight}")
        width, bias = hidden_channels, not find_norm(norm).centres
        self.encoder = MLP(in_channels, mlp_channels or width, width)
        self.attention_encoder, self.graph_encoder = Linear(width, width), Linear(width, width, bias)
        self.attentions = nn.ModuleList(SimpleAttention(width, heads) for _ in range(num_layers))
        self.attention_norms = nn.ModuleList(LayerNorm(width) for _ in range(num_layers + 1))
        self.convs = nn.ModuleList(CONVS[conv](width, width, index, bias) for index in range(num_layers))
        self.shared = CONVS[conv].shared(width)
        self.graph_norms = nn.ModuleList(make_norm(norm, width) for _ in range(num_layers + 1))
        self.decoder = Linear(width, out_channels)
        reason = CONVS[conv].not_adjacent()
        self.not_adjacent = reason and f"with conv = {conv}: {reason}"
        self.graph_weight, self.dropout, self.activated = graph_weight, dropout, CONVS[conv].activated
        self.global_channel = frozenset({"attention"}) | find_norm(norm).channel | CONVS[conv].channel
        self.operator, self.reach, self.random = "complete", None, dropout > 0
        self.width_multiple, self.reads_edges = getattr(CONVS[conv], "heads", 1), CONVS[conv].reads_edges()

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        x = self.encoder(x)
        entry = op.layer(0) if len(self.convs) else op
        a = self._drop(self.attention_norms[0](self.attention_encoder(x), entry).relu())
        g = self._drop(self.graph_norms[0](self.graph_encoder(x), entry).relu())
        return self._mix(a, g), Branches(g, [g], shared=self.shared, attended=a, graph=g)

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        assert isinstance(memory, Branches)
        layer, a, g = windows[0], memory.attended, memory.graph
        a = (self.attentions[index](a, layer) + layer.root(a)) / 2
        memory.attended = self._drop(self.attention_norms[index + 1](a, layer).relu())
        out = self.graph_norms[index + 1](self.convs[index](g, layer, memory), layer)
        memory.graph = self._drop(out if self.activated else out.relu()) + memory.initial
        memory.written(windows, memory.graph)
        return self._mix(memory.attended, memory.graph)

    def _mix(self, a: Tensor, g: Tensor) -> Tensor:
        return self.graph_weight * g + (1 - self.graph_weight) * a

    def _drop(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout) if self.dropout and self.training else h

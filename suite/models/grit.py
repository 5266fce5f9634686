"""GRIT: attention that reads and updates a state of every pair of nodes, begun as random-walk probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from suite.models.convs import Memory
from suite.models.encodings import PAIR_CHANNELS
from suite.models.layered import ADDS, Layered
from suite.models.layers import MLP, LayerNorm, Linear, dropout, find_norm, make_norm, per_replica
from suite.operators import EdgeList, Operators


class PairAttention(nn.Module):
    """The attention of GRIT, h_v and pair states e_vu -> what each node reads, and what each pair is told (2305.17589).

        a_vu = ReLU(rho((Q h_v + K h_u) * W e_vu) + B e_vu),  rho(z) = sqrt(ReLU(z)) - sqrt(ReLU(-z))
        read_v = O concat over heads of sum_u alpha_vu (V h_u + U a_vu),  alpha the softmax over u of <w, a_vu>

    u are all nodes of the graph, v itself included. The authors' code clips the logits to [-5, 5]; here they are not, as in the
    paper.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"hidden_channels: must be a multiple of heads = {heads}, got {channels}")
        width = channels // heads
        self.query, self.key, self.value = (Linear(channels, channels, bias) for bias in (True, False, False))
        self.factor, self.summand, self.out = (Linear(channels, channels) for _ in range(3))
        self.score, self.of_pair = nn.Parameter(torch.empty(heads, width)), nn.Parameter(torch.empty(heads, width, width))
        nn.init.xavier_uniform_(self.score)
        nn.init.uniform_(self.of_pair, -((3 / width) ** 0.5), (3 / width) ** 0.5)  # Glorot, head by head

    def forward(self, h: Tensor, pairs: Tensor, edges: EdgeList, op: Operators) -> tuple[Tensor, Tensor]:
        """Map h, and pairs [..., num_edges, channels], to what the rows written read, and to a of the same shape as pairs."""
        asked = (edges.target(self.query(op.root(h))) + edges.source(self.key(h))) * self.factor(pairs)
        size = asked.abs().where(asked != 0, 1)  # the root of 0 has no derivative; as ReLUs, rho has a second one of NaN
        told = (asked.sign() * size.sqrt() + self.summand(pairs)).relu()
        by_head = rearrange(told, "... (h c) -> ... h c", h=self.score.size(-2))
        share = edges.softmax((by_head * per_replica(self.score, 2, by_head)).sum(-1)).unsqueeze(-1)
        value = rearrange(edges.source(self.value(h)), "... (h c) -> ... h c", h=by_head.size(-2))
        read, from_pairs = edges.reduce((share * value).flatten(-2)), edges.reduce((share * by_head).flatten(-2))
        from_pairs = rearrange(from_pairs, "... (h c) -> ... h 1 c", h=by_head.size(-2))
        out: Tensor = self.out(read + (from_pairs @ per_replica(self.of_pair, 3, from_pairs)).flatten(-3))
        return out, told


class Block(nn.Module):
    """norm(h + s * read), s = s1 + log(1 + in-degree) s2, then norm(h + MLP(h)); and LayerNorm(e + O_e a) of the pair states.

    The last block has no pair states to update. s begins at 1. Where the authors norm pairs over the batch, here each is by
    itself: statistics over all pairs would be no function of the rows that the engine computes.
    """

    def __init__(self, channels: int, heads: int, norm: str, inner: int, dropout: float, last: bool) -> None:
        super().__init__()
        self.attention, self.dropout = PairAttention(channels, heads), dropout
        self.scale = nn.Parameter(torch.tensor([[1.0], [0.0]]).repeat(1, channels))
        self.attention_norm, self.mlp_norm = make_norm(norm, channels), make_norm(norm, channels)
        self.mlp = MLP(channels, inner, channels)
        self.pair_out = None if last else Linear(channels, channels)
        self.pair_norm = None if last else LayerNorm(channels)

    def forward(self, h: Tensor, pairs: Tensor, log_degree: Tensor, edges: EdgeList, op: Operators) -> tuple[Tensor, Tensor]:
        read, told = self.attention(h, pairs, edges, op)
        one, two = (per_replica(scale, 1, read) for scale in self.scale.unbind(-2))
        h = self.attention_norm(op.root(h) + self._drop(read * (one + log_degree * two)), op)
        h = self.mlp_norm(h + self._drop(self.mlp(h)), op)
        if self.pair_out is not None and self.pair_norm is not None:
            pairs = self.pair_norm(pairs + self._drop(self.pair_out(told)), op)
        return h, pairs

    def _drop(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout) if self.dropout and self.training else h


@dataclass(kw_only=True)
class Paired(Memory):
    """And the states of pairs, those of the edges of `before`, which are all that `real` has; log(1 + in-degree) by row."""

    real: Tensor
    log_degree: Tensor
    pairs: Tensor
    before: EdgeList | None = None


class GRIT(Layered):
    """Encoder, `num_layers` blocks of attention over pair states, decoder; memory grows with the square of the nodes.

    Pair states begin as a linear map of the random-walk probabilities [P^0, ..., P^16]_vu, and those of a node with itself are
    added, mapped, to its encoded input.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        heads: attention heads; must divide hidden_channels.
        mlp_channels: inner width of the blocks' MLPs; None: twice hidden_channels.
        norm: of the nodes, as in `Stack`. The paper takes batch, since LayerNorm would undo much of the scaling by degree.
        dropout: of what attention and MLP add, while training.
    """

    needs = frozenset({"rrwp"})
    refuses = ADDS
    not_adjacent = "whose blocks read pairs of nodes, and no edges"
    operator, reach, pairwise = "complete", None, True
    pe_reach = PAIR_CHANNELS["rrwp"] - 1  # [P^0, ..., P^k] is 0 beyond k hops

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        heads: int = 4,
        mlp_channels: int | None = None,
        norm: str = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__([hidden_channels] * (num_layers + 1), out_channels)
        self.encoder = MLP(in_channels, hidden_channels, hidden_channels)
        self.of_node, self.of_pair = (Linear(PAIR_CHANNELS["rrwp"], hidden_channels, bias) for bias in (False, True))
        inner = 2 * hidden_channels if mlp_channels is None else mlp_channels
        self.blocks = nn.ModuleList(
            Block(hidden_channels, heads, norm, inner, dropout, i == num_layers - 1) for i in range(num_layers)
        )
        self.decoder = Linear(hidden_channels, out_channels)
        self.global_channel = frozenset({"attention"}) | find_norm(norm).channel
        self.width_multiple, self.random = heads, dropout > 0

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        h, walks = self.encoder(x), needs["rrwp"].to(x.dtype)
        real = walks[..., 0] >= 0  # no pair beyond the nodes of a smaller graph
        h = h + self.of_node(_beside(op.per_row(walks.diagonal(dim1=-3, dim2=-2).mT, h), h))
        log_degree = _beside((1 + op.in_degree(h)).to(h.dtype).log().unsqueeze(1), h)
        return h, Paired(h, real=real, log_degree=log_degree, pairs=self.of_pair(_beside(walks[real], h)))

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        assert isinstance(memory, Paired)
        layer = windows[0]
        edges = layer.edges_among(h, memory.real)
        before, pairs = memory.before, memory.pairs
        pairs = pairs.index_select(-2, edges.number) if before is None else edges.carry(pairs, before)
        memory.log_degree, memory.before = layer.root(memory.log_degree), edges
        h, memory.pairs = self.blocks[index](h, pairs, memory.log_degree, edges, layer)
        return h


def _beside(rows: Tensor, h: Tensor) -> Tensor:
    """Return rows [rows, channels] with the axis of replicas that `h` may have."""
    return rows.expand(*h.shape[:-2], -1, -1)

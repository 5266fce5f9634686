"""Graph transformers: how nodes attend, what they know of each pair, and a local channel beside it, are settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.models.attentions import ATTENTIONS, PAIR_BIASES, Attention, SoftmaxAttention, Surroundings
from suite.models.attentions.softmax import bias_reach
from suite.models.convs import CONVS, Conv, Memory
from suite.models.layered import ADDS, Layered
from suite.models.layers import MLP, Linear, dropout, find_norm, make_norm
from suite.operators import Operators

HEADS, DISTANCE_BUCKETS, EXPANDER_DEGREE, NUM_VIRTUAL_NODES = 4, 40, 4, 1


class Block(nn.Module):
    """norm(h + conv(h)) + norm(h + attention(h)), then norm(h + MLP(h)), as in GPS (2205.12454; twin of `GPSConv`).

    A channel that is None is left out, its norm included: attention alone makes a post-norm transformer block, a convolution
    alone that of 2012.09699. With `norm_first`: h + conv(norm(h)) + attention(norm(h)), then h + MLP(norm(h)) (2002.04745).
    """

    def __init__(
        self,
        channels: int,
        attention: Attention | None,
        conv: Conv | None,
        norm: str,
        norm_first: bool,
        mlp_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention, self.attention_norm = attention, make_norm("none" if attention is None else norm, channels)
        self.conv, self.conv_norm = conv, make_norm("none" if conv is None else norm, channels)
        self.mlp, self.mlp_norm = MLP(channels, mlp_channels, channels), make_norm(norm, channels)
        self.norm_first, self.dropout = norm_first, dropout

    def forward(self, h: Tensor, op: Operators, memory: Memory, around: Surroundings) -> Tensor:
        if self.norm_first:
            out = op.root(h)
            if self.attention is not None:
                out = out + self._drop(self.attention(self.attention_norm(h, op), op, around))
            if self.conv is not None:
                out = out + self._drop(self.conv(self.conv_norm(h, op), op, memory))
            return out + self._drop(self.mlp(self.mlp_norm(out, op)))
        root, parts = op.root(h), []  # added in place: sums as large as h would wait for memory
        if self.attention is not None:
            parts.append(self.attention_norm(self._drop(self.attention(h, op, around)).add_(root), op))
        if self.conv is not None:
            parts.append(self.conv_norm(self._drop(self.conv(h, op, memory)).add_(root), op))
        out = parts[0] if len(parts) == 1 else parts[1].add_(parts[0])
        result: Tensor = self.mlp_norm(self._drop(self.mlp(out)).add_(out), op)
        return result

    def _drop(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout, self.training)


@dataclass(kw_only=True)
class Attended(Memory):
    """And what attention may read."""

    around: Surroundings


class Transformer(Layered):
    """Encoder, `num_layers` transformer blocks, decoder.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        heads: of the attention among all nodes; must divide hidden_channels. (A conv has its own.)
        conv: local channel beside the attention, as in `Stack`, or none.
        mlp_channels: inner width of the blocks' MLPs; None: twice hidden_channels.
        attention: softmax over all nodes; performer or nodeformer, linear in the nodes; expander, along sparse edges (Exphormer);
            san, neighbours and others apart; or none.
        pair_bias: added to the logits of softmax attention, per head and pair of nodes: none; spd: learned, of the hop distance;
            rrwp or resistance: an MLP of the pair's random-walk probabilities or effective resistance.
        distance_buckets: of spd: the number of learned biases (distances beyond are not told apart).
        expander_degree: of every node in the random graph of expander attention.
        num_virtual_nodes: of each graph, in expander attention.
        degree_buckets: 0, or the number of learned vectors, by in-degree, added to the encoded input (larger degrees share one).
        norm: as in `Stack`.
        norm_first: whether norms stand in front of attention, convolution and MLP, and one at the end, or behind each sum.
        dropout: after attention, convolution and MLP, while training.

    Graphormer (2106.05234) is softmax attention with spd, degrees and norms first. Its term for the edges on a shortest path is
    a function of the distance where edges have no features, and its graph token answers for whole graphs, where here nodes are
    asked, and would be a virtual node: both are left out. As in its authors' code, a norm stands in front of the decoder.
    """

    version = 2
    refuses = ADDS
    later = frozenset({"expander_degree", "num_virtual_nodes"})

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        heads: int = HEADS,
        conv: str = "none",
        mlp_channels: int | None = None,
        attention: str = "softmax",
        pair_bias: str = "none",
        distance_buckets: int = DISTANCE_BUCKETS,
        expander_degree: int = EXPANDER_DEGREE,
        num_virtual_nodes: int = NUM_VIRTUAL_NODES,
        degree_buckets: int = 0,
        norm: str = "layer",
        norm_first: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__([hidden_channels] * (num_layers + 1), out_channels)
        _check(conv, attention, pair_bias, norm, norm_first)
        _check_read(attention, pair_bias, heads, distance_buckets)
        _check_expander(attention, expander_degree, num_virtual_nodes)
        inner = 2 * hidden_channels if mlp_channels is None else mlp_channels
        self.encoder = MLP(in_channels, hidden_channels, hidden_channels)
        self.degrees = nn.Parameter(torch.zeros(degree_buckets, hidden_channels)) if degree_buckets else None

        def attend(index: int) -> Attention | None:
            if attention == "softmax":
                return SoftmaxAttention(hidden_channels, heads, index, pair_bias, distance_buckets)
            return None if attention == "none" else ATTENTIONS[attention](hidden_channels, heads, index)

        def convolve(index: int) -> Conv | None:
            return None if conv == "none" else CONVS[conv](hidden_channels, hidden_channels, index)

        self.blocks = nn.ModuleList(
            Block(hidden_channels, attend(i), convolve(i), norm, norm_first, inner, dropout) for i in range(num_layers)
        )
        self.shared_attention = None if attention == "none" else ATTENTIONS[attention].shared(hidden_channels, num_virtual_nodes)
        self.norm = make_norm(norm, hidden_channels) if norm_first and num_layers else None
        self.not_adjacent = _not_adjacent(conv, attention)
        self.reads_past = conv != "none" and CONVS[conv].reads_past
        self.shared = CONVS[conv].shared(hidden_channels) if conv != "none" else None
        self.decoder = Linear(hidden_channels, out_channels)
        self.width_multiple = math.lcm(heads, getattr(CONVS.get(conv), "heads", 1))
        self._declare(conv, attention, pair_bias, distance_buckets, expander_degree, norm, num_layers)
        by_channel = (conv != "none" and CONVS[conv].reads_edges()) or (attention != "none" and ATTENTIONS[attention].reads_edges)
        self.reads_edges = by_channel or degree_buckets > 0
        self.random = dropout > 0 or (attention != "none" and ATTENTIONS[attention].random)

    def _declare(
        self,
        conv: str,
        attention: str,
        pair_bias: str,
        distance_buckets: int,
        expander_degree: int,
        norm: str,
        num_layers: int,
    ) -> None:
        """Say what carries information, and how far."""
        statistics = find_norm(norm).channel | (frozenset() if conv == "none" else CONVS[conv].channel)
        if attention == "none":
            alone, self.global_channel = CONVS[conv], statistics
            self.operator, self.reach = alone.operator, self.bounded(alone.reach(num_layers))
            self.layer_hops = tuple(map(alone.hops, range(num_layers)))
        else:
            attends = ATTENTIONS[attention]
            self.needs = frozenset({PAIR_BIASES[pair_bias]}) if pair_bias != "none" else attends.needed(expander_degree)
            self.global_channel = attends.channel | statistics
            self.operator, self.reach, self.pe_reach = "complete", None, bias_reach(pair_bias, distance_buckets)

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        h = self.encoder(x)
        if self.degrees is not None:
            h = h + self.degrees.index_select(-2, op.in_degree(h).clamp(max=self.degrees.size(-2) - 1))
        return h, Attended(h, [h], shared=self.shared, around=Surroundings(needs, self.shared_attention))

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        assert isinstance(memory, Attended)
        out: Tensor = self.blocks[index](h, windows[0], memory, memory.around)
        return out

    def leave(self, hidden: list[Tensor], last: Operators, op: Operators, memory: Memory) -> list[Tensor]:
        return hidden if self.norm is None else [*hidden[:-1], self.norm(hidden[-1], last)]


def _not_adjacent(conv: str, attention: str) -> str | None:
    """Return why the last block has no use for the edges of a complete graph; None: it has."""
    if conv != "none":
        reason = CONVS[conv].not_adjacent()
        return reason and f"with conv = {conv}: {reason}"
    return None if ATTENTIONS[attention].reads_edges else "whose blocks read no neighbours"


def _check(conv: str, attention: str, pair_bias: str, norm: str, norm_first: bool) -> None:
    """Raise ValueError where a name is unknown, or settings do not go together."""
    if conv != "none" and conv not in CONVS:
        raise ValueError(f"conv: must be none or one of {', '.join(CONVS)}; got '{conv}'")
    if attention != "none" and attention not in ATTENTIONS:
        raise ValueError(f"attention: must be none or one of {', '.join(ATTENTIONS)}; got '{attention}'")
    if attention == conv == "none":
        raise ValueError("attention: must be given where conv is none; a block needs one of them, got none twice")
    if pair_bias != "none" and pair_bias not in PAIR_BIASES:
        raise ValueError(f"pair_bias: must be none or one of {', '.join(PAIR_BIASES)}; got '{pair_bias}'")
    if attention != "softmax" and pair_bias != "none":
        raise ValueError(f"pair_bias: must be none unless attention is softmax, which alone has logits; got '{pair_bias}'")
    if attention == "none" and norm_first and norm == "batch":
        raise ValueError("norm_first: must be false without attention under batch norm, whose rows are those that a layer writes")


def _check_read(attention: str, pair_bias: str, heads: int, distance_buckets: int) -> None:
    """Raise ValueError where a setting was given that nothing reads: another key would hold the same numbers."""
    if attention == "none" and heads != HEADS:
        raise ValueError(f"heads: must be {HEADS} unless there is attention beside the conv, which has its own; got {heads}")
    if pair_bias != "spd" and distance_buckets != DISTANCE_BUCKETS:
        raise ValueError(
            f"distance_buckets: must be {DISTANCE_BUCKETS} unless pair_bias is spd, which alone reads it; got {distance_buckets}"
        )


def _check_expander(attention: str, degree: int, num_virtual_nodes: int) -> None:
    """Raise ValueError where there is no such graph, or nothing that would read it."""
    if attention != "expander":
        for name, given, default in (
            ("expander_degree", degree, EXPANDER_DEGREE),
            ("num_virtual_nodes", num_virtual_nodes, NUM_VIRTUAL_NODES),
        ):
            if given != default:
                raise ValueError(f"{name}: must be {default} unless attention is expander, which alone reads it; got {given}")
    if degree < 3:
        raise ValueError(f"expander_degree: must be >= 3, at 2 the random graph is a ring; got {degree}")
    if num_virtual_nodes < 1:
        raise ValueError(f"num_virtual_nodes: must be >= 1, got {num_virtual_nodes}")

"""The message-passing stack: one class, of which GCN, GCN with residual, GCNII, jumping knowledge ... are settings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Literal, get_args

from torch import Tensor, nn

from suite.models.convs import CONVS, Memory
from suite.models.convs.base import THETA
from suite.models.layered import ALPHA, GATE_POWER, Layered, Readout, check_read, gated_reach
from suite.models.layers import MLP, Linear, dropout, find_norm, make_norm
from suite.operators import Operators, rooted

Skip = Literal["none", "residual", "initial", "dense", "gated", "post_norm"]
Encoder = Literal["mlp", "linear", "embedding", "none"]
Decoder = Literal["linear", "none"]
POST_NORM = "of stacks alone: residual, with the norm behind the sum (2006.05205)"
CHOICES = {"skip": Skip, "readout": Readout, "encoder": Encoder, "decoder": Decoder}


class Stack(Layered):
    """Encoder, `num_layers` blocks of convolution, norm, activation (and skip), decoder.

    Args:
        in_channels: width of x.
        hidden_channels: width of the hidden states.
        num_layers: number of blocks.
        out_channels: width of the output.
        conv: an entry of `CONVS`; node_wise is graph-blind.
        norm: layer, data, none (all node-wise); batch, diff_group (statistics of the batch while training); pair, graph, mean
            (statistics of each graph).
        skip: what becomes of out = act(norm(conv(h))).
            none: out; residual: h + out; initial: (1 - alpha) out + alpha H0; post_norm: norm(h + act(conv(h))) (2006.05205);
            dense: out, and every convolution reads all states before it side by side (1904.03751);
            gated: h and out mixed by how much neighbours differ, G^2 (2210.00513).
        alpha: the share of H0, with skip = initial and with conv = gcnii.
        theta: of conv = gcnii: how much its layers transform, beta = log(theta / l + 1) in layer l = 1, 2, ...
        gate_power: the p of G^2, with skip = gated.
        readout: last state; or all of them (jumping knowledge, 1806.03536): concat, max, or lstm (attention over layers).
        encoder: mlp (two layers), linear (followed by ReLU), embedding (a linear map alone), or none: the first convolution
            then reads x itself.
        mlp_channels: inner width of the encoder `mlp`, which alone reads it; None: hidden_channels.
        decoder: linear, or none: the last convolution then writes the output, without norm and activation.
        fully_adjacent_last: the last block sees an edge between any two nodes of a graph (2006.05205).
        virtual_node: before each block, add to every node a learned map of the mean over all nodes of its graph (1704.01212);
            with conv = node_wise that is DeepSets, whose means are all that nodes have in common: pooling (1703.06114).
        dropout: probability of a zero at the input of every weight matrix, while training.
    """

    later = frozenset({"theta"})

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        conv: str = "gcn",
        norm: str = "none",
        skip: Skip = "none",
        alpha: float = ALPHA,
        theta: float = THETA,
        gate_power: float = GATE_POWER,
        readout: Readout = "last",
        encoder: Encoder = "mlp",
        mlp_channels: int | None = None,
        decoder: Decoder = "linear",
        fully_adjacent_last: bool = False,
        virtual_node: bool = False,
        dropout: float = 0.0,
    ) -> None:
        if conv not in CONVS:
            raise ValueError(f"conv: must be one of {', '.join(CONVS)}; got '{conv}'")
        _check(num_layers, skip=skip, readout=readout, encoder=encoder, decoder=decoder)
        _check_conv(conv, skip, encoder, fully_adjacent_last)
        check_read(skip, alpha, gate_power, conv)
        _check_own(conv, theta, encoder, mlp_channels)
        if fully_adjacent_last and decoder != "none":
            _check_last(conv, norm, skip, readout)
        plain_last = decoder == "none"
        widths = [hidden_channels] * (num_layers + 1)
        widths[0] = in_channels if encoder == "none" else hidden_channels
        widths[-1] = out_channels if plain_last else widths[-1]
        super().__init__(widths, out_channels)
        self.conv, self.reads_past, self.dropout, self.plain_last = CONVS[conv], CONVS[conv].reads_past, dropout, plain_last
        self.theta = theta
        self.encoder = _encoder(encoder, in_channels, hidden_channels, mlp_channels or hidden_channels)
        self.num_normed = num_layers - plain_last
        centred = self.num_normed if find_norm(norm).centres and skip != "post_norm" else 0  # a bias there would have no effect
        reads = list(accumulate(widths[:-1])) if skip == "dense" and not self.conv.equal_widths else widths[:-1]
        pairs = zip(reads, widths[1:], strict=True)
        self.convs = nn.ModuleList(self.conv(a, b, i, i >= centred) for i, (a, b) in enumerate(pairs))
        self.shared = self.conv.shared(hidden_channels)
        self.surround(
            skip=skip,
            alpha=alpha,
            gate_power=gate_power,
            readout=readout,
            fully_adjacent_last=fully_adjacent_last,
            virtual_node=virtual_node,
            norm=norm,
            gate=lambda width: self.conv(width, width),
            mixed=self.conv.equal_widths,
            virtual_channels=hidden_channels,
        )
        self.decoder = nn.Identity() if self.plain_last else Linear(self.read_width, out_channels)
        self._declare(num_layers, self.conv.channel | (find_norm(norm).channel if self.num_normed else frozenset()), virtual_node)

    def _declare(self, num_layers: int, channel: frozenset[str], virtual_node: bool) -> None:
        """Say what the model is to the engine and to measures; `channel` is the norms'."""
        gated = self.skip == "gated"
        self.width_multiple = getattr(self.conv, "heads", 1)
        hops = [self.conv.hops(index) for index in range(num_layers)]
        edgeless = not any(hops)
        self.operator = "complete" if edgeless and virtual_node else self.conv.operator
        plain = self.readout == "last" and self.conv.stepwise and not virtual_node and not self.fully_adjacent_last
        self.skips = {"none": "none", "residual": "added"}.get(self.skip, "other") if plain else "other"
        self.layer_hops = tuple(chain.from_iterable((hop, 1) for hop in hops)) if gated else tuple(hops)
        opened = {"pooling" if edgeless else "virtual_node": virtual_node, "rewiring": self.fully_adjacent_last}
        self.global_channel = channel | {name for name, is_open in opened.items() if is_open}
        self.reads_edges = self.conv.reads_edges() or gated
        reach = self.conv.reach(num_layers)
        if gated:  # a gate's convolution is made as a first one
            reach = gated_reach([1] * num_layers if self.reads_past else hops, self.conv.hops(0))
        self.reach = self.bounded(reach)
        self.random = self.dropout > 0

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        h = x if isinstance(self.encoder, nn.Identity) else self.encoder(self.thinned(x))
        return h, Memory(h, [h], shared=self.shared, alpha=self.alpha, theta=self.theta)

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        out: Tensor = self.convs[index](h, windows[0], memory)
        return out

    def make_norms(self, norm: str) -> None:
        self.norms = nn.ModuleList(make_norm(norm, width) for width in self.widths[1:][: self.num_normed])

    def finished(self, out: Tensor, op: Operators, index: int) -> Tensor:
        if index == len(self.norms):
            return out
        if self.skip != "post_norm":
            out = self.norms[index](out, op)
        return out if self.conv.activated else out.relu_()

    def skipped(self, out: Tensor, h: Tensor, first: Tensor, own: Sequence[Operators], index: int) -> Tensor:
        if self.skip != "post_norm":
            return super().skipped(out, h, first, own, index)
        if out.size(-1) == h.size(-1):
            out = rooted(h, own) + out
        return out if index == len(self.norms) else self.norms[index](out, own[-1])

    @property
    def trunk(self) -> list[nn.Module]:
        return [part for part in (self.convs, self.gates, self.shared) if isinstance(part, nn.Module)]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = hidden[-1] if self.plain_last else self.decoder(self.thinned(self.read(hidden)))
        return out

    def thinned(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout, self.training)


def _check(num_layers: int, **chosen: str) -> None:
    """Raise ValueError for a choice that there is not, or for choices that do not go together."""
    for name, value in chosen.items():
        if value not in get_args(CHOICES[name]):
            raise ValueError(f"{name}: must be one of {', '.join(get_args(CHOICES[name]))}; got '{value}'")
    if num_layers < 1 and "none" in (chosen["encoder"], chosen["decoder"]):
        raise ValueError(f"num_layers: must be >= 1 without encoder or decoder, got {num_layers}")
    for name in ("skip", "readout"):
        value = chosen[name]
        if chosen["encoder"] == "none" and value in ("initial", "gated", "max", "lstm"):
            raise ValueError(f"encoder: must not be none with {name} = {value}, which needs all states of one width")
        if chosen["decoder"] == "none" and value in ("gated", "concat", "max", "lstm"):
            raise ValueError(f"decoder: must not be none with {name} = {value}, which the last convolution cannot write")


def _check_conv(conv: str, skip: str, encoder: str, fully_adjacent_last: bool) -> None:
    """Raise ValueError where a block cannot do what is asked with this convolution."""
    if fully_adjacent_last and (reason := CONVS[conv].not_adjacent()):
        raise ValueError(f"fully_adjacent_last: must be false with conv = {conv}: {reason}")
    if fully_adjacent_last and skip == "gated":
        raise ValueError("fully_adjacent_last: must be false with skip = gated: on the complete graph GCN makes all gates 0")
    if CONVS[conv].reads_past and encoder == "none":
        raise ValueError(f"encoder: must not be none with conv = {conv}, which needs all states of one width")


def _check_own(conv: str, theta: float, encoder: str, mlp_channels: int | None) -> None:
    """Raise ValueError where one of these is out of range, or nothing would read it."""
    if theta != THETA and conv != "gcnii":
        raise ValueError(f"theta: must be {THETA} unless conv = gcnii, which alone reads it; got {theta}")
    if theta <= 0:
        raise ValueError(f"theta: must be > 0, or no layer transforms anything; got {theta}")
    if mlp_channels is not None and encoder != "mlp":
        raise ValueError(f"mlp_channels: must not be given unless encoder = mlp, which alone reads it; got {mlp_channels}")


def _check_last(conv: str, norm: str, skip: str, readout: str) -> None:
    """Raise ValueError where GCN makes all nodes of the complete graph alike, and a norm then takes away what they share."""
    if conv == "gcn" and norm in ("mean", "pair") and skip in ("none", "dense") and readout == "last":
        raise ValueError(
            f"fully_adjacent_last: must be false with conv = gcn and norm = {norm}: the last states are alike, and the norm 0; a"
            " skip = residual or readout = concat leaves something to read"
        )


class _LinearReLU(Linear):
    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h).relu()


def _encoder(kind: str, in_channels: int, hidden_channels: int, mlp_channels: int) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    if kind in ("linear", "embedding"):
        return (_LinearReLU if kind == "linear" else Linear)(in_channels, hidden_channels)
    return MLP(in_channels, mlp_channels, hidden_channels)

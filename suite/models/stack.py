"""The message-passing stack: one class, of which GCN, GCN with residual, GCNII, jumping knowledge ... are settings."""

from __future__ import annotations

from itertools import accumulate, chain
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from suite.models.base import Model
from suite.models.convs import CONVS, Memory
from suite.models.gating import GradientGate
from suite.models.layers import MLP, Linear, dropout, find_norm, make_norm
from suite.models.readouts import LSTMAttention
from suite.operators import Operators

Skip = Literal["none", "residual", "initial", "dense", "gated", "post_norm"]
Readout = Literal["last", "concat", "max", "lstm"]
Encoder = Literal["mlp", "linear", "embedding", "none"]
Decoder = Literal["linear", "none"]
CHOICES = {"skip": Skip, "readout": Readout, "encoder": Encoder, "decoder": Decoder}
ALPHA, GATE_POWER = 0.1, 2.0
MITIGATIONS = {  # settings of a stack, for who looks for one
    "skip=residual": "residual: the state before is added to what a layer makes of it",
    "skip=post_norm": "the same, with the norm behind the sum (2006.05205)",
    "skip=initial": "initial residual: every state holds a share alpha of the first",
    "skip=dense": "dense: a layer reads all states before it (1904.03751)",
    "skip=gated": "gradient gating, G²: a state changes as much as neighbours differ (2210.00513)",
    "readout=concat": "jumping knowledge: the decoder reads the states of all layers (1806.03536)",
    "readout=max": "jumping knowledge by the maximum over layers",
    "readout=lstm": "jumping knowledge by attention over layers",
    "fully_adjacent_last": "the last layer sees an edge between any two nodes (2006.05205)",
    "virtual_node": "before each layer a map of the mean over all nodes is added (1704.01212)",
}


class Stack(Model):
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
        gate_power: the p of G^2, with skip = gated.
        readout: last state; or all of them (jumping knowledge, 1806.03536): concat, max, or lstm (attention over layers).
        encoder: mlp (two layers), linear (followed by ReLU), embedding (a linear map alone), or none: the first convolution
            then reads x itself.
        mlp_channels: inner width of the encoder `mlp`; None: hidden_channels.
        decoder: linear, or none: the last convolution then writes the output, without norm and activation.
        fully_adjacent_last: the last block sees an edge between any two nodes of a graph (2006.05205).
        virtual_node: before each block, add to every node a learned map of the mean over all nodes of its graph (1704.01212);
            with conv = node_wise that is DeepSets, whose means are all that nodes have in common: pooling (1703.06114).
        dropout: probability of a zero at the input of every weight matrix, while training.
    """

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
        gate_power: float = GATE_POWER,
        readout: Readout = "last",
        encoder: Encoder = "mlp",
        mlp_channels: int | None = None,
        decoder: Decoder = "linear",
        fully_adjacent_last: bool = False,
        virtual_node: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if conv not in CONVS:
            raise ValueError(f"conv: must be one of {', '.join(CONVS)}; got '{conv}'")
        _check(num_layers, skip=skip, readout=readout, encoder=encoder, decoder=decoder)
        _check_conv(conv, skip, encoder, fully_adjacent_last)
        _check_read(conv, skip, alpha, gate_power)
        if fully_adjacent_last and decoder != "none":
            _check_last(conv, norm, skip, readout)
        self.conv, self.skip, self.readout, self.alpha = CONVS[conv], skip, readout, alpha
        self.dropout = dropout
        self.fully_adjacent_last, self.plain_last = fully_adjacent_last, decoder == "none"
        widths = [hidden_channels] * (num_layers + 1)
        widths[0] = in_channels if encoder == "none" else hidden_channels
        widths[-1] = out_channels if self.plain_last else widths[-1]
        self.encoder = _encoder(encoder, in_channels, hidden_channels, mlp_channels or hidden_channels)
        normed = widths[1:-1] if self.plain_last else widths[1:]
        centred = len(normed) if find_norm(norm).centres and skip != "post_norm" else 0  # a bias there would have no effect
        reads = list(accumulate(widths[:-1])) if skip == "dense" else widths[:-1]
        pairs = zip(reads, widths[1:], strict=True)
        self.convs = nn.ModuleList(self.conv(a, b, i, i >= centred) for i, (a, b) in enumerate(pairs))
        self.shared = self.conv.shared(hidden_channels)
        self.gates = nn.ModuleList(GradientGate(self.conv(w, w), gate_power) for w in reads if skip == "gated")
        self.norms = nn.ModuleList(make_norm(norm, width) for width in normed)
        self.virtual = nn.ModuleList(MLP(width, hidden_channels, width) for width in reads if virtual_node)
        self.attention = LSTMAttention(hidden_channels, hidden_channels) if readout == "lstm" else None
        read = sum(widths) if readout == "concat" else widths[-1]
        self.decoder = nn.Identity() if self.plain_last else Linear(read, out_channels)
        self._declare(num_layers, self.conv.channel | (find_norm(norm).channel if normed else frozenset()), virtual_node)

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
        past = self.conv.hops(0) + 1  # a gate reads differences one hop beyond its own convolution, which is made as a first one
        self.reach = self.bounded(sum(max(hop, past) for hop in hops) if gated else self.conv.reach(num_layers))
        self.random = self.dropout > 0

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        h = x if isinstance(self.encoder, nn.Identity) else self.encoder(self._drop(x))
        hidden, memory = [h], Memory(h, [h], shared=self.shared, alpha=self.alpha)
        for index in range(len(self.convs)):
            windows = self._windows(op, index)
            h = self._block(hidden, windows, memory, index)
            if self.readout != "last" or self.skip == "dense":  # earlier states are read too, at the nodes that the last one has
                for window in windows:
                    hidden = [window.root(earlier) for earlier in hidden]
            hidden.append(h)
        return hidden

    def _windows(self, op: Operators, index: int) -> list[Operators]:
        """Return the operators of a block: one that its convolution writes by, and one more for the differences of a gate."""
        adjacent = self.fully_adjacent_last and index == len(self.convs) - 1
        first = (op.fully_adjacent() if adjacent else op).layer(2 * index if self.gates else index)
        return [first, op.layer(2 * index + 1)] if self.gates else [first]

    def _block(self, hidden: list[Tensor], windows: list[Operators], memory: Memory, index: int) -> Tensor:
        """Return the state after block number `index`."""
        h, layer = torch.cat(hidden, dim=-1) if self.skip == "dense" else hidden[-1], windows[0]
        memory.initial = layer.root(memory.initial)
        if self.virtual:
            h = h + layer.to_nodes(self.virtual[index](layer.global_mean(h)), h)
        read = self._drop(h)
        out = self._finish(self.convs[index](read, layer, memory), h, layer, memory, index)
        if self.gates:
            gate, onward = self.gates[index](read, *windows, memory), windows[1]
            before = onward.root(layer.root(h))
            out = before + gate * (onward.root(out) - before)
            memory.initial = onward.root(memory.initial)
        if self.conv.reads_past:
            memory.written(layer, out)
        return out

    def _finish(self, out: Tensor, h: Tensor, layer: Operators, memory: Memory, index: int) -> Tensor:
        """Return what becomes of a convolution's output: norm, activation and skip, in the order of `skip`."""
        norm = self.norms[index] if index < len(self.norms) else None
        if norm is not None and self.skip != "post_norm":
            out = norm(out, layer)
        if norm is not None and not self.conv.activated:
            out = out.relu_()
        if self.skip in ("residual", "post_norm") and out.size(-1) == h.size(-1):
            out = layer.root(h) + out
        elif self.skip == "initial" and out.size(-1) == memory.initial.size(-1):
            out = (1 - self.alpha) * out + self.alpha * memory.initial
        return norm(out, layer) if norm is not None and self.skip == "post_norm" else out

    @property
    def trunk(self) -> list[nn.Module]:
        return [part for part in (self.convs, self.gates, self.shared) if part is not None]

    def read(self, hidden: list[Tensor]) -> Tensor:
        if self.attention is not None:
            weighed: Tensor = self.attention(hidden)
            return weighed
        if self.readout == "max":
            return torch.stack(hidden).amax(0)
        return torch.cat(hidden, dim=-1) if self.readout == "concat" else hidden[-1]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = hidden[-1] if self.plain_last else self.decoder(self._drop(self.read(hidden)))
        return out

    def _drop(self, h: Tensor) -> Tensor:
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
    if fully_adjacent_last and CONVS[conv].on_edges:
        raise ValueError(f"fully_adjacent_last: must be false with conv = {conv}: new edges do not have its states on edges")
    if fully_adjacent_last and CONVS[conv].by_distance:
        raise ValueError(f"fully_adjacent_last: must be false with conv = {conv}: all other nodes are at its first distance then")
    if fully_adjacent_last and not CONVS[conv].hops(0):
        raise ValueError(f"fully_adjacent_last: must be false with conv = {conv}, which reads no neighbours")
    if fully_adjacent_last and skip == "gated":
        raise ValueError("fully_adjacent_last: must be false with skip = gated: on the complete graph GCN makes all gates 0")
    if CONVS[conv].reads_past and skip in ("gated", "dense"):
        raise ValueError(f"skip: must not be {skip} with conv = {conv}, which reads states from before the last")
    if CONVS[conv].reads_past and encoder == "none":
        raise ValueError(f"encoder: must not be none with conv = {conv}, which needs all states of one width")


def _check_read(conv: str, skip: str, alpha: float, gate_power: float) -> None:
    """Raise ValueError where a setting was given that nothing reads: another key would hold the same numbers."""
    if alpha != ALPHA and skip != "initial" and conv != "gcnii":
        raise ValueError(f"alpha: must be {ALPHA} unless skip = initial or conv = gcnii, which alone read it; got {alpha}")
    if gate_power != GATE_POWER and skip != "gated":
        raise ValueError(f"gate_power: must be {GATE_POWER} unless skip = gated, which alone reads it; got {gate_power}")


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

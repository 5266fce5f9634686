"""Models that are layers in a row, and what may stand between these, whatever they compute: skips, gates, norms, what is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from suite.models.base import Model
from suite.models.convs import CONVS, Conv, Memory
from suite.models.encodings import ALONG
from suite.models.gating import GradientGate
from suite.models.layers import MLP, Linear, find_norm, make_norm
from suite.models.readouts import LSTMAttention
from suite.operators import Operators, rooted

Readout = Literal["last", "concat", "max", "lstm"]
Lists = nn.ModuleList | tuple[()]  # none, unless asked for
ALPHA, GATE_POWER = 0.1, 2.0
MITIGATIONS = {  # what may stand between layers, for who looks for one
    "skip=residual": "the state before is added to what a layer makes of it",
    "skip=initial": "initial residual: every state holds a share alpha (0.1) of the first",
    "skip=dense": "a layer reads all states before it (1904.03751)",
    "skip=gated": "gradient gating, G²: a state changes as much as neighbours differ, to the power gate_power (2210.00513)",
    "readout=concat": "jumping knowledge: the decoder reads the states of all layers (1806.03536)",
    "readout=max": "jumping knowledge by the maximum over layers",
    "readout=lstm": "jumping knowledge by attention over layers",
    "norm=NAME": "behind each layer, in front of the skip; one of the norms below, or where the model has a place for it",
    "fully_adjacent_last": "the last layer sees an edge between any two nodes (2006.05205)",
    "virtual_node": "before each layer a map of the mean over all nodes is added (1704.01212)",
}
ADDS = {"skip=residual": "whose layers have a residual of their own: they add to the state before them"}  # `Layered.refuses`


class Layered(Model):
    """Base of the models that have layers: `enter` makes H0, `layer` each further state, and `states` goes through them.

    What stands between layers is said once, here, for all of them; `surround` puts it there. With F a layer, as the model has it:

        skip:                 residual: h + F(h); initial: (1 - alpha) F(h) + alpha H0; dense: F of all states before it, by a
                              linear map of them side by side; gated: h and F(h) mixed by how much neighbours differ (G^2).
        readout:              what `decode` reads: the last state, or all (jumping knowledge): concat, max, lstm.
        norm:                 behind F, in front of the skip.
        fully_adjacent_last:  the last layer propagates along an edge between any two nodes of a graph.
        virtual_node:         in front of F a map of the mean over all nodes of the graph is added.

    Attributes:
        num_layers: how many layers there are.
        widths: of H0, ..., HL.
        out_channels: width of the output; `decoder`, an attribute of every model, writes it from what `read` returns.
        num_windows: how many windows (`Operators.layer`) a layer takes.
        reads_past: whether a layer reads states of earlier ones (`Memory.hidden`).
        refuses: settings that make no sense for this model, `name=value`, each with the reason.
        not_adjacent: why the last layer has no use for the edges of a complete graph; None: it has.
    """

    refuses: ClassVar[Mapping[str, str]] = {}
    not_adjacent: str | None = None
    reads_past: bool = False
    decoder: nn.Module

    def __init__(self, widths: Sequence[int], out_channels: int, num_windows: int = 1) -> None:
        super().__init__()
        self.num_layers, self.widths, self.out_channels = len(widths) - 1, list(widths), out_channels
        self.num_windows = num_windows
        self.skip, self.alpha, self.readout, self.fully_adjacent_last = "none", ALPHA, "last", False
        self.gates: Lists = ()
        self.virtual: Lists = ()
        self.mixes: Lists = ()
        self.norms_between: Lists = ()
        self.attention: nn.Module | None = None

    # what a model says

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        """Return H0, and what layers may read besides the state before them."""
        raise NotImplementedError

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        """Return what layer number `index` makes of h, at the rows that the last of its windows writes."""
        raise NotImplementedError

    def leave(self, hidden: list[Tensor], last: Operators, op: Operators, memory: Memory) -> list[Tensor]:
        """Return the states as `decode` gets them; `last` is the window that wrote the last one."""
        return hidden

    def written(self, h: Tensor, windows: Sequence[Operators], memory: Memory) -> None:
        """Take note of the state that a layer ended with, what stands behind it included."""
        if self.reads_past:
            memory.written(windows, h)

    def part(self, state: Tensor) -> Tensor:
        """Return the channels of a state that are read at the end."""
        return state

    def part_width(self, width: int) -> int:
        """Return how many those are of a state so wide."""
        return width

    def thinned(self, h: Tensor) -> Tensor:
        """Return h as layers and gates read it: with what dropout leaves, where it stands in front of them."""
        return h

    def finished(self, out: Tensor, op: Operators, index: int) -> Tensor:
        """Return a layer's output as skips take it: behind the norm."""
        normed: Tensor = self.norms_between[index](out, op) if self.norms_between else out
        return normed

    def read(self, hidden: list[Tensor]) -> Tensor:
        seen = [self.part(state) for state in (hidden[-1:] if self.readout == "last" else hidden)]
        if self.attention is not None:
            weighed: Tensor = self.attention(seen)
            return weighed
        if self.readout == "max":
            return torch.stack(seen).amax(0)
        return torch.cat(seen, dim=-1) if self.readout == "concat" else seen[-1]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.decoder(self.read(hidden))
        return out

    @property
    def trunk(self) -> list[nn.Module]:
        return [part for part in super().trunk if not any(part is one for one in (self.virtual, self.mixes, self.norms_between))]

    # what stands between

    def surround(
        self,
        *,
        skip: str = "none",
        alpha: float = ALPHA,
        gate_power: float = GATE_POWER,
        readout: str = "last",
        fully_adjacent_last: bool = False,
        virtual_node: bool = False,
        norm: str = "none",
        gate: Callable[[int], Conv] | None = None,
        mixed: bool = True,
        virtual_channels: int | None = None,
    ) -> None:
        """Put it there, weights included.

        `gate` makes the convolution of a gate from the width that it reads, one of GCN where it is None. Where states need not be
        `mixed`, layers are made to read all of them side by side, as wide as they are then. `virtual_channels` is the inner width
        of maps of the mean, that of the states where it is None.
        """
        self.skip, self.alpha, self.readout, self.fully_adjacent_last = skip, alpha, readout, fully_adjacent_last
        before, side_by_side = self.widths[:-1], list(accumulate(self.widths[:-1]))
        if skip == "gated":
            make = gate or _gcn
            self.gates = nn.ModuleList(GradientGate(make(width), gate_power) for width in before)
        self.make_norms(norm)
        reads = side_by_side if skip == "dense" and not mixed else before
        if skip == "dense" and mixed:
            pairs = zip(side_by_side[1:], before[1:], strict=True)
            self.mixes = nn.ModuleList(Linear(wide, width, bias=False) for wide, width in pairs)
        if virtual_node:
            self.virtual = nn.ModuleList(MLP(width, virtual_channels or width, width) for width in reads)
        if readout == "lstm":
            width = self.part_width(self.widths[-1])
            self.attention = LSTMAttention(width, width)

    def make_norms(self, norm: str) -> None:
        """Make those that `finished` applies."""
        if norm != "none":
            self.norms_between = nn.ModuleList(make_norm(norm, width) for width in self.widths[1:])

    @property
    def read_width(self) -> int:
        """Width of what `read` returns."""
        widths = [self.part_width(width) for width in self.widths]
        return sum(widths) if self.readout == "concat" else widths[-1]

    def refusal(self, skip: str, readout: str, norm: str, fully_adjacent_last: bool, virtual_node: bool) -> str | None:
        """Return which of these is refused, by what the model is, and why; or None."""
        asked = {"skip": skip, "readout": readout, "norm": norm, "virtual_node": virtual_node}
        for name, value in asked.items():
            if reason := self.refuses.get(f"{name}={value}"):
                return f"{name}: must not be {value} for this {type(self).__name__}, {reason}"
        if not fully_adjacent_last:
            return None
        reason = self.not_adjacent
        if along := sorted(ALONG.intersection(self.needs)):
            reason = f"whose layers read edges from '{along[0]}', made once of a whole graph"
        if skip == "gated":
            reason = "whose gates would all be 0, by GCN on the complete graph"
        return reason and f"fully_adjacent_last: must be false for this {type(self).__name__}, {reason}"

    def put_between(
        self,
        *,
        skip: str,
        alpha: float,
        gate_power: float,
        readout: str,
        norm: str,
        fully_adjacent_last: bool,
        virtual_node: bool,
    ) -> None:
        """Surround the layers of a model that is made already, and declare what follows.

        Raises ValueError where it makes no sense for this model, and for settings that nothing would read.
        """
        check_read(skip, alpha, gate_power)
        if reason := self.refusal(skip, readout, norm, fully_adjacent_last, virtual_node):
            raise ValueError(reason)
        self.surround(
            skip=skip,
            alpha=alpha,
            gate_power=gate_power,
            readout=readout,
            fully_adjacent_last=fully_adjacent_last,
            virtual_node=virtual_node,
            norm=norm,
        )
        if readout == "concat":
            self.decoder = Linear(self.read_width, self.out_channels)
        opened = {"virtual_node": virtual_node, "rewiring": fully_adjacent_last}
        self.global_channel |= find_norm(norm).channel | {name for name, is_open in opened.items() if is_open}
        if self.gates:
            self._declare_gates()
        self.reach = None if self.reach is None else self.bounded(self.reach)
        plain = readout == "last" and not virtual_node and not fully_adjacent_last
        kept = {"none": self.skips, "residual": "added" if self.skips == "none" else "other"}
        self.skips = kept.get(skip, "other") if plain else "other"
        self.frozen = self.frozen and readout == "last" and norm == "none"

    def _declare_gates(self) -> None:
        """Say how far layers and gates read: a gate one hop by its convolution, and one more by the differences."""
        size, hops = self.num_windows, self.layer_hops or (1,) * (self.num_layers * self.num_windows)
        layers = [hops[index * size : (index + 1) * size] for index in range(self.num_layers)]
        self.layer_hops = (*chain.from_iterable((*each, 1) for each in layers), *hops[self.num_layers * size :])
        if self.reach is not None:
            self.reach = gated_reach([1 if self.reads_past else sum(each) for each in layers], 1)
        self.reads_edges = True

    # going through them

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        return self._through(x, op, needs, keep=True)

    def last_state(self, x: Tensor, op: Operators, **needs: Tensor) -> Tensor:
        return self._through(x, op, needs, keep=not self.frozen)[-1]

    def _through(self, x: Tensor, op: Operators, needs: dict[str, Tensor], keep: bool) -> list[Tensor]:
        """Return the states, or, unless they are to `keep`, the last alone."""
        first, memory = self.enter(x, op, **needs)
        del x
        hidden, last = [first], op
        for index in range(self.num_layers):
            windows = self._windows(op, index)
            if self.skip == "initial":
                first = rooted(first, windows)
            h = self._around(hidden, first, windows, memory, index)
            if self.readout != "last" or self.skip == "dense":  # earlier states are read too, at the nodes that the last one has
                hidden = [rooted(earlier, windows) for earlier in hidden]
            self.written(h, windows, memory)
            hidden = [*hidden, h] if keep else [h]
            last = windows[-1]
        return self.leave(hidden, last, op, memory)

    @property
    def windows_a_layer(self) -> int:
        """How many windows a layer takes, what stands between included: a gate has one more, for differences of neighbours."""
        return self.num_windows + bool(self.gates)

    def _windows(self, op: Operators, index: int) -> list[Operators]:
        adjacent = self.fully_adjacent_last and index == self.num_layers - 1
        first, size = index * self.windows_a_layer, self.num_windows
        seen = op.fully_adjacent() if adjacent else op
        own = [seen.layer(first + further) for further in range(size)]
        return [*own, op.layer(first + size)] if self.gates else own

    def _around(self, hidden: list[Tensor], first: Tensor, windows: list[Operators], memory: Memory, index: int) -> Tensor:
        """Return the state after layer number `index`."""
        h, own = self._before(hidden, index), windows[: self.num_windows]
        if self.virtual:
            h = h + own[0].to_nodes(self.virtual[index](own[0].global_mean(h)), h)
        read, memory.initial = self.thinned(h), rooted(memory.initial, own)
        out = self.finished(self.layer(index, read, own, memory), own[-1], index)
        out = self.skipped(out, h, first, own, index)
        if self.gates:
            gate, onward = self.gates[index](read, own, windows[-1], memory), windows[-1]
            before = rooted(h, windows)
            out = before + gate * (onward.root(out) - before)
            memory.initial = onward.root(memory.initial)
        return out

    def _before(self, hidden: list[Tensor], index: int) -> Tensor:
        """Return what a layer reads of the states before it."""
        if self.skip != "dense":
            return hidden[-1]
        every = torch.cat(hidden, dim=-1)
        mixed: Tensor = self.mixes[index - 1](every) if self.mixes and index else every
        return mixed

    def skipped(self, out: Tensor, h: Tensor, first: Tensor, own: Sequence[Operators], index: int) -> Tensor:
        """Return what becomes of a layer's output beside the state before, and the first."""
        if self.skip == "residual" and out.size(-1) == h.size(-1):
            return rooted(h, own) + out
        if self.skip == "initial" and out.size(-1) == first.size(-1):
            return (1 - self.alpha) * out + self.alpha * first
        return out


def _gcn(channels: int) -> Conv:
    return CONVS["gcn"](channels, channels)


def gated_reach(hops: Sequence[int], gate_hops: int) -> int:
    """Return how far gated layers read that read `hops` each, and whose gates read `gate_hops`, and differences beyond."""
    return sum(max(each, gate_hops + 1) for each in hops)


def check_read(skip: str, alpha: float, gate_power: float, conv: str = "") -> None:
    """Raise ValueError where a setting was given that nothing reads: another key would hold the same numbers."""
    if alpha != ALPHA and skip != "initial" and conv != "gcnii":
        raise ValueError(f"alpha: must be {ALPHA} unless skip = initial or conv = gcnii, which alone read it; got {alpha}")
    if gate_power != GATE_POWER and skip != "gated":
        raise ValueError(f"gate_power: must be {GATE_POWER} unless skip = gated, which alone reads it; got {gate_power}")

"""How measures look at a model: through a float64 copy in eval mode that leaves the model itself alone."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.models.rev_gnn import InvertibleModule

from suite.copies import copied
from suite.engine.batches import GraphBatch, graph_batch, takes_batch
from suite.measures.linearised import Window, by_own
from suite.models.base import Model
from suite.models.encodings import Needs
from suite.rng import global_seed

EDGE_DATA = ("edge_weight", "edge_attr")  # of a graph, [num_edges, ...]: passed to a module with a parameter of that name


class Pass(NamedTuple):
    """One forward pass over graphs joined into one.

    Attributes:
        x: [num_nodes, in_channels] float64, a leaf; derivatives by what factors appended to it are 0.
        hidden: states before the first layer and after each, each [num_nodes, channels].
        output: [num_nodes, out_channels].
        ptr: [num_graphs + 1] long, where each graph's nodes begin.
        read: what the output is decoded from: the last hidden state, unless the model reads others too.
        beside: how many states that PyG convolutions returned are no layers (see `Frozen`).
        skips: what layers hand on past their operator, as a built-in model declares it (`Model.skips`); of a module that
            declares nothing "other" where something passes by a layer, else "none".
        counts: which of several outputs by name `output` is, or "".
    """

    x: Tensor
    hidden: list[Tensor]
    output: Tensor
    ptr: list[int]
    read: Tensor
    beside: int
    skips: str
    counts: str

    def per_graph(self, rows: Tensor) -> list[Tensor]:
        """Cut [num_nodes, ...] into the rows of each graph."""
        return [rows[a:b] for a, b in pairwise(self.ptr)]


class Frozen:
    """A float64 copy of a model, on the CPU and in eval mode, without gradients of its weights.

    Built-in models give their hidden states through `encode`. Of any other module they are `x` and then what its
    PyG convolutions return, in the order of the calls: the values *before* the norm and the activation that
    follow outside the convolution, and only where they have a row per node (those of a pooled graph have not). Each layer
    must be made from the one before, and the output from the last: see `chain`. A module without PyG convolutions has
    the one state `x`.

    Attributes:
        encodes: whether the hidden states are the model's own.
        operator: what the model declares, or what a diagnosis judges it by, or None.
        declared: whether that is the model's own word.
        reach: how many hops away an output can depend on an input at most, by the model's word; None where any distance is.
        alone: whether graphs are run one at a time, by the model's word: it would mix those that are joined.
    """

    def __init__(self, model: nn.Module) -> None:
        self._module: Any = copied(model).to("cpu", torch.float64).eval().requires_grad_(False)
        self.encodes = hasattr(model, "encode") and hasattr(model, "decode")
        word: str | None = getattr(model, "operator", None)
        self.operator: str | None
        self.declared: bool
        self.operator, self.declared = getattr(model, "judged_by", (word, word is not None))
        past_edges = frozenset(getattr(model, "global_channel", {"unknown"})) - {"norm(train)"}  # constants in eval mode
        self._skips: str | None = getattr(model, "skips", None)
        self.reach: int | None = None if past_edges else getattr(model, "reach", None)
        self.alone: bool = getattr(model, "alone", False)
        self._needs: Needs = getattr(model, "needs", frozenset())
        self._edge_data = edge_data_taken(model)
        for module in self._module.modules():
            _forget_cached_graph(module)
            if isinstance(module, InvertibleModule):  # which frees its input's memory in the forward pass
                module.disable = True

    def run(self, graphs: Sequence[Data], differentiable: bool = False) -> Pass:
        """Run the model once over all `graphs`; with `differentiable`, `x` and everything after it carry gradients."""
        return self.run_joined(self.join(graphs), differentiable)

    def run_joined(self, given: GraphBatch, differentiable: bool = False) -> Pass:
        """Do as `run` does, for graphs already joined."""
        undeclared = not self.encodes or self._skips is None  # what states are made from is read off autograd's graph then
        tracked = differentiable or undeclared
        x = given.graphs.x.double().requires_grad_(tracked)
        named = {"batch": given.graphs.batch} if takes_batch(self._module) else {}
        # A stranger's module may draw random numbers even in eval mode: the same at every call, and nobody else's.
        with torch.set_grad_enabled(tracked), global_seed(0), self._default_dtype():
            seen = by_own(x, given.graphs.own)
            if self.alone and len(given.graphs) > 1:
                hidden, output, beside, skips = self._one_by_one(seen, given)
            else:
                hidden, output, beside, skips = self._states(seen, given.graphs.edge_index, named | given.needs)
            read = self._module.read(hidden) if hasattr(self._module, "read") else hidden[-1]
        if tracked and not differentiable:
            last = read is hidden[-1]
            x, hidden, output = x.detach(), [state.detach() for state in hidden], output.detach()
            read = hidden[-1] if last else read.detach()
        return Pass(x, hidden, output, given.graphs.ptr, read, beside, skips, getattr(self._module, "counts", ""))

    def join(self, graphs: Sequence[Data]) -> GraphBatch:
        """Return `graphs` as one, with what the model needs besides, and what it takes of edges where every graph has it."""
        joined = graph_batch([_unanswered(graph) for graph in graphs], self._needs)
        for name in self._edge_data:
            if all(graph.get(name) is not None for graph in graphs):
                joined.needs[name] = _double(torch.cat([graph[name] for graph in graphs]))
        return joined

    @property
    def propagating(self) -> Model | None:
        """The copy, if it is a built-in kind of model, written against operators, that edges alone carry information in."""
        ours = isinstance(self._module, Model) and self.reach is not None and not self._needs
        return self._module if ours else None

    def run_near(self, given: GraphBatch, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run a propagating model on some nodes of joined graphs, with the degrees of all; differentiable.

        Returns x, a leaf, the state before the first layer and the output, [num_nodes, channels] each. They are those on the
        whole graph at nodes from which the rim of `nodes` is as many hops away as the model reaches.
        """
        assert self.propagating is not None
        x = given.graphs.x[nodes].double().requires_grad_()
        op = Window(given.graphs.edge_index, given.graphs.x.size(0), torch.float64, nodes)
        with torch.enable_grad():
            own = given.graphs.own
            hidden = self.propagating.states(by_own(x, None if own is None else own[nodes]), op)
            return x, hidden[0], self.propagating.decode(hidden)

    @contextmanager
    def _default_dtype(self) -> Iterator[None]:
        """Let the tensors that a stranger's module makes as it runs be float64 too."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(before if isinstance(self._module, Model) else torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)

    def separately(self, graphs: Sequence[Data]) -> list[Sequence[Data]]:
        """Return `graphs` in the parts that one pass takes so that the states it returns are the ones its output comes from."""
        return [[graph] for graph in graphs] if self.alone else [graphs]

    def _one_by_one(self, x: Tensor, given: GraphBatch) -> tuple[list[Tensor], Tensor, int, str]:
        edge_index, ptr = given.graphs.edge_index, given.graphs.ptr
        data = {name: given.needs[name] for name in EDGE_DATA if name in given.needs}
        inside = [(edge_index[0] >= a) & (edge_index[0] < b) for a, b in pairwise(ptr)]
        parts = [
            self._states(x[a:b], edge_index[:, own] - a, {name: value[own] for name, value in data.items()})
            for (a, b), own in zip(pairwise(ptr), inside, strict=True)
        ]
        hidden = [torch.cat(layer) for layer in zip(*(states for states, *_ in parts), strict=True)]
        return hidden, torch.cat([output for _, output, *_ in parts]), *parts[0][2:]

    def _states(self, x: Tensor, edge_index: Tensor, named: dict[str, Any]) -> tuple[list[Tensor], Tensor, int, str]:
        module: Any = self._module
        if self.encodes:
            hidden = list(module.encode(x, edge_index, **named))
            output = module.decode(hidden)
            return hidden, output, 0, self._skips or ("other" if passed_by(hidden, output) else "none")
        with recorded(module, x.size(0)) as states:
            output = module(x, edge_index, **named)
        layers = chain(states, output)
        skips = "other" if passed_by([x, *layers], output) else "none"
        return [x, *layers], output, len(states) - len(layers), skips


def edge_data_taken(module: Any) -> frozenset[str]:
    """Return which data of edges a module has a parameter for: its `encode`, where it tells its own hidden states."""
    if isinstance(module, Model):
        return frozenset()
    told: frozenset[str] | None = getattr(module, "edge_data", None)
    function = module.encode if hasattr(module, "encode") and hasattr(module, "decode") else module.forward
    return frozenset(EDGE_DATA) & frozenset(inspect.signature(function).parameters) if told is None else told


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def _unanswered(graph: Data) -> Data:
    """Return a copy whose answers are none: measures need no `y`, batching wants one."""
    graph = copy.copy(graph)
    graph.y = graph.x.new_zeros(0)
    return graph


@contextmanager
def recorded(module: nn.Module, num_nodes: int) -> Iterator[list[Tensor]]:
    """Collect what the outermost PyG convolutions of `module` return, where it is [num_nodes, channels]."""
    states: list[Tensor] = []

    def record(_module: nn.Module, _args: Any, out: Any) -> None:
        state = out[0] if isinstance(out, tuple) else out
        if isinstance(state, Tensor) and state.dim() == 2 and state.size(0) == num_nodes:
            states.append(state)

    handles = [conv.register_forward_hook(record) for conv in dict.fromkeys(outermost_convs(module))]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def chain(states: list[Tensor], output: Tensor) -> list[Tensor]:
    """Return the longest run of `states` in which each is made from the one before, and `output` from the last.

    The layers of a module: a second run over other input (the corrupted one of `DeepGraphInfomax`, the mirrored one of a sign
    invariant net), a branch beside, and a second head are left out; of branches that are equally long the last called stays.
    Read off autograd's graph; all states, where it does not know one of them (a checkpoint), or the output of none.
    """
    if output.grad_fn is None or any(state.grad_fn is None for state in states):
        return states
    made: dict[Any, list[int]] = {}
    for place, state in enumerate(states):
        made.setdefault(state.grad_fn, []).append(place)
    longest: dict[Any, list[int]] = {}  # places of the longest run that leads to a step of the graph, that step's included
    ahead: list[Any] = [output.grad_fn]
    while ahead:
        step = ahead[-1]
        before = [found for found, _ in step.next_functions if found is not None]
        if missing := [] if step in longest else [found for found in before if found not in longest]:
            ahead += missing
            continue
        if step not in longest:
            run = max((longest[found] for found in before), key=lambda places: (len(places), places), default=[])
            longest[step] = [*run, *made.get(step, [])]
        ahead.pop()
    return [states[place] for place in longest[output.grad_fn]] or states


def passed_by(states: list[Tensor], output: Tensor) -> bool:
    """Return whether `output` is made from one of `states` in a way that does not lead through the next: past that layer.

    Read off autograd's graph, as `chain` does; of states that it does not know nothing is said.
    """
    for before, after in pairwise(states):
        if not before.requires_grad or after.grad_fn is None:
            continue
        source = get_gradient_edge(before).node  # x, which nothing made, has one too
        ahead, seen = [output.grad_fn], {after.grad_fn}
        while ahead:
            step = ahead.pop()
            if step is source:
                return True
            if step is not None and step not in seen:
                seen.add(step)
                ahead += [found for found, _ in step.next_functions]
    return False


def outermost_convs(module: nn.Module) -> list[nn.Module]:
    """Return the PyG convolutions of `module` that are in no other, in the order they stand."""
    if isinstance(module, MessagePassing) or type(module).__module__.startswith("torch_geometric.nn.conv."):  # GPSConv is none
        return [module]
    return [conv for child in module.children() for conv in outermost_convs(child)]


def _forget_cached_graph(module: Any) -> None:
    """Undo `GCNConv(cached=True)`: the copy must not apply the training graph's edges to another graph."""
    for name in ("_cached_edge_index", "_cached_adj_t", "_cached_x", "_cached_h"):
        if getattr(module, name, None) is not None:
            setattr(module, name, None)
    if getattr(module, "cached", None) is True:
        module.cached = False

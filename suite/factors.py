"""Factors: what a cell changes about its task's graphs, whatever the model: an encoding of nodes, a rewiring.

`task_of(cell)` is the task as the cell sees it, a task itself: training, evaluation and measures draw from that one, certificates
and the contract kit from the task alone. What the task draws is the same with and without factors; then

1. the encoding, of the task's own graph, appends columns to x. Signs and bases are drawn for every sample from the stream of the
   block, behind what the task took from it: all models of a seed see the same;
2. the rewiring puts other edges in the place of the task's, and may append nodes, whose x is 0.

`Block.original_index` keeps the task's edges, and `Block.own` which entries of x are the task's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import PrivateAttr, ValidationError
from torch import nn
from torch_geometric.utils import coalesce

from suite.budget import specimen
from suite.cell import Cell, FactorRef
from suite.hops import hop_distance
from suite.models import find, resolve, settings_of
from suite.models.attentions import PAIR_BIASES
from suite.models.encodings import ALONG, PAIRS
from suite.models.factor import Factor, resolve_factor
from suite.models.node_encodings import NODE_ENCODINGS, NodeEncoding, load_encoding
from suite.models.rewirings import REWIRINGS, EdgeFree, Graph, Rewiring, load_rewiring, rewire
from suite.refs import said
from suite.samples import graphs_of
from suite.task import Block, Task
from suite.views import View

CONTROL = "Control"  # the family of models that are told nothing of the graph, and of others made to compare with
SEEN = 4  # graphs by which the distance after a rewiring is found; the others are taken to be alike
Told = Literal["edges", "encoding", "nothing"]
PAIR_TITLES = {"spd": "SPD", "rrwp": "RRWP", "resistance": "resistance"}


def task_of(cell: Cell) -> Task:
    """Return the task as `cell` sees it: the task itself, or a view of it with the cell's factors."""
    if cell.encoding is None and cell.rewiring is None:
        task: Task = cell.task.load()
        return task
    return Factored(seen=cell.task, encoding=cell.encoding, rewiring=cell.rewiring)


class Factors(NamedTuple):
    """What a model is combined with, as a study's cells hold it.

    Attributes:
        settings: of the model: how it reads an encoding of pairs, which is no field of a cell.
        encoding, rewiring: as in `Cell`.
        titles: behind the model's, in figures.
        channel: what the rewiring opens past the task's own edges.
    """

    settings: dict[str, Any]
    encoding: FactorRef | None
    rewiring: FactorRef | None
    titles: tuple[str, ...]
    channel: frozenset[str]

    def told(self, model: Declared) -> Told:
        """Return by what `model`, built with these settings, is told of the graph that the task draws.

        "edges", that it reads; "encoding", of nodes or pairs, where no layer reads edges; or "nothing": then it is a control
        without edges, whatever its name is. Random features tell nothing.
        """
        without = self.rewiring is not None and isinstance(load_rewiring(self.rewiring), EdgeFree)
        if model.reads_edges and not without:
            return "edges"
        of_nodes = self.encoding is not None and load_encoding(self.encoding).of_graph
        return "encoding" if of_nodes or model.needs - ALONG else "nothing"

    def pe_reach(self, model: Declared) -> int | None:
        """Return how many hops far encodings, of nodes or pairs, tell the combination of the graph; None: without bound."""
        of_nodes = 0 if self.encoding is None else load_encoding(self.encoding).pe_reach
        return None if of_nodes is None or model.pe_reach is None else max(of_nodes, model.pe_reach)

    def family(self, own: str, told: Told) -> str:
        """Return the family of the combination; `own` is that of the model, in the table, and `told` by what of the graph."""
        if told == "nothing":
            return CONTROL
        return own if self.rewiring is None or own == CONTROL else "Rewired"

    def title(self, model: str, told: Told) -> str:
        """Return how figures call the combination; `model` is the title of the model alone."""
        noted = told == "nothing" and self.rewiring is None  # which would say so itself
        return " + ".join([f"{model} (no edges)" if noted else model, *self.titles])


class Declared(NamedTuple):
    """What a built model says of itself: what a module does not declare is taken to be there."""

    global_channel: tuple[str, ...]
    needs: frozenset[str]  # by name
    reads_edges: bool
    pe_reach: int | None

    @classmethod
    def by(cls, model: nn.Module) -> Declared:
        """Return the declarations of `model`."""
        channel = tuple(sorted(getattr(model, "global_channel", ["undeclared"])))
        needs = frozenset[str](getattr(model, "needs", ()))
        pe_reach = getattr(model, "pe_reach", None if needs & PAIRS else 0)
        return cls(channel, needs, getattr(model, "reads_edges", True), pe_reach)


Asked = tuple[str, dict[str, Any]]  # name and settings


def combine(model: str, given: Mapping[str, Any], encoding: Asked | None, rewiring: Asked | None) -> Factors:
    """Return what the model called `model`, with the settings `given`, is combined with.

    An encoding of pairs is read by attention among all nodes, through its setting `pair_bias`. Raises ValueError for unknown
    names or settings, for an encoding of pairs that the model has no place for, and for a rewiring of edges that it never reads.
    """
    settings, encoded, titles = {}, None, []
    if encoding is not None and encoding[0] in PAIR_BIASES:
        settings = _pair_bias(model, given, *encoding)
        titles.append(PAIR_TITLES[encoding[0]])
    elif encoding is not None:
        encoded = _resolved("encoding", {**NODE_ENCODINGS, **dict.fromkeys(PAIR_BIASES, NodeEncoding)}, *encoding)
        titles.append(load_encoding(encoded).title)
    rewired = None if rewiring is None else _resolved("rewiring", REWIRINGS, *rewiring)
    loaded = None if rewired is None else load_rewiring(rewired)
    if rewiring is not None and not _reads_edges(model, {**given, **settings}):
        raise ValueError(
            f"rewiring '{rewiring[0]}' changes edges, and {_short(model)} reads none: give it to a model that does (gcn, gps),"
            " or leave it out"
        )
    titles += [] if loaded is None else [loaded.title]
    return Factors(settings, encoded, rewired, tuple(titles), frozenset() if loaded is None else loaded.channel)


def _reads_edges(model: str, settings: Mapping[str, Any]) -> bool:
    """Return whether the model reads edges, by its own word; where it cannot be built so, that is told when it is built."""
    built = specimen(resolve(model, dict(settings)))
    return built is None or Declared.by(built).reads_edges


def _short(model: str) -> str:
    return model.rpartition("/")[2]


def _pair_bias(model: str, given: Mapping[str, Any], name: str, settings: dict[str, Any]) -> dict[str, Any]:
    if settings:
        raise ValueError(f"encoding '{name}' has no settings of its own, got '{min(settings)}'; the model's say how it is read")
    if "pair_bias" in given or "pair_bias" not in settings_of(model):
        raise ValueError(
            f"encoding '{name}' is of pairs of nodes, and only attention among all nodes reads pairs: {_short(model)} has no"
            f" setting 'pair_bias', or has it already. Give it to a transformer (set_transformer, gps), or encode nodes:"
            f" {', '.join(NODE_ENCODINGS)}"
        )
    return {"pair_bias": name}


def _resolved(what: str, table: Mapping[str, type[Factor]], name: str, settings: dict[str, Any]) -> FactorRef:
    try:
        return resolve_factor(what, table, name, settings)
    except ValidationError as error:
        raise ValueError("; ".join(said(found, what, set(table[name].model_fields)) for found in error.errors())) from error


def family_of(name: str) -> str:
    """Return the family of the model called `name` in the table, with the settings that stand there and without factors."""
    alone, built = combine(name, {}, None, None), specimen(resolve(name))
    own = find(name).family
    return own if built is None else alone.family(own, alone.told(Declared.by(built)))


def redrawn(cell: Cell) -> bool:
    """Return whether two draws of a task that is one fixed graph differ all the same, by what its encoding draws."""
    return cell.encoding is not None and load_encoding(cell.encoding).redrawn


def refusal(task: Task, rng: torch.Generator, encoding: FactorRef | None, rewiring: FactorRef | None) -> str | None:
    """Return why the graphs of `task` cannot have these factors, and what would do, from one graph drawn by `rng`; or None."""
    graph = graphs_of(task.at("train", 0).draw(1, rng))[0]
    num_nodes = int(graph.num_nodes or 0)
    if encoding is not None and (reason := load_encoding(encoding).refusal(num_nodes)):
        return f"encoding '{encoding.name}' {reason}"
    if rewiring is not None:
        edges = coalesce(graph.edge_index, num_nodes=num_nodes)
        if reason := load_rewiring(rewiring).refusal(Graph(edges, num_nodes, graph.get("readout_index"))):
            return f"rewiring '{rewiring.name}' {reason}"
    return None


def rewired_hops(task: Task, rng: torch.Generator, rewiring: FactorRef) -> int:
    """Return how many edges a rewiring leaves between read-outs and their sources, from graphs of `task` drawn by `rng`.

    Raises ValueError where the graphs refuse the rewiring, where no path is left, and where there is not one distance.
    """
    loaded, found = load_rewiring(rewiring), set[int]()
    for graph in graphs_of(task.at("train", 0).draw(SEEN, rng)):
        rewired = rewire(loaded, graph.edge_index, int(graph.num_nodes or 0), graph.get("readout_index"))
        readouts, sources = graph.get("readout_index"), graph.get("source_index")
        if readouts is not None and sources is not None:
            hops = hop_distance(rewired.edge_index, readouts, rewired.num_nodes)[:, sources]
            each = readouts.numel() == sources.numel()  # read-out i has source i, else all of them
            found |= set((hops.diagonal() if each else hops.flatten()).tolist())
    if len(found) != 1 or -1 in found:
        left = "no path" if found == {-1} else f"distances {sorted(found)}" if found else "no source"
        raise ValueError(
            f"rewiring '{rewiring.name}' leaves {left} between read-outs and sources of {task.title}, not one distance"
        )
    return found.pop()


class Factored(View):
    """A task seen through factors. It is called, asked and scored as the task is, and its streams have the task's names."""

    encoding: FactorRef | None = None
    rewiring: FactorRef | None = None
    _encoding: NodeEncoding | None = PrivateAttr(None)
    _rewiring: Rewiring | None = PrivateAttr(None)

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        self._encoding = None if self.encoding is None else load_encoding(self.encoding)
        self._rewiring = None if self.rewiring is None else load_rewiring(self.rewiring)

    @property
    def title(self) -> str:
        return self._task.title

    def config(self) -> dict[str, Any]:
        return self._task.config()

    def show(self, block: Block, rng: torch.Generator) -> Block:
        own = torch.ones(block.x.shape[1:], dtype=torch.bool)
        x, varying = block.x, block.varying
        if self._encoding is not None:
            columns = self._encoding.draw(block.edge_index, block.num_nodes, block.num_graphs, rng).to(x.dtype)
            x = torch.cat([x, columns.expand(block.num_graphs, -1, -1)], 2)
            own = F.pad(own, (0, self._encoding.width))
            varying = torch.ones_like(own[:, 0]) if self._encoding.redrawn else varying
        edges, original = block.edge_index, None
        if self._rewiring is not None:
            rewired = rewire(self._rewiring, edges, block.num_nodes, block.readout_index)
            edges, original, new = rewired.edge_index, edges, rewired.num_nodes - block.num_nodes
            x, own = F.pad(x, (0, 0, 0, new)), F.pad(own, (0, 0, 0, new))
            varying = None if varying is None else F.pad(varying, (0, new))
        return Block(edges, x, block.y, block.readout_index, block.source_index, varying, original, own)

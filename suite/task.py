"""The contract of topologies and tasks: what is asked, on which graph, and how it is drawn.

A *topology* is a small frozen value that builds a graph with read-out nodes and a source at `hops` from each.
A *task* is a frozen value too: its fields are its parameters, and one method draws samples. Both are pydantic
models, so bounds, help texts, cell keys and data sheets all come from the fields.

`suite` knows no task by name: tasks reach it as objects or as `module:Name` references (`suite.refs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import remove_self_loops, to_undirected

from suite.hops import hop_distance
from suite.metrics import ERRORS

Split = Literal["train", "validation", "test"]
Level = Literal["node", "graph"]
Loss = Literal["cross_entropy", "binary_cross_entropy", "mse", "mae"]
Metric = Literal["accuracy", "roc_auc", "average_precision", "mse", "mae"]
METRICS: dict[Loss, Metric] = {  # by which a task is scored that names no other
    "cross_entropy": "accuracy",
    "binary_cross_entropy": "average_precision",
    "mse": "mse",
    "mae": "mae",
}


class DataUnavailable(RuntimeError):  # noqa: N818 - the data is what is unavailable
    """A data set is neither here nor to be had: its cells are listed as such, and tried again by the next run."""


class Value(BaseModel):
    """A frozen value whose fields are its parameters; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Topology(Value):
    """Builds a graph with read-out nodes, each with a source exactly `hops` away.

    Subclasses declare `kind: Literal["name"] = "name"` and `build`. A topology with several places to ask at (a road
    network) returns several pairs: `readout_index[i]` and `source_index[i]` are `hops` apart; `at` picks among them.
    """

    min_hops: ClassVar[int] = 1
    kind: str

    def build(self, hops: int) -> Data:
        """Return `edge_index` [2, num_edges] (undirected, coalesced, no self-loops), `num_nodes`, `readout_index` [p] and
        `source_index` [p], in a canonical node order that is the same at every call."""
        raise NotImplementedError

    def at(self, split: Split, block: int) -> Self:
        """Return the topology as block number `block` of `split` sees it; synthetic families look the same everywhere."""
        return self

    def graph(self, hops: int) -> Data:
        """Return `build(hops)`, built once and checked: every source is `hops` from its read-out node, by BFS.

        Raises ValueError where `hops` is below `min_hops`, or the graph does not hold what it promises.
        """
        return _checked_graph(self, hops)


@lru_cache(maxsize=512)
def _checked_graph(topology: Topology, hops: int) -> Data:
    if hops < topology.min_hops:
        raise ValueError(f"hops: must be >= {topology.min_hops} on a {topology.kind}, got {hops}")
    graph = topology.build(hops)
    found = hop_distance(graph.edge_index, graph.readout_index, graph.num_nodes)
    planted = found[torch.arange(found.size(0)), graph.source_index]
    if not bool((planted == hops).all()):
        raise ValueError(f"{topology!r} promises a source {hops} hops from its read-out node, BFS finds {planted.tolist()}")
    return graph


class Block:
    """Graphs that share one topology, drawn together: the fast form of a list of `Data`.

    Attributes:
        edge_index: [2, num_edges] long, the edges every graph has.
        x: [num_graphs, num_nodes, in_channels] float.
        y: [num_graphs, num_readouts, ...]: class indices (long) or targets (float).
        readout_index: [num_readouts] long, the nodes the answers are read at.
        source_index: [num_sources] long, or None where nothing is planted.
        varying: [num_nodes] bool, whether a node's x may differ between graphs; None: the engine compares where that may pay.
        original_index: [2, num] long, the edges before a rewiring, from which distances are counted; None: `edge_index`.
        own: [num_nodes, in_channels] bool, what of x the task itself gave (factors append columns and nodes); None: all.
    """

    def __init__(
        self,
        edge_index: Tensor,
        x: Tensor,
        y: Tensor,
        readout_index: Tensor,
        source_index: Tensor | None = None,
        varying: Tensor | None = None,
        original_index: Tensor | None = None,
        own: Tensor | None = None,
    ) -> None:
        self.edge_index, self.x, self.y = edge_index, x, y
        self.readout_index, self.source_index, self.varying = readout_index, source_index, varying
        self.original_index, self.own = original_index, own

    @property
    def num_graphs(self) -> int:
        return self.x.size(0)

    @property
    def num_nodes(self) -> int:
        return self.x.size(1)

    def to_data_list(self) -> list[Data]:
        """Return the same graphs as PyG `Data`, one by one."""
        fixed: dict[str, Any] = {"edge_index": self.edge_index, "readout_index": self.readout_index}
        maybe = {"source_index": self.source_index, "original_index": self.original_index, "own": self.own}
        fixed |= {name: value for name, value in maybe.items() if value is not None}
        return [Data(x=x, y=y, **fixed) for x, y in zip(self.x, self.y, strict=True)]

    def take(self, index: Tensor) -> Block:
        """Return the graphs at `index` [num_graphs], repeated where an index is."""
        fixed = self.readout_index, self.source_index, self.varying, self.original_index, self.own
        return Block(self.edge_index, self.x[index], self.y[index], *fixed)

    @classmethod
    def from_data_list(cls, graphs: Sequence[Data]) -> Block | None:
        """Join `graphs` into a block, or return None where they do not share one topology and read-out nodes, or have none."""
        first = graphs[0]
        if first.get("readout_index") is None:
            return None
        source = first.get("source_index")
        for graph in graphs[1:]:
            same = graph.num_nodes == first.num_nodes and torch.equal(graph.edge_index, first.edge_index)
            if not (same and torch.equal(graph.readout_index, first.readout_index) and _same_origin(graph, first)):
                return None
            if source is not None and not torch.equal(graph.source_index, source):
                source = None
        x, y = torch.stack([g.x for g in graphs]), torch.stack([g.y for g in graphs])
        origin = {name: first.get(name) for name in ("original_index", "own")}
        return cls(first.edge_index, x, y, first.readout_index, source, **origin)


FORM = {  # what a graph is made of: fields, their shapes, and how many axes they have
    "x": ("[num_nodes, in_channels]", (2,)),
    "edge_index": ("[2, num_edges]", (2,)),
    "y": ("[num_readouts, ...]", (1, 2)),
    "readout_index": ("[num_readouts]", (1,)),
    "source_index": ("[num_sources]", (1,)),
}
REQUIRED = ("x", "edge_index", "y")


def malformed(graph: object) -> str:
    """Return what keeps `graph` from being read at all: a field that is missing or no tensor of its shape; "" for nothing."""
    if not isinstance(graph, Data):
        return f"must be a torch_geometric.data.Data; is {type(graph).__name__}"
    for name, (shape, axes) in FORM.items():
        value = graph.get(name)
        if value is None and name not in REQUIRED:
            continue
        if not isinstance(value, Tensor):
            said = "not there" if value is None else f"{value!r}, of type {type(value).__name__}"
            return f"{name} must be a tensor {shape}; is {said}"
        if value.dim() not in axes:
            return f"{name} must be {shape}; is {list(value.shape)}"
    return ""


def _check_form(sampled: Sequence[object]) -> None:
    """Raise ValueError where one of `sampled` is no graph, or their x differ in width."""
    widths = set[int]()
    for graph in sampled:
        if fault := malformed(graph):
            raise ValueError(f"sample: {fault if isinstance(graph, Data) else f'what it returns {fault}'}")
        assert isinstance(graph, Data)
        widths.add(graph.x.size(1))
    if len(widths) > 1:
        raise ValueError(f"sample: x must have as many columns in every graph; they are {sorted(widths)}")


def own_edges(graph: Block | Data) -> Tensor:
    """Return the edges that the task itself drew, before a rewiring: [2, num_edges]."""
    original: Tensor | None = getattr(graph, "original_index", None)
    return graph.edge_index if original is None else original


def simple_edges(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Return the edges both ways, each once, without loops."""
    simple: Tensor = to_undirected(remove_self_loops(edge_index)[0], num_nodes=num_nodes)
    return simple


def _same_origin(graph: Data, other: Data) -> bool:
    """Return whether two graphs of as many nodes have the same edges before a rewiring, or neither was rewired."""
    edges, others = graph.get("original_index"), other.get("original_index")
    return edges is others or (edges is not None and others is not None and torch.equal(edges, others))


class Packed(Sequence[Data]):
    """Any graphs, end to end in flat arrays; nodes are numbered through. As a sequence it makes PyG `Data` on demand.

    Attributes:
        x: [num_nodes, in_channels] float, of all graphs.
        edge_index: [2, num_edges] long.
        y: [num_answers, ...].
        readout_index: [num_readouts] long, or None where the task asks for whole graphs.
        source_index: [num_sources] long, or None.
        original_index, own: as in `Block`, of all graphs, or None.
        sizes: for each of these names, how many entries each graph has: [num_graphs] long.
    """

    NUMBERED = ("edge_index", "readout_index", "source_index", "original_index")  # what names nodes

    def __init__(
        self,
        x: Tensor,
        edge_index: Tensor,
        y: Tensor,
        readout_index: Tensor | None = None,
        source_index: Tensor | None = None,
        original_index: Tensor | None = None,
        own: Tensor | None = None,
        *,
        sizes: dict[str, Tensor],
    ) -> None:
        self.x, self.edge_index, self.y = x, edge_index, y
        self.readout_index, self.source_index, self.sizes = readout_index, source_index, sizes
        self.original_index, self.own = original_index, own

    @classmethod
    def of(cls, graphs: Sequence[Data]) -> Packed:
        """Pack PyG `Data`; sources count where every graph has them."""
        if isinstance(graphs, Packed):
            return graphs
        fields: dict[str, Tensor] = {}
        sizes: dict[str, Tensor] = {}
        starts = [0, *accumulate(graph.x.size(0) for graph in graphs)]
        stores = [graph.to_dict() for graph in graphs]
        for name in ("x", "edge_index", "y", "readout_index", "source_index", "original_index", "own"):
            if all(name in store for store in stores):
                parts = [store[name] for store in stores]
                sizes[name] = torch.tensor([part.size(_rows(name)) for part in parts])
                shifted = [part + start for part, start in zip(parts, starts, strict=False)] if name in cls.NUMBERED else parts
                fields[name] = torch.cat(shifted, dim=_rows(name))
        return cls(**fields, sizes=sizes)

    def take(self, index: Tensor) -> Packed:
        """Return the graphs at `index` [num_graphs], repeated where an index is."""
        fields: dict[str, Tensor] = {}
        shift = _starts(self.sizes["x"][index]) - _starts(self.sizes["x"])[index]
        for name, sizes in self.sizes.items():
            number = sizes[index]
            within = torch.arange(int(number.sum())) - _starts(number).repeat_interleave(number)
            rows = _starts(sizes)[index].repeat_interleave(number) + within
            value = getattr(self, name).index_select(_rows(name), rows)
            fields[name] = value + shift.repeat_interleave(number) if name in self.NUMBERED else value
        return Packed(**fields, sizes={name: sizes[index] for name, sizes in self.sizes.items()})

    @property
    def batch(self) -> Tensor:
        """The graph that each node belongs to: [num_nodes] long."""
        return torch.arange(len(self)).repeat_interleave(self.sizes["x"])

    @property
    def ptr(self) -> list[int]:
        """Where each graph's nodes begin, and the last one's end."""
        return [0, *self.sizes["x"].cumsum(0).tolist()]

    def __len__(self) -> int:
        return self.sizes["x"].numel()

    def __iter__(self) -> Iterator[Data]:
        """Yield the graphs in order, as `self[i]` gives them, but in one pass."""
        fields = {name: torch.split(getattr(self, name), sizes.tolist(), _rows(name)) for name, sizes in self.sizes.items()}
        for index, start in enumerate(self.ptr[:-1]):
            parts = {name: split[index] for name, split in fields.items()}
            yield Data(**{name: part - start if name in self.NUMBERED else part for name, part in parts.items()})

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"graph {index} of {len(self)}")
        one = self.take(torch.tensor([index % len(self)]))
        return Data(**{name: getattr(one, name) for name in one.sizes})


def _rows(name: str) -> int:
    """Return the axis along which a field of several graphs is joined."""
    return 1 if name in ("edge_index", "original_index") else 0


def _starts(sizes: Tensor) -> Tensor:
    return sizes.cumsum(0) - sizes


class Task(Value):
    """What is asked. Write *one* of `sample` (simple, any graphs) or `draw` (vectorised, one shared topology).

    A draw depends on the task's fields and `rng` alone; global random state is neither read nor changed.
    """

    version: ClassVar[int] = 1  # part of every key; raise it when the same fields would draw other graphs
    level: ClassVar[Level] = "node"
    loss: ClassVar[Loss] = "cross_entropy"
    fixed: ClassVar[bool] = False  # True: one labelled graph whose splits are masks (Cora); blocks of one graph

    @model_validator(mode="after")
    def _topology_can_carry_hops(self) -> Self:
        topology, hops = getattr(self, "topology", None), self.range
        if isinstance(topology, Topology) and hops:
            topology.graph(hops)
        return self

    @property
    def title(self) -> str:
        """A short name for tables and figures, without the distance."""
        return type(self).__name__

    @property
    def range(self) -> int | None:
        """How many hops away the answer lies: the field `hops` where there is one; None where it differs by node."""
        return getattr(self, "hops", None)

    @property
    def metric(self) -> Metric:
        """What scores measure, from 0 to 1 or as an error; of two classes it may be the area under the ROC curve."""
        return METRICS[self.loss]

    @property
    def out_channels(self) -> int:
        """Width of the answer: the number of classes, or of regression targets."""
        return int(getattr(self, "num_classes", 1))

    @property
    def chance(self) -> float:
        """Score of the best guess that needs no edges: accuracy, or for regression the mean squared error."""
        return 1 / self.out_channels if self.loss == "cross_entropy" else 1.0

    @property
    def near_chance(self) -> float:
        """Score of the best guess from all that lies nearer than the answer: worse than `chance` where far nodes tell a part."""
        return self.chance

    @property
    def ceiling(self) -> float:
        """Score of perfect knowledge, on the same scale as `chance`."""
        return 0.0 if self.metric in ERRORS else 1.0

    @property
    def unit(self) -> str:
        """What numbers that are asked for count, "hops" for one, as `in_unit` gives them; "" where they count nothing."""
        return ""

    def in_unit(self, y: Tensor) -> Tensor:
        """Return answers `y`, true ones or a model's, in `unit`: a task may ask for them on a scale that trains well."""
        return y

    @property
    def token_channels(self) -> slice | None:
        """Which columns of `x` hold the node's own token, one-hot give or take less than a half; None where nodes carry none."""
        return None

    @property
    def irregular(self) -> frozenset[str]:
        """What is not as it should be, on purpose.

        "directed", "duplicate edges", "self-loops", "disconnected", "few inputs", "validation is test"; "training is test"
        where the test asks what training asked, as of a single graph to be fitted.
        """
        return frozenset()

    def sample(self, rng: torch.Generator) -> Data:
        """Draw one graph: `x`, `edge_index`, `y` [num_readouts, ...], `readout_index`, `source_index` where planted."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(rng) or draw(num_graphs, rng)")

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | Sequence[Data]:
        """Draw `num_graphs` graphs: a `Block` where they share one topology, else a list of `Data` or, faster, a `Packed`.

        The default raises ValueError where what `sample` returned is no such graph.
        """
        graphs = [self.sample(rng) for _ in range(num_graphs)]
        _check_form(graphs)
        return Block.from_data_list(graphs) or graphs

    def at(self, split: Split, block: int) -> Self:
        """Return the task as block number `block` of `split` asks it.

        The default passes the question on to the topology (a road network keeps other read-out nodes for the test);
        override it for splits that differ by more than fresh samples.
        """
        topology = getattr(self, "topology", None)
        if not isinstance(topology, Topology):
            return self
        seen = topology.at(split, block)
        return self if seen is topology else self.model_copy(update={"topology": seen})

    def given(self, split: Split) -> int | None:
        """Return how many graphs `split` has, each asked once, where they are given; None: they are drawn, as many as asked."""
        return 1 if self.fixed else None

    def answer_twin(self) -> Task | None:
        """Return the same task with the answer written on the read-out node, which a graph-blind model must solve."""
        return None

    def content_twin(self) -> Task | None:
        """Return the same task with the source marked by content, which an edge-free set model must solve."""
        return None

    def bare_lists(self) -> Sequence[Task]:
        """Return what the task composes in an order, as lists without a graph, from short to long, its own length last.

        Each is a task of one read-out node whose x holds the elements side by side in their order, all of one width; `hops` is
        how many there are. A net that reads them one after another must learn the last: if it cannot, no graph is to blame. ():
        the task composes nothing in an order.
        """
        return ()

    def witness(self, block: Block) -> Tensor | None:
        """Return answers found by an algorithm: class scores or targets, [num_graphs, num_readouts, out_channels], in x's dtype.

        It shows that the task can be solved from what models see, in their number type: `block` holds edges, x and read-outs;
        its y is 0, and no source is named. None: the task offers no witness.
        """
        return None

    def exact_range(self) -> float | None:
        """Return how many hops away, on average, what the answer depends on lies; None where that is not known exactly."""
        return None

    def oracle(self, radius: int) -> float | None:
        """Return the best score from the graph and all x within `radius` hops of the read-out node; None: not known."""
        return None

    def config(self) -> dict[str, Any]:
        """Return every field, defaults written out, as JSON values."""
        return self.model_dump(mode="json")

    def skill(self, score: float) -> float:
        """Return where `score` stands between guessing (0) and perfect knowledge (1)."""
        return (score - self.chance) / (self.ceiling - self.chance)

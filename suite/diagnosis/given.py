"""What is diagnosed, in the form that measures take: any graphs as a task, any module as one with an output row per node."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.data import BaseData

from suite.measures.frozen import EDGE_DATA, chain, edge_data_taken, recorded
from suite.task import Level, Loss, Task

MAX_GRAPHS = 8
OF_DATA = ("data", "batch", "graph", "graphs", "g", "batch_data", "batched_data", "sample")  # what the one argument is called
CARRIED = ("source_index", "original_index", "own")  # what a task of the suite says of a graph besides


class Given(Task):
    """Graphs as they were given, always the same; or `repeated` as often as asked, for probes that plant tokens of their own."""

    width: int
    answers: Loss = "cross_entropy"
    asked: Level = "node"
    repeated: bool = False
    _graphs: list[Data] = PrivateAttr(default_factory=list)

    @property
    def fixed(self) -> bool:  # type: ignore[override]  # a task's class says it, this one's graphs do
        return not self.repeated

    @property
    def level(self) -> Level:  # type: ignore[override]
        return self.asked

    @property
    def loss(self) -> Loss:  # type: ignore[override]
        return self.answers

    @property
    def out_channels(self) -> int:
        return self.width

    def draw(self, num_graphs: int, rng: torch.Generator) -> list[Data]:
        count = num_graphs if self.repeated else len(self._graphs)
        return [self._graphs[index % len(self._graphs)] for index in range(count)]


def given(graphs: Sequence[Data], width: int, loss: Loss | None, level: Level = "node", repeated: bool = False) -> Given:
    """Return `graphs` as a task whose answers are `width` wide; without a `loss` only what needs none may be measured on it."""
    task = Given(width=width, answers=loss or "cross_entropy", asked=level, repeated=repeated)
    task._graphs = list(graphs)
    return task


def graphs_in(data: Any) -> list[Data]:
    """Return up to 8 of the graphs of a `Data`, a `Batch` or a sequence of `Data`, spread evenly, as measures read them.

    Each is a new `Data` on the CPU: `x` (long where it is whole numbers, which may be [num_nodes]), `edge_index`,
    `readout_index` (every node, where there is none), `source_index`, `y` (of the read-out nodes, where it has a row for every
    node), `edge_weight` and `edge_attr`, where there are.

    Raises ValueError for no graph, for one without finite features or without edges, for read-outs that are no nodes, and for
    data of edges that have no row for each;
    TypeError for anything else than `Data`.
    """
    several = data.to_data_list() if hasattr(data, "to_data_list") else data if hasattr(data, "__getitem__") else [data]
    several = [data] if isinstance(several, BaseData) else several
    count = min(MAX_GRAPHS, len(several))
    if not count:
        raise ValueError("data: must hold at least one graph, got none")
    return [_read(several[index * len(several) // count]) for index in range(count)]


def of_numbers(graphs: Sequence[Data]) -> list[Data]:
    """Return `graphs` with x of numbers, [num_nodes, in_channels], where they are whole ones that no embedding takes.

    Raises ValueError for x of one dimension.
    """
    for graph in graphs:
        if graph.x.dim() != 2:
            raise ValueError(f"data.x: must be [num_nodes, in_channels], got {_shape(graph.x)}")
        graph.x = graph.x if graph.x.is_floating_point() else graph.x.float()
    return list(graphs)


def edge_data_in(graphs: Sequence[Data]) -> list[str]:
    """Return which data of edges, weights or attributes, every graph has."""
    return [name for name in EDGE_DATA if all(name in graph for graph in graphs)]


def without(graphs: Sequence[Data], names: Iterable[str]) -> list[Data]:
    """Return copies of `graphs` that have no data called `names`."""
    return [Data(**{name: value for name, value in graph.to_dict().items() if name not in set(names)}) for graph in graphs]


def _read(data: Any) -> Data:
    if not isinstance(data, Data):
        made = "; its to_homogeneous() is one" if isinstance(data, HeteroData) else ""
        raise TypeError(f"data: must be a torch_geometric Data, a list of them or a task, got {type(data).__name__}{made}")
    x, edge_index = data.x, data.edge_index
    whole = isinstance(x, Tensor) and not x.is_floating_point() and not x.is_complex()
    if not isinstance(x, Tensor) or x.dim() != 2 - (whole and x.dim() == 1) or not x.size(0):
        raise ValueError(f"data.x: must be [num_nodes, in_channels], got {_shape(x)}")
    if not isinstance(edge_index, Tensor) or edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(f"data.edge_index: must be [2, num_edges], got {_shape(edge_index)}")
    if wrong := int((~x.isfinite()).sum()):
        raise ValueError(f"data.x: must be finite, got {wrong} of {x.numel()} values that are not")
    found = {name: data[name].cpu() for name in CARRIED if name in data}
    for name in EDGE_DATA:
        if (value := data.get(name)) is None:
            continue
        if not isinstance(value, Tensor) or not value.dim() or value.size(0) != edge_index.size(1):
            raise ValueError(f"data.{name}: must be [num_edges = {edge_index.size(1)}, ...], got {_shape(value)}")
        found[name] = value.detach().cpu()
    readout = _readouts(data.readout_index, x.size(0)) if "readout_index" in data else torch.arange(x.size(0))
    answers = _answers(data.y, readout, x.size(0))
    found |= {} if answers is None else {"y": answers}
    x = x.detach().cpu()
    x = x.long() if whole else x if x.dtype == torch.float64 else x.float()
    return Data(x=x, edge_index=edge_index.cpu(), readout_index=readout, **found)


def _readouts(index: Any, num_nodes: int) -> Tensor:
    """Return the read-out nodes, numbered or masked, [num_readouts] long."""
    found = torch.as_tensor(index).cpu()
    if found.dtype == torch.bool and found.shape == (num_nodes,):
        found = found.nonzero().flatten()
    if found.dim() != 1 or found.is_floating_point() or not found.numel() or not bool(((found >= 0) & (found < num_nodes)).all()):
        nodes = f"nodes 0 ... {num_nodes - 1}"
        raise ValueError(f"data.readout_index: must name {nodes}, at least one, or mask them, got {_shape(found)}, {found.dtype}")
    return found.long()


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _answers(y: Any, readout: Tensor, num_nodes: int) -> Tensor | None:
    """Return `y`, of the read-out nodes alone where it has a row for every node; classes [num_rows, 1] as [num_rows] long."""
    if not isinstance(y, Tensor) or y.is_complex() or not y.numel():
        return None
    found: Tensor = y.detach().cpu()
    found = found if found.is_floating_point() else found.long()
    found = found.view(1) if found.dim() == 0 else found
    found = found[readout] if found.size(0) == num_nodes and num_nodes != readout.numel() else found
    return found.flatten() if not found.is_floating_point() and found.numel() == found.size(0) else found


def loss_of(graphs: Sequence[Data], width: int, level: Level = "node") -> Loss | None:
    """Return what outputs `width` wide can be trained by, a row for each read-out node or, at level "graph", one a graph.

    Cross-entropy where y holds a class below `width` for each row; else, where it holds as many values as the outputs, binary
    cross-entropy if all are 0 or 1, and the squared error if not. None where it fits none of them.
    """
    if not all("y" in graph for graph in graphs):
        return None
    rows = [1 if level == "graph" else graph.readout_index.numel() for graph in graphs]
    answers = [graph.y for graph in graphs]
    if width > 1 and all(not y.is_floating_point() and y.numel() == count for y, count in zip(answers, rows, strict=True)):
        return "cross_entropy" if all(int(y.min()) >= 0 and int(y.max()) < width for y in answers) else None
    if not all(y.numel() == count * width for y, count in zip(answers, rows, strict=True)):
        return None
    return "binary_cross_entropy" if all(bool(((y == 0) | (y == 1)).all()) for y in answers) else "mse"


def num_outputs(graph: Data) -> int:
    """Return how wide an output is that can be held against the graph's y: its classes, or its targets; 1 without y."""
    if "y" not in graph or not graph.y.numel():
        return 1
    return graph.y.numel() // len(graph.y) if graph.y.is_floating_point() else int(graph.y.max()) + 1


class NoRowPerNodeError(ValueError):
    """A module's output does not have a row for each node."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module in `torch.compile`'s wrapper, or in those that spread a batch over devices: the same function of it."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = model.module
    return unwrapped(inner) if isinstance(inner, nn.Module) else model


def of_data(module: nn.Module) -> bool:
    """Return whether a module's forward takes a whole `Data` as its one argument: what is called `data` or the like."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return len(needed) == 1 and parameters[0].name == needed[0] and needed[0] in OF_DATA


def named_parts(out: Any) -> dict[str, Any] | None:
    """Return what a module returned by name, of a dictionary, a dataclass or a `Data`; None of anything else."""
    if isinstance(out, Mapping):
        return {str(name): value for name, value in out.items()}
    if isinstance(out, BaseData):
        return dict(out.to_dict())
    if dataclasses.is_dataclass(out):
        return {part.name: getattr(out, part.name) for part in dataclasses.fields(out)}
    return None


def counted(out: Any, num_nodes: int, whose: str) -> tuple[Any, str]:
    """Return what counts of a module's output, and its name: "" where it is all, or the first of a tuple.

    Of several by name it is the one of numbers with a row per node, or, without any, the one tensor of numbers. Raises ValueError
    where there is no such one.
    """
    out = out[0] if isinstance(out, tuple | list) and out else out
    parts = named_parts(out)
    if parts is None:
        return out, ""
    numbers = {name: value for name, value in parts.items() if isinstance(value, Tensor) and value.is_floating_point()}
    rows = {name: value for name, value in numbers.items() if value.dim() and value.size(0) == num_nodes}
    if len(found := rows or numbers) == 1:
        ((name, value),) = found.items()
        return value, name
    listed = " and ".join(f"'{name}'" for name in rows or parts) or "nothing"
    what = f"has a row per node under {listed}" if rows else f"has {listed}, none of them the one tensor of numbers"
    raise ValueError(
        f"{whose}: must return one tensor with a row per node; what it returns {what}. A module around it that returns the one"
        " meant, alone or first in a tuple, would do"
    )


class ByNode(nn.Module):
    """Any module, called with x, edge_index and, where it has parameters of these names, batch and data of edges.

    One whose forward takes a whole `Data` is given one of these. It gives an output row for each node; of several outputs the
    first counts, of several by name the one that has such rows (`counted`). A module without `batch` sees graphs one at a
    time. Raises NoRowPerNodeError where the output has no row per node.

    Attributes:
        counts: the name of the output that counted in the last call, "" where it has none.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.counts = module, ""
        self.of_data = of_data(module)
        self.batched = not self.of_data and "batch" in inspect.signature(module.forward).parameters
        self.alone = not self.batched
        self.edge_data = frozenset(EDGE_DATA) if self.of_data else edge_data_taken(module)
        for name in ("global_channel", "reach"):
            if hasattr(module, name):
                setattr(self, name, getattr(module, name))

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None, **edge_data: Tensor) -> Tensor:
        rows = self.first(x, edge_index, batch, edge_data)
        if not (isinstance(rows, Tensor) and rows.dim() and rows.size(0) == x.size(0)):
            raise NoRowPerNodeError(f"{type(self.module).__name__}: returns {_shape(rows)} for {x.size(0)} nodes")
        return rows.reshape(x.size(0), -1)

    def first(self, x: Tensor, edge_index: Tensor, batch: Tensor | None, edge_data: dict[str, Tensor]) -> Any:
        """Return what counts of what the module returns."""
        if self.of_data:
            out = self.module(Batch.from_data_list([Data(x=x, edge_index=edge_index, **edge_data)]))
        else:
            out = self.module(x, edge_index, **({"batch": batch} if self.batched else {}), **edge_data)
        out, self.counts = counted(out, x.size(0), type(self.module).__name__)
        return out


class ByGraph(ByNode):
    """The same for a module whose output has no row per node: its own output, all of it in one row. Of one graph at a time."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.alone = True

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None, **edge_data: Tensor) -> Tensor:
        rows = self.first(x, edge_index, batch, edge_data)
        if not isinstance(rows, Tensor):
            raise ValueError(f"{type(self.module).__name__}: must return a tensor, returns {_shape(rows)}")
        return rows.reshape(1, -1)


class LastState(ByNode):
    """The same for a module whose output has no row per node (that of a whole graph): its last hidden state stands in.

    Raises ValueError where no PyG convolution returns one.
    """

    @property
    def by_graph(self) -> ByGraph:
        """The module with its own output, for measures that ask no node for it."""
        found = ByGraph(self.module)
        if hasattr(self, "judged_by"):
            found.judged_by = self.judged_by
        return found

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None, **edge_data: Tensor) -> Tensor:
        with recorded(self.module, x.size(0)) as states:
            rows = self.first(x, edge_index, batch, edge_data)
        if not states:
            raise ValueError(
                f"{type(self.module).__name__}: a row per node is needed, of the output or of a layer; the output has none,"
                " and no layer is a PyG convolution"
            )
        return (chain(states, rows) if isinstance(rows, Tensor) else states)[-1]


def by_node(model: nn.Module, edge_data: Iterable[str] = ()) -> nn.Module:
    """Return `model` if it tells its own hidden states (`encode(x, edge_index)`, `decode(hidden)`), else `ByNode(model)`.

    Raises ValueError where its forward takes neither (x, edge_index) nor (data), or needs more than these, batch and the
    `edge_data` that the graphs have.
    """
    if hasattr(model, "decode") and {"x", "edge_index"} <= _names(getattr(model, "encode", None)):  # GAE's take something else
        return model
    parameters = inspect.signature(model.forward).parameters.values()
    asked = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if of_data(model):
        return ByNode(model)
    if not (asked[1:2] == ["edge_index"] or (open_ended and not asked)):
        raise ValueError(
            f"{type(model).__name__}: forward must take (x, edge_index), and may take batch, or (data); it takes"
            f" ({', '.join(asked)})"
        )
    if more := sorted(set(needed) - {*asked[:2], "batch", *edge_data}):
        why = "which the graphs have not" if more[0] in EDGE_DATA else "which is not passed"
        raise ValueError(f"{type(model).__name__}: forward needs '{more[0]}' besides (x, edge_index), {why}")
    return ByNode(model)


def _names(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) if callable(function) else set()

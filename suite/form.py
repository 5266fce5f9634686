"""The form of what a task draws: names, shapes, dtypes and ranges, and what to change where they are wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from suite.samples import Drawn, graphs_of
from suite.task import FORM, Split, Task, malformed

SPLITS: tuple[Split, ...] = get_args(Split)


def form_faults(task: Task, draw: Callable[[Split], Drawn]) -> list[str]:
    """Return what is wrong with the form of what `draw` gives of each split, one sentence each, which begins with the split.

    A fault of all splits is said once, without one.
    """
    found = {
        split: sorted({fault for graph in graphs_of(draw(split)) for fault in _graph_faults(task, graph)}) for split in SPLITS
    }
    of_all = [fault for fault in found["train"] if all(fault in faults for faults in found.values())]
    return of_all + [f"{split}: {fault}" for split, faults in found.items() for fault in faults if fault not in of_all]


def _graph_faults(task: Task, graph: Data) -> Iterator[str]:
    if unknown := sorted(set(graph.keys()) - set(FORM) - {"num_nodes"}):
        yield f"Data carries '{unknown[0]}'; it may carry {', '.join(sorted(FORM))}, for the suite finds distances itself"
    if task.level == "node" and "readout_index" not in graph:
        yield "Data has no 'readout_index', the nodes that are asked; a question about whole graphs says level = \"graph\""
        return
    if fault := malformed(graph):
        yield fault
        return
    num_nodes = graph.x.size(0)
    if graph.x.dtype != torch.float32 or not bool(graph.x.isfinite().all()):
        yield f"x must be [num_nodes, channels], float32 and finite; is {tuple(graph.x.shape)}, {_kind(graph.x)}"
    if graph.edge_index.size(0) != 2:
        yield f"edge_index must be [2, num_edges]; is {tuple(graph.edge_index.shape)}"
    for name in ("edge_index", "readout_index", "source_index"):
        index = graph.get(name)
        if index is not None and (index.dtype != torch.long or not bool(((index >= 0) & (index < num_nodes)).all())):
            yield f"{name} must be long and name nodes 0 ... {num_nodes - 1}; is {index.dtype}, {_span(index)}"
    if "readout_index" in graph and torch.unique(graph.readout_index).numel() != graph.readout_index.numel():
        yield "readout_index names a node twice"
    if task.level == "node" and not graph.readout_index.numel():
        yield "readout_index names no node, so that nothing is asked"
        return
    yield from _answer_faults(task, graph)


def _answer_faults(task: Task, graph: Data) -> Iterator[str]:
    y, asked = graph.y, graph.readout_index.numel() if task.level == "node" else 1
    if y.size(0) != asked:
        of = f"per read-out node, {asked}" if task.level == "node" else "for the graph"
        yield f"y must have one row {of}; is {tuple(y.shape)}"
    elif task.loss != "cross_entropy":
        if y.dtype != torch.float32 or y[0].numel() != task.out_channels:
            yield f"y must be float32 with {task.out_channels} targets a row; is {y.dtype}, {tuple(y.shape)}"
        elif not bool(y.isfinite().all()):
            yield f"y must be finite; is {_kind(y)}"
    elif y.dim() != 1 or y.dtype != torch.long:
        yield f"y must be [num_readouts] long, classes; is {tuple(y.shape)}, {y.dtype}"
    elif not bool(((y >= 0) & (y < task.out_channels)).all()):
        yield f"classes must lie in 0 ... {task.out_channels - 1} (out_channels); found {_span(y)}"


def _kind(x: Tensor) -> str:
    return f"{x.dtype}" + ("" if bool(x.isfinite().all()) else ", with entries that are not finite")


def _span(values: Tensor) -> str:
    ends = torch.unique(values).tolist()
    return " ... ".join(str(end) for end in (ends if len(ends) < 2 else (ends[0], ends[-1]))) or "empty"

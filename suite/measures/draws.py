"""The graphs that measures look at: a few of the task's test stream, and a few of their read-out nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from suite.hops import hop_distance
from suite.rng import stream
from suite.samples import graphs_of
from suite.task import Task, own_edges

DIAGNOSED = 16  # read-out nodes that a diagnosis asks besides, of all its graphs together


def draw(task: Task, seed: int, index: int, num_graphs: int = 1) -> list[Data]:
    """Return draw number `index` of the test stream kept for measures; a fixed graph is drawn once, whatever is asked."""
    num_graphs = 1 if task.fixed else num_graphs
    drawn = task.at("test", index).draw(num_graphs, stream(task.config(), seed, "measure", index))
    return [_asked(graph) for graph in graphs_of(drawn)]


def _asked(graph: Data) -> Data:
    """Return a graph whose nodes are asked, every one where it is asked as a whole: what the mean over nodes is made of."""
    if "readout_index" not in graph:
        graph.readout_index = torch.arange(graph.num_nodes)
    return graph


def draw_several(task: Task, seed: int, at_most: int, max_nodes: int) -> list[Data]:
    """Return `at_most` graphs, each of its own draw; fewer, but one at least, where they would pass `max_nodes` together."""
    graphs = draw(task, seed, 0)
    affordable = max_nodes // int(graphs[0].num_nodes or 1)
    for index in range(1, 1 if task.fixed else min(at_most, affordable)):
        graphs += draw(task, seed, index)
    return graphs


def draw_diagnosed(task: Task, seed: int, max_nodes: int, rng: torch.Generator) -> list[Data]:
    """Return up to 8 graphs of `max_nodes` nodes together, one at least, asked at 16 read-out nodes in all, of each at one."""
    graphs = draw_several(task, seed, at_most=8, max_nodes=max_nodes)
    ends = torch.tensor([int(graph.num_nodes or 0) for graph in graphs]).cumsum(0)
    graphs = graphs[: max(1, int((ends <= max_nodes).sum()))]
    return [with_readouts(graph, -(-DIAGNOSED // len(graphs)), rng) for graph in graphs]


def averaged(parts: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Return the mean of each number over the `parts` that have it, of lists place by place: what some have not is left out."""
    found = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [torch.as_tensor(part[name], dtype=torch.float64) for part in parts if name in part]
        longest = max(value.numel() for value in values)
        padded = [torch.nn.functional.pad(v, (0, longest - v.numel()), value=torch.nan) if v.dim() else v for v in values]
        found[name] = torch.stack(padded).nanmean(0)
    return found


def with_readouts(graph: Data, num_readouts: int, rng: torch.Generator) -> Data:
    """Return `graph` asked at `num_readouts` of its read-out nodes only, drawn by `rng`, with the sources that go with them.

    Sources go with read-out nodes one by one where there are as many; any other number belongs to every read-out node.
    Raises ValueError for a graph without read-out nodes.
    """
    readout = readouts_of(graph)
    if readout.numel() <= num_readouts:
        return graph
    kept = torch.randperm(readout.numel(), generator=rng)[:num_readouts].sort().values
    out = graph.clone()
    out.readout_index = readout[kept]
    if "source_index" in graph and graph.source_index.numel() == readout.numel():
        out.source_index = graph.source_index[kept]
    return out


def readouts_of(graph: Data) -> Tensor:
    """Return the read-out nodes [num_readouts]; raises ValueError where the graph has none."""
    if "readout_index" not in graph:
        raise ValueError("this measure asks at read-out nodes, and the graph has no readout_index")
    index: Tensor = graph.readout_index
    return index


def hops_of(graph: Data) -> Tensor:
    """Return the hop distance of every node from each read-out node, in the task's own graph: [num_readouts, num_nodes] long.

    Where a rewiring put other edges in place of the task's, those count; nodes that it appended are on no path: -1.
    """
    return hop_distance(own_edges(graph), readouts_of(graph), int(graph.num_nodes or 0))


def source_mask(graph: Data) -> Tensor | None:
    """Return which nodes are a source of which read-out node, [num_readouts, num_nodes] bool, or None: nothing is planted."""
    source: Tensor | None = graph.get("source_index")
    if source is None:
        return None
    mask = torch.zeros(readouts_of(graph).numel(), int(graph.num_nodes or 0), dtype=torch.bool)
    if source.numel() == mask.size(0):
        mask[torch.arange(mask.size(0)), source] = True
    else:
        mask[:, source] = True
    return mask


def as_json(result: dict[str, Any]) -> dict[str, Any]:
    """Return `result` as JSON can say it: tensors as lists or numbers, NaN and infinity as None."""
    return {str(key): _plain(value) for key, value in result.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, dict):
        return as_json(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value

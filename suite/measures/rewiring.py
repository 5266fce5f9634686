"""What a rewiring did to the way from a source to its read-out node: the facts by which rewired models are to be compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import coalesce

from suite.hops import hop_distance
from suite.measures.draws import as_json, draw_several, readouts_of, source_mask, with_readouts
from suite.measures.frozen import Frozen
from suite.measures.structure import Operator, effective_resistance, log10_mean, operator_power
from suite.measures.ways import MAX_CUT_NODES, edge_cuts
from suite.models.rewirings import edge_types, load_rewiring, rewire
from suite.rng import stream
from suite.task import Task, own_edges

MAX_PAIRS = 8  # read-out nodes of a graph
MAX_TOGETHER = 1 << 14  # nodes of all draws


def way(edge_index: Tensor, num_nodes: int, pairs: Tensor, operator: Operator, num_layers: int) -> dict[str, Tensor]:
    """Return what a graph has between the nodes of each pair (read-out, source): each [num_pairs] float64.

    `pairs` is [num_pairs, 2] long. `hops` by BFS; `power` (Op^num_layers)_vu, 0 out of reach; `resistance`, the effective one;
    `cut`, how many edges keep the two together (the maximum flow). All up to 1,000,000 nodes. NaN where it is not defined:
    distance and resistance without a path, resistance of graphs that are directed or in parts. Zero: no distance, nothing
    brought, no resistance, no path. Cost: that of its four parts; scale-free as they are. (2302.02941) Pitfall: a rewiring that
    shortens `hops` is to be compared at equal depth, and at equal depth beyond the distance.
    """
    readout, source = pairs.T
    hops = hop_distance(edge_index, readout, num_nodes).gather(1, source.unsqueeze(1)).squeeze(1).double()
    power = operator_power(edge_index, num_nodes, operator, num_layers, readout).gather(1, source.unsqueeze(1)).squeeze(1)
    try:
        resistance = effective_resistance(edge_index, num_nodes, pairs)
    except (ValueError, ArithmeticError):
        resistance = torch.full_like(power, torch.nan)
    cut = edge_cuts(edge_index, num_nodes, pairs) if num_nodes <= MAX_CUT_NODES else torch.full_like(power, torch.nan)
    return {
        "hops": hops.where(hops >= 0, torch.nan),
        "power": power,
        "resistance": resistance,
        "cut": cut,
    }


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `rewiring`: up to 4 draws, 8 read-out nodes each, with their sources, before and after.

    Keys, means over draws: `num_nodes`, `num_edges` (undirected pairs) of the task's own graph; `new_nodes`, `added_edges`,
    `removed_edges`; `seconds` that rewiring took where this was found, None without. Over pairs, of the task's graph in
    `before` and of the rewired one in `after`: `hops`, `log10_power` of the model's operator at its depth (mean over pairs where
    it is not 0), `resistance`, `cut` as in `way`; None where no pair has one.
    """
    frozen = Frozen(model)
    graphs = draw_several(task, seed, at_most=4, max_nodes=MAX_TOGETHER)
    operator: Any = frozen.operator or "gcn"
    num_layers = len(frozen.run(graphs[:1]).hidden) - 1
    rng = stream(task.config(), seed, "measure", "readouts")
    ways: dict[str, list[dict[str, Tensor]]] = {"before": [], "after": []}
    for graph in graphs:
        pairs = _pairs(with_readouts(graph, MAX_PAIRS, rng))
        own, num_own = _own(graph)
        for edges, num_nodes, name in ((own, num_own, "before"), (graph.edge_index, int(graph.num_nodes or 0), "after")):
            ways[name].append(way(edges, num_nodes, pairs, operator, num_layers))
    counts = [_counts(graph) | {"seconds": _seconds(task, graph)} for graph in graphs]
    result: dict[str, Any] = {key: _mean(torch.tensor([count[key] for count in counts])) for key in counts[0]}
    return as_json(result | {name: _over_pairs(found) for name, found in ways.items()} | {"num_layers": num_layers})


def _own(graph: Data) -> tuple[Tensor, int]:
    """Return the edges and the number of nodes of the task's own graph."""
    return own_edges(graph), int(graph.own.any(1).sum()) if "own" in graph else int(graph.num_nodes or 0)


def _pairs(graph: Data) -> Tensor:
    mask = source_mask(graph)
    if mask is None:
        return torch.zeros(0, 2, dtype=torch.long)
    row, source = mask.nonzero(as_tuple=True)
    return torch.stack([readouts_of(graph)[row], source], 1)


def _counts(graph: Data) -> dict[str, float]:
    own, num_own = _own(graph)
    before, after = _undirected(own), _undirected(graph.edge_index)
    added = int(edge_types(after, before).sum())
    return {
        "num_nodes": num_own,
        "num_edges": before.size(1),
        "new_nodes": int(graph.num_nodes or 0) - num_own,
        "added_edges": added,
        "removed_edges": before.size(1) - (after.size(1) - added),
    }


def _undirected(edge_index: Tensor) -> Tensor:
    """Return each pair of different nodes that an edge joins, once: [2, num_pairs]."""
    ordered = torch.stack([edge_index.amin(0), edge_index.amax(0)]) if edge_index.numel() else edge_index
    pairs: Tensor = coalesce(ordered[:, ordered[0] != ordered[1]])
    return pairs


def _seconds(task: Task, graph: Data) -> float:
    """Return how long rewiring took in this process: what is made once for a graph is found again."""
    ref = getattr(task, "rewiring", None)
    if ref is None:
        return float("nan")
    own, num_own = _own(graph)
    return rewire(load_rewiring(ref), own, num_own, graph.get("readout_index")).seconds


def _over_pairs(found: list[dict[str, Tensor]]) -> dict[str, float]:
    joined = {name: torch.cat([one[name] for one in found]) for name in found[0]}
    log10_power = log10_mean(joined.pop("power"))
    return {name: _mean(values) for name, values in joined.items()} | {"log10_power": log10_power}


def _mean(values: Tensor) -> float:
    return float(values.double().nanmean())

"""What the graphs themselves are like, whatever the model: the part of a diagnosis that no weights change."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import degree

from suite.hops import hop_distance
from suite.measures.curvature import MAX_BALL, curvature
from suite.measures.draws import as_json, averaged, draw_diagnosed, readouts_of, source_mask
from suite.measures.frozen import Frozen
from suite.measures.limits import decay_rate
from suite.measures.spectrum import cheeger, total_resistance
from suite.measures.structure import effective_resistance
from suite.measures.ways import (
    MAX_CUT_NODES,
    adjacency_of,
    commute_time,
    edge_cuts,
    shell_sizes,
    shortest_path_counts,
    vertex_cuts,
    walk_counts,
    wl_classes,
)
from suite.rng import stream
from suite.task import Task, own_edges, simple_edges

MAX_NODES = 1 << 15  # of all graphs together
MAX_CURVED = 256  # edges whose curvature is found, of all graphs together
MAX_MOVED = (32, 1024)  # of them those whose neighbours are moved onto one another, and d_i d_j of each at most
MAX_DENSE = 2048  # nodes up to which all eigenvalues are found


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The entry `topology` of a diagnosis: `num_graphs` draws, up to 8, the task's own edges made undirected; means over graphs.

    Keys: `num_nodes`, `num_edges`; where a graph is connected `gap`, `cheeger_lower`, `cheeger_upper`, to 32,768 nodes
    `total_resistance` and `total_resistance_error`, its standard error (0: exact); `decay_rate`, to 2,048 nodes; of 256 edges of
    all graphs, none at a hub, `curvature_least`, `curvature_mean` (balanced Forman) and `curvature_negative`, the share of those
    below 0, and the same of `augmented_forman` and, of 32 edges between nodes of few neighbours, `ollivier_ricci`; `wl_classes`
    without features and `wl_classes_x` with them; `hops` and `shell_sizes`, mean by hop from 16 read-outs. Of each read-out and
    its source (`planted`), or else the node farthest from it: `pair_hops`, `pair_resistance`, `pair_commute_time`,
    `pair_edge_cut`, `pair_vertex_cut` (None where an edge joins all pairs), `pair_shortest_paths`, and `pair_walks`, of as many
    steps as layers.
    """
    rng = stream(task.config(), seed, "measure", "topology")
    graphs = draw_diagnosed(task, seed, MAX_NODES, rng)
    num_layers = len(Frozen(model).run(graphs[:1]).hidden) - 1
    simple = [_simple(graph) for graph in graphs]
    parts = [_whole(graph, own) | _between(graph, own, num_layers) for graph, own in zip(graphs, simple, strict=True)]
    found: dict[str, Any] = dict(averaged(parts))
    found |= {
        "hops": list(range(found["shell_sizes"].numel())),
        "planted": all(source_mask(graph) is not None for graph in graphs),
    }
    return as_json(found | _curvatures(simple, rng) | {"num_graphs": len(graphs)})


class _Simple(NamedTuple):
    """The task's edges of a graph, simple and undirected."""

    edges: Tensor
    num_nodes: int
    connected: bool


def _simple(graph: Data) -> _Simple:
    num_nodes = int(graph.num_nodes or 0)
    edges = simple_edges(own_edges(graph), num_nodes)
    return _Simple(edges, num_nodes, connected_components(adjacency_of(edges, num_nodes))[0] == 1)


def _whole(graph: Data, simple: _Simple) -> dict[str, Any]:
    edges, num_nodes, connected = simple
    found: dict[str, Any] = {"num_nodes": num_nodes, "num_edges": edges.size(1) // 2}
    if connected and num_nodes > 1:
        with suppress(ArithmeticError):
            bounds = cheeger(edges, num_nodes)
            found |= {"gap": 2 * bounds.lower, "cheeger_lower": bounds.lower, "cheeger_upper": bounds.upper}
        if num_nodes <= MAX_NODES:  # above, 64 solutions take minutes
            with suppress(ArithmeticError):
                total = total_resistance(edges, num_nodes)
                found |= {"total_resistance": total.value, "total_resistance_error": total.standard_error}
    if num_nodes <= MAX_DENSE:
        found["decay_rate"] = decay_rate(edges, num_nodes)
    for name, x in (("wl_classes", None), ("wl_classes_x", graph.x)):
        found[name] = int(wl_classes(edges, num_nodes, x).max()) + 1
    return found | {"shell_sizes": shell_sizes(edges, num_nodes, readouts_of(graph)).double().mean(0)}


def _curvatures(graphs: list[_Simple], rng: torch.Generator) -> dict[str, Any]:
    kinds: dict[str, list[Tensor]] = {"curvature": [], "augmented_forman": [], "ollivier_ricci": []}
    for edges, num_nodes, _ in graphs:
        degrees = degree(edges[1], num_nodes)
        once = edges[:, edges[0] < edges[1]]
        once = once[:, degrees[once].sum(0) <= MAX_BALL]  # around a hub more nodes are than curvature looks at
        some = once[:, torch.randperm(once.size(1), generator=rng)[: -(-MAX_CURVED // len(graphs))]]
        few = some[:, degrees[some].prod(0) <= MAX_MOVED[1]][:, : -(-MAX_MOVED[0] // len(graphs))]
        kinds["curvature"].append(curvature(edges, num_nodes, "balanced_forman", some))
        kinds["augmented_forman"].append(curvature(edges, num_nodes, "augmented_forman", some))
        with suppress(ValueError):  # two steps around a hub
            kinds["ollivier_ricci"].append(curvature(edges, num_nodes, "ollivier_ricci", few))
    found: dict[str, Any] = {}
    for kind, parts in kinds.items():
        bent = torch.cat(parts) if parts else torch.zeros(0)
        if bent.numel():
            found |= {f"{kind}_least": bent.min(), f"{kind}_mean": bent.mean(), f"{kind}_negative": (bent < 0).double().mean()}
    return found


def _between(graph: Data, simple: _Simple, num_layers: int) -> dict[str, Any]:
    """Return what lies between each read-out node and its source, or the node farthest from it."""
    edges, num_nodes, connected = simple
    readouts = readouts_of(graph)
    hops, mask = hop_distance(edges, readouts, num_nodes), source_mask(graph)
    mask = torch.nn.functional.one_hot(hops.argmax(1), num_nodes).bool() if mask is None else mask
    mask = mask & (torch.arange(num_nodes) != readouts.unsqueeze(1)) & (hops > 0)
    place, other = mask.nonzero(as_tuple=True)
    if not place.numel():
        return {}
    pairs = torch.stack([readouts[place], other], dim=1)
    found: dict[str, Any] = {"pair_hops": hops[mask].double().mean()}
    found["pair_shortest_paths"] = shortest_path_counts(edges, num_nodes, readouts)[mask].mean()
    found["pair_walks"] = walk_counts(edges, num_nodes, pairs, num_layers).mean()
    if connected:
        with suppress(ArithmeticError):
            found["pair_resistance"] = effective_resistance(edges, num_nodes, pairs).mean()
            found["pair_commute_time"] = commute_time(edges, num_nodes, pairs).mean()
    if num_nodes <= MAX_CUT_NODES:
        found["pair_edge_cut"] = edge_cuts(edges, num_nodes, pairs).nanmean()
        found["pair_vertex_cut"] = vertex_cuts(edges, num_nodes, pairs).nanmean()
    return found

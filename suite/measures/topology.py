"""What the graphs themselves are like, whatever the model: the part of a diagnosis that no weights change."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import degree

from suite.measures.curvature import MAX_BALL, curvature
from suite.measures.draws import DIAGNOSED, as_json, draw, readouts_of, source_mask, with_readouts
from suite.measures.spectrum import cheeger, total_resistance
from suite.measures.structure import effective_resistance
from suite.measures.ways import MAX_CUT_NODES, adjacency_of, edge_cuts, shell_sizes, wl_classes
from suite.rng import stream
from suite.task import Task, own_edges, simple_edges

MAX_CURVED = 256  # edges whose curvature is found
ALL_PAIRS = 4096  # nodes up to which resistance is added up over all pairs


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:  # noqa: ARG001 - as every entry is called
    """The entry `topology` of a diagnosis: the first draw, its task's own edges made undirected, up to 8 read-out nodes.

    Keys: `num_nodes`, `num_edges`; where the graph is connected `gap`, `cheeger_lower`, `cheeger_upper` and, to 4,096 nodes,
    `total_resistance`; of up to 256 edges, none at a hub, `curvature_least`, `curvature_mean` (balanced Forman) and
    `curvature_negative`, the share of those below 0; `wl_classes` without features and `wl_classes_x` with them; `hops` and
    `shell_sizes`, mean by hop from the read-outs; of planted sources `source_resistance` and `source_cut`, means.
    """
    rng = stream(task.config(), seed, "measure", "topology")
    graph = with_readouts(draw(task, seed, 0)[0], DIAGNOSED, rng)
    num_nodes = int(graph.num_nodes or 0)
    edges = simple_edges(own_edges(graph), num_nodes)
    found: dict[str, Any] = {"num_nodes": num_nodes, "num_edges": edges.size(1) // 2}
    connected = connected_components(adjacency_of(edges, num_nodes))[0] == 1
    if connected and num_nodes > 1:
        bounds = cheeger(edges, num_nodes)
        found |= {"gap": 2 * bounds.lower, "cheeger_lower": bounds.lower, "cheeger_upper": bounds.upper}
        found |= {"total_resistance": total_resistance(edges, num_nodes).value} if num_nodes <= ALL_PAIRS else {}
    once = edges[:, edges[0] < edges[1]]
    some = once[:, torch.randperm(once.size(1), generator=rng)[:MAX_CURVED]]
    degrees = degree(edges[1], num_nodes)
    some = some[:, degrees[some].sum(0) <= MAX_BALL]  # around a hub more nodes are than curvature looks at
    if some.size(1):
        bent = curvature(edges, num_nodes, "balanced_forman", some)
        found |= {"curvature_least": bent.min(), "curvature_mean": bent.mean(), "curvature_negative": (bent < 0).double().mean()}
    for name, x in (("wl_classes", None), ("wl_classes_x", graph.x)):
        found[name] = int(wl_classes(edges, num_nodes, x).max()) + 1
    sizes = shell_sizes(edges, num_nodes, readouts_of(graph)).double().mean(0)
    found |= {"hops": list(range(sizes.numel())), "shell_sizes": sizes}
    pairs = _planted(graph)
    if pairs is not None:
        found |= {"source_resistance": effective_resistance(edges, num_nodes, pairs).mean()} if connected else {}
        found |= {"source_cut": edge_cuts(edges, num_nodes, pairs).nanmean()} if num_nodes <= MAX_CUT_NODES else {}
    return as_json(found)


def _planted(graph: Data) -> Tensor | None:
    """Return the pairs (read-out, source), [num_pairs, 2]; None where nothing is planted, or at the read-outs alone."""
    mask = source_mask(graph)
    if mask is None:
        return None
    place, source = mask.nonzero(as_tuple=True)
    pairs = torch.stack([readouts_of(graph)[place], source], dim=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return pairs if len(pairs) else None

"""What the graph of a task is, before anything is trained on it: size, symmetry, and how wide the way to the source is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, contains_self_loops

from suite.engine.batches import as_drawn
from suite.hops import hop_distance, nearest_distance
from suite.measures.structure import Operator, effective_resistance, operator_power
from suite.measures.ways import MAX_CUT_NODES, adjacency_of, edge_cuts
from suite.samples import graphs_of, structural_colours
from suite.task import Block, Task, simple_edges

OPERATORS: tuple[Operator, ...] = ("gcn", "mean")
NUM_DESCRIBED = 8  # graphs
MAX_RADIUS = 32  # of the oracle's curve


def facts_of(task: Task) -> dict[str, Any]:
    """Return what is true of the first training graphs, as JSON values; `pair_facts` where they have a read-out and a source.

    num_graphs: how many were looked at, of one topology one. What differs between them is given by its median (low), what is true
    or false by whether it is true of all; `spread` has the least and the largest value of each number that differs. `task_facts`
    are of the task itself.
    """
    drawn = as_drawn(task, 0, "train", 0, 1 if task.fixed else NUM_DESCRIBED)
    graphs = graphs_of(drawn)[: 1 if isinstance(drawn, Block) else NUM_DESCRIBED]
    every = [graph_facts(graph) | pair_facts(graph) for graph in graphs]
    found: dict[str, Any] = {"num_graphs": len(every)}
    spread: dict[str, list[float]] = {}
    for name in dict.fromkeys(name for facts in every for name in facts):
        values = sorted(facts[name] for facts in every if name in facts)
        found[name] = all(values) if isinstance(values[0], bool) else values[(len(values) - 1) // 2]
        if values[0] != values[-1] and not isinstance(values[0], bool):
            spread[name] = [values[0], values[-1]]
    return found | ({"spread": spread} if spread else {}) | task_facts(task)


def task_facts(task: Task) -> dict[str, Any]:
    """Return what the task itself knows of its range: `exact_range`, and `oracle`, the best score by radius from 0 on.

    {} where it knows neither. The curve ends at the ceiling.
    """
    exact, oracle = task.exact_range(), []
    for radius in range(MAX_RADIUS + 1):
        score = task.oracle(radius)
        if score is None:
            break
        oracle.append(score)
        if math.isclose(score, task.ceiling, abs_tol=1e-9):
            break
    return ({} if exact is None else {"exact_range": exact}) | ({"oracle": oracle} if oracle else {})


def graph_facts(graph: Data) -> dict[str, Any]:
    """Return what is true of a graph.

    num_nodes; num_edges: each once, whatever its direction or number; repeated_edges: further copies; self_loops, bipartite.
    orbits_at_least: classes of nodes that 1-WL tells apart without features, each one or several orbits of the graph's
    automorphisms. Exactly so many on trees.
    """
    edge_index, num_nodes = graph.edge_index, int(graph.num_nodes)
    simple, once = coalesce(edge_index, num_nodes=num_nodes), simple_edges(edge_index, num_nodes)
    return {
        "num_nodes": num_nodes,
        "num_edges": once.size(1) // 2,
        "repeated_edges": edge_index.size(1) - simple.size(1),
        "self_loops": contains_self_loops(simple),
        "bipartite": is_bipartite(edge_index, num_nodes),
        "orbits_at_least": int(torch.unique(structural_colours(once, torch.zeros(num_nodes).long())).numel()),
    }


def pair_facts(graph: Data) -> dict[str, Any]:
    """Return what lies between the first read-out node v and its source u, r hops away; {} without a source or a path.

    pair_hops: r. operator_gcn, operator_mean: (S^r)_vu of the two operators (2302.02941); share_gcn, share_mean: of the sum of
    v's row.
    resistance: effective, undirected, every edge 1 ohm; cut: how many edges part v from u, which is how many paths have no edge
    in common (Menger). like_source: nodes beside u that 1-WL cannot tell from u once v is marked: those that a symmetry which
    keeps v puts in its place are among them.
    """
    if "source_index" not in graph or "readout_index" not in graph:
        return {}
    num_nodes, readout, source = int(graph.num_nodes), graph.readout_index[:1], graph.source_index[:1]
    hops = int(hop_distance(graph.edge_index, readout, num_nodes)[0, source])
    if hops < 1:
        return {}
    found: dict[str, Any] = {"pair_hops": hops}
    for operator in OPERATORS:
        row = operator_power(graph.edge_index, num_nodes, operator, hops, readout)[0]
        found[f"operator_{operator}"] = float(row[source])
        found[f"share_{operator}"] = float(row[source] / row.sum())
    edges, pair = simple_edges(graph.edge_index, num_nodes), torch.stack([readout, source], dim=1)
    if connected_components(adjacency_of(edges, num_nodes))[0] == 1:
        found["resistance"] = float(effective_resistance(edges, num_nodes, pair))
    if num_nodes <= MAX_CUT_NODES:
        found["cut"] = int(edge_cuts(edges, num_nodes, pair))
    marked = torch.zeros(num_nodes, dtype=torch.long).index_fill(0, readout, 1)
    colour = structural_colours(edges, marked)
    return found | {"like_source": int((colour == colour[source]).sum()) - 1}


def is_bipartite(edge_index: Tensor, num_nodes: int) -> bool:
    """Return whether no cycle of the undirected graph is odd; a self-loop is one."""
    _, part = connected_components(adjacency_of(edge_index, num_nodes), directed=False)
    first = torch.from_numpy(np.unique(part, return_index=True)[1])
    # Of each component one node: no edge may join nodes that are equally far from it, modulo 2.
    side = nearest_distance(edge_index, first, num_nodes) % 2
    return not bool((side[edge_index[0]] == side[edge_index[1]]).any())

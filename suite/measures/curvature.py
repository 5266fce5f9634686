"""Curvature of edges, of a whole graph or of some: negative at bottlenecks, positive where the ends share neighbours."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from suite.curvature import augmented_forman, balanced_forman, ollivier_ricci
from suite.measures.ways import adjacency_of
from suite.refs import unknown
from suite.task import simple_edges

Kind = Literal["balanced_forman", "ollivier_ricci", "augmented_forman"]
MAX_BALL = 1 << 12  # nodes around an edge, whose adjacency is held densely


def curvature(edge_index: Tensor, num_nodes: int, kind: Kind, edges: Tensor | None = None) -> Tensor:
    """Return the curvature of each of `edges` [2, num_edges], by default each edge of the graph once: [num_edges] float64.

        balanced_forman   2/d_i + 2/d_j - 2 + triangles and squares through the edge, weighted (2111.14522); > -2
        ollivier_ricci    1 - W_1 of the neighbours of i and j, without laziness (2211.15779); in [-2, 1]
        augmented_forman  4 - d_i - d_j + 3 triangles (2309.09384); unbounded

    The default order is that of `edge_index` made undirected, its pairs i < j. Loops and parallel edges do not count. Zero: flat,
    as on long cycles and grids. Scale-free: no weights. Pitfalls: the public code of balanced Forman leaves most edges at 0, and
    its 4-cycles are walks that are none; a bridge between two dense parts can have a smaller |curvature| than an edge at a hub.
    Cost: the ball of radius 2 around every edge, held densely; Ollivier solves a linear programme of d_i d_j unknowns.

    Raises ValueError for an unknown kind, a pair that no edge joins, and where a ball has more than 4,096 nodes.
    """
    if kind not in get_args(Kind):
        raise ValueError(unknown("curvature", kind, get_args(Kind)))
    both = simple_edges(edge_index.cpu(), num_nodes)
    asked = both[:, both[0] < both[1]] if edges is None else edges.cpu()
    adjacency = adjacency_of(both, num_nodes)
    found = [_of_edge(adjacency, int(i), int(j), kind) for i, j in asked.T.tolist()]
    return torch.tensor(found, dtype=torch.float64)


def _of_edge(adjacency: csr_array, i: int, j: int, kind: Kind) -> float:
    near = np.union1d(_neighbours(adjacency, i), _neighbours(adjacency, j))
    if j not in near or i not in near:
        raise ValueError(f"edges: no edge joins {i} and {j}")
    # Neighbours of i and j may be two apart by a node that is next to neither.
    ball = np.unique(np.concatenate([near, adjacency[near].indices])) if kind == "ollivier_ricci" else near
    if ball.size > MAX_BALL:
        raise ValueError(
            f"edges: {ball.size:,} nodes are around {i} - {j}, more than the {MAX_BALL:,} that are held; leave it out"
        )
    local = adjacency[ball][:, ball].toarray().astype(bool)
    ends = int(np.searchsorted(ball, i)), int(np.searchsorted(ball, j))
    if kind == "ollivier_ricci":
        return ollivier_ricci(local, *ends).curvature
    return balanced_forman(local, *ends) if kind == "balanced_forman" else augmented_forman(local, *ends)


def _neighbours(adjacency: csr_array, node: int) -> np.ndarray:
    return adjacency.indices[adjacency.indptr[node] : adjacency.indptr[node + 1]]

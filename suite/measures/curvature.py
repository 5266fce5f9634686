"""Curvature of edges, of a whole graph or of some: negative at bottlenecks, positive where the ends share neighbours."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from suite.curvature import balanced_forman, ollivier_ricci
from suite.measures.ways import adjacency_of
from suite.refs import unknown
from suite.task import simple_edges

Kind = Literal["balanced_forman", "ollivier_ricci", "augmented_forman"]
MAX_BALL = 1 << 12  # nodes around an edge, whose adjacency is held densely


def curvature(edge_index: Tensor, num_nodes: int, kind: Kind, edges: Tensor | None = None, laziness: float = 0.0) -> Tensor:
    """Return the curvature of each of `edges` [2, num_edges], by default each edge of the graph once: [num_edges] float64.

    With degrees d, T the number of neighbours that i and j share, and W_1 the cost of moving one unit of mass, `laziness` of it
    at i and the rest spread evenly over its neighbours, to the same at j, a hop a unit:

        balanced_forman   2/d_i + 2/d_j - 2 + 2 T / max(d_i, d_j) + T / min(d_i, d_j)
                          + (Q_i + Q_j) / (g max(d_i, d_j)),  0 where an end is a leaf (2111.14522); > -2
        ollivier_ricci    1 - W_1 (2211.15779, without laziness); in [-2, 1]
        augmented_forman  4 - d_i - d_j + 3 T (2309.09384); unbounded

    Q_i counts the neighbours k of i on a 4-cycle i - k - w - j without diagonals, Q_j likewise, and g is the largest number of
    such cycles through one of these nodes k or w; without such cycles that term is 0.

    The default order is that of `edge_index` made undirected, its pairs i < j. Loops and parallel edges do not count. Zero:
    flat, as on long cycles, and on grids (there augmented Forman has -4). Scale-free: no weights. Pitfalls: the public code of
    balanced Forman leaves most edges at 0, and its 4-cycles are walks that are none; a bridge between two dense parts can have a
    smaller |curvature| than an edge at a hub. Cost: augmented Forman of all edges together, 0.1 s on 10^5 nodes of small degree.
    The others edge by edge, so that a large graph is asked on some: balanced Forman d_i d_j steps, 0.1 ms at least; Ollivier a
    linear programme of d_i d_j unknowns, 2 ms at least. Both hold the nodes around the edge densely.

    Raises ValueError for an unknown kind, a pair that no edge joins, a laziness that is not from 0 to below 1, or of another kind
    than Ollivier's, and, but for augmented Forman, where more than 4,096 nodes are around an edge.
    """
    if kind not in get_args(Kind):
        raise ValueError(unknown("curvature", kind, get_args(Kind)))
    if not 0 <= laziness < 1 or (laziness and kind != "ollivier_ricci"):
        raise ValueError(f"laziness: must be from 0 to below 1, and 0 but for ollivier_ricci, got {laziness} for {kind}")
    both = simple_edges(edge_index.cpu(), num_nodes)
    asked = both[:, both[0] < both[1]] if edges is None else edges.cpu()
    adjacency = adjacency_of(both, num_nodes)
    i, j = asked.numpy()
    apart = np.flatnonzero(~adjacency[i, j].astype(bool)) if i.size else i
    if apart.size:
        raise ValueError(f"edges: no edge joins {i[apart[0]]} and {j[apart[0]]}")
    if kind == "augmented_forman":
        degree = np.diff(adjacency.indptr)
        return torch.from_numpy(4.0 - degree[i] - degree[j] + 3 * adjacency[i].multiply(adjacency[j]).sum(1))
    return torch.tensor([_of_edge(adjacency, a, b, kind, laziness) for a, b in asked.T.tolist()], dtype=torch.float64)


def _of_edge(adjacency: csr_array, i: int, j: int, kind: Kind, laziness: float) -> float:
    near = np.union1d(_neighbours(adjacency, i), _neighbours(adjacency, j))
    # Neighbours of i and j may be two apart by a node that is next to neither.
    ball = np.unique(np.concatenate([near, adjacency[near].indices])) if kind == "ollivier_ricci" else near
    if ball.size > MAX_BALL:
        raise ValueError(
            f"edges: {ball.size:,} nodes are around {i} - {j}, more than the {MAX_BALL:,} that are held; leave it out"
        )
    local = adjacency[ball][:, ball].toarray().astype(bool)
    ends = int(np.searchsorted(ball, i)), int(np.searchsorted(ball, j))
    return ollivier_ricci(local, *ends, laziness).curvature if kind == "ollivier_ricci" else balanced_forman(local, *ends)


def _neighbours(adjacency: csr_array, node: int) -> np.ndarray:
    return adjacency.indices[adjacency.indptr[node] : adjacency.indptr[node + 1]]

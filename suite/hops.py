"""Hop distances: found by breadth-first search, never believed."""

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor


def hop_distance(edge_index: Tensor, source: Tensor, num_nodes: int) -> Tensor:
    """Return the number of edges on a shortest path from each of `source` to every node: [num_sources, num_nodes] long.

    d(v, u) = min over paths from v to u of their number of edges; `edge_index` [2, num_edges] is read as undirected, each edge
    of length 1, however often it is listed. -1: no path. Zero: the node itself. Scale-free: no weights. Cost: one breadth-first
    search a source, O(m log n), 0.1 s on 10^5 nodes, and n numbers of each held: ask of some sources on large graphs. Pitfall:
    what L message-passing layers can reach, and not what they bring: among nodes equally far one is felt a thousand times more
    than another (`operator_power`), and a global channel knows no distance. (2302.02941)
    """
    return _whole(dijkstra(_adjacency(edge_index, num_nodes), unweighted=True, indices=source.cpu().numpy()))


def nearest_distance(edge_index: Tensor, sources: Tensor, num_nodes: int) -> Tensor:
    """Return the number of edges from every node to the nearest of `sources`: [num_nodes] long; else as `hop_distance`."""
    indices = sources.cpu().numpy()
    return _whole(dijkstra(_adjacency(edge_index, num_nodes), unweighted=True, indices=indices, min_only=True))


def _adjacency(edge_index: Tensor, num_nodes: int) -> csr_array:
    """Return every edge both ways, as often as it is listed; row by row, for what SciPy does instead outlasts a small search."""
    source, target = edge_index.cpu().numpy()
    row, col = np.concatenate([source, target]), np.concatenate([target, source])
    starts = np.concatenate([[0], np.bincount(row, minlength=num_nodes).cumsum()])
    return csr_array((np.ones(row.size), col[row.argsort()], starts), shape=(num_nodes, num_nodes))


def _whole(hops: np.ndarray) -> Tensor:
    return torch.from_numpy(np.where(np.isinf(hops), -1, hops)).long()

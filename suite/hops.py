"""Hop distances: found by breadth-first search, never believed."""

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor


def hop_distance(edge_index: Tensor, source: Tensor, num_nodes: int) -> Tensor:
    """Return the number of edges on a shortest path from each of `source` to every node: [num_sources, num_nodes] long.

    `edge_index` [2, num_edges] is read as undirected; -1 where no path leads.
    """
    return _from(edge_index, source, num_nodes, min_only=False)


def nearest_distance(edge_index: Tensor, sources: Tensor, num_nodes: int) -> Tensor:
    """Return the number of edges from every node to the nearest of `sources`: [num_nodes] long; else as `hop_distance`."""
    return _from(edge_index, sources, num_nodes, min_only=True)


def _from(edge_index: Tensor, source: Tensor, num_nodes: int, *, min_only: bool) -> Tensor:
    row, col = edge_index.cpu().numpy()
    adjacency = coo_array((np.ones(row.size), (row, col)), shape=(num_nodes, num_nodes)).tocsr()
    indices = source.cpu().numpy()
    hops = dijkstra(adjacency, directed=False, unweighted=True, indices=indices, min_only=min_only)
    return torch.from_numpy(np.where(np.isinf(hops), -1, hops)).long()

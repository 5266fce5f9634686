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
    row, col = edge_index.cpu().numpy()
    adjacency = coo_array((np.ones(row.size), (row, col)), shape=(num_nodes, num_nodes)).tocsr()
    hops = dijkstra(adjacency, directed=False, unweighted=True, indices=source.cpu().numpy())
    return torch.from_numpy(np.where(np.isinf(hops), -1, hops)).long()

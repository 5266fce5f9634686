"""What lies between nodes: shells, walks, shortest paths, cuts, commute times, and which nodes no message passing tells apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import block_array, csr_array, eye_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from suite.hops import hop_distance
from suite.measures.structure import MAX_NODES, applied, effective_resistance
from suite.samples import structural_colours
from suite.task import simple_edges

MAX_CUT_NODES = MAX_NODES  # of a graph whose cuts are counted
CHUNK = 1 << 26  # distances held at once


def shell_sizes(edge_index: Tensor, num_nodes: int, nodes: Tensor) -> Tensor:
    """Return how many nodes are k = 0, 1, ... hops from each of `nodes`: [len(nodes), num_hops] long.

    The last column is the largest eccentricity among `nodes`; nodes without a path are in no shell. The edges are read as
    undirected. Zero: no node at that distance. Not scale-free: counts of nodes. Cost: one breadth-first search a node,
    O(m log n), 0.1 s on 10^5 nodes, and a number for each of the `num_hops`. Pitfall: influence summed over a shell mixes how
    strong it is with how many nodes there are; divide by this.
    (Ours.)
    """
    sizes = []
    for part in torch.split(nodes, max(1, CHUNK // max(1, num_nodes))):
        hops = hop_distance(edge_index, part, num_nodes)
        count = torch.zeros(part.numel(), int(hops.max()) + 2, dtype=torch.long)
        sizes.append(count.scatter_add_(1, hops + 1, torch.ones_like(hops))[:, 1:])  # -1, no path, comes first
    width = max((count.size(1) for count in sizes), default=0)
    return torch.cat([torch.nn.functional.pad(count, (0, width - count.size(1))) for count in sizes])


def walk_counts(edge_index: Tensor, num_nodes: int, pairs: Tensor, length: int) -> Tensor:
    """Return (A^length)_vu, the number of walks of `length` edges between the nodes of each pair (v, u): [num_pairs] float64.

    `pairs` is [num_pairs, 2] long. Messages run from row 0 to row 1 of `edge_index`; parallel edges are walks of their own, and
    no self-loops are added. Exact up to 2^53, infinite beyond 10^308. Zero: no such walk, so nothing of u is at v after exactly
    `length` steps without self-loops (on a bipartite graph whenever the parity is wrong). Cost: O(length m) for each different
    v, and n numbers of each held: milliseconds a step on 10^5 nodes. Not scale-free in `length`: it grows like the spectral
    radius.
    Pitfall: counts of what a linear net without norm would add up; GCN divides each step by degrees. (Ours.)
    """
    readouts, place = torch.unique(pairs[:, 0].cpu(), return_inverse=True)
    columns: Any = np.zeros((num_nodes, readouts.numel()))
    columns[readouts.numpy(), np.arange(readouts.numel())] = 1
    columns = applied(adjacency_of(edge_index, num_nodes), columns, length)
    return torch.from_numpy(columns[pairs[:, 1].cpu().numpy(), place.numpy()])


def shortest_path_counts(edge_index: Tensor, num_nodes: int, nodes: Tensor) -> Tensor:
    """Return how many shortest paths lead from each of `nodes` to every node: [len(nodes), num_nodes] float64.

    The edges are read as undirected and each once. 1 at the node itself; zero: no path. Exact up to 2^53 (a grid has
    C(a + b, a) between corners a and b apart), in floating point beyond. Not scale-free: a count, exponential in the distance on
    grids. Cost: O(m log m) a node, 0.3 s on 10^5 nodes, and n numbers of each held (Brandes, 2001).
    Pitfall: many shortest paths do not help a model that must know which one.
    """
    source, target = simple_edges(edge_index.cpu(), num_nodes).numpy()
    out = np.zeros((nodes.numel(), num_nodes))
    for count, node in zip(out, nodes.cpu(), strict=True):
        count[node] = 1
        hops = hop_distance(edge_index, node.view(1), num_nodes)[0].numpy()
        onward = hops[target] == hops[source] + 1
        a, b = source[onward], target[onward]
        order = hops[b].argsort(kind="stable")
        ends = np.searchsorted(hops[b][order], np.arange(1, hops.max() + 2))
        for first, last in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True):  # shell by shell
            part = order[first:last]
            np.add.at(count, b[part], count[a[part]])
    return torch.from_numpy(out)


def edge_cuts(edge_index: Tensor, num_nodes: int, pairs: Tensor) -> Tensor:
    """Return how many edges must go that nothing of u reaches v any more, for each pair (v, u): [num_pairs] float64.

    The maximum flow from u to v along the direction of messages, every listed edge of capacity 1: as many paths have no edge
    in common (Menger, 1927). `pairs` is [num_pairs, 2] long. Zero: there is no path; NaN where v is u. Not scale-free: copies
    count. Cost: one flow a pair (Dinic), O(m) steps for each length that the flow's paths have; 0.1 s on 10^5 nodes.
    Pitfall: says nothing of length: two routes of any length cut alike.

    Raises ValueError for graphs of more than 1,000,000 nodes.
    """
    capacity = _capacity(edge_index, num_nodes)
    return _flows(capacity, pairs[:, 1], pairs[:, 0], pairs[:, 0] != pairs[:, 1])


def vertex_cuts(edge_index: Tensor, num_nodes: int, pairs: Tensor) -> Tensor:
    """Return how many other nodes must go that nothing of u reaches v any more, for each pair (v, u): [num_pairs] float64.

    The width of the bottleneck, as everything from u must pass through that many states. As many paths have no inner node in
    common (Menger, 1927). Zero: there is no path; NaN where an edge joins u to v, or v is u: no node is between. Scale-free:
    copies of an edge leave it. Cost and errors as `edge_cuts`, on a graph of twice the nodes.
    Pitfall: a width of 1 does not say that little can pass: a state has many channels.
    """
    capacity = _capacity(edge_index, num_nodes)
    capacity.data[:] = num_nodes  # the edges hold more than all nodes together
    through = eye_array(num_nodes)
    blocks: Any = [[None, through], [capacity, None]]  # each node: in, then out
    split: Any = csr_array(block_array(blocks), dtype=np.int32)
    v, u = pairs.cpu().unbind(1)
    joined = torch.tensor([bool(capacity[a, b]) for a, b in zip(u.tolist(), v.tolist(), strict=True)], dtype=torch.bool)
    return _flows(split, u + num_nodes, v, (u != v) & ~joined)


def commute_time(edge_index: Tensor, num_nodes: int, pairs: Tensor) -> Tensor:
    """Return the mean number of steps of a random walk from one node of each pair to the other and back: [num_pairs] float64.

    2 m R_vu, m the number of edges and R the effective resistance (Chandra et al., 1989; 2302.02941); self-loops are left out.
    Zero: the same node. On a ring of n nodes it is 2 k (n - k) at k hops, on a tree 2 (n - 1) k. Pitfall: within one graph it
    says what R says; between graphs it grows with their size, where R need not. Scale-free: copies of every edge leave it. Cost,
    scale and errors as `effective_resistance`.
    """
    num_edges = int((edge_index[0] != edge_index[1]).sum()) / 2
    return 2 * num_edges * effective_resistance(edge_index, num_nodes, pairs)


def wl_classes(edge_index: Tensor, num_nodes: int, x: Tensor | None = None) -> Tensor:
    """Return the class of each node under 1-WL colour refinement, run until no class splits: [num_nodes] long, from 0.

    Colours start from the rows of `x` [num_nodes, channels], or all equal. Nodes of one class have equal outputs under every
    message passing net, however deep and wide (1810.00826, 1810.02244). Every orbit of the graph's automorphisms lies in one
    class; on a regular graph without x there is one class alone. Zero: the class of some node, no more. Scale-free in x: only
    whether rows are equal counts, to the last digit of their type. Cost: O((n + m) log n), however many rounds; some seconds on
    10^5 nodes. Pitfall: models with a global channel, identifiers or Laplacian eigenvectors tell more nodes apart.
    """
    told = x if x is not None and x.numel() else torch.zeros(num_nodes, 1)
    start = torch.unique(told.cpu(), dim=0, return_inverse=True)[1]
    found: Tensor = torch.unique(structural_colours(edge_index.cpu(), start), return_inverse=True)[1]
    return found


def adjacency_of(edge_index: Tensor, num_nodes: int) -> csr_array:
    """Return how often each edge is listed, int32, by source and target."""
    source, target = edge_index.cpu().numpy()
    return csr_array((np.ones(source.size, dtype=np.int32), (source, target)), shape=(num_nodes, num_nodes))


def _capacity(edge_index: Tensor, num_nodes: int) -> csr_array:
    if num_nodes > MAX_CUT_NODES:
        raise ValueError(f"num_nodes: cuts are counted up to {MAX_CUT_NODES:,}, got {num_nodes:,}; ask on an induced subgraph")
    return adjacency_of(edge_index, num_nodes)


def _flows(capacity: csr_array, source: Tensor, sink: Tensor, defined: Tensor) -> Tensor:
    found = [
        maximum_flow(capacity, a, b).flow_value if ok else np.nan
        for a, b, ok in zip(source.tolist(), sink.tolist(), defined.tolist(), strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)

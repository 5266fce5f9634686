"""What the whole graph is like for a walk: total resistance, and how narrow its narrowest cut is at least and at most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from suite.measures.structure import fiedler, laplacian_of, laplacian_solver, undirected
from suite.rng import stream

EXACT_NODES = 4096  # up to which all eigenvalues are found
NUM_PROBES = 64


class Estimate(NamedTuple):
    """A number, and its standard error: 0 where it is exact."""

    value: float
    standard_error: float


class Cheeger(NamedTuple):
    """Between which numbers the Cheeger constant h = min over S of cut(S) / min(vol S, vol of the rest) lies."""

    lower: float  # gap / 2
    upper: float  # sqrt(2 gap), or the sweep where that is smaller
    sweep: float  # cut of the best prefix of the nodes in the order of the second eigenvector, over the smaller volume


def total_resistance(edge_index: Tensor, num_nodes: int) -> Estimate:
    """Return the sum of the effective resistance over all pairs of nodes, [], n tr(L^+) = n sum of 1 / lambda_i, i >= 2.

    By it over-squashing of all pairs together is bounded (2302.06835). (n^3 - n) / 6 on a path, (n^3 - n) / 12 on a ring,
    n - 1 on a complete graph, (n - 1)^2 on a star, the sum of all distances on a tree. Zero: one node. Not scale-free: it grows
    with n; compare rewirings of one graph. Pitfall: it may fall without the pair that a task asks of coming closer.

    Cost: all eigenvalues, O(n^3), up to 4,096 nodes, 5 s there; above from 64 random signs z, n z^T L^+ z, unbiased,
    with a standard error (Hutchinson, 1989), as long as 64 pairs of `effective_resistance`: seconds at 10^5 nodes. Raises
    ValueError and ArithmeticError as `effective_resistance`.
    """
    adjacency = undirected(edge_index, num_nodes)
    if num_nodes <= EXACT_NODES:
        laplacian = laplacian_of(adjacency).toarray()
        return Estimate(float(num_nodes * (1 / np.linalg.eigvalsh(laplacian)[1:]).sum()), 0.0)
    solve = laplacian_solver(adjacency)
    rng = stream("total resistance", "probes")
    found = []
    for _ in range(NUM_PROBES):
        signs = torch.randint(2, (num_nodes,), generator=rng).double().mul(2).sub(1).numpy()
        signs = signs - signs.mean()  # L^+ of a constant is 0
        found.append(num_nodes * float(signs @ solve(signs)))
    return Estimate(float(np.mean(found)), float(np.std(found, ddof=1) / NUM_PROBES**0.5))


def cheeger(edge_index: Tensor, num_nodes: int) -> Cheeger:
    """Return bounds of the Cheeger constant, the conductance of the graph's narrowest cut, [] each.

    gap / 2 <= h <= sweep <= sqrt(2 gap) (Chung, 1997), gap the second smallest eigenvalue of I - D^-1/2 A D^-1/2. h is exact
    for n <= 20 only, by trying all cuts, which is not done here. Near 0: a bottleneck that all information between two large
    parts must pass; h never is zero on a connected graph, and at most 1. Scale-free: parallel copies of every edge leave it.
    Pitfall: it knows of one cut, and not whether the nodes that a task asks of are on both sides. Cost and errors as
    `spectral_gap`, and O(m) for the sweep.
    """
    gap, slow = fiedler(edge_index, num_nodes)
    adjacency = undirected(edge_index, num_nodes)
    order = np.argsort(slow, kind="stable")
    place = np.argsort(order)
    row, col = adjacency.nonzero()
    change = np.zeros(num_nodes + 1)  # of the cut, from one prefix to the next
    np.add.at(change, np.minimum(place[row], place[col]), adjacency.data / 2)
    np.add.at(change, np.maximum(place[row], place[col]), -adjacency.data / 2)
    volume = adjacency.sum(0)[order].cumsum()
    cut = change.cumsum()[: num_nodes - 1]
    sweep = float((cut / np.minimum(volume, volume[-1] - volume)[:-1]).min())
    return Cheeger(gap / 2, min((2 * gap) ** 0.5, sweep), sweep)

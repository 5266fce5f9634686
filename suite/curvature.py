"""Curvatures of edges: negative where an edge is a bottleneck, positive where its ends share neighbours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import eye_array, kron, vstack

FARTHEST = 3  # hops between a neighbour of one end and a neighbour of the other


def balanced_forman(adjacency: np.ndarray, i: int, j: int) -> float:
    """Return the balanced Forman curvature of the edge between nodes i and j (2111.14522, definition 1).

    `adjacency` is [n, n] bool, symmetric, without loops. With degrees d and the neighbours that i and j have in common, T,

        2/d_i + 2/d_j - 2 + 2 |T| / max(d_i, d_j) + |T| / min(d_i, d_j) + (|Q_i| + |Q_j|) / (gamma max(d_i, d_j)),

    where Q_i are the neighbours k of i on a 4-cycle i - k - w - j without diagonals (k not adjacent to j, w not to i), and gamma
    is the largest number of such cycles through one of these nodes. Without such cycles the last term is 0, and so is the
    curvature of an edge to a leaf. It is at least -2; C_3 has 3/2, C_4 has 1, K_n has n / (n - 1), longer cycles 0.
    """
    at_i, at_j = adjacency[i], adjacency[j]
    degrees = int(at_i.sum()), int(at_j.sum())
    low, high = min(degrees), max(degrees)
    if low <= 1:
        return 0.0
    common = int((at_i & at_j).sum())
    only_i, only_j = np.flatnonzero(at_i & ~at_j), np.flatnonzero(at_j & ~at_i)
    only_i, only_j = only_i[only_i != j], only_j[only_j != i]
    cycles = adjacency[np.ix_(only_i, only_j)]
    found = 2 / low + 2 / high - 2 + 2 * common / high + common / low
    if not cycles.any():
        return found
    through_i, through_j = cycles.sum(1), cycles.sum(0)
    corners = np.count_nonzero(through_i) + np.count_nonzero(through_j)
    return float(found + corners / (max(through_i.max(), through_j.max()) * high))


class Transport(NamedTuple):
    """An optimal plan between the steps of a random walk from two nodes."""

    sources: np.ndarray  # [a] the neighbours of one end, and with laziness that end
    targets: np.ndarray  # [b] the same of the other
    cost: np.ndarray  # [a, b] mass moved times hops

    @property
    def curvature(self) -> float:
        """Ollivier's, of an edge: 1 - W_1 of where the two walks are."""
        return float(1 - self.cost.sum())


def ollivier_ricci(adjacency: np.ndarray, i: int, j: int, laziness: float = 0.0) -> Transport:
    """Return the optimal transport from a step of a walk at node i to one at node j, whose `curvature` is Ollivier-Ricci's.

    A walk stays with probability `laziness`, from 0 to below 1, else it goes to a neighbour, each alike. `adjacency` as in
    `balanced_forman`, with an edge between i and j: no neighbour of one is more than 3 hops from one of the other. Without
    laziness K_n has (n - 2) / (n - 1), C_3 has 1/2, an edge of a tree with both degrees 3 has -2/3. (2211.15779)
    """
    (sources, leaving), (targets, arriving) = (_step(adjacency, node, laziness) for node in (i, j))
    hops = _near_hops(adjacency, sources, targets)
    a, b = hops.shape
    constraints: Any = vstack([kron(eye_array(a), np.ones((1, b))), kron(np.ones((1, a)), eye_array(b))])
    margins = np.concatenate([leaving, arriving])
    plan: Any = linprog(hops.ravel(), A_eq=constraints, b_eq=margins, bounds=(0, None), method="highs-ds").x
    return Transport(sources, targets, plan.reshape(a, b) * hops)


def _step(adjacency: np.ndarray, node: int, laziness: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where a walk from `node` may be after a step, and how probably."""
    neighbours = np.flatnonzero(adjacency[node])
    spread = np.full(len(neighbours), (1 - laziness) / len(neighbours))
    return (np.append(neighbours, node), np.append(spread, laziness)) if laziness else (neighbours, spread)


def _near_hops(adjacency: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the hop distance of each source to each target, none of which is above 3: [a, b]."""
    hops = np.full((len(sources), len(targets)), FARTHEST)
    hops[(adjacency[sources].astype(np.float32) @ adjacency[:, targets].astype(np.float32)) > 0] = 2
    hops[adjacency[np.ix_(sources, targets)]] = 1
    hops[sources[:, None] == targets] = 0
    return hops

"""Every structural measure on path, cycle, clique, star, binary tree, barbell and theta, where a closed form exists.

Each row says how its number is worked out. Sizes: a path, cycle and clique of n nodes; a star of n leaves around node 0; a binary
tree of depth r; a barbell of two cliques of k whose attached nodes are b + 1 edges apart; a theta of p routes of h edges between
the poles 0 and 1.
"""

from collections.abc import Callable
from itertools import combinations
from math import comb, cos, pi
from typing import Any

import networkx as nx
import pytest
import torch
from test_measures_structure import barbell, edges, theta
from test_measures_ways import each_graph

from suite.measures import (
    cheeger,
    commute_time,
    curvature,
    edge_cuts,
    effective_resistance,
    hop_distance,
    operator_power,
    rayleigh_quotient,
    shell_sizes,
    shortest_path_counts,
    spectral_gap,
    total_resistance,
    vertex_cuts,
    walk_counts,
    wl_classes,
)

path, cycle, clique, star = nx.path_graph, nx.cycle_graph, nx.complete_graph, nx.star_graph


def tree(depth: int) -> nx.Graph:
    return nx.balanced_tree(2, depth)


def bell(k: int, b: int) -> nx.Graph:
    """Node 0 is unattached, k - 1 attached; k and 2k - 1 likewise on the other side; the nodes between from 2k on."""
    return barbell(k, b, 1)


def of_pair(measure: Callable[..., Any], graph: nx.Graph, v: int, u: int, *more: Any) -> float:
    return float(measure(edges(graph), len(graph), torch.tensor([[v, u]]), *more))


Row = tuple[nx.Graph, int, int, float]

# Hops from v to u, then resistances: in series along a tree's path, two arcs of a cycle in parallel, k (n - k) / n. In a clique
# by symmetry all but v and u have one potential, so 1/R = 1 + (n - 2) / 2. Parallel routes: h / p. A barbell: 2/k, b + 1, 2/k.
DISTANCES: list[tuple[nx.Graph, int, int, int, float]] = [
    *[(path(n), 0, n - 1, n - 1, n - 1) for n in (2, 9)],
    *[(cycle(n), 0, k, min(k, n - k), k * (n - k) / n) for n, k in ((3, 1), (9, 6), (12, 5))],
    *[(clique(n), 0, n - 1, 1, 2 / n) for n in (2, 5, 9)],
    *[(star(n), 0, n, 1, 1) for n in (2, 7)],
    *[(star(n), 1, n, 2, 2) for n in (2, 7)],
    *[(tree(r), 2**r - 1, 2 ** (r + 1) - 2, 2 * r, 2 * r) for r in (1, 4)],  # the first leaf and the last
    *[(bell(k, b), 0, k, b + 3, b + 1 + 4 / k) for k, b in ((3, 0), (5, 2), (4, 7))],
    *[(theta(h, p), 0, 1, h, h / p) for h, p in ((2, 3), (5, 4), (7, 1))],
]


@pytest.mark.parametrize(("graph", "v", "u", "hops", "ohms"), DISTANCES)
def test_hops_resistance_and_commute_time(graph: nx.Graph, v: int, u: int, hops: int, ohms: float) -> None:
    assert hop_distance(edges(graph), torch.tensor([v]), len(graph))[0, u] == hops
    assert of_pair(effective_resistance, graph, v, u) == pytest.approx(ohms, rel=1e-10)
    assert of_pair(commute_time, graph, v, u) == pytest.approx(2 * graph.number_of_edges() * ohms, rel=1e-10)


# The commute times themselves, from the number of edges m: n - 1, n, n (n - 1) / 2, n, 2^(r+1) - 2, k (k - 1) + b + 1 and p h.
COMMUTES: list[Row] = [
    (path(9), 0, 8, 2 * 8 * 8),
    (cycle(12), 0, 5, 2 * 5 * 7),
    (clique(7), 0, 3, 2 * 6),
    (star(7), 0, 3, 2 * 7),
    (star(7), 1, 3, 4 * 7),
    (tree(4), 15, 30, 2 * 30 * 8),
    (bell(5, 2), 0, 5, 2 * 23 * (3 + 4 / 5)),
    (theta(6, 4), 0, 1, 2 * 6**2),
]


@pytest.mark.parametrize(("graph", "v", "u", "expected"), COMMUTES)
def test_commute_time(graph: nx.Graph, v: int, u: int, expected: float) -> None:
    assert of_pair(commute_time, graph, v, u) == pytest.approx(expected, rel=1e-10)


def of_all_in_bell(k: int, b: int) -> float:
    """Each clique k - 1; between them k^2 (b + 1), and 2/k for each of 2 k (k - 1) ends that are not attached; the inner nodes t
    from one clique k t + (k - 1) 2/k, to both sides; among themselves a path."""
    between = k * k * (b + 1) + 4 * (k - 1)
    to_inner = k * b * (b + 1) + 4 * b * (k - 1) / k
    return 2 * (k - 1) + between + to_inner + (b**3 - b) / 6


def of_all_in_theta(h: int, p: int) -> float:
    """On one route d apart: d in parallel with h - d and the other routes, h / (p - 1), so d - d^2 (p - 1) / (h p). On two routes
    s and t from pole 0: Kirchhoff at the poles gives V1 - V0 = (s - t) / p, and so
    R = (s - t)^2 / (p h) + (s (h - s) + t (h - t)) / h."""
    one = sum((h + 1 - d) * (d - d * d * (p - 1) / (h * p)) for d in range(1, h))
    inner = range(1, h)
    two = sum((s - t) ** 2 / (p * h) + (s * (h - s) + t * (h - t)) / h for s in inner for t in inner)
    return p * one + comb(p, 2) * two + h / p


TOTALS: list[tuple[nx.Graph, float]] = [
    *[(path(n), (n**3 - n) / 6) for n in (2, 9)],  # sum of k (n - k)
    *[(cycle(n), (n**3 - n) / 12) for n in (3, 10)],  # n / 2 times the sum of k (n - k) / n
    *[(clique(n), n - 1) for n in (2, 7)],  # n (n - 1) / 2 pairs of 2 / n
    *[(star(n), n**2) for n in (2, 7)],  # n of 1, n (n - 1) / 2 of 2
    # An edge above a subtree of s = 2^i - 1 nodes lies between s (n - s) pairs; there are 2^(r + 1 - i) of them.
    *[(tree(r), sum(2 ** (r + 1 - i) * (2**i - 1) * (2 ** (r + 1) - 2**i) for i in range(1, r + 1))) for r in (1, 4)],
    *[(bell(k, b), of_all_in_bell(k, b)) for k, b in ((3, 0), (5, 2), (4, 7))],
    *[(theta(h, p), of_all_in_theta(h, p)) for h, p in ((2, 2), (2, 5), (5, 3), (6, 1))],
]


@pytest.mark.parametrize(("graph", "expected"), TOTALS)
def test_total_resistance(graph: nx.Graph, expected: float) -> None:
    found = total_resistance(edges(graph), len(graph))
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.standard_error == 0


# Spectra of random walks: cosines on cycles and (reflected) on paths; J - I over n - 1; stars and thetas of h = 2 are complete
# bipartite, of eigenvalues 1, 0 and -1.
GAPS: list[tuple[nx.Graph, float]] = [
    (path(9), 1 - cos(pi / 8)),
    (cycle(9), 1 - cos(2 * pi / 9)),
    (clique(9), 9 / 8),
    (star(9), 1),
    (theta(2, 5), 1),
]


@pytest.mark.parametrize(("graph", "expected"), GAPS)
def test_spectral_gap(graph: nx.Graph, expected: float) -> None:
    assert spectral_gap(edges(graph), len(graph)) == pytest.approx(expected, rel=1e-9)
    assert cheeger(edges(graph), len(graph)).lower == pytest.approx(expected / 2, rel=1e-9)


# The narrowest cut, which a sweep finds where the second eigenvector is monotone, or every order finds it. Path, cycle: the
# middle. Clique: s nodes have cut s (n - s) and volume s (n - 1). Star: a cut of any leaves is their volume. Tree: a child of the
# root has a subtree of volume 2 (2^r - 2) + 1. Barbell: the bridge, over k (k - 1) + 1.
SWEEPS: list[tuple[nx.Graph, float]] = [
    (path(10), 1 / 9),
    (cycle(10), 2 / 10),
    (clique(8), 4 / 7),
    (clique(7), 4 / 6),
    (star(6), 1),
    (tree(4), 1 / (2**5 - 3)),
    (bell(5, 0), 1 / 21),
]


@pytest.mark.parametrize(("graph", "expected"), SWEEPS)
def test_narrowest_cut(graph: nx.Graph, expected: float) -> None:
    found = cheeger(edges(graph), len(graph))
    assert found.sweep == pytest.approx(expected, rel=1e-9)
    assert found.upper == pytest.approx(expected, rel=1e-9)  # below sqrt(2 gap) on all of these


# Edges, then nodes, that part v from u; NaN: they are joined.
CUTS: list[tuple[nx.Graph, int, int, float, float]] = [
    (path(7), 0, 6, 1, 1),
    (cycle(7), 0, 3, 2, 2),
    (clique(6), 0, 3, 5, float("nan")),
    (star(6), 1, 4, 1, 1),
    (star(6), 0, 4, 1, float("nan")),
    (tree(3), 7, 14, 1, 1),
    (bell(5, 2), 0, 5, 1, 1),
    (bell(5, 2), 0, 1, 4, float("nan")),
    (barbell(5, 1, 3), 0, 5, 3, 3),
    (theta(4, 6), 0, 1, 6, 6),
]


@pytest.mark.parametrize(("graph", "v", "u", "edge", "node"), CUTS)
def test_cuts(graph: nx.Graph, v: int, u: int, edge: float, node: float) -> None:
    assert of_pair(edge_cuts, graph, v, u) == edge
    assert of_pair(vertex_cuts, graph, v, u) == pytest.approx(node, nan_ok=True)


SHELLS: list[tuple[nx.Graph, int, list[int]]] = [
    (path(5), 0, [1] * 5),
    (path(5), 2, [1, 2, 2]),
    (cycle(7), 3, [1, 2, 2, 2]),
    (cycle(8), 3, [1, 2, 2, 2, 1]),
    (clique(6), 2, [1, 5]),
    (star(6), 0, [1, 6]),
    (star(6), 2, [1, 1, 5]),
    (tree(4), 0, [1, 2, 4, 8, 16]),
    (bell(5, 2), 0, [1, 4, 1, 1, 1, 4]),  # the attached node among the 4, two between, the other attached, its clique
    (theta(4, 3), 0, [1, 3, 3, 3, 1]),
]


@pytest.mark.parametrize(("graph", "node", "expected"), SHELLS)
def test_shells(graph: nx.Graph, node: int, expected: list[int]) -> None:
    assert shell_sizes(edges(graph), len(graph), torch.tensor([node])).tolist() == [expected]


# Walks of L edges. From the end of a path to r: C(L, (L - r) / 2) less those that leave it (reflection). Around a cycle, with
# L < n - k: which (L - k) / 2 steps go back. Clique: A = J - I has n - 1 once and -1 else. Star: each second step chooses a leaf.
WALKS: list[tuple[nx.Graph, int, int, int, float]] = [
    (path(12), 0, 3, 9, comb(9, 3) - comb(9, 2)),
    (path(12), 0, 3, 8, 0),  # the wrong parity
    (cycle(20), 0, 4, 10, comb(10, 3)),
    *[(clique(6), 0, 4, length, (5**length - (-1) ** length) / 6) for length in (1, 2, 7)],
    *[(clique(6), 4, 4, length, (5**length + 5 * (-1) ** length) / 6) for length in (0, 2, 7)],
    (star(5), 0, 3, 7, 5**3),
    (star(5), 1, 3, 6, 5**2),
    (tree(4), 0, 30, 4, 1),
    (bell(5, 2), 0, 5, 5, 1),
    (theta(4, 3), 0, 1, 4, 3),
]


@pytest.mark.parametrize(("graph", "v", "u", "length", "expected"), WALKS)
def test_walks(graph: nx.Graph, v: int, u: int, length: int, expected: float) -> None:
    assert of_pair(walk_counts, graph, v, u, length) == pytest.approx(expected, rel=1e-12)


# One for each way around, bridge or route.
SHORTEST: list[Row] = [
    (path(7), 0, 6, 1),
    (cycle(8), 0, 4, 2),
    (cycle(8), 0, 3, 1),
    (clique(6), 0, 3, 1),
    (star(6), 1, 3, 1),
    (tree(3), 7, 14, 1),
    (barbell(6, 2, 3), 0, 6, 3),
    (theta(5, 4), 0, 1, 4),
]


@pytest.mark.parametrize(("graph", "v", "u", "expected"), SHORTEST)
def test_shortest_paths(graph: nx.Graph, v: int, u: int, expected: float) -> None:
    assert shortest_path_counts(edges(graph), len(graph), torch.tensor([v]))[0, u] == expected


# (Op^L)_vu. Clique: A + I = J, of which every power is one again: 1/n for gcn and mean, n^(L-1) for sum. Star, n leaves, L = 2:
# from leaf to hub and on, 1/2 and 1/(n+1) in either normalisation; sum: one way. Cycle, A + I over 3: steps back, none and forth.
POWERS: list[tuple[nx.Graph, str, int, int, int, float]] = [
    *[(clique(n), kind, 0, u, length, 1 / n) for n in (2, 7) for kind in ("gcn", "mean") for u, length in ((1, 1), (0, 4))],
    *[(clique(7), "sum", 0, 3, length, 7 ** (length - 1)) for length in (1, 2, 5)],
    *[(star(5), kind, 1, 3, 2, 1 / 12) for kind in ("gcn", "mean")],
    (star(5), "sum", 1, 3, 2, 1),
    (cycle(9), "gcn", 0, 2, 3, 3 / 27),  # two forth and one still, in three orders
    (path(9), "mean", 0, 3, 3, 1 / (2 * 3 * 3)),
    (tree(3), "mean", 0, 14, 3, 1 / (3 * 4 * 4)),  # from the root of 3, down nodes of 4
    (bell(5, 0), "mean", 0, 5, 3, 1 / (5 * 6 * 6)),
    *[(theta(4, p), "mean", 0, 1, 4, p / ((p + 1) * 3**3)) for p in (1, 5)],
]


@pytest.mark.parametrize(("graph", "kind", "v", "u", "length", "expected"), POWERS)
def test_powers_of_the_operators(graph: nx.Graph, kind: Any, v: int, u: int, length: int, expected: float) -> None:
    assert operator_power(edges(graph), len(graph), kind, length, torch.tensor([v]))[0, u] == pytest.approx(expected, rel=1e-12)


# Mirror images, depths, and how far the nearest pole or attached node is.
CLASSES: list[tuple[nx.Graph, int]] = [
    *[(path(n), (n + 1) // 2) for n in (1, 2, 7, 8)],
    *[(cycle(n), 1) for n in (3, 8)],
    *[(clique(n), 1) for n in (2, 6)],
    *[(star(n), 2) for n in (2, 6)],
    *[(tree(r), r + 1) for r in (1, 4)],
    *[(bell(5, b), 2 + (b + 1) // 2) for b in (0, 1, 4)],
    *[(theta(h, p), h // 2 + 1) for h, p in ((2, 3), (5, 4), (6, 3))],
]


@pytest.mark.parametrize(("graph", "expected"), CLASSES)
def test_classes_under_colour_refinement(graph: nx.Graph, expected: int) -> None:
    listed = edges(graph) if graph.number_of_edges() else torch.empty(2, 0, dtype=torch.long)
    assert wl_classes(listed, len(graph)).unique().numel() == expected


# Curvatures of an edge: balanced Forman, Ollivier-Ricci, augmented Forman.
# Path. Inside, degrees 2 and 2: 0; a neighbour on either side moves by one: 0; 4 - 4. At the end: a leaf has 0; one step moves
# all the mass, 0; 4 - 3. Two nodes: their neighbours change places, W_1 = 1; 4 - 2.
# Cycles from 6 on as inside a path; cliques: n - 2 shared neighbours, and mass 1 / (n - 1) that moves by one.
# Star: a leaf; all mass moves by one; 4 - n - 1.
# Tree, inside, both degrees 3: 4/3 - 2; of thirds one moves by one to either end, and one third by three: 1 - 5/3; 4 - 6.
# Barbell, bridge, degrees k: 4/k - 2; two kths move by one and the rest by three, 1 - (2 + 3 (k - 2)) / k; 4 - 2k. Of a clique's
# edges that are not attached: as in the clique, though none of the two ends is on a 4-cycle without diagonals; augmented k.
# An attached one: degrees k and k - 1, k - 2 shared, 4 - (2k - 1) + 3 (k - 2).
# Theta, at a pole, h >= 3, degrees p and 2: 2/p + 1 - 2; of the p-ths, the one on this route moves on by one, a half moves to the
# pole by one, and the rest by three: W_1 = 1/p + 1/2 + 3 (1/2 - 1/p). h = 2: the 4-cycles use p - 1 neighbours of the pole and
# one of the middle, the other pole, through which all p - 1 go: + p / ((p - 1) p); masses move by one, 0.
CURVATURES: list[tuple[nx.Graph, int, int, float, float, float]] = [
    (path(2), 0, 1, 0, 0, 2),
    (path(3), 0, 1, 0, 0, 1),
    (path(7), 0, 1, 0, 0, 1),
    (path(7), 2, 3, 0, 0, 0),
    (cycle(3), 0, 1, 3 / 2, 1 / 2, 3),
    (cycle(4), 0, 1, 1, 0, 0),
    *[(cycle(n), 0, 1, 0, 0, 0) for n in (6, 9)],
    *[(clique(n), 0, 1, n / (n - 1), (n - 2) / (n - 1), n) for n in (3, 4, 8)],
    *[(star(n), 0, 1, 0, 0, 3 - n) for n in (2, 3, 9)],
    (tree(4), 1, 3, -2 / 3, -2 / 3, -2),
    *[(bell(k, 0), k - 1, 2 * k - 1, 4 / k - 2, 4 / k - 2, 4 - 2 * k) for k in (3, 4, 7)],
    *[(theta(h, p), 0, 2, 2 / p - 1, 2 / p - 1, 2 - p) for h, p in ((3, 2), (3, 4), (4, 3), (7, 5))],
    *[(theta(7, p), 3, 4, 0, 0, 0) for p in (2, 5)],
    *[(theta(2, p), 0, 2, 2 / p - 1 + 1 / (p - 1), 0, 2 - p) for p in (2, 3, 6)],
]


@pytest.mark.parametrize(("graph", "i", "j", "balanced", "ollivier", "augmented"), CURVATURES)
def test_curvatures(graph: nx.Graph, i: int, j: int, balanced: float, ollivier: float, augmented: float) -> None:
    edge = torch.tensor([[i], [j]])
    for kind, expected in (("balanced_forman", balanced), ("ollivier_ricci", ollivier), ("augmented_forman", augmented)):
        assert curvature(edges(graph), len(graph), kind, edge).item() == pytest.approx(expected, abs=1e-9), kind  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [4, 6])
def test_augmented_forman_in_the_cliques_of_a_barbell(k: int) -> None:
    inside, attached = torch.tensor([[0, 0], [1, k - 1]]).unbind(1)
    found = curvature(edges(bell(k, 1)), 2 * k + 1, "augmented_forman", torch.stack([inside, attached], dim=1))
    assert found.tolist() == [k, k - 1]


@each_graph
def test_augmented_forman_is_its_definition_in_loops(graph: nx.Graph) -> None:
    """Triangles are counted as triples of edges; the default order is that of pairs i < j."""
    ordered = sorted(tuple(sorted(edge)) for edge in graph.edges)
    expected = []
    for i, j in ordered:
        triangles = sum(graph.has_edge(i, k) and graph.has_edge(j, k) for k in graph)
        expected.append(4 - len(list(graph[i])) - len(list(graph[j])) + 3 * triangles)
    assert curvature(edges(graph), len(graph), "augmented_forman").tolist() == expected


# Rayleigh quotients h^T (I - Op) h / h^T h of known states; for "mean" the sum of (h_i - h_j)^2 over that of (d_i + 1) h_i^2.
# Cycle: cosines are eigenvectors, 1 - (1 + 2 cos) / 3. Clique: what adds up to 0 is lost at once, 1. Star: two leaves apart keep
# 1/2 of themselves; mean: 2 differences of 1 over degrees of 2. Path, mean: cosines of half steps are eigenvectors of D - A with
# 2 - 2 cos(pi k / n), of norm n / 2; degrees are 3 but for the ends' 2. Theta: the poles apart, degree p + 1, 2p differences of 1
# over 2 (p + 1).
def wave(n: int, k: float, shift: float) -> list[float]:
    return [cos(k * (j + shift)) for j in range(n)]


STATES: list[tuple[nx.Graph, str, list[float], float]] = [
    *[(cycle(n), kind, wave(n, 2 * pi * k / n, 0.3), 1 - (1 + 2 * cos(2 * pi * k / n)) / 3)
      for n, k in ((8, 1), (9, 4)) for kind in ("gcn", "mean")],
    *[(clique(6), kind, [1, -1, 3, -3, 0.5, -0.5], 1) for kind in ("gcn", "mean", "complete")],
    *[(star(5), kind, [0, 1, -1, 0, 0, 0], 1 / 2) for kind in ("gcn", "mean")],
    *[(path(n), "mean", wave(n, pi * k / n, 0.5), (1 - cos(pi * k / n)) * n / (3 * n / 2 - 2 * cos(pi * k / (2 * n)) ** 2))
      for n, k in ((7, 1), (10, 3))],
    *[(theta(3, p), kind, [1, -1, *[0] * (2 * p)], p / (p + 1)) for p in (2, 5) for kind in ("gcn", "mean")],
]  # fmt: skip


@pytest.mark.parametrize(("graph", "kind", "state", "expected"), STATES)
def test_quotients_of_known_states(graph: nx.Graph, kind: Any, state: list[float], expected: float) -> None:
    h = torch.tensor(state, dtype=torch.float64).unsqueeze(1)
    assert float(rayleigh_quotient(h, edges(graph), kind)) == pytest.approx(expected, rel=1e-9)


def test_the_formula_for_two_routes_is_that_of_networkx() -> None:
    """The one longer derivation, checked pair by pair elsewhere too."""
    graph = theta(5, 3)
    found = sum(nx.resistance_distance(graph, a, b) for a, b in combinations(graph, 2))
    assert of_all_in_theta(5, 3) == pytest.approx(found, rel=1e-9)

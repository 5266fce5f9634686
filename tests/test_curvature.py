"""Curvatures of edges, against closed forms and values worked out by hand."""

from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.utils import to_undirected

from suite.curvature import balanced_forman, ollivier_ricci
from suite.measures import curvature


def adjacency(graph: nx.Graph) -> np.ndarray:
    return nx.to_numpy_array(graph, nodelist=sorted(graph)) > 0


@pytest.mark.parametrize("size", range(3, 8))
def test_balanced_forman_of_a_complete_graph(size: int) -> None:
    assert balanced_forman(adjacency(nx.complete_graph(size)), 0, 1) == pytest.approx(size / (size - 1))


@pytest.mark.parametrize(("size", "expected"), [(3, 1.5), (4, 1.0), (5, 0.0), (6, 0.0), (9, 0.0)])
def test_balanced_forman_of_a_cycle(size: int, expected: float) -> None:
    assert balanced_forman(adjacency(nx.cycle_graph(size)), 0, 1) == pytest.approx(expected)


@pytest.mark.parametrize("arity", [2, 3, 4])
def test_balanced_forman_of_a_tree(arity: int) -> None:
    matrix = adjacency(nx.balanced_tree(arity, 3))
    assert balanced_forman(matrix, 1, arity + 1) == pytest.approx(4 / (arity + 1) - 2)  # both ends have arity + 1 neighbours
    assert balanced_forman(matrix, 0, 1) == pytest.approx(2 / arity + 2 / (arity + 1) - 2)  # from the root: -1/3 for two
    assert balanced_forman(matrix, len(matrix) - 1, next(iter(np.flatnonzero(matrix[-1])))) == 0  # to a leaf


def test_balanced_forman_of_a_bridge_and_its_cliques() -> None:
    matrix = adjacency(nx.barbell_graph(4, 0))  # two cliques of four, joined by the edge 3 - 4
    assert balanced_forman(matrix, 3, 4) == pytest.approx(2 / 4 + 2 / 4 - 2)
    assert balanced_forman(matrix, 0, 1) == pytest.approx(2 / 3 + 2 / 3 - 2 + 2 * 2 / 3 + 2 / 3)  # two triangles, no 4-cycle
    assert balanced_forman(matrix, 2, 3) == pytest.approx(2 / 3 + 2 / 4 - 2 + 2 * 2 / 4 + 2 / 3)


def test_four_cycles_through_one_node_are_told_from_disjoint_ones() -> None:
    ladder = adjacency(nx.circular_ladder_graph(6))  # an edge of a rim: one 4-cycle; a rung: two that share no other node
    assert balanced_forman(ladder, 0, 1) == pytest.approx(4 / 3 - 2 + (1 + 1) / (1 * 3))
    assert balanced_forman(ladder, 0, 6) == pytest.approx(4 / 3 - 2 + (2 + 2) / (1 * 3))
    bipartite = adjacency(nx.complete_bipartite_graph(3, 3))  # each of two neighbours lies on two of the four cycles
    assert balanced_forman(bipartite, 0, 3) == pytest.approx(4 / 3 - 2 + (2 + 2) / (2 * 3))
    chord = adjacency(nx.Graph([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)]))  # diagonals make triangles, not 4-cycles
    assert balanced_forman(chord, 0, 1) == pytest.approx(2 / 2 + 2 / 3 - 2 + 2 / 3 + 1 / 2)


def test_balanced_forman_knows_no_direction() -> None:
    graph = nx.gnp_random_graph(14, 0.3, seed=3)
    matrix = adjacency(graph)
    assert all(balanced_forman(matrix, a, b) == pytest.approx(balanced_forman(matrix, b, a)) for a, b in graph.edges)


@pytest.mark.parametrize(
    ("graph", "edge", "expected"),
    [
        (nx.complete_graph(5), (0, 1), 3 / 4),
        (nx.complete_graph(8), (0, 1), 6 / 7),
        (nx.cycle_graph(3), (0, 1), 1 / 2),
        (nx.cycle_graph(4), (0, 1), 0),
        (nx.cycle_graph(6), (0, 1), 0),
        (nx.balanced_tree(2, 4), (1, 3), -2 / 3),
    ],
)
def test_ollivier_ricci_without_laziness(graph: nx.Graph, edge: tuple[int, int], expected: float) -> None:
    assert ollivier_ricci(adjacency(graph), *edge).curvature == pytest.approx(expected, abs=1e-9)


def test_ollivier_ricci_is_the_network_simplex_of_networkx() -> None:
    graph = nx.gnp_random_graph(12, 0.35, seed=1)
    hops = dict(nx.all_pairs_shortest_path_length(graph))
    for i, j in graph.edges:
        flow = nx.DiGraph()
        a, b = graph.degree(i), graph.degree(j)
        flow.add_nodes_from((("from", k), {"demand": -b}) for k in graph[i])
        flow.add_nodes_from((("to", k), {"demand": a}) for k in graph[j])
        flow.add_edges_from((("from", k), ("to", w), {"weight": hops[k][w]}) for k in graph[i] for w in graph[j])
        cost = nx.network_simplex(flow)[0]
        assert ollivier_ricci(adjacency(graph), i, j).curvature == pytest.approx(1 - cost / (a * b), abs=1e-9)


@pytest.mark.parametrize(
    ("graph", "edge", "laziness", "expected"),
    [
        (nx.complete_graph(5), (0, 1), 0.5, 0.625),
        (nx.complete_graph(5), (0, 1), 0.2, 1.0),  # as much stays as goes to each: both walks are everywhere alike
        (nx.complete_graph(8), (0, 1), 0.75, 1 - (0.75 - 0.25 / 7)),
        (nx.cycle_graph(6), (0, 1), 0.5, 0),
        (nx.balanced_tree(2, 4), (1, 3), 0.5, -1 / 3),  # half of -2 + 2 / 3 + 2 / 3
    ],
)
def test_ollivier_ricci_with_laziness(graph: nx.Graph, edge: tuple[int, int], laziness: float, expected: float) -> None:
    edges = to_undirected(torch.tensor(list(graph.edges)).T)
    found = curvature(edges, len(graph), "ollivier_ricci", torch.tensor([edge]).T, laziness=laziness)
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_half_lazy_ollivier_ricci_is_the_network_simplex_of_networkx() -> None:
    graph = nx.gnp_random_graph(12, 0.35, seed=1)
    hops = dict(nx.all_pairs_shortest_path_length(graph))
    for i, j in graph.edges:
        flow = nx.DiGraph()
        a, b = graph.degree(i), graph.degree(j)
        leaving, arriving = {i: a * b} | dict.fromkeys(graph[i], b), {j: a * b} | dict.fromkeys(graph[j], a)
        flow.add_nodes_from((("from", k), {"demand": -mass}) for k, mass in leaving.items())
        flow.add_nodes_from((("to", k), {"demand": mass}) for k, mass in arriving.items())
        flow.add_edges_from((("from", k), ("to", w), {"weight": hops[k][w]}) for k in leaving for w in arriving)
        cost = nx.network_simplex(flow)[0]
        assert ollivier_ricci(adjacency(graph), i, j, 0.5).curvature == pytest.approx(1 - cost / (2 * a * b), abs=1e-9)


@pytest.mark.parametrize(("kind", "laziness"), [("ollivier_ricci", 1.0), ("ollivier_ricci", -0.1), ("balanced_forman", 0.5)])
def test_laziness_is_of_a_walk(kind: Any, laziness: float) -> None:
    with pytest.raises(ValueError, match="laziness: must be from 0 to below 1"):
        curvature(torch.tensor([[0, 1], [1, 0]]), 2, kind, laziness=laziness)

"""Facts about what lies between nodes, spectra and curvatures: closed forms, NetworkX, and all cuts of small graphs tried."""

from itertools import combinations
from math import comb

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from test_measures_structure import barbell, edges, layered, ring_edges, theta, tree_edges
from torch import Tensor

from suite.measures.curvature import curvature
from suite.measures.spectrum import cheeger, total_resistance
from suite.measures.structure import operator_power, spectral_gap
from suite.measures.ways import (
    commute_time,
    edge_cuts,
    shell_sizes,
    shortest_path_counts,
    vertex_cuts,
    walk_counts,
    wl_classes,
)

GRAPHS = {
    "path": nx.path_graph(7),
    "ring": nx.cycle_graph(8),
    "odd ring": nx.cycle_graph(9),
    "clique": nx.complete_graph(6),
    "star": nx.star_graph(6),
    "binary tree": nx.balanced_tree(2, 3),
    "barbell": barbell(4, 1, 2),
    "theta": theta(4, 3),
    "grid": nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4), ordering="sorted"),
    "lollipop": nx.lollipop_graph(4, 3),
    "petersen": nx.petersen_graph(),
}
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def all_pairs(graph: nx.Graph) -> Tensor:
    return torch.tensor(list(combinations(range(len(graph)), 2)))


@each_graph
def test_shells_are_those_of_networkx(graph: nx.Graph) -> None:
    found = shell_sizes(edges(graph), len(graph), torch.arange(len(graph)))
    for node, sizes in enumerate(found):
        lengths = list(nx.single_source_shortest_path_length(graph, node).values())
        assert sizes.tolist() == [lengths.count(k) for k in range(found.size(1))]
    assert found.size(1) == nx.diameter(graph) + 1


def test_shells_leave_out_what_no_path_leads_to() -> None:
    two = nx.disjoint_union(nx.path_graph(2), nx.path_graph(3))
    assert shell_sizes(edges(two), 5, torch.tensor([0, 2])).tolist() == [[1, 1, 0], [1, 1, 1]]


@each_graph
@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_walks_are_entries_of_powers_of_the_adjacency(graph: nx.Graph, length: int) -> None:
    power = np.linalg.matrix_power(nx.to_numpy_array(graph, nodelist=range(len(graph))), length)
    pairs = all_pairs(graph)
    assert walk_counts(edges(graph), len(graph), pairs, length).tolist() == power[pairs[:, 0], pairs[:, 1]].tolist()


def test_walks_follow_the_direction_of_messages() -> None:
    one_way = torch.tensor([[0, 1], [1, 2]])  # 0 -> 1 -> 2
    assert walk_counts(one_way, 3, torch.tensor([[2, 0], [0, 2]]), 2).tolist() == [1, 0]


BIPARTITE = {name: graph for name, graph in GRAPHS.items() if nx.is_bipartite(graph)}


@pytest.mark.parametrize("graph", BIPARTITE.values(), ids=BIPARTITE)
@pytest.mark.parametrize("length", [3, 4, 12, 13])
def test_on_bipartite_graphs_walks_of_the_wrong_parity_do_not_exist(graph: nx.Graph, length: int) -> None:
    """(A_norm^L)_vu adds up positive weights of walks: exactly 0 wherever L - r is odd. With self-loops it is not."""
    pairs = all_pairs(graph)
    hops = torch.tensor([nx.shortest_path_length(graph, v, u) for v, u in pairs.tolist()])
    found = walk_counts(edges(graph), len(graph), pairs, length)
    assert torch.equal(found > 0, (hops <= length) & ((length - hops) % 2 == 0))
    looped = operator_power(edges(graph), len(graph), "gcn", length, torch.arange(len(graph)))
    assert torch.equal(looped[pairs[:, 0], pairs[:, 1]] > 0, hops <= length)


@each_graph
def test_shortest_paths_are_those_that_networkx_lists(graph: nx.Graph) -> None:
    found = shortest_path_counts(edges(graph), len(graph), torch.arange(len(graph)))
    for a, b in all_pairs(graph).tolist():
        assert found[a, b] == found[b, a] == len(list(nx.all_shortest_paths(graph, a, b)))


def test_shortest_paths_across_a_grid_are_binomial_and_without_a_path_none() -> None:
    grid = nx.convert_node_labels_to_integers(nx.grid_2d_graph(13, 17), ordering="sorted")
    assert shortest_path_counts(edges(grid), len(grid), torch.tensor([0]))[0, -1] == comb(12 + 16, 12)
    two = nx.disjoint_union(nx.path_graph(2), nx.path_graph(2))
    assert shortest_path_counts(edges(two), 4, torch.tensor([0]))[0].tolist() == [1, 1, 0, 0]


@each_graph
def test_cuts_are_the_connectivities_of_networkx(graph: nx.Graph) -> None:
    pairs = all_pairs(graph)
    assert edge_cuts(edges(graph), len(graph), pairs).tolist() == [nx.edge_connectivity(graph, v, u) for v, u in pairs.tolist()]
    for (v, u), cut in zip(pairs.tolist(), vertex_cuts(edges(graph), len(graph), pairs).tolist(), strict=True):
        assert np.isnan(cut) if graph.has_edge(v, u) else cut == nx.node_connectivity(graph, v, u)


def test_cuts_of_the_families_are_their_widths() -> None:
    ends = torch.tensor([[0, 1]])
    assert vertex_cuts(edges(theta(5, 4)), len(theta(5, 4)), ends).item() == 4
    wide = layered(4, 3)
    far = torch.tensor([[0, len(wide) - 1]])
    assert vertex_cuts(edges(wide), len(wide), far).item() == edge_cuts(edges(wide), len(wide), far).item() == 3
    bar = barbell(5, 1, 2)
    assert vertex_cuts(edges(bar), len(bar), torch.tensor([[0, 5]])).item() == 2
    apart = nx.disjoint_union(nx.path_graph(2), nx.path_graph(2))
    assert edge_cuts(edges(apart), 4, torch.tensor([[0, 2]])).item() == 0
    assert edge_cuts(edges(apart), 4, torch.tensor([[1, 1]])).isnan().all()


def test_cuts_follow_messages_and_refuse_the_largest_graphs() -> None:
    one_way = torch.tensor([[0, 1], [1, 2]])  # 0 -> 1 -> 2
    assert edge_cuts(one_way, 3, torch.tensor([[2, 0], [0, 2]])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="up to 1,000,000, got 1,000,001"):
        edge_cuts(one_way, 1_000_001, torch.tensor([[0, 1]]))


@each_graph
def test_a_commute_takes_as_long_as_first_steps_add_up_to(graph: nx.Graph) -> None:
    """Hitting times solve h_a = 1 + mean over neighbours, h_b = 0: no resistance is used."""
    walk = nx.to_numpy_array(graph, nodelist=range(len(graph)))
    walk /= walk.sum(1, keepdims=True)

    def hitting(a: int, b: int) -> float:
        rest = [node for node in range(len(graph)) if node != b]
        steps = np.linalg.solve(np.eye(len(rest)) - walk[np.ix_(rest, rest)], np.ones(len(rest)))
        return float(steps[rest.index(a)])

    pairs = all_pairs(graph)[::3]
    expected = [hitting(a, b) + hitting(b, a) for a, b in pairs.tolist()]
    assert commute_time(edges(graph), len(graph), pairs).tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("routes", [1, 2, 4, 8])
def test_the_commute_between_poles_does_not_know_how_many_routes_there_are(routes: int) -> None:
    graph = theta(8, routes)
    assert commute_time(edges(graph), len(graph), torch.tensor([[0, 1]])).item() == pytest.approx(2 * 8**2, rel=1e-9)


def test_total_resistance_of_a_tree_is_its_wiener_index() -> None:
    tree = nx.balanced_tree(2, 5)
    assert total_resistance(edges(tree), len(tree)).value == pytest.approx(nx.wiener_index(tree), rel=1e-9)


def test_total_resistance_of_a_large_ring_is_within_its_error() -> None:
    n = 100_000
    found, exact = total_resistance(ring_edges(n), n), (n**3 - n) / 12
    assert 0 < found.standard_error < 0.25 * exact
    assert abs(found.value - exact) < 4 * found.standard_error


@each_graph
def test_the_cheeger_constant_of_all_cuts_lies_within_the_bounds(graph: nx.Graph) -> None:
    found = cheeger(edges(graph), len(graph))
    parts = [part for size in range(1, len(graph) // 2 + 1) for part in combinations(graph, size)]
    exact = min(nx.conductance(graph, part) for part in parts)
    assert found.lower - 1e-9 <= exact <= found.upper + 1e-9
    assert found.upper <= found.sweep + 1e-12
    assert found.sweep >= exact - 1e-9
    assert found.sweep <= (2 * spectral_gap(edges(graph), len(graph))) ** 0.5 + 1e-9  # Cheeger's own proof: by a sweep


def test_a_sweep_finds_the_bridge_of_a_barbell() -> None:
    graph = barbell(6, 0, 1)
    assert cheeger(edges(graph), 12).sweep == pytest.approx(1 / (6 * 5 + 1), rel=1e-9)


def test_a_sweep_of_a_large_ring_is_near_its_half() -> None:
    n = 20_000
    assert cheeger(ring_edges(n), n).sweep == pytest.approx(2 / n, rel=1e-3)


@each_graph
def test_ollivier_ricci_is_the_transport_that_a_dense_programme_finds(graph: nx.Graph) -> None:
    """W_1 by its dual, over 1-Lipschitz functions on all nodes: another programme, on NetworkX's distances."""
    distance = np.array(nx.floyd_warshall_numpy(graph, nodelist=range(len(graph))))
    pairs = list(combinations(range(len(graph)), 2))
    steps = np.zeros((2 * len(pairs), len(graph)))
    for row, (a, b) in enumerate(pairs):
        steps[2 * row, [a, b]], steps[2 * row + 1, [a, b]] = (1, -1), (-1, 1)
    bounds = np.repeat([distance[a, b] for a, b in pairs], 2)
    found = curvature(edges(graph), len(graph), "ollivier_ricci")
    ordered = sorted(tuple(sorted(edge)) for edge in graph.edges)
    for (i, j), value in zip(ordered, found.tolist(), strict=True):
        mass = np.zeros(len(graph))
        mass[list(graph[i])] += 1 / graph.degree[i]
        mass[list(graph[j])] -= 1 / graph.degree[j]
        dual = linprog(-mass, A_ub=steps, b_ub=bounds, bounds=(None, None))
        assert value == pytest.approx(1 + dual.fun, abs=1e-7)


def test_curvature_refuses_what_it_cannot_say() -> None:
    with pytest.raises(ValueError, match="no edge joins 0 and 2"):
        curvature(ring_edges(5), 5, "balanced_forman", torch.tensor([[0], [2]]))
    with pytest.raises(ValueError, match="balanced_forman"):
        curvature(ring_edges(5), 5, "balanced_formann")  # type: ignore[arg-type]
    hub = torch.stack([torch.zeros(5000, dtype=torch.long), torch.arange(1, 5001)])
    with pytest.raises(ValueError, match="5,001 nodes"):
        curvature(hub, 5001, "ollivier_ricci", torch.tensor([[0], [1]]))
    assert curvature(hub, 5001, "augmented_forman").tolist() == [4 - 5000 - 1] * 5000  # of which no ball is held


def test_curvature_of_a_large_graph_is_asked_edge_by_edge() -> None:
    n = 2**17 - 1  # a binary tree
    some = torch.tensor([[1, 0, 40_000], [3, 1, 80_001]])  # within, at the root, to a leaf
    assert curvature(tree_edges(n), n, "balanced_forman", some).tolist() == pytest.approx([-2 / 3, -1 / 3, 0])


def test_wl_classes_are_orbits_of_trees_and_nothing_on_regular_graphs() -> None:
    assert torch.unique(wl_classes(ring_edges(12), 12)).numel() == 1
    assert torch.unique(wl_classes(edges(nx.petersen_graph()), 10)).numel() == 1
    tree = wl_classes(tree_edges(31), 31)
    depth = torch.tensor([int(np.log2(node + 1)) for node in range(31)])
    assert all((depth[tree == c] == depth[tree == c][0]).all() for c in range(5))
    assert int(tree.max()) == 4
    marked = wl_classes(ring_edges(12), 12, torch.eye(12)[:, :1])  # one node marked: classes are distances
    assert torch.unique(marked).numel() == 7


def test_classes_are_those_of_rounds_that_look_at_every_node() -> None:
    """Directed edges, parallel ones and loops, isolated nodes: every round from the definition, with whole multisets."""
    rng = torch.Generator().manual_seed(0)
    for _ in range(60):
        n, m = int(torch.randint(1, 16, (1,), generator=rng)), int(torch.randint(0, 30, (1,), generator=rng))
        edge_index, x = torch.randint(n, (2, m), generator=rng), torch.randint(2, (n, 1), generator=rng).float()
        incoming = [edge_index[0, edge_index[1] == node].tolist() for node in range(n)]
        for start in (None, x):
            colour = [0] * n if start is None else x.flatten().int().tolist()
            for _ in range(n):
                seen = [(colour[node], sorted(colour[other] for other in incoming[node])) for node in range(n)]
                colour = [seen.index(key) for key in seen]
            found = wl_classes(edge_index, n, start).tolist()
            assert [a == b for a, b in combinations(found, 2)] == [a == b for a, b in combinations(colour, 2)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.0 + 1e-10, dtype=torch.float64)),
        (torch.tensor(2**24), torch.tensor(2**24 + 1)),  # which float32 takes for one
        (torch.tensor(1.0), torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))),
    ],
)
def test_features_are_told_apart_to_the_last_digit_of_their_type(one: torch.Tensor, other: torch.Tensor) -> None:
    x = torch.stack([one, one, other, one, one, one]).unsqueeze(1)
    assert torch.unique(wl_classes(ring_edges(6), 6, x)).numel() == 4  # marked at one node: distances 0 to 3
    assert torch.unique(wl_classes(ring_edges(6), 6, x[:1].expand(6, 1))).numel() == 1
    assert torch.unique(wl_classes(ring_edges(6), 6, x[:, :0])).numel() == 1  # nothing told
    signed = torch.tensor([0.0, -0.0] * 3).unsqueeze(1)
    assert torch.unique(wl_classes(ring_edges(6), 6, signed)).numel() == 1


def test_wl_classes_part_what_networkx_hashes_part() -> None:
    graph = GRAPHS["barbell"].copy()
    nx.set_node_attributes(graph, "node", "kind")
    hashes = nx.weisfeiler_lehman_subgraph_hashes(graph, node_attr="kind", iterations=len(graph))
    final = [hashes[node][-1] for node in range(len(graph))]
    found = wl_classes(edges(graph), len(graph)).tolist()
    assert [a == b for a, b in combinations(final, 2)] == [a == b for a, b in combinations(found, 2)]

"""Facts about operators, resistance and spectra: closed forms, NetworkX's matrices, PyG's own convolutions."""

import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.nn import SGConv, SimpleConv
from torch_geometric.utils import to_undirected

from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.measures import MEASURES, structure
from suite.measures.structure import effective_resistance, operator_power, propagation_matrix, spectral_gap, sum_by_hop
from suite.models import build, resolve

IRREGULAR = nx.lollipop_graph(4, 3)


def edges(graph: nx.Graph) -> Tensor:
    """Return both directions of the edges of a graph whose nodes are 0, 1, ..."""
    return to_undirected(torch.tensor(list(graph.edges)).T)


def entry(graph: nx.Graph, readout: int, source: int, num_layers: int) -> float:
    rows = operator_power(edges(graph), len(graph), "gcn", num_layers, torch.tensor([readout]))
    return float(rows[0, source])


def resistance(graph: nx.Graph, a: int, b: int) -> float:
    return float(effective_resistance(edges(graph), len(graph), torch.tensor([[a, b]])))


def ring_edges(num_nodes: int) -> Tensor:
    node = torch.arange(num_nodes)
    return to_undirected(torch.stack([node, node.roll(-1)]))


def tree_edges(num_nodes: int) -> Tensor:
    """A binary heap: the parent of node i is (i - 1) // 2."""
    child = torch.arange(1, num_nodes)
    return to_undirected(torch.stack([child, (child - 1) // 2]))


def theta(hops: int, routes: int) -> nx.Graph:
    """Poles 0 and 1, joined by `routes` paths of `hops` edges."""
    graph = nx.Graph()
    for route in range(routes):
        first = 2 + route * (hops - 1)
        nx.add_path(graph, [0, *range(first, first + hops - 1), 1])
    return graph


def layered(hops: int, width: int) -> nx.Graph:
    sizes = [1, *[width] * (hops - 1), 1]
    levels = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    graph = nx.Graph()
    for a, b in pairwise(levels):
        graph.add_edges_from((int(i), int(j)) for i in a for j in b)
    return graph


def barbell(clique: int, inner: int, bridges: int) -> nx.Graph:
    """Cliques 0..k-1 and k..2k-1, bridges between their last `bridges` nodes; 0 and k are unattached."""
    graph = nx.disjoint_union(nx.complete_graph(clique), nx.complete_graph(clique))
    for bridge in range(bridges):
        first = 2 * clique + bridge * inner
        nx.add_path(graph, [clique - 1 - bridge, *range(first, first + inner), 2 * clique - 1 - bridge])
    return graph


# Entries of S^hops between the two ends, by hand: simple edges, self-loops in S.
@pytest.mark.parametrize(
    ("graph", "readout", "source", "hops", "expected"),
    [
        *[(nx.path_graph(r + 1), 0, r, r, 1 / (2 * 3 ** (r - 1))) for r in (1, 4, 9)],
        *[(nx.cycle_graph(2 * r), 0, r, r, 2 / 3**r) for r in (2, 7, 12)],
        *[(theta(8, p), 0, 1, 8, p / ((p + 1) * 3**7)) for p in (1, 2, 4, 8)],
        *[(layered(r, w), 0, 1 + w * (r - 1), r, w ** (r - 1) / ((w + 1) * (w + 2) ** 2 * (2 * w + 1) ** (r - 3)))
          for r, w in ((3, 2), (6, 3), (10, 4))],
        *[(nx.lollipop_graph(k, k), 0, 2 * k - 1, k + 1, 1 / ((k + 1) * (2 * k) ** 0.5 * 3 ** (k - 1))) for k in (3, 8)],
        *[(barbell(k, b, w), 0, k, b + 3, w / (k * (k + 1) ** 2 * 3**b)) for k, b, w in ((8, 6, 1), (5, 0, 2), (6, 3, 4))],
        *[(nx.balanced_tree(2, r), 0, 2 ** (r + 1) - 2, r, 4.0 ** -(r - 2) / 96**0.5) for r in (2, 3, 6)],
        *[(nx.star_graph(n), 0, 1, 1, 1 / (2 * (n + 1)) ** 0.5) for n in (3, 20)],
    ],
)  # fmt: skip
def test_share_between_the_ends_has_its_closed_form(
    graph: nx.Graph, readout: int, source: int, hops: int, expected: float
) -> None:
    assert nx.shortest_path_length(graph, readout, source) == hops
    assert entry(graph, readout, source, hops) == pytest.approx(expected, rel=1e-12)
    assert entry(graph, readout, source, hops - 1) == 0


@pytest.mark.parametrize(("num_layers", "printed"), [(12, 3.763353e-6), (24, 2.033317e-3), (48, 1.494086e-2), (96, 3.249784e-2)])
def test_depth_brings_more_of_the_far_side_of_a_ring(num_layers: int, printed: float) -> None:
    k = np.arange(24)
    fourier = (np.cos(np.pi * k) * ((1 + 2 * np.cos(2 * np.pi * k / 24)) / 3) ** num_layers).sum() / 24
    found = entry(nx.cycle_graph(24), 0, 12, num_layers)
    assert found == pytest.approx(fourier, rel=1e-9)
    assert found == pytest.approx(printed, rel=1e-6)


@pytest.mark.parametrize(("hops", "num_layers"), [(6, 15), (8, 27), (12, 60)])
def test_plain_diffusion_needs_depth_quadratic_in_distance(hops: int, num_layers: int) -> None:
    ring = nx.cycle_graph(2 * hops)
    half = 0.5 / (2 * hops)
    assert entry(ring, 0, hops, num_layers - 1) < half <= entry(ring, 0, hops, num_layers)


def test_clique_edges_listed_twice_count_twice() -> None:
    k = 6
    once = edges(nx.lollipop_graph(k, k))
    clique = (once < k).all(0)
    twice = torch.cat([once, once[:, clique]], dim=1)
    found = operator_power(twice, 2 * k, "gcn", k + 1, torch.tensor([0]))[0, -1]
    assert found == pytest.approx(1 / (k * (2 * (2 * k - 1)) ** 0.5 * 3 ** (k - 1)), rel=1e-12)


@pytest.mark.parametrize("depth", [2, 5])
def test_edges_from_child_to_parent_carry_leaves_to_the_root_only(depth: int) -> None:
    tree = nx.balanced_tree(2, depth)
    upwards = torch.tensor([(child, parent) for parent, child in nx.bfs_edges(tree, 0)]).T
    root, leaf = torch.tensor([0]), len(tree) - 1
    at_depth = operator_power(upwards, len(tree), "gcn", depth, root)[0, leaf]
    one_deeper = operator_power(upwards, len(tree), "gcn", depth + 1, root)[0, leaf]
    assert at_depth == pytest.approx(3 ** -(depth - 0.5), rel=1e-12)
    assert one_deeper == pytest.approx((1 + depth / 3) * 3 ** -(depth - 0.5), rel=1e-12)
    assert operator_power(upwards, len(tree), "gcn", depth, torch.tensor([leaf]))[0, 0] == 0


@pytest.mark.parametrize("operator", ["gcn", "mean", "sum"])
def test_powers_are_those_of_the_dense_matrix_made_from_networkx(operator: str) -> None:
    loops = nx.to_numpy_array(IRREGULAR) + np.eye(len(IRREGULAR))
    degree = loops.sum(1)
    dense = {"gcn": loops / np.sqrt(np.outer(degree, degree)), "mean": loops / degree[:, None], "sum": loops}[operator]
    every = torch.arange(len(IRREGULAR))
    found = operator_power(edges(IRREGULAR), len(IRREGULAR), operator, 5, every)
    np.testing.assert_allclose(found.numpy(), np.linalg.matrix_power(dense, 5), rtol=1e-12)


@pytest.mark.parametrize(
    ("operator", "conv"),
    [
        ("gcn", SGConv(7, 7, K=1, bias=False)),
        ("mean", SimpleConv("mean", combine_root="self_loop")),
        ("sum", SimpleConv("sum", combine_root="sum")),
    ],
)
def test_operators_are_what_pyg_convolutions_apply(operator: str, conv: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    num_nodes = 7
    edge_index = torch.randint(num_nodes, (2, 20))  # directed, with parallel edges and loops
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    if isinstance(conv, SGConv):
        conv = conv.double()
        conv.lin.weight.data = torch.eye(num_nodes, dtype=torch.float64)
    expected = conv(torch.eye(num_nodes, dtype=torch.float64), edge_index)
    found = operator_power(edge_index, num_nodes, operator, 1, torch.arange(num_nodes))
    torch.testing.assert_close(found, expected.detach())


def test_complete_mixing_is_the_mean_over_all_nodes_and_none_is_the_identity() -> None:
    every = torch.arange(7)
    edge_index = edges(IRREGULAR)
    identity = torch.eye(7, dtype=torch.float64)
    assert torch.equal(operator_power(edge_index, 7, "complete", 3, every), torch.full((7, 7), 1 / 7, dtype=torch.float64))
    assert torch.equal(operator_power(edge_index, 7, "complete", 0, every), identity)
    assert torch.equal(operator_power(edge_index, 7, "none", 9, every), identity)


def test_nothing_crosses_between_components() -> None:
    two = nx.disjoint_union(nx.cycle_graph(4), nx.path_graph(3))
    rows = operator_power(edges(two), 7, "mean", 30, torch.tensor([0, 6]))
    assert rows[0, 4:].eq(0).all()
    assert rows[1, :4].eq(0).all()
    torch.testing.assert_close(rows.sum(1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("num_layers", [5, 12, 48])
def test_mean_hop_of_a_walk_on_a_long_ring(num_layers: int) -> None:
    n = 4 * num_layers
    rows = operator_power(edges(nx.cycle_graph(n)), n, "gcn", num_layers, torch.tensor([0]))
    hops = torch.tensor([[min(i, n - i) for i in range(n)]])
    shells = sum_by_hop(rows, hops, n // 2 + 1)[0]
    exact = {5: float(Fraction(350, 243)), 12: 2.2454, 48: 4.5077}[num_layers]
    assert float(shells @ torch.arange(n // 2 + 1.0).double()) == pytest.approx(exact, rel=1e-12 if num_layers == 5 else 1e-4)


def test_unreachable_nodes_belong_to_no_shell() -> None:
    values, hops = torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.tensor([[0, 1, 1, -1]])
    assert sum_by_hop(values, hops, 3).tolist() == [[1.0, 6.0, 0.0]]


def test_an_unknown_operator_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match=r"'gnc'.*Did you mean 'gcn'"):
        propagation_matrix(edges(IRREGULAR), 7, "gnc")


def test_the_table_entry_reads_the_closed_form_off_a_task_and_a_model() -> None:
    task = Transfer(topology=Ring(), hops=6)
    found = MEASURES["operator_share"].run(build(resolve("gcn"), 7, 8, 6, 5), task, 0)
    assert found["operator"] == "gcn"
    assert found["declared"]
    assert found["num_layers"] == 6
    assert found["source"] == pytest.approx(2 / 3**6, rel=1e-12)
    assert found["source_share"] == pytest.approx(2 / 3**6, rel=1e-12)  # rows of a regular graph sum to 1
    assert found["log10_source_share"] == pytest.approx(np.log10(2 / 3**6), rel=1e-12)
    assert found["source_hops"] == 6
    assert found["hops"] == list(range(7))
    assert found["by_hop"][6] == pytest.approx(2 / 3**6, rel=1e-12)
    assert sum(found["share"]) == pytest.approx(1, rel=1e-12)


def test_a_source_out_of_reach_has_share_0_and_no_logarithm() -> None:
    found = MEASURES["operator_share"].run(build(resolve("gcn"), 7, 8, 5, 5), Transfer(topology=Ring(), hops=6), 0)
    assert found["source_share"] == 0
    assert found["log10_source_share"] is None


# effective resistance


@pytest.mark.parametrize(
    ("graph", "a", "b", "expected"),
    [
        *[(nx.path_graph(r + 1), 0, r, r) for r in (1, 9)],
        *[(nx.cycle_graph(n), 0, k, k * (n - k) / n) for n, k in ((3, 1), (24, 12), (24, 5), (300, 7))],
        *[(theta(8, p), 0, 1, 8 / p) for p in (1, 2, 4, 8)],
        *[(layered(r, w), 0, 1 + w * (r - 1), 2 / w + (r - 2) / w**2) for r, w in ((3, 2), (10, 4))],
        *[(nx.lollipop_graph(k, k), 0, 2 * k - 1, k + 2 / k) for k in (3, 8)],
        *[(barbell(k, b, w), 0, k, 2 * (w + 1) / (w * k) + (b + 1) / w) for k, b, w in ((8, 6, 1), (5, 0, 2), (6, 3, 4))],
        *[(nx.complete_graph(n), 0, n - 1, 2 / n) for n in (2, 7, 300)],
        *[(nx.balanced_tree(2, r), 0, 2 ** (r + 1) - 2, r) for r in (2, 9)],
    ],
)
def test_resistance_has_its_closed_form(graph: nx.Graph, a: int, b: int, expected: float) -> None:
    assert resistance(graph, a, b) == pytest.approx(expected, rel=1e-10)


def test_resistance_is_that_of_networkx_and_adds_up_to_one_less_than_the_nodes() -> None:
    graph = nx.connected_watts_strogatz_graph(40, 4, 0.3, seed=1)
    pairs = torch.combinations(torch.arange(40))
    found = effective_resistance(edges(graph), 40, pairs)
    expected = [nx.resistance_distance(graph, int(a), int(b)) for a, b in pairs[:20]]
    assert found[:20].tolist() == pytest.approx(expected, rel=1e-10)
    links = torch.tensor(list(graph.edges))
    assert float(effective_resistance(edges(graph), 40, links).sum()) == pytest.approx(39, rel=1e-10)  # Foster (1949)


def test_parallel_edges_are_parallel_resistors_and_loops_carry_nothing() -> None:
    twice = torch.tensor([[0, 1, 0, 1, 1, 2, 2], [1, 0, 1, 0, 2, 1, 2]])
    found = effective_resistance(twice, 3, torch.tensor([[0, 1], [0, 2], [2, 2]]))
    assert found.tolist() == pytest.approx([0.5, 1.5, 0], rel=1e-12)


@pytest.mark.parametrize("kind", [resistance, lambda graph, *_: spectral_gap(edges(graph), len(graph))])
def test_without_a_factor_the_answer_is_the_same(kind: Callable[..., float], monkeypatch: pytest.MonkeyPatch) -> None:
    graph = nx.random_regular_graph(4, 400, seed=2)
    factored = kind(graph, 3, 77)
    monkeypatch.setattr(structure, "MAX_FACTOR", 1000)
    assert kind(graph, 3, 77) == pytest.approx(factored, rel=1e-9)


def test_resistance_of_long_graphs_takes_moments() -> None:
    start = time.process_time()
    n, pairs = 100_000, torch.tensor([[0, 1], [0, 50_000], [7, 99_000], [5, 4321]])
    hops = (pairs[:, 1] - pairs[:, 0]).double()
    found = effective_resistance(ring_edges(n), n, pairs)
    torch.testing.assert_close(found, hops * (n - hops) / n, rtol=1e-6, atol=0)
    tree = effective_resistance(tree_edges(131_071), 131_071, torch.tensor([[0, 131_070], [65_535, 131_070], [1, 2]]))
    assert tree.tolist() == pytest.approx([16, 32, 2], rel=1e-10)
    assert time.process_time() - start < 20


# spectral gap


@pytest.mark.parametrize("size", [5, 24, 300])
def test_the_gap_has_its_closed_form_whichever_way_it_is_found(size: int) -> None:
    for graph, expected in (
        (nx.cycle_graph(size), 1 - np.cos(2 * np.pi / size)),
        (nx.path_graph(size), 1 - np.cos(np.pi / (size - 1))),
        (nx.complete_graph(size), size / (size - 1)),
        (nx.star_graph(size - 1), 1.0),
    ):
        assert spectral_gap(edges(graph), size) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("num_nodes", [60, 400])
def test_the_gap_is_the_second_eigenvalue_of_networkx(num_nodes: int) -> None:
    graph = nx.connected_watts_strogatz_graph(num_nodes, 4, 0.2, seed=3)
    assert spectral_gap(edges(graph), num_nodes) == pytest.approx(nx.normalized_laplacian_spectrum(graph)[1], rel=1e-8)


@pytest.mark.parametrize("size", [24, 300])
def test_self_loops_slow_a_walk_on_a_ring_by_a_third(size: int) -> None:
    assert spectral_gap(ring_edges(size), size, self_loops=True) == pytest.approx(
        (1 - np.cos(2 * np.pi / size)) * 2 / 3, rel=1e-8
    )


def test_the_gap_of_long_graphs_takes_moments() -> None:
    start = time.process_time()
    n = 100_000
    assert spectral_gap(ring_edges(n), n) == pytest.approx(2 * np.sin(np.pi / n) ** 2, rel=1e-7)
    small, large = (spectral_gap(tree_edges(2**r - 1), 2**r - 1, self_loops=True) for r in (10, 17))
    assert 2**7 / 2 < small / large < 2**7 * 2  # of order 1 / n
    assert time.process_time() - start < 30


@pytest.mark.parametrize("ask", [spectral_gap, lambda e, n: effective_resistance(e, n, torch.tensor([[0, 1]]))])
def test_graphs_without_an_answer_are_refused_with_what_would_do(ask: Callable[[Tensor, int], object]) -> None:
    two = edges(nx.disjoint_union(nx.cycle_graph(4), nx.path_graph(3)))
    with pytest.raises(ValueError, match=r"must be connected, got 2 components; .*LargestConnectedComponents"):
        ask(two, 7)
    with pytest.raises(ValueError, match=r"both directions; .*to_undirected"):
        ask(torch.tensor([[0, 1], [1, 2]]), 3)
    with pytest.raises(ValueError, match=r"must be <= 1,000,000, got 2,000,000; ask on an induced subgraph"):
        ask(two, 2_000_000)


def test_one_node_has_no_gap() -> None:
    with pytest.raises(ValueError, match="two eigenvalues, got 1 node"):
        spectral_gap(torch.empty(2, 0, dtype=torch.long), 1)


def test_an_iteration_that_does_not_end_says_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MAX_FACTOR", 0)
    monkeypatch.setattr(structure, "MAX_STEPS", 2)
    with pytest.raises(ArithmeticError, match=r"no convergence in 2 steps.*ask on the parts"):
        resistance(nx.cycle_graph(300), 0, 150)
    with pytest.raises(ArithmeticError, match=r"no convergence in 2 steps.*ask on the parts"):
        spectral_gap(ring_edges(300), 300)

"""What each rewiring must do to a graph, by NetworkX, PyG or a closed form."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch_geometric import transforms
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, contains_self_loops, is_undirected, to_undirected

from suite.curvature import balanced_forman
from suite.hops import hop_distance
from suite.measures.structure import spectral_gap
from suite.models.rewirings import (
    REWIRINGS,
    UNCHOSEN,
    Graph,
    Rewired,
    _rewired,
    cayley_graph,
    cayley_size,
    edge_types,
    load_rewiring,
    random_regular,
    resolve_rewiring,
    rewire,
)
from suite.rng import stream
from suite.study import load_study

GRAPHS: dict[str, Callable[[], nx.Graph]] = {
    "ring": lambda: nx.cycle_graph(16),
    "barbell": lambda: nx.barbell_graph(6, 3),
    "tree": lambda: nx.balanced_tree(2, 3),
    "grid": lambda: nx.convert_node_labels_to_integers(nx.grid_2d_graph(4, 5)),
    "random": lambda: nx.connected_watts_strogatz_graph(20, 4, 0.3, seed=2),
}
SETTINGS: dict[str, dict[str, Any]] = {"random_edges": {"like": "fosr"}}
ADDING = ["fosr", "gtr", "sdrf"]


def edges_of(graph: nx.Graph) -> Tensor:
    return to_undirected(torch.tensor(list(graph.edges)).T, num_nodes=len(graph))  # PyG's own would number nodes anew


def rewired(name: str, graph: nx.Graph, readout: int = 0, **settings: Any) -> Rewired:
    made = load_rewiring(resolve_rewiring(name, settings or SETTINGS.get(name, {})))
    return rewire(made, edges_of(graph), len(graph), torch.tensor([readout]))


def added(after: nx.Graph, before: nx.Graph) -> set[frozenset[int]]:
    return set(map(frozenset, after.edges)) - set(map(frozenset, before.edges))


def as_networkx(found: Rewired) -> nx.Graph:
    graph = nx.Graph(found.edge_index.T.tolist())
    graph.add_nodes_from(range(found.num_nodes))
    return graph


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("name", REWIRINGS)
def test_edges_are_unique_undirected_without_loops_and_the_same_again(name: str, kind: str) -> None:
    graph = GRAPHS[kind]()
    found = rewired(name, graph)
    assert torch.equal(found.edge_index, coalesce(found.edge_index, num_nodes=found.num_nodes))
    assert is_undirected(found.edge_index, num_nodes=found.num_nodes)
    assert not contains_self_loops(found.edge_index)
    shuffled = edges_of(graph)[:, torch.randperm(2 * graph.number_of_edges())]
    _rewired.cache_clear()
    made = load_rewiring(resolve_rewiring(name, SETTINGS.get(name, {})))
    again = rewire(made, shuffled, len(graph), torch.tensor([0]))
    assert torch.equal(again.edge_index, found.edge_index)


@pytest.mark.parametrize("name", REWIRINGS)
def test_edge_types_tell_original_edges_from_added_ones(name: str) -> None:
    graph = GRAPHS["barbell"]()
    found = rewired(name, graph)
    types = edge_types(found.edge_index, edges_of(graph))
    for (a, b), kind in zip(found.edge_index.T.tolist(), types.tolist(), strict=True):
        assert kind == (not graph.has_edge(a, b))


@pytest.mark.parametrize("name", sorted(set(REWIRINGS) - {"edge_free", "gdc", "borf"}))
def test_nothing_is_taken_away_by_default(name: str) -> None:
    graph = GRAPHS["random"]()
    assert all(as_networkx(rewired(name, graph)).has_edge(a, b) for a, b in graph.edges)


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("name", [*ADDING, "random_edges"])
def test_methods_are_given_as_many_edges(name: str, share: float) -> None:
    graph = GRAPHS["grid"]()
    settings = {"like": {"name": "gtr", "share": share}} if name == "random_edges" else {"share": share}
    extra = as_networkx(rewired(name, graph, **settings)).number_of_edges() - graph.number_of_edges()
    assert extra == int(np.ceil(share * graph.number_of_edges()))


def numbered_as(graph: nx.Graph, order: Tensor) -> nx.Graph:
    """Return the graph in which node `order[i]` is called i."""
    return nx.relabel_nodes(graph, {int(old): new for new, old in enumerate(order)})


COLD = {"sdrf": {"tau": 1e9}}  # takes the best pair, and one of several at random


def outcomes(name: str, graph: nx.Graph, count: int = 12) -> set[frozenset[frozenset[int]]]:
    """Return what a rewiring makes of the graph by several streams of random numbers."""
    made = load_rewiring(resolve_rewiring(name, (SETTINGS | COLD).get(name, {})))
    seen = Graph(coalesce(edges_of(graph), num_nodes=len(graph)), len(graph), torch.tensor([0]))
    changes = [made.change(seen, stream("test", number)) for number in range(count)]
    kinds = [frozenset(map(frozenset, np.concatenate([c.joined, -1 - c.parted]).tolist())) for c in changes]
    return set(kinds)


DRAWN = {"expander", "cayley", "random_edges"}  # whatever the graph
SMALL = {
    **{f"random {seed}": nx.gnp_random_graph(12, 0.25, seed=seed) for seed in (0, 1, 3, 6, 8)},
    "tree": nx.random_labeled_tree(10, seed=3),
    "ring": nx.cycle_graph(12),
    "grid": GRAPHS["grid"](),
}


@pytest.mark.parametrize("name", REWIRINGS)
def test_what_the_graph_decides_does_not_depend_on_how_nodes_are_numbered(name: str) -> None:
    """Where chance decides, among equals or by the method, another numbering is another draw: that is left out."""
    decided = 0
    for graph in SMALL.values():
        if len(outcomes(name, graph)) > 1:
            continue
        decided += 1
        found = as_networkx(rewired(name, graph, **COLD.get(name, {})))
        for seed in range(3):
            order = torch.randperm(len(graph), generator=torch.Generator().manual_seed(seed))
            total = torch.cat([order, torch.arange(len(graph), len(found))])
            again = as_networkx(rewired(name, numbered_as(graph, order), int(order.argsort()[0]), **COLD.get(name, {})))
            assert nx.utils.graphs_equal(again, numbered_as(found, total))
    assert (decided > 0) == (name not in DRAWN)


def test_another_graph_of_as_many_nodes_is_drawn_other_edges() -> None:
    one, other = nx.cycle_graph(16), nx.path_graph(16)
    first, second = (as_networkx(rewired("expander", graph)) for graph in (one, other))
    assert added(first, one) != added(second, other)


def test_directed_edges_stay_directed_and_methods_for_undirected_graphs_refuse_them() -> None:
    one_way = torch.tensor([[0, 1, 2], [1, 2, 3]])
    found = rewire(REWIRINGS["virtual_node"](), one_way, 4)
    assert {(a, b) for a, b in found.edge_index.T.tolist() if 4 not in (a, b)} == {(0, 1), (1, 2), (2, 3)}
    assert rewire(REWIRINGS["edge_free"](), one_way, 4).edge_index.size(1) == 0
    for name in ("fosr", "gtr", "sdrf", "borf", "gdc", "two_hop", "level_preserving"):
        with pytest.raises(ValueError, match=f"rewiring '{name}' .*(one direction only|exactly one)"):
            rewire(REWIRINGS[name](), one_way, 4)


def test_loops_of_the_graph_stay() -> None:
    looped = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 0, 2, 1]])
    assert [0, 0] in rewire(REWIRINGS["two_hop"](), looped, 3).edge_index.T.tolist()


# between all


def test_virtual_nodes_come_last_and_join_everything() -> None:
    graph = nx.cycle_graph(7)
    found = as_networkx(rewired("virtual_node", graph, num_nodes=2))
    assert len(found) == 9
    assert nx.utils.graphs_equal(found.subgraph(range(7)), graph)
    assert sorted(found[7]) == sorted(found[8]) == list(range(7))


@pytest.mark.parametrize(
    ("num_nodes", "degree"), [(24, 3), (24, 4), (31, 4), (7, 6), (200, 5), (40, 38), (41, 38), (101, 100), (60, 31)]
)
def test_an_expander_is_regular_connected_and_drawn_from_its_stream(num_nodes: int, degree: int) -> None:
    pairs, again, other = (random_regular(num_nodes, degree, stream("test", seed)) for seed in (0, 0, 1))
    graph = nx.Graph(pairs.tolist())
    assert {d for _, d in graph.degree} == {degree}
    assert nx.is_connected(graph)
    assert len(pairs) == num_nodes * degree // 2  # none twice
    assert np.array_equal(pairs, again)
    assert num_nodes == degree + 1 or not np.array_equal(pairs, other)


def test_an_expander_mixes_where_a_ring_does_not() -> None:
    graph = nx.cycle_graph(100)
    found = rewired("expander", graph)
    assert spectral_gap(found.edge_index, 100) > 50 * spectral_gap(edges_of(graph), 100)


def test_small_graphs_become_complete_and_odd_degrees_on_odd_graphs_are_refused() -> None:
    assert as_networkx(rewired("expander", nx.path_graph(5), degree=4)).number_of_edges() == 10
    with pytest.raises(ValueError, match="needs an even degree on an odd number of nodes, 7; got 3"):
        rewired("expander", nx.path_graph(7), degree=3)


@pytest.mark.parametrize(("order", "size"), [(2, 6), (3, 24), (4, 48), (5, 120), (6, 144), (7, 336)])
def test_sizes_of_the_special_linear_group(order: int, size: int) -> None:
    def matrices() -> int:
        every = range(order)
        return sum((a * d - b * c) % order == 1 for a in every for b in every for c in every for d in every)

    assert cayley_size(order) == size == matrices()


@pytest.mark.parametrize("order", [3, 4, 5])
def test_a_cayley_graph_has_degree_4_and_looks_alike_from_everywhere(order: int) -> None:
    graph = nx.Graph(cayley_graph(order, 1000).tolist())
    assert len(graph) == cayley_size(order)
    assert {d for _, d in graph.degree} == {4}
    assert nx.is_connected(graph)
    profiles = {tuple(np.bincount(list(nx.single_source_shortest_path_length(graph, v).values()))) for v in graph}
    assert len(profiles) == 1


@pytest.mark.parametrize("num_nodes", [5, 24, 25, 47])
def test_a_cayley_graph_cut_to_the_graph_stays_connected(num_nodes: int) -> None:
    empty = nx.empty_graph(num_nodes)
    found = as_networkx(rewire_edges("cayley", empty))
    assert nx.is_connected(found)
    assert max(d for _, d in found.degree) == 4
    assert num_nodes != 24 or {d for _, d in found.degree} == {4}


def rewire_edges(name: str, graph: nx.Graph) -> Rewired:
    return rewire(REWIRINGS[name](), torch.tensor(list(graph.edges), dtype=torch.long).view(-1, 2).T, len(graph))


# from the graph's own edges


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("kind", GRAPHS)
def test_two_hop_is_the_pattern_of_the_square(kind: str) -> None:
    graph = GRAPHS[kind]()
    matrix = nx.to_numpy_array(graph, nodelist=range(len(graph)))
    expected = ((matrix + matrix @ matrix) > 0) & ~np.eye(len(graph), dtype=bool)
    found = rewired("two_hop", graph)
    assert np.array_equal(nx.to_numpy_array(as_networkx(found), nodelist=range(len(graph))) > 0, expected)
    assert torch.equal(
        found.edge_index, coalesce(transforms.TwoHop()(Data(edge_index=edges_of(graph), num_nodes=len(graph))).edge_index)
    )


def test_two_hop_halves_the_distance() -> None:
    found = rewired("two_hop", nx.cycle_graph(16))
    assert int(hop_distance(found.edge_index, torch.tensor([0]), 16)[0, 8]) == 4


@pytest.mark.parametrize("kind", GRAPHS)
def test_level_preserving_keeps_distances_and_adds_all_that_do(kind: str) -> None:
    graph = GRAPHS[kind]()
    found = as_networkx(rewired("level_preserving", graph, readout=3))
    hops = nx.single_source_shortest_path_length(graph, 3)
    assert nx.single_source_shortest_path_length(found, 3) == hops
    for a, b in combinations(graph, 2):
        assert found.has_edge(a, b) == (abs(hops[a] - hops[b]) == 1 or graph.has_edge(a, b))


def test_level_preserving_needs_the_one_read_out_node() -> None:
    edges = edges_of(nx.path_graph(4))
    for readouts in (torch.tensor([0, 3]), None):
        with pytest.raises(ValueError, match="needs exactly one read-out node, around which it builds; got"):
            rewire(REWIRINGS["level_preserving"](), edges, 4, readouts)


@pytest.mark.parametrize(("kernel", "given"), [("ppr", {"alpha": 0.15}), ("heat", {"t": 5.0})])
@pytest.mark.parametrize("degree", [3, 5])
def test_gdc_keeps_what_pyg_keeps(kernel: str, given: dict[str, float], degree: int) -> None:
    graph = nx.connected_watts_strogatz_graph(25, 4, 0.5, seed=7)  # no two entries are alike
    transform = transforms.GDC(
        diffusion_kwargs={"method": kernel, **given},
        sparsification_kwargs={"method": "threshold", "avg_degree": degree},
        normalization_out=None,
    )
    expected = transform(Data(edge_index=edges_of(graph), num_nodes=len(graph))).edge_index
    expected = coalesce(expected[:, expected[0] != expected[1]])
    assert torch.equal(rewired("gdc", graph, kernel=kernel, degree=degree).edge_index, expected)


def test_gdc_treats_alike_what_is_alike() -> None:
    found = as_networkx(rewired("gdc", nx.cycle_graph(20), degree=4))  # the loop and the two nearest on either side tie
    assert {tuple(sorted((b - a) % 20 for b in found[a])) for a in found} == {(1, 2, 18, 19)}


# edges where they help


@pytest.mark.parametrize("kind", GRAPHS)
def test_fosr_widens_the_spectral_gap_more_than_random_edges(kind: str) -> None:
    graph, size = GRAPHS[kind](), len(GRAPHS[kind]())
    before, after, control = (
        spectral_gap(edges, size)
        for edges in (edges_of(graph), rewired("fosr", graph).edge_index, rewired("random_edges", graph, like="fosr").edge_index)
    )
    assert after > before
    assert kind == "random" or after > control


def test_the_first_edge_of_fosr_minimises_its_criterion() -> None:
    graph = nx.barbell_graph(5, 3)
    walk = nx.normalized_laplacian_matrix(graph, nodelist=range(13)).toarray()
    x = np.linalg.eigh(walk)[1][:, 1]
    degree = np.array([graph.degree[node] for node in range(13)])
    score = {(i, j): x[i] * x[j] / np.sqrt((1 + degree[i]) * (1 + degree[j])) for i, j in nx.non_edges(graph)}
    found = as_networkx(rewired("fosr", graph, share=1e-9))
    ((u, v),) = added(found, graph)
    assert score[min(u, v), max(u, v)] == pytest.approx(min(score.values()))


def total_resistance(graph: nx.Graph) -> float:
    values = nx.laplacian_spectrum(graph)
    return len(graph) * float((1 / values[1:]).sum())


@pytest.mark.parametrize("kind", GRAPHS)
def test_the_first_edge_of_gtr_lowers_total_resistance_most(kind: str) -> None:
    graph = GRAPHS[kind]()
    found = total_resistance(as_networkx(rewired("gtr", graph, share=1e-9)))
    every = []
    for pair in nx.non_edges(graph):
        other = graph.copy()
        other.add_edge(*pair)
        every.append(total_resistance(other))
    assert found == pytest.approx(min(every))
    assert found < total_resistance(graph)


def test_gtr_keeps_its_inverse_up_to_date() -> None:
    """Greedy on ever larger graphs: adding two edges at once is adding one, then one."""
    graph = nx.path_graph(9)
    totals = [total_resistance(as_networkx(rewired("gtr", graph, share=count / 8))) for count in (1, 2, 3)]
    step = graph
    for total in totals:
        step = as_networkx(rewired("gtr", step, share=1e-9))
        assert total_resistance(step) == pytest.approx(total)


def test_gtr_lowers_the_resistance_of_pieces_and_joins_none_of_them() -> None:
    pieces = nx.disjoint_union_all([nx.path_graph(3), nx.path_graph(5), nx.empty_graph(1)])
    one = as_networkx(rewired("gtr", pieces, share=1e-9))
    gains = {}
    for component in (range(3), range(3, 8)):
        before = pieces.subgraph(component)
        for u, v in nx.non_edges(before):
            after = nx.Graph(before)
            after.add_edge(u, v)
            gains[u, v] = total_resistance(before) - total_resistance(after)
    assert added(one, pieces) == {
        frozenset({3, 7})
    }  # the ends of the longer path, whose resistance falls from 20 to 10: (n^3 - n) / 6 and / 12
    assert max(gains.values()) == pytest.approx(gains[3, 7]) == pytest.approx(10)
    every = as_networkx(rewired("gtr", pieces, share=10))
    assert sorted(map(len, nx.connected_components(every))) == [1, 3, 5]
    assert every.number_of_edges() == 3 + 10


def test_sdrf_joins_around_the_most_negative_edge() -> None:
    graph = nx.barbell_graph(6, 0)  # the bridge 5 - 6
    found = as_networkx(rewired("sdrf", graph, share=1e-9, tau=1e6))
    ((u, v),) = added(found, graph)
    assert (u < 6) != (v < 6)
    before, after = (nx.to_numpy_array(g, nodelist=range(12)) > 0 for g in (graph, found))
    assert balanced_forman(after, 5, 6) > balanced_forman(before, 5, 6)


def test_sdrf_takes_the_best_pair_when_cold() -> None:
    graph = nx.barbell_graph(4, 1)
    matrix = nx.to_numpy_array(graph, nodelist=range(9)) > 0
    found = as_networkx(rewired("sdrf", graph, share=1e-9, tau=1e9))
    ((u, v),) = added(found, graph)
    lowest = min(balanced_forman(matrix, a, b) for a, b in graph.edges)
    best = []
    for i, j in [(a, b) for a, b in graph.edges if balanced_forman(matrix, a, b) < lowest + 1e-9]:
        gains = {}
        for k in [*graph[i], i]:
            for w in [*graph[j], j]:
                if k != w and not graph.has_edge(k, w):
                    other = matrix.copy()
                    other[k, w] = other[w, k] = True
                    gains[frozenset((k, w))] = balanced_forman(other, i, j)
        best += [pair for pair, gain in gains.items() if gain > max(gains.values()) - 1e-9]
    assert frozenset((u, v)) in best


def test_sdrf_parts_what_is_curved_most_and_keeps_the_graph_connected() -> None:
    graph = nx.barbell_graph(6, 3)
    found = as_networkx(rewired("sdrf", graph, share=0.3, remove_above=0.5))
    assert nx.is_connected(found)
    assert any(not found.has_edge(a, b) for a, b in graph.edges)


def test_borf_joins_across_a_bridge_and_parts_inside_a_clique() -> None:
    graph = nx.barbell_graph(5, 0)
    found = as_networkx(rewired("borf", graph, share=1e-9, batches=1, remove_share=0.05))
    ((u, v),) = added(found, graph)
    ((a, b),) = added(graph, found)
    assert (u < 5) != (v < 5)
    assert (a < 5) == (b < 5)


def transport(graph: nx.Graph, a: int, b: int, sent: tuple[int, int] | None = None) -> float:
    """The cost of moving d_b units from each neighbour of a, d_a to each of b, by network simplex; one is `sent` beforehand."""
    hops, flow = dict(nx.all_pairs_shortest_path_length(graph)), nx.DiGraph()
    for k in graph[a]:
        flow.add_node(("from", k), demand=-graph.degree(b) + (sent is not None and k == sent[0]))
    for w in graph[b]:
        flow.add_node(("to", w), demand=graph.degree(a) - (sent is not None and w == sent[1]))
    flow.add_edges_from((("from", k), ("to", w), {"weight": hops[k][w]}) for k in graph[a] for w in graph[b])
    return nx.network_simplex(flow)[0] + (0 if sent is None else hops[sent[0]][sent[1]])


@pytest.mark.parametrize("seed", range(4))
def test_borf_joins_a_pair_of_an_optimal_transport_across_the_least_curved_edge_and_parts_the_most_curved(seed: int) -> None:
    graph = nx.connected_watts_strogatz_graph(14, 4, 0.3, seed=seed)
    found = as_networkx(rewired("borf", graph, share=1e-9, batches=1, remove_share=1.5 / graph.number_of_edges()))
    curvature = {(a, b): 1 - transport(graph, a, b) / (graph.degree(a) * graph.degree(b)) for a, b in graph.edges}
    ((a, b),) = added(graph, found)
    assert curvature[min(a, b), max(a, b)] == pytest.approx(max(curvature.values()))
    ((u, v),) = added(found, graph)
    least = [edge for edge in curvature if curvature[edge] < min(curvature.values()) + 1e-9]
    across = [
        (*edge, *pair) for edge in least for pair in ((u, v), (v, u)) if pair[0] in graph[edge[0]] and pair[1] in graph[edge[1]]
    ]
    assert any(transport(graph, *edge, sent=pair) == transport(graph, *edge) for edge, pair in ((t[:2], t[2:]) for t in across))


# controls


MORE = {"sdrf": {"remove_above": 0.5, "share": 0.3}, "gdc": {"degree": 3}, "borf": {"remove_share": 0.1}}


@pytest.mark.parametrize("like", [{"name": name} | MORE.get(name, {}) for name in sorted(set(REWIRINGS) - UNCHOSEN)], ids=str)
def test_the_control_joins_and_parts_as_many(like: dict[str, Any]) -> None:
    graph = nx.barbell_graph(6, 3)
    other = as_networkx(rewired(like["name"], graph, **{k: v for k, v in like.items() if k != "name"}))
    control = as_networkx(rewired("random_edges", graph, like=like))
    before = set(map(frozenset, graph.edges))
    found, same = (set(map(frozenset, graph.edges)) for graph in (control, other))
    assert (len(found - before), len(before - found)) == (len(same - before), len(before - same))
    assert found != same


def test_the_study_of_factors_has_the_control_of_every_rewiring_that_chooses_edges() -> None:
    models = load_study(Path(__file__).parents[1] / "studies" / "factors.toml").grid[0].models
    used = {(model.rewiring.name, model.rewiring.settings.get("like", {}).get("name")) for model in models if model.rewiring}
    assert {name for name, _ in used} == set(REWIRINGS)
    assert {like for name, like in used if name == "random_edges"} == set(REWIRINGS) - UNCHOSEN


def test_no_edges_are_none() -> None:
    found = rewired("edge_free", nx.complete_graph(5))
    assert found.edge_index.shape == (2, 0)
    assert found.num_nodes == 5


# refusals


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no rewiring is called 'expandr'\. Did you mean 'expander'"):
        resolve_rewiring("expandr")
    with pytest.raises(ValidationError, match="degree"):
        resolve_rewiring("expander", {"degree": 2})
    for name in ("virtual_node", "edge_free"):
        with pytest.raises(ValidationError, match=f"among the graph's nodes, got '{name}'"):
            resolve_rewiring("random_edges", {"like": name})


def test_references_hold_every_setting() -> None:
    ref = resolve_rewiring("random_edges", {"like": {"name": "fosr"}})
    assert ref.settings == {"like": {"name": "fosr", "settings": {"share": 0.25}, "version": 1}}
    assert resolve_rewiring("random_edges", {"like": "fosr"}) == ref
    assert load_rewiring(ref).model_dump(mode="json") == ref.settings


@pytest.mark.parametrize("name", ["gdc", "fosr", "gtr", "sdrf", "borf"])
def test_graphs_too_large_for_a_dense_method_are_refused(name: str) -> None:
    made = REWIRINGS[name]()
    node = torch.arange(made.max_nodes)
    path = torch.cat([torch.stack([node, node + 1]), torch.stack([node + 1, node])], 1)
    reason = made.refusal(Graph(path, made.max_nodes + 1))
    assert (
        reason == f"needs a graph of at most {made.max_nodes:,} nodes, whose matrices fit in memory; got {made.max_nodes + 1:,}"
    )

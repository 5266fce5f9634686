"""Facts about distances: answers by NetworkX, the shape of each family, and what guessing leaves open."""

import itertools
from typing import Any, get_args

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.distances import Distances, Family
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Block
from suite.views import Extrapolated, task_ref
from suite.witness import witness_score

FAMILIES: list[Any] = list(get_args(Family))
QUANTITIES = ["distance", "eccentricity", "diameter"]  # in hops
ASKED = [pair for pair in itertools.product(QUANTITIES, FAMILIES) if pair != ("diameter", "ladder")]


def network(graph: Data) -> nx.Graph:
    return to_networkx(graph, to_undirected=True)


def in_hops(graph: Data) -> list[int]:
    """Return the answers in hops, of which 5 are 1 of y."""
    answer = graph.y.double() * 5
    assert torch.allclose(answer, answer.round(), atol=1e-4)
    return answer.round().long().tolist()


def truth(task: Distances, graph: Data) -> list[int]:
    web, asked = network(graph), graph.readout_index.tolist()
    if task.quantity == "distance":
        (source,) = graph.x[:, 1].nonzero().flatten().tolist()
        far = nx.single_source_shortest_path_length(web, source)
        return [far[v] for v in asked]
    if task.quantity == "eccentricity":
        return [nx.eccentricity(web, v) for v in asked]
    return [nx.diameter(web)] * len(asked)


@pytest.mark.parametrize(("quantity", "family"), ASKED)
@settings(max_examples=3, deadline=None)
@given(least=st.integers(8, 20), more=st.integers(0, 8))
def test_answers_are_those_of_networkx_on_connected_graphs(family: Any, quantity: Any, least: int, more: int) -> None:
    task = Distances(quantity=quantity, family=family, min_nodes=least, max_nodes=least + more)
    rng = stream("test", least, more)
    graphs = [task.sample(rng) for _ in range(3)]
    for graph in graphs:
        assert nx.is_connected(network(graph))
        assert least - 3 <= graph.num_nodes <= least + more
        assert in_hops(graph) == truth(task, graph)
        asked = set(range(graph.num_nodes)) - set(graph.x[:, 1].nonzero().flatten().tolist() if quantity == "distance" else [])
        assert set(graph.readout_index.tolist()) == asked


@pytest.mark.parametrize("quantity", ["distance", "eccentricity"])
def test_bellman_ford_is_a_witness_of_distances(quantity: Any) -> None:
    """Minimum aggregation of 1 + distance, from each source in turn; eccentricity is the largest of them."""
    task = Distances(quantity=quantity, family="pruned_grid")
    graph = task.sample(stream("test"))
    n, (begin, end) = graph.num_nodes, graph.edge_index
    far = torch.full((n, n), float("inf")).fill_diagonal_(0)
    for _ in range(n):
        far = far.scatter_reduce(1, end.expand(n, -1), far[:, begin] + 1, "amin")
    found = far[graph.x[:, 1].argmax()] if quantity == "distance" else far.max(1).values
    assert torch.allclose(5 * graph.y, found[graph.readout_index], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_what_they_are_called(family: Any) -> None:
    rng = stream("test", family)
    for _ in range(10):
        graph = Distances(family=family).sample(rng)
        web = network(graph)
        n = web.number_of_nodes()
        pruned = web.subgraph([v for v in web if web.degree[v] > 1])
        twice = pruned.subgraph([v for v in pruned if pruned.degree[v] > 1])
        if family in ("tree", "caterpillar", "lobster"):
            assert nx.is_tree(web)
        if family in ("caterpillar", "lobster"):  # without leaves, or without leaves twice, a path is left
            assert max(dict((pruned if family == "caterpillar" else twice).degree).values()) <= 2
        if family == "ladder":
            assert nx.is_isomorphic(web, nx.ladder_graph(n // 2))
        if family == "chorded_line":
            assert all(web.has_edge(v, v + 1) for v in range(n - 1))
            assert all(1 <= abs(u - v) <= 6 for u, v in web.edges)
            assert 0 < web.number_of_edges() - (n - 1) <= n // 5
        if family == "pruned_grid":
            whole = nx.convert_node_labels_to_integers(nx.grid_2d_graph(n // 4, 4))
            assert set(web.edges) <= set(whole.edges)
            m = whole.number_of_edges()
            assert web.number_of_edges() == max(m - round(m / 5), n - 1)


def test_the_distances_of_a_ladder_are_counted_by_hand() -> None:
    """A ladder of 4 rungs: 8 pairs at 0; a node's row has 4 - k pairs k apart, each way, on either side."""
    task = Distances(family="ladder", min_nodes=8, max_nodes=8)
    same = {0: 4, 1: 6, 2: 4, 3: 2}  # ordered pairs of rungs k apart
    expected = [2 * (same.get(k, 0) + same.get(k - 1, 0)) / 64 for k in range(5)]
    assert task.distance_histogram().tolist() == pytest.approx(expected, abs=1e-9)


def test_chance_on_ladders_is_what_degrees_leave_open() -> None:
    """Eccentricity of k rungs at rung i is max(i, k - 1 - i) + 1; only the ends (degree 2) can be told, and k."""
    task = Distances(quantity="eccentricity", family="ladder", min_nodes=12, max_nodes=12)
    inner = torch.tensor([5.0, 4, 4, 5])
    left = (inner - inner.mean()).square().sum() / 6
    assert task.chance == pytest.approx(float(left) / 5**2)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_who_counts_exactly_scores_0_on_larger_graphs_than_trained_on(quantity: Any) -> None:
    """A line through answers and NetworkX's hops on graphs of the training, asked on larger ones."""
    larger = Distances(quantity=quantity, min_nodes=60, max_nodes=80)
    view = Extrapolated(seen=task_ref(larger), trained={"min_nodes": 25, "max_nodes": 35})
    drawn = {split: view.at(split, 0).draw(8, stream("test")) for split in ("train", "test")}
    hops, y = {}, {}
    for split, graphs in drawn.items():
        assert not isinstance(graphs, Block)
        hops[split] = torch.tensor([far for graph in graphs for far in truth(larger, graph)], dtype=torch.double)
        y[split] = torch.cat([graph.y for graph in graphs]).double()
    seen = torch.stack([hops["train"], torch.ones_like(y["train"])], 1)
    slope, offset = torch.linalg.lstsq(seen, y["train"][:, None]).solution[:, 0]
    assert float((slope * hops["test"] + offset - y["test"]).square().mean()) < 1e-10


def test_graphs_are_long() -> None:
    for family in FAMILIES:
        hops = Distances(family=family).distance_histogram()
        assert float(hops.sum()) == pytest.approx(1)
        assert len(hops) - 1 >= 10


def test_the_twin_says_the_answer_where_it_is_asked() -> None:
    graph = Distances().answer_twin().sample(stream("test"))
    assert torch.equal(graph.x[graph.readout_index, 2], graph.y)
    assert graph.x[graph.source_index, 2] == 0


@pytest.mark.parametrize(("quantity", "family"), ASKED)
def test_its_own_witness_answers_without_error(quantity: Any, family: Any) -> None:
    task = Distances(quantity=quantity, family=family)
    for dtype in (torch.float32, torch.float64):
        score = witness_score(task, dtype)
        assert score is not None
        assert score < 1e-9


def test_the_witness_of_distances_searches_from_the_source_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search from every node is n searches: the witness looks at one graph of n nodes with one."""
    searched: list[int] = []

    def counted(edge_index: Tensor, source: Tensor, num_nodes: int) -> Tensor:
        searched.append(source.numel())
        return hop_distance(edge_index, source, num_nodes)

    task = Distances(quantity="distance")
    graph = task.sample(stream("test"))
    block = Block.from_data_list([graph])
    assert block is not None
    monkeypatch.setattr("datasets.distances.hop_distance", counted)
    task.witness(block)
    assert searched == [1]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_set_twin_has_the_answer_of_the_one_node_it_asks_at_another(quantity: Any) -> None:
    for _ in range(5):
        graph = Distances(quantity=quantity).content_twin().sample(stream("test"))
        told = graph.x[:, -1].nonzero().flatten()
        assert graph.x[told, -1].tolist() == graph.y.tolist()
        assert graph.readout_index.numel() == 1
        if quantity == "distance":
            assert told.tolist() == graph.x[:, 1].nonzero().flatten().tolist()
            assert told.tolist() != graph.readout_index.tolist()


@pytest.mark.parametrize(("quantity", "family"), ASKED)
def test_edges_are_needed(quantity: Any, family: Any) -> None:
    """Guessing from degrees is no worse than the mean, and leaves something open."""
    task, rng = Distances(quantity=quantity, family=family), stream("test")
    variance = float(torch.cat([task.sample(rng).y for _ in range(400)]).var())
    assert 0.05 < task.chance / variance < 1.1


def test_sizes_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="max_nodes: must be >= min_nodes = 25, got 9"):
        Distances(max_nodes=9)


def test_the_diameter_of_a_ladder_is_refused_because_its_size_tells_it() -> None:
    with pytest.raises(
        ValueError, match="family: must be one whose number of nodes does not give the diameter away, got 'ladder'"
    ):
        Distances(quantity="diameter", family="ladder")


@pytest.mark.parametrize("family", FAMILIES)
def test_costs_are_those_of_the_cheapest_way_by_networkx(family: Any) -> None:
    task, rng = Distances(quantity="cost", family=family), stream("test", family)
    graphs = [task.sample(rng) for _ in range(3)]
    for graph in graphs:
        web, asked = network(graph).to_directed(), graph.readout_index.tolist()
        for _, into, held in web.edges(data=True):
            held["cost"] = float(graph.x[into, 0])
        (source,) = graph.x[:, 1].nonzero().flatten().tolist()
        assert source not in asked
        far = nx.single_source_dijkstra_path_length(web, source, weight="cost")
        expected = torch.tensor([far[v] for v in asked], dtype=torch.double)
        assert torch.allclose(5 * graph.y.double(), expected, atol=1e-5)
    assert witness_score(task, torch.float64) == pytest.approx(0, abs=1e-10)
    assert 0 < task.chance < 1

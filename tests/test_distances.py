"""Facts about distances: answers by NetworkX, the shape of each family, and what guessing leaves open."""

import itertools
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LinearRegression
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree, to_networkx

from datasets.chorded_line import ChordedLine
from datasets.clique import Clique
from datasets.distances import MAX_DEGREE, NUM_SURVEYED, Distances, _left_by_counts
from datasets.erdos_renyi import ErdosRenyi
from datasets.grid import Grid
from datasets.network import Network, own_nodes
from datasets.of_diameter import OfDiameter
from datasets.pruned_grid import PrunedGrid
from datasets.random_caterpillar import RandomCaterpillar
from datasets.random_tree import RandomTree
from datasets.ring import Ring
from datasets.sampled import Sampled
from datasets.stochastic_blockmodel import StochasticBlockmodel
from datasets.subnetwork import Subnetwork
from datasets.tree import Tree
from suite.entries import topology_label
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Block, Topology
from suite.views import Extrapolated, task_ref
from suite.witness import witness_score

FAMILIES: list[Sampled] = [
    ChordedLine(),
    ErdosRenyi(num_nodes=40),
    PrunedGrid(),
    RandomCaterpillar(),
    RandomCaterpillar(joints=2),
    RandomTree(),
    Subnetwork(name="ky4_water", num_nodes=40),
]
SINGLE = [Grid(width=2, extra=0), Ring(), Network(name="schutterwald_lv_grid")]
QUANTITIES = ["distance", "eccentricity", "diameter"]  # in hops
TOLD = ("diameter", RandomCaterpillar())
ASKED = [*(pair for pair in itertools.product(QUANTITIES, FAMILIES) if pair != TOLD), *itertools.product(["distance"], SINGLE)]


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


@pytest.mark.parametrize(("quantity", "topology"), ASKED, ids=repr)
def test_answers_are_those_of_networkx_on_connected_graphs(quantity: Any, topology: Topology) -> None:
    task, rng = Distances(quantity=quantity, topology=topology, size=8), stream("test")
    for graph in [task.sample(rng) for _ in range(3)]:
        assert nx.is_connected(network(graph))
        assert in_hops(graph) == truth(task, graph)
        asked = set(range(graph.num_nodes)) - set(graph.x[:, 1].nonzero().flatten().tolist() if quantity == "distance" else [])
        assert set(graph.readout_index.tolist()) == asked


def test_graphs_of_a_random_family_differ_and_a_single_one_is_the_topologys() -> None:
    rng = stream("test")
    trees = [network(Distances(topology=RandomTree()).sample(rng)) for _ in range(3)]
    assert len({tuple(sorted(tree.edges)) for tree in trees}) == 3
    ladder = Distances(topology=Grid(width=2, extra=0), size=9).sample(rng)
    assert nx.is_isomorphic(network(ladder), nx.ladder_graph(9))


def test_on_a_real_network_sources_of_the_test_are_none_of_the_training() -> None:
    task = Distances(topology=Network(name="schutterwald_lv_grid"), size=8)
    found = {}
    for split in ("train", "validation", "test"):
        seen, rng = task.at(split, 0), stream("test", split)
        found[split] = {int(seen.sample(rng).source_index) for _ in range(600)}
    assert not found["train"] & found["test"]
    assert not found["train"] & found["validation"]
    assert not found["validation"] & found["test"]
    assert sum(map(len, found.values())) > 0.9 * 335


def test_pieces_of_a_network_are_the_nodes_nearest_to_centres_of_each_split() -> None:
    whole = network(Network(name="ky4_water").graph(8))
    for split in ("train", "test"):
        piece = Subnetwork(name="ky4_water", num_nodes=30).at(split, 3)
        centres = own_nodes("ky4_water", split).tolist()
        balls = []
        for centre in centres:
            far = nx.single_source_shortest_path_length(whole, centre)
            balls.append(whole.subgraph(sorted(far, key=lambda v: (far[v], v))[:30]))
        drawn = network(piece.graph(1))
        assert drawn.number_of_nodes() == 30
        sizes = drawn.number_of_edges(), sorted(dict(drawn.degree).values())
        alike = [ball for ball in balls if (ball.number_of_edges(), sorted(dict(ball.degree).values())) == sizes]
        assert any(nx.is_isomorphic(drawn, ball) for ball in alike)
    train, test = (set(own_nodes("ky4_water", split).tolist()) for split in ("train", "test"))
    assert not train & test


@pytest.mark.parametrize("quantity", ["distance", "eccentricity"])
def test_bellman_ford_is_a_witness_of_distances(quantity: Any) -> None:
    """Minimum aggregation of 1 + distance, from each source in turn; eccentricity is the largest of them."""
    task = Distances(quantity=quantity, topology=PrunedGrid())
    graph = task.sample(stream("test"))
    n, (begin, end) = graph.num_nodes, graph.edge_index
    far = torch.full((n, n), float("inf")).fill_diagonal_(0)
    for _ in range(n):
        far = far.scatter_reduce(1, end.expand(n, -1), far[:, begin] + 1, "amin")
    found = far[graph.x[:, 1].argmax()] if quantity == "distance" else far.max(1).values
    assert torch.allclose(5 * graph.y, found[graph.readout_index], atol=1e-4)


@pytest.mark.parametrize("topology", FAMILIES, ids=repr)
@pytest.mark.parametrize("num_nodes", [8, 36, 52])
def test_families_are_what_they_are_called(topology: Sampled, num_nodes: int) -> None:
    for seed in range(5):
        value = topology.model_copy(update={"seed": seed, "num_nodes": num_nodes})
        web = network(value.graph(1))
        n = web.number_of_nodes()
        assert n == num_nodes or isinstance(topology, ErdosRenyi)
        pruned = web.subgraph([v for v in web if web.degree[v] > 1])
        twice = pruned.subgraph([v for v in pruned if pruned.degree[v] > 1])
        if isinstance(topology, (RandomTree, RandomCaterpillar)):
            assert nx.is_tree(web)
        if isinstance(topology, RandomTree):
            assert all(sum(u < v for u in web[v]) == 1 and min(web[v]) >= v - 3 for v in range(1, n))
        if isinstance(topology, RandomCaterpillar):  # without leaves, or without leaves twice, a path is left
            left = pruned if topology.joints == 1 else twice
            assert max(dict(left.degree).values(), default=0) <= 2
        if isinstance(topology, ChordedLine):
            assert all(web.has_edge(v, v + 1) for v in range(n - 1))
            assert all(1 <= abs(u - v) <= 6 for u, v in web.edges)
            assert 0 <= web.number_of_edges() - (n - 1) <= n // 5
        if isinstance(topology, PrunedGrid):
            whole = nx.convert_node_labels_to_integers(nx.grid_2d_graph(n // 4, 4))
            assert set(web.edges) <= set(whole.edges)
            m = whole.number_of_edges()
            assert web.number_of_edges() == max(m - round(m / 5), n - 1)


def test_the_distances_of_a_ladder_are_counted_by_hand() -> None:
    """A ladder of 4 rungs: 8 pairs at 0; a node's row has 4 - k pairs k apart, each way, on either side."""
    task = Distances(topology=Grid(width=2, extra=0), size=4)
    same = {0: 4, 1: 6, 2: 4, 3: 2}  # ordered pairs of rungs k apart
    expected = [2 * (same.get(k, 0) + same.get(k - 1, 0)) / 64 for k in range(5)]
    assert task.distance_histogram().tolist() == pytest.approx(expected, abs=1e-9)


def test_chance_on_a_ring_is_the_variance_of_hops_for_all_degrees_are_two() -> None:
    """From any source of a cycle of 8, the other nodes are 1, 1, 2, 2, 3, 3 and 4 hops away."""
    hops = torch.tensor([1.0, 1, 2, 2, 3, 3, 4])
    assert Distances(topology=Ring(), size=4).chance == pytest.approx(float(hops.var(correction=0)) / 5**2)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_who_counts_exactly_scores_0_on_larger_graphs_than_trained_on(quantity: Any) -> None:
    """A line through answers and NetworkX's hops on graphs of the training, asked on larger ones."""
    larger = Distances(quantity=quantity, topology=RandomTree(num_nodes=70))
    view = Extrapolated(seen=task_ref(larger), trained={"topology": {"kind": "chorded_line", "num_nodes": 30}})
    drawn = {split: view.at(split, 0).draw(8, stream("test")) for split in ("train", "test")}
    hops, y = {}, {}
    for split, graphs in drawn.items():
        assert not isinstance(graphs, Block)
        hops[split] = torch.tensor([far for graph in graphs for far in truth(larger, graph)], dtype=torch.double)
        y[split] = torch.cat([graph.y for graph in graphs]).double()
    seen = torch.stack([hops["train"], torch.ones_like(y["train"])], 1)
    slope, offset = torch.linalg.lstsq(seen, y["train"][:, None]).solution[:, 0]
    assert float((slope * hops["test"] + offset - y["test"]).square().mean()) < 1e-10


@pytest.mark.parametrize("topology", [PrunedGrid(), RandomTree()], ids=repr)
def test_graphs_are_long(topology: Topology) -> None:
    hops = Distances(topology=topology).distance_histogram()
    assert float(hops.sum()) == pytest.approx(1)
    assert len(hops) - 1 >= 10


def test_the_twin_says_the_answer_where_it_is_asked() -> None:
    graph = Distances().answer_twin().sample(stream("test"))
    assert torch.equal(graph.x[graph.readout_index, 2], graph.y)
    assert graph.x[graph.source_index, 2] == 0


@pytest.mark.parametrize(("quantity", "topology"), ASKED, ids=repr)
def test_its_own_witness_answers_without_error(quantity: Any, topology: Topology) -> None:
    task = Distances(quantity=quantity, topology=topology, size=8)
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


SOME = [("distance", SINGLE[2]), ("distance", PrunedGrid()), ("eccentricity", FAMILIES[-1]), ("diameter", RandomTree())]


@pytest.mark.parametrize(("quantity", "topology"), SOME, ids=repr)
def test_edges_are_needed(quantity: Any, topology: Topology) -> None:
    """Guessing from degrees is no worse than the mean, but for the graphs that were drawn, and leaves much open."""
    task, rng = Distances(quantity=quantity, topology=topology, size=8), stream("test")
    answers = [task.sample(rng).y.double() for _ in range(400)]
    mean = torch.cat(answers).mean()
    of_graphs = torch.stack([(y - mean).square().mean() for y in answers])
    error = float(of_graphs.std()) * (1 / 400 + 1 / NUM_SURVEYED) ** 0.5
    assert task.chance > 0.05 * float(of_graphs.mean())
    assert task.chance < float(of_graphs.mean()) + 5 * error


def test_leaves_tell_the_diameter_of_a_random_caterpillar() -> None:
    """Of a spine of 15 with 15 legs: 14 hops and one for each end that has a leg; 15 leaves and one for each that has none."""
    task, rng = Distances(topology=RandomCaterpillar(num_nodes=30)), stream("test")
    graphs = [nx.Graph(task.sample(rng).edge_index.T.tolist()) for _ in range(30)]
    assert {nx.diameter(graph) + sum(count == 1 for _, count in graph.degree) for graph in graphs} == {14 + 15 + 2}
    assert len({nx.diameter(graph) for graph in graphs}) > 1


@pytest.mark.parametrize("quantity", ["eccentricity", "diameter"])
def test_chance_is_what_least_squares_on_the_numbers_of_nodes_of_each_degree_leave_open(quantity: Any) -> None:
    """By scikit-learn, of graphs that it was not fitted to; the own degree tells a part of an eccentricity besides."""
    task, rng, rows = Distances(quantity=quantity, topology=RandomTree(num_nodes=16)), stream("test"), []
    for _ in range(1000):
        graph = task.sample(rng)
        degrees = degree(graph.edge_index[0], dtype=torch.long)
        kinds = F.one_hot(degrees.clamp(max=9), 10)
        rows.append((torch.cat([kinds, kinds.sum(0).expand(16, -1)], dim=1).numpy(), graph.y.double().numpy()))
    known, y = (np.stack(part) for part in zip(*rows, strict=True))
    of_half = LinearRegression().fit(known[:500].reshape(8000, -1), y[:500].ravel())
    left = np.square(of_half.predict(known[500:].reshape(8000, -1)).reshape(500, 16) - y[500:]).mean(1)  # of each graph
    error = left.std() * (1 / 500 + 1 / NUM_SURVEYED) ** 0.5
    assert task.chance == pytest.approx(left.mean(), abs=4 * error)
    assert task.chance < y.var() - 4 * error


GIVEN_AWAY = [
    TOLD,  # with the leaves, num_nodes + 1
    ("diameter", OfDiameter(topology=RandomTree(num_nodes=12), least=6, most=6)),
    ("distance", Clique()),  # all are 1 apart,
    ("cost", Clique()),  # and no way is cheaper than the edge
    ("distance", Tree(arity=4)),  # of size 1 a star: 1 from and to its hub, else 2
    ("eccentricity", StochasticBlockmodel(num_blocks=2, block_size=8, inside=1, outside=1)),  # a clique again
    ("diameter", StochasticBlockmodel(num_blocks=2, block_size=8, inside=1, outside=1)),
]


@pytest.mark.parametrize(("quantity", "topology"), GIVEN_AWAY, ids=repr)
def test_a_topology_that_gives_every_answer_away_is_refused(quantity: Any, topology: Topology) -> None:
    said = rf"topology: must leave '{quantity}' open to who knows .*, got .*{topology.kind}.*, which tells it"
    with pytest.raises(ValueError, match=said):
        Distances(quantity=quantity, topology=topology, size=1)


def test_on_a_star_the_cost_of_the_hub_is_open_though_hops_are_not() -> None:
    assert Distances(quantity="cost", topology=Tree(arity=4), size=1).chance > 0


def test_where_graphs_are_too_few_to_fit_counts_chance_is_no_worse_than_the_mean() -> None:
    """Of 40 graphs the counts of 15 degrees explain anything; held out they do worse than nothing."""
    tables, rng = [], np.random.default_rng(0)
    for _ in range(40):
        own = np.eye(MAX_DEGREE)[rng.integers(MAX_DEGREE, size=50)]
        of_graph = np.broadcast_to(rng.integers(100, size=MAX_DEGREE + 1), (50, MAX_DEGREE + 1))
        tables.append(np.concatenate([own, of_graph, np.full((50, 1), rng.normal())], axis=1))
    answers = np.array([table[0, -1] for table in tables])
    assert answers.var() / 2 < _left_by_counts(tables) < 1.2 * answers.var()


@pytest.mark.parametrize("quantity", ["eccentricity", "diameter"])
def test_what_a_single_graph_always_answers_alike_is_refused(quantity: Any) -> None:
    with pytest.raises(ValueError, match=rf"topology: must be a random family .* for '{quantity}', got one graph, a ring"):
        Distances(quantity=quantity, topology=Ring())


BINS = [
    (ChordedLine(), 15, 18),
    (ErdosRenyi(num_nodes=40), 5, 7),
    (PrunedGrid(), 10, 11),
    (RandomCaterpillar(joints=2), 15, 16),
    (RandomTree(), 13, 15),
    (RandomTree(), 18, 21),
    (Subnetwork(name="ky4_water", num_nodes=40), 10, 14),
]


@pytest.mark.parametrize(("family", "least", "most"), BINS, ids=str)
def test_diameters_are_in_the_bin_that_is_asked_for_in_every_split(family: Sampled, least: int, most: int) -> None:
    task = Distances(quantity="eccentricity", topology=OfDiameter(topology=family, least=least, most=most))
    for split in ("train", "validation", "test"):
        rng = stream("test", split)
        graphs = [task.at(split, 0).sample(rng) for _ in range(12)]
        assert {nx.diameter(network(graph)) for graph in graphs} <= set(range(least, most + 1))
        assert len({graph.edge_index.numpy().tobytes() for graph in graphs}) > 1
        assert all(in_hops(graph) == truth(task, graph) for graph in graphs)


def test_graphs_of_a_bin_are_the_familys_with_such_a_diameter() -> None:
    """Numbers of edges have one law where graphs are drawn again and where those of other diameters are left out."""
    family, rng = ErdosRenyi(num_nodes=8, mean_degree=2), stream("test")
    plain = [nx.Graph(family.afresh(rng).edge_index.T.tolist()) for _ in range(1500)]
    of_bin = [nx.Graph(OfDiameter(topology=family, least=3, most=4).afresh(rng).edge_index.T.tolist()) for _ in range(800)]
    edges = [np.array([graph.size() for graph in graphs if 3 <= nx.diameter(graph) <= 4]) for graphs in (plain, of_bin)]
    assert len(edges[1]) == len(of_bin)
    error = (edges[0].var() / len(edges[0]) + edges[1].var() / len(edges[1])) ** 0.5
    assert edges[0].mean() == pytest.approx(edges[1].mean(), abs=4 * error)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"least": 30, "most": 40}, "least: must leave, up to most, a tenth of the diameters of RandomTree.*, got 30 to 40"),
        ({"topology": "pruned_grid", "least": 1, "most": 6}, "least: must leave, .* of PrunedGrid.*: 10 to .*, got 1 to 6"),
        ({"least": 9, "most": 8}, "most: must be >= least = 9, got 8"),
        ({"topology": "ring"}, "topology: must be a random family .*, got one graph, a ring"),
    ],
)
def test_a_bin_that_does_not_occur_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OfDiameter(**fields)


def test_a_pair_farther_apart_than_the_bin_begins_is_refused() -> None:
    topology = OfDiameter(topology=RandomTree(), least=12, most=16)
    assert topology.graph(12).num_nodes == 30
    with pytest.raises(ValueError, match="hops: must be <= least = 12, which every graph has, got 13"):
        topology.graph(13)


def test_families_and_bins_have_names_of_their_own_in_reports() -> None:
    bins = [OfDiameter(topology=family, least=least, most=most) for family, least, most in BINS]
    labels = [topology_label(Distances(topology=topology)) for topology in bins]
    assert labels[4] == "of_diameter (topology=random_tree, least=13, most=15)"
    assert len(set(labels)) == len(BINS)


def test_a_piece_larger_than_its_network_is_refused() -> None:
    with pytest.raises(ValueError, match="num_nodes: must be <= 335 on schutterwald_lv_grid, got 336"):
        Subnetwork(name="schutterwald_lv_grid", num_nodes=336)
    with pytest.raises(ValueError, match="no network is called 'ky5_water'"):
        Subnetwork(name="ky5_water")


@pytest.mark.parametrize("topology", [*FAMILIES, *SINGLE], ids=repr)
def test_costs_are_those_of_the_cheapest_way_by_networkx(topology: Topology) -> None:
    task, rng = Distances(quantity="cost", topology=topology, size=8), stream("test")
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

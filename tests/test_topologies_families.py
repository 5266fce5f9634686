"""Facts about the newer families over their whole range: sizes by formula, graphs and distances by NetworkX."""

import random
from math import comb

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.utils import contains_self_loops, to_networkx

from datasets.attachment_tree import AttachmentTree
from datasets.barabasi_albert import BarabasiAlbert
from datasets.caterpillar import Caterpillar
from datasets.circular_ladder import CircularLadder
from datasets.crossed_ring import CrossedRing
from datasets.erdos_renyi import ErdosRenyi
from datasets.expander import Expander
from datasets.grid import Grid
from datasets.layered import Layered
from datasets.path import Path
from datasets.random_geometric import RandomGeometric
from datasets.stochastic_blockmodel import StochasticBlockmodel
from datasets.theta import Theta
from datasets.torus import Torus
from datasets.transfer import Transfer
from suite.measures.ways import shortest_path_counts
from suite.task import Topology


class LoneNodes(ErdosRenyi):
    """No pair is joined: what a sparse draw of few nodes may come to."""

    def sampled(self) -> nx.Graph:
        return nx.empty_graph(self.num_nodes)


def checked(topology: Topology, hops: int) -> tuple[nx.Graph, int, int]:
    """Return graph, read-out and source, once they are simple, connected and `hops` apart."""
    data = topology.graph(hops)
    graph = to_networkx(data, to_undirected=True)
    readout, source = int(data.readout_index), int(data.source_index)
    assert not contains_self_loops(data.edge_index)
    assert data.edge_index.size(1) == 2 * graph.number_of_edges()
    assert nx.is_connected(graph)
    assert nx.shortest_path_length(graph, readout, source) == hops
    return graph, readout, source


@settings(deadline=None, max_examples=40)
@given(hops=st.integers(1, 15), tail=st.integers(0, 5))
def test_path_goes_on_behind_both_ends(hops: int, tail: int) -> None:
    graph, readout, source = checked(Path(tail=tail), hops)
    assert nx.is_isomorphic(graph, nx.path_graph(hops + 2 * tail + 1))
    assert nx.eccentricity(graph, readout) == nx.eccentricity(graph, source) == hops + tail


@settings(deadline=None, max_examples=40)
@given(hops=st.integers(2, 9), paths=st.integers(1, 6))
def test_theta_joins_its_poles_by_disjoint_paths(hops: int, paths: int) -> None:
    graph, readout, source = checked(Theta(paths=paths), hops)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (2 + paths * (hops - 1), paths * hops)
    assert len(list(nx.node_disjoint_paths(graph, readout, source))) == paths
    assert nx.diameter(graph) == hops
    commute = 2 * graph.number_of_edges() * nx.resistance_distance(graph, readout, source)
    assert commute == pytest.approx(2 * hops**2)


@settings(deadline=None, max_examples=40)
@given(hops=st.integers(2, 9), paths=st.integers(2, 6), open_paths=st.integers(1, 2))
def test_of_a_theta_with_closed_paths_only_the_others_lead_to_the_source(hops: int, paths: int, open_paths: int) -> None:
    graph, readout, source = checked(Theta(paths=paths, open_paths=open_paths), hops)
    assert nx.is_connected(graph)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (2 + paths * (hops - 1), paths * hops - (paths - open_paths))
    assert len(list(nx.all_simple_paths(graph, readout, source))) == open_paths
    assert nx.edge_connectivity(graph, readout, source) == open_paths


def test_more_open_paths_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="open_paths: must be <= paths = 3, got 4"):
        Theta(open_paths=4)


def test_several_paths_of_one_edge_are_refused() -> None:
    with pytest.raises(ValueError, match="hops: must be >= 2 on a theta, got 1"):
        Theta().graph(1)


def test_transfer_by_position_needs_tails_and_equal_degrees() -> None:
    Transfer(topology=Path(tail=1), addressing="position", hops=4)
    for topology in (Path(tail=0), Theta(paths=3)):
        with pytest.raises(ValueError, match="must not be known by its degree"):
            Transfer(topology=topology, addressing="position", hops=4)


@settings(deadline=None, max_examples=40)
@given(hops=st.integers(2, 9), width=st.integers(1, 5))
def test_layered_is_a_chain_of_complete_levels(hops: int, width: int) -> None:
    graph, readout, _ = checked(Layered(width=width), hops)
    assert graph.number_of_nodes() == 2 + width * (hops - 1)
    assert graph.number_of_edges() == 2 * width + width**2 * (hops - 2)
    assert [len(level) for level in nx.bfs_layers(graph, readout)] == [1, *[width] * (hops - 1), 1]
    levels = nx.lexicographic_product(nx.path_graph(hops - 1), nx.empty_graph(width))
    assert nx.is_isomorphic(graph.subgraph(range(1, graph.number_of_nodes() - 1)), levels)


@pytest.mark.parametrize("hops", [2, 3, 6])
def test_crossed_ring_is_layered_of_width_two(hops: int) -> None:
    graph, _, _ = checked(Layered(width=2), hops)
    assert nx.is_isomorphic(graph, to_networkx(CrossedRing().graph(hops), to_undirected=True))


@settings(deadline=None, max_examples=15)
@given(hops=st.integers(2, 12))
def test_circular_ladder_is_the_one_of_networkx(hops: int) -> None:
    graph, _, _ = checked(CircularLadder(), hops)
    assert nx.is_isomorphic(graph, nx.circular_ladder_graph(2 * hops))
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (4 * hops, 6 * hops)
    assert nx.diameter(graph) == hops + 1


@settings(deadline=None, max_examples=40)
@given(hops=st.integers(1, 12), width=st.integers(1, 6), extra=st.integers(0, 3))
def test_grid_is_the_one_of_networkx_with_binomially_many_shortest_paths(hops: int, width: int, extra: int) -> None:
    graph, readout, source = checked(Grid(width=width, extra=extra), hops)
    down = min(width - 1, hops // 2)
    columns = hops - down + 1 + extra
    assert nx.is_isomorphic(graph, nx.grid_2d_graph(width, columns))
    assert nx.diameter(graph) == width - 1 + columns - 1
    found = shortest_path_counts(Grid(width=width, extra=extra).graph(hops).edge_index, len(graph), torch.tensor([readout]))
    assert found[0, source] == comb(hops, down)


@settings(deadline=None, max_examples=30)
@given(width=st.integers(3, 7), more=st.integers(2, 8))
def test_torus_is_the_one_of_networkx_and_its_source_as_far_as_any_node(width: int, more: int) -> None:
    hops = width // 2 + more
    graph, readout, _ = checked(Torus(width=width), hops)
    assert nx.is_isomorphic(graph, nx.grid_2d_graph(width, 2 * more, periodic=True))
    assert nx.diameter(graph) == nx.eccentricity(graph, readout) == hops
    with pytest.raises(ValueError, match=f"hops: must be >= {width // 2 + 2} on a torus of width {width}"):
        Torus(width=width).graph(width // 2 + 1)


@pytest.mark.parametrize(("width", "columns"), [(3, 3), (4, 7), (8, 8)])
def test_a_torus_of_given_columns_is_one_graph_at_every_distance_it_has(width: int, columns: int) -> None:
    torus = Torus(width=width, columns=columns)
    farthest = nx.diameter(nx.grid_2d_graph(width, columns, periodic=True))
    first = checked(torus, 1)[0]
    for hops in range(1, farthest + 1):
        graph, readout, source = checked(torus, hops)
        assert nx.utils.graphs_equal(graph, first)
        assert nx.shortest_path_length(graph, readout, source) == hops
    with pytest.raises(ValueError, match=f"hops: must be <= {farthest} on a torus of {width} by {columns}, got {farthest + 1}"):
        torus.graph(farthest + 1)


@settings(deadline=None, max_examples=40)
@given(hops=st.integers(1, 10), legs=st.integers(1, 4), joints=st.integers(1, 3), tail=st.integers(0, 3))
def test_without_the_joints_of_its_legs_a_caterpillar_is_a_path(hops: int, legs: int, joints: int, tail: int) -> None:
    graph, _, _ = checked(Caterpillar(legs=legs, joints=joints, tail=tail), hops)
    spine = hops + 2 * tail + 1
    assert nx.is_tree(graph)
    assert graph.number_of_nodes() == spine * (1 + legs * joints)
    for _ in range(joints):  # leaves are the last joints, no end of the spine among them
        graph.remove_nodes_from([node for node, degree in list(graph.degree) if degree == 1])
    assert nx.is_isomorphic(graph, nx.path_graph(spine))


RANDOM = [
    Expander(num_nodes=64),
    Expander(degree=4, num_nodes=65, seed=3),
    ErdosRenyi(),
    AttachmentTree(),
    BarabasiAlbert(),
    BarabasiAlbert(attached=2, seed=5),
    StochasticBlockmodel(),
    RandomGeometric(),
    RandomGeometric(seed=8),
]


@pytest.mark.parametrize("topology", RANDOM, ids=repr)
def test_a_random_family_offers_every_distance_it_has_and_refuses_others(topology: Topology) -> None:
    graph, _, _ = checked(topology, 1)
    diameter = nx.diameter(graph)
    for hops in range(1, diameter + 1):
        again, _, _ = checked(topology, hops)
        assert nx.utils.graphs_equal(again, graph)  # the same graph, asked elsewhere
    with pytest.raises(ValueError, match=f"nodes 1 to {diameter} hops apart, got {diameter + 1}"):
        topology.graph(diameter + 1)


@pytest.mark.parametrize(
    ("topology", "knob"),
    [
        (StochasticBlockmodel(num_blocks=2, block_size=2, inside=0.01, outside=0.001), "inside"),
        (RandomGeometric(num_nodes=8, radius=0.001), "radius"),
        (LoneNodes(num_nodes=8), "mean_degree"),
    ],
    ids=repr,
)
def test_a_random_graph_without_an_edge_is_refused_by_the_field_that_joins_nodes(topology: Topology, knob: str) -> None:
    said = f"{knob}: must be larger, or the seed another: .* joins no two nodes, got {knob} = {getattr(topology, knob)}"
    with pytest.raises(ValueError, match=said):
        topology.graph(1)
    with pytest.raises(ValueError, match=said):
        Transfer(topology=topology, hops=1)


def test_random_families_are_what_their_names_say() -> None:
    assert {degree for _, degree in checked(Expander(degree=5, num_nodes=40), 2)[0].degree} == {5}
    assert nx.is_tree(checked(BarabasiAlbert(), 3)[0])
    assert checked(BarabasiAlbert(attached=3, num_nodes=90), 2)[0].number_of_edges() == 3 * (90 - 3)
    dense = checked(StochasticBlockmodel(inside=1, outside=0.001, num_blocks=3, block_size=9), 1)[0]
    assert max(len(clique) for clique in nx.find_cliques(dense)) >= 9


@pytest.mark.parametrize("exponent", [0, 1, 3])
def test_nodes_of_an_attachment_tree_are_as_deep_as_the_weights_say(exponent: int) -> None:
    """Node n joins i with chance (i + 1)^p over the sum of these: its mean depth is one more than the mean of theirs."""
    size, trees, mean = 60, 300, [0.0]
    for n in range(1, size):
        weight = [(i + 1) ** exponent for i in range(n)]
        mean.append(1 + sum(w * depth for w, depth in zip(weight, mean, strict=True)) / sum(weight))
    if exponent == 0:
        assert mean[-1] == pytest.approx(sum(1 / k for k in range(1, size)))  # of recursive trees: a harmonic number
    found = []
    for seed in range(trees):
        graph = AttachmentTree(num_nodes=size, exponent=exponent, seed=seed).sampled()
        found.append(nx.shortest_path_length(graph, 0, size - 1))
    error = (sum((d - mean[-1]) ** 2 for d in found) / trees / trees) ** 0.5
    assert sum(found) / trees == pytest.approx(mean[-1], abs=4 * error)


def test_attachment_trees_are_as_long_as_those_of_the_benchmark() -> None:
    diameters = [nx.diameter(AttachmentTree(seed=seed).sampled()) for seed in range(50)]
    assert all(17 <= diameter <= 40 for diameter in diameters)


def test_by_cubes_of_degrees_trees_would_be_no_longer_than_stars_and_a_few_legs() -> None:
    """Why k is read as the number of a node."""
    for seed in range(20):
        rng, tree = random.Random(seed), nx.path_graph(2)
        for node in range(2, 100):
            (joined,) = rng.choices(list(tree), [degree**3 for _, degree in tree.degree])
            tree.add_edge(node, joined)
        assert nx.diameter(tree) < 17


def test_another_seed_is_another_graph_and_the_same_seed_the_same() -> None:
    one, other, again = (ErdosRenyi(seed=seed).build(3).edge_index for seed in (0, 1, 0))
    assert torch.equal(one, again)
    assert one.shape != other.shape or not torch.equal(one, other)


@pytest.mark.parametrize("num_nodes", [9, 11])
def test_an_expander_needs_whole_edges(num_nodes: int) -> None:
    with pytest.raises(ValueError, match=f"must be even .* got 3 and {num_nodes}"):
        Expander(degree=3, num_nodes=num_nodes)

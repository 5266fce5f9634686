"""Facts about the newer families over their whole range: sizes by formula, graphs and distances by NetworkX."""

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.utils import contains_self_loops, to_networkx

from datasets.circular_ladder import CircularLadder
from datasets.crossed_ring import CrossedRing
from datasets.layered import Layered
from datasets.path import Path
from datasets.theta import Theta
from datasets.transfer import Transfer
from suite.task import Topology


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

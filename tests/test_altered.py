"""Facts about padded and noisy topologies, and about the clique chain: distances stay, and the numbers are those asked for."""

from typing import Any

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networkx.algorithms.isomorphism import GraphMatcher
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.altered import Decoyed, Noisy, Padded
from datasets.clique_chain import CliqueChain
from datasets.crossed_ring import CrossedRing
from datasets.layered import Layered
from datasets.ring import Ring
from datasets.theta import Theta
from datasets.topologies import read_topology, write_topology
from datasets.transfer import Transfer
from suite.facts import pair_facts
from suite.task import Topology

INNER: list[Any] = [
    "ring",
    "tree",
    {"kind": "clique_path", "extra": 1},
    {"kind": "barbell", "clique_size": 4},
    "grid",
    "caterpillar",
]


def distances(topology: Topology, hops: int) -> dict[int, int]:
    graph = topology.graph(hops)
    return dict(nx.single_source_shortest_path_length(to_networkx(graph, to_undirected=True), int(graph.readout_index)))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(inner=st.sampled_from(INNER), hops=st.integers(3, 6), more=st.integers(0, 30))
def test_padding_adds_nodes_and_changes_no_distance(inner: Any, hops: int, more: int) -> None:
    before = distances(read_topology(inner), hops)
    padded = Padded(topology=inner, num_nodes=len(before) + more)
    after = distances(padded, hops)
    assert len(after) == len(before) + more
    assert {node: after[node] for node in before} == before
    graphs = [to_networkx(topology.graph(hops), to_undirected=True) for topology in (padded, padded.topology)]
    readout = int(padded.graph(hops).readout_index)
    assert all(graphs[0].degree[node] == graphs[1].degree[node] for node in before if node != readout)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(inner=st.sampled_from(INNER), hops=st.integers(3, 6), more=st.integers(0, 3), seed=st.integers(0, 3))
def test_noise_adds_edges_and_changes_no_distance(inner: Any, hops: int, more: int, seed: int) -> None:
    plain, noisy = read_topology(inner), Noisy(topology=inner, num_edges=more, seed=seed)
    assert distances(noisy, hops) == distances(plain, hops)
    edges = [nx.Graph(topology.graph(hops).edge_index.T.tolist()).number_of_edges() for topology in (noisy, plain)]
    assert edges[0] == edges[1] + more
    assert torch.equal(noisy.graph(hops).source_index, plain.graph(hops).source_index)


def test_matched_size_makes_ring_and_tree_and_clique_path_equally_large() -> None:
    """At 5 hops and 80 nodes a path makes 80, 79 and 85 edges of them; chords on the path make 90 of each."""
    for num_edges, expected in ((None, [80, 79, 85]), (90, [90, 90, 90])):
        fields = {"kind": "padded", "num_nodes": 80, "num_edges": num_edges}
        tasks = [Transfer(topology={**fields, "topology": inner}, addressing="content") for inner in INNER[:3]]
        blocks: list[Any] = [task.draw(1, torch.Generator()) for task in tasks]
        assert {block.x.size(1) for block in blocks} == {80}
        assert [block.edge_index.size(1) // 2 for block in blocks] == expected


@settings(deadline=None, max_examples=40, derandomize=True)
@given(inner=st.sampled_from(INNER), hops=st.integers(3, 6), more=st.integers(0, 9), share=st.floats(0, 1))
def test_chords_stand_on_the_padding_and_change_no_distance(inner: Any, hops: int, more: int, share: float) -> None:
    plain = read_topology(inner)
    before = to_networkx(plain.graph(hops), to_undirected=True)
    chords = round(share * max(0, more - 1) * (more - 2) / 2)  # pairs of the path's nodes but those it joins
    asked = Padded(topology=inner, num_nodes=len(before) + more, num_edges=before.size() + more + chords)
    after, readout = to_networkx(asked.graph(hops), to_undirected=True), int(asked.graph(hops).readout_index)
    assert (len(after), after.size()) == (len(before) + more, before.size() + more + chords)
    assert nx.utils.edges_equal(after.subgraph(before).edges, before.edges)
    assert nx.is_connected(after)
    assert after.degree[readout] == before.degree[readout] + (more > 0)
    assert {node: far for node, far in distances(asked, hops).items() if node in before} == distances(plain, hops)


def test_edges_that_cannot_be_had_are_refused() -> None:
    for num_edges in (19, 57):  # 10 of the ring, 10 of the path and 36 pairs that it does not join
        with pytest.raises(ValueError, match=f"num_edges: must be >= 20 and <= 56, .* got {num_edges}"):
            Padded(topology="ring", num_nodes=20, num_edges=num_edges).graph(5)


@pytest.mark.parametrize("inner", [Theta(), Theta(paths=4), Layered(width=2), CrossedRing()], ids=str)
@pytest.mark.parametrize("hops", [2, 3])
def test_pendants_leave_the_way_as_it_is_and_the_source_alone_where_it_stands(inner: Topology, hops: int) -> None:
    """By NetworkX; no symmetry that keeps the read-out moves the source, and the certificate says how many nodes are like it."""
    hung, plain = Decoyed(topology=inner).graph(hops), inner.graph(hops)
    graphs = [to_networkx(data, to_undirected=True) for data in (hung, plain)]
    readout, source = int(plain.readout_index), int(plain.source_index)
    for between in (nx.resistance_distance, nx.edge_connectivity, nx.shortest_path_length):
        assert between(graphs[0], readout, source) == pytest.approx(between(graphs[1], readout, source))
    symmetries = GraphMatcher(graphs[0], graphs[0]).isomorphisms_iter()
    assert {symmetry[source] for symmetry in symmetries if symmetry[readout] == readout} == {source}
    assert pair_facts(hung)["like_source"] == 0


class TwoPlaces(Topology):
    """A ring that asks at two nodes at once."""

    kind: str = "two_places"

    def build(self, hops: int) -> Data:
        graph = Ring().build(hops)
        return Data(**{**graph.to_dict(), "readout_index": torch.tensor([0, 1]), "source_index": torch.tensor([hops, hops + 1])})


@pytest.mark.parametrize("altered", [Decoyed, Noisy])
def test_several_read_outs_are_refused(altered: type[Decoyed | Noisy]) -> None:
    with pytest.raises(ValueError, match="topology: must have one read-out, this two_places has 2"):
        altered(topology=TwoPlaces()).graph(2)


def test_what_is_written_is_read_again() -> None:
    topology = Noisy(topology=Padded(topology="ring", num_nodes=30), num_edges=3, seed=2)
    assert read_topology(write_topology(topology)) == topology
    assert write_topology(topology)["topology"]["topology"] == {"kind": "ring"}


def test_too_few_nodes_and_too_many_edges_are_refused() -> None:
    with pytest.raises(ValueError, match="num_nodes: must be >= 10, what this ring has at 5 hops, got 4"):
        Padded(topology="ring", num_nodes=4).graph(5)
    with pytest.raises(ValueError, match=r"num_edges: must be <= .* got 500"):
        Noisy(topology="ring", num_edges=500).graph(5)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(half=st.integers(1, 5), size=st.integers(2, 7))
def test_a_clique_chain_crosses_a_clique_every_two_hops(half: int, size: int) -> None:
    hops, count = 2 * half + 1, half + 1
    graph = to_networkx(CliqueChain(clique_size=size).graph(hops), to_undirected=True)
    assert (len(graph), graph.number_of_edges()) == (count * size, count * size * (size - 1) // 2 + count - 1)
    far = nx.single_source_shortest_path_length(graph, count * size - 1)
    assert [node for node, hop in far.items() if hop == hops] == list(range(size - 1)) or size == 2
    assert max(far.values()) == hops
    assert len(list(nx.bridges(graph))) == (count - 1 if size > 2 else len(graph) - 1)


def test_the_published_clique_match_has_its_root_five_hops_from_nine_nodes() -> None:
    far = distances(CliqueChain(clique_size=10), 5)
    assert len(far) == 30
    assert sorted(node for node, hop in far.items() if hop == 5) == list(range(9))


def test_an_even_distance_is_refused_on_a_clique_chain() -> None:
    with pytest.raises(ValueError, match="hops: must be odd on a clique_chain"):
        CliqueChain().graph(4)

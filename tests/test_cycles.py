"""Facts about cycles: components by NetworkX, what flags and degrees tell, and what colours cannot."""

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.cycles import CycleOrTwo, SameCycle
from suite.rng import stream
from suite.task import Block


def network(graph: Data) -> nx.Graph:
    return to_networkx(graph, to_undirected=True)


@settings(max_examples=15, deadline=None)
@given(hops=st.integers(2, 9), tokens=st.integers(2, 6))
def test_the_flagged_node_is_connected_and_hops_away_or_not_connected(hops: int, tokens: int) -> None:
    block = SameCycle(hops=hops, num_tokens=tokens).draw(20, stream("test", hops))
    assert block.x.shape == (20, 4 * hops, tokens + 2)
    for graph in block.to_data_list():
        web = network(graph)
        (flagged,), (asked,) = graph.x[:, -2].nonzero()[:, 0].tolist(), graph.x[:, -1].nonzero()[:, 0].tolist()
        assert sorted(map(len, nx.connected_components(web))) == [2 * hops, 2 * hops]
        assert set(dict(web.degree).values()) == {2}
        assert nx.has_path(web, asked, flagged) == bool(graph.y)
        assert not graph.y or nx.shortest_path_length(web, asked, flagged) == hops
        assert [asked] == graph.readout_index.tolist()
        assert not graph.x[asked, :-1].any()
        assert (graph.x[:, :-2].sum(1) == 1).sum() == 4 * hops - 1  # all but the read-out carry one token


@settings(max_examples=15, deadline=None)
@given(hops=st.integers(2, 9), other=st.integers(3, 30))
def test_the_other_cycle_may_have_another_length(hops: int, other: int) -> None:
    block = SameCycle(hops=hops, num_nodes=2 * hops + other).draw(20, stream("test", hops))
    web = network(block.to_data_list()[0])
    assert sorted(map(len, nx.connected_components(web))) == sorted([2 * hops, other])
    assert len(nx.node_connected_component(web, int(block.readout_index))) == 2 * hops
    for x, y in zip(block.x, block.y[:, 0].tolist(), strict=True):
        assert nx.has_path(web, int(block.readout_index), int(x[:, -2].argmax())) == bool(y)
    with pytest.raises(ValueError, match=f"num_nodes: must be >= 2 \\* hops \\+ 3 = {2 * hops + 3}, got {2 * hops + 2}"):
        SameCycle(hops=hops, num_nodes=2 * hops + 2)


def test_propagating_the_flag_for_hops_steps_solves_same_cycle_and_for_one_less_tells_nothing() -> None:
    task = SameCycle(hops=4)
    block = task.draw(400, stream("test"))
    seen = block.x[:, :, -2].clone()
    source, target = block.edge_index
    for _ in range(3):
        seen = seen.index_add(1, target, seen[:, source])
    assert not seen[:, 0].any()
    seen = seen.index_add(1, target, seen[:, source])
    assert torch.equal((seen[:, :1] > 0).long(), block.y)


def test_half_of_the_answers_are_yes_and_the_other_cycle_is_flagged_everywhere() -> None:
    block = SameCycle(hops=3).draw(6000, stream("test"))
    assert float(block.y.double().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 6000**0.5)
    assert SameCycle().chance == 0.5
    flagged = block.x[:, :, -2].argmax(1)
    assert set(flagged.tolist()) == {3, *range(6, 12)}


def test_twins_tell_the_answer_to_a_node_or_to_a_set() -> None:
    task = SameCycle(hops=3)
    told, shown = task.answer_twin().draw(50, stream("test")), task.content_twin().draw(50, stream("test"))
    assert isinstance(told, Block)
    assert isinstance(shown, Block)
    assert torch.equal(told.x[:, 0, -2:].argmax(1), told.y[:, 0])
    assert torch.equal((shown.x[:, :, -1] * shown.x[:, :, -3]).sum(1).long(), shown.y[:, 0])


@settings(max_examples=15, deadline=None)
@given(least=st.integers(6, 12), more=st.integers(0, 6))
def test_one_cycle_or_a_triangle_and_the_rest(least: int, more: int) -> None:
    task, rng = CycleOrTwo(min_nodes=least, max_nodes=least + more), stream("test", least)
    for _ in range(20):
        graph = task.sample(rng)
        n, web = graph.num_nodes, network(graph)
        assert least <= n <= least + more
        assert sorted(map(len, nx.cycle_basis(web))) == ([3, n - 3] if graph.y[0] else [n])
        assert graph.y.unique().numel() == 1
        assert graph.readout_index.tolist() == list(range(n))


def test_weisfeiler_leman_cannot_tell_one_cycle_from_two() -> None:
    rng = stream("test")
    task = CycleOrTwo(min_nodes=9, max_nodes=9)
    found = {}
    for graph in (task.sample(rng) for _ in range(20)):
        web = network(graph)
        nx.set_node_attributes(web, "1", "x")  # as all nodes have it
        found[int(graph.y[0])] = nx.weisfeiler_lehman_graph_hash(web, node_attr="x")
    assert set(found) == {0, 1}
    assert found[0] == found[1]


def test_sizes_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="max_nodes: must be >= min_nodes = 8, got 7"):
        CycleOrTwo(min_nodes=8, max_nodes=7)

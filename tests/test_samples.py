"""Samples told apart up to node order, against counts worked out by hand and NetworkX."""

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx, to_undirected

from suite.samples import UP_TO_ORDER, content, graph_faults, hashes, linear_hash, randomness_faults
from suite.task import Block


def ring(num_nodes: int) -> torch.Tensor:
    node = torch.arange(num_nodes)
    return to_undirected(torch.stack([node, node.roll(-1)]))


def transfer_block(hops: int, num_graphs: int, num_classes: int = 5, seed: int = 0) -> Block:
    """Ring transfer by content: random classes on all nodes but the read-out, one flag at each end."""
    y = torch.randint(num_classes, (num_graphs, 2 * hops), generator=torch.Generator().manual_seed(seed))
    x = F.pad(F.one_hot(y, num_classes).float(), (0, 2))
    x[:, 0] = 0
    x[:, 0, -1] = x[:, hops, -2] = 1
    return Block(ring(2 * hops), x, y[:, hops : hops + 1], torch.tensor([0]), torch.tensor([hops]))


def relabelled(graph: Data, seed: int) -> Data:
    order = torch.randperm(graph.num_nodes, generator=torch.Generator().manual_seed(seed))
    place = order.argsort()
    return Data(x=graph.x[order], edge_index=place[graph.edge_index], y=graph.y, readout_index=place[graph.readout_index])


@pytest.mark.parametrize(("hops", "share"), [(2, 0.04), (3, 0.57), (4, 0.97), (5, 1.00)])
def test_distinct_share_of_small_rings_is_the_expected_one(hops: int, share: float) -> None:
    """Mirror images are one input: at 2 hops 5 * 15 = 75 of 125, so that 2,000 draws hold .0375 of their number."""
    found = hashes([transfer_block(hops, 2000)])
    assert torch.unique(found.inputs).numel() / 2000 == pytest.approx(share, abs=0.01)
    assert torch.unique(found.structures).numel() == 1


def test_renumbered_graphs_are_one_input_and_a_moved_token_is_another() -> None:
    graph = transfer_block(4, 1).to_data_list()[0]
    moved = graph.clone()
    moved.x = graph.x[torch.tensor([0, 2, 1, 3, 4, 5, 6, 7])]
    assert not torch.equal(moved.x, graph.x)
    found = hashes([[graph, relabelled(graph, 1), moved]])
    assert found.inputs[0] == found.inputs[1] != found.inputs[2]
    assert found.features[0] == found.features[2]


def test_where_the_answer_is_read_is_part_of_the_input() -> None:
    x, y = torch.eye(6), torch.zeros(1, dtype=torch.long)
    asked = [Data(x=x, edge_index=ring(6), y=y, readout_index=torch.tensor([node])) for node in (0, 1, 1)]
    assert torch.unique(hashes([asked]).inputs).numel() == 2


def test_trees_of_seven_nodes_fall_into_eleven_classes_under_any_numbering() -> None:
    """1-WL identifies every tree, and there are 11 trees of 7 nodes (Cayley, 1875)."""
    trees = list(nx.nonisomorphic_trees(7))
    graphs = [from_networkx(tree) for tree in trees for _ in range(3)]
    for graph in graphs:
        graph.x, graph.y, graph.readout_index = torch.ones(7, 1), torch.zeros(7), torch.arange(7)
    found = hashes([[relabelled(graph, seed) for seed, graph in enumerate(graphs)]]).structures.view(11, 3)
    assert torch.unique(found).numel() == 11
    assert bool((found == found[:, :1]).all())


def test_a_hexagon_and_two_triangles_are_one_to_the_hash_as_to_every_message_passing_net() -> None:
    triangles = torch.cat([ring(3), ring(3) + 3], dim=1)
    pair = [
        Data(x=torch.ones(6, 1), edge_index=edges, y=torch.zeros(6), readout_index=torch.arange(6))
        for edges in (ring(6), triangles)
    ]
    assert torch.unique(hashes([pair]).inputs).numel() == 1


@pytest.mark.parametrize("hops", [4, UP_TO_ORDER])
def test_blocks_and_lists_are_hashed_alike_and_across_blocks(hops: int) -> None:
    block = transfer_block(hops, 8)
    found = hashes([block, block.to_data_list(), transfer_block(hops, 8, seed=1)])
    for part in found:
        assert torch.equal(part[:8], part[8:16])
    assert torch.unique(found.inputs).numel() == 16


def test_rows_with_equal_sums_and_signed_zeros_are_told_apart_by_value() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -0.0], [0.5, 0.5]])
    found = linear_hash(x)
    assert found[0] == found[2]
    assert torch.unique(found).numel() == 3


def test_faults_of_a_graph_are_found_by_name() -> None:
    edges = torch.tensor([[0, 1, 1, 2, 2, 2], [1, 0, 2, 1, 1, 2]])
    graph = Data(edge_index=edges, num_nodes=4, readout_index=torch.tensor([0]), source_index=torch.tensor([2]))
    assert set(graph_faults(graph, 3)) == {"duplicate edges", "self-loops", "disconnected", "hops"}
    assert "2 hops" in graph_faults(graph, 3)["hops"]
    one_way = Data(edge_index=edges[:, :1], num_nodes=2, readout_index=torch.tensor([0]))
    assert set(graph_faults(one_way, None)) == {"directed"}
    assert not graph_faults(
        Data(edge_index=ring(6), num_nodes=6, readout_index=torch.tensor([0]), source_index=torch.tensor([3])), 3
    )


def test_distances_are_read_pair_by_pair_or_to_the_nearest_read_out() -> None:
    path = torch.tensor([[0, 1, 2, 1, 2, 3], [1, 2, 3, 0, 1, 2]])
    pairs = Data(edge_index=path, num_nodes=4, readout_index=torch.tensor([0, 3]), source_index=torch.tensor([2, 1]))
    assert not graph_faults(pairs, 2)
    many = Data(edge_index=path, num_nodes=4, readout_index=torch.tensor([1]), source_index=torch.tensor([0, 2]))
    assert not graph_faults(many, 1)
    assert "hops" in graph_faults(many, 2)


def test_content_tells_one_changed_bit_and_another_dtype() -> None:
    block, same = transfer_block(3, 2), transfer_block(3, 2)
    assert content(block) == content(same)
    same.x[0, 0, 0] += 1
    assert content(block) != content(same)
    block.y, other = block.y.int(), content(block)
    assert content(block) != other


def test_whatever_a_draw_takes_from_elsewhere_is_said() -> None:
    assert not randomness_faults(lambda: transfer_block(3, 2))
    said = randomness_faults(lambda: transfer_block(3, 2, seed=int(torch.randint(10**6, ()))))
    assert any("global random state of torch" in fault for fault in said)
    assert any("two draws" in fault for fault in said)


def test_looking_at_draws_leaves_global_randomness_and_threads_as_they_were() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    randomness_faults(lambda: transfer_block(3, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads

"""Facts about NeighborsMatch: keys, their leaves, and the class that is asked for."""

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.neighbors_match import NeighborsMatch
from datasets.tree import Tree
from suite.rng import stream
from suite.task import Block

K = 5


def drawn(task: NeighborsMatch, num_graphs: int = 100) -> Block:
    return task.draw(num_graphs, stream("test"))


@pytest.mark.parametrize(("arity", "hops", "crowding"), [(2, 3, 3), (2, 2, 0), (3, 2, 8), (2, 4, 5)])
def test_the_answer_stands_at_the_one_leaf_with_the_key_of_the_root(arity: int, hops: int, crowding: int) -> None:
    task = NeighborsMatch(topology=Tree(arity=arity), hops=hops, crowding=crowding)
    block = drawn(task)
    for x, y in zip(block.x, block.y, strict=True):
        keys = x[:, K:-1]
        carriers = keys[1:].any(1).nonzero().flatten() + 1
        assert torch.equal(carriers, block.source_index)
        assert keys[carriers].argmax(1).unique().numel() == crowding + 1  # all different
        (asked,) = [v for v in carriers.tolist() if torch.equal(keys[v], keys[0])]
        assert x[asked, :K].argmax() == y
    assert (block.x[:, 1:, :K].sum(2) == 1).all()
    assert not block.x[:, 0, :K].any()
    assert block.x[:, :, -1].nonzero()[:, 1].eq(0).all()
    assert block.x.size(2) == K + 2 * (crowding + 1) + 1


@pytest.mark.parametrize("hops", [2, 3, 5])
def test_distance_and_number_of_keys_are_two_knobs(hops: int) -> None:
    for crowding in (0, 3):
        block = drawn(NeighborsMatch(hops=hops, crowding=crowding))
        tree = to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)
        assert nx.is_isomorphic(tree, nx.balanced_tree(2, hops))
        distance = nx.single_source_shortest_path_length(tree, 0)
        assert [distance[v] for v in block.source_index.tolist()] == [hops] * (crowding + 1)


def test_marked_leaves_are_spread_over_the_tree() -> None:
    leaves = drawn(NeighborsMatch(hops=3, crowding=1)).source_index
    assert leaves.tolist() == [7, 11]  # the first leaf of either half


def test_directed_edges_lead_to_the_root_only() -> None:
    block = drawn(NeighborsMatch(hops=3, directed=True))
    tree = nx.DiGraph(block.edge_index.t().tolist())
    assert tree.number_of_edges() == 14
    assert all(tree.out_degree(v) == 1 for v in tree if v != 0)
    assert nx.ancestors(tree, 0) == set(range(1, 15))


def test_every_key_of_the_alphabet_and_every_marked_leaf_comes_up() -> None:
    block = drawn(NeighborsMatch(hops=2, crowding=2, num_keys=7), 2000)
    assert block.x[:, 0, K:-1].sum(0).min() > 0
    shown = (block.x[:, block.source_index, K:-1] * block.x[:, :1, K:-1]).sum(2)  # [graphs, marked]
    expected = 2000 / 3
    assert (shown.sum(0) - expected).abs().max() < 5 * expected**0.5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"crowding": 4, "hops": 2}, "crowding: must be < 4, the nodes 2 hops away on this tree, got 4"),
        ({"crowding": 3, "num_keys": 3}, "num_keys: must be > crowding = 3, got 3"),
        ({"hops": 0}, "hops: must be >= 1 on a tree, got 0"),
        ({"topology": "ring"}, "crowding: must be < 1, the nodes 3 hops away on this ring, got 3"),
    ],
)
def test_what_cannot_be_asked_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NeighborsMatch(**fields)


def test_a_stream_gives_the_same_graphs_again_and_leaves_global_randomness_alone() -> None:
    before, task = torch.get_rng_state(), NeighborsMatch()
    first, again = drawn(task), drawn(task)
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.y, again.y)
    assert torch.equal(before, torch.get_rng_state())

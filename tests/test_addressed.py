"""Facts about addressed leaf and mixed transfer: the answer by walking, and what a set of nodes is left to guess."""

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.addressed_leaf import AddressedLeaf
from datasets.mixed_transfer import MixedTransfer
from datasets.neighbors_match import NeighborsMatch
from datasets.path import Path
from datasets.transfer import Transfer
from suite.certify import CERTIFIED, CONTENT, certify
from suite.rng import stream
from suite.study import TaskSpec
from suite.task import Block, Task
from suite.views import Extrapolated, task_ref

K = 5


def drawn(task: Task, num_graphs: int) -> Block:
    block = task.draw(num_graphs, stream("test"))
    assert isinstance(block, Block)
    return block


def network(block: Block) -> nx.Graph:
    return to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)


@pytest.mark.parametrize("hops", [2, 3, 5])
def test_the_way_that_the_root_shows_leads_to_the_answer(hops: int) -> None:
    block = drawn(AddressedLeaf(hops=hops), 40)
    web, far = network(block), nx.single_source_shortest_path_length(network(block), 0)
    for x, y in zip(block.x, block.y, strict=True):
        node = 0
        for step in x[0, K + 2 : K + 2 + hops].tolist():
            wanted = [0, 1] if step > 0 else [1, 0]
            (node,) = [below for below in web[node] if far[below] > far[node] and x[below, K : K + 2].tolist() == wanted]
        assert far[node] == hops
        assert x[node, :K].argmax() == y
    assert not block.x[:, 0, : K + 2].any()


def test_a_set_of_nodes_knows_the_last_step_and_half_of_the_leaves() -> None:
    """Chance of the commonest class among the leaves of the right side, by counting."""
    task = AddressedLeaf(hops=4)
    block = drawn(task, 4000)
    leaves, last = block.source_index, (block.x[:, 0, K + 5] > 0).long()  # the last of four steps
    sides = block.x[:, leaves, K + 1].long()
    mine = (sides == last[:, None]).unsqueeze(2) * block.x[:, leaves, :K]
    found = mine.sum(1).argmax(1)
    assert float((found == block.y[:, 0]).double().mean()) == pytest.approx(task.chance, abs=0.03)


@pytest.mark.parametrize(("hops", "crowding"), [(2, 1), (4, 3), (5, 15)])
def test_so_many_leaves_of_the_side_of_the_last_step_carry_a_class_and_no_others(hops: int, crowding: int) -> None:
    task = AddressedLeaf(hops=hops, crowding=crowding)
    block = drawn(task, 4000)
    tokens, last = block.x[:, block.source_index, :K], (block.x[:, 0, K + 1 + hops] > 0).long()
    carry = tokens.any(2)
    assert (carry.sum(1) == crowding + 1).all()
    assert torch.equal(carry & (block.x[:, block.source_index, K + 1] != last[:, None]), torch.zeros_like(carry))
    assert carry.any(0).all()
    guess = tokens.sum(1).argmax(1)
    assert float((guess == block.y[:, 0]).double().mean()) == pytest.approx(task.chance, abs=0.03)


def test_more_leaves_than_a_side_has_are_refused() -> None:
    with pytest.raises(ValueError, match="crowding: must be < 8, the leaves on a side at 4 hops, got 8"):
        AddressedLeaf(hops=4, crowding=8)


def test_addressed_leaf_can_be_asked_deeper_than_it_was_trained() -> None:
    """The same columns at both depths: way after way, 0 below the leaves."""
    task = Extrapolated(seen=task_ref(AddressedLeaf(hops=5, max_hops=6)), trained={"hops": 3})
    for split, hops in (("train", 3), ("validation", 3), ("test", 5)):
        block = task.at(split, 0).draw(20, stream(split))  # type: ignore[arg-type]
        assert isinstance(block, Block)
        assert block.num_nodes == 2 ** (hops + 1) - 1
        assert block.x.size(2) == K + 2 + 6 + 1
        way = block.x[:, 0, K + 2 : -1]
        assert (way[:, :hops].abs() == 1).all()
        assert not way[:, hops:].any()


def test_a_way_longer_than_its_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="hops: must be <= max_hops = 4, got 5"):
        AddressedLeaf(hops=5, max_hops=4)


@pytest.mark.parametrize("topology", [Path(tail=0), "ring", "tree"], ids=str)
def test_the_flagged_node_at_the_distance_that_is_told_is_asked_for(topology: object) -> None:
    task = MixedTransfer(topology=topology, least=2, hops=5, size=6, max_hops=8)
    block = drawn(task, 60)
    far = nx.single_source_shortest_path_length(network(block), int(block.readout_index))
    asked = set()
    for x, y in zip(block.x, block.y, strict=True):
        told = int(x[block.readout_index[0], K + 1 : -1].argmax()) + 1
        flagged = x[:, K].nonzero().flatten().tolist()
        assert sorted(far[node] for node in flagged) == [2, 3, 4, 5]
        (node,) = [node for node in flagged if far[node] == told]
        assert x[node, :K].argmax() == y
        asked.add(told)
    assert asked == {2, 3, 4, 5}


def test_mixed_transfer_can_be_asked_beyond_what_it_was_trained_on() -> None:
    task = Extrapolated(seen=task_ref(MixedTransfer(least=5, hops=8)), trained={"least": 1, "hops": 4})
    told = {}
    for split in ("train", "test"):
        block = task.at(split, 0).draw(200, stream(split))  # type: ignore[arg-type]
        assert isinstance(block, Block)
        told[split] = set((block.x[:, block.readout_index[0], K + 1 : -1].argmax(1) + 1).tolist())
    assert told == {"train": {1, 2, 3, 4}, "test": {5, 6, 7, 8}}


@pytest.mark.parametrize("topology", ["ring", "tree"], ids=str)
def test_by_content_one_key_stands_at_each_distance_and_the_distance_of_the_wanted_one_is_told(topology: str) -> None:
    task = MixedTransfer(topology=topology, addressing="content", hops=4, size=5, max_hops=6)
    block, holders = drawn(task, 200), set()
    far = nx.single_source_shortest_path_length(network(block), int(block.readout_index))
    asked = []
    for x, y in zip(block.x, block.y, strict=True):
        keys, root = x[:, K : K + 6], int(block.readout_index)
        carried = {node: int(keys[node].argmax()) for node in keys.sum(1).nonzero().flatten().tolist()}
        wanted = carried.pop(root)
        assert sorted(far[node] for node in carried) == [1, 2, 3, 4]
        assert len(set(carried.values())) == 4  # no key twice
        (holder,) = [node for node, key in carried.items() if key == wanted]
        assert x[holder, :K].argmax() == y
        assert not x[root, :K].any()
        told = x[:, K + 6 : -1].nonzero().tolist()
        assert told == [[root, far[holder] - 1]]
        asked.append(far[holder])
        holders.add((holder, wanted))
    assert set(asked) == {1, 2, 3, 4}
    assert len(holders) > 4 * 6  # as many as keys and distances alone would make, were a distance one node
    assert task.chance == 1 / K


@pytest.mark.parametrize("addressing", ["position", "content"])
def test_one_distance_alone_can_be_asked_of_what_is_trained_on_all(addressing: str) -> None:
    task = MixedTransfer(addressing=addressing, hops=4, asked=3)
    assert (task.range, MixedTransfer(addressing=addressing).range) == (3, None)
    view, told = Extrapolated(seen=task_ref(task), trained={"asked": None}), {}
    for split in ("train", "test"):
        block = view.at(split, 0).draw(200, stream(split))  # type: ignore[arg-type]
        assert isinstance(block, Block)
        told[split] = set((block.x[:, block.readout_index[0], -11:-1].argmax(1) + 1).tolist())
    assert told == {"train": {1, 2, 3, 4}, "test": {3}}
    with pytest.raises(ValueError, match="asked: must be >= least = 1 and <= hops = 4, got 5"):
        MixedTransfer(addressing=addressing, hops=4, asked=5)


def test_a_study_says_none_of_a_field_in_training() -> None:
    assert TaskSpec.model_validate({"kind": "mixed_transfer", "asked": 3, "train": {"asked": "none"}}).train == {"asked": None}


def test_distances_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"hops: must be > least = 1, <= max_hops = 4 and <= size = 10, got 5"):
        MixedTransfer(max_hops=4)


def test_degrees_do_not_tell_which_flag_is_how_far() -> None:
    """The end of a path, and the leaves of a tree, are the only nodes of degree 1 and so could be told."""
    for topology in ({"kind": "path", "tail": 0}, "tree"):
        with pytest.raises(ValueError, match=r"hops: at each of the distances 1 \.\.\. 5 there must be a node of one degree"):
            MixedTransfer(topology=topology, hops=5, size=5)
    block = drawn(MixedTransfer(topology="caterpillar", hops=4, size=8), 60)
    flagged = block.x[:, :, K].nonzero()[:, 1]
    assert len({network(block).degree(int(node)) for node in flagged}) == 1


def test_columns_of_keys_are_apart_from_the_keys_that_are_carried() -> None:
    few, many = (drawn(Transfer(crowding=crowding, num_keys=6), 20) for crowding in (1, 5))
    assert few.x.size(2) == many.x.size(2) == K + 6 + 1
    for block, crowding in ((few, 1), (many, 5)):
        carried = block.x[:, 1:, K : K + 6]  # the ring's read-out is node 0
        assert carried.sum((1, 2)).eq(crowding + 1).all()
        wanted = block.x[:, 0, K : K + 6]
        assert torch.equal((carried * wanted[:, None]).sum(2).argmax(1) + 1, block.source_index.expand(20))
    with pytest.raises(ValueError, match="num_keys: must be > crowding = 3, got 2"):
        Transfer(crowding=3, num_keys=2)
    with pytest.raises(ValueError, match="num_keys: belongs to addressing by content"):
        Transfer(addressing="position", num_keys=4)


def test_cliques_are_matched_by_nodes_of_the_last_one() -> None:
    block = drawn(NeighborsMatch(topology={"kind": "clique_chain", "clique_size": 6}, hops=5, crowding=4), 10)
    far = nx.single_source_shortest_path_length(network(block), int(block.readout_index))
    assert block.source_index.numel() == 5
    assert {far[node] for node in block.source_index.tolist()} == {5}
    with pytest.raises(ValueError, match="crowding: must be < 5, the nodes 5 hops away on this clique_chain, got 5"):
        NeighborsMatch(topology={"kind": "clique_chain", "clique_size": 6}, hops=5, crowding=5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    [AddressedLeaf(), AddressedLeaf(hops=5), AddressedLeaf(hops=5, crowding=3), MixedTransfer(), MixedTransfer(asked=3)],
    ids=lambda t: t.title,
)
def test_addressed_by_position_is_certified(task: Task) -> None:
    assert certify(task)["verdict"] == CERTIFIED


@pytest.mark.slow
def test_a_lookup_by_key_is_content_addressed_and_nothing_else() -> None:
    assert certify(MixedTransfer(topology="ring", addressing="content", size=5))["tags"] == [CONTENT]

"""Facts about ordered path: the answer by walking a NetworkX path, what a missing element leaves, and what degrees give away."""

import itertools
from typing import Any, get_args

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.caterpillar import Caterpillar
from datasets.ordered_path import Group, OrderedPath, OrderedPathComposed, OrderedTokens
from datasets.path import Path
from datasets.tree import Tree
from suite.certify import CERTIFIED, LOCAL, certify
from suite.controls import graph_blind
from suite.rng import stream
from suite.task import Block, Topology

PERMUTATIONS = list(itertools.permutations(range(3)))
TOPOLOGIES: list[Topology] = [Path(tail=4), Caterpillar(tail=3), Tree(), Caterpillar(joints=2, tail=2)]


def draw(task: OrderedPath, num_graphs: int) -> Block:
    block = task.draw(num_graphs, stream("test"))
    assert isinstance(block, Block)
    return block


def way(block: Block) -> list[int]:
    """The nodes behind the read-out on the way to the source, nearest first."""
    graph = to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)
    (path,) = nx.all_shortest_paths(graph, int(block.readout_index), int(block.source_index))
    return list(path[1:])


@pytest.mark.parametrize("hops", [2, 3, 6])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda t: f"{t.kind}")
def test_the_parity_is_that_of_the_bits_on_the_way(topology: Topology, hops: int) -> None:
    block = draw(OrderedPath(topology=topology, hops=hops), 50)
    assert len(way(block)) == hops
    assert torch.equal(block.x[:, way(block), 1].sum(1) % 2, block.y[:, 0].float())


@pytest.mark.parametrize("hops", [2, 3, 6])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda t: f"{t.kind}")
def test_permutations_are_applied_from_the_read_out_to_the_source(topology: Topology, hops: int) -> None:
    block = draw(OrderedPath(topology=topology, group="s3", hops=hops), 50)
    for x, y in zip(block.x, block.y, strict=True):
        thing = (0, 1, 2)
        for node in way(block):
            element = PERMUTATIONS[int(x[node, :6].argmax())]
            thing = tuple(element[place] for place in thing)  # type: ignore[assignment]
        assert PERMUTATIONS[int(y)] == thing


@pytest.mark.parametrize("group", ["parity", "s3"])
def test_all_nodes_but_the_read_out_carry_an_element_and_one_has_the_flag(group: Any) -> None:
    block, order = draw(OrderedPath(group=group), 40), 2 if group == "parity" else 6
    carried = block.x[:, :, :order].sum(2)
    assert carried.sum(1).tolist() == [block.num_nodes - 1] * 40
    assert carried[:, block.readout_index].sum() == 0
    assert torch.equal(block.x[:, :, order].argmax(1), block.source_index.expand(40))
    assert torch.equal(block.x[:, :, order + 1].argmax(1), block.readout_index.expand(40))


@pytest.mark.parametrize("group", ["parity", "s3"])
@pytest.mark.parametrize("place", range(4))
def test_the_answer_is_uniform_given_all_elements_but_one_of_the_way(group: Any, place: int) -> None:
    """Multiplying by each element of a group gives each element once."""
    task = OrderedPath(group=group, hops=4)
    block, order = draw(task, 1), task.out_channels
    several = block.x.repeat(order, 1, 1)
    several[:, way(block)[place], :order] = torch.eye(order)
    found = task.witness(Block(block.edge_index, several, block.y, block.readout_index))
    assert sorted(found.argmax(2).flatten().tolist()) == list(range(order))


@pytest.mark.parametrize(("topology", "hops"), [(Path(tail=2), 2), (Path(tail=3), 4), (Tree(), 3), (Caterpillar(tail=2), 3)])
def test_chance_is_the_best_guess_from_ones_by_degree(topology: Topology, hops: int) -> None:
    """All bits are tried: the source's is known, of the others how many ones each degree holds."""
    task = OrderedPath(topology=topology, hops=hops)
    block = draw(task, 1)
    graph = to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)
    source, readout, on = int(block.source_index), int(block.readout_index), way(block)
    free = [node for node in graph if node not in (readout, source)]
    classes = sorted({graph.degree[node] for node in free})
    counts: dict[tuple[int, ...], list[int]] = {}
    for bits in itertools.product((0, 1), repeat=len(free)):
        known = tuple(sum(b for b, node in zip(bits, free, strict=True) if graph.degree[node] == d) for d in classes)
        answer = sum(b for b, node in zip(bits, free, strict=True) if node in on) % 2
        counts.setdefault(known, [0, 0])[answer] += 1
    assert task.chance == pytest.approx(sum(map(max, counts.values())) / 2 ** len(free))


def test_the_twin_for_sets_has_the_answer_at_the_source() -> None:
    task = OrderedPath(group="s3").content_twin()
    assert isinstance(task, OrderedPathComposed)
    block = draw(task, 30)
    assert torch.equal(block.x[:, block.source_index, :6].argmax(2), block.y)


def test_a_way_that_is_not_the_only_one_is_refused() -> None:
    with pytest.raises(ValueError, match="must have one shortest way to the source, of 5 hops; this ring has several"):
        OrderedPath(topology="ring")


def test_a_way_that_degrees_show_is_refused() -> None:
    with pytest.raises(ValueError, match="must have nodes off the way of the same degree as nodes on it"):
        OrderedPath(topology=Path(tail=0))


@pytest.mark.parametrize("group", get_args(Group))
def test_the_bare_list_has_the_elements_of_the_way_in_their_order_and_nothing_else(group: Any) -> None:
    asked = {"topology": Path(tail=4), "group": group, "hops": 4}
    path, tokens = (cls(**asked).draw(30, stream("test")) for cls in (OrderedPath, OrderedTokens))
    far = nx.single_source_shortest_path_length(nx.Graph(path.edge_index.T.tolist()), int(path.readout_index))
    (way,) = nx.all_shortest_paths(nx.Graph(path.edge_index.T.tolist()), int(path.source_index), int(path.readout_index))
    assert [far[node] for node in way] == [4, 3, 2, 1, 0]
    order = OrderedPath(**asked).out_channels
    assert torch.equal(tokens.x[:, path.readout_index[0]], path.x[:, way[:-1], :order].flatten(1))
    assert tokens.x.sum() == 4 * 30
    assert torch.equal(tokens.y, path.y)


def test_an_mlp_composes_the_bare_list_so_that_the_graph_is_to_blame() -> None:
    """The ordered elements side by side, at the same budget as the graph-blind control, which fails the task itself."""
    assert graph_blind(OrderedTokens(hops=3)).score > 0.9
    assert graph_blind(OrderedPath(hops=3)).score < 0.6


@pytest.mark.parametrize(
    ("group", "hops", "learned"), [("parity", 5, True), ("parity", 8, False), ("s3", 2, True), ("s3", 4, False)]
)
def test_how_long_a_list_an_mlp_composes_is_what_the_page_says(group: Any, hops: int, learned: bool) -> None:
    assert graph_blind(OrderedTokens(group=group, hops=hops)).solved is learned


@pytest.mark.slow
@pytest.mark.parametrize("hops", [3, 5, 8])
@pytest.mark.parametrize("group", ["parity", "s3"])
def test_ordered_path_is_certified(group: Any, hops: int) -> None:
    found = certify(OrderedPath(group=group, hops=hops))
    assert found["verdict"] == CERTIFIED, found


@pytest.mark.slow
def test_the_bare_list_is_local_by_design() -> None:
    assert certify(OrderedTokens(hops=5))["verdict"] == LOCAL

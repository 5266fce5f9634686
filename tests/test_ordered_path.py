"""Facts about ordered path: the answer by walking a NetworkX path, what a missing element leaves, and what degrees give away."""

import itertools
import re
from typing import Any, get_args

import networkx as nx
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import binom
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.caterpillar import Caterpillar
from datasets.network import Network
from datasets.ordered_path import Group, OrderedPath, OrderedPathComposed, OrderedTokens
from datasets.path import Path
from datasets.transfer import Transfer
from datasets.tree import Tree
from suite import controls
from suite.certify import CERTIFIED, LOCAL, UNLEARNED, _listed, certify
from suite.controls import BareList, ListReader, graph_blind
from suite.rng import stream
from suite.task import Block, Task, Topology
from suite.verdicts import barred_by
from suite.views import Extrapolated, task_ref

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


@pytest.mark.parametrize("tail", [4, 30, 700])
def test_chance_amid_any_number_of_nodes_of_one_degree_is_known(tail: int) -> None:
    """Of 2 tail bits, s of them ones, two are on the way: they differ as often as two drawn without replacement do."""
    n, ones = 2 * tail, torch.arange(2 * tail + 1).double()
    alike = (ones * (ones - 1) + (n - ones) * (n - ones - 1)) / (n * (n - 1))
    weight = torch.from_numpy(binom.pmf(ones.numpy(), n, 0.5))
    expected = float((weight * torch.maximum(alike, 1 - alike)).sum())
    assert OrderedPath(topology=Path(tail=tail), hops=3).chance == pytest.approx(expected, rel=1e-9)


def test_a_network_with_several_ways_at_one_of_its_places_is_refused_with_that_reason() -> None:
    with pytest.raises(ValidationError, match="must have one shortest way to the source, of 16 hops; this network has several"):
        OrderedPath(topology=Network(name="minnesota_road"), hops=16)


def test_the_twin_for_sets_has_the_answer_at_the_source() -> None:
    task = OrderedPath(group="s3").content_twin()
    assert isinstance(task, OrderedPathComposed)
    block = draw(task, 30)
    assert torch.equal(block.x[:, block.source_index, :6].argmax(2), block.y)


def test_a_way_that_is_not_the_only_one_is_refused() -> None:
    with pytest.raises(ValueError, match="must have one shortest way to the source, of 5 hops; this ring has several"):
        OrderedPath(topology="ring")


@pytest.mark.parametrize("cls", [OrderedPath, OrderedTokens])
def test_two_hops_are_the_least_and_can_be_asked(cls: type[OrderedPath]) -> None:
    """At one hop the flagged node's element is the answer: `hops` itself says that this is too few."""
    assert cls(hops=2).draw(3, stream("test")).y.shape == (3, 1)
    with pytest.raises(ValidationError) as refused:
        cls(hops=1)
    assert [(fault["loc"], fault["type"]) for fault in refused.value.errors()] == [(("hops",), "greater_than_equal")]


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


def test_training_on_lists_goes_through_all_lengths_and_the_test_asks_the_longest() -> None:
    view = BareList(seen=task_ref(OrderedPath(topology=Caterpillar(tail=3), group="s3", hops=4)))
    for split, lengths in (("train", [2, 3, 4, 2, 3, 4]), ("validation", [4, 4]), ("test", [4, 4])):
        for index, length in enumerate(lengths):
            block = view.at(split, index).draw(20, stream("test", index))  # type: ignore[arg-type]
            assert isinstance(block, Block)
            assert (block.edge_index.numel(), block.x.shape) == (0, (20, 1, 4 * 6))
            for x, y in zip(block.x.view(20, 4, 6), block.y, strict=True):
                assert x.sum(1).tolist() == [1] * length + [0] * (4 - length)
                thing = (0, 1, 2)
                for element in reversed(x[:length].argmax(1).tolist()):  # listed from the source on, applied from the read-out
                    thing = tuple(PERMUTATIONS[element][place] for place in thing)  # type: ignore[assignment]
                assert PERMUTATIONS[int(y)] == thing


def test_a_list_is_read_one_element_after_another() -> None:
    torch.manual_seed(0)
    reader = ListReader(4 * 3, 5, 1, 2, steps=4)
    x = torch.randn(7, 12)
    x[2, 6:] = 0
    h = [reader.start for _ in range(7)]
    for node in range(7):
        for element in x[node].view(4, 3):
            step = h[node] + sum(element[c] * reader.maps.weight[5 * c : 5 * c + 5] @ h[node] for c in range(3))
            h[node] = step / step.norm() * 5**0.5
    states = reader.encode(x, torch.empty(2, 0, dtype=torch.long))
    torch.testing.assert_close(states[-1], torch.stack(h))
    shorter = ListReader(2 * 3, 5, 1, 2, steps=2)
    shorter.load_state_dict(reader.state_dict())
    edge_index = torch.empty(2, 0, dtype=torch.long)
    torch.testing.assert_close(shorter(x[:, :6], edge_index)[2], reader(x, edge_index)[2])


@pytest.mark.parametrize("hops", [3, *(pytest.param(hops, marks=pytest.mark.slow) for hops in (6, 8, 10))])
@pytest.mark.parametrize("group", get_args(Group))
def test_a_recurrent_net_learns_the_bare_list_so_that_the_graph_is_to_blame(group: Any, hops: int) -> None:
    found = _listed(OrderedPath(group=group, hops=hops))
    assert found.passed
    assert found.tag is None
    assert "the sequence itself is learnable" in found.detail
    (score,) = re.findall(r"a recurrent net ([\d.]+\d)", found.detail)
    assert float(score) > 0.98


def test_what_the_budget_is_too_small_to_learn_is_no_fault_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "LIST_BUDGET", controls.LIST_BUDGET.model_copy(update={"max_steps": 2}))
    found = _listed(OrderedPath(group="s3", hops=3))
    assert (found.passed, found.tag) == (False, UNLEARNED)
    assert "it is not learnable, so that the graph is not to blame" in found.detail


class Tossed(OrderedTokens):
    """A list with an answer that it says nothing of."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        block.y = torch.randint(2, block.y.shape, generator=rng)
        return block


class UnlearnedPath(OrderedPath):
    """Its lists are not what it composes."""

    def bare_lists(self) -> list[Task]:
        return [Tossed(hops=hops) for hops in (2, 3)]


@pytest.mark.slow
def test_a_task_whose_list_is_not_learned_is_not_certified_and_bars_conclusions_about_distance() -> None:
    found = certify(UnlearnedPath(hops=3))
    assert (found["verdict"], found["tags"]) == (UNLEARNED, [UNLEARNED])
    assert barred_by({"task": found["task"]}, found) == UNLEARNED


def test_only_who_composes_in_an_order_has_lists_also_when_trained_nearer() -> None:
    assert not Transfer().bare_lists()
    assert [task.range for task in OrderedPath(hops=4).bare_lists()] == [0, 0, 0]
    far = Extrapolated(seen=task_ref(OrderedPath(hops=4)), trained={"hops": 3})
    assert [task.hops for task in far.bare_lists()] == [2, 3, 4]  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("hops", [3, 5, 8])
@pytest.mark.parametrize("group", ["parity", "s3"])
def test_ordered_path_is_certified(group: Any, hops: int) -> None:
    found = certify(OrderedPath(group=group, hops=hops))
    assert found["verdict"] == CERTIFIED, found
    (listed,) = [check for check in found["checks"] if check["id"] == "K14"]
    assert listed["passed"]


@pytest.mark.slow
def test_the_bare_list_is_local_by_design() -> None:
    assert certify(OrderedTokens(hops=5))["verdict"] == LOCAL

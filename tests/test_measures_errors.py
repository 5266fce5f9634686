"""Facts about errors by distance: of models whose answers are known to be wrong by so much."""

from collections import Counter
from typing import Any, ClassVar

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.distances import Distances
from datasets.published import PublishedDistances
from datasets.random_tree import RandomTree
from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.measures import MEASURES
from suite.measures.draws import draw
from suite.task import Loss, Task
from suite.views import Extrapolated, task_ref

TREES = Distances(topology=RandomTree(num_nodes=12))


class BellmanFord(nn.Module):
    """Answers in fifths of hops from the flagged node, times a factor, and so many hops too far."""

    def __init__(self, factor: float = 1, more: float = 0) -> None:
        super().__init__()
        self.factor, self.more = factor, more

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        far = torch.where(x[:, 1] == 1, 0.0, torch.inf).to(x)
        for _ in range(12):
            far = far.scatter_reduce(0, edge_index[1], far[edge_index[0]] + 1, "amin")
        return (self.factor * far + self.more + 0 * x[:, 0])[:, None] / 5


class Says(nn.Module):
    """The same answer everywhere."""

    def __init__(self, *answer: float) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return torch.tensor([self.answer]).to(x) + 0 * x[:, :1]


def errors(model: nn.Module, task: Task) -> dict[str, Any]:
    return MEASURES["errors"].run(model, task, 0)


def test_who_searches_breadth_first_makes_no_error_and_its_square_has_no_logarithm() -> None:
    found = errors(BellmanFord(), TREES)
    assert found["unit"] == "hops"
    assert found["error"] == pytest.approx(0, abs=1e-6)
    assert errors(Says(0.0), Distances(topology=Ring(), size=4))["error"] == pytest.approx(16 / 7)  # 1, 1, 2, 2, 3, 3, 4


def test_who_says_a_hop_too_many_is_wrong_by_one_hop_at_every_distance() -> None:
    found = errors(BellmanFord(more=1), TREES)
    assert found["error"] == pytest.approx(1, abs=1e-6)
    assert found["log10_mse"] == pytest.approx(0, abs=1e-6)
    assert found["error_by_hop"][1:] == pytest.approx([1] * (len(found["error_by_hop"]) - 1), abs=1e-6)


def test_who_says_a_tenth_too_much_is_wrong_by_a_tenth_of_the_distance() -> None:
    found = errors(BellmanFord(factor=1.1), TREES)
    assert found["error_by_hop"][0] is None  # the source is not asked
    assert found["error_by_hop"][1:] == pytest.approx([0.1 * hop for hop in range(1, len(found["error_by_hop"]))], abs=1e-6)


def test_answers_are_counted_at_the_hops_that_networkx_finds() -> None:
    """And who answers the mean of them all is wrong by how far each is from it."""
    found, count = errors(Says(0.0), TREES), Counter[int]()
    for index in range(64):
        (graph,) = draw(TREES, 0, index)
        web = to_networkx(graph, to_undirected=True)
        far = nx.single_source_shortest_path_length(web, int(graph.source_index))
        count.update(far[v] for v in graph.readout_index.tolist())
    assert found["answers_by_hop"] == [count[hop] for hop in range(max(count) + 1)]
    mean = sum(hop * many for hop, many in count.items()) / count.total()
    assert found["constant_by_hop"][1:] == pytest.approx([abs(hop - mean) for hop in range(1, max(count) + 1)], abs=1e-5)
    assert found["mse"] == pytest.approx(sum(hop**2 * many for hop, many in count.items()) / count.total(), rel=1e-5)


@pytest.mark.parametrize("quantity", ["eccentricity", "diameter"])
def test_of_what_has_no_source_the_true_answer_is_the_distance(quantity: Any) -> None:
    found = errors(Says(0.0), Distances(quantity=quantity, topology=RandomTree(num_nodes=12)))
    known = [(hop, value) for hop, value in enumerate(found["error_by_hop"]) if value is not None]
    assert len(known) > 1
    assert [value for _, value in known] == pytest.approx([hop for hop, _ in known], rel=1e-6)


def test_costs_are_told_by_the_hops_to_their_source_and_in_their_own_unit() -> None:
    task = Distances(quantity="cost", topology=RandomTree(num_nodes=12))
    found = errors(Says(0.0), task)
    assert found["unit"] == "costs"
    assert len(found["answers_by_hop"]) > 3
    assert 0 < found["error_by_hop"][1] < 1  # the cost of one node, k/n


def test_standardised_answers_are_told_in_hops() -> None:
    task = PublishedDistances()
    answers = torch.cat([task.in_unit(graph.y.double()) for index in range(8) for graph in draw(task, 0, index)])
    assert torch.allclose(answers, answers.round(), atol=1e-4)
    found = errors(Says(0.0), task)
    assert found["unit"] == "hops"
    mean = float(task.in_unit(torch.zeros(())))  # what 0 says
    known = [(hop, value) for hop, value in enumerate(found["error_by_hop"]) if value is not None]
    assert [value for _, value in known] == pytest.approx([abs(hop - mean) for hop, _ in known], abs=1e-4)


def test_of_classes_the_share_that_is_wrong_is_told_at_the_distance_of_the_source() -> None:
    task = Transfer(topology=Ring(), hops=3, num_classes=2)
    found = errors(Says(1.0, 0.0), task)
    ones = sum(int(draw(task, 0, index)[0].y) for index in range(64))
    assert found["error"] == ones / 64
    assert found["error_by_hop"] == [None, None, None, ones / 64]
    assert found["answers_by_hop"] == [0, 0, 0, 64]
    assert "mse" not in found


class Unplanted(Task):
    """Numbers on a path of four nodes, asked of all of them."""

    loss: ClassVar[Loss] = "mse"

    def sample(self, rng: torch.Generator) -> Data:
        x = torch.rand(4, 1, generator=rng)
        edge_index = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        return Data(x=x, edge_index=edge_index, y=torch.ones(4), readout_index=torch.arange(4))


def test_where_nothing_is_planted_and_no_hops_are_asked_for_there_is_no_distance() -> None:
    found = errors(Says(3.0), Unplanted())
    assert found["error_by_hop"] == found["answers_by_hop"] == []
    assert (found["unit"], found["error"], found["mse"], found["num_answers"]) == ("", 2, 4, 4 * 64)


def test_a_view_counts_as_its_task_does() -> None:
    view = Extrapolated(seen=task_ref(TREES), trained={"topology": {"kind": "random_tree", "num_nodes": 9}})
    assert errors(BellmanFord(more=2), view)["error"] == pytest.approx(2, abs=1e-6)


def test_what_is_no_number_is_no_answer() -> None:
    found = errors(Says(float("nan")), TREES)
    assert found["error"] is None
    assert all(value is None for value in found["error_by_hop"])
    assert errors(Says(float("nan"), 0.0), Transfer(topology=Ring(), hops=3, num_classes=2))["error"] is None

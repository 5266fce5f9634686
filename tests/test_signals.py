"""Facts about several signals at once: the published answers, the graph, and what a collapsed net can score."""

import networkx as nx
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch_geometric.utils import to_networkx

from datasets.signals import Signals
from suite.certify import LOCAL, MEMORISABLE, certify
from suite.rng import stream
from suite.score import scores
from suite.testing import TASK_CHECKS


def test_the_answers_are_the_published_ones_and_need_as_many_dimensions_as_signals() -> None:
    block = Signals().draw(1, stream("any"))
    assert block.y[0].tolist() == [[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert block.readout_index.tolist() == [0, 1, 2, 3]
    assert block.x.shape == (1, 20, 6)
    for signals in (2, 5):
        assert int(torch.linalg.matrix_rank(Signals(num_signals=signals).draw(1, stream("any")).y[0])) == signals


@pytest.mark.parametrize("seed", range(4))
def test_every_node_has_an_edge_in_and_an_edge_out_and_none_to_itself(seed: int) -> None:
    graph = to_networkx(Signals(seed=seed, density=0.1).draw(1, stream("any")).to_data_list()[0])
    assert min(degree for _, degree in graph.in_degree) > 0
    assert min(degree for _, degree in graph.out_degree) > 0
    assert nx.number_of_selfloops(graph) == 0


def test_another_seed_is_another_graph_and_the_stream_changes_nothing() -> None:
    one, same, other = (Signals(seed=seed).draw(1, stream(name)) for seed, name in ((0, "a"), (0, "b"), (1, "a")))
    assert torch.equal(one.x, same.x)
    assert torch.equal(one.edge_index, same.edge_index)
    assert not torch.equal(one.x, other.x)
    assert not (one.edge_index.shape == other.edge_index.shape and torch.equal(one.edge_index, other.edge_index))


@pytest.mark.parametrize("signals", [2, 3, 6])
def test_chance_is_what_nodes_that_look_alike_score(signals: int) -> None:
    task = Signals(num_signals=signals)
    y = task.draw(1, stream("any")).y
    alike = torch.zeros(1, signals + 1, signals)
    assert task.chance == pytest.approx(average_precision_score(y[0], alike[0]))
    assert task.chance == pytest.approx(scores(alike, y, task.metric).item())


def test_one_dimension_cannot_rank_two_signals_and_as_many_as_signals_can() -> None:
    task, rng = Signals(), stream("ranks")
    y = task.draw(1, stream("any")).y
    assert scores(y, y, task.metric).item() == 1
    rank_one = torch.randn(500, 4, 1, generator=rng) * torch.randn(500, 1, 3, generator=rng)  # outputs of a collapsed net
    assert float(scores(rank_one, y.expand(500, -1, -1), task.metric).max()) < 1


def test_graphs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="num_nodes: must be > num_signals = 6, got 5"):
        Signals(num_signals=6, num_nodes=5)
    with pytest.raises(ValueError, match=r"density: must be larger for 60 nodes .* got 0\.001"):
        Signals(num_nodes=60, density=0.001)


def test_that_the_test_asks_what_training_asked_is_declared() -> None:
    class Undeclared(Signals):
        @property
        def irregular(self) -> frozenset[str]:
            return super().irregular - {"training is test"}

    assert not list(TASK_CHECKS["splits"](Signals()))
    assert len(list(TASK_CHECKS["splits"](Undeclared()))) == 3  # pairs of splits


def test_its_certificate_says_local_and_memorisable() -> None:
    found = certify(Signals())
    assert found["tags"] == [LOCAL, MEMORISABLE]
    (blind,) = [check for check in found["checks"] if check["id"] == "K4"]
    assert blind["passed"]

"""Facts about the contextual blockmodel: what a node alone knows, and what averages know, by simulation and in the limit."""

import math

import pytest
import torch
from scipy.stats import norm
from torch_geometric.utils import to_dense_adj

from datasets.contextual_sbm import ContextualSBM
from suite.rng import stream


def test_classes_are_equal_and_edges_as_dense_as_asked() -> None:
    task, rng = ContextualSBM(), stream("test")
    counts = torch.zeros(2, 2)
    for _ in range(40):
        graph = task.sample(rng)
        assert graph.y.bincount().tolist() == [50, 50]
        same = graph.y[graph.edge_index[0]] == graph.y[graph.edge_index[1]]
        counts += torch.tensor([[same.sum() / 2, 50 * 49], [(~same).sum() / 2, 50 * 50]])
    inside, outside = (counts[:, 0] / counts[:, 1]).tolist()
    assert inside == pytest.approx(0.1, abs=4 * math.sqrt(0.1 * 0.9 / float(counts[0, 1])))
    assert outside == pytest.approx(0.02, abs=4 * math.sqrt(0.02 * 0.98 / float(counts[1, 1])))


def test_chance_is_what_the_sign_of_a_feature_scores() -> None:
    task, rng = ContextualSBM(signal=0.7), stream("test")
    graphs = [task.sample(rng) for _ in range(100)]
    right = torch.cat([(graph.x[:, 0] > 0).long() == graph.y for graph in graphs]).double().mean()
    assert task.chance == pytest.approx(norm.cdf(0.7))
    assert float(right) == pytest.approx(task.chance, abs=0.02)
    assert float(task.accuracy_by_averaging(0)[0]) == pytest.approx(task.chance)


def test_the_accuracy_of_averages_is_that_of_a_simulation() -> None:
    task, rng = ContextualSBM(), stream("test")
    expected, right, total = task.accuracy_by_averaging(4), torch.zeros(5), 0
    for _ in range(150):
        graph = task.sample(rng)
        walk = to_dense_adj(graph.edge_index, max_num_nodes=100)[0] + torch.eye(100)
        h = graph.x
        for depth in range(5):
            right[depth] += ((h[:, 0] > 0).long() == graph.y).sum()
            h = walk @ h / walk.sum(1, keepdim=True)
        total += 100
    assert torch.allclose((right / total).double(), expected, atol=0.015)


def test_averages_first_denoise_and_then_mix() -> None:
    found = ContextualSBM().accuracy_by_averaging(60)
    best = int(found.argmax())
    assert 1 < best < 10
    assert (found[1 : best + 1] > found[:best]).all()
    assert found[-1] < found[0]  # everybody's average is nearly the same
    disjoint = ContextualSBM(outside=0.0, inside=0.5, signal=0.2).accuracy_by_averaging(60)
    limit = norm.cdf(0.2 * math.sqrt(50))  # the mean of the 50 features of a class that nothing joins to the other
    assert float(disjoint[-1]) == pytest.approx(limit, abs=0.01)


def test_edges_that_say_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="outside: must differ from inside"):
        ContextualSBM(inside=0.1, outside=0.1)

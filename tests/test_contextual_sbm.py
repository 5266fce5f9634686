"""Facts about the contextual blockmodel: what a node alone knows, and what averages know, by simulation and in the limit."""

import math

import pytest
import torch
from scipy.stats import norm
from torch import Tensor
from torch_geometric.utils import to_dense_adj

from datasets.contextual_sbm import ContextualSBM, propagated
from suite.rng import stream
from suite.task import Block


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


def by_enumeration(own: Tensor, first: Tensor, second: Tensor, same: Tensor) -> Tensor:
    """Bayes' rule: all ways to give classes to the nodes, weighed and summed; log odds of class 1, [num_nodes].

    `same` [num_pairs]: log of how much more likely the pair is seen as it is where the two have one class.
    """
    sign = 2.0 * torch.cartesian_prod(*[torch.arange(2)] * len(own)).double() - 1  # [2 ** num_nodes, num_nodes]
    weight = ((sign @ own + (sign[:, first] * sign[:, second]) @ same) / 2).softmax(0)
    one = ((sign + 1) / 2 * weight[:, None]).sum(0)
    return (one / (1 - one)).log()


def slopes(adjacent: Tensor, inside: float, outside: float) -> Tensor:
    edge, none = (inside - outside) / (inside + outside), (outside - inside) / (2 - inside - outside)
    return torch.where(adjacent, edge, none).double().fill_diagonal_(0)


def test_propagation_is_bayes_rule_on_a_tree() -> None:
    """Where pairs that no edge joins say nothing."""
    edges = torch.tensor([(0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (4, 6), (0, 7)]).T
    own = torch.randn(8, generator=stream("test")).double()
    slope = torch.zeros(8, 8, dtype=torch.double)
    slope[edges[0], edges[1]] = slope[edges[1], edges[0]] = (0.6 - 0.2) / (0.6 + 0.2)
    *_, odds = propagated(own, slope, 5)  # the tree's diameter
    exact = by_enumeration(own, *edges, torch.full((7,), math.log(3), dtype=torch.double))
    assert torch.allclose(odds, exact)


def test_propagation_is_nearly_as_good_as_all_classes_enumerated_where_edges_are_few() -> None:
    inside, outside, n, num_graphs = 0.2, 0.02, 12, 100
    rng, right, same = stream("test"), torch.zeros(2), 0
    first, second = torch.triu_indices(n, n, 1)
    for _ in range(num_graphs):
        y = torch.randint(2, (n,), generator=rng)
        drawn = torch.rand(n, n, generator=rng) < torch.where(y[:, None] == y, inside, outside)
        adjacent = drawn.triu(1) | drawn.triu(1).T
        own = (2 * 0.5 * (0.5 * (2.0 * y - 1) + torch.randn(n, generator=rng))).double()
        *_, odds = propagated(own, slopes(adjacent, inside, outside), 16)
        told = torch.where(adjacent[first, second], math.log(inside / outside), math.log((1 - inside) / (1 - outside)))
        exact = by_enumeration(own, first, second, told.double())
        right += torch.stack([((found > 0).long() == y).float().mean() / num_graphs for found in (odds, exact)])
        same += int(((odds > 0) == (exact > 0)).sum())
    assert float(right[0]) == pytest.approx(float(right[1]), abs=0.01)
    assert same / (num_graphs * n) > 0.97


def test_propagation_is_as_often_right_as_it_says() -> None:
    """As Bayes' rule is, which gives the share of those of each odds that are right."""
    task, rng, right, said = ContextualSBM(), stream("test"), 0.0, 0.0
    for _ in range(40):
        graph = task.sample(rng)
        adjacent = to_dense_adj(graph.edge_index, max_num_nodes=100)[0].bool()
        *_, odds = propagated((2 * 0.5 * graph.x[:, 0]).double(), slopes(adjacent, 0.1, 0.02), 16)
        right += float(((odds > 0).long() == graph.y).float().mean()) / 40
        said += float(odds.abs().sigmoid().mean()) / 40
    assert right == pytest.approx(said, abs=0.01)


def test_no_average_is_better_than_propagation_as_far_nor_propagation_than_the_ceiling() -> None:
    task = ContextualSBM()
    averaged, found = task.accuracy_by_averaging(8), task.accuracy_by_propagation(16)
    assert (averaged < found[:9] + 0.015).all()  # both are means over graphs of their own
    assert (found <= task.ceiling + 0.015).all()
    assert float(found[0]) == pytest.approx(task.chance, abs=0.02)
    assert found[-1] > averaged.max() + 0.03
    assert float(found[16] - found[8]) == pytest.approx(0, abs=0.005)  # more rounds do no harm


def test_where_no_edge_joins_the_classes_the_ceiling_is_that_of_whole_components() -> None:
    """Two cliques: the sign of the mean of one against that of the other, 2 signal sqrt(n / 2) / sqrt(2) apart."""
    task = ContextualSBM(block_size=8, inside=1.0, outside=0.0, signal=0.3)
    assert task.ceiling == pytest.approx(norm.cdf(0.3 * math.sqrt(16)), abs=0.04)


def test_edges_that_say_nothing_are_refused() -> None:
    for outside in (0.1, 0.101):
        with pytest.raises(ValueError, match=r"outside: must differ more from inside = 0.1, or signal be other than 0.5"):
            ContextualSBM(inside=0.1, outside=outside)


@pytest.mark.parametrize("fields", [{}, {"block_size": 8, "inside": 1.0, "outside": 0.0, "signal": 0.3}], ids=str)
def test_the_witness_gives_in_single_precision_what_it_gives_in_double(fields: dict[str, float]) -> None:
    """Also where an edge says for certain that two classes are the same."""
    task = ContextualSBM.model_validate(fields)
    graph = task.sample(stream("test"))
    answers = []
    for dtype in (torch.float32, torch.float64):
        x = graph.x.to(dtype)[None]
        answers.append(task.witness(Block(graph.edge_index, x, graph.y[None], graph.readout_index)))
    single, double = answers
    assert single is not None
    assert double is not None
    assert single.dtype == torch.float32
    assert bool(single.isfinite().all())
    assert torch.equal(single.argmax(2), double.argmax(2))

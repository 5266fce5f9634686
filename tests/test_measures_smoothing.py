"""Facts about smoothing: closed forms of energies and ranks, dense matrices by NumPy, probes by scikit-learn."""

from itertools import combinations
from typing import Any, ClassVar

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, norm
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN
from torch_geometric.utils import to_undirected

from datasets.clique import Clique
from datasets.own_token import OwnToken
from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.measures import MEASURES
from suite.measures.ranks import ranks
from suite.measures.recoverability import fit_probes, recoverability
from suite.measures.smoothing import (
    expected_rayleigh_quotient,
    feature_norm,
    fixed_space_distance,
    rayleigh_quotient,
)
from suite.measures.structure import operator_power
from suite.models import build, resolve
from suite.task import Task

STAR = nx.star_graph(20)
TREE = nx.balanced_tree(2, 4)
RING = nx.cycle_graph(16)
GRID = nx.convert_node_labels_to_integers(nx.grid_2d_graph(5, 5))
LOLLIPOP = nx.lollipop_graph(4, 3)
TWO = nx.disjoint_union(nx.star_graph(4), nx.path_graph(3))


def edges(graph: nx.Graph) -> Tensor:
    """Return both directions of the edges of a graph whose nodes are 0, 1, ..."""
    return to_undirected(torch.tensor(list(graph.edges)).T)


def dense(graph: nx.Graph, operator: str) -> Tensor:
    return operator_power(edges(graph), len(graph), operator, 1, torch.arange(len(graph)))


def quotients(h: Tensor, graph: nx.Graph) -> dict[str, float]:
    return {name: float(rayleigh_quotient(h, edges(graph), name)) for name in ("gcn", "mean", "complete")}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Rayleigh quotients


@pytest.mark.parametrize("node", range(7))
def test_quotient_of_a_single_node_is_its_degree_over_degree_plus_one(node: int) -> None:
    found = quotients(F.one_hot(torch.tensor(node), 7).unsqueeze(1), LOLLIPOP)
    degree = LOLLIPOP.degree[node]
    assert found["gcn"] == pytest.approx(degree / (degree + 1), rel=1e-12)
    assert found["mean"] == pytest.approx(degree / (degree + 1), rel=1e-12)


def test_quotients_are_those_of_dense_laplacians_made_by_networkx() -> None:
    h, adjacency = normal(7, 3).numpy(), nx.to_numpy_array(LOLLIPOP)
    degree = adjacency.sum(1) + 1
    laplacian = np.diag(degree) - adjacency - np.eye(7)
    found = quotients(torch.from_numpy(h), LOLLIPOP)
    scaled = h / np.sqrt(degree)[:, None]
    assert found["gcn"] == pytest.approx(np.trace(scaled.T @ laplacian @ scaled) / (h**2).sum(), rel=1e-12)
    assert found["mean"] == pytest.approx(np.trace(h.T @ laplacian @ h) / (degree @ h**2).sum(), rel=1e-12)
    assert found["complete"] == pytest.approx(h.var(0).sum() / (h**2).mean(0).sum(), rel=1e-12)


@pytest.mark.parametrize(("graph", "expected"), [(STAR, 0.227631), (RING, 0.0), (GRID, None)])
def test_a_constant_is_smooth_for_means_but_not_for_gcn(graph: nx.Graph, expected: float | None) -> None:
    found = quotients(torch.ones(len(graph), 2), graph)
    assert found["mean"] == 0
    assert found["complete"] == 0
    assert found["gcn"] > 1e-3 if expected is None else found["gcn"] == pytest.approx(expected, abs=5e-7)


def test_root_degrees_are_smooth_for_gcn_but_not_for_means() -> None:
    roots = torch.tensor([d + 1 for _, d in STAR.degree]).sqrt().unsqueeze(1)
    found = quotients(roots, STAR)
    assert found["gcn"] < 1e-15
    assert found["mean"] > 0.1


@pytest.mark.parametrize(("operator", "gcn", "mean"), [("gcn", 3e-16, 0.385), ("mean", 0.227631, 3e-16)])
def test_each_operator_collapses_a_star_in_its_own_eyes_only(operator: str, gcn: float, mean: float) -> None:
    h = torch.linalg.matrix_power(dense(STAR, operator), 64) @ normal(21, 8)
    found = quotients(h, STAR)
    for name, value in (("gcn", gcn), ("mean", mean)):
        assert found[name] < value if value < 1e-9 else found[name] == pytest.approx(value, abs=5e-4)


def test_opposite_neighbours_on_a_ring_have_quotient_four_thirds() -> None:
    alternating = torch.tensor([1.0, -1.0]).repeat(8).unsqueeze(1)
    found = quotients(alternating, RING)
    assert found["gcn"] == pytest.approx(4 / 3, rel=1e-12)
    assert found["mean"] == pytest.approx(4 / 3, rel=1e-12)


def test_one_layer_collapses_a_complete_graph_exactly() -> None:
    complete = nx.complete_graph(9)
    h = dense(complete, "gcn") @ normal(9, 4)
    assert all(value < 1e-30 for value in quotients(h, complete).values())


@pytest.mark.parametrize(("graph", "gcn", "mean"), [(RING, 0.6667, 0.6667), (STAR, 0.52154, 0.65574), (TREE, 0.61828, 0.65934)])
def test_null_of_independent_rows_has_its_closed_form(graph: nx.Graph, gcn: float, mean: float) -> None:
    n, m = graph.number_of_nodes(), graph.number_of_edges()
    null = {name: expected_rayleigh_quotient(edges(graph), n, name) for name in ("gcn", "mean", "complete")}
    assert null["gcn"] == pytest.approx(gcn, abs=5e-5)
    assert null["mean"] == pytest.approx(mean, abs=5e-5)
    assert null["gcn"] == pytest.approx(1 - np.mean([1 / (d + 1) for _, d in graph.degree]), rel=1e-12)
    assert null["mean"] == pytest.approx(2 * m / (2 * m + n), rel=1e-12)
    assert null["complete"] == (n - 1) / n
    sampled = quotients(normal(n, 20_000), graph)
    for name, value in null.items():
        assert sampled[name] == pytest.approx(value, abs=0.02)


@pytest.mark.parametrize(("graph", "slope"), [(RING, -0.104160), (GRID, -0.206104), (STAR, -1.386294)])
def test_linear_propagation_decays_at_twice_the_logarithm_of_the_second_eigenvalue(graph: nx.Graph, slope: float) -> None:
    matrix = dense(graph, "gcn")
    rho = torch.linalg.eigvalsh(matrix).abs().sort().values[-2]
    layer = 32 if graph is STAR else 120  # the other modes are gone, rounding is not reached
    h = torch.linalg.matrix_power(matrix, layer) @ normal(len(graph), 8)
    states = torch.stack([h, matrix @ h])
    before, after = rayleigh_quotient(states, edges(graph), "gcn").tolist()
    assert np.log(after / before) == pytest.approx(slope, abs=2e-4)
    assert slope == pytest.approx(2 * np.log(float(rho)), abs=1e-6)


def test_components_may_collapse_to_different_values() -> None:
    component = torch.tensor([1.0] * 5 + [-3.0] * 3).unsqueeze(1)
    found = quotients(component, TWO)
    assert found["mean"] == 0
    assert found["complete"] > 0.5


def test_parallel_edges_weigh_twice_and_directed_ones_half() -> None:
    h = normal(3, 2)
    path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    double = torch.cat([path, path], dim=1)
    adjacency = torch.tensor([[0, 2.0, 0], [2, 0, 2], [0, 2, 0]], dtype=torch.float64)
    degree = adjacency.sum(1) + 1
    energy = (h * ((adjacency.sum(1).diag() - adjacency) @ h)).sum()
    assert float(rayleigh_quotient(h, double, "mean")) == pytest.approx(float(energy / (degree @ h.square()).sum()))
    both_ways_by_halves = torch.cat([path[:, ::2], path[:, ::2]], dim=1)
    assert rayleigh_quotient(h, both_ways_by_halves, "mean") == rayleigh_quotient(h, path, "mean")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-200, 200))
def test_scale_free_measures_ignore_scale_and_all_ignore_rotations(seed: int, exponent: float) -> None:
    h = normal(7, 4, seed=seed)
    rotated = h @ torch.linalg.qr(normal(4, 4, seed=seed + 1))[0]
    for operator in ("gcn", "mean", "complete"):
        value = rayleigh_quotient(h, edges(LOLLIPOP), operator)
        torch.testing.assert_close(rayleigh_quotient(h * 10**exponent, edges(LOLLIPOP), operator), value)
        torch.testing.assert_close(rayleigh_quotient(rotated, edges(LOLLIPOP), operator), value)
        distance = fixed_space_distance(h, edges(LOLLIPOP), operator)
        torch.testing.assert_close(fixed_space_distance(rotated * 10**exponent, edges(LOLLIPOP), operator), distance)
    torch.testing.assert_close(ranks(rotated * 10**exponent).effective, ranks(h).effective)
    torch.testing.assert_close(feature_norm(rotated * 10**exponent), feature_norm(h) * 10**exponent)


@pytest.mark.parametrize("operator", ["sum", "none", "gnc"])
def test_operators_without_a_quotient_are_refused(operator: str) -> None:
    with pytest.raises(ValueError, match=f"'{operator}'"):
        rayleigh_quotient(torch.ones(7, 1), edges(LOLLIPOP), operator)


# distance to the fixed space


@pytest.mark.parametrize("operator", ["gcn", "mean", "sum"])
@pytest.mark.parametrize("graph", [LOLLIPOP, TWO, nx.disjoint_union(nx.empty_graph(1), RING)])
def test_distance_is_to_the_dominant_eigenvectors_of_each_component(operator: str, graph: nx.Graph) -> None:
    h, basis = normal(len(graph), 3), []
    for nodes in (sorted(c) for c in nx.connected_components(graph)):
        values, vectors = np.linalg.eig(dense(graph, operator).numpy()[np.ix_(nodes, nodes)])
        column = np.zeros(len(graph))
        column[nodes] = vectors[:, values.real.argmax()].real
        basis.append(column / np.linalg.norm(column))
    q = np.stack(basis, axis=1)
    outside = h.numpy() - q @ (q.T @ h.numpy())
    expected = np.linalg.norm(outside) / np.linalg.norm(h.numpy())
    assert float(fixed_space_distance(h, edges(graph), operator)) == pytest.approx(expected, rel=1e-9)
    inside = torch.from_numpy(q @ np.ones((len(basis), 2)))
    assert float(fixed_space_distance(inside, edges(graph), operator)) < 1e-12


def test_distance_on_the_complete_graph_is_the_root_of_the_quotient() -> None:
    h = normal(7, 3)
    quotient = rayleigh_quotient(h, edges(LOLLIPOP), "complete")
    torch.testing.assert_close(fixed_space_distance(h, edges(LOLLIPOP), "complete"), quotient.sqrt())


def test_large_components_find_the_same_perron_vector() -> None:
    graph = nx.disjoint_union(nx.star_graph(300), nx.path_graph(2))  # Perron vector: sqrt(300) at the centre, 1 at the leaves
    h = torch.tensor([300**0.5] + [1.0] * 300 + [2.0, 2.0]).unsqueeze(1)
    assert float(fixed_space_distance(h, edges(graph), "sum")) < 1e-6


# ranks and norms


def test_effective_rank_has_its_closed_forms() -> None:
    assert float(ranks(torch.eye(5)).effective) == pytest.approx(5, rel=1e-12)
    assert float(ranks(torch.diag(torch.tensor([3.0, 1.0]))).effective) == pytest.approx(1.754765, abs=5e-7)
    small = 1e-3 * np.log(1e-3)
    exact = np.exp(-(small / 1.001 - np.log(1.001)))
    assert float(ranks(torch.diag(torch.tensor([1.0, 1e-3]).double())).effective) == pytest.approx(exact, rel=1e-9)
    assert float(ranks(torch.diag(torch.tensor([1.0, 1e-13]).double())).effective) == 1
    assert float(ranks(normal(9, 1) @ normal(1, 4)).effective) == pytest.approx(1, abs=1e-9)


def test_effective_rank_is_the_exponential_of_scipys_entropy() -> None:
    h = normal(6, 9)
    singular = np.linalg.svd(h.numpy(), compute_uv=False)
    assert float(ranks(h).effective) == pytest.approx(np.exp(entropy(singular)), rel=1e-12)


def test_feature_norm_is_the_frobenius_norm_and_neither_under_nor_overflows() -> None:
    h = normal(5, 3)
    assert float(feature_norm(h)) == pytest.approx(np.linalg.norm(h.numpy()), rel=1e-12)
    assert float(feature_norm(h * 1e-200)) == pytest.approx(1e-200 * np.linalg.norm(h.numpy()), rel=1e-12)
    assert float(feature_norm(h * 1e200)) == pytest.approx(1e200 * np.linalg.norm(h.numpy()), rel=1e-12)
    assert float(feature_norm(torch.zeros(5, 3))) == 0


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_state_that_is_zero_or_not_finite_has_no_smoothness(value: float) -> None:
    h = torch.full((7, 3), value)
    assert all(np.isnan(q) for q in quotients(h, LOLLIPOP).values())
    assert ranks(h).effective.isnan()
    assert fixed_space_distance(h, edges(LOLLIPOP), "sum").isnan()


def test_leading_axes_are_states_of_their_own() -> None:
    h = normal(4, 7, 3)
    h[2] = 0
    for function in (lambda x: ranks(x).effective, feature_norm, lambda x: rayleigh_quotient(x, edges(LOLLIPOP), "gcn")):
        torch.testing.assert_close(function(h), torch.stack([function(part) for part in h]), equal_nan=True)


# the table entry


def test_weights_times_two_change_the_norm_and_nothing_else_in_a_relu_gcn_without_bias() -> None:
    task = Transfer(topology=Ring(), hops=4)
    torch.manual_seed(0)
    model = GCN(7, 16, 6, 5, bias=False)
    before = MEASURES["smoothing"].run(model, task, 0)
    for parameter in model.parameters():
        parameter.data *= 2
    after = MEASURES["smoothing"].run(model, task, 0)
    np.testing.assert_allclose(after["rq_gcn"], before["rq_gcn"], rtol=1e-9)
    np.testing.assert_allclose(after["effective_rank"], before["effective_rank"], rtol=1e-9)
    np.testing.assert_allclose(after["feature_norm"], np.array(before["feature_norm"]) * 2.0 ** np.arange(7), rtol=1e-9)


def test_table_entry_of_bare_propagation_is_that_of_powers_of_the_operator() -> None:
    task = OwnToken(topology=Ring(), size=4)
    model = build(resolve("propagation"), 5, 1, 3, 5)
    found = MEASURES["smoothing"].run(model, task, 0)
    assert found["operator"] == "gcn"
    assert found["num_draws"] == 5
    assert found["rq_gcn"] == pytest.approx(found["rq_mean"], rel=1e-9)  # a regular graph
    ratios = np.array(found["feature_norm"][1:]) / np.array(found["feature_norm"][:-1])
    assert (ratios < 1).all()  # S is a contraction
    assert found["null_rq_complete"] == 7 / 8
    assert found["constant_rq_gcn"] < 1e-15


def test_a_dead_network_is_counted_as_undefined_and_never_as_smooth() -> None:
    model = build(resolve("gcn", {"norm": "none"}), 5, 8, 2, 5)
    for parameter in model.parameters():
        parameter.data.zero_()
    found = MEASURES["smoothing"].run(model, OwnToken(), 0)
    assert found["undefined"] == [5, 5, 5]
    assert found["feature_norm"] == [0, 0, 0]
    assert found["rq_gcn"] == found["distance"] == found["effective_rank"] == [None] * 3


def test_rounding_that_is_left_after_collapse_has_no_rank() -> None:
    task = OwnToken(topology=Clique(clique_size=10), size=1)
    found = MEASURES["smoothing"].run(build(resolve("propagation"), 5, 1, 2, 5), task, 0)
    assert found["effective_rank"][1] == pytest.approx(1, abs=1e-6)
    assert found["effective_rank_centred"][0] > 1
    assert found["effective_rank_centred"][1] is None


# recoverability


def three(h: Tensor, tokens: Tensor, sizes: tuple[int, int, int] = (512, 256, 1024)) -> tuple[Any, Any]:
    return torch.split(h, sizes), torch.split(tokens, sizes)


def tokens_of(num_classes: int, rows: int = 1792, seed: int = 0) -> Tensor:
    return torch.randint(num_classes, (rows,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 1e-2])
def test_tokens_themselves_are_recovered_and_noise_is_not(epsilon: float) -> None:
    tokens, rng = tokens_of(5), torch.Generator().manual_seed(1)
    assert recoverability(*three(F.one_hot(tokens, 5), tokens), 5, epsilon, rng) == 1
    four_errors = 4 * (0.2 * 0.8 / 1024) ** 0.5 / 0.8
    assert abs(recoverability(*three(normal(1792, 16), tokens), 5, epsilon, rng)) < four_errors


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_two_classes_at_plus_and_minus_one_are_told_apart_as_the_normal_law_says(epsilon: float) -> None:
    tokens = tokens_of(2, 21_000)
    h = 2.0 * tokens.unsqueeze(1) - 1  # root mean square 1, so that epsilon is the noise's standard deviation
    found = recoverability(*three(h, tokens, (512, 488, 20_000)), 2, epsilon, torch.Generator().manual_seed(2))
    assert found == pytest.approx(2 * norm.cdf(1 / epsilon) - 1, abs=0.02)


def test_a_signal_below_the_noise_is_lost_at_that_precision_only() -> None:
    tokens = tokens_of(3)
    h = torch.cat([torch.ones(1792, 1).double(), 1e-5 * F.one_hot(tokens, 3)], dim=1)
    exact, float32, bfloat16 = (recoverability(*three(h, tokens), 3, e, torch.Generator()) for e in (0.0, 1e-7, 1e-3))
    assert exact == 1
    assert float32 > 0.99
    assert abs(bfloat16) < 0.15


def test_nothing_is_recovered_from_states_that_are_all_equal() -> None:
    rng = torch.Generator().manual_seed(0)
    tokens = [torch.randint(4, (rows,), generator=rng) for rows in (200, 100, 400)]
    states = [torch.full((len(part), 6), 3.0) for part in tokens]
    assert recoverability(states, tokens, 4, 0.0, rng) == pytest.approx(0, abs=4 * (3 / 16 / 400) ** 0.5 / 0.75)


def test_recoverability_is_scale_free_and_undefined_for_what_is_not_finite() -> None:
    tokens = tokens_of(4)
    h = F.one_hot(tokens, 4) + normal(1792, 4)
    values = [recoverability(*three(c * h, tokens), 4, 1e-3, torch.Generator().manual_seed(3)) for c in (1.0, 2.0**-60)]
    assert values[0] == values[1]
    h[7] = float("inf")
    assert np.isnan(recoverability(*three(h, tokens), 4, 1e-3, torch.Generator()))


@pytest.mark.parametrize("ridge", [1e-2, 1.0, 10.0])
def test_probe_converges_to_scikit_learns_ridge_logistic_regression(ridge: float) -> None:
    tokens = tokens_of(4, 400)
    spread = torch.diag(10.0 ** torch.arange(-3.0, 3.0).double())
    h = (0.7 * F.one_hot(tokens, 4).double() @ normal(4, 6) + normal(400, 6, seed=1)) @ spread
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=10_000)).fit(h, tokens)
    (ours,) = fit_probes(h, tokens, 4, [ridge], max_steps=5000, tolerance=1e-9)
    found = (h @ ours.weight + ours.bias).softmax(1)
    np.testing.assert_allclose(found.numpy(), theirs.predict_proba(h.numpy()), atol=2e-5)


def test_sixty_steps_decide_as_scikit_learn_does_on_states_of_condition_number_a_million() -> None:
    tokens = tokens_of(5, 2000)
    spread = torch.diag(10.0 ** -torch.linspace(0, 6, 32).double())
    h = (F.one_hot(tokens, 5).double() @ normal(5, 32) + normal(2000, 32, seed=1)) @ spread @ normal(32, 32, seed=2)
    fit, score = h[:512], h[512:]
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=20_000)).fit(fit, tokens[:512])
    (ours,) = fit_probes(fit, tokens[:512], 5, [0.1])
    decided = (score @ ours.weight + ours.bias).argmax(1).numpy()
    assert (decided == tokens[512:].numpy()).mean() == pytest.approx(theirs.score(score, tokens[512:]), abs=0.02)


def test_columns_that_never_change_do_no_harm() -> None:
    tokens = tokens_of(3)
    h = torch.cat([F.one_hot(tokens, 3), torch.full((1792, 2), 7)], dim=1).double()
    assert recoverability(*three(h, tokens), 3, 0.0, torch.Generator()) == 1


def test_one_layer_on_a_clique_leaves_of_own_tokens_what_the_commonest_class_tells() -> None:
    task = OwnToken(topology=Clique(clique_size=10), size=1)
    assert task.topology.graph(1).num_nodes == 20
    found = MEASURES["recoverability"].run(build(resolve("propagation"), 5, 1, 2, 5), task, 0)
    values = found["by_layer"]["0.001"]
    commonest = (0.322 - 0.2) / 0.8  # of 20 iid tokens of 5 classes the commonest has a share of .322
    assert values[0] == 1
    assert values[1] == pytest.approx(commonest, abs=0.08)
    assert values[2] == pytest.approx(commonest, abs=0.08)
    assert found["headline"] == values[2]
    assert not found["planted"]
    assert found["num_classes"] == 5


def test_other_precisions_are_measured_at_the_last_layer_only() -> None:
    found = MEASURES["recoverability"].run(build(resolve("mlp"), 7, 8, 3, 5), Transfer(hops=3), 0)
    assert found["epsilons"] == [0, 1e-7, 1e-3, 1e-2]
    assert list(found["by_layer"]) == ["0", "1e-07", "0.001", "0.01"]
    assert None not in found["by_layer"]["0.001"]
    assert found["by_layer"]["0"][:3] == [None] * 3
    assert found["by_layer"]["0"][3] is not None


RING_GRAPH = Data(x=torch.full((16, 7), 3.0), edge_index=edges(RING), y=torch.zeros(1).long(), readout_index=torch.tensor([0]))


class Bare(Task):
    """One graph without tokens, handed out as it is."""

    fixed: ClassVar[bool] = True
    num_classes: int = 2

    def draw(self, num_graphs: int, rng: torch.Generator) -> list[Data]:
        return [RING_GRAPH] * num_graphs


class Spy(nn.Module):
    """Hands on what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __deepcopy__(self, memo: Any) -> "Spy":
        return self

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return x


def test_planted_tokens_replace_the_first_columns_of_a_copy() -> None:
    model = Spy()
    found = MEASURES["recoverability"].run(model, Bare(), 0)
    assert found["planted"]
    assert found["num_classes"] == 5
    assert RING_GRAPH.x.eq(3).all()
    for x in model.seen:
        assert x[:, :5].sum(1).eq(1).all()
        assert x[:, 5:].eq(3).all()
    assert not torch.equal(model.seen[0], model.seen[2])  # fitted and scored on tokens of their own


def test_probes_are_fitted_chosen_and_scored_on_draws_of_their_own() -> None:
    model = Spy()
    MEASURES["recoverability"].run(model, Transfer(topology=Ring(), hops=5), 0)
    first = [x[:50] for x in model.seen]  # five graphs
    assert len(first) == 6  # for own tokens, and for the source's
    assert not any(torch.equal(a, b) for a, b in combinations(first, 2))

"""Facts about ranks, angles, energies, components, limits and rates: closed forms, NumPy and naive loops."""

import json
import math
import re
import subprocess
import sys
from itertools import combinations, pairwise, product
from pathlib import Path
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_distances
from test_measures_smoothing import GRID, RING, STAR, TREE, TWO, dense, edges, normal
from test_measures_structure import barbell, theta
from torch import Tensor, nn

from datasets.own_token import OwnToken
from datasets.ring import Ring
from datasets.transfer import Transfer
from reports.figures import limits as figure
from suite.hops import hop_distance
from suite.measures import MEASURES, similarity
from suite.measures.limits import decay_rate, diffusion, diffusion_limit
from suite.measures.ranks import ranks
from suite.measures.similarity import group_distance_ratio, mad_gap, mean_average_distance, mean_cosine
from suite.measures.smoothing import (
    component_distances,
    dirichlet_energy,
    fixed_space_distance,
    rayleigh_quotient,
)
from suite.models import build, resolve
from suite.task import Block

PATH, CLIQUE = nx.path_graph(9), nx.complete_graph(7)
ROOT = Path(__file__).parents[1]
FAMILIES = {
    "path": PATH,
    "ring": RING,
    "clique": CLIQUE,
    "star": STAR,
    "binary tree": TREE,
    "barbell": barbell(6, 4, 1),
    "theta": theta(4, 3),
    "grid": GRID,
}
each_family = pytest.mark.parametrize("graph", FAMILIES.values(), ids=FAMILIES)


def every_pair(num_nodes: int) -> Tensor:
    return torch.tensor(list(combinations(range(num_nodes), 2))).T


# ranks


def test_ranks_of_known_matrices() -> None:
    five = ranks(torch.eye(5))
    assert [float(rank) for rank in five] == pytest.approx([5, 5, 5, math.sqrt(4 / 5)])
    two = ranks(torch.diag(torch.tensor([3.0, 1.0])))
    assert [float(rank) for rank in two] == pytest.approx([1.754765, 10 / 9, 2, 0.316228], abs=5e-7)
    one = ranks(torch.outer(torch.arange(1, 6), torch.tensor([1, 2, 3])).double())
    assert [float(rank) for rank in one] == pytest.approx([1, 1, 1, 0], abs=1e-7)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (600, 520)])
def test_ranks_are_those_of_numpys_singular_values(shape: tuple[int, int]) -> None:
    h = normal(*shape) @ torch.diag(torch.linspace(1, 5, shape[1]).double())
    values = np.linalg.svd(h.numpy(), compute_uv=False)
    found = ranks(h)
    assert float(found.stable) == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-9)
    assert float(found.residual) == pytest.approx(math.sqrt(1 - values[0] ** 2 / (values**2).sum()), rel=1e-9)
    assert float(found.numerical) == np.linalg.matrix_rank(h.numpy())


@pytest.mark.parametrize("factor", [1.0, 1e-100, 1e100])
@pytest.mark.parametrize("shape", [(5, 4), (30, 9), (6000, 4), (700, 600)])
def test_ranks_count_what_is_above_a_cut_that_no_size_or_scale_moves(shape: tuple[int, int], factor: float) -> None:
    """Singular values 1, 1/2, 1e-11 and 1e-13, of which the last is rounding; NumPy's own cut grows with the size."""
    left, right = (np.linalg.qr(np.random.default_rng(0).normal(size=(size, 4)))[0] for size in shape)
    h = factor * torch.from_numpy(left * [1, 1 / 2, 1e-11, 1e-13] @ right.T)
    found = ranks(h)
    assert found.numerical == np.linalg.matrix_rank(h.numpy() / factor, rtol=1e-12) == 3
    assert float(found.stable) == pytest.approx(5 / 4, rel=1e-9)
    share = np.array([1, 1 / 2, 1e-11]) / (3 / 2 + 1e-11)
    assert float(found.effective) == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-11)
    assert float(found.residual) == pytest.approx(math.sqrt(1 / 5), rel=1e-9)


def test_ranks_of_nothing_are_undefined() -> None:
    assert all(rank.isnan() for rank in ranks(torch.zeros(4, 3)))
    assert all(rank.isnan() for rank in ranks(torch.full((4, 3), torch.inf)))


@pytest.mark.parametrize("factor", [2.0, 1e-150, 1e150])
def test_scale_free_measures_do_not_see_the_scale(factor: float) -> None:
    h, y, everyone = normal(len(GRID), 6), torch.arange(len(GRID)) % 3, torch.arange(len(GRID))
    pairs, hops = every_pair(len(GRID)), hop_distance(edges(GRID), everyone, len(GRID))
    measures = [
        *(lambda h, name=name: getattr(ranks(h), name) for name in ranks(h)._fields),
        *(lambda h, op=op: rayleigh_quotient(h, edges(GRID), op) for op in ("gcn", "mean", "complete")),
        *(lambda h, op=op: fixed_space_distance(h, edges(GRID), op) for op in ("gcn", "mean", "sum")),
        lambda h: component_distances(h, edges(GRID), "gcn"),
        lambda h: mean_average_distance(h, pairs),
        lambda h: mad_gap(h, hops, near=2, far=5),
        lambda h: group_distance_ratio(h, y),
    ]
    for measure in measures:
        torch.testing.assert_close(measure(factor * h), measure(h), rtol=1e-6, atol=1e-12)


# angles


def test_angles_of_known_rows() -> None:
    first, both = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0], [3.0, 0.0]]), torch.tensor
    for other, expected in ((1, 1.0), (2, 0.292893), (3, 2.0), (4, 0.0)):
        pair = both([[0], [other]])
        assert float(mean_average_distance(first, pair)) == pytest.approx(expected, abs=5e-7)
        assert float(mean_cosine(first, pair)) == pytest.approx(1 - expected, abs=5e-7)


def test_mad_is_the_mean_of_scikit_learns_cosine_distances() -> None:
    h, pairs = normal(11, 4), every_pair(11)
    distances = cosine_distances(h.numpy())
    assert float(mean_average_distance(h, pairs)) == pytest.approx(distances[pairs[0], pairs[1]].mean(), rel=1e-9)
    stacked = torch.stack([h, 2 * h, h.flip(0)])
    assert mean_average_distance(stacked, pairs).shape == (3,)


def test_rows_of_zeros_have_no_angle() -> None:
    h = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    assert float(mean_average_distance(h, torch.tensor([[0, 0], [1, 2]]))) == 1
    assert mean_average_distance(h, torch.tensor([[0], [1]])).isnan()


def test_mad_gap_is_far_minus_near() -> None:
    hops = hop_distance(edges(PATH), torch.arange(9), 9)
    h = torch.stack([torch.cos(torch.arange(9) * 0.1), torch.sin(torch.arange(9) * 0.1)], 1)  # angle = .1 a hop
    far = 1 - math.cos(0.8)
    near = np.mean([1 - math.cos(0.1 * k) for k in (1, 2, 3) for _ in range(9 - k)])
    assert float(mad_gap(h, hops)) == pytest.approx(far - near, rel=1e-6)
    assert mad_gap(h, hops, far=9).isnan()


@pytest.mark.parametrize("chunk", [1, 500, 1 << 24])
def test_mad_gap_in_chunks_is_that_of_stated_pairs(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "PAIR_CHUNK", chunk)
    graph = nx.random_labeled_tree(60, seed=3)
    h = torch.randn(2, 60, 5, generator=torch.Generator().manual_seed(0))
    h[:, 7] = 0  # has no angle
    hops = hop_distance(edges(graph), torch.arange(60), 60)
    far, near = ((hops >= 8).nonzero().T, ((hops >= 1) & (hops <= 3)).nonzero().T)
    torch.testing.assert_close(mad_gap(h, hops), mean_average_distance(h, far) - mean_average_distance(h, near))


def test_angles_of_a_graph_as_wide_as_cora_take_no_memory_to_speak_of() -> None:
    """Two rows a pair would be 16 GB, of a path of 1,000 nodes with 1,024 features; chunks and products are below one.

    In a process of its own: this one keeps memory that other tests have freed.
    """
    code = """
import json, resource, torch
from suite.measures.similarity import mad_gap, mean_average_distance
h = torch.randn(1000, 1024, generator=torch.Generator().manual_seed(0))
node = torch.arange(1000)
hops = (node - node.unsqueeze(1)).abs()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = [float(mad_gap(h, hops)), float(mean_average_distance(h, (hops >= 1).nonzero().T[:, ::4]))]
print(json.dumps([*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    gap, mean, kibibytes = json.loads(done.stdout)
    assert abs(gap) < 0.01  # random rows are at right angles, near and far
    assert mean == pytest.approx(1, abs=0.01)
    assert kibibytes < 1e6


def test_group_distance_ratio_is_its_definition_in_loops() -> None:
    h, y = normal(9, 3), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    groups = [h[y == k] for k in range(3)]

    def mean(one: Tensor, other: Tensor) -> float:
        return float(np.mean([float((a - b).norm()) for a, b in product(one, other)]))

    apart = sum(mean(groups[i], groups[j]) for i, j in product(range(3), repeat=2) if i != j) / 2**2
    within = sum(mean(group, group) for group in groups) / 3
    assert float(group_distance_ratio(h, y)) == pytest.approx(apart / within, rel=1e-9)


def test_group_distance_ratio_without_a_denominator_is_undefined() -> None:
    assert group_distance_ratio(torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([0, 0, 1])).isnan()
    assert group_distance_ratio(normal(4, 2), torch.zeros(4)).isnan()
    with pytest.raises(ValueError, match="take a sample"):
        group_distance_ratio(torch.ones(5000, 1), torch.zeros(5000))


# energies


@each_family
def test_energies_are_traces_of_laplacians_by_networkx(graph: nx.Graph) -> None:
    h = normal(len(graph), 3)
    laplacian = nx.laplacian_matrix(graph, nodelist=range(len(graph))).toarray()
    found = {name: dirichlet_energy(h, edges(graph), name) for name in ("gcn", "mean", "complete")}
    assert float(found["mean"].energy) == pytest.approx(np.trace(h.numpy().T @ laplacian @ h.numpy()), rel=1e-9)
    smooth = torch.eye(len(graph)).double() - dense(graph, "gcn")
    assert float(found["gcn"].energy) == pytest.approx(float((h.T @ smooth @ h).trace()), rel=1e-9, abs=1e-9)
    assert float(found["complete"].energy) == pytest.approx(float((h - h.mean(0)).square().sum()), rel=1e-9)
    for name, (energy, norm) in found.items():
        assert float(energy / norm) == pytest.approx(float(rayleigh_quotient(h, edges(graph), name)), rel=1e-9, abs=1e-12)


def test_the_energy_of_the_limit_on_a_star_has_its_closed_form() -> None:
    roots = torch.tensor([d + 1 for _, d in STAR.degree]).sqrt().unsqueeze(1)
    found = dirichlet_energy(roots / roots.norm(), edges(STAR), "mean").energy
    assert float(found) == pytest.approx(20 * (21**0.5 - 2**0.5) ** 2 / 61, rel=1e-6)
    assert float(found) == pytest.approx(3.2913, abs=5e-5)


def test_energies_scale_with_the_square_and_quotients_do_not() -> None:
    h = normal(len(GRID), 4)
    once, twice = (dirichlet_energy(c * h, edges(GRID), "gcn") for c in (1, 2))
    assert float(twice.energy) == pytest.approx(4 * float(once.energy), rel=1e-12)
    assert float(twice.norm) == pytest.approx(4 * float(once.norm), rel=1e-12)
    assert dirichlet_energy(0 * h, edges(GRID), "gcn").energy == 0


# components


@pytest.mark.parametrize("operator", ["gcn", "mean", "sum"])
def test_distances_of_components_are_those_of_each_alone(operator: str) -> None:
    h = normal(len(TWO), 3)
    parts = [sorted(part) for part in nx.connected_components(TWO)]
    alone = [
        float(fixed_space_distance(h[part], edges(nx.convert_node_labels_to_integers(TWO.subgraph(part))), operator))
        for part in parts
    ]
    assert component_distances(h, edges(TWO), operator).tolist() == pytest.approx(alone, rel=1e-9)


def test_one_component_collapses_without_the_other_and_an_empty_one_is_undefined() -> None:
    h = normal(len(TWO), 3)
    first = sorted(next(nx.connected_components(TWO)))
    h[first] = 1
    found = component_distances(h, edges(TWO), "mean")
    assert found[0] < 1e-12
    assert found[1] > 0.1
    h[first] = 0
    assert component_distances(h, edges(TWO), "mean").isnan().tolist() == [True, False]


# limits and rates


@each_family
@pytest.mark.parametrize("operator", ["gcn", "mean"])
def test_diffusion_is_powers_of_the_dense_operator_and_ends_in_its_limit(graph: nx.Graph, operator: str) -> None:
    x, matrix = normal(len(graph), 2), dense(graph, operator)
    states = diffusion(x, edges(graph), operator, 5)
    for layer, state in enumerate(states):
        torch.testing.assert_close(state, torch.linalg.matrix_power(matrix, layer) @ x, rtol=1e-12, atol=1e-12)
    far = torch.linalg.matrix_power(matrix, 1 << 14) @ x
    torch.testing.assert_close(diffusion_limit(x, edges(graph), operator), far, rtol=1e-8, atol=1e-9)


def test_the_two_limits_are_a_constant_and_root_degrees() -> None:
    x = normal(len(TREE), 1).abs()
    of_mean, of_gcn = (diffusion_limit(x, edges(TREE), operator).flatten() for operator in ("mean", "gcn"))
    degree = torch.tensor([d + 1 for _, d in TREE.degree]).double()
    torch.testing.assert_close(of_mean, torch.full_like(of_mean, float((degree @ x) / degree.sum())))
    torch.testing.assert_close(of_gcn / degree.sqrt(), torch.full_like(of_gcn, float((degree.sqrt() @ x) / degree.sum())))


def test_the_figure_of_the_two_limits_shows_what_is_worked_out_from_them() -> None:
    kept, found = json.loads(figure.DATA.read_text(encoding="utf-8")), figure.work_out()
    assert kept.keys() == found.keys() == {"mean", "gcn"}
    for operator in kept:
        np.testing.assert_allclose(kept[operator]["features"], found[operator]["features"], rtol=2e-6)
        np.testing.assert_allclose(kept[operator]["limit"], found[operator]["limit"], rtol=2e-6)
        for space, distances in found[operator]["distance"].items():
            np.testing.assert_allclose(kept[operator]["distance"][space], distances, rtol=2e-6)


def drawn(path: Path) -> tuple[list[list[float]], list[str]]:
    """Return the coordinates of every path and mark of a figure, and its words; not the names that matplotlib gives them."""
    numbers, words = [], []
    for element in ElementTree.parse(path).iter():
        kind = element.tag.partition("}")[2]
        said = element.get("d") or f"{element.get('x', '')} {element.get('y', '')}"
        if kind in ("path", "use", "text"):
            numbers.append([float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", said)])
        if kind == "text":
            words.append(element.text or "")
    return numbers, words


def test_the_figure_of_the_page_is_the_one_that_is_drawn_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = figure.DATA.read_text(encoding="utf-8")
    monkeypatch.setattr(figure, "DATA", tmp_path / "limits.json")
    figure.write(tmp_path / "diffusion.svg")
    found, words = drawn(tmp_path / "diffusion.svg")
    expected, said = drawn(ROOT / "docs" / "diffusion.svg")
    assert words == said
    assert len(found) == len(expected) > 50
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=0.01)  # points
    assert (tmp_path / "limits.json").read_text(encoding="utf-8") == kept
    figure.write(tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "diffusion.svg").read_bytes()  # no date, no random names


@pytest.mark.parametrize("operator", ["gcn", "mean"])
def test_the_limit_of_several_components_is_that_of_each(operator: str) -> None:
    x = normal(len(TWO), 2)
    far = torch.linalg.matrix_power(dense(TWO, operator), 1 << 12) @ x
    torch.testing.assert_close(diffusion_limit(x, edges(TWO), operator), far, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("graph", "printed"),
    [(RING, -0.104160), (GRID, -0.206104), (TREE, -0.028847), (barbell(6, 4, 1), -0.020033), (STAR, -1.386294)],
)
def test_rates_have_their_printed_values(graph: nx.Graph, printed: float) -> None:
    assert decay_rate(edges(graph), len(graph)) == pytest.approx(printed, abs=6e-7)


def test_rates_at_the_ends() -> None:
    assert decay_rate(edges(CLIQUE), 7) == -math.inf
    assert decay_rate(edges(RING), 16) == pytest.approx(2 * math.log((1 + 2 * math.cos(2 * math.pi / 16)) / 3), rel=1e-9)
    with pytest.raises(ValueError, match="spectral_gap"):
        decay_rate(edges(nx.path_graph(5000)), 5000)


SLOPES = {name: graph for name, graph in FAMILIES.items() if name != "clique"} | {"lollipop": nx.lollipop_graph(5, 3)}


@pytest.mark.parametrize("graph", SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize("operator", ["gcn", "mean"])
def test_a_fitted_slope_is_the_rate_once_other_modes_are_gone(graph: nx.Graph, operator: str) -> None:
    """On 8 graphs, within 5 %, where the quotient is between 1e-6 and 1e-20 of a random one: straight, and above rounding."""
    rate = decay_rate(edges(graph), len(graph))
    states = diffusion(normal(len(graph), 8), edges(graph), operator, int(-50 / rate) + 8)
    quotient = rayleigh_quotient(states, edges(graph), operator)
    window = ((quotient < 1e-6) & (quotient > 1e-20)).nonzero().flatten()
    assert window.numel() >= 4
    slope = np.polyfit(window.numpy(), quotient[window].log().numpy(), 1)[0]
    assert slope == pytest.approx(rate, rel=0.05)


def test_oscillation_on_a_bipartite_graph_is_not_collapse() -> None:
    """Without self-loops an even ring's features have two phases for ever: neither quotient goes to 0."""
    walk = torch.from_numpy(nx.to_numpy_array(RING)) / 2
    h = torch.linalg.matrix_power(walk, 2000) @ normal(16, 4)
    for operator in ("gcn", "mean", "complete"):
        assert float(rayleigh_quotient(h, edges(RING), operator)) > 1e-2


# the table entries


class OnlyTheSource(Transfer):
    """No node but the source carries a class."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        others = torch.ones(block.num_nodes, dtype=torch.bool)
        others[block.source_index] = False
        block.x[:, others, : self.num_classes] = 0
        return block


def test_the_token_of_a_source_is_read_where_it_arrives_and_not_where_it_does_not() -> None:
    """S^L on a ring at 4 hops: at 3 layers nothing has arrived, at 4 a 2/3^4 of it has, more than the noise but the coarsest."""
    for num_layers, known in ((3, False), (4, True)):
        model = build(resolve("propagation"), 7, 16, num_layers, 5).eval()
        found = MEASURES["recoverability"].run(model, OnlyTheSource(topology=Ring(), hops=4), 0)["source"]
        for noise in ("0", "1e-07", "0.001"):
            assert found[noise] == 1 if known else abs(found[noise]) < 0.2
    of_own = build(resolve("propagation"), 5, 16, 2, 5).eval()
    assert MEASURES["recoverability"].run(of_own, OwnToken(topology=Ring(), size=12), 0)["source"] == {}


class Half(nn.Module):
    """Keeps the state of every second node, and lets the others die, at the second of two layers."""

    operator = "mean"

    def encode(self, x: Tensor, edge_index: Tensor) -> list[Tensor]:
        states = [x + 1]
        states.append(2 * states[0])
        return [*states, states[1] * (torch.arange(len(x)) % 2).unsqueeze(1)]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1]


def test_nodes_whose_state_died_are_counted_and_have_no_angle() -> None:
    """On a ring of 20 an edge has one dead end each: no angle is left over edges, while pairs of live nodes have theirs."""
    found = MEASURES["smoothing"].run(Half(), OwnToken(topology=Ring(), size=10), 0)
    assert found["zero_rows"] == [0, 0, 10 * found["num_draws"]]
    assert found["mad_edges"][1] == pytest.approx(found["mad_edges"][0])
    assert found["mad_edges"][2] is None
    assert 0 < found["mad_pairs"][2] < 1
    signals = MEASURES["gradient"].run(Half(), Transfer(topology=Ring(), hops=5), 0)["signal_zero_rows"]
    assert signals[2] == 8 * 9  # asked at one node of ten, in eight draws
    assert signals[1] == signals[0] > 72  # some of which died


def test_smoothing_by_layer_says_ranks_and_angles_beside_quotients() -> None:
    found = MEASURES["smoothing"].run(build(resolve("propagation"), 7, 16, 24, 5).eval(), Transfer(topology=Ring(), hops=4), 0)
    for name in ("mad_edges", "mad_pairs", "rank_residual"):
        assert found[name][-1] < found[name][0]
        assert len(found[name]) == 25
    assert all(a >= b - 1e-9 for a, b in pairwise(found["mad_edges"][4:]))

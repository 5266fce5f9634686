"""Measures of linear models on path, cycle, clique, star, binary tree, barbell and theta.

What L layers of S H W bring from u to v is (S^L)_vu times the product of their weights, so that everything that is said of the
Jacobian has a value: in closed form, or from NumPy's powers, singular values and pseudo-inverse of a matrix that NetworkX made.
Sizes as in `test_measures_closed_forms`.
"""

from collections.abc import Iterator
from math import cos, inf, log, nan, pi, sqrt
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import pytest
import torch
from oracles import Means
from test_measures_closed_forms import bell, clique, cycle, path, star, tree
from test_measures_structure import edges, theta
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, global_add_pool

from suite.measures import (
    absolute_influence,
    aggregation_gain,
    all_resistances,
    backward_states,
    decay_rate,
    diffusion_limit,
    expected_rayleigh_quotient,
    fixed_space_distance,
    gradient_norms,
    hop_distance,
    influence,
    influence_by_hop,
    influence_profile,
    influence_range,
    layer_gain,
    layer_spectrum,
    mixing,
    obstruction,
    operator_power,
    rayleigh_quotient,
    routing_gain,
    shares,
    signal_to_interference,
    skipping_power,
    spectral_gap,
    total_influence,
)

WIDTH = 2
WEIGHT = torch.tensor([[0.7, -1.1], [0.4, 0.9]], dtype=torch.float64)  # of every layer


class Layers(nn.Module):
    """`num_layers` GCN layers of a fixed weight and nothing else: H' = S H W."""

    def __init__(self, num_layers: int, weight: Tensor = WEIGHT, add_self_loops: bool = True) -> None:
        super().__init__()
        self.convs = nn.ModuleList(GCNConv(*weight.shape, bias=False, add_self_loops=add_self_loops) for _ in range(num_layers))
        for conv in self.convs:
            conv.lin.weight = nn.Parameter(weight.T.clone())

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index)
        return x


def given(graph: nx.Graph, *readouts: int, width: int = WIDTH) -> Data:
    x = torch.randn(len(graph), width, generator=torch.Generator().manual_seed(0))
    return Data(x=x, edge_index=edges(graph), readout_index=torch.tensor(readouts))


def matrix(graph: nx.Graph, loops: bool = True) -> Any:
    """D~^-1/2 A~ D~^-1/2."""
    adjacency = nx.to_numpy_array(graph, nodelist=range(len(graph))) + loops * np.eye(len(graph))
    root = np.sqrt(adjacency.sum(1))
    return adjacency / root[:, None] / root


def power(weight: Tensor, num_layers: int) -> Any:
    return np.linalg.matrix_power(weight.numpy(), num_layers)


class Ends(NamedTuple):
    """Two nodes r hops apart, what r steps bring from u to v, of GCN's operator and of means, ohms of edges but bridges."""

    graph: nx.Graph
    v: int
    u: int
    hops: int
    gcn: float
    mean: float
    ohms: float = nan


# Each way is a product over its edges, of 1 / sqrt of both ends' d + 1 (gcn), of 1 / (d + 1) at the node that asks (mean).
# An edge lies beside the rest of its cycle; in a clique by symmetry 2 / n; of a theta beside three more in a row with two routes.
ENDS = {
    "path": Ends(path(7), 0, 6, 6, 1 / (2 * 3**5), 1 / (2 * 3**5)),
    "cycle": Ends(cycle(10), 0, 5, 5, 2 / 3**5, 2 / 3**5, 9 / 10),
    "clique": Ends(clique(7), 0, 4, 1, 1 / 7, 1 / 7, 2 / 7),
    "star": Ends(star(6), 2, 5, 2, 1 / (2 * 7), 1 / (2 * 7)),
    "tree": Ends(tree(4), 0, 30, 4, 1 / (4**2 * sqrt(96)), 1 / (3 * 4**3)),
    "barbell": Ends(bell(5, 2), 0, 5, 5, 1 / (5 * 6**2 * 3**2), 1 / (5 * 6**2 * 3**2), 2 / 5),
    "theta": Ends(theta(4, 3), 0, 1, 4, 3 / (4 * 3**3), 3 / (4 * 3**3), 5 / 6),
}
each = pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)


@each
def test_influence_between_the_ends(ends: Ends) -> None:
    graph, weight = given(ends.graph, ends.v), power(WEIGHT, ends.hops)
    model = Layers(ends.hops)
    assert float(influence(model, [graph])[0].x[0, ends.u]) == pytest.approx(ends.gcn * np.linalg.norm(weight), rel=1e-12)
    assert float(absolute_influence(model, graph)[0, ends.u]) == pytest.approx(ends.gcn * abs(weight).sum(), rel=1e-12)
    if ends.hops > 1:
        assert influence(Layers(ends.hops - 1), [graph])[0].x[0, ends.u] == 0


@each
def test_the_share_of_means_is_the_probability_of_a_walk(ends: Ends) -> None:
    norms = influence(Means(ends.hops), [given(ends.graph, ends.v)])[0].x
    assert float(shares(norms)[0, ends.u]) == pytest.approx(ends.mean, rel=1e-12)
    rows = operator_power(edges(ends.graph), len(ends.graph), "mean", ends.hops, torch.tensor([ends.v]))
    assert float(routing_gain(norms, rows)[0, ends.u]) == pytest.approx(0, abs=1e-12)


@each
@pytest.mark.parametrize("num_layers", [1, 4])
def test_what_aggregation_makes_of_a_total_is_the_row_sum_of_its_operator(ends: Ends, num_layers: int) -> None:
    data = given(ends.graph, *range(len(ends.graph)))
    near(10 ** aggregation_gain(Layers(num_layers), data), np.linalg.matrix_power(matrix(ends.graph), num_layers).sum(1))
    assert aggregation_gain(Means(num_layers), data).tolist() == pytest.approx([0] * len(ends.graph), abs=1e-14)


def test_on_a_star_the_hub_gains_what_leaves_lose() -> None:
    """One row of S: 1/(n + 1) + n / sqrt(2 (n + 1)) at the hub, 1/2 + 1 / sqrt(2 (n + 1)) at a leaf."""
    n = 7
    hub, leaf = 1 / (n + 1) + n / sqrt(2 * (n + 1)), 1 / 2 + 1 / sqrt(2 * (n + 1))
    near(aggregation_gain(Layers(1), given(star(n), 0, 3)), np.log10([hub, leaf]))


@each
def test_mixing_of_a_product_of_two_depths(ends: Ends) -> None:
    """y = sum of H^a H^b, a + b = r: its second derivative is 2 (S^r)_vu W W^T."""
    weight = WEIGHT.numpy()
    found = mixing(Products(ends.hops // 2, ends.hops), given(ends.graph, ends.v), torch.tensor([[ends.v, ends.u]]))
    assert float(found) == pytest.approx(2 * ends.gcn * abs(weight @ weight.T).max(), rel=1e-12)


class Products(nn.Module):
    """The sum over nodes and channels of S^a x W times S^b x W, a number a graph, a + b = `steps`."""

    def __init__(self, a: int, steps: int) -> None:
        super().__init__()
        self.near, self.far = (Layers(count, torch.eye(WIDTH, dtype=torch.float64)) for count in (a, steps - a))
        self.lin = nn.Linear(WIDTH, WIDTH, bias=False)
        self.lin.weight = nn.Parameter(WEIGHT.T.clone())

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.lin(x)
        return global_add_pool((self.near(h, edge_index) * self.far(h, edge_index)).sum(1, keepdim=True), None)


@each
@pytest.mark.parametrize("steps", [2, 5, 9])
def test_mixing_of_every_pair(ends: Ends, steps: int) -> None:
    n, weight = len(ends.graph), WEIGHT.numpy()
    pairs = torch.tensor([(v, u) for v in (ends.v, ends.u) for u in range(n)])
    entries = np.linalg.matrix_power(matrix(ends.graph), steps)[pairs[:, 0], pairs[:, 1]]
    expected = torch.from_numpy(2 * entries * abs(weight @ weight.T).max())
    torch.testing.assert_close(mixing(Products(1, steps), given(ends.graph, ends.v), pairs), expected, rtol=1e-10, atol=0)


@each
@pytest.mark.parametrize("num_layers", [1, 3, 8])
def test_all_that_is_said_of_the_jacobian_is_said_of_powers_by_numpy(ends: Ends, num_layers: int) -> None:
    n, asked = len(ends.graph), [ends.v, ends.u]
    model, graph, weight = Layers(num_layers), given(ends.graph, *asked), power(WEIGHT, num_layers)
    rows = np.linalg.matrix_power(matrix(ends.graph), num_layers)[asked]
    far = dict(nx.all_pairs_shortest_path_length(ends.graph))
    hops = np.array([[far[v][u] for u in range(n)] for v in asked])
    inverse = np.linalg.pinv(nx.laplacian_matrix(ends.graph, nodelist=range(n)).toarray().astype(float), hermitian=True)
    ohms = np.array([[inverse[v, v] + inverse[u, u] - 2 * inverse[v, u] for u in range(n)] for v in asked])
    shells = np.stack([(hops == k) for k in range(hops.max() + 1)], axis=1)  # [read-outs, hops, nodes]
    size, share = np.linalg.norm(weight), rows / rows.sum(1, keepdims=True)

    norms, found = influence(model, [graph])[0].x, influence_by_hop(model, graph)
    near(norms, size * rows)
    near(shares(norms), share)
    by_hop = np.einsum("vhu,vu->vh", shells, share)
    near(found.share, by_hop.mean(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        near(found.mean_share, np.nanmean(by_hop / shells.sum(2), axis=0))
    assert found.pairs.tolist() == shells.sum((0, 2)).tolist()
    for k, log10_norm in enumerate(found.log10_norm.tolist()):
        felt = (size * rows)[(hops == k) & (rows > 0)]
        assert log10_norm == pytest.approx(np.log10(felt).mean() if felt.size else np.nan, nan_ok=True, rel=1e-10)
    assert found.log10_total == pytest.approx(np.log10(size * rows.sum(1)).mean(), rel=1e-10)

    absolute = absolute_influence(model, graph)
    near(absolute, abs(weight).sum() * rows)
    near(total_influence(absolute, torch.from_numpy(hops)), abs(weight).sum() * np.einsum("vhu,vu->vh", shells, rows).mean(0))
    own_hops = hop_distance(graph.edge_index, graph.readout_index, n)
    for distance, measured in ((hops, own_hops), (ohms, all_resistances(graph.edge_index, n, graph.readout_index))):
        ranges = influence_range(absolute, measured)
        near(ranges.normalised, (share * distance).sum(1))
        near(ranges.unnormalised, abs(weight).sum() * (rows * distance).sum(1))

    near(influence_profile(model, graph).squares, np.einsum("vhu,vu->vh", shells, (size * rows) ** 2))
    varying = np.linspace(0, 2, n)  # of which node 0 holds nothing that varies
    power_of = rows**2 * varying
    source = torch.zeros(2, n, dtype=torch.bool)
    source[:, ends.u] = True
    with np.errstate(divide="ignore"):  # a leaf of a star hears the hub alone, which holds nothing that varies: infinite
        ratio = power_of[:, ends.u] / (power_of.sum(1) - power_of[:, ends.u])
    near(signal_to_interference(norms, source, torch.from_numpy(varying)), ratio)


def near(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-300, equal_nan=True)


@each
def test_the_range_of_one_mean_is_that_of_its_neighbours(ends: Ends) -> None:
    """d of d + 1 nodes are a hop away; in ohms, by what an edge of the family resists."""
    n, every = len(ends.graph), torch.arange(len(ends.graph))
    norms = influence(Means(1), [given(ends.graph, *range(n))])[0].x
    hops = influence_range(norms, hop_distance(edges(ends.graph), every, n)).normalised
    near(hops, [d / (d + 1) for _, d in sorted(ends.graph.degree)])
    ohms = influence_range(norms, all_resistances(edges(ends.graph), n, every)).normalised
    bridges = {frozenset(edge) for edge in nx.bridges(ends.graph)}
    near(ohms, [sum(1 if {i, j} in bridges else ends.ohms for j in ends.graph[i]) / (1 + ends.graph.degree[i]) for i in range(n)])


# Powers of S. Clique: J / n. Cycle: coefficients of (x + 1 + 1/x)^L over 3^L, of steps forth, still and back, round and round.
# Star of n leaves: what adds up to 0 over leaves is halved; else the root of d + 1 stays, and the vector across to it has the
# rest of the trace, 1/2 + 1/(n + 1) - 1.
def steps_of(num_steps: int) -> Any:
    counts = np.array([1.0])
    for _ in range(num_steps):
        counts = np.convolve(counts, [1, 1, 1])
    return counts / 3**num_steps


def of_cycle(n: int, apart: int, steps: int) -> float:
    return float(sum(chance for forth, chance in enumerate(steps_of(steps), start=-steps) if (forth - apart) % n == 0))


def of_star(n: int, v: int, u: int, steps: int) -> float:
    if steps < (v > 0) + (u > 0) and v != u:
        return 0
    kept, across = (sqrt(n + 1), sqrt(2)), (sqrt(2 * n), -sqrt((n + 1) / n))  # at the hub, at a leaf, over sqrt(3n + 1)
    two = [pair[v > 0] * pair[u > 0] / (3 * n + 1) for pair in (kept, across)]
    apart = ((v == u) - 1 / n) * 0.5**steps if v and u else 0
    return two[0] + two[1] * (1 / (n + 1) - 1 / 2) ** steps + apart


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize(
    ("graph", "rows"),
    [
        (clique(6), {0: lambda *_: 1 / 6}),
        (cycle(9), {0: lambda u, steps: of_cycle(9, u, steps)}),
        (star(5), {v: lambda u, steps, v=v: of_star(5, v, u, steps) for v in (0, 3)}),
    ],
    ids=["clique", "cycle", "star"],
)
def test_what_depth_brings_where_powers_are_known(graph: nx.Graph, rows: Any, steps: int) -> None:
    n = len(graph)
    eye = torch.eye(WIDTH, dtype=torch.float64)
    for v, entry in rows.items():
        expected = np.array([entry(u, steps) for u in range(n)])
        data = given(graph, v)
        norms = influence(Layers(steps, eye), [data])[0].x
        near(norms[0], sqrt(WIDTH) * expected)  # |I|
        hops = hop_distance(data.edge_index, data.readout_index, n)
        far = hops[0].numpy()
        near(influence_range(norms, hops).normalised, [(expected * far).sum() / expected.sum()])
        shells = [sum(entry(u, 1) for u in range(n) if far[u] == k) for k in range(far.max() + 1)]
        near(total_influence(absolute_influence(Layers(1), data), hops), abs(WEIGHT.numpy()).sum() * np.array(shells))
        # All other nodes together hold (S^2L)_vv less what the source does.
        source, twice = torch.arange(n).unsqueeze(0) == n - 1, entry(v, 2 * steps)
        found = signal_to_interference(norms, source, torch.ones(n))
        near(found, [expected[-1] ** 2 / (twice - expected[-1] ** 2)])
        near(
            _signal_norms(data, steps),
            [sqrt(entry(v, 2 * (steps - layer))) if layer < steps else 1 for layer in range(steps + 1)],
        )
        pairs = torch.tensor([(v, u) for u in range(n)])
        largest = abs(WEIGHT.numpy() @ WEIGHT.numpy().T).max()
        near(mixing(Products(steps // 2, steps), data, pairs), 2 * largest * expected)


def _signal_norms(graph: Data, num_layers: int) -> Tensor:
    """Norms of the error signals, by layer, of a loss that feels one channel of the read-out node: its row of S^(L - l)."""
    hidden, model = [graph.x.double().requires_grad_()], Layers(num_layers, torch.eye(WIDTH, dtype=torch.float64))
    for conv in model.convs:
        hidden.append(conv(hidden[-1], graph.edge_index))
    return gradient_norms(backward_states(hidden, hidden[-1][graph.readout_index, 0].sum()), [0, len(graph.x)]).squeeze(1)


@pytest.mark.parametrize(("n", "num_layers"), [(9, 1), (9, 3), (25, 10)])
def test_the_range_on_a_cycle_counts_steps_forth_still_and_back(n: int, num_layers: int) -> None:
    """Before the walk meets itself."""
    expected = (steps_of(num_layers) * abs(np.arange(-num_layers, num_layers + 1))).sum()
    data = given(cycle(n), 0)
    found = influence_range(absolute_influence(Layers(num_layers), data), hop_distance(data.edge_index, data.readout_index, n))
    assert float(found.normalised) == pytest.approx(expected, rel=1e-12)


# The spectrum of S, from symmetries: what is equal at alike nodes, and what adds up to 0 over them.
# Theta of h = 2: the middles apart keep 1/3, the poles apart 1/(p + 1), else 1 and the rest of the trace.
# Barbell without nodes between: unattached nodes apart keep nothing; of what is alike in both cliques 1 and the rest of the
# trace; of opposites the roots of x^2 - (k - 1)/k x - (k - 1)/(k (k + 1)), since the bridge takes away what the attached keep.
# Tree: what is 0 above the children of a node, and opposite below them, is a path of levels; so is what is alike in a level.
def of_levels(height: int, loops: bool = True, root: bool = False) -> list[float]:
    """Eigenvalues on `height` levels, the lowest of leaves, the highest of the root if `root`: symmetric and tridiagonal."""
    degrees = np.array([2 if root and level == 0 else 3 for level in range(height - 1)] + [1]) + loops
    across = np.sqrt(2 / (degrees[:-1] * degrees[1:]))
    return np.linalg.eigvalsh(np.diag(loops / degrees) + np.diag(across, 1) + np.diag(across, -1)).tolist()


def of_bell(k: int) -> list[float]:
    middle, wide = (k - 1) / k, sqrt(((k - 1) / k) ** 2 + 4 * (k - 1) / (k * (k + 1)))
    return [1, 2 / (k + 1) - 1 / k, (middle + wide) / 2, (middle - wide) / 2, *[0] * (2 * k - 4)]


def of_tree(depth: int) -> list[float]:
    apart = [value for level in range(depth) for value in 2**level * of_levels(depth - level)]
    return apart + of_levels(depth + 1, root=True)


SPECTRA: list[tuple[nx.Graph, bool, list[float]]] = [
    *[(cycle(n), True, [(1 + 2 * cos(2 * pi * k / n)) / 3 for k in range(n)]) for n in (3, 8, 11)],
    *[(cycle(n), False, [cos(2 * pi * k / n) for k in range(n)]) for n in (5, 8)],
    *[(path(n), False, [cos(pi * k / (n - 1)) for k in range(n)]) for n in (2, 6, 9)],
    (path(2), True, [1, 0]),
    (path(3), True, [1, 1 / 2, -1 / 6]),
    *[(clique(n), True, [1, *[0] * (n - 1)]) for n in (2, 6)],
    *[(clique(n), False, [1, *[-1 / (n - 1)] * (n - 1)]) for n in (3, 6)],
    *[(star(n), True, [1, 1 / (n + 1) - 1 / 2, *[1 / 2] * (n - 1)]) for n in (2, 6)],
    *[(star(n), False, [1, -1, *[0] * (n - 1)]) for n in (2, 6)],
    *[(theta(2, p), True, [1, 1 / (p + 1), 1 / (p + 1) - 2 / 3, *[1 / 3] * (p - 1)]) for p in (2, 5)],
    # A route by itself, 0 at the poles, and all routes alike, a path of h edges.
    *[(theta(h, p), False, [cos(pi * k / h) for k in range(1, h)] * (p - 1) + [cos(pi * k / h) for k in range(h + 1)])
      for h, p in ((2, 3), (4, 3), (5, 2))],
    *[(bell(k, 0), True, of_bell(k)) for k in (3, 6)],
    *[(tree(r), True, of_tree(r)) for r in (1, 2, 4)],
]  # fmt: skip


@pytest.mark.parametrize(("graph", "loops", "spectrum"), SPECTRA)
def test_the_spectrum_of_a_layer_is_that_of_operator_times_weight(graph: nx.Graph, loops: bool, spectrum: list[float]) -> None:
    assert np.linalg.eigvalsh(matrix(graph, loops)) == pytest.approx(sorted(spectrum), abs=1e-12)
    data, of_weight = given(graph, 0), np.linalg.svd(WEIGHT.numpy(), compute_uv=False)
    expected = np.sort(np.outer(np.abs(spectrum), of_weight).ravel())[::-1].copy()
    for found in layer_spectrum(Layers(2, add_self_loops=loops), data):
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-12)


@each
def test_the_spectrum_of_a_layer_is_what_numpy_finds(ends: Ends) -> None:
    of_operator = np.linalg.svd(matrix(ends.graph), compute_uv=False)
    of_weight = np.linalg.svd(WEIGHT.numpy(), compute_uv=False)
    expected = np.sort(np.outer(of_operator, of_weight).ravel())[::-1].copy()
    data, model = given(ends.graph, 0), Layers(1)
    torch.testing.assert_close(layer_spectrum(model, data)[0], torch.from_numpy(expected), rtol=1e-9, atol=1e-12)
    gains = [layer_gain(model, data, torch.Generator().manual_seed(seed)) for seed in range(100)]
    assert all(gain.largest <= expected[0] * (1 + 1e-12) for gain in gains)
    # 400 probes z: |z J|^2 is a sum of s^2 chi^2, of variance 2 sum s^4.
    mean_square, error = np.square(expected).mean(), sqrt(2 * np.power(expected, 4).sum() / 400) / len(expected)
    assert abs(float(torch.stack([gain.rms.square() for gain in gains]).mean()) - mean_square) < 4 * error


def test_the_largest_gain_of_a_layer_that_keeps_one_direction_is_exact() -> None:
    weight = torch.tensor([[-3.0]], dtype=torch.float64)
    assert layer_gain(Layers(1, weight), given(clique(6), 0, width=1)).largest.item() == pytest.approx(3, rel=1e-12)


@pytest.mark.parametrize(("graph", "spectrum"), [(graph, spectrum) for graph, loops, spectrum in SPECTRA if loops])
def test_rates_of_linear_smoothing(graph: nx.Graph, spectrum: list[float]) -> None:
    second = sorted(map(abs, spectrum))[-2]
    expected = 2 * log(second) if second > 1e-15 else -inf
    assert decay_rate(edges(graph), len(graph)) == pytest.approx(expected, rel=1e-9)


# Gaps of walks: the second largest of the eigenvalues above; and of the tree, without loops, by hand: one level, no eigenvalue
# but 0; two, +- sqrt(2/3); three, 2/9 + 2/3 is the square. Of the barbell, opposites: the unattached keep (k - 2)/(k - 1) and
# give 1/sqrt k, the attached keep -1/k.
def opposites(k: int) -> float:
    own, bridge = (k - 2) / (k - 1), -1 / k
    return (own + bridge + sqrt((own - bridge) ** 2 + 4 / k)) / 2


GAPS: list[tuple[nx.Graph, bool, float]] = [
    *[(graph, loops, 1 - sorted(spectrum)[-2]) for graph, loops, spectrum in SPECTRA],
    (tree(1), False, 1),
    (tree(2), False, 1 - sqrt(2 / 3)),
    (tree(3), False, 1 - sqrt(8 / 9)),
    *[(tree(r), False, 1 - max(of_levels(r, loops=False))) for r in (5, 9)],  # 1,023 nodes: by Lanczos
    (tree(9), True, 1 - max(of_levels(9))),
    *[(bell(k, 0), False, 1 - opposites(k)) for k in (3, 8, 150)],
    *[(theta(h, p), False, 1 - cos(pi / h)) for h, p in ((12, 4), (40, 2), (100, 5))],
]


@pytest.mark.parametrize(("graph", "loops", "expected"), GAPS)
def test_gaps(graph: nx.Graph, loops: bool, expected: float) -> None:
    assert spectral_gap(edges(graph), len(graph), loops) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("graph", [tree(5), bell(6, 3), bell(20, 10), theta(12, 3)])
def test_gaps_are_those_of_networkxs_laplacian(graph: nx.Graph) -> None:
    expected = np.linalg.eigvalsh(nx.normalized_laplacian_matrix(graph).toarray())[1]
    assert spectral_gap(edges(graph), len(graph)) == pytest.approx(expected, rel=1e-9)


# Pairs of alike nodes, whose difference is an eigenvector of value x: S^k at v less S^k at u is x^k, so that 2/d times
# x + ... + x^L is the obstruction, |I| apart. Leaves: 1/2. Middles of two routes: 1/3. In a clique, and unattached: 0.
def geometric(x: float, num_layers: int) -> float:
    return sum(x**k for k in range(1, num_layers + 1))


@pytest.mark.parametrize("num_layers", [1, 2, 6])
@pytest.mark.parametrize(
    ("graph", "v", "u", "degree", "value"),
    [
        (path(3), 0, 2, 1, 1 / 2),
        (cycle(4), 0, 2, 2, 1 / 3),
        (clique(6), 1, 4, 5, 0),
        (star(7), 2, 5, 1, 1 / 2),
        (tree(3), 7, 8, 1, 1 / 2),
        (bell(5, 2), 0, 2, 4, 0),
        (theta(2, 5), 3, 5, 2, 1 / 3),
    ],
)
def test_obstruction_of_alike_nodes(graph: nx.Graph, v: int, u: int, degree: int, value: float, num_layers: int) -> None:
    model = Layers(num_layers, torch.eye(WIDTH, dtype=torch.float64))
    found = obstruction(model, given(graph, 0), torch.tensor([[v, u]]))
    expected = sqrt(WIDTH) * 2 / degree * geometric(value, num_layers)
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-14)


@each
@pytest.mark.parametrize("num_layers", [1, 4])
def test_obstruction_between_the_ends(ends: Ends, num_layers: int) -> None:
    """Of powers of S by NumPy, each with the weights of the layers that are left."""
    v, u, total = ends.v, ends.u, 0.0
    dv, du = (ends.graph.degree[node] for node in (v, u))
    for steps in range(1, num_layers + 1):
        s = np.linalg.matrix_power(matrix(ends.graph), steps)
        apart = s[v, v] / dv + s[u, u] / du - (s[v, u] + s[u, v]) / sqrt(dv * du)
        total += abs(apart) * np.linalg.norm(power(WEIGHT, steps))
    found = obstruction(Layers(num_layers), given(ends.graph, v), torch.tensor([[v, u]]))
    assert float(found) == pytest.approx(total, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("num_layers", [1, 5])
def test_skips_on_a_clique(scale: float, num_layers: int) -> None:
    """S is a projection: the product of I +- cS is I + (P - 1) S, P the product of 1 +- c, of mean 1 and square (1 + c^2)^L."""
    n, grown = 6, (1 + scale**2) ** num_layers
    found = skipping_power(edges(clique(n)), n, "gcn", [scale] * num_layers, torch.tensor([0]))[0]
    assert found[1:].tolist() == pytest.approx([sqrt(grown - 1) / n] * (n - 1), rel=1e-12)
    assert float(found[0]) == pytest.approx(sqrt(1 + (grown - 1) / n**2), rel=1e-12)


# Degrees of each family: how many nodes have which.
DEGREES: list[tuple[nx.Graph, dict[int, int]]] = [
    (path(9), {1: 2, 2: 7}),
    (cycle(9), {2: 9}),
    (clique(6), {5: 6}),
    (star(6), {1: 6, 6: 1}),
    (tree(4), {1: 16, 2: 1, 3: 14}),
    (bell(5, 3), {4: 8, 5: 2, 2: 3}),
    (theta(4, 5), {5: 2, 2: 15}),
]


def counted(degrees: dict[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Degree, count, number of nodes, and the sum of d + 1."""
    n, total = sum(degrees.values()), sum((d + 1) * count for d, count in degrees.items())
    yield from ((d, count, n, total) for d, count in degrees.items())


@pytest.mark.parametrize(("graph", "degrees"), DEGREES)
def test_smoothness_of_one_node_and_of_independent_ones(graph: nx.Graph, degrees: dict[int, int]) -> None:
    listed = edges(graph)
    for d, count, n, total in counted(degrees):
        nodes = [node for node in graph if graph.degree[node] == d]
        assert len(nodes) == count
        h = torch.zeros(n, 1, dtype=torch.float64)
        h[nodes[0]] = 1
        for kind in ("gcn", "mean"):
            assert float(rayleigh_quotient(h, listed, kind)) == pytest.approx(d / (d + 1), rel=1e-12)  # type: ignore[arg-type]
        assert float(rayleigh_quotient(h, listed, "complete")) == pytest.approx(1 - 1 / n, rel=1e-12)
        assert float(fixed_space_distance(h, listed, "gcn")) == pytest.approx(sqrt(1 - (d + 1) / total), rel=1e-12)
        for kind in ("mean", "complete"):
            assert float(fixed_space_distance(h, listed, kind)) == pytest.approx(sqrt(1 - 1 / n), rel=1e-12)  # type: ignore[arg-type]
        near(diffusion_limit(h, listed, "mean"), [[(d + 1) / total]] * n)
        other = [sqrt((d + 1) * (graph.degree[node] + 1)) / total for node in range(n)]
        near(diffusion_limit(h, listed, "gcn").squeeze(1), other)
    null = sum(count * d / (d + 1) for d, count, _, _ in counted(degrees)) / len(graph)
    assert expected_rayleigh_quotient(listed, len(graph), "gcn") == pytest.approx(null, rel=1e-12)
    lost = sum(count * d for d, count, _, _ in counted(degrees)) / sum(count * (d + 1) for d, count, _, _ in counted(degrees))
    assert expected_rayleigh_quotient(listed, len(graph), "mean") == pytest.approx(lost, rel=1e-12)


# Sums are drawn to the largest eigenvector of A: alike on cycles and cliques, half a wave on a path, sqrt n at a star's hub.
@pytest.mark.parametrize(
    ("graph", "node", "kept"),
    [
        (cycle(8), 3, 1 / 8),
        (clique(6), 2, 1 / 6),
        *[(path(7), j, np.sin(pi * (j + 1) / 8) ** 2 / 4) for j in (0, 3)],
        (star(5), 0, 1 / 2),
        (star(5), 2, 1 / 10),
        (theta(2, 5), 0, 1 / 4),
        (theta(2, 5), 3, 1 / 10),
    ],
)
def test_the_fixed_space_of_sums(graph: nx.Graph, node: int, kept: float) -> None:
    h = torch.zeros(len(graph), 1, dtype=torch.float64)
    h[node] = 1
    assert float(fixed_space_distance(h, edges(graph), "sum")) == pytest.approx(sqrt(1 - kept), rel=1e-9)

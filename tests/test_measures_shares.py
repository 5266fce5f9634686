"""Facts about shares, ranges, mixing and layers: linear models by hand, central differences, closed forms of walks."""

import itertools
from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from differences import Known, first, holds, second
from test_measures_squashing import LOLLIPOP, built, graph_of, seeded
from test_measures_structure import barbell, edges
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import APPNP, GAT, GCN, GIN, GATv2Conv, GCNConv, GraphSAGE, SGConv, SimpleConv, global_add_pool
from torch_geometric.utils import to_undirected
from torch_geometric.utils import total_influence as of_pyg

import suite
from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.factors import Factored, combine
from suite.hops import hop_distance
from suite.measures.frozen import Frozen
from suite.measures.layers import layer_gain, layer_spectrum
from suite.measures.mixing import mixing
from suite.measures.shares import (
    absolute_influence,
    all_resistances,
    influence_range,
    obstruction,
    routing_gain,
    shares,
    signal_to_interference,
    total_influence,
)
from suite.measures.squashing import influence
from suite.measures.structure import effective_resistance, operator_power, power_as_run, propagation_matrix, skipping_power
from suite.measures.twin import aggregation_gain
from suite.models import build, resolve
from suite.rng import stream
from suite.samples import graphs_of
from suite.views import task_ref


def hops_in(graph: Data) -> Tensor:
    return hop_distance(graph.edge_index, graph.readout_index, int(graph.num_nodes))


def log_regression(model: nn.Module, graph: Data, num_layers: int) -> tuple[float, float]:
    """Regress log10 |J_vu| on log10 (S^L)_vu over pairs in reach: slope and R^2."""
    operator = operator_power(graph.edge_index, int(graph.num_nodes), "gcn", num_layers, graph.readout_index)
    norms = influence(model, [graph])[0].x
    felt = (norms > 0) & (operator > 0)
    x, y = operator[felt].log10().numpy(), norms[felt].log10().numpy()
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(1 - np.square(y - slope * x - offset).sum() / np.square(y - y.mean()).sum())


# shares


@pytest.mark.parametrize("make", [GCN, GraphSAGE, GIN])
def test_share_times_total_is_the_influence(make: type[nn.Module]) -> None:
    graph = graph_of(LOLLIPOP, 3, [0, 6])
    norms = influence(seeded(make, 3, 8, 2, 4), [graph])[0].x
    torch.testing.assert_close(shares(norms) * norms.sum(1, keepdim=True), norms)
    torch.testing.assert_close(shares(norms).sum(1), torch.ones(2).double())


def test_shares_of_a_node_that_feels_nothing_are_undefined_and_not_zero() -> None:
    found = shares(torch.tensor([[0.0, 0.0], [1.0, 3.0]]))
    assert found[0].isnan().all()
    assert found[1].tolist() == [0.25, 0.75]


def test_attention_with_a_logit_gap_has_its_closed_form() -> None:
    logits = torch.zeros(1, 100).double()
    logits[0, 7] = 5
    assert shares(logits.softmax(1))[0, 7].item() == pytest.approx(0.59986, abs=5e-6)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_weights_times_a_factor_leave_shares_and_ranges(factor: float) -> None:
    graph = graph_of(LOLLIPOP, 3, [0, 6])
    model = built("gcn", 3, 4, norm="none", encoder="linear")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.zero_() if name.endswith("bias") else None
    before = influence(model, [graph])[0].x
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(factor)
    after = influence(model, [graph])[0].x
    assert not torch.allclose(after, before)
    torch.testing.assert_close(shares(after), shares(before), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(
        influence_range(after, hops_in(graph)).normalised, influence_range(before, hops_in(graph)).normalised, rtol=1e-6, atol=0
    )


def test_a_linear_gcn_has_no_routing_gain() -> None:
    graph = graph_of(LOLLIPOP, 3, [0, 6])
    model = seeded(SGConv, 3, 4, K=5)
    operator = operator_power(graph.edge_index, 7, "gcn", 5, graph.readout_index)
    gain = routing_gain(influence(model, [graph])[0].x, operator)
    torch.testing.assert_close(gain, torch.zeros_like(gain), atol=1e-12, rtol=0)


def test_squares_of_a_skip_add_up_over_weights_of_either_sign() -> None:
    """The mean square of entries of the product of I +- c S, over all signs: what uncorrelated weights come to."""
    edge_index, scales = edges(LOLLIPOP), [0.5, 2.0, 1.0, 0.3]
    matrix = operator_power(edge_index, 7, "gcn", 1, torch.arange(7))
    total = torch.zeros(7, 7, dtype=torch.float64)
    for signs in itertools.product((1, -1), repeat=4):
        product = torch.eye(7, dtype=torch.float64)
        for sign, scale in zip(signs, scales, strict=True):
            product = product @ (torch.eye(7, dtype=torch.float64) + sign * scale * matrix)
        total += product.square() / 16
    torch.testing.assert_close(skipping_power(edge_index, 7, "gcn", [*scales], torch.arange(7)), total.sqrt())
    bare = skipping_power(edge_index, 7, "mean", [None] * 5, torch.tensor([3]))
    torch.testing.assert_close(bare, operator_power(edge_index, 7, "mean", 5, torch.tensor([3])))
    with pytest.raises(ValueError, match="operator"):
        skipping_power(edge_index, 7, "rook", [1.0], torch.tensor([0]))  # type: ignore[arg-type]


@pytest.mark.parametrize("operator", ["gcn", "complete"])
def test_layers_that_change_width_hand_nothing_on(operator: Any) -> None:
    every, edge_index = torch.arange(7), edges(LOLLIPOP)
    matrix, unit = operator_power(edge_index, 7, operator, 1, every), torch.eye(7, dtype=torch.float64)
    expected = (matrix.square() + 0.25 * (matrix @ matrix).square()).sqrt()
    torch.testing.assert_close(skipping_power(edge_index, 7, operator, [None, 0.5], every), expected)
    torch.testing.assert_close(skipping_power(edge_index, 7, operator, [], every), unit)


@pytest.mark.parametrize("name", ["gcn", "gcn_residual"])
def test_untrained_nets_do_not_route(name: str) -> None:
    """On a ring of 24, at 0, 3, ... 12 hops: with a skip as without, over seeds of weights and inputs."""
    gains = []
    for seed in range(8):
        torch.manual_seed(seed)
        graph = graph_of(nx.cycle_graph(24), 7, [0])
        graph.x = torch.randn(24, 7)
        model = build(resolve(name), 7, 32, 12, 5)
        operator = power_as_run(Frozen(model).run([graph]), graph, "gcn", graph.readout_index)
        gains.append(routing_gain(influence(model, [graph])[0].x, operator)[0, :13:3])
    mean = torch.stack(gains).mean(0)
    assert mean.abs().max() < 0.25, mean  # the operator without the skip: -3 at 12 hops


class Skipping(nn.Module):
    """Convolutions with what was before added, outside of them: a residual net as PyG users write it."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(GCNConv(4, 4) for _ in range(3))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = x + conv(x, edge_index).relu()
        return x


class Telling(nn.Module):
    """A stranger's module that tells its states and declares nothing: adjacency times state, and `kept` times the state."""

    def __init__(self, kept: float) -> None:
        super().__init__()
        self.kept = kept

    def encode(self, x: Tensor, edge_index: Tensor) -> list[Tensor]:
        states = [x]
        for _ in range(3):
            h = states[-1].new_zeros(x.shape).index_add(0, edge_index[1], states[-1][edge_index[0]]).tanh()
            states.append(h + self.kept * states[0] if self.kept else h)  # an initial residual
        return states

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1]

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.decode(self.encode(x, edge_index))


@pytest.mark.parametrize(
    ("make", "skips"),
    [
        (lambda: GCN(4, 8, 3, 4), "none"),
        (lambda: GCN(4, 8, 3, 4, jk="cat"), "other"),
        (Skipping, "other"),
        (lambda: built("gcn", 4, 3), "none"),
        (lambda: built("gcn", 4, 3, skip="residual"), "added"),
        (lambda: built("gcn", 4, 3, readout="concat"), "other"),
        (lambda: built("gcn_initial", 4, 3), "other"),
        (lambda: built("gcn_virtual_node", 4, 3), "other"),
        (lambda: built("gcn_virtual_node", 4, 3, skip="residual"), "other"),
        (lambda: built("gcn_adjacent", 4, 3), "other"),
        (lambda: built("deep_sets", 4, 3), "other"),
        (lambda: Telling(0.0), "none"),
        (lambda: Telling(1.0), "other"),
    ],
)
def test_what_passes_layers_by_is_known(make: Any, skips: str) -> None:
    assert Frozen(make()).run([graph_of(LOLLIPOP, 4, [0])]).skips == skips


def test_an_operator_without_the_skip_tells_no_routing_and_says_so() -> None:
    task = Transfer(topology=Ring(), hops=3)
    found = suite.diagnose(build(resolve("gcn_initial"), 7, 8, 4, 5), task)
    assert found.measures["shares"]["source_gain"] is None
    assert "gcn operator without the skip" in found.sentences["Over-squashing"]
    assert "How much of it is routing is not known" in found.sentences["Over-squashing"]
    shown = [text.get_text() for ax in found.plot().axes if (legend := ax.get_legend()) for text in legend.get_texts()]
    assert "gcn without the skip" in shown
    found = suite.diagnose(build(resolve("gcn_residual"), 7, 8, 4, 5), task)
    assert "the gcn operator with its skip" in found.sentences["Over-squashing"]
    assert "times that of the operator with its skip" in found.sentences["Over-squashing"]


def test_a_gain_is_undefined_where_the_operator_does_not_reach() -> None:
    assert routing_gain(torch.ones(1, 2), torch.tensor([[1.0, 0.0]])).isnan().tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("graph", "readouts"),
    [
        (nx.cycle_graph(24), [0, 3]),
        (barbell(8, 6, 1), [0, 1, 16]),
        (nx.balanced_tree(2, 5), [0, 1, 40]),
        (nx.convert_node_labels_to_integers(nx.grid_2d_graph(5, 5), ordering="sorted"), [0, 12]),
    ],
    ids=["ring", "barbell", "binary tree", "grid"],
)
def test_influence_at_initialisation_is_proportional_to_the_power_of_the_operator(graph: nx.Graph, readouts: list[int]) -> None:
    """Over all pairs: slope .9 to 1.05, R^2 at least .9 (mean over three initialisations of a plain GCN of width 64)."""
    data = graph_of(graph, 8, readouts)
    fits = [log_regression(seeded(GCN, 8, 64, 12, 8, seed=seed), data, 12) for seed in range(3)]
    slope, r_squared = np.mean(fits, axis=0)
    assert 0.9 <= slope <= 1.05
    assert r_squared >= 0.9


# range


@pytest.mark.parametrize(("num_layers", "printed"), [(5, 1.440329), (12, 2.2454), (48, 4.5077)])
def test_the_range_of_diffusion_on_a_long_ring_is_that_of_its_walk(num_layers: int, printed: float) -> None:
    graph = graph_of(nx.cycle_graph(101), 1, [0])
    rows = operator_power(graph.edge_index, 101, "gcn", num_layers, graph.readout_index)
    assert influence_range(rows, hops_in(graph)).normalised.item() == pytest.approx(printed, abs=6e-5)


@pytest.mark.parametrize("hops", [1, 3, 5])
def test_a_mean_over_the_nodes_at_k_hops_has_range_k(hops: int) -> None:
    graph = graph_of(nx.balanced_tree(2, 6), 1, [0, 1])
    at = (hops_in(graph) == hops).double()
    rows = 3 * at / at.sum(1, keepdim=True)
    found = influence_range(rows, hops_in(graph))
    assert found.normalised.tolist() == pytest.approx([hops, hops])
    assert found.unnormalised.tolist() == pytest.approx([3 * hops, 3 * hops])


def test_ranges_leave_out_nodes_without_a_path() -> None:
    found = influence_range(torch.tensor([[1.0, 1.0, 9.0]]), torch.tensor([[0, 2, -1]]))
    assert (found.normalised.item(), found.unnormalised.item()) == (1, 2)
    in_ohms = influence_range(torch.tensor([[1.0, 1.0, 9.0]]), torch.tensor([[0.0, 0.5, torch.nan]]))
    assert in_ohms.normalised.item() == 0.25
    assert influence_range(torch.zeros(1, 2), torch.tensor([[0, 1]])).normalised.isnan().all()


@pytest.mark.parametrize("graph", [LOLLIPOP, nx.petersen_graph(), nx.balanced_tree(2, 3)])
def test_resistances_of_a_whole_graph_are_those_of_networkx_and_of_pairs(graph: nx.Graph) -> None:
    n = len(graph)
    found = all_resistances(edges(graph), n, torch.arange(n))
    theirs = nx.resistance_distance(graph)
    expected = torch.tensor([[theirs[a][b] for b in range(n)] for a in range(n)], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    pairs = torch.cartesian_prod(torch.arange(n), torch.arange(n))
    torch.testing.assert_close(found.flatten(), effective_resistance(edges(graph), n, pairs), rtol=1e-9, atol=1e-9)
    low, high = torch.tensor(list(graph.edges)).T
    assert found[low, high].sum().item() == pytest.approx(n - 1)  # Foster
    with pytest.raises(ValueError, match="4,096, got 5,000"):
        all_resistances(edges(nx.path_graph(5000)), 5000, torch.tensor([0]))


# the edge-free twin


def test_the_twin_of_a_gcn_is_a_deep_mlp_of_its_weights() -> None:
    graph = graph_of(LOLLIPOP, 3, [0, 6])
    model, twin = (built(name, 3, 4, norm="layer", encoder="linear") for name in ("gcn", "mlp"))
    twin.load_state_dict(model.state_dict())
    totals = [influence(net, [graph])[0].x.sum(1) for net in (model, twin)]
    torch.testing.assert_close(aggregation_gain(model, graph), (totals[0] / totals[1]).log10())


@pytest.mark.parametrize("make", [GCN, GraphSAGE, GAT])
def test_the_twin_of_pygs_nets_sees_each_node_alone(make: type[nn.Module]) -> None:
    graph = graph_of(LOLLIPOP, 3, [0, 6])
    model = seeded(make, 3, 8, 3, 4)
    lone = [Data(x=graph.x[[v]], edge_index=torch.zeros(2, 1, dtype=torch.long), readout_index=torch.tensor([0])) for v in (0, 6)]
    alone = torch.cat([influence(model, [one])[0].x.sum(1) for one in lone])
    expected = (influence(model, [graph])[0].x.sum(1) / alone).log10()
    torch.testing.assert_close(aggregation_gain(model, graph), expected)


def test_the_twin_of_weighted_edges_is_refused() -> None:
    graph = graph_of(LOLLIPOP, 3, [0])
    graph.edge_weight = torch.ones(graph.edge_index.size(1))
    with pytest.raises(ValueError, match="no edge_weight"):
        aggregation_gain(seeded(GCN, 3, 8, 3, 4), graph)


# L1


@pytest.mark.parametrize("make", [GCN, GraphSAGE, GIN])
def test_total_influence_is_pygs_where_its_ball_is_the_whole_graph(make: type[nn.Module]) -> None:
    model = seeded(make, 3, 8, 3, 2).eval()
    graph = graph_of(LOLLIPOP, 3, list(range(7)))
    theirs, range_ = of_pyg(model, graph, max_hops=nx.diameter(LOLLIPOP), normalize=False)
    found = absolute_influence(model, graph)
    torch.testing.assert_close(total_influence(found, hops_in(graph)).float(), theirs, rtol=1e-4, atol=1e-6)
    assert influence_range(found, hops_in(graph)).normalised.mean().item() == pytest.approx(range_, rel=1e-4)


def absolute_slopes(model: nn.Module, graph: Data) -> Known:
    """Return |d out_v / d x_ub| summed over outputs by differences: [num_readouts, num_nodes, in_channels]."""
    return first(model, graph, graph.readout_index).magnitude(3).at(lambda part: part.permute(2, 0, 1))


@pytest.mark.parametrize("name", ["gcn", "gat", "gps", "graphormer", "gcn_virtual_node", "grit", "san"])
def test_absolute_influence_is_the_sum_of_what_central_differences_give(name: str) -> None:
    graph = graph_of(LOLLIPOP, 2, [0, 5])
    model = built(name, 2, 3)
    holds(absolute_influence(model, graph), absolute_slopes(model, graph).magnitude(2))


@pytest.mark.parametrize("name", ["gcn", "gps"])
@pytest.mark.parametrize("encoding", ["laplacian", "random_walk"])
def test_absolute_influence_with_encodings_held_fixed(encoding: str, name: str) -> None:
    """Encodings are columns of x that depend on edges alone: what the task gave is moved, and they are not."""
    held = combine(name, (), (encoding, {}), None).encoding
    (graph,) = graphs_of(Factored(seen=task_ref(Transfer(hops=3)), encoding=held).draw(1, stream("test")))
    model = built(name, graph.x.size(1), 3)
    assert 0 < int(graph.own.sum()) < graph.own.numel()
    every = absolute_slopes(model, graph)
    expected = every.at(lambda part: part * graph.own).magnitude(2)
    assert not torch.allclose(expected.value, every.magnitude(2).value)  # encodings would be felt
    holds(absolute_influence(model, graph), expected)


# signal and interference


def test_signal_to_interference_counts_what_varies() -> None:
    norms, source = torch.tensor([[1.0, 2.0, 3.0, 0.0]]), torch.tensor([[False, True, False, False]])
    assert signal_to_interference(norms, source, torch.ones(4)).item() == pytest.approx(4 / 10)
    assert signal_to_interference(norms, source, torch.tensor([0.0, 1.0, 0.5, 1.0])).item() == pytest.approx(4 / 4.5)
    assert signal_to_interference(norms, source, torch.tensor([0.0, 1.0, 0.0, 1.0])).item() == float("inf")
    nobody = torch.tensor([[False, False, False, True]])
    assert signal_to_interference(norms, nobody, torch.ones(4)).item() == 0
    assert signal_to_interference(norms, nobody, torch.tensor([0.0, 0.0, 0.0, 1.0])).isnan().all()


# obstruction


class Diffusion(nn.Module):
    """H^(l+1) = S H^(l), nothing learnt."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(SimpleConv(aggr="mean") for _ in range(num_layers))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index)
        return x


@pytest.mark.parametrize("num_layers", [1, 4])
def test_obstruction_of_diffusion_is_made_of_entries_of_powers(num_layers: int) -> None:
    graph = graph_of(LOLLIPOP, 3, [0])
    walk = torch.from_numpy(nx.to_numpy_array(LOLLIPOP))
    degrees = walk.sum(1)
    walk = walk / degrees.unsqueeze(1)
    pairs = [(0, 6), (3, 4), (2, 2)]
    expected = []
    for v, u in pairs:
        total = 0.0
        for steps in range(1, num_layers + 1):
            power = torch.linalg.matrix_power(walk, steps)
            cross = (power[v, u] + power[u, v]) / (degrees[v] * degrees[u]).sqrt()
            total += abs(float(power[v, v] / degrees[v] + power[u, u] / degrees[u] - cross)) * 3**0.5  # times |I_3|
        expected.append(total)
    found = obstruction(Diffusion(num_layers), graph, torch.tensor(pairs))
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found[2] == 0


def test_obstruction_needs_edges() -> None:
    graph = Data(x=torch.randn(3, 2), edge_index=torch.tensor([[0, 1], [1, 0]]))
    with pytest.raises(ValueError, match="needs an edge"):
        obstruction(Diffusion(1), graph, torch.tensor([[0, 2]]))


# mixing


class Product(nn.Module):
    """One number a graph: sum over nodes of (w . x_v) squared, after one sum over neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = SimpleConv(aggr="sum")

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.conv(x, edge_index)
        return global_add_pool(h.square().sum(1, keepdim=True), None)


def test_mixing_of_a_square_is_by_hand() -> None:
    """y = |A x|^2: the second derivative by x_v and x_u is 2 (A^T A)_vu, for each channel by itself."""
    graph = graph_of(LOLLIPOP, 2, [0])
    adjacency = torch.from_numpy(nx.to_numpy_array(LOLLIPOP))
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    expected = 2 * (adjacency.T @ adjacency)[pairs[:, 0], pairs[:, 1]]
    torch.testing.assert_close(mixing(Product(), graph, pairs), expected)
    graph.x.zero_()  # where every slope is 0, and the curvature is not
    torch.testing.assert_close(mixing(Product(), graph, pairs), expected)


def second_differences(model: nn.Module, graph: Data, pairs: Tensor, channels: Sequence[int]) -> Known:
    """Return the largest |d^2 y / d x_va d x_ub| over outputs y at the read-out and some channels a and b: [num_pairs]."""
    return second(model, graph, pairs, channels).largest(1, 2, 3, 4)


@pytest.mark.parametrize("name", ["gcn", "gat", "gps", "graphormer", "gcn_virtual_node", "set_transformer", "grit", "san"])
def test_mixing_is_what_second_differences_give(name: str) -> None:
    graph = graph_of(nx.path_graph(4), 2, [1])
    model = built(name, 2, 2, out_channels=2, **{"norm": "layer"} if name.startswith("gcn") else {})  # which is smooth
    pairs = torch.tensor([[0, 1], [0, 2], [3, 0], [1, 1], [1, 3]])
    found = mixing(model, graph, pairs)
    assert found.gt(0).all()
    holds(found, second_differences(model, graph, pairs, range(2)))


@pytest.mark.parametrize("name", ["gcn", "gps"])
@pytest.mark.parametrize("encoding", ["laplacian", "random_walk"])
def test_mixing_with_encodings_held_fixed(encoding: str, name: str) -> None:
    """Encodings are columns of x that depend on edges alone: what the task gave is moved, and they are not."""
    held = combine(name, (), (encoding, {}), None).encoding
    (graph,) = graphs_of(Factored(seen=task_ref(Transfer(hops=3)), encoding=held).draw(1, stream("test")))
    own = graph.own[0].nonzero().flatten().tolist()
    assert 0 < len(own) < graph.x.size(1)
    assert torch.equal(graph.own, graph.own[:1].expand_as(graph.own))
    model = built(name, graph.x.size(1), 3, out_channels=2, **{"norm": "layer"} if name == "gcn" else {})
    weight = next(weight for weight in model.parameters() if weight.dim() == 2 and weight.size(1) == graph.x.size(1))
    with torch.no_grad():
        weight[:, ~graph.own[0]] *= 2  # what an encoding says is the louder
    v, u = int(graph.readout_index), int(graph.source_index)
    pairs = torch.tensor([[v, v], [v, u]])
    expected = second_differences(model, graph, pairs, own)
    every = second_differences(model, graph, pairs[1:], range(graph.x.size(1)))
    assert expected.value.min() > 0
    assert every.value > 1.2 * expected.value[1]  # encodings would be felt
    holds(mixing(model, graph, pairs), expected)


@pytest.mark.parametrize("model", [seeded(GCN, 2, 8, 2, 2), seeded(GIN, 2, 8, 2, 2), built("gcn", 2, 2)])
def test_mixing_refuses_what_is_piecewise_linear(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="piecewise linear"):
        mixing(model, graph_of(nx.path_graph(4), 2, [0]), torch.tensor([[0, 1]]))


def test_mixing_says_how_many_passes_are_too_many() -> None:
    with pytest.raises(ValueError, match="16,384"):
        mixing(seeded(GCN, 300, 8, 2, 60), graph_of(nx.path_graph(4), 300, [0]), torch.tensor([[0, 1]]))


# layers


class Linear(nn.Module):
    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(GCNConv(width, width, bias=False) for _ in range(num_layers))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index)
        return x


def test_singular_values_of_a_linear_layer_are_products_of_those_of_operator_and_weight() -> None:
    graph, model = graph_of(LOLLIPOP, 3, [0]), seeded(Linear, 3, 2)
    source, target, weight = propagation_matrix(graph.edge_index, 7, "gcn")
    operator = torch.zeros(7, 7).double().index_put((target, source), weight)
    for conv, found in zip(model.convs, layer_spectrum(model, graph), strict=True):
        of_weight = torch.linalg.svdvals(conv.lin.weight.double())
        expected = torch.outer(torch.linalg.eigvalsh(operator).abs(), of_weight).flatten().sort(descending=True).values
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["gcn", "gat", "gps", "graphormer", "gcn_initial", "gated_gcn", "swan"])
def test_gains_are_those_of_the_spectrum(name: str) -> None:
    graph, model = graph_of(LOLLIPOP, 4, [0]), built(name, 4, 3)
    spectrum = layer_spectrum(model, graph)
    gains = [layer_gain(model, graph, torch.Generator().manual_seed(seed)) for seed in range(50)]  # 200 probes
    squares = torch.stack([gain.rms.square() for gain in gains]).mean(0)
    largest = torch.stack([gain.largest for gain in gains])
    assert len(spectrum) == squares.numel() == 3
    for values, square, found in zip(spectrum, squares, largest.T, strict=True):
        assert (found <= values[0] * (1 + 1e-9)).all()
        assert found.median() >= 0.95 * values[0]
        assert square.item() == pytest.approx(values.square().mean().item(), rel=0.2)


def test_a_spectrum_is_that_of_the_jacobian_by_central_differences() -> None:
    graph, model = graph_of(LOLLIPOP, 3, [0]), seeded(GATv2Conv, 3, 3, heads=1)
    slopes = first(model, graph).at(lambda part: part.flatten(2).flatten(0, 1))
    expected = torch.linalg.svdvals(slopes.value)
    (found,) = layer_spectrum(model, graph)
    holds(found, Known(expected, slopes.error.norm().expand(expected.shape)))  # which moves no singular value by more


def test_twice_the_weights_of_a_linear_layer_double_its_gain() -> None:
    graph, model = graph_of(LOLLIPOP, 3, [0]), seeded(Linear, 3, 2)
    before = layer_gain(model, graph)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    after = layer_gain(model, graph)
    torch.testing.assert_close(after.rms, 2 * before.rms)
    torch.testing.assert_close(after.largest, 2 * before.largest)


def test_a_layer_that_forgets_its_input_has_no_gain() -> None:
    model = seeded(Linear, 3, 2)
    with torch.no_grad():
        model.convs[1].lin.weight.zero_()
    graph = graph_of(LOLLIPOP, 3, [0])
    assert layer_gain(model, graph).largest.tolist()[1] == 0
    assert layer_spectrum(model, graph)[1].max() == 0


def test_a_spectrum_that_is_too_large_says_what_to_ask_instead() -> None:
    with pytest.raises(ValueError, match="layer_gain probes it"):
        layer_spectrum(seeded(Linear, 16, 1), graph_of(nx.path_graph(400), 16, [0]))


def test_loops_do_not_count_in_the_degrees_of_an_obstruction() -> None:
    graph = graph_of(nx.lollipop_graph(4, 3), 3, [0])
    model, pairs = built("mlp", 3, 2, out_channels=8), torch.tensor([[0, 5]])
    looped = graph.clone()
    looped.edge_index = torch.cat([graph.edge_index, torch.tensor([[0, 5], [0, 5]])], dim=1)
    assert torch.equal(obstruction(model, looped, pairs), obstruction(model, graph, pairs))


# values printed where the formulas are


def test_appnp_brings_its_printed_value_round_a_ring() -> None:
    """Ring of 20, alpha .1, 12 steps, 7 hops: .9^12 (S^12)_vu + .1 sum over k = 7 ... 11 of .9^k (S^k)_vu, at most .9^7."""
    graph = graph_of(nx.cycle_graph(20), 1, [0])
    felt = influence(APPNP(12, 0.1), [graph])[0].x[0, 7]
    powers = {k: float(operator_power(graph.edge_index, 20, "gcn", k, torch.tensor([0]))[0, 7]) for k in range(7, 13)}
    assert float(felt) == pytest.approx(0.9**12 * powers[12] + 0.1 * sum(0.9**k * powers[k] for k in range(7, 12)), rel=1e-12)
    assert float(felt) == pytest.approx(2.266729e-3, abs=5e-10)


def test_a_skip_of_the_size_of_its_layer_halves_what_comes_at_each_hop() -> None:
    """((I + S) / 2)^12 at 12 hops of a ring of 24 is (S^12)_vu / 2^12."""
    edges = to_undirected(torch.tensor(list(nx.cycle_graph(24).edges)).T)
    found = skipping_power(edges, 24, "gcn", [1.0] * 12, torch.tensor([0]))[0, 12] / 2**12
    assert float(found) == pytest.approx(2 / 3**12 / 2**12, rel=1e-9)
    assert float(found) == pytest.approx(9.188e-10, abs=5e-14)


def test_without_self_loops_a_ring_brings_nothing_at_the_wrong_parity() -> None:
    """Ring of 24, 12 hops: (A_norm^L)_vu is 2 / 2^12 at 12 steps, and exactly 0 at 13; with self-loops it is not."""
    graph = graph_of(nx.cycle_graph(24), 1, [0])
    for num_layers, printed in ((12, 4.88e-4), (13, 0)):
        bare = seeded(SGConv, 1, 1, K=num_layers, add_self_loops=False)
        found = float(influence(bare, [graph])[0].x[0, 12] / bare.lin.weight.detach().abs())
        assert found == pytest.approx(0 if num_layers % 2 else 2 / 2**12, rel=1e-6, abs=0)
        assert found == pytest.approx(printed, abs=0 if num_layers % 2 else 5e-7)
        assert operator_power(graph.edge_index, 24, "gcn", num_layers, graph.readout_index)[0, 12] > 0

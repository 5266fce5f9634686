"""Facts about influence and gradients: linear models by hand, central differences, PyG's `total_influence`."""

import copy
from collections.abc import Callable
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from differences import Known, first, holds
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, GIN, GCNConv, GraphNorm, GraphSAGE, LayerNorm, SGConv
from torch_geometric.utils import to_undirected, total_influence

from datasets.mean_exchange import MeanExchange
from datasets.own_token import OwnToken
from datasets.ring import Ring
from datasets.transfer import Transfer
from datasets.tree import Tree
from suite.factors import Factored, combine
from suite.hops import hop_distance
from suite.measures import MEASURES
from suite.measures.draws import draw, with_readouts
from suite.measures.frozen import Frozen
from suite.measures.gradients import backward_states, gradient_norms
from suite.measures.smoothing import rayleigh_quotient, signals_as_states
from suite.measures.squashing import by_hop, influence, influence_by_hop
from suite.measures.structure import operator_power
from suite.models import MODELS, build, resolve
from suite.rng import stream
from suite.samples import graphs_of
from suite.views import task_ref

LOLLIPOP = nx.lollipop_graph(4, 3)


def graph_of(graph: nx.Graph, channels: int, readouts: list[int], seed: int = 0) -> Data:
    """Return a graph whose nodes are 0, 1, ... with normal features."""
    x = torch.randn(len(graph), channels, generator=torch.Generator().manual_seed(seed))
    edge_index = to_undirected(torch.tensor(list(graph.edges)).T)
    return Data(x=x, edge_index=edge_index, readout_index=torch.tensor(readouts))


def seeded(make: type[nn.Module], *sizes: int, seed: int = 0, **settings: object) -> nn.Module:
    torch.manual_seed(seed)
    return make(*sizes, **settings)


def built(name: str, in_channels: int, num_layers: int, out_channels: int = 3, width: int = 8, **settings: object) -> nn.Module:
    torch.manual_seed(1)
    return build(resolve(name, settings), in_channels, width, num_layers, out_channels)


def jacobian(model: nn.Module, graph: Data) -> Known:
    """Return the Frobenius norms |d out_v / d x_u| by differences: [num_readouts, num_nodes]."""
    return first(model, graph, graph.readout_index).over(1, 3).at(lambda part: part.T)


# the Jacobian


@pytest.mark.parametrize("num_layers", [1, 4, 9])
def test_linear_gcn_feels_each_node_as_the_operator_says_times_the_norm_of_its_weight(num_layers: int) -> None:
    model = seeded(SGConv, 3, 4, K=num_layers, bias=False)
    graph = graph_of(LOLLIPOP, 3, [0, 6])
    rows = operator_power(graph.edge_index, 7, "gcn", num_layers, graph.readout_index)
    weight = model.lin.weight.detach().double()
    found = influence(model, [graph])[0]
    torch.testing.assert_close(found.x, rows * weight.norm(), rtol=1e-12, atol=0)
    assert found.hidden is None
    share = by_hop([found.x], [hop_distance(graph.edge_index, graph.readout_index, 7)]).share
    of_operator = by_hop([rows], [hop_distance(graph.edge_index, graph.readout_index, 7)]).share
    torch.testing.assert_close(share, of_operator, rtol=1e-12, atol=0)


@pytest.mark.parametrize("num_layers", [2, 3])
@pytest.mark.parametrize(
    "name",
    ["gcn", "gat", "gin", "sage", "gcn_virtual_node", "gcn_initial", "gps", "spd_transformer", "graphormer", "grit", "san"],
)
def test_influence_is_what_central_differences_give(name: str, num_layers: int) -> None:
    graph = graph_of(LOLLIPOP, 2, [0, 5])
    model = built(name, 2, num_layers)
    holds(influence(model, [graph])[0].x, jacobian(model, graph))


@pytest.mark.parametrize("name", ["gcn", "gat", "gps", "graphormer", "gcn_virtual_node"])
def test_influence_at_the_farthest_hop_is_what_central_differences_give(name: str) -> None:
    """Along a path of 7 hops, at whose end little is felt where edges alone carry it."""
    graph = graph_of(nx.path_graph(8), 2, [0])
    model = built(name, 2, 7, width=16)
    found = influence(model, [graph])[0].x
    assert found.gt(0).all()
    if not model.global_channel:
        assert float(found[0, 7]) < 1e-2 * float(found.max())
    holds(found, jacobian(model, graph))


@pytest.mark.parametrize("encoding", ["laplacian", "random_walk", "random"])
def test_encodings_are_held_and_what_the_task_gave_is_felt_as_central_differences_say(encoding: str) -> None:
    held = combine("gcn", {}, (encoding, {}), None).encoding
    task = Factored(seen=task_ref(Transfer(hops=3)), encoding=held)
    (graph,) = graphs_of(task.draw(1, stream("test")))
    model = built("gcn", graph.x.size(1), 3)
    assert 0 < int(graph.own.sum()) < graph.own.numel()
    slopes = first(model, graph, graph.readout_index).at(lambda part: part * graph.own[:, :, None, None])
    holds(influence(model, [graph])[0].x, slopes.over(1, 3).at(lambda part: part.T))


@pytest.mark.parametrize("make", [GCN, GraphSAGE, GIN])
def test_influence_agrees_with_pyg_where_the_ball_is_the_whole_graph(make: type[nn.Module]) -> None:
    model = seeded(make, 1, 8, 3, 1).eval()  # one input and one output: their L1 is our Frobenius norm
    graph = graph_of(LOLLIPOP, 1, list(range(7)))
    diameter = nx.diameter(LOLLIPOP)
    theirs, _ = total_influence(model, graph, max_hops=diameter, normalize=False)
    hops = hop_distance(graph.edge_index, graph.readout_index, 7)
    norms = influence(model, [graph])[0].x
    ours = torch.stack([norms[hops == k].sum() for k in range(diameter + 1)]) / 7
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"constant"}))  # which feels nothing: no share is defined
def test_edges_alone_carry_nothing_beyond_the_reach_and_a_global_channel_does(name: str) -> None:
    model = built(name, 4, 3, width=16)  # wide enough that no ReLU shuts off the farthest nodes
    graph = graph_of(nx.cycle_graph(28), 4, [0])  # PH-DGN reads four hops a layer
    found = influence_by_hop(model, graph)
    first = 4 if model.reach is None else model.reach + 1
    beyond = found.zeros[first:] == found.pairs[first:]
    if model.global_channel - {"norm(train)"}:  # batch statistics are constants in eval mode
        assert not beyond.any()
        assert found.log10_norm.isfinite().all()
    else:
        assert len(beyond) > 0
        assert beyond.all()
        assert found.log10_norm[first:].isnan().all()
        assert found.share[first:].eq(0).all()
        assert model.reach is not None
        if name != "cognn":  # whose nodes may not listen: then nothing is felt
            assert found.zeros[: model.reach + 1].eq(0).all()


@pytest.mark.parametrize(("norm", "crosses"), [(LayerNorm(8, mode="node"), False), (LayerNorm(8), True), (GraphNorm(8), True)])
def test_some_norms_are_global_channels(norm: nn.Module, crosses: bool) -> None:
    model = seeded(GCN, 4, 8, 3, 2, norm=norm)
    beyond = influence_by_hop(model, graph_of(nx.cycle_graph(20), 4, [0])).zeros[4:]
    assert beyond.eq(0).all() if crosses else beyond.tolist() == [2, 2, 2, 2, 2, 2, 1]


def test_graphs_asked_together_answer_as_they_do_alone() -> None:
    model = built("gps", 3, 2)
    graphs = [
        graph_of(LOLLIPOP, 3, [0, 5, 6]),
        graph_of(nx.cycle_graph(5), 3, [2], seed=1),
        graph_of(LOLLIPOP, 3, [1, 2], seed=2),
    ]
    for alone, together in zip((influence(model, [g])[0] for g in graphs), influence(model, graphs), strict=True):
        torch.testing.assert_close(together.x, alone.x)
        torch.testing.assert_close(together.hidden, alone.hidden)


def test_influence_on_the_first_state_sees_past_an_encoder() -> None:
    model = built("gcn", 3, 4, encoder="linear")
    graph = graph_of(LOLLIPOP, 3, [0, 6])
    model.encoder.weight.data[:, 1] = 0  # a dead input column
    model.encoder.weight.data[2:] = 0
    model.encoder.bias.data = torch.tensor([9.0, 9, 0, 0, 0, 0, 0, 0])  # two live channels, in the linear part of ReLU
    found = influence(model, [graph])[0]
    assert found.hidden is not None
    assert found.hidden.gt(0).all()
    reduced = built("gcn", 8, 4, encoder="none")
    reduced.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("encoder")})
    first = graph.clone()
    first.x = Frozen(model).run([graph]).hidden[0]
    torch.testing.assert_close(found.hidden, influence(reduced, [first])[0].x)


def test_wide_outputs_are_probed_without_bias() -> None:
    graph = graph_of(LOLLIPOP, 2, [0])
    model = built("gat", 2, 2, out_channels=80)
    exact = jacobian(model, graph).value
    squares = torch.stack([found.x.square() for found in influence(model, [graph] * 200, torch.Generator().manual_seed(5))])
    error = squares.std(0) / 200**0.5
    reached = exact > 1e-6
    assert ((squares.mean(0) - exact.square()).abs() < 5 * error)[reached].all()
    assert squares[:, ~reached].eq(0).all()


def test_a_norm_whose_square_underflows_is_small_and_not_zero() -> None:
    model = seeded(SGConv, 3, 3, K=2, bias=False).double()
    graph = graph_of(nx.path_graph(5), 3, [0])
    before = influence(model, [graph])[0].x
    model.lin.weight.data *= 1e-200
    after = influence(model, [graph])[0].x
    torch.testing.assert_close(after * 1e200, before)
    assert after[0, 3:].eq(0).all()
    assert after[0, :3].gt(0).all()


def test_a_convolution_that_cached_another_graph_is_asked_on_this_one() -> None:
    torch.manual_seed(0)
    cached, fresh = GCNConv(3, 3, cached=True), GCNConv(3, 3)
    fresh.load_state_dict(cached.state_dict())
    cached(torch.zeros(7, 3), graph_of(nx.path_graph(7), 3, [0]).edge_index)
    graph = graph_of(LOLLIPOP, 3, [0])
    assert torch.equal(influence(cached, [graph])[0].x, influence(fresh, [graph])[0].x)
    assert cached._cached_edge_index is not None  # the model itself keeps what it had


def test_a_graph_without_readouts_is_refused() -> None:
    graph = Data(x=torch.ones(3, 2), edge_index=torch.tensor([[0, 1], [1, 0]]))
    with pytest.raises(ValueError, match="readout_index"):
        influence(GCN(2, 4, 1), [graph])


# by hop


def test_influence_is_share_times_total() -> None:
    graph = graph_of(nx.star_graph(6), 3, [0, 1])
    norms = influence(built("gcn", 3, 2), [graph])[0].x
    hops = hop_distance(graph.edge_index, graph.readout_index, 7)
    found = by_hop([norms], [hops])
    assert float(found.share.sum()) == pytest.approx(1, rel=1e-12)
    assert found.pairs.tolist() == [2, 7, 5]  # the centre: 1, 6, 0; a leaf: 1, 1, 5
    assert found.log10_total == pytest.approx(float(norms.sum(1).log10().mean()), rel=1e-12)
    assert float(found.log10_norm[2]) == pytest.approx(float(norms[1, 2:].log10().mean()), rel=1e-12)
    centre, leaf = norms / norms.sum(1, keepdim=True)
    assert float(found.mean_share[1]) == pytest.approx(float(centre[1:].mean() + leaf[0]) / 2, rel=1e-12)
    assert float(found.mean_share[2]) == pytest.approx(float(leaf[2:].mean()), rel=1e-12)


def test_dead_readouts_are_counted_and_left_out() -> None:
    norms, hops = torch.tensor([[3.0, 1.0], [0.0, 0.0]]).double(), torch.tensor([[0, 1], [1, 0]])
    found = by_hop([norms], [hops])
    assert found.dead_readouts == 1
    assert found.share.tolist() == [0.75, 0.25]
    assert found.pairs.tolist() == [1, 1]
    nobody = by_hop([norms[1:]], [hops[1:]])
    assert nobody.dead_readouts == 1
    assert nobody.share.isnan().all()
    assert np.isnan(nobody.log10_total)


def test_a_network_that_died_has_no_share_and_no_logarithm() -> None:
    model = built("gcn", 7, 3, out_channels=5, norm="none")
    for parameter in model.parameters():
        parameter.data.zero_()
    found = MEASURES["influence"].run(model, Transfer(hops=3), 0)
    assert found["dead_readouts"] == found["num_readouts"] == 8
    assert found["log10_total"] is None
    assert found["share"] == [None] * 4
    assert found["source_share"] is None


class HeardFromClassZero(nn.Module):
    """A ReLU that is alive at the nodes of class 0 only."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return (x[:, :1] - 0.5).relu()


def test_some_dead_readouts_leave_the_share_of_the_live_ones_alone() -> None:
    found = MEASURES["influence"].run(HeardFromClassZero(), OwnToken(topology=Ring(), size=5), 0)
    assert 0 < found["dead_readouts"] < found["num_readouts"]
    assert found["source_share"] == found["share"][0] == 1
    assert found["log10_source_share"] == 0
    assert found["pairs"][0] == found["num_readouts"] - found["dead_readouts"]


def test_unreachable_nodes_count_in_the_total_only() -> None:
    norms, hops = torch.tensor([[2.0, 1.0, 1.0]]), torch.tensor([[0, 1, -1]])
    assert by_hop([norms], [hops]).share.tolist() == [0.5, 0.25]


# the table entry


def test_source_share_of_bare_propagation_on_a_ring_is_that_of_the_operator() -> None:
    task = Transfer(topology=Ring(), hops=5)
    model = seeded(SGConv, 7, 5, K=5)
    found = MEASURES["influence"].run(model, task, 0)
    assert found["source_share"] == pytest.approx(2 / 3**5, rel=1e-9)
    assert found["log10_source_share"] == pytest.approx(np.log10(2 / 3**5), rel=1e-9)
    assert found["source_hops"] == 5
    assert found["source_zeros"] == 0
    assert found["hidden"] is None
    assert found["pairs"] == [8, 16, 16, 16, 16, 8]  # eight draws, one read-out node each
    operator = MEASURES["operator_share"].run(model, task, 0)
    assert not operator["declared"]
    assert operator["operator"] == "gcn"


def test_a_source_beyond_reach_is_felt_exactly_not_at_all() -> None:
    found = MEASURES["influence"].run(built("gcn", 7, 4, out_channels=5), Transfer(topology=Ring(), hops=5), 0)
    assert found["source_share"] == 0
    assert found["log10_source_share"] is None
    assert found["log10_norm"][5] is None
    assert found["log10_norm"][4] is not None
    assert found["hidden"]["source_zeros"] == found["hidden"]["num_readouts"] == 8


def test_tasks_that_ask_at_every_node_are_asked_at_some() -> None:
    found = MEASURES["influence"].run(built("mlp", 5, 2, out_channels=5), OwnToken(topology=Ring(), size=10), 0)
    assert found["num_readouts"] == 32
    assert found["source_hops"] == 0
    assert found["source_share"] == 1
    assert found["share"][0] == 1
    assert sum(found["share"][1:]) == 0


def test_readouts_keep_their_sources() -> None:
    graph = graph_of(nx.path_graph(50), 2, list(range(40)))
    graph.source_index = graph.readout_index + 10
    kept = with_readouts(graph, 7, torch.Generator().manual_seed(0))
    assert kept.readout_index.numel() == 7
    assert torch.equal(kept.source_index, kept.readout_index + 10)
    assert graph.readout_index.numel() == 40


# gradients


def test_gradient_of_a_linear_network_is_the_transposed_operator_times_the_error() -> None:
    graph = graph_of(LOLLIPOP, 1, [0])
    matrix = operator_power(graph.edge_index, 7, "gcn", 1, torch.arange(7))
    hidden = [graph.x.double().requires_grad_()]
    for _ in range(3):
        hidden.append(matrix @ hidden[-1])
    error = torch.arange(7.0).double().unsqueeze(1)
    signals = backward_states(hidden, (hidden[-1] * error).sum())
    expected = [torch.linalg.matrix_power(matrix, 3 - layer).T @ error for layer in range(4)]
    for signal, by_hand in zip(signals, expected, strict=True):
        torch.testing.assert_close(signal, by_hand, rtol=1e-12, atol=1e-12)
    found = gradient_norms(signals, [0, 7]).squeeze(1)
    assert found.tolist() == pytest.approx([float(by_hand.norm()) for by_hand in expected], rel=1e-12)


def test_error_signals_smooth_on_their_way_back() -> None:
    """Of S^16 x, asked everywhere: the signal at the input is S^16 times that at the output (S is symmetric)."""
    task = OwnToken(topology=Ring(), size=12, num_classes=4)
    found = MEASURES["gradient"].run(build(resolve("propagation", {"rescale": False}), 4, 8, 16, 4), task, 0)
    assert found["signal_rq_gcn"][0] < 0.2 * found["signal_rq_gcn"][-1]
    assert all(a <= b + 1e-12 for a, b in pairwise(found["signal_rq_gcn"]))  # each step back is smoother


class Averaging(nn.Module):
    """P~^L x: means over neighbours and self, bare."""

    operator = "mean"

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.num_layers = num_layers

    def encode(self, x: Tensor, edge_index: Tensor) -> list[Tensor]:
        matrix = torch.eye(len(x)).to(x).index_put((edge_index[1], edge_index[0]), torch.ones(1).to(x))
        states = [x]
        for _ in range(self.num_layers):
            states.append(matrix / matrix.sum(1, keepdim=True) @ states[-1])
        return states

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1]


def test_error_signals_under_means_end_in_multiples_of_the_degree() -> None:
    """(P~^T)^L b -> multiples of d~: alike as `signals_as_states`, while the signals themselves are not equal."""
    graph, degree = graph_of(LOLLIPOP, 1, [0]), torch.tensor([4, 4, 4, 5, 3, 3, 2]).double()
    limit = degree.unsqueeze(1) * torch.tensor([[1.0, -2.0]])
    assert float(rayleigh_quotient(signals_as_states(limit, graph.edge_index, "mean"), graph.edge_index, "mean")) < 1e-30
    assert float(rayleigh_quotient(limit, graph.edge_index, "mean")) > 0.01
    for same in ("gcn", "complete", "sum"):
        assert torch.equal(signals_as_states(limit, graph.edge_index, same), limit)
    with pytest.raises(ValueError, match="operator"):
        signals_as_states(limit, graph.edge_index, "none")

    task = Transfer(topology=Tree(arity=2), hops=3)  # of 5 classes, asked at one node
    found = MEASURES["gradient"].run(Averaging(200), task, 0)
    assert found["signal_rq_mean"][0] < 1e-3 * found["signal_rq_mean"][190]
    assert found["signal_distance"][0] < 0.02


def test_smoothing_of_error_signals_is_that_of_autograds_gradients_by_hand() -> None:
    """Of a ReLU-GCN asked at every node: ranks by NumPy, quotients and angles as their formulas say."""
    task = OwnToken(topology=Tree(arity=2), size=12, num_classes=4)
    model = built("gcn", task.draw(1, torch.Generator()).to_data_list()[0].x.size(1), 2, out_channels=4)
    found = MEASURES["gradient"].run(model, task, 0)
    by_hand: dict[str, list[list[float]]] = {}
    for index in range(found["num_draws"]):
        graph = draw(task, 0, index)[0]
        exact = copy.deepcopy(model).double().eval()
        hidden = exact.encode(graph.x.double().requires_grad_(), graph.edge_index)
        loss = nn.functional.cross_entropy(exact.decode(hidden)[graph.readout_index], graph.y)
        for key, values in zip(
            SMOOTHED, zip(*map(_smoothness(graph), torch.autograd.grad(loss, hidden)), strict=True), strict=True
        ):
            by_hand.setdefault(key, []).append(list(values))
    for key, values in by_hand.items():
        assert found[f"signal_{key}"] == pytest.approx(np.mean(values, axis=0), rel=1e-9, abs=1e-12), key
    assert found["signal_undefined"] == [0, 0, 0]


SMOOTHED = ("rq_gcn", "rq_mean", "rq_complete", "effective_rank", "stable_rank", "numerical_rank", "rank_residual", "mad_edges")


def _smoothness(graph: Data) -> Callable[[Tensor], list[float]]:
    edges = graph.edge_index.numpy()
    adjacency = np.eye(graph.num_nodes)
    adjacency[edges[0], edges[1]] = 1
    degree = adjacency.sum(1)

    def values(signal: Tensor) -> list[float]:
        h = signal.numpy()
        scaled, equal, centred = h / np.sqrt(degree)[:, None], h / degree[:, None], h - h.mean(0)
        laplacian = np.diag(degree) - adjacency
        spread, apart = np.linalg.svd(h, compute_uv=False), np.linalg.svd(centred, compute_uv=False)
        share = spread[spread > 1e-12 * spread[0]] / spread[spread > 1e-12 * spread[0]].sum()
        lengths = np.linalg.norm(h, axis=1)
        ends = [1 - h[i] @ h[j] / (lengths[i] * lengths[j]) for i, j in edges.T if lengths[i] and lengths[j]]
        return [
            np.trace(scaled.T @ laplacian @ scaled) / (h**2).sum(),
            np.trace(equal.T @ laplacian @ equal) / (degree[:, None] * equal**2).sum(),
            (centred**2).sum() / (h**2).sum(),
            np.exp(-(share * np.log(share)).sum()),
            (centred**2).sum() / apart[0] ** 2,
            np.linalg.matrix_rank(centred),
            np.sqrt(1 - apart[0] ** 2 / (apart**2).sum()),
            np.mean(ends),
        ]

    return values


def test_gradient_table_entry_is_what_central_differences_of_the_loss_give() -> None:
    task = MeanExchange(hops=3)
    in_channels = task.draw(1, torch.Generator()).to_data_list()[0].x.size(1)
    model = built("propagation", in_channels, 1, out_channels=1)  # its first state is x itself
    found = MEASURES["gradient"].run(model, task, 0)
    expected = [_loss_gradient_norm(model, draw(task, 0, index)[0]) for index in range(found["num_draws"])]
    assert found["norm"][0] == pytest.approx(np.mean(expected), rel=1e-5)
    assert found["ratio"] == pytest.approx(found["norm"][0] / found["norm"][1], rel=1e-12)


def _loss_gradient_norm(model: nn.Module, graph: Data) -> float:
    """Of the mean of (answer - y)^2, by differences of the answers."""
    wrong = Frozen(model).run([graph]).output[graph.readout_index].flatten() - graph.y.flatten()
    slopes = first(model, graph, graph.readout_index).value.squeeze(3)
    return float((slopes * 2 * wrong / wrong.numel()).sum(2).norm())


def test_an_edge_free_identity_keeps_the_size_of_the_gradient() -> None:
    found = MEASURES["gradient"].run(built("mlp", 7, 3, out_channels=5), Transfer(hops=3), 0)
    assert len(found["norm"]) == 4
    assert all(value > 0 for value in found["norm"])
    readouts_only = MEASURES["influence"].run(built("mlp", 7, 3, out_channels=5), Transfer(hops=3), 0)
    assert readouts_only["share"] == [1, 0, 0, 0]

"""Settings of the stack and norms, against PyG's own, loops over nodes, and facts that can be worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import gcn_propagated, give, same, with_random_biases
from test_engine import PATHS, TASKS, assert_equal_on_a_path, rows_of
from torch import Tensor, nn
from torch_geometric.nn import (
    DeepGCNLayer,
    DiffGroupNorm,
    GCN2Conv,
    GCNConv,
    GraphNorm,
    JumpingKnowledge,
    LayerNorm,
    MeanSubtractionNorm,
    PairNorm,
)
from torch_geometric.utils import erdos_renyi_graph, to_undirected

from datasets import PublishedRingTransfer, Transfer
from datasets.ring import Ring
from suite.engine.topology import coupling
from suite.models import build, resolve
from suite.models.convs import CONVS
from suite.models.layers import NORMS, make_norm
from suite.models.readouts import LSTMAttention
from suite.models.stack import Stack
from suite.operators import GraphOperators
from suite.testing import check_model

EDGES, NUM_NODES = erdos_renyi_graph(14, 0.25), 14
BATCH = torch.tensor([0] * 4 + [1] * 7 + [2] * 3)
OP = GraphOperators(torch.empty(2, 0).long(), NUM_NODES, torch.float64, BATCH)  # norms ask it for the graphs alone

# Each is compared with plain models on every path of the engine, and keeps the contract of models.
SETTINGS = {
    "initial": {"skip": "initial"},
    "dense": {"skip": "dense"},
    "dense, all read": {"skip": "dense", "readout": "concat"},
    "gated": {"skip": "gated"},
    "gated, three hops a layer": {"skip": "gated", "conv": "mixhop"},
    "gated, states on edges": {"skip": "gated", "conv": "gated_gcn"},
    "gated, one cell for all": {"skip": "gated", "conv": "ggnn"},
    "gated, with a virtual node": {"skip": "gated", "virtual_node": True},
    "gated, all read": {"skip": "gated", "readout": "concat"},
    "max": {"readout": "max"},
    "lstm": {"readout": "lstm"},
}


def stack(num_layers: int = 3, **overrides: object) -> nn.Module:
    return with_random_biases(Stack(6, 8, num_layers, 3, **overrides))


def features() -> Tensor:
    return torch.randn(NUM_NODES, 6, dtype=torch.float64, requires_grad=True)


def gcn_of(conv: nn.Module) -> nn.Module:
    twin = GCNConv(conv.lin.weight.size(1), conv.lin.weight.size(0)).double()
    twin.lin.weight, twin.bias = conv.lin.weight, conv.lin.bias
    return twin


# norms


def norm_twin(name: str, ours: nn.Module) -> nn.Module:
    twin: nn.Module = {
        "pair": lambda: PairNorm(scale=1),
        "mean": MeanSubtractionNorm,
        "graph": lambda: GraphNorm(6),
        "diff_group": lambda: DiffGroupNorm(6, 10),
    }[name]()
    twin.double()
    if name == "graph":
        twin.weight, twin.bias, twin.mean_scale = ours.weight, ours.bias, ours.mean_scale
    if name == "diff_group":
        twin.lin.weight, twin.norm.weight, twin.norm.bias = ours.lin.weight, ours.norm.weight, ours.norm.bias
    return twin


@pytest.mark.parametrize("name", ["pair", "mean", "graph", "diff_group"])
def test_norm_equals_its_pyg_twin_in_training_and_in_eval(name: str) -> None:
    torch.manual_seed(1)
    ours = make_norm(name, 6).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    twin, named = norm_twin(name, ours), {} if name == "diff_group" else {"batch": BATCH}
    for mode in (True, False):
        ours.train(mode)
        twin.train(mode)
        x = features()
        same(ours(x, OP), twin(x, **named), x, ours)


def test_norms_name_the_channel_that_they_open() -> None:
    channels = {name: norm.channel for name, norm in NORMS.items()}
    node_wise, of_batch, of_graph = ("data", "layer", "none"), ("batch", "diff_group"), ("pair", "graph", "mean")
    expected = [(node_wise, frozenset()), (of_batch, frozenset({"norm(train)"})), (of_graph, frozenset({"norm"}))]
    assert channels == {name: channel for names, channel in expected for name in names}
    for name, channel in channels.items():
        assert build(resolve("gcn", {"norm": name}), 4, 8, 2, 2).global_channel == channel
        assert build(resolve("gps", {"norm": name}), 4, 8, 2, 2).global_channel == channel | {"attention"}


@pytest.mark.parametrize("norm", ["pair", "graph", "mean"])
def test_statistics_of_a_graph_forbid_cone_last_layer_and_alike_nodes_in_eval_too(norm: str) -> None:
    ring, published = Transfer(topology=Ring(), hops=5), PublishedRingTransfer(hops=5)
    for training in (True, False):
        gcn, gps = (build(resolve(name, {"norm": norm}), 7, 8, 3, 5) for name in ("gcn", "gps"))
        assert "norm" in coupling(gcn, training)
        assert rows_of(gcn, ring, 3, training) == [(0, 10)] * 4  # as without a cone
        assert rows_of(gps, ring, 3, training) == [(0, 10)] * 4  # nor is the last layer written at the read-out alone
        assert rows_of(build(resolve("gcn", {"norm": norm}), 5, 8, 3, 5), published, 3, training) == [(0, 10)] * 4


def test_group_norm_has_the_statistics_of_the_batch_so_that_eval_has_a_cone_and_alike_nodes_stay() -> None:
    model, ring = build(resolve("gcn", {"norm": "diff_group"}), 7, 8, 3, 5), Transfer(topology=Ring(), hops=5)
    assert rows_of(model, ring, 3, training=True) == [(0, 10)] * 4
    assert rows_of(model, ring, 3, training=False) == [(0, n) for n in (7, 5, 3, 1)]
    model = build(resolve("gcn", {"norm": "diff_group"}), 5, 8, 3, 5)
    assert rows_of(model, PublishedRingTransfer(hops=5), 3)[0] == (9, 1)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_a_convolution_has_a_bias_unless_the_norm_takes_it_away(norm: str) -> None:
    torch.manual_seed(2)
    h = torch.randn(NUM_NODES, 8, dtype=torch.float64)
    made = make_norm(norm, 8).double()
    blind = torch.allclose(made(h + torch.arange(8.0), OP), made(h, OP), atol=1e-6)
    model = Stack(6, 8, 2, 3, norm=norm)
    assert [conv.lin.bias is None for conv in model.convs] == [blind, blind]


# skips


def test_initial_residual_keeps_its_share_of_the_first_state() -> None:
    torch.manual_seed(3)
    model, x = stack(skip="initial", alpha=0.3), features()
    h = first = model.encoder(x)
    for conv in model.convs:
        h = 0.7 * gcn_of(conv)(h, EDGES).relu() + 0.3 * first
    same(model(x, EDGES), model.decoder(h), x, model)


def test_gcnii_keeps_the_share_that_alpha_says_and_transforms_as_much_as_theta_says() -> None:
    torch.manual_seed(3)
    model, x = stack(conv="gcnii", alpha=0.3, theta=1.5), features()
    h = first = model.encoder(x)
    for index, conv in enumerate(model.convs):
        twin = GCN2Conv(8, alpha=0.3, theta=1.5, layer=index + 1).double()
        give(twin, weight1=conv.lin.weight.T)
        h = twin(h, first, EDGES).relu()
    same(model(x, EDGES), model.decoder(h), x, model)


def test_dense_blocks_equal_pyg_deep_gcn_layers() -> None:
    torch.manual_seed(4)
    model, x = stack(skip="dense", readout="concat"), features()
    h = model.encoder(x)
    for conv in model.convs:
        h = DeepGCNLayer(gcn_of(conv), None, nn.ReLU(), block="dense")(h, EDGES)
    same(model(x, EDGES), model.decoder(h), x, model)
    assert [conv.lin.weight.shape for conv in model.convs] == [(8, 8), (8, 16), (8, 24)]


def test_residual_blocks_equal_pyg_deep_gcn_layers() -> None:
    torch.manual_seed(12)
    model, x = stack(skip="residual", norm="layer"), features()
    h = model.encoder(x)
    for conv, norm in zip(model.convs, model.norms, strict=True):
        nn.init.normal_(norm.weight)
        theirs = LayerNorm(8, mode="node")
        theirs.weight, theirs.bias = norm.weight, norm.bias
        h = DeepGCNLayer(gcn_of(conv), theirs, nn.ReLU(), block="res")(h, EDGES)
    same(model(x, EDGES), model.decoder(h), x, model)


def test_norm_behind_the_skip_and_embedding_equal_a_loop_over_nodes() -> None:
    """2006.05205: h_v = LayerNorm(h_v + ReLU(layer(h)_v)), behind an embedding without activation."""
    torch.manual_seed(13)
    model, x = stack(skip="post_norm", norm="layer", encoder="embedding"), features()
    for norm in model.norms:
        nn.init.normal_(norm.weight)
    h = torch.stack([model.encoder.weight @ row + model.encoder.bias for row in x])
    for conv, norm in zip(model.convs, model.norms, strict=True):
        rows = []
        for own, read in zip(h, gcn_propagated(h, EDGES), strict=True):
            out = own + (conv.lin.weight @ read + conv.lin.bias).clamp(min=0)
            centred = out - out.sum() / 8
            rows.append(centred / (centred.square().sum() / 8 + 1e-5).sqrt() * norm.weight + norm.bias)
        h = torch.stack(rows)
    same(model(x, EDGES), model.decoder(h), x, model)


# what reaches past the edges, on a batch of graphs


WITHIN = EDGES[:, BATCH[EDGES[0]] == BATCH[EDGES[1]]]


def of_graph(v: int) -> list[int]:
    return [u for u in range(NUM_NODES) if BATCH[u] == BATCH[v]]


def with_all_others(conv: str, layer: nn.Module, h: Tensor, v: int) -> Tensor:
    """What node v reads where an edge joins any two nodes of a graph, by the equations of the layers."""
    own, others = h[v], [h[u] for u in of_graph(v) if u != v]
    if conv == "gcn":  # all degrees are equal, loops included
        return layer.lin.weight @ (own + sum(others)) / (len(others) + 1) + layer.lin.bias
    if conv == "gin":
        inner = layer.mlp.first.weight @ (own + sum(others)) + layer.mlp.first.bias
        return layer.mlp.second.weight @ inner.clamp(min=0) + layer.mlp.second.bias
    if conv == "sage":
        read = layer.lin_neighbour.weight @ sum(others) / len(others) + layer.lin_neighbour.bias
        return read + layer.lin_self.weight @ own
    value, out = [layer.lin.weight @ one for one in (own, *others)], []
    for head, (source, target) in enumerate(zip(layer.att_source, layer.att_target, strict=True)):
        parts = [one.chunk(len(layer.att_source))[head] for one in value]
        share = torch.stack([nn.functional.leaky_relu(source @ one + target @ parts[0], 0.2) for one in parts]).softmax(0)
        out.append(sum(weight * one for weight, one in zip(share, parts, strict=True)))
    return torch.cat(out) + layer.bias


@pytest.mark.parametrize("conv", ["gcn", "gin", "sage", "gat"])
def test_fully_adjacent_last_layer_equals_a_loop_over_all_nodes_of_the_graph(conv: str) -> None:
    torch.manual_seed(14)
    model, x = stack(2, conv=conv, fully_adjacent_last=True), features()
    before = Stack(6, 8, 1, 3, conv=conv)
    before.encoder, before.convs[0] = model.encoder, model.convs[0]
    h = before.encode(x, WITHIN, batch=BATCH)[-1]
    h = torch.stack([with_all_others(conv, model.convs[1], h, v) for v in range(NUM_NODES)]).relu()
    same(model(x, WITHIN, batch=BATCH), model.decoder(h), x, model)


def test_virtual_node_beside_edges_equals_a_loop_over_nodes() -> None:
    """Before each block, what an MLP makes of the mean over the graph is added to every node; then neighbours are read."""
    torch.manual_seed(15)
    model, x = stack(virtual_node=True), features()
    h = model.encoder(x)
    for conv, mlp in zip(model.convs, model.virtual, strict=True):
        told = []
        for v in range(NUM_NODES):
            mean = sum(h[u] for u in of_graph(v)) / len(of_graph(v))
            told.append(h[v] + mlp.second.weight @ (mlp.first.weight @ mean + mlp.first.bias).clamp(min=0) + mlp.second.bias)
        read = gcn_propagated(torch.stack(told), WITHIN)
        h = torch.stack([(conv.lin.weight @ row + conv.lin.bias).clamp(min=0) for row in read])
    same(model(x, WITHIN, batch=BATCH), model.decoder(h), x, model)


# what is mixed by how much neighbours differ


@pytest.mark.parametrize("power", [1.0, 2.0, 2.5])
def test_gradient_gating_equals_a_loop_over_nodes(power: float) -> None:
    torch.manual_seed(5)
    model, x = stack(skip="gated", gate_power=power), features()
    h = model.encoder(x)
    for conv, gate in zip(model.convs, model.gates, strict=True):
        out, seen = (gcn_of(one)(h, EDGES).relu() for one in (conv, gate.conv))
        rows = []
        for v in range(NUM_NODES):
            differs = [(seen[v] - seen[u]).abs() ** power for u in EDGES[0, EDGES[1] == v]]
            tau = torch.tanh(sum(differs) / max(len(differs), 1) + torch.zeros(8))
            rows.append((1 - tau) * h[v] + tau * out[v])
        h = torch.stack(rows)
    same(model(x, EDGES), model.decoder(h), x, model)


def test_gradient_gating_stops_where_neighbours_agree_and_reads_two_hops_a_layer() -> None:
    torch.manual_seed(6)
    model = stack(num_layers=2, skip="gated")
    ring = to_undirected(torch.tensor([range(12), [*range(1, 12), 0]]))  # all alike: the gates are shut
    first, *later = model.encode(torch.ones(12, 6, dtype=torch.float64), ring)
    assert all(torch.equal(state, first) for state in later)
    assert model.reach == 4
    assert model.layer_hops == (1, 1, 1, 1)


def test_rows_of_a_gated_stack_shrink_twice_a_layer() -> None:
    model = build(resolve("gcn", {"norm": "none", "skip": "gated"}), 7, 8, 2, 5)
    rows = rows_of(model, Transfer(topology=Ring(), hops=6), 2)
    assert rows == [(0, n) for n in (9, 7, 5, 3, 1)]


# jumping knowledge


def test_max_readout_equals_pygs() -> None:
    torch.manual_seed(7)
    model, x = stack(readout="max"), features()
    same(model(x, EDGES), model.decoder(JumpingKnowledge("max")(model.encode(x, EDGES))), x, model)


def test_lstm_attention_equals_pygs_of_the_same_size() -> None:
    torch.manual_seed(8)
    ours, twin = with_random_biases(LSTMAttention(6, 3 * 6 // 2)), JumpingKnowledge("lstm", 6, 3).double()
    for suffix, one in (("", ours.forwards), ("_reverse", ours.backwards)):
        weights = {"weight_ih": one.lin_input.weight, "weight_hh": one.lin_state.weight, "bias_ih": one.lin_input.bias}
        weights["bias_hh"] = torch.zeros(36).double()
        give(twin.lstm, **{f"{name}_l0{suffix}": weight for name, weight in weights.items()})
    twin.att.weight = ours.lin.weight
    states = [features() for _ in range(3)]
    same(ours(states), twin(states), *states, ours)


def test_lstm_readout_has_weights_that_do_not_grow_with_depth() -> None:
    sizes = {sum(p.numel() for p in Stack(6, 8, depth, 3, readout="lstm").attention.parameters()) for depth in (1, 5)}
    assert sizes == {2 * (4 * 8 * 8 + 4 * 8 + 4 * 8 * 8) + 16}


# settings


def test_settings_that_do_not_go_together_are_refused() -> None:
    refused = [
        ({"skip": "residuel"}, r"skip: must be one of none, residual, .*; got 'residuel'"),
        ({"encoder": "none", "skip": "initial"}, r"encoder: must not be none with skip = initial"),
        ({"encoder": "none", "readout": "lstm"}, r"encoder: must not be none with readout = lstm"),
        ({"decoder": "none", "readout": "concat"}, r"decoder: must not be none with readout = concat"),
        ({"decoder": "none", "skip": "gated"}, r"decoder: must not be none with skip = gated"),
        ({"skip": "gated", "gate_power": 0.5}, r"gate_power: must be >= 1, .*; got 0.5"),
        ({"alpha": 0.5}, r"alpha: must be 0.1 unless skip = initial or conv = gcnii, which alone read it; got 0.5"),
        ({"gate_power": 1.0}, r"gate_power: must be 2.0 unless skip = gated, which alone reads it; got 1.0"),
        ({"theta": 1.0}, r"theta: must be 0.5 unless conv = gcnii, which alone reads it; got 1.0"),
        ({"conv": "gcnii", "theta": 0.0}, r"theta: must be > 0, or no layer transforms anything; got 0.0"),
        ({"encoder": "linear", "mlp_channels": 5}, r"mlp_channels: must not be given unless encoder = mlp, .*; got 5"),
        ({"conv": "gated_gcn", "fully_adjacent_last": True}, r"fully_adjacent_last: must be false with conv = gated_gcn"),
        (
            {"conv": "drew", "fully_adjacent_last": True},
            r"fully_adjacent_last: must be false with conv = drew: all other nodes are at",
        ),
        ({"conv": "node_wise", "fully_adjacent_last": True}, r"fully_adjacent_last: .* node_wise: it reads no neighbours"),
        ({"skip": "gated", "fully_adjacent_last": True}, r"fully_adjacent_last: must be false with skip = gated"),
        ({"conv": "ggnn", "encoder": "none"}, r"GGNN: needs equal widths behind an encoder, got 6 to 8 channels"),
    ]
    for overrides, said in refused:
        with pytest.raises(ValueError, match=said):
            Stack(6, 8, 2, 3, **overrides)


# the common contracts


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(SETTINGS)),
    norm=st.sampled_from(sorted(NORMS)),
    task=st.sampled_from(sorted(TASKS)),
    num_layers=st.integers(1, 4),
    num_graphs=st.integers(2, 8),
    shortcuts=st.sets(st.sampled_from(PATHS)),
)
def test_every_path_of_the_engine_computes_what_plain_models_do(
    name: str, norm: str, task: str, num_layers: int, num_graphs: int, shortcuts: set[str]
) -> None:
    overrides = SETTINGS[name] | {"norm": norm}
    assert_equal_on_a_path("gcn", overrides, TASKS[task](3), num_layers, num_graphs, shortcuts)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_keep_the_contract_of_models(name: str) -> None:
    check_model(resolve("gcn", {"norm": "none"} | SETTINGS[name]))


@pytest.mark.parametrize("norm", sorted(NORMS))
@pytest.mark.parametrize("model", ["gcn", "set_transformer"])
def test_norms_keep_the_contract_of_models(model: str, norm: str) -> None:
    check_model(resolve(model, {"norm": norm}))


@pytest.mark.parametrize("conv", sorted(CONVS))
def test_every_convolution_serves_beside_attention(conv: str) -> None:
    check_model(resolve("gps", {"conv": conv}))


@pytest.mark.parametrize("norm", ["mean", "pair"])
def test_a_last_layer_that_makes_nodes_alike_is_refused_before_a_norm_that_takes_away_what_they_share(norm: str) -> None:
    """GCN's operator on a complete graph of n nodes is 1 / n everywhere."""
    given = {"norm": norm, "fully_adjacent_last": True}
    with pytest.raises(ValueError, match=f"fully_adjacent_last: must be false with conv = gcn and norm = {norm}"):
        Stack(4, 8, 3, 2, **given)
    x, edge_index = torch.randn(9, 4), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    for fine in ({"skip": "residual"}, {"readout": "concat"}, {"conv": "sage"}, {"decoder": "none"}):
        out = Stack(4, 8, 3, 2, **given | fine).eval()(x, edge_index)
        assert bool((out != out[0]).any()) != (fine == {"decoder": "none"})  # whose last layer has no norm: alike, and not 0
        assert out.any()

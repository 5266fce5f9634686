"""More message-passing layers against PyG's own, or against loops over nodes written from the papers."""

import pytest
import torch
from oracles import DIRECTED, GRAPHS, give, operators, same, with_random_biases
from torch import Tensor, nn
from torch_geometric.nn import APPNP, GatedGraphConv, GATv2Conv, MixHopConv, PNAConv, SGConv
from torch_geometric.utils import degree, to_undirected

from suite.models import build, resolve
from suite.models.convs import CONVS, Memory
from suite.models.convs.ggnn import GRU
from suite.models.stack import Stack
from suite.operators import GraphOperators


def gatv2_twin(ours: nn.Module, _edge_index: Tensor, _num_nodes: int) -> nn.Module:
    heads, width = ours.att.shape
    twin = GATv2Conv(ours.lin_source.weight.size(1), width, heads=heads).double()
    twin.lin_l.weight, twin.lin_l.bias = ours.lin_source.weight, nn.Parameter(torch.zeros(heads * width).double())
    twin.lin_r.weight, twin.lin_r.bias = ours.lin_target.weight, ours.lin_target.bias
    twin.bias = ours.bias
    give(twin, att=ours.att[None])
    return twin


def pna_twin(ours: nn.Module, edge_index: Tensor, num_nodes: int) -> nn.Module:
    histogram = torch.bincount(degree(edge_index[1], num_nodes).long())
    scalers = ["identity", "amplification", "attenuation"]
    in_channels, out_channels = ours.lin_source.weight.size(0), ours.lin_out.weight.size(0)
    twin = PNAConv(in_channels, out_channels, ["mean", "min", "max", "std"], scalers, histogram).double()
    aggregation = twin.aggr_module
    log_degree = (degree(edge_index[1], num_nodes, torch.float64) + 1).log().mean()
    aggregation.avg_deg_log = log_degree.view(1)  # PyG's own has the precision of float32
    (before,), (after,) = (nns[0] for nns in (twin.pre_nns, twin.post_nns))
    give(before, weight=torch.cat([ours.lin_target.weight, ours.lin_source.weight], dim=1))
    before.bias = ours.lin_target.bias
    after.weight, after.bias = ours.lin_out.weight, ours.lin_out.bias
    give(twin.lin, weight=torch.eye(out_channels).double(), bias=torch.zeros(out_channels).double())
    return twin


def mixhop_twin(ours: nn.Module, _edge_index: Tensor, _num_nodes: int) -> nn.Module:
    width, in_channels = ours.lins[0].weight.shape
    twin = MixHopConv(in_channels, width, powers=[0, 1, 2]).double()
    for lin, theirs in zip(ours.lins, twin.lins, strict=True):
        theirs.weight = lin.weight
    give(twin, bias=torch.cat([lin.bias for lin in ours.lins]))
    return twin


TWINS = {"gatv2": gatv2_twin, "pna": pna_twin, "mixhop": mixhop_twin}


@GRAPHS
@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize(("in_channels", "out_channels"), [(6, 12), (8, 3)])
def test_layer_equals_its_pyg_twin_in_value_and_all_gradients(
    name: str, in_channels: int, out_channels: int, graph: tuple[Tensor, int]
) -> None:
    torch.manual_seed(1)
    ours = with_random_biases(CONVS[name](in_channels, out_channels))
    x = torch.randn(graph[1], in_channels, dtype=torch.float64, requires_grad=True)
    if name == "pna":
        ours.calibrating = True
    same(ours(x, operators(graph), Memory(x)), TWINS[name](ours, *graph)(x, graph[0]), x, ours)


@GRAPHS
def test_layers_of_ggnn_share_one_gru_and_equal_pygs(graph: tuple[Tensor, int]) -> None:
    torch.manual_seed(2)
    ours = with_random_biases(Stack(6, 5, 3, 2, conv="ggnn"))
    twin = GatedGraphConv(5, 3).double()
    gru = ours.shared
    assert isinstance(gru, GRU)
    assert [name for name, module in ours.named_modules() if isinstance(module, GRU)] == ["shared"]
    twin.rnn.weight_ih, twin.rnn.bias_ih = gru.lin_message.weight, gru.lin_message.bias
    twin.rnn.weight_hh, twin.rnn.bias_hh = gru.lin_state.weight, gru.lin_state.bias
    give(twin, weight=torch.stack([conv.lin.weight.T for conv in ours.convs]))
    x = torch.randn(graph[1], 6, dtype=torch.float64, requires_grad=True)
    same(ours(x, graph[0]), ours.decoder(twin(ours.encoder(x), graph[0])), x, ours)


def test_parts_of_mixhop_share_a_width_that_three_does_not_divide() -> None:
    assert [lin.weight.size(0) for lin in CONVS["mixhop"](6, 8).lins] == [3, 3, 2]
    with pytest.raises(ValueError, match="needs at least 3 channels, one for each power, got 2"):
        CONVS["mixhop"](6, 2)


def test_pna_keeps_the_mean_log_degree_of_the_batch_it_was_calibrated_on() -> None:
    torch.manual_seed(3)
    star = to_undirected(torch.tensor([[0, 0, 0], [1, 2, 3]]))  # degrees 3, 1, 1, 1
    model, x = build(resolve("pna"), 4, 8, 2, 3).eval(), torch.randn(4, 4)
    model.calibrate(lambda module: module(x, star))
    expected = (torch.tensor(4.0).log() + 3 * torch.tensor(2.0).log()) / 4
    for _ in range(2):
        for conv in model.convs:
            torch.testing.assert_close(conv.mean_log_degree, expected)
        model(torch.randn(2, 4), to_undirected(torch.tensor([[0], [1]])))  # another graph changes nothing


def test_gated_gcn_equals_a_loop_over_nodes() -> None:
    """Equations 4 to 6 of 1711.07553 as 2003.00982 writes them, without its norms: two layers, so that edge states count."""
    torch.manual_seed(4)
    layers = [with_random_biases(CONVS["gated_gcn"](5, 5, index)) for index in range(2)]
    nn.init.normal_(layers[0].first)
    h = x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    op, memory = GraphOperators(DIRECTED, 6, torch.float64), Memory(h)
    found = layers[1](layers[0](h, op, memory), op, memory)
    edges = [(int(u), int(v)) for u, v in DIRECTED.T]
    state = dict.fromkeys(edges, layers[0].first)
    for index, layer in enumerate(layers):
        asked = {
            (u, v): (state[u, v] if index == 0 else layer.gate_edge(state[u, v][None])[0])
            + layer.gate_target(h[v][None])[0]
            + layer.gate_source(h[u][None])[0]
            for u, v in edges
        }
        rows = []
        for v in range(6):
            into = [(u, w) for u, w in edges if w == v]
            total = sum((asked[edge].sigmoid() for edge in into), torch.zeros(5).double()) + 1e-6
            received = sum((asked[u, w].sigmoid() / total * layer.lin_source(h[u][None])[0] for u, w in into), 0 * total)
            rows.append(layer.lin_self(h[v][None])[0] + received)
        state = {edge: state[edge] + asked[edge].relu() for edge in edges}
        h = torch.stack(rows)
    same(found, h, x, *layers)


@GRAPHS
def test_appnp_equals_pygs_behind_an_mlp(graph: tuple[Tensor, int]) -> None:
    torch.manual_seed(5)
    ours = with_random_biases(build(resolve("appnp", {"alpha": 0.2}), 6, 8, 4, 3))
    x = torch.randn(graph[1], 6, dtype=torch.float64, requires_grad=True)
    same(ours(x, graph[0]), APPNP(K=4, alpha=0.2)(ours.predict(x), graph[0]), x, ours)


@GRAPHS
def test_sgc_equals_pygs_and_has_no_width(graph: tuple[Tensor, int]) -> None:
    torch.manual_seed(6)
    ours, twin = (with_random_biases(module) for module in (build(resolve("sgc"), 6, 8, 3, 4), SGConv(6, 4, K=3)))
    twin.lin.weight, twin.lin.bias = ours.decoder.weight, ours.decoder.bias
    x = torch.randn(graph[1], 6, dtype=torch.float64, requires_grad=True)
    same(ours(x, graph[0]), twin(x, graph[0]), x, ours)
    sizes = {sum(p.numel() for p in build(resolve("sgc"), 6, width, 3, 4).parameters()) for width in (1, 8, 64)}
    assert sizes == {6 * 4 + 4}


@pytest.mark.parametrize(("name", "hops"), [("gatv2", 1), ("pna", 1), ("ggnn", 1), ("mixhop", 2)])
def test_a_layer_reaches_as_far_as_it_reads(name: str, hops: int) -> None:
    assert build(resolve(name), 5, 6, 3, 2).reach == 3 * hops


def test_pna_is_finite_where_it_was_calibrated_without_an_edge() -> None:
    model = build(resolve("pna"), 4, 8, 2, 3).eval()
    x, none = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.empty(2, 0, dtype=torch.long)
    model.calibrate(lambda module: module(x, none))
    assert model(x, none).isfinite().all()

"""Attention of linear cost and its operators: against PyG's modules, and loops over nodes written from the equations."""

import math
from collections.abc import Iterator

import networkx as nx
import pytest
import torch
from oracles import gcn_propagated, give, same
from test_engine import PATHS, TASKS, assert_equal_on_a_path, make_cells, trained
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn.attention import PolynormerAttention, SGFormerAttention
from torch_geometric.nn.models import Polynormer as PyGPolynormer
from torch_geometric.nn.models import SGFormer as PyGSGFormer
from torch_geometric.utils import erdos_renyi_graph, to_undirected

from datasets import Transfer
from datasets.ring import Ring
from suite.engine.batches import graph_batch
from suite.measures.squashing import influence
from suite.models import build, resolve
from suite.models.attentions import Surroundings, nodeformer
from suite.models.attentions.nodeformer import NodeFormerAttention
from suite.models.attentions.performer import orthogonal
from suite.models.attentions.san import SANAttention
from suite.models.convs import CONVS, Memory
from suite.models.encodings import ENCODINGS
from suite.models.polynormer import GlobalLayer
from suite.models.sgformer import SimpleAttention
from suite.models.specformer import Filters
from suite.operators import GraphOperators, Operators, SharedOperators
from suite.testing import check_model

SIZES = [5, 1, 8, 3]  # nodes of the graphs of a batch: of different sizes, one of them a single node
BATCH = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))


@pytest.fixture
def _double() -> Iterator[None]:
    """PyG's attention makes a tensor of ones in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def path(num_nodes: int) -> Data:
    edge_index = to_undirected(torch.stack([torch.arange(num_nodes - 1), torch.arange(1, num_nodes)]))
    return Data(x=torch.randn(num_nodes, 5), edge_index=edge_index, readout_index=torch.tensor([0]))


def rows(channels: int) -> Tensor:
    return torch.randn(sum(SIZES), channels, dtype=torch.float64)


def operators() -> GraphOperators:
    torch.manual_seed(0)
    starts = [sum(SIZES[:i]) for i in range(len(SIZES))]
    edges = [erdos_renyi_graph(n, 0.5) + start for n, start in zip(SIZES, starts, strict=True)]
    return GraphOperators(torch.cat(edges, dim=1), sum(SIZES), torch.float64, BATCH)


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int, batch: Tensor, written: list[int], epsilon: float = 0.0) -> Tensor:
    """sum_j (q_i . k_j) v_j / (sum_j (q_i . k_j) + epsilon) over the nodes j of i's graph, head by head."""
    out = []
    for i in written:
        others = [j for j in range(len(batch)) if batch[j] == batch[i]]
        parts = []
        for qh, kh, vh in zip(q.chunk(heads, 1), k.chunk(heads, 1), v.chunk(heads, 1), strict=True):
            weight = [qh[i] @ kh[j] for j in others]
            parts.append(sum(w * vh[j] for w, j in zip(weight, others, strict=True)) / (sum(weight) + epsilon))
        out.append(torch.cat(parts))
    return torch.stack(out)


@pytest.mark.parametrize("heads", [1, 2])
def test_linear_attention_on_graphs_of_different_sizes_equals_a_loop_in_value_and_gradient(heads: int) -> None:
    torch.manual_seed(1)
    given = [rows(6).abs().requires_grad_(), rows(6).abs().requires_grad_(), rows(4).requires_grad_()]
    for epsilon in (0.0, 0.3):
        expected = attended(*given, heads, BATCH, list(range(sum(SIZES))), epsilon)
        same(operators().attend_linearly(*given, heads, epsilon), expected, *given)


def shared_layer() -> tuple[Operators, list[int]]:
    """A layer on three graphs of five nodes, kept in the order 3, 0, 4, 1, 2, that writes the first two alone."""
    ring = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    order = torch.tensor([3, 0, 4, 1, 2])
    return SharedOperators(ring, order, [5, 2], torch.float64).layer(0), order.tolist()


def test_linear_attention_on_shared_rows_equals_a_loop_at_the_rows_written() -> None:
    torch.manual_seed(2)
    layer, order = shared_layer()
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64).abs()  # replicas, graphs, nodes as the task numbers them, channels
    h = x[:, :, order].transpose(1, 2).flatten(1, 2)
    found = layer.attend_linearly(h, 2 * h + 1, h.square(), 2).view(2, 2, 3, 4)  # replicas, nodes, graphs, channels
    for r in range(2):
        for g in range(3):
            one = x[r, g]
            expected = attended(one, 2 * one + 1, one.square(), 2, torch.zeros(5), order[:2])
            torch.testing.assert_close(found[r, :, g], expected, rtol=1e-9, atol=1e-9)


def test_dense_blocks_hold_each_graph_padded_by_zeros_and_flat_undoes_them() -> None:
    h = rows(3)
    dense, real = operators().dense(h)
    assert real.sum(1).tolist() == SIZES
    for graph, (block, size) in enumerate(zip(dense, SIZES, strict=True)):
        assert torch.equal(block[:size], h[graph == BATCH])
        assert not block[size:].any()
    assert torch.equal(operators().flat(operators().dense_root(h)), h)


def test_shared_dense_blocks_hold_nodes_in_the_order_of_the_rows_and_flat_undoes_those_written() -> None:
    layer, order = shared_layer()
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    h = x[:, :, order].transpose(1, 2).flatten(1, 2)
    assert torch.equal(layer.dense(h)[0], x[:, :, order])
    assert layer.dense(h)[1] is None
    assert torch.equal(layer.dense_root(h), x[:, :, order[:2]])
    assert torch.equal(layer.flat(layer.dense_root(h)), layer.root(h))


def test_values_of_nodes_are_arranged_as_the_rows_read_and_written() -> None:
    layer, order = shared_layer()
    values = torch.randn(5, 7)
    read, written = layer.arrange_nodes(values)
    assert torch.equal(read, values[order][None])
    assert torch.equal(written, values[order[:2]][None])
    padded = torch.randn(len(SIZES), max(SIZES), 7)
    assert all(torch.equal(arranged, padded) for arranged in operators().arrange_nodes(padded))


def simply_attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The equation of SGFormer for one graph and one head; q and k have rows of length one."""
    weight = q @ k.T
    n = len(q)
    out = [(n * v[i] + sum(weight[i, j] * v[j] for j in range(n))) / (n + weight[i].sum()) for i in range(n)]
    return torch.stack(out)


def test_simple_attention_equals_the_papers_equation_graph_by_graph() -> None:
    torch.manual_seed(3)
    ours, h = SimpleAttention(6, 2).double(), rows(6).requires_grad_()
    found = ours(h, operators())
    for graph in range(len(SIZES)):
        one = h[graph == BATCH]
        heads = []
        for q, k, v in zip(*((one @ lin.weight.T).chunk(2, 1) for lin in (ours.query, ours.key, ours.value)), strict=True):
            heads.append(simply_attended(q / q.norm(dim=1, keepdim=True), k / k.norm(dim=1, keepdim=True), v))
        same(found[graph == BATCH], sum(heads) / 2, h, ours)


@pytest.mark.usefixtures("_double")
def test_simple_attention_equals_pygs_in_value_and_gradient_rows_of_zeros_included() -> None:
    torch.manual_seed(4)
    ours, theirs = SimpleAttention(6, 3).double(), SGFormerAttention(6, 3, 6).double()
    theirs.q.weight, theirs.k.weight, theirs.v.weight = ours.query.weight, ours.key.weight, ours.value.weight
    h = torch.randn(7, 6, dtype=torch.float64)
    h[2] = 0  # what a node without features is at the start
    h.requires_grad_()
    found, expected = ours(h, GraphOperators(torch.empty(2, 0).long(), 7, torch.float64)), theirs(h[None])[0]
    same(found, expected, h, ours)


def copy_linear(to: nn.Module, ours: nn.Module) -> None:
    to.weight = ours.weight
    if ours.bias is not None:
        to.bias = ours.bias
    elif to.bias is not None:
        nn.init.zeros_(to.bias)


def sgformer_twin(ours: nn.Module) -> nn.Module:
    twin = PyGSGFormer(8, 8, 3, trans_num_layers=2, gnn_num_layers=2, graph_weight=0.3).double().eval()
    copy_linear(twin.fc, ours.decoder)
    copy_linear(twin.trans_conv.fcs[0], ours.attention_encoder)
    copy_linear(twin.graph_conv.fcs[0], ours.graph_encoder)
    for attention, theirs in zip(ours.attentions, twin.trans_conv.attns, strict=True):
        theirs.q.weight, theirs.k.weight, theirs.v.weight = attention.query.weight, attention.key.weight, attention.value.weight
    for conv, theirs in zip(ours.convs, twin.graph_conv.convs, strict=True):
        theirs.lin.weight = conv.lin.weight
    pairs = [
        *zip(ours.attention_norms, twin.trans_conv.bns, strict=True),
        *zip(ours.graph_norms, twin.graph_conv.bns, strict=True),
    ]
    for norm, theirs in pairs:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        theirs.weight, theirs.bias = norm.weight, norm.bias
    return twin


@pytest.mark.usefixtures("_double")
def test_sgformer_behind_its_encoder_equals_pygs_in_value_and_gradient() -> None:
    torch.manual_seed(5)
    ours = build(resolve("sgformer", {"graph_weight": 0.3}), 5, 8, 2, 3).double().eval()
    twin = sgformer_twin(ours)
    edge_index, x = erdos_renyi_graph(9, 0.4), torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    found, expected = ours(x, edge_index).log_softmax(1), twin(ours.encoder(x), edge_index, torch.zeros(9).long())
    same(found, expected, x, ours)


def test_sgformer_refuses_settings_that_make_no_mix() -> None:
    with pytest.raises(ValueError, match=r"graph_weight: must lie between 0 and 1, got 1\.5"):
        build(resolve("sgformer", {"graph_weight": 1.5}), 5, 8, 2, 3)
    with pytest.raises(ValueError, match=r"conv: must be one of .*; got 'gnc'"):
        build(resolve("sgformer", {"conv": "gnc"}), 5, 8, 2, 3)


# Polynormer


def randomised(module: nn.Module) -> nn.Module:
    """Zeros and ones at the start would hide a parameter that is missing, or in the wrong place."""
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.7)
    return module


def test_global_layer_of_polynormer_equals_the_papers_equation_in_each_graph() -> None:
    torch.manual_seed(6)
    layer, h = randomised(GlobalLayer(6, 2, 0.9, 0.0)), rows(6).requires_grad_()
    q, k, v = (h @ linear.weight.T for linear in (layer.query, layer.key, layer.value))
    read = attended(1 / (1 + (-q).exp()), 1 / (1 + (-k).exp()), v, 2, BATCH, list(range(sum(SIZES))), 1e-6)
    normal = nn.functional.layer_norm(read, (6,), layer.norm.weight, layer.norm.bias)
    gate = h @ layer.gate.weight.T + layer.gate.bias + 0.9
    expected = ((normal * gate) @ layer.out.weight.T + layer.out.bias).clamp(min=0)
    same(layer(h, operators()), expected, h, layer)


def polynormer_attention_twin(ours: GlobalLayer, channels: int) -> nn.Module:
    """PyG's heads are the last axis of the channels, ours the first."""
    twin = PolynormerAttention(channels, ours.heads, channels // ours.heads, ours.beta, qk_shared=False).double()
    order = torch.arange(channels).view(ours.heads, -1).T.flatten()
    pairs = ((twin.q, ours.query), (twin.k, ours.key), (twin.v, ours.value), (twin.h_lins, ours.gate), (twin.lns, ours.norm))
    for theirs, one in pairs:
        give(theirs, **{name: parameter[order] for name, parameter in one.named_parameters()})
    give(twin.lin_out, weight=ours.out.weight[:, order])
    twin.lin_out.bias = ours.out.bias
    return twin


@pytest.mark.parametrize("heads", [1, 3])
def test_global_layer_of_polynormer_equals_pygs_in_value_and_gradient(heads: int) -> None:
    torch.manual_seed(7)
    ours = randomised(GlobalLayer(6, heads, 0.9, 0.0))
    h = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    found = ours(h, GraphOperators(torch.empty(2, 0).long(), 7, torch.float64))
    same(found, polynormer_attention_twin(ours, 6)(h[None])[0], h, ours)


def polynormer_twin(ours: nn.Module, conv: str) -> nn.Module:
    num_global = len(ours.global_layers)
    twin = PyGPolynormer(8, 8, 3, 2, num_global, heads=1, beta=0.7, local_attn=conv != "gcn").double().eval()
    twin._global = num_global > 0
    for index, layer in enumerate(ours.local_layers):
        copy_linear(twin.h_lins[index], layer.gate)
        copy_linear(twin.lins[index], layer.own)
        twin.lns[index].weight, twin.lns[index].bias = layer.product_norm.weight, layer.product_norm.bias
        twin.post_bns[index].weight, twin.post_bns[index].bias = layer.norm.weight, layer.norm.bias
        theirs = twin.local_convs[index]
        theirs.lin.weight = layer.conv.lin.weight
        if conv != "gcn":
            theirs.add_self_loops = True
            give(theirs, att_src=layer.conv.att_source[None], att_dst=layer.conv.att_target[None])
    if num_global:
        twin.ln.weight, twin.ln.bias = ours.norm.weight, ours.norm.bias
        twin.global_attn = nn.ModuleList(polynormer_attention_twin(layer, 8) for layer in ours.global_layers)
    copy_linear(twin.pred_global if num_global else twin.pred_local, ours.decoder)
    return twin


@pytest.mark.parametrize("conv", ["gcn", "gat_one_head"])
@pytest.mark.parametrize("global_layers", [0, 2])
def test_polynormer_behind_its_encoder_equals_pygs_in_value_and_gradient(conv: str, global_layers: int) -> None:
    torch.manual_seed(8)
    ours = build(resolve("polynormer", {"conv": conv, "global_layers": global_layers, "beta": 0.7}), 5, 8, 2, 3)
    ours = randomised(ours).eval()
    twin = polynormer_twin(ours, conv)
    edge_index, x = erdos_renyi_graph(9, 0.4), torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    expected = twin(ours.encoder(x), edge_index, torch.zeros(9).long())
    same(ours(x, edge_index).log_softmax(1), expected, x, ours)


def test_polynormer_without_attention_is_a_message_passing_model() -> None:
    torch.manual_seed(9)
    model = randomised(build(resolve("polynormer", {"global_layers": 0}), 5, 8, 3, 2)).eval()
    assert (model.reach, model.global_channel, model.operator) == (3, frozenset({"norm(train)"}), "mean")
    graph = path(9)
    assert (influence(model, [graph])[0].x[0] != 0).tolist() == [True] * 4 + [False] * 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"conv": "gta"}, r"conv: must be one of .*; got 'gta'"),
        ({"heads": 3}, "hidden_channels: must be a multiple of heads = 3, got 8"),
    ],
)
def test_polynormer_refuses_what_does_not_go_together(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(resolve("polynormer", settings), 5, 8, 2, 2)


# DeepSets


def test_deep_sets_equals_its_equation_in_each_graph_whatever_the_edges() -> None:
    torch.manual_seed(10)
    model, x = randomised(build(resolve("deep_sets"), 5, 8, 2, 3)), rows(5).requires_grad_()
    assert (model.global_channel, model.reach, model.operator) == (frozenset({"pooling"}), None, "complete")
    h = model.encoder(x)
    for conv, pooled, norm in zip(model.convs, model.virtual, model.norms, strict=True):
        means = torch.stack([sum(h[j] for j in range(len(BATCH)) if BATCH[j] == b) / (b == BATCH).sum() for b in BATCH])
        mapped = (h + pooled(means)) @ conv.lin.weight.T + conv.lin.bias
        h = nn.functional.layer_norm(mapped, (8,), norm.weight, norm.bias).clamp(min=0)
    for edge_index in (operators().edge_index, torch.empty(2, 0).long()):
        same(model(x, edge_index, batch=BATCH), model.decoder(h), x, model)


def test_deep_sets_does_not_care_which_other_node_has_which_input() -> None:
    torch.manual_seed(11)
    model, graph = randomised(build(resolve("deep_sets"), 5, 8, 2, 3)), path(6)
    x, order = graph.x.double(), [0, 3, 5, 1, 2, 4]
    torch.testing.assert_close(model(x[order], graph.edge_index)[0], model(x, graph.edge_index)[0], rtol=1e-9, atol=1e-9)


# NodeFormer


def nodeformer_reads(ours: NodeFormerAttention, h: Tensor, noise: Tensor) -> Tensor:
    """The kernel of one graph, node by node and head by head; noise [draws, heads, nodes]."""
    size = h.size(1) // ours.heads
    q, k, v = (linear(h).view(len(h), ours.heads, size) for linear in (ours.query, ours.key, ours.value))
    q, k = q / (0.25 * size**0.5) ** 0.5, k / (0.25 * size**0.5) ** 0.5
    out = torch.zeros_like(v)
    for head in range(ours.heads):
        top = max((ours.projection @ k[j, head]).max() for j in range(len(h)))
        phi_k = [(ours.projection @ one - one @ one / 2 - top).exp() + 1e-6 for one in k[:, head]]
        for i, one in enumerate(q[:, head]):
            seen = ours.projection @ one
            phi_q = (seen - one @ one / 2 - seen.max()).exp() + 1e-6
            for draw in noise[:, head]:
                weight = [phi_q @ phi_k[j] * (draw[j] / 0.25).exp() for j in range(len(h))]
                read = sum(w * v[j, head] for j, w in enumerate(weight)) / sum(weight)
                out[i, head] += read / len(noise)
    return out.flatten(1)


@pytest.mark.parametrize("training", [False, True])
def test_nodeformer_attention_equals_its_equation_in_each_graph(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(12)
    ours, h = randomised(NodeFormerAttention(6, 2)).train(training), rows(6).requires_grad_()
    drawn = torch.randn(10, len(SIZES), 2, max(SIZES), 1, dtype=torch.float64)
    monkeypatch.setattr(nodeformer, "_gumbel", lambda shape, _: drawn.view(shape))
    op = operators()
    parts = []
    for graph in range(len(SIZES)):
        noise = drawn[:, graph, :, : SIZES[graph], 0] if training else torch.zeros(1, 2, SIZES[graph])
        parts.append(nodeformer_reads(ours, h[graph == BATCH], noise))
    share = (1 / (1 + (-ours.edge_bias).exp())).repeat_interleave(3)
    expected = ours.out(torch.cat(parts) + share * gcn_propagated(ours.value(h), op.edge_index))
    same(ours(h, op, Surroundings()), expected, h, ours)


def test_noise_of_nodeformer_is_gumbels() -> None:
    torch.manual_seed(13)
    drawn = nodeformer._gumbel((200_000,), torch.zeros(1, dtype=torch.float64))
    assert drawn.mean().item() == pytest.approx(0.5772, abs=0.015)  # Euler's constant, +- 5 standard errors
    assert drawn.var().item() == pytest.approx(torch.pi**2 / 6, rel=0.03)


def test_kernel_of_nodeformer_approaches_the_softmax_with_many_features(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(14)
    monkeypatch.setattr(NodeFormerAttention, "num_features", 40_000)
    ours = NodeFormerAttention(4, 1).double().eval()
    q, k = (0.2 * torch.randn(6, 4, dtype=torch.float64) for _ in range(2))
    weight = ours._queries(q[None])[0, 0] @ ours._keys(k[None], None)[0, 0].T
    expected = (q @ k.T / (0.25 * 4**0.5)).softmax(1)
    torch.testing.assert_close(weight / weight.sum(1, keepdim=True), expected, rtol=0.03, atol=0)


def test_random_directions_lean_no_way() -> None:
    torch.manual_seed(18)
    mean = orthogonal(40_000, 4).mean(0)
    assert mean.abs().max() < 5 * (1 / (4 * 40_000)) ** 0.5  # an entry has variance 1 / 4; signs as QR leaves them give 0.1


def test_nodeformer_draws_while_training_only_and_says_so() -> None:
    torch.manual_seed(15)
    model, graph = build(resolve("nodeformer"), 5, 8, 2, 3), path(6)
    assert model.random
    first, second = (model(graph.x, graph.edge_index) for _ in range(2))
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(graph.x, graph.edge_index), model(graph.x, graph.edge_index))


# SAN


def san_reads(ours: SANAttention, h: Tensor, edge_index: Tensor) -> Tensor:
    """The paper's two softmaxes in one graph, node by node and head by head."""
    size, edges = h.size(1) // ours.heads, set(map(tuple, edge_index.T.tolist()))
    linears = (ours.query, ours.key, ours.other_query, ours.other_key, ours.value)
    q, k, other_q, other_k, v = (linear(h).view(len(h), ours.heads, size) for linear in linears)
    out = torch.zeros_like(v)
    for head in range(ours.heads):
        for i in range(len(h)):
            near = [j for j in range(len(h)) if (j, i) in edges]
            far = [j for j in range(len(h)) if (j, i) not in edges and j != i]
            for among, asked, keys, share in ((near, q, k, 1 / 1.1), (far, other_q, other_k, 0.1 / 1.1)):
                if among:
                    weight = (keys[among, head] @ asked[i, head] / size**0.5).softmax(0)
                    out[i, head] += share * (weight @ v[among, head])
    return ours.out(out.flatten(1))


def test_san_attention_equals_its_equation_in_each_graph_of_a_batch() -> None:
    torch.manual_seed(16)
    complete = (~torch.eye(4, dtype=torch.bool)).nonzero().T  # nobody is an other
    directed = torch.tensor([[0, 1, 2, 2, 3], [1, 2, 0, 3, 3]])  # with a loop; 4 has no neighbour
    edges, sizes = [complete, directed, torch.empty(2, 0).long(), path(7).edge_index], [4, 5, 1, 7]
    several = [
        Data(x=torch.randn(n, 6), edge_index=e, y=torch.zeros(1), readout_index=torch.tensor([0]))
        for e, n in zip(edges, sizes, strict=True)
    ]
    ours, batch = randomised(SANAttention(6, 2)), graph_batch(several, SANAttention.needs)
    h = batch.graphs.x.double().requires_grad_()
    op = GraphOperators(batch.graphs.edge_index, len(h), torch.float64, batch.graphs.batch)
    expected = torch.cat([san_reads(ours, part, e) for part, e in zip(h.split(sizes), edges, strict=True)])
    same(ours(h, op, Surroundings(batch.needs)), expected, h, ours)


def test_san_gives_neighbours_ten_times_the_weight_of_all_others_together() -> None:
    torch.manual_seed(17)
    ours, graph = SANAttention(4, 1).double(), path(5)
    nn.init.zeros_(ours.query.weight)
    nn.init.zeros_(ours.other_query.weight)
    nn.init.eye_(ours.value.weight)
    nn.init.eye_(ours.out.weight)
    op = GraphOperators(graph.edge_index, 5, torch.float64)
    marks = torch.cat([torch.zeros(1, 4), torch.eye(4)]).double()  # of nodes 1 ... 4
    read = ours(marks, op, Surroundings({"joined": ENCODINGS["joined"](graph)}))[0]
    torch.testing.assert_close(read, torch.tensor([1, 0.1 / 3, 0.1 / 3, 0.1 / 3]).double() / 1.1)


# Specformer


def ring(num_nodes: int) -> Data:
    node = torch.arange(num_nodes)
    edge_index = to_undirected(torch.stack([node, node.roll(-1)]))
    return Data(x=torch.randn(num_nodes, 5), edge_index=edge_index, readout_index=torch.tensor([0]))


def reference_filters(filters: Filters, eigenvalues: Tensor) -> Tensor:
    """The values of the filters [n, heads], the encoding and PyTorch's own attention written out."""
    width = filters.encoder.channels
    rate = [10000 ** (-2 * i / width) for i in range(width // 2)]
    columns = [eigenvalues, *((100 * eigenvalues * w).sin() for w in rate), *((100 * eigenvalues * w).cos() for w in rate)]
    z = filters.encoder.lin(torch.stack(columns, dim=1))
    normal = nn.functional.layer_norm(z, (width,), filters.attention_norm.weight, filters.attention_norm.bias)
    query, key, value = filters.query, filters.key, filters.value
    read, _ = nn.functional.multi_head_attention_forward(
        *[normal] * 3,
        width,
        filters.heads,
        torch.cat([query.weight, key.weight, value.weight]),
        torch.cat([query.bias, torch.zeros(width), value.bias]),
        None,
        None,
        False,
        0.0,
        filters.out.weight,
        filters.out.bias,
    )
    z = z + read
    z = z + filters.mlp(nn.functional.layer_norm(z, (width,), filters.mlp_norm.weight, filters.mlp_norm.bias))
    return filters.decoder(z)


def reference_specformer(model: nn.Module, graph: Data, x: Tensor) -> Tensor:
    """One graph: for each channel the matrix over pairs of nodes, by NetworkX's Laplacian."""
    undirected = nx.Graph(graph.edge_index.T.tolist())
    undirected.add_nodes_from(range(len(graph.x)))
    laplacian = torch.from_numpy(nx.normalized_laplacian_matrix(undirected, range(len(graph.x))).toarray())
    values, vectors = torch.linalg.eigh(laplacian)
    f, h = reference_filters(model.filters, values), model.encoder(x)
    for layer in model.layers:
        mixed = torch.zeros_like(h)
        for channel in range(h.size(1)):
            matrix = layer.own[0, channel] * torch.eye(len(h))
            for head in range(f.size(1)):
                matrix = matrix + layer.mix[head, channel] * vectors @ torch.diag(f[:, head]) @ vectors.T
            mixed[:, channel] = matrix @ h[:, channel]
        mapped = mixed @ layer.lin.weight.T + layer.lin.bias
        h = h + nn.functional.layer_norm(mapped, (h.size(1),), layer.norm.weight, layer.norm.bias).clamp(min=0)
    return model.decoder(h)


@pytest.mark.usefixtures("_double")
def test_specformer_equals_its_equations_in_each_graph_of_a_batch() -> None:
    torch.manual_seed(19)
    model = randomised(build(resolve("specformer", {"heads": 2}), 5, 8, 2, 3))
    alone = Data(x=torch.randn(1, 5), edge_index=torch.empty(2, 0).long(), readout_index=torch.tensor([0]))
    apart = Data(x=torch.randn(5, 5), edge_index=to_undirected(torch.tensor([[0, 1, 3], [1, 2, 4]])), readout_index=BATCH[:1])
    several = [path(6), alone, ring(8), apart]
    batch = graph_batch([Data(**dict(g), y=torch.zeros(1)) for g in several], model.needs)
    x = batch.graphs.x.double().requires_grad_()
    found = model(x, batch.graphs.edge_index, batch=batch.graphs.batch, **batch.needs)
    parts = zip(several, x.split([graph.num_nodes for graph in several]), strict=True)
    same(found, torch.cat([reference_specformer(model, graph, part) for graph, part in parts]), x, model)


def test_spectrum_is_that_of_a_ring_and_diagonalises_the_laplacian_of_any_graph() -> None:
    values = ENCODINGS["spectrum"](ring(12))[0, :, 1]
    expected = sorted(1 - math.cos(2 * math.pi * k / 12) for k in range(12))
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    edge_index = torch.tensor([[0, 1, 2, 2, 4, 4, 4], [1, 2, 0, 3, 4, 0, 0]])  # directed, with a loop and an edge twice; 5 alone
    vectors, values = ENCODINGS["spectrum"](Data(edge_index=edge_index, num_nodes=6)).unbind(-1)
    simple = nx.Graph([(0, 1), (1, 2), (0, 2), (2, 3), (0, 4)])
    simple.add_node(5)
    laplacian = torch.from_numpy(nx.normalized_laplacian_matrix(simple, range(6)).toarray())
    torch.testing.assert_close(vectors @ torch.diag(values[0]) @ vectors.T, laplacian, rtol=0, atol=1e-12)


def test_specformer_does_not_care_for_the_basis_of_an_eigenspace_on_a_ring() -> None:
    torch.manual_seed(20)
    model, graph = randomised(build(resolve("specformer"), 5, 8, 2, 3)), ring(12)
    spectrum = ENCODINGS["spectrum"](graph)
    turned, values = spectrum[..., 0].clone(), spectrum[0, :, 1]
    places, spaces = [], 0
    while len(places) < 12:
        space = (values - values[len(places)]).abs().lt(1e-9).nonzero().flatten().tolist()
        turned[:, space] = turned[:, space] @ torch.linalg.qr(torch.randn(len(space), len(space)).double())[0]
        places, spaces = places + space, spaces + 1
    assert spaces == 7  # five of them have two dimensions
    assert (turned - spectrum[..., 0]).abs().max() > 0.1
    other = torch.stack([turned, spectrum[..., 1]], dim=-1)
    x = graph.x.double()
    found, expected = (model(x, graph.edge_index, spectrum=s[None]) for s in (other, spectrum))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_specformer_refuses_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match="hidden_channels: must be a multiple of heads = 3, got 8"):
        build(resolve("specformer", {"heads": 3}), 5, 8, 2, 3)


# GRED


def gred_reads(conv: nn.Module, h: Tensor, edge_index: Tensor) -> Tensor:
    """The sum of the powers of Lambda over the nodes at each distance, in complex numbers, by NetworkX's distances."""
    graph = nx.DiGraph(edge_index.T.tolist())
    graph.add_nodes_from(range(len(h)))
    distance = dict(nx.all_pairs_shortest_path_length(graph))
    x = (h @ conv.lin.weight.T + conv.lin.bias).clamp(min=0)
    real, imaginary = conv.enter.weight.chunk(2)
    turn = torch.polar((-conv.decay.exp()).exp(), conv.phase)
    entered = x.to(turn.dtype) @ torch.complex(real, imaginary).T
    into = [[[j for j in distance if distance[j].get(i) == k] for k in range(5)] for i in range(len(h))]
    size = [[sum(d == k for d in distance[j].values()) for k in range(5)] for j in range(len(h))]  # as sources have it
    out = []
    for i in range(len(h)):
        state = entered[i]
        for k in range(1, 5):
            for j in into[i][k]:
                state = state + turn**k * entered[j] / (len(into[i][k]) * size[j][k]) ** 0.5
        out.append(state)
    left, right = conv.leave.weight.chunk(2, dim=1)
    states = torch.stack(out)
    return (states @ torch.complex(left, -right).T).real + conv.leave.bias


@pytest.mark.parametrize("graph", ["path", "directed", "random"])
def test_gred_equals_a_sum_over_distances_in_complex_numbers(graph: str) -> None:
    torch.manual_seed(21)
    directed = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 2], [1, 2, 3, 4, 5, 6, 0, 0]])
    edge_index = {"path": path(8).edge_index, "directed": directed, "random": erdos_renyi_graph(8, 0.25)}[graph]
    conv, h = randomised(CONVS["gred"](6, 4)), torch.randn(8, 6, dtype=torch.float64, requires_grad=True)
    found = conv(h, GraphOperators(edge_index, 8, torch.float64), Memory(h))
    same(found, gred_reads(conv, h, edge_index), h, conv)


def test_gred_reads_four_hops_a_layer_and_forgets_by_the_power_of_the_distance() -> None:
    torch.manual_seed(22)
    model = build(resolve("gred", {"norm": "none"}), 5, 8, 2, 2).double()
    assert (model.reach, model.layer_hops) == (8, (4, 4))
    felt = influence(model, [path(12)])[0].x[0]
    assert (felt != 0).tolist() == [True] * 9 + [False] * 3
    conv, h = CONVS["gred"](4, 4).double(), torch.ones(30, 4, dtype=torch.float64, requires_grad=True)
    nn.init.constant_(conv.decay, math.log(math.log(2)))  # |Lambda| = 1 / 2
    nn.init.zeros_(conv.phase)
    nn.init.eye_(conv.lin.weight)
    out = conv(h, GraphOperators(path(30).edge_index, 30, torch.float64), Memory(h))[15]
    slope = torch.autograd.grad(out.sum(), h)[0]
    for hops in range(1, 5):  # both nodes at this distance, and two around each of them: 1 / sqrt(2 * 2)
        torch.testing.assert_close(slope[15 + hops], slope[15] / 2 ** (hops + 1))


@pytest.mark.parametrize(("name", "settings"), [("gred", {}), ("polynormer", {"global_layers": 0})])
def test_influence_of_models_of_finite_reach_is_what_autograd_says(name: str, settings: dict[str, object]) -> None:
    torch.manual_seed(30)
    model, graph = randomised(build(resolve(name, settings), 5, 8, 2, 2)).eval(), path(12)
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x, graph.edge_index)[0], graph.x.double())
    torch.testing.assert_close(influence(model, [graph])[0].x[0], jacobian.square().sum((0, 2)).sqrt())


def test_gred_begins_with_radii_of_uniform_points_in_the_disk() -> None:
    torch.manual_seed(23)
    conv = CONVS["gred"](2, 4000)
    radius = (-conv.decay.exp()).exp()
    assert radius.square().mean().item() == pytest.approx(0.5, abs=0.025)  # +- 5 standard errors
    assert 0 <= conv.phase.min() < conv.phase.max() < 2 * math.pi


# TokenGT


def reference_tokengt(model: nn.Module, graph: Data, x: Tensor, rows: Tensor) -> Tensor:
    """A list of tokens, nodes and then edges, through PyTorch's own attention; rows [n, width] are the identifiers."""
    edges = sorted(set(map(tuple, graph.edge_index.T.tolist())))
    ends = [(v, v) for v in range(len(rows))] + edges
    t = torch.stack([model.identifier.weight @ torch.cat([rows[u], rows[v]]) for u, v in ends])
    t = t + torch.cat([model.encoder(x), model.edge_type.expand(len(edges), -1)])
    for block in model.blocks:
        normal, width = _normed(block.attention_norm, t), t.size(1)
        read, _ = nn.functional.multi_head_attention_forward(
            *[normal] * 3,
            width,
            block.heads,
            torch.cat([block.query.weight, block.key.weight, block.value.weight]),
            torch.cat([block.query.bias, torch.zeros(width), block.value.bias]),
            None,
            None,
            False,
            0.0,
            block.out.weight,
            block.out.bias,
        )
        t = t + read
        t = t + block.mlp(_normed(block.mlp_norm, t))
    return model.decoder(_normed(model.norm, t[: len(rows)]))


def _normed(norm: nn.Module, h: Tensor) -> Tensor:
    return nn.functional.layer_norm(h, h.shape[1:], norm.weight, norm.bias)


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("width", [3, 8, 16])  # of identifiers: less than most graphs have nodes, as many as the largest, more
def test_tokengt_equals_its_equations_in_each_graph_of_a_batch(width: int) -> None:
    torch.manual_seed(24)
    model = randomised(build(resolve("tokengt", {"heads": 2, "identifier_channels": width}), 5, 8, 2, 3)).eval()
    alone = Data(x=torch.randn(1, 5), edge_index=torch.empty(2, 0).long(), readout_index=torch.tensor([0]))
    directed = torch.tensor([[0, 1, 2, 2, 2, 0], [1, 2, 0, 3, 2, 1]])  # with a loop and an edge twice
    several = [path(6), alone, ring(8), Data(x=torch.randn(4, 5), edge_index=directed, readout_index=torch.tensor([0]))]
    batch = graph_batch([Data(**dict(g), y=torch.zeros(1)) for g in several], model.needs)
    x = batch.graphs.x.double().requires_grad_()
    found = model(x, batch.graphs.edge_index, batch=batch.graphs.batch, **batch.needs)
    expected = []
    for graph, part in zip(several, x.split([graph.num_nodes for graph in several]), strict=True):
        rows = ENCODINGS["identifiers"](graph)[:, :width]
        rows = torch.cat([rows, torch.zeros(len(rows), width - rows.size(1))], dim=1) @ model.frame
        expected.append(reference_tokengt(model, graph, part, rows / rows.norm(dim=1, keepdim=True)))
    same(found, torch.cat(expected), x, model)


def test_identifiers_are_orthonormal_rows_that_follow_the_nodes() -> None:
    torch.manual_seed(25)
    edge_index = to_undirected(torch.tensor([[0, 0, 1, 2, 3, 4, 5, 6, 1], [1, 2, 2, 3, 4, 5, 6, 7, 8]]))  # without symmetries
    order, state = torch.randperm(9), torch.get_rng_state()
    one = ENCODINGS["identifiers"](Data(edge_index=edge_index, num_nodes=9))
    other = ENCODINGS["identifiers"](Data(edge_index=order.argsort()[edge_index].flip(1), num_nodes=9))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(one @ one.T, torch.eye(9).double(), rtol=0, atol=1e-12)
    assert torch.equal(other, one[order])


@pytest.mark.parametrize("num_nodes", [5, 12])
def test_tokengt_turns_its_identifiers_at_every_step_and_keeps_them_orthonormal(num_nodes: int) -> None:
    torch.manual_seed(26)
    model = build(resolve("tokengt", {"identifier_channels": 8}), 5, 8, 1, 3).double()
    assert model.random
    rows = ENCODINGS["identifiers"](ring(num_nodes))
    first, second = (rows @ model._frame(num_nodes).double() for _ in range(2))
    assert (first - second).abs().max() > 0.1
    fixed = rows @ model.eval()._frame(num_nodes)
    assert torch.equal(fixed, rows @ model._frame(num_nodes))
    if num_nodes <= 8:
        for turned in (first, second, fixed):
            torch.testing.assert_close(turned @ turned.T, torch.eye(num_nodes).double(), rtol=0, atol=1e-5)


def test_rotations_of_tokengt_are_as_likely_as_any_other() -> None:
    """An entry of a random rotation in d dimensions has mean 0 and variance 1 / d, whatever the identifiers are turned from."""
    torch.manual_seed(27)
    model = build(resolve("tokengt", {"identifier_channels": 4}), 5, 8, 1, 3)
    rows = ENCODINGS["identifiers"](ring(6)).float()
    drawn = torch.stack([rows @ model._frame(6) for _ in range(4000)])
    assert drawn.mean(0).abs().max() < 5 * (1 / (6 * 4000)) ** 0.5
    torch.testing.assert_close(drawn.var(0), torch.full((6, 4), 1 / 6), rtol=0.15, atol=0)


def test_tokengt_sees_edges() -> None:
    torch.manual_seed(28)
    model, x = build(resolve("tokengt"), 5, 8, 2, 3).double().eval(), torch.randn(6, 5, dtype=torch.float64)
    outs = []
    for edge_index in (path(6).edge_index, ring(6).edge_index):
        needs = {"joined": ENCODINGS["joined"](Data(edge_index=edge_index, num_nodes=6))[None]}
        outs.append(model(x, edge_index, identifiers=torch.eye(6).double()[None], **needs))
    assert (outs[0] - outs[1]).abs().min() > 0


def test_tokengt_refuses_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match="hidden_channels: must be a multiple of heads = 3, got 8"):
        build(resolve("tokengt", {"heads": 3}), 5, 8, 2, 3)


NAMES = ["sgformer", "polynormer", "deep_sets", "nodeformer", "san", "specformer", "gred", "tokengt"]
VARIANTS = {
    "sgformer with attending edges": ("sgformer", {"conv": "gat", "norm": "graph", "heads": 3}),
    "sgformer over shells": ("sgformer", {"conv": "drew_delay", "norm": "none"}),
    "specformer under batch norm": ("specformer", {"norm": "batch", "heads": 2}),
    "specformer under graph norm": ("specformer", {"norm": "graph"}),
    "gred without norm": ("gred", {"norm": "none", "skip": "none"}),
    "gred beside attention": ("gps", {"conv": "gred"}),
    "tokengt with few identifiers": ("tokengt", {"identifier_channels": 3, "heads": 2}),
    "nodeformer beside gcn": ("nodeformer", {"conv": "gcn", "norm": "batch"}),
    "san beside gcn, norms first": ("san", {"conv": "gcn", "norm_first": True}),
    "polynormer with four heads": ("polynormer", {"conv": "gat", "heads": 2}),
    "polynormer with gcn": ("polynormer", {"conv": "gcn", "global_layers": 1, "heads": 2, "norm": "layer"}),
    "polynormer without attention": ("polynormer", {"global_layers": 0, "norm": "layer"}),
    "polynormer over shells": ("polynormer", {"global_layers": 0, "conv": "drew_delay", "norm": "none"}),
    "polynormer with gates on edges": ("polynormer", {"conv": "gated_gcn", "norm": "graph"}),
    "sgformer under layer norm": ("sgformer", {"norm": "layer", "graph_weight": 0.8}),
}


@pytest.mark.parametrize("shortcuts", [set(), set(PATHS)], ids=["plain", "all shortcuts"])
@pytest.mark.parametrize("task", ["barbell", "published ring", "published tree"])
@pytest.mark.parametrize("name", [*NAMES, *VARIANTS])
def test_every_path_computes_the_same(name: str, task: str, shortcuts: set[str]) -> None:
    model, settings = VARIANTS.get(name, (name, {}))
    assert_equal_on_a_path(model, settings, TASKS[task](3), 2, 7, shortcuts)


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_keep_the_contract(variant: str) -> None:
    name, settings = VARIANTS[variant]
    check_model(resolve(name, settings))


@pytest.mark.parametrize("name", NAMES)
def test_models_train_and_those_that_draw_do_so_alone(name: str) -> None:
    done = trained(make_cells(Transfer(topology=Ring(), hops=2), name, 2, range(2), max_steps=4, eval_every=2))
    assert [(one.status, one.cost["stacked"]) for one in done] == [("ok", 1 if name in ("nodeformer", "tokengt") else 2)] * 2


@pytest.mark.parametrize("name", NAMES)
def test_models_take_graphs_without_edges(name: str) -> None:
    torch.manual_seed(29)
    several = [Data(x=torch.randn(n, 5), edge_index=torch.empty(2, 0).long(), y=torch.zeros(1)) for n in (3, 1)]
    for graph in several:
        graph.readout_index = torch.tensor([0])
    model = build(resolve(name), 5, 8, 2, 3)
    model.train(not model.random)
    assert bool(graph_batch(several, model.needs).forward(model).isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_without_layers_nodes_know_themselves_alone(name: str) -> None:
    torch.manual_seed(31)
    model, graph = randomised(build(resolve(name), 5, 8, 0, 2)).eval(), path(5)
    felt = influence(model, [graph])[0].x[0]
    assert (felt != 0).tolist() == [True] + [False] * 4

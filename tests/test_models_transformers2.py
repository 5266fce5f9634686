"""Attention of linear cost and its operators: against PyG's modules, and loops over nodes written from the equations."""

from collections.abc import Iterator

import pytest
import torch
from test_engine import PATHS, TASKS, assert_equal_on_a_path
from torch import Tensor, nn
from torch_geometric.nn.attention import SGFormerAttention
from torch_geometric.nn.models import SGFormer as PyGSGFormer
from torch_geometric.utils import erdos_renyi_graph

from suite.models import build, resolve
from suite.models.sgformer import SimpleAttention
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


def assert_same_gradients(found: Tensor, expected: Tensor, inputs: list[Tensor], tolerance: float = 1e-9) -> None:
    """Compare two ways to compute one function, in value and in the gradient of a random combination."""
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    weight = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((out * weight).sum(), inputs) for out in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def rows(channels: int) -> Tensor:
    return torch.randn(sum(SIZES), channels, dtype=torch.float64)


def operators() -> GraphOperators:
    torch.manual_seed(0)
    starts = [sum(SIZES[:i]) for i in range(len(SIZES))]
    edges = [erdos_renyi_graph(n, 0.5) + start for n, start in zip(SIZES, starts, strict=True)]
    return GraphOperators(torch.cat(edges, dim=1), sum(SIZES), torch.float64, BATCH)


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int, batch: Tensor, written: list[int]) -> Tensor:
    """sum_j (q_i . k_j) v_j / sum_j (q_i . k_j) over the nodes j of i's graph, head by head."""
    out = []
    for i in written:
        others = [j for j in range(len(batch)) if batch[j] == batch[i]]
        parts = []
        for qh, kh, vh in zip(q.chunk(heads, 1), k.chunk(heads, 1), v.chunk(heads, 1), strict=True):
            weight = [qh[i] @ kh[j] for j in others]
            parts.append(sum(w * vh[j] for w, j in zip(weight, others, strict=True)) / sum(weight))
        out.append(torch.cat(parts))
    return torch.stack(out)


@pytest.mark.parametrize("heads", [1, 2])
def test_linear_attention_on_graphs_of_different_sizes_equals_a_loop_in_value_and_gradient(heads: int) -> None:
    torch.manual_seed(1)
    given = [rows(6).abs().requires_grad_(), rows(6).abs().requires_grad_(), rows(4).requires_grad_()]
    found, expected = operators().attend_linearly(*given, heads), attended(*given, heads, BATCH, list(range(sum(SIZES))))
    assert_same_gradients(found, expected, given)


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


def simply_attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The equation of SGFormer for one graph and one head; q and k have rows of length one."""
    weight = q @ k.T
    n = len(q)
    out = [(n * v[i] + sum(weight[i, j] * v[j] for j in range(n))) / (n + weight[i].sum()) for i in range(n)]
    return torch.stack(out)


def test_simple_attention_equals_the_papers_equation_graph_by_graph() -> None:
    torch.manual_seed(3)
    ours, h = SimpleAttention(6, 2).double(), rows(6)
    found = ours(h, operators())
    for graph in range(len(SIZES)):
        one = h[graph == BATCH]
        heads = []
        for q, k, v in zip(*((one @ lin.weight.T).chunk(2, 1) for lin in (ours.query, ours.key, ours.value)), strict=True):
            heads.append(simply_attended(q / q.norm(dim=1, keepdim=True), k / k.norm(dim=1, keepdim=True), v))
        torch.testing.assert_close(found[graph == BATCH], sum(heads) / 2, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("_double")
def test_simple_attention_equals_pygs_in_value_and_gradient_rows_of_zeros_included() -> None:
    torch.manual_seed(4)
    ours, theirs = SimpleAttention(6, 3).double(), SGFormerAttention(6, 3, 6).double()
    theirs.q.weight, theirs.k.weight, theirs.v.weight = ours.query.weight, ours.key.weight, ours.value.weight
    h = torch.randn(7, 6, dtype=torch.float64)
    h[2] = 0  # what a node without features is at the start
    h.requires_grad_()
    found, expected = ours(h, GraphOperators(torch.empty(2, 0).long(), 7, torch.float64)), theirs(h[None])[0]
    assert_same_gradients(found, expected, [h, *ours.parameters()])


def copy_linear(to: nn.Module, ours: nn.Module) -> None:
    to.weight = ours.weight
    if ours.bias is not None:
        to.bias = ours.bias
    elif to.bias is not None:
        nn.init.zeros_(to.bias)


def sgformer_twin(ours: nn.Module) -> nn.Module:
    twin = PyGSGFormer(5, 8, 3, trans_num_layers=2, gnn_num_layers=2, graph_weight=0.3).double().eval()
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
def test_sgformer_equals_pygs_in_value_and_gradient() -> None:
    torch.manual_seed(5)
    ours = build(resolve("sgformer", {"graph_weight": 0.3}), 5, 8, 2, 3).double().eval()
    twin = sgformer_twin(ours)
    edge_index, x = erdos_renyi_graph(9, 0.4), torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    found, expected = ours(x, edge_index).log_softmax(1), twin(x, edge_index, torch.zeros(9).long())
    assert_same_gradients(found, expected, [x, *ours.parameters()])


def test_sgformer_refuses_settings_that_make_no_mix() -> None:
    with pytest.raises(ValueError, match=r"graph_weight: must lie between 0 and 1, got 1\.5"):
        build(resolve("sgformer", {"graph_weight": 1.5}), 5, 8, 2, 3)
    with pytest.raises(ValueError, match=r"conv: must be one of .*; got 'gnc'"):
        build(resolve("sgformer", {"conv": "gnc"}), 5, 8, 2, 3)


NAMES = ["sgformer"]
VARIANTS = {
    "sgformer with attending edges": ("sgformer", {"conv": "gat", "norm": "graph", "heads": 3}),
    "sgformer over shells": ("sgformer", {"conv": "drew_delay", "norm": "none"}),
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

"""Layers against PyG's own, and facts about models that can be worked out by hand."""

import pytest
import torch
from oracles import GRAPHS, give, operators, same, with_random_biases
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCN2Conv, GCNConv, GINConv, GPSConv, SAGEConv
from torch_geometric.nn import LayerNorm as PyGLayerNorm
from torch_geometric.utils import erdos_renyi_graph, to_undirected

from suite.models import MODELS, build, find, resolve
from suite.models.attentions import SoftmaxAttention, Surroundings
from suite.models.attentions.softmax import DistanceBias
from suite.models.convs import CONVS, Memory
from suite.models.encodings import ENCODINGS
from suite.models.layers import BatchNorm, DataNorm, LayerNorm, dropout
from suite.models.transformer import Block
from suite.operators import GraphOperators

LONE = GraphOperators(torch.empty(2, 0, dtype=torch.long), 1, torch.float32)  # norms of one graph ask it for nothing


def pyg_twin(name: str, ours: nn.Module, in_channels: int, out_channels: int) -> nn.Module:
    """Return PyG's layer with our weights."""
    if name == "gcn":
        twin: nn.Module = GCNConv(in_channels, out_channels)
        twin.lin.weight, twin.bias = ours.lin.weight, ours.lin.bias
    elif name == "gcnii":
        twin = GCN2Conv(in_channels, alpha=0.1, theta=0.5, layer=3)
        give(twin, weight1=ours.lin.weight.T)
    elif name == "sage":
        twin = SAGEConv(in_channels, out_channels)
        twin.lin_l.weight, twin.lin_l.bias, twin.lin_r.weight = (
            ours.lin_neighbour.weight,
            ours.lin_neighbour.bias,
            ours.lin_self.weight,
        )
    elif name == "gin":
        twin = GINConv(ours.mlp)
    elif name == "gin_batch_norm":
        norms = [nn.BatchNorm1d(out_channels) for _ in range(2)]
        for norm, our_norm in zip(norms, (ours.first_norm, ours.second_norm), strict=True):
            norm.weight, norm.bias = our_norm.weight, our_norm.bias
        twin = GINConv(nn.Sequential(ours.first, norms[0], nn.ReLU(), ours.second, norms[1]))
    else:
        heads = ours.att_source.size(0)
        twin = GATConv(in_channels, out_channels // heads, heads=heads)
        twin.lin.weight, twin.bias = ours.lin.weight, ours.bias
        give(twin, att_src=ours.att_source[None], att_dst=ours.att_target[None])
    return twin.double()


@GRAPHS
@pytest.mark.parametrize("name", ["gcn", "gcnii", "sage", "gin", "gin_batch_norm", "gat", "gat_one_head"])
@pytest.mark.parametrize("narrows", [False, True])
def test_layer_equals_its_pyg_twin_in_value_and_all_gradients(name: str, narrows: bool, graph: tuple[Tensor, int]) -> None:
    """A layer that narrows multiplies first and propagates behind; GAT has one head then."""
    torch.manual_seed(1)
    edge_index, num_nodes = graph
    in_channels, out_channels = (6, 6) if name == "gcnii" else ((8, 3) if narrows else (6, 8))
    ours = with_random_biases(CONVS[name](in_channels, out_channels, 2))
    twin = pyg_twin(name, ours, in_channels, out_channels)
    x, initial = (torch.randn(num_nodes, in_channels).double().requires_grad_() for _ in range(2))
    given = (x, initial) if name == "gcnii" else (x,)
    same(ours(x, operators(graph), Memory(initial)), twin(*given, edge_index), *given, ours)


def mha_twin(ours: SoftmaxAttention, channels: int) -> nn.Module:
    """Return torch's attention with our weights; a bias of keys has no effect, and ours have none."""
    twin = nn.MultiheadAttention(channels, ours.heads, batch_first=True).double()
    query, key, value = ours.query, ours.key, ours.value
    give(twin, in_proj_weight=torch.cat([query.weight, key.weight, value.weight]))
    give(twin, in_proj_bias=torch.cat([query.bias, torch.zeros(channels).double(), value.bias]))
    twin.out_proj.weight, twin.out_proj.bias = ours.out.weight, ours.out.bias
    return twin


def test_attention_equals_torch_multihead_attention() -> None:
    torch.manual_seed(2)
    ours = with_random_biases(SoftmaxAttention(16, 4))
    theirs = mha_twin(ours, 16)
    h, batch = torch.randn(9, 16).double().requires_grad_(), torch.tensor([0] * 4 + [1] * 5)
    out = ours(h, GraphOperators(torch.empty(2, 0).long(), 9, torch.float64, batch), Surroundings())
    same(out, torch.cat([theirs(g[None], g[None], g[None])[0][0] for g in (h[:4], h[4:])]), h, ours)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_block_with_a_local_channel_equals_pyg_gps(norm: str) -> None:
    """On two graphs of different sizes, which PyG pads and masks; its LayerNorm is of each node where `mode` says so."""
    torch.manual_seed(3)
    ours = with_random_biases(Block(16, SoftmaxAttention(16, 4), CONVS["gcn"](16, 16), norm, False, 32, 0.0))
    named = {"norm": None} if norm == "none" else {"norm": "layer_norm", "norm_kwargs": {"mode": "node"}}
    theirs = GPSConv(16, GCNConv(16, 16), heads=4, **named).double()
    theirs.conv.lin.weight, theirs.conv.bias = ours.conv.lin.weight, ours.conv.lin.bias
    theirs.attn = mha_twin(ours.attention, 16)
    theirs.mlp[0].weight, theirs.mlp[0].bias = ours.mlp.first.weight, ours.mlp.first.bias
    theirs.mlp[3].weight, theirs.mlp[3].bias = ours.mlp.second.weight, ours.mlp.second.bias
    if norm == "layer":
        pairs = zip((ours.conv_norm, ours.attention_norm, ours.mlp_norm), (theirs.norm1, theirs.norm2, theirs.norm3), strict=True)
        for mine, other in pairs:
            nn.init.normal_(mine.weight)
            other.weight, other.bias = mine.weight, mine.bias
    edge_index, batch = (
        torch.cat([erdos_renyi_graph(7, 0.4), 7 + erdos_renyi_graph(5, 0.4)], dim=1),
        torch.tensor([0] * 7 + [1] * 5),
    )
    h = torch.randn(12, 16).double().requires_grad_()
    out = ours(h, GraphOperators(edge_index, 12, torch.float64, batch), Memory(h), Surroundings())
    same(out, theirs(h, edge_index, batch), h, ours)


def test_distance_bias_tells_hops_apart_up_to_its_last_bucket_and_unreachable_nodes_from_far_ones() -> None:
    distances = DistanceBias(5, heads=2)
    distances.table.data = torch.arange(10.0).view(5, 2)
    bias = distances(torch.tensor([[[0, 1, 2, 3, 9, -1]] * 6]))
    assert bias[0, 0, 0, :, 0].tolist() == [0, 2, 4, 6, 6, 8]


def test_layer_norm_equals_pygs_of_each_node() -> None:
    torch.manual_seed(4)
    ours, theirs = LayerNorm(6).double(), PyGLayerNorm(6, mode="node").double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.weight, theirs.bias = ours.weight, ours.bias
    h = (3 * torch.randn(20, 6).double() + 1).requires_grad_()
    same(ours(h, LONE), theirs(h), h, ours)


def test_batch_norm_equals_torchs_in_value_gradients_and_running_statistics() -> None:
    torch.manual_seed(5)
    ours, theirs = BatchNorm(4).double(), nn.BatchNorm1d(4).double()
    ours.weight.data, ours.bias.data = torch.tensor([1.0, 2.0, -1.0, 0.5]).double(), torch.ones(4).double()
    theirs.weight, theirs.bias = ours.weight, ours.bias
    for training in (True, True, True, False):
        ours.train(training)
        theirs.train(training)
        h = (3 * torch.randn(30, 4).double() + 1).requires_grad_()
        same(ours(h, LONE), theirs(h), h, ours)
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_data_norm_standardises_its_first_batch_and_is_fixed_and_node_wise_afterwards() -> None:
    norm, h = DataNorm(3), torch.randn(50, 3) * torch.tensor([1.0, 5.0, 0.1]) + 7
    norm.calibrating = True
    first = norm(h, LONE)
    norm.calibrating = False
    torch.testing.assert_close(first.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(first.var(0, correction=0), torch.ones(3), atol=1e-2, rtol=0)
    torch.testing.assert_close(norm(h[:1], LONE), first[:1])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.6])
def test_dropout_drops_as_often_as_it_says_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(6)
    h = torch.full((1000, 301), 2.0, requires_grad=True)
    out = dropout(h, p)
    share, error = float((out == 0).double().mean()), (p * (1 - p) / h.numel()) ** 0.5
    assert share == pytest.approx(p, abs=4 * error + 2**-16)
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 2 / (1 - p)), rtol=1e-4, atol=0)
    neighbours = ((out[:, 1:] == 0) & (out[:, :-1] == 0)).double().mean()  # independent: no pattern among those of one draw
    assert float(neighbours) == pytest.approx(p * p, abs=6 * error)
    (gradient,) = torch.autograd.grad(out.sum(), h)
    torch.testing.assert_close(gradient * 2, out.detach())


def test_gcn_has_as_many_parameters_as_its_formula_says() -> None:
    model = build(resolve("gcn", {"norm": "none"}), 7, 16, 3, 5)
    assert sum(p.numel() for p in model.parameters()) == (7 * 16 + 16) + (16 * 16 + 16) * 4 + (16 * 5 + 5)


def test_plain_stack_without_encoder_and_decoder_is_pyg_gcn() -> None:
    torch.manual_seed(5)
    ours = with_random_biases(build(resolve("gcn", {"norm": "none", "encoder": "none", "decoder": "none"}), 7, 16, 2, 3))
    one, two = GCNConv(7, 16), GCNConv(16, 3)
    for conv, twin in zip(ours.convs, (one, two), strict=True):
        twin.lin.weight, twin.bias = conv.lin.weight, conv.lin.bias
    edge_index, x = erdos_renyi_graph(20, 0.2), torch.randn(20, 7).double().requires_grad_()
    same(ours(x, edge_index), two(one(x, edge_index).relu(), edge_index), x, ours)


def test_jumping_knowledge_reads_every_layer() -> None:
    model = build(resolve("gcn_jk"), 7, 16, 3, 5).eval()
    assert model.decoder.weight.shape == (5, 4 * 16)


def test_virtual_node_joins_what_no_edge_joins() -> None:
    torch.manual_seed(6)
    plain, virtual = (build(resolve(name, {"norm": "none"}), 4, 16, 2, 3).double() for name in ("gcn", "gcn_virtual_node"))
    edge_index = to_undirected(torch.tensor([[0, 2], [1, 3]]))  # two separate edges
    for model, expected in ((plain, False), (virtual, True)):
        x = torch.randn(4, 4).double().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x, edge_index)[0].sum(), x)
        assert bool(gradient[2:].abs().sum() > 0) is expected


def test_propagation_alone_forgets_the_length_of_a_row() -> None:
    model = build(resolve("propagation"), 4, 1, 3, 2)
    edge_index, x = to_undirected(torch.tensor([[0, 1], [1, 2]])), torch.rand(3, 4)
    torch.testing.assert_close(model(x, edge_index), model(5 * x, edge_index))


def test_a_constant_learns_the_mean_answer_and_no_more() -> None:
    model = build(resolve("constant"), 4, 8, 3, 1)
    edge_index, y = to_undirected(torch.tensor([[0, 1], [1, 2]])), torch.tensor([1.0, 2.0, 6.0])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(50):
        optimiser.zero_grad()
        (model(torch.rand(3, 4), edge_index).squeeze(1) - y).square().mean().backward()
        optimiser.step()
    torch.testing.assert_close(model(torch.rand(3, 4), edge_index), torch.full((3, 1), 3.0))


def test_names_settings_and_mistakes_are_resolved() -> None:
    assert resolve("gcn_residual") == resolve("gcn", {"skip": "residual"})  # one thing, one key
    assert resolve("gcn").settings["dropout"] == 0.0
    assert resolve("gcn_initial", {"theta": 0.5}) == resolve("gcn_initial")
    assert resolve("gcn_initial", {"theta": 1.0}).settings["theta"] == 1.0
    with pytest.raises(ValueError, match=r"no model is called 'gcnn'. Did you mean 'gcn'\?"):
        find("gcnn")
    with pytest.raises(ValueError, match="no setting 'widht'; it has: conv"):
        resolve("gcn", {"widht": 3})
    with pytest.raises(ValueError, match=r"conv: must be one of .*; got 'gnc'"):
        build(resolve("gcn", {"conv": "gnc"}), 4, 4, 1, 2)


def test_encodings_hold_networkx_distances() -> None:
    graph = Data(edge_index=to_undirected(torch.tensor([[0, 1, 2], [1, 2, 3]])), num_nodes=5)
    assert ENCODINGS["hop_distance"](graph)[0].tolist() == [0, 1, 2, 3, -1]


def test_every_control_says_which_channel_it_has() -> None:
    channels = {name: build(resolve(name), 4, 8, 2, 2).global_channel for name in MODELS}
    assert not channels["mlp"]
    assert not channels["propagation"]
    assert channels["set_transformer"] == {"attention"}
    assert "virtual_node" in channels["gcn_virtual_node"]

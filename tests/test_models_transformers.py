"""Graph transformers: PyG's twins, loops over nodes written from the papers, facts about what each can know."""

import copy
import math

import networkx as nx
import pytest
import torch
from oracles import GRAPHS, operators, same
from test_engine import PATHS, TASKS, plain_loss, shared_loss
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, GPSConv, TransformerConv
from torch_geometric.nn.attention import PerformerAttention as PyGPerformer
from torch_geometric.utils import erdos_renyi_graph, to_networkx, to_undirected

from datasets import Transfer
from datasets.ring import Ring
from suite.cell import Cell, Protocol, TaskRef
from suite.engine import Trained, train
from suite.engine.batches import draw, graph_batch
from suite.engine.topology import encodings
from suite.measures.frozen import Frozen
from suite.measures.squashing import influence
from suite.models import build, resolve
from suite.models.attentions import PAIR_BIASES, SoftmaxAttention, Surroundings
from suite.models.attentions.performer import PerformerAttention
from suite.models.convs import CONVS, Memory
from suite.models.encodings import ENCODINGS
from suite.models.transformer import Block
from suite.operators import GraphOperators
from suite.refs import ref_of
from suite.testing import check_model


def randomised(module: nn.Module) -> nn.Module:
    """Zero parameters would hide one that is missing, or in the wrong place."""
    for parameter in module.double().parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return module


def path(num_nodes: int, channels: int = 4) -> Data:
    edge_index = to_undirected(torch.stack([torch.arange(num_nodes - 1), torch.arange(1, num_nodes)]))
    return Data(x=torch.randn(num_nodes, channels), edge_index=edge_index, readout_index=torch.tensor([0]))


def ring(num_nodes: int, channels: int = 4) -> Data:
    node = torch.arange(num_nodes)
    edge_index = to_undirected(torch.stack([node, node.roll(-1)]))
    return Data(x=torch.randn(num_nodes, channels), edge_index=edge_index, readout_index=torch.tensor([0]))


# settings


VARIANTS = {
    "rrwp bias": ("spd_transformer", {"pair_bias": "rrwp"}),
    "resistance bias": ("spd_transformer", {"pair_bias": "resistance"}),
    "gps with rrwp": ("gps", {"pair_bias": "rrwp"}),
    "graphormer under batch norm": ("graphormer", {"norm": "batch"}),
    "graphormer with edges": ("graphormer", {"conv": "transformer"}),
    "edges with degrees": ("graph_transformer", {"degree_buckets": 4}),
    "edges, norms first": ("graph_transformer", {"norm_first": True, "degree_buckets": 4}),
    "gcn blocks": ("graph_transformer", {"conv": "gcn", "norm": "batch"}),
    "exphormer without convolution": ("exphormer", {"conv": "none", "norm": "batch"}),
    "exphormer of degree 5 with 3 virtual nodes": ("exphormer", {"expander_degree": 5, "num_virtual_nodes": 3}),
    "grit without norm": ("grit", {"norm": "none"}),
    "attention in the stack": ("gcn", {"conv": "transformer", "skip": "residual"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_keep_the_contract(variant: str) -> None:
    name, settings = VARIANTS[variant]
    check_model(resolve(name, settings))


@pytest.mark.parametrize("shortcuts", [set(), set(PATHS)], ids=["plain", "all shortcuts"])
@pytest.mark.parametrize("task", ["barbell", "published ring", "published tree"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_compute_the_same_on_every_path(variant: str, task: str, shortcuts: set[str]) -> None:
    torch.manual_seed(0)
    (name, settings), asked = VARIANTS[variant], TASKS[task](3)
    in_channels = asked.draw(2, torch.Generator()).x.size(-1)
    plain = [randomised(build(resolve(name, settings), in_channels, 8, 2, asked.out_channels)) for _ in range(2)]
    found, stack, _ = shared_loss(plain, asked, 2, 7, frozenset(shortcuts))
    expected = torch.stack([plain_loss(copy.deepcopy(m).train(), asked, seed, 7) for seed, m in enumerate(plain)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(found.sum(), list(stack.module.parameters()), materialize_grads=True, allow_unused=True)
    theirs = [_gradients(m.train(), plain_loss(m, asked, seed, 7)) for seed, m in enumerate(plain)]
    for ours, *alone in zip(gradients, *theirs, strict=True):
        torch.testing.assert_close(ours, torch.stack(alone), rtol=1e-7, atol=1e-9)


def _gradients(model: nn.Module, loss: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True, allow_unused=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": "sparse"}, r"attention: must be none or one of .*; got 'sparse'"),
        ({"attention": "none"}, "attention: must be given where conv is none"),
        ({"attention": "none", "conv": "gcn", "heads": 8}, "heads: must be 4 unless there is attention beside the conv"),
        ({"distance_buckets": 20}, "distance_buckets: must be 40 unless pair_bias is spd, which alone reads it; got 20"),
        ({"attention": "performer", "pair_bias": "spd"}, "pair_bias: must be none unless attention is softmax"),
        ({"pair_bias": "hops"}, r"pair_bias: must be none or one of spd, rrwp, resistance; got 'hops'"),
        ({"pair_bias": "spd", "distance_buckets": 2}, "distance_buckets: must be >= 3"),
        ({"attention": "none", "conv": "gcn", "norm": "batch", "norm_first": True}, "norm_first: must be false"),
        (
            {"attention": "expander", "expander_degree": 2},
            "expander_degree: must be >= 3, at 2 the random graph is a ring; got 2",
        ),
        ({"attention": "expander", "num_virtual_nodes": 0}, "num_virtual_nodes: must be >= 1, got 0"),
        ({"expander_degree": 6}, "expander_degree: must be 4 unless attention is expander, which alone reads it; got 6"),
        ({"attention": "san", "num_virtual_nodes": 2}, "num_virtual_nodes: must be 1 unless attention is expander"),
        ({"attention": "performer", "heads": 16}, "performer needs 2 a head, got 16 for 16 heads"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(resolve("set_transformer", settings), 4, 16, 2, 3)


# along edges


@GRAPHS
@pytest.mark.parametrize(("out_channels", "heads"), [(8, 4), (3, 1)])
def test_attention_along_edges_equals_pygs_transformer_conv_and_a_projection(
    out_channels: int, heads: int, graph: tuple[Tensor, int]
) -> None:
    torch.manual_seed(1)
    ours = randomised(CONVS["transformer"](6, out_channels))
    twin = TransformerConv(6, out_channels // heads, heads=heads, bias=False, root_weight=False).double()
    twin.lin_query.weight, twin.lin_key.weight, twin.lin_value.weight = ours.query.weight, ours.key.weight, ours.value.weight
    x = torch.randn(graph[1], 6).double().requires_grad_()
    same(ours(x, operators(graph), Memory(x)), twin(x, graph[0]) @ ours.out.weight.T + ours.out.bias, x, ours)


def test_block_along_edges_is_that_of_the_paper() -> None:
    torch.manual_seed(2)
    model = randomised(build(resolve("graph_transformer"), 4, 8, 1, 3))
    (block,), edge_index, x = model.blocks, erdos_renyi_graph(10, 0.4), torch.randn(10, 4).double().requires_grad_()
    h = model.encoder(x)
    attended = block.conv(h, GraphOperators(edge_index, 10, torch.float64), Memory(h))
    one = nn.functional.layer_norm(h + attended, (8,), block.conv_norm.weight, block.conv_norm.bias)
    mlp = block.mlp.second(block.mlp.first(one).relu())
    two = nn.functional.layer_norm(one + mlp, (8,), block.mlp_norm.weight, block.mlp_norm.bias)
    same(model(x, edge_index), model.decoder(two), x, model)


@pytest.mark.parametrize("num_nodes", [6, 13])  # all of it is seen, or a window of it
@pytest.mark.parametrize("name", ["graph_transformer", "edges with degrees", "edges, norms first"])
def test_attention_along_edges_feels_as_far_as_it_has_layers_and_as_much_as_autograd_says(name: str, num_nodes: int) -> None:
    torch.manual_seed(3)
    model = randomised(build(resolve(*VARIANTS.get(name, (name,))), 4, 8, 3, 2))
    graph = path(num_nodes)
    assert (model.reach, model.global_channel, model.operator) == (3, frozenset(), "mean")
    felt = influence(model, [graph])[0].x[0]
    assert (felt != 0).tolist() == [True] * 4 + [False] * (num_nodes - 4)
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x, graph.edge_index)[0], graph.x.double())
    torch.testing.assert_close(felt, jacobian.square().sum((0, 2)).sqrt())


# bias of pairs


def reference_attention(attention: SoftmaxAttention, h: Tensor, bias: Tensor) -> Tensor:
    """Softmax attention head by head and node by node; bias [n, n, heads]."""
    q, k, v = (linear(h).view(len(h), attention.heads, -1) for linear in (attention.query, attention.key, attention.value))
    out = torch.zeros_like(v)
    for head in range(attention.heads):
        for i in range(len(h)):
            logits = torch.stack([q[i, head] @ k[j, head] / q.size(2) ** 0.5 + bias[i, j, head] for j in range(len(h))])
            out[i, head] = sum(share * v[j, head] for j, share in enumerate(logits.softmax(0)))
    return out.flatten(1) @ attention.out.weight.T + attention.out.bias


@pytest.mark.parametrize("pair_bias", PAIR_BIASES)
def test_biased_attention_equals_a_loop_in_each_graph_of_a_batch(pair_bias: str) -> None:
    torch.manual_seed(4)
    attention, several = randomised(SoftmaxAttention(8, 2, 0, pair_bias, 5)), [path(5, 8), ring(7, 8)]
    batch = graph_batch([Data(**dict(g), y=torch.zeros(1)) for g in several], frozenset({PAIR_BIASES[pair_bias]}))
    op = GraphOperators(batch.graphs.edge_index, 12, torch.float64, batch.graphs.batch)
    h = batch.graphs.x.double().requires_grad_()
    found = attention(h, op, Surroundings(batch.needs))
    expected = []
    for graph, part in zip(several, h.split([5, 7]), strict=True):
        pairs = ENCODINGS[PAIR_BIASES[pair_bias]](graph)
        if pair_bias == "spd":
            bias = attention.bias.table[pairs.clamp(max=3)]
        else:
            first, second = attention.bias.mlp.first, attention.bias.mlp.second
            bias = torch.relu(pairs @ first.weight.T + first.bias) @ second.weight.T
        expected.append(reference_attention(attention, part, bias))
    same(found, torch.cat(expected), h, attention)


def test_random_walk_probabilities_are_those_of_a_ring_and_vanish_beyond_their_steps() -> None:
    pairs = ENCODINGS["rrwp"](ring(40))
    assert pairs.shape == (40, 40, 17)
    torch.testing.assert_close(pairs.sum(1), torch.ones(40, 17).double())
    assert pairs[0, 0, :3].tolist() == [1, 0, 0.5]
    assert pairs[0, 3, :4].tolist() == [0, 0, 0, 0.125]
    assert pairs[0, 16, 16] == 2.0**-16
    assert not pairs[0, 17].any()


def test_random_walks_follow_edges_backwards_as_messages_come() -> None:
    pairs = ENCODINGS["rrwp"](Data(edge_index=torch.tensor([[1, 2, 2], [0, 0, 1]]), num_nodes=3))
    assert pairs[..., 1].tolist() == [[0, 0.5, 0.5], [0, 0, 1], [0, 0, 0]]


def test_resistance_is_the_distance_on_a_path_and_that_of_two_ways_on_a_ring() -> None:
    node = torch.arange(6.0).double()
    torch.testing.assert_close(ENCODINGS["resistance"](path(6))[0, :, 0], node)
    torch.testing.assert_close(ENCODINGS["resistance"](ring(6))[0, :, 0], node * (6 - node) / 6)
    apart = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=3)
    torch.testing.assert_close(
        ENCODINGS["resistance"](apart)[..., 0], torch.tensor([[0, 1, -1], [1, 0, -1], [-1, -1, 0]]).double()
    )


# Graphormer


def test_graphormer_equals_its_equations() -> None:
    torch.manual_seed(5)
    model = randomised(build(resolve("graphormer"), 4, 8, 2, 3))
    edge_index, x = erdos_renyi_graph(9, 0.3), torch.randn(9, 4).double().requires_grad_()
    hops = ENCODINGS["hop_distance"](Data(edge_index=edge_index, num_nodes=9))
    degree = torch.tensor([int((edge_index[1] == node).sum()) for node in range(9)])
    h = model.encoder(x) + model.degrees[degree]
    for block in model.blocks:
        bias = block.attention.bias.table[torch.where(hops < 0, 39, hops)]
        h = h + reference_attention(block.attention, _normed(block.attention_norm, h), bias)
        h = h + block.mlp(_normed(block.mlp_norm, h))
    same(model(x, edge_index, hop_distance=hops), model.decoder(_normed(model.norm, h)), x, model)


def _normed(norm: nn.Module, h: Tensor) -> Tensor:
    return nn.functional.layer_norm(h, h.shape[1:], norm.weight, norm.bias)


def test_degrees_tell_nodes_of_equal_input_apart_up_to_the_last_bucket() -> None:
    star = to_undirected(torch.tensor([[0, 0, 0, 0, 1], [1, 2, 3, 4, 2]]))  # degrees 4, 2, 2, 1, 1
    for buckets, expected in ((8, 3), (3, 2), (2, 1)):
        torch.manual_seed(6)
        model = randomised(build(resolve("graphormer", {"degree_buckets": buckets}), 4, 8, 1, 3))
        first = model.encode(
            torch.ones(5, 4).double(), star, hop_distance=ENCODINGS["hop_distance"](Data(edge_index=star, num_nodes=5))
        )[0]
        assert len(first.unique(dim=0)) == expected


# Performer


def performer_twin(ours: PerformerAttention) -> nn.Module:
    twin = PyGPerformer(16, 2, head_channels=8).double()
    twin.q.weight, twin.k.weight, twin.v.weight = ours.query.weight, ours.key.weight, ours.value.weight
    twin.attn_out.weight, twin.attn_out.bias = ours.out.weight, ours.out.bias
    twin.fast_attn.projection_matrix.copy_(ours.projection)
    return twin


def test_performer_equals_pygs_in_value_and_gradient() -> None:
    torch.manual_seed(7)
    ours = randomised(PerformerAttention(16, 2))
    h = torch.randn(12, 16).double().requires_grad_()
    op = GraphOperators(torch.empty(2, 0).long(), 12, torch.float64, torch.tensor([0] * 6 + [1] * 6))
    same(ours(h, op, Surroundings()), performer_twin(ours)(h.view(2, 6, 16)).flatten(0, 1), h, ours)


def test_block_with_performer_attention_equals_pyg_gps() -> None:
    torch.manual_seed(8)
    attention = PerformerAttention(16, 2)
    ours = randomised(Block(16, attention, CONVS["gcn"](16, 16), "none", False, 32, 0.0))
    theirs = GPSConv(16, GCNConv(16, 16), heads=2, norm=None, attn_type="performer", attn_kwargs={"head_channels": 8}).double()
    theirs.conv.lin.weight, theirs.conv.bias, theirs.attn = ours.conv.lin.weight, ours.conv.lin.bias, performer_twin(attention)
    theirs.mlp[0].weight, theirs.mlp[0].bias = ours.mlp.first.weight, ours.mlp.first.bias
    theirs.mlp[3].weight, theirs.mlp[3].bias = ours.mlp.second.weight, ours.mlp.second.bias
    edge_index, h, batch = erdos_renyi_graph(12, 0.3), torch.randn(12, 16).double().requires_grad_(), torch.tensor([0] * 12)
    out = ours(h, GraphOperators(edge_index, 12, torch.float64, batch), Memory(h), Surroundings())
    same(out, theirs(h, edge_index, batch), h, ours)


@pytest.mark.parametrize(("width", "expected"), [(2, 1), (8, 16), (16, 44)])
def test_random_features_are_unit_directions_orthogonal_in_blocks(width: int, expected: int) -> None:
    projection = PerformerAttention(4 * width, 4).projection.double()
    assert projection.shape == (expected, width)  # width log width, rounded down
    for block in projection.split(width):
        torch.testing.assert_close(block @ block.T, torch.eye(len(block)).double(), rtol=0, atol=1e-5)


# Exphormer


def with_expander(graph: Data, **settings: int) -> Tensor:
    return ENCODINGS["expander"](graph, **settings)


def exphormer_reads(attention: nn.Module, h: Tensor, virtual: Tensor, pairs: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """What each node, and each virtual node, reads: head by head and node by node, over lists of what is joined to it."""
    d, heads = h.size(1) // attention.heads, attention.heads
    every = torch.cat([h, virtual])  # the virtual nodes are the last
    q, k, v = (linear(every).view(-1, heads, d) for linear in (attention.query, attention.key, attention.value))
    e, last = attention.kind(kinds).view(2 + 2 * len(virtual), heads, d), len(h)
    out = torch.zeros_like(v)
    for head in range(heads):
        for i in range(len(every)):
            joined = (
                [(u, pairs[i, u] - 1) for u in range(last) if pairs[i, u]]
                + [(last + number, 3 + 2 * number) for number in range(len(virtual))]
                if i < last
                else [(u, 2 + 2 * (i - last)) for u in range(last)]
            )
            logits = torch.stack([q[i, head] @ (e[kind, head] * k[u, head]) / d**0.5 for u, kind in joined])
            out[i, head] = sum(share * v[u, head] for share, (u, _) in zip(logits.softmax(0), joined, strict=True))
    return attention.out(out[:last].flatten(1)), out[last:].flatten(1)


@pytest.mark.parametrize(("degree", "num_virtual"), [(4, 1), (3, 2), (6, 3)])
def test_exphormer_equals_a_loop_over_nodes_in_each_graph_of_a_batch(degree: int, num_virtual: int) -> None:
    torch.manual_seed(9)
    asked = {"conv": "none", "norm": "none", "expander_degree": degree, "num_virtual_nodes": num_virtual}
    model = randomised(build(resolve("exphormer", asked), 4, 8, 3, 2))
    several = [path(5), ring(9), Data(x=torch.randn(1, 4), edge_index=torch.empty(2, 0).long())]
    batch = graph_batch([Data(**dict(g), y=torch.zeros(1)) for g in several], model.needs)
    x = batch.graphs.x.double().requires_grad_()
    found = model(x, batch.graphs.edge_index, batch=batch.graphs.batch, **batch.needs)
    expected = []
    for graph, part in zip(several, x.split([5, 9, 1]), strict=True):
        h, virtual = model.encoder(part), model.shared_attention.virtual.view(num_virtual, 8)
        pairs = with_expander(graph, degree=degree)
        for block in model.blocks:
            read, virtual = exphormer_reads(block.attention, h, virtual, pairs, model.shared_attention.edges)
            h = h + read
            h = h + block.mlp(h)
        expected.append(model.decoder(h))
    same(found, torch.cat(expected), x, model)


@pytest.mark.parametrize("asked", [3, 4, 5, 10])
def test_expander_of_many_nodes_is_regular_connected_and_of_a_large_spectral_gap(asked: int) -> None:
    pairs = with_expander(Data(edge_index=torch.empty(2, 0).long(), num_nodes=400), degree=asked)
    assert set(pairs.flatten().tolist()) == {0, 2}
    adjacency = (pairs > 0).double()
    torch.testing.assert_close(adjacency, adjacency.T)
    degree = adjacency.sum(0)
    assert degree.max() == asked
    # Two random cycles have about 2 edges in common, a cycle and a matching 1: a (a - 1) / 4 edges, of two nodes each.
    assert (degree == asked).double().mean() > 1 - asked * (asked - 1) / 400
    second = torch.linalg.eigvalsh(adjacency)[-2]
    assert second < 2 * (asked - 1) ** 0.5 + 0.2  # Friedman: 2 sqrt(d - 1) and a little; the ring of 400 has 1.9998 of 2
    most = 2 * math.log(400, asked - 1)  # Bollobás and de la Vega: (1 + o(1)) log_(d-1) n
    assert nx.diameter(nx.from_numpy_array(adjacency.numpy())) <= most


def test_expander_of_an_odd_degree_on_an_odd_number_of_nodes_leaves_one_out_of_its_matching() -> None:
    degree = (with_expander(Data(edge_index=torch.empty(2, 0).long(), num_nodes=401), degree=3) > 0).sum(0)
    ring = (with_expander(Data(edge_index=torch.empty(2, 0).long(), num_nodes=401), degree=2) > 0).sum(0)
    assert ring.tolist() == [2] * 401
    assert int((degree == 2).sum()) % 2 == 1  # that one, and the two ends of each pair that was joined already
    assert int((degree == 2).sum()) < 12


def test_degree_and_number_of_virtual_nodes_are_part_of_the_key_unless_they_are_the_defaults() -> None:
    usual = resolve("exphormer")
    assert usual == resolve("exphormer", {"expander_degree": 4, "num_virtual_nodes": 1})
    assert not usual.settings.keys() & {"expander_degree", "num_virtual_nodes"}  # there were results before them
    assert len({resolve("exphormer", {"expander_degree": degree}).model_dump_json() for degree in range(3, 11)}) == 8
    assert resolve("exphormer", {"num_virtual_nodes": 4}).settings["num_virtual_nodes"] == 4


def test_every_virtual_node_has_a_first_state_and_edges_of_two_kinds_of_its_own() -> None:
    width = 8
    one, other = (
        sum(
            parameter.numel()
            for parameter in build(resolve("exphormer", {"num_virtual_nodes": number}), 4, width, 3, 2).parameters()
        )
        for number in (1, 4)
    )
    assert other - one == 3 * 3 * width


def test_the_whole_suite_makes_the_expander_of_the_degree_that_the_model_asks() -> None:
    graph = ring(60)
    edges = {3: 60 + 90, 10: 60 + 300}  # of the ring and of the random graph, less what they have in common
    for degree, most in edges.items():
        model = build(resolve("exphormer", {"expander_degree": degree}), 4, 8, 1, 2)
        needs = graph_batch([Data(**dict(graph), y=torch.zeros(1))], model.needs).needs["expander"]
        assert torch.equal(needs[0], with_expander(graph, degree=degree))
        task = Transfer(topology=Ring(), hops=30)
        assert torch.equal(encodings(draw(task, 0, "train", 0, 1), model)["expander"], needs[0])
        assert torch.equal(Frozen(model).join([graph]).needs["expander"], needs)
        assert most - 60 < int((needs > 0).sum()) // 2 <= most


def test_expander_keeps_the_edges_as_such_and_their_direction() -> None:
    edge_index = torch.tensor([[0, 1, 2, 2], [1, 2, 3, 2]])
    pairs = with_expander(Data(edge_index=edge_index, num_nodes=40))
    assert {(int(u), int(v)) for v, u in (pairs == 1).nonzero()} == {(0, 1), (1, 2), (2, 3), (2, 2)}


def test_expander_follows_the_nodes_when_they_are_renumbered_and_their_colours_differ() -> None:
    torch.manual_seed(10)
    edge_index = to_undirected(torch.tensor([[0, 0, 1, 2, 3, 4, 5, 6, 1], [1, 2, 2, 3, 4, 5, 6, 7, 8]]))
    assert len(list(nx.vf2pp_all_isomorphisms(*[to_networkx(Data(edge_index=edge_index, num_nodes=9))] * 2))) == 1
    order = torch.randperm(9)
    one = with_expander(Data(edge_index=edge_index, num_nodes=9))
    other = with_expander(Data(edge_index=order.argsort()[edge_index].flip(1), num_nodes=9))
    assert torch.equal(other, one[order][:, order])


def test_expander_is_a_function_of_the_graph_that_leaves_random_states_alone() -> None:
    rings = [ring(30), ring(30), ring(31)]
    state = torch.get_rng_state()
    one, again, other = map(with_expander, rings)
    assert torch.equal(one, again)
    assert not torch.equal(one, other[:30, :30])
    assert torch.equal(torch.get_rng_state(), state)


# GRIT


def rho(z: Tensor) -> Tensor:
    return z.sign() * z.abs().sqrt()


def grit_block(block: nn.Module, h: Tensor, e: dict[tuple[int, int], Tensor], degree: Tensor) -> Tensor:
    """The layer of the paper head by head and pair by pair; `e` is updated in place, unless the block is the last."""
    attention, n = block.attention, len(h)
    told = {
        (i, j): torch.relu(
            rho((attention.query(h[i]) + attention.key(h[j])) * attention.factor(e[i, j])) + attention.summand(e[i, j])
        )
        for i, j in e
    }
    heads, width = attention.score.shape
    out = torch.zeros_like(h)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(n):
            share = torch.stack([attention.score[head] @ told[i, j][part] for j in range(n)]).softmax(0)
            messages = [attention.value(h[j])[part] + told[i, j][part] @ attention.of_pair[head] for j in range(n)]
            out[i, part] = sum(weight * message for weight, message in zip(share, messages, strict=True))
    out = attention.out(out)
    h = h + out * block.scale[0] + torch.log(1 + degree).unsqueeze(1) * out * block.scale[1]
    if block.pair_out is not None:
        for pair in e:
            e[pair] = _normed(block.pair_norm, (e[pair] + block.pair_out(told[pair]))[None])[0]
    return h + block.mlp(h)


def test_grit_equals_a_loop_over_pairs_in_each_graph_of_a_batch() -> None:
    torch.manual_seed(11)
    model = randomised(build(resolve("grit", {"norm": "none"}), 4, 8, 3, 2))
    for parameter in model.parameters():  # every bias and scale, 1 or not
        parameter.data += 0.1 * torch.randn_like(parameter)
    several = [path(5), ring(6), Data(x=torch.randn(1, 4), edge_index=torch.empty(2, 0).long())]
    batch = graph_batch([Data(**dict(g), y=torch.zeros(1)) for g in several], model.needs)
    x = batch.graphs.x.double().requires_grad_()
    found = model(x, batch.graphs.edge_index, batch=batch.graphs.batch, **batch.needs)
    expected = []
    for graph, part in zip(several, x.split([5, 6, 1]), strict=True):
        n, walks = graph.num_nodes, ENCODINGS["rrwp"](graph)
        degree = torch.tensor([float((graph.edge_index[1] == node).sum()) for node in range(n)]).double()
        h = model.encoder(part) + torch.stack([model.of_node(walks[i, i]) for i in range(n)])
        e = {(i, j): model.of_pair(walks[i, j]) for i in range(n) for j in range(n)}
        for block in model.blocks:
            h = grit_block(block, h, e, degree)
        expected.append(model.decoder(h))
    same(found, torch.cat(expected), x, model)


def test_models_that_keep_pair_states_are_stacked_less() -> None:
    """A state of a ring of 20 is 32 channels of 4 bytes in 64 graphs: 160 KiB a replica, and 3.1 MiB of pairs."""
    protocol = Protocol(batch_size=64, max_steps=1, eval_every=1, num_validation=8, num_test=8)
    task = Transfer(topology=Ring(), hops=10)
    ref = TaskRef(ref=ref_of(Transfer), params=task.config(), version=task.version)
    for name, expected in (("gps", {5}), ("grit", {1, 2})):
        done: list[Trained] = []
        common = {"task": ref, "model": resolve(name), "num_layers": 1, "hidden_channels": 32, "protocol": protocol}
        train([Cell(**common, seed=seed) for seed in range(5)], done.append)
        assert {result.cost["stacked"] for result in done} == expected


# what each can know: the class of the node three hops away on a ring of six, told by its position alone


THREE_HOPS = Transfer(topology=Ring(), addressing="position", hops=3)
NOISE = 4 * (0.25 / 1024) ** 0.5  # four standard errors of an accuracy over 1024 graphs, at most


def score(name: str, **settings: object) -> float:
    """Train two layers for 400 steps and return the accuracy."""
    ref = TaskRef(ref=ref_of(Transfer), params=THREE_HOPS.config(), version=THREE_HOPS.version)
    protocol = Protocol(lr=3e-3, batch_size=64, max_steps=400, eval_every=50, num_validation=256, num_test=1024)
    done: list[Trained] = []
    model = resolve(name, settings)
    train([Cell(task=ref, model=model, num_layers=2, hidden_channels=32, seed=0, protocol=protocol)], done.append)
    return float(done[0].metrics["test"]["score"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("graphormer", {}),
        ("grit", {}),
        ("graphormer", {"pair_bias": "rrwp"}),
        ("graphormer", {"pair_bias": "resistance"}),
        ("exphormer", {}),
        ("graph_transformer", {"pair_bias": "spd", "attention": "softmax"}),
    ],
)
def test_what_tells_pairs_apart_solves_transfer_by_position(name: str, settings: dict[str, object]) -> None:
    assert score(name, **settings) > 0.95


@pytest.mark.parametrize("name", ["graphormer", "set_transformer"])
def test_attention_that_knows_nothing_of_pairs_stays_at_chance(name: str) -> None:
    """On a ring all degrees are equal; a set of nodes can only guess the commonest class."""
    assert score(name, pair_bias="none") <= THREE_HOPS.chance + NOISE


def test_two_layers_along_edges_do_not_see_the_source() -> None:
    assert score("graph_transformer") == pytest.approx(0.2, abs=NOISE)

"""Facts about influence by hand, shared passes and probes: autograd's own Jacobian, closed forms, error bars that hold."""

from collections.abc import Callable

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch_geometric.data import Data
from torch_geometric.nn import GCN, SGConv
from torch_geometric.utils import to_undirected, total_influence

from suite.hops import hop_distance
from suite.measures import linearised, squashing
from suite.measures.colours import colour, sees
from suite.measures.frozen import Frozen
from suite.measures.linearised import ByHand, NotNodeWiseError
from suite.measures.profile import influence_profile
from suite.measures.squashing import influence
from suite.measures.structure import sum_by_hop
from suite.models import MODELS, build, resolve
from suite.models.base import Model
from suite.models.encodings import ENCODINGS
from suite.models.layers import BatchNorm, Linear
from suite.operators import Operators

IN, WIDTH, OUT = 3, 8, 2
GRAPHS: dict[str, Callable[[], nx.Graph]] = {
    "ring": lambda: nx.cycle_graph(13),
    "tree": lambda: nx.balanced_tree(2, 3),
    "barbell": lambda: nx.barbell_graph(4, 3),
    "lollipop": lambda: nx.lollipop_graph(4, 6),
    "star": lambda: nx.star_graph(8),
    "random": lambda: nx.gnm_random_graph(14, 16, seed=1),  # several components, one node without an edge
    "no_edges": lambda: nx.empty_graph(3),
}
HANDMADE = ("gcn", "sage", "gin", "gcn_residual", "gcn_initial", "gcn_jk", "mlp", "propagation")
HANDMADE += ("mixhop", "ggnn", "dense_gcn", "sgc", "appnp")


def graph_of(graph: nx.Graph, readouts: list[int], channels: int = IN) -> Data:
    edges = torch.tensor(list(graph.edges), dtype=torch.long).reshape(-1, 2).T
    x = torch.randn(len(graph), channels, generator=torch.Generator().manual_seed(3))
    return Data(x=x, edge_index=to_undirected(edges, num_nodes=len(graph)), readout_index=torch.tensor(readouts))


def built(name: str, num_layers: int, out_channels: int = OUT, seed: int = 0, **overrides: object) -> nn.Module:
    """Return an untrained model whose running statistics are not trivial."""
    torch.manual_seed(seed)
    model = build(resolve(name, overrides), IN, WIDTH, num_layers, out_channels)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def autograd_norms(model: nn.Module, graph: Data) -> Tensor:
    """Return |d out_v / d x_u| by PyTorch's Jacobian of the whole model: [num_readouts, num_nodes]."""
    module = Frozen(model)._module
    kept = {name: ENCODINGS[name](graph).unsqueeze(0) for name in module.needs}

    def outputs(x: Tensor) -> Tensor:
        return module(x, graph.edge_index, batch=torch.zeros(graph.num_nodes, dtype=torch.long), **kept)[graph.readout_index]

    return jacobian(outputs, graph.x.double()).square().sum((1, 3)).sqrt()


def autograd_norms_of_first_state(model: nn.Module, graph: Data) -> Tensor:
    module = Frozen(model)._module
    hidden = module.encode(graph.x.double().requires_grad_(), graph.edge_index)
    rows = module.decode(hidden)[graph.readout_index]
    return torch.stack([torch.stack([_grad(out, hidden[0]) for out in row]).square().sum((0, 2)).sqrt() for row in rows])


def _grad(output: Tensor, state: Tensor) -> Tensor:
    return torch.autograd.grad(output, state, retain_graph=True, allow_unused=True, materialize_grads=True)[0]


def by_hand(model: nn.Module, graph: Data, chunk_size: int = 1 << 20) -> Tensor:
    hand = ByHand(Frozen(model).propagating, graph.x.double(), graph.edge_index, chunk_size)
    directions = torch.eye(hand.out_channels, dtype=torch.float64)
    return hand.norms(graph.readout_index, directions.expand(graph.readout_index.numel(), -1, -1))


def same(found: Tensor, expected: Tensor) -> None:
    # Where derivatives of order one cancel, as behind a layer norm, float64 leaves 1e-16 of them.
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15 + 1e-12 * float(expected.max()))


def beyond(graph: Data, reach: int) -> Tensor:
    hops = hop_distance(graph.edge_index, graph.readout_index, graph.num_nodes)
    return (hops < 0) | (hops > reach)


cases = st.fixed_dictionaries(
    {
        "topology": st.sampled_from(sorted(GRAPHS)),
        "num_layers": st.integers(0, 4),
        "chunk_size": st.sampled_from([1, 300, 3000, 1 << 26]),
        "seed": st.integers(0, 9),
        "norm": st.sampled_from(["batch", "layer", "none"]),
        "picks": st.lists(st.integers(0, 99), min_size=1, max_size=14, unique=True),
    }
)


def drawn(name: str, case: dict[str, object]) -> tuple[nn.Module, Data]:
    shape = GRAPHS[case["topology"]]()
    norm = {"norm": case["norm"]} if "norm" in resolve(name).settings else {}
    readouts = sorted({pick % len(shape) for pick in case["picks"]})
    return built(name, case["num_layers"], seed=case["seed"], **norm), graph_of(shape, readouts)


@pytest.mark.parametrize("name", HANDMADE)
@settings(max_examples=12, deadline=None)
@given(case=cases)
def test_by_hand_is_what_autograd_gives(name: str, case: dict[str, object]) -> None:
    model, graph = drawn(name, case)
    by_x, by_first = by_hand(model, graph, case["chunk_size"])
    same(by_x, autograd_norms(model, graph))
    same(by_first, autograd_norms_of_first_state(model, graph))
    assert by_x[beyond(graph, model.reach)].eq(0).all()
    assert by_first[beyond(graph, model.reach)].eq(0).all()


@pytest.mark.parametrize("name", sorted(MODELS))
@settings(max_examples=8, deadline=None)
@given(case=cases)
def test_influence_is_what_autograd_gives_at_any_chunk_size(name: str, case: dict[str, object]) -> None:
    model, graph = drawn(name, case)
    found = influence(model, [graph], chunk_size=case["chunk_size"])[0].x
    same(found, autograd_norms(model, graph))
    if model.reach is not None:
        assert found[beyond(graph, model.reach)].eq(0).all()


class Dense(Model):
    """Every layer reads all states before it, once by an edge and once without, and asks for no root."""

    global_channel = frozenset()
    operator = "mean"

    def __init__(self, channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__()
        self.reach = num_layers
        self.lins = nn.ModuleList(Linear(2 * channels, channels) for _ in range(num_layers))
        self.out = Linear(channels, out_channels)

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        hidden = [x]
        for index, lin in enumerate(self.lins):
            layer, total = op.layer(index), sum(hidden)
            hidden.append(torch.tanh(lin(torch.cat([layer.mean(total), hidden[0] * layer.gcn(hidden[-1])], dim=1))))
        return hidden

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return self.out(hidden[-1] * hidden[0])


@pytest.mark.parametrize("chunk_size", [1, 500, 1 << 20])
def test_a_stranger_written_against_operators_is_taken_apart_too(chunk_size: int) -> None:
    torch.manual_seed(0)
    model, graph = Dense(IN, 4, OUT), graph_of(GRAPHS["lollipop"](), list(range(10)))
    by_x, by_first = by_hand(model, graph, chunk_size)
    same(by_x, autograd_norms(model, graph))
    assert torch.equal(by_first, by_x)  # x is its first state


def test_messages_that_run_one_way_are_followed_back() -> None:
    upwards = torch.tensor([(child, (child - 1) // 2) for child in range(1, 15)]).T
    graph = Data(x=torch.randn(15, IN), edge_index=upwards, readout_index=torch.arange(15))
    for name in ("gcn", "sage", "gin"):
        model = built(name, 3)
        found = by_hand(model, graph)[0]
        same(found, autograd_norms(model, graph))
        assert found[14].count_nonzero() <= 1  # a leaf hears nobody


def test_the_wide_matrix_of_a_large_ball_is_kept_sparse() -> None:
    graph = graph_of(nx.random_regular_graph(3, 120, seed=0), [0, 7, 90])
    model = built("gcn_residual", 6)
    same(by_hand(model, graph)[0], autograd_norms(model, graph))


def test_attention_is_not_taken_apart() -> None:
    graph = graph_of(GRAPHS["ring"](), [0])
    with pytest.raises(NotNodeWiseError, match="attention"):
        by_hand(built("gat", 2), graph)
    for name in ("gps", "set_transformer", "gcn_virtual_node"):  # they declare a channel past the edges
        assert Frozen(built(name, 2)).propagating is None


def test_many_readouts_go_by_hand_and_few_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ways = built("gcn", 2, out_channels=9), []  # 5 colours or more, of 9 outputs each, against pieces 9 wide
    norms, backwards = ByHand.norms, squashing._backwards
    monkeypatch.setattr(ByHand, "norms", lambda *a: ways.append("hand") or norms(*a))
    monkeypatch.setattr(squashing, "_backwards", lambda *a: ways.append("backwards") or backwards(*a))
    many, one = (graph_of(GRAPHS["ring"](), readouts) for readouts in (list(range(13)), [0]))
    by_hand, few, too_large = (influence(model, [g], chunk_size=c)[0] for g, c in ((many, 1 << 20), (one, 1 << 20), (many, 10)))
    assert ways == ["hand", "backwards", "backwards"]
    same(by_hand.x, too_large.x)
    same(by_hand.hidden, too_large.hidden)
    same(few.x, by_hand.x[:1])


def _num_colours(size: int, reach: int) -> int:
    graph = graph_of(nx.cycle_graph(size), list(range(size)))
    seen = sees(graph.readout_index, graph.edge_index, torch.zeros(size, dtype=torch.long), reach)
    return int(colour(seen).max()) + 1


def test_jacobians_keep_to_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, model = graph_of(nx.cycle_graph(60), list(range(60))), built("gcn_jk", 2)
    held, linearise = [], linearised.linearise

    def counted(*args: object) -> object:
        pieces = linearise(*args)
        blocks = [b for piece in (pieces.output, *(cut[2] or {} for cut in pieces.cuts)) for b in piece.values() if b is not None]
        held.append(sum(block.numel() for block in blocks))
        return pieces

    monkeypatch.setattr(linearised, "linearise", counted)
    whole = by_hand(model, graph)
    assert len(held) == 1
    limit = held.pop() // 6
    torch.testing.assert_close(by_hand(model, graph, limit), whole, rtol=1e-12, atol=0)
    assert len(held) > 6  # windows overlap
    assert max(held) <= limit


# colours


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=12))
def test_no_node_is_seen_by_two_of_one_colour(rows: list[list[bool]]) -> None:
    seen = torch.tensor(rows)
    colours = colour(seen)
    for number in range(int(colours.max()) + 1):
        assert (colours == number).any()
        assert seen[colours == number].sum(0).max() <= 1


@pytest.mark.parametrize(("size", "reach", "expected"), [(20, 2, 5), (21, 1, 3), (9, 4, 9), (9, 30, 9), (9, 0, 1)])
def test_a_ring_needs_a_colour_per_node_of_a_ball(size: int, reach: int, expected: int) -> None:
    assert _num_colours(size, reach) == expected


def test_readouts_of_different_graphs_share_their_colours() -> None:
    batch = torch.tensor([0, 0, 0, 1, 1, 1])
    seen = sees(torch.tensor([0, 2, 3, 5]), torch.empty(2, 0, dtype=torch.long), batch, None)
    assert colour(seen).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("name", ["gat", "gcn"])
def test_part_of_a_large_graph_is_enough_with_the_degrees_of_the_whole(name: str) -> None:
    graph = graph_of(nx.random_labeled_tree(60, seed=4), [0, 33])
    model, frozen = built(name, 3), Frozen(built(name, 3))
    nodes = sees(graph.readout_index, graph.edge_index, torch.zeros(60, dtype=torch.long), 3).any(0).nonzero().squeeze(1)
    assert nodes.numel() < 60
    _, _, output = frozen.run_near(frozen.join([graph]), nodes)
    whole = frozen.run([graph]).output[graph.readout_index]
    torch.testing.assert_close(output[torch.searchsorted(nodes, graph.readout_index)], whole, rtol=1e-12, atol=0)
    same(influence(model, [graph])[0].x, autograd_norms(model, graph))


class Local(GCN):
    """A stranger that says how far it sees."""

    reach, global_channel = 2, frozenset()


def test_a_stranger_that_says_how_far_it_sees_is_asked_at_several_nodes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    local, silent = Local(IN, 8, 2, OUT), GCN(IN, 8, 2, OUT)
    silent.load_state_dict(local.state_dict())
    graph = graph_of(nx.cycle_graph(20), list(range(20)))
    passes, row_norm = [], squashing.row_norm
    monkeypatch.setattr(squashing, "row_norm", lambda rows: passes.append(1) or row_norm(rows))
    together = influence(local, [graph])[0].x
    assert len(passes) == 2 * 5 * OUT  # two norms, five colours
    passes.clear()
    torch.testing.assert_close(together, influence(silent, [graph])[0].x, rtol=1e-12, atol=0)
    assert len(passes) == 2 * 20 * OUT


# PyG's own measure


@pytest.mark.parametrize("num_layers", [2, 5])
def test_total_influence_is_too_large_at_the_outer_hop_and_ours_is_not(num_layers: int) -> None:
    torch.manual_seed(0)
    model = SGConv(1, 1, K=num_layers, bias=False)
    graph = graph_of(nx.cycle_graph(3 * num_layers), list(range(3 * num_layers)), channels=1)
    theirs, _ = total_influence(model, graph, max_hops=num_layers, normalize=False)
    hops = hop_distance(graph.edge_index, graph.readout_index, graph.num_nodes)
    norms = influence(model, [graph])[0].x
    ours = torch.stack([norms[hops == k].sum() for k in range(num_layers + 1)]) / len(norms)
    weight = float(model.lin.weight.detach().abs())
    assert float(ours[-1]) == pytest.approx(2 * weight / 3**num_layers, rel=1e-6)
    ratio = theirs.double() / ours
    assert ratio[:-1].tolist() == pytest.approx([1] * num_layers, rel=1e-5)
    assert float(ratio[-1]) == pytest.approx((3 / 2) ** 0.5, rel=1e-5)  # 1/sqrt(2 * 3) for 1/3: the rim lost an edge


# the hop profile


def exact_shells(model: nn.Module, graph: Data, num_hops: int) -> Tensor:
    hops = hop_distance(graph.edge_index, graph.readout_index, graph.num_nodes)
    return sum_by_hop(autograd_norms(model, graph).square(), torch.where(hops < num_hops, hops, -1), num_hops)


@pytest.mark.parametrize("name", ["gcn_residual", "gat", "gps"])
def test_a_profile_of_few_outputs_is_exact(name: str) -> None:
    graph = graph_of(nx.cycle_graph(21), [0, 2, 11])
    model = built(name, 2)
    found = influence_profile(model, graph)
    assert found.estimator == "exact"
    assert found.errors.eq(0).all()
    num_hops = 11 if name == "gps" else 3
    assert found.squares.shape == (3, num_hops)
    assert found.pairs.tolist() == [[1, *[2] * (num_hops - 1)]] * 3
    same(found.squares, exact_shells(model, graph, num_hops))


def test_probes_are_unbiased_within_their_error_bars() -> None:
    graph = graph_of(nx.lollipop_graph(5, 5), [0, 9])
    model = built("gcn_residual", 3, out_channels=20)
    exact = exact_shells(model, graph, 4)
    rng = torch.Generator().manual_seed(1)
    several = [influence_profile(model, graph, 16, rng) for _ in range(150)]
    assert {p.estimator for p in several} == {"probes"}
    squares, errors = torch.stack([p.squares for p in several]), torch.stack([p.errors for p in several])
    reached = exact > 0
    assert ((squares.mean(0) - exact).abs() < 4.5 * squares.std(0) / 150**0.5)[reached].all()
    spread = (errors.square().mean(0) / squares.var(0))[reached]  # what the bars say over what the estimates do
    assert ((spread > 0.6) & (spread < 1.7)).all()


def test_hops_out_of_reach_have_no_influence_and_no_error() -> None:
    torch.manual_seed(0)
    graph = graph_of(nx.cycle_graph(12), [0, 6])
    found = influence_profile(GCN(IN, 8, 2, 20), graph)  # a stranger: nothing is known of its reach
    assert found.squares.shape == (2, 7)
    assert found.estimator == "probes"
    assert found.squares[:, 3:].eq(0).all()
    assert found.errors[:, 3:].eq(0).all()
    assert found.squares[:, :3].gt(0).all()


def test_a_profile_of_a_large_graph_runs_on_what_is_seen() -> None:
    n = 100_000
    node = torch.arange(n)
    edge_index = to_undirected(torch.stack([node, node.roll(-1)]))
    x = torch.randn(n, IN, generator=torch.Generator().manual_seed(3))
    found = influence_profile(built("gcn", 4), Data(x=x, edge_index=edge_index, readout_index=torch.tensor([5, 50_000])))
    near = torch.arange(-10, 11)
    small = Data(x=x[(5 + near) % n], edge_index=graph_of(nx.cycle_graph(21), [0]).edge_index, readout_index=torch.tensor([10]))
    same(found.squares[:1], influence_profile(built("gcn", 4), small).squares)


def test_a_single_probe_has_no_error_bar() -> None:
    with pytest.raises(ValueError, match="num_probes: must be >= 2 for a standard error, got 1"):
        influence_profile(built("gcn", 2), graph_of(GRAPHS["ring"](), [0]), num_probes=1)

"""The engine against plain PyTorch: every shortcut computes the same function as a loop over PyG batches."""

import copy
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Batch

from datasets import MeanExchange, OwnToken, PublishedNeighborsMatch, PublishedRingTransfer, Transfer
from datasets.barbell import Barbell
from datasets.ring import Ring
from datasets.tree import Tree
from suite.cell import Cell, FactorRef, Protocol, TaskRef
from suite.engine import ALL_SHORTCUTS, Trained, initial_model, step_seconds, train
from suite.engine.batches import Sharing, draw, graph_batch
from suite.engine.replicas import Replicas
from suite.engine.topology import steps_to_readout
from suite.models import MODELS, build, resolve
from suite.models.layers import NORMS
from suite.operators.shared import _Window
from suite.refs import ref_of
from suite.score import losses
from suite.task import Task

TASKS = {
    "ring": lambda hops: Transfer(topology=Ring(), hops=hops),
    "barbell": lambda hops: Transfer(topology=Barbell(clique_size=4), hops=hops),
    "tree": lambda hops: Transfer(topology=Tree(), hops=hops),
    "mean exchange": lambda hops: MeanExchange(topology=Barbell(clique_size=3), hops=hops),
    "own token": lambda hops: OwnToken(topology=Ring(), size=hops),  # asked at every node
    "published ring": lambda hops: PublishedRingTransfer(hops=hops),  # all but the source alike, five inputs
    "published clique path": lambda hops: PublishedRingTransfer(hops=hops, family="clique_path"),  # edges listed twice
    "published tree": lambda hops: PublishedNeighborsMatch(hops=hops - 1),  # directed, inner nodes alike
}
PATHS = ("cone", "last_layer", "alike_nodes", "equal_inputs", "frozen_states")


def make_cells(task: Task, model: str, num_layers: int, seeds: range, width: int = 8, **protocol: object) -> list[Cell]:
    ref = TaskRef(ref=ref_of(type(task)), params=task.config(), version=task.version)
    protocol = {"batch_size": 6, "max_steps": 20, "eval_every": 10, "num_validation": 16, "num_test": 16} | protocol
    common = {"task": ref, "model": resolve(model), "num_layers": num_layers, "hidden_channels": width}
    return [Cell(**common, seed=seed, protocol=Protocol(**protocol)) for seed in seeds]


def trained(cells: list[Cell], shortcuts: frozenset[str] = ALL_SHORTCUTS) -> list[Trained]:
    done: list[Trained] = []
    train(cells, done.append, shortcuts=shortcuts)
    return sorted(done, key=lambda t: t.cell.seed)


def untied(x: Tensor) -> Tensor:
    """Return x [..., nodes, channels] in float64, each node moved by an amount of its own, the same in all graphs.

    What is alike stays alike, but no graph is symmetric: where all nodes are equal, a norm over the graph divides rounding by
    nothing, and there is no gradient to compare.
    """
    rng = torch.Generator().manual_seed(0)
    return x.double() + 0.1 * torch.randn(x.shape[-2:], generator=rng, dtype=torch.float64)


def plain_loss(model: nn.Module, task: Task, seed: int, num_graphs: int) -> Tensor:
    """The loss as a plain PyG loop has it: a list of `Data`, batched, read out by hand."""
    graphs = draw(task, seed, "train", 0, num_graphs).to_data_list()
    for graph in graphs:
        graph.x = untied(graph.x)
    batch = Batch.from_data_list(graphs)
    needs = graph_batch(graphs, getattr(model, "needs", frozenset())).needs
    out = model(batch.x, batch.edge_index, batch=batch.batch, **needs)[batch.readout_index]
    return F.cross_entropy(out, batch.y) if task.loss == "cross_entropy" else F.mse_loss(out, batch.y.double().view_as(out))


def shared_loss(
    plain: list[nn.Module], task: Task, num_layers: int, num_graphs: int, shortcuts: frozenset[str]
) -> tuple[Tensor, Replicas, Sharing]:
    """The losses on the shared path, one model and one seed per replica."""
    stack = Replicas([copy.deepcopy(m) for m in plain], [1e-3] * len(plain), 0.0, stacked=True)
    drawn = [draw(task, seed, "train", 0, num_graphs) for seed in range(len(plain))]
    for block in drawn:
        block.x = untied(block.x)
    sharing = Sharing(plain[0], num_layers, shortcuts, drawn)
    batch = sharing.batch(drawn, training=True)
    return losses(batch.forward(training_mode(stack.module)), batch.y, task.loss, batch.weight), stack, sharing


def training_mode(model: nn.Module) -> nn.Module:
    """Training mode, unless random numbers are drawn in it: those would be others in each way of computing."""
    return model.train(not model.random)


@settings(max_examples=120, deadline=None)
@given(
    model=st.sampled_from(sorted(MODELS)),
    norm=st.sampled_from(sorted(NORMS)),
    task=st.sampled_from(sorted(TASKS)),
    hops=st.integers(3, 4),
    num_layers=st.integers(1, 6),
    num_graphs=st.integers(2, 12),
    shortcuts=st.sets(st.sampled_from(PATHS)),
)
def test_loss_and_gradients_on_every_path_equal_the_plain_models(
    model: str, norm: str, task: str, hops: int, num_layers: int, num_graphs: int, shortcuts: set[str]
) -> None:
    overrides = {"norm": norm} if "norm" in resolve(model).settings else {}
    assert_equal_on_a_path(model, overrides, TASKS[task](hops), num_layers, num_graphs, shortcuts)


def assert_equal_on_a_path(
    model: str,
    overrides: dict[str, object],
    asked: Task,
    num_layers: int,
    num_graphs: int,
    shortcuts: set[str],
    encoding: FactorRef | None = None,
) -> None:
    torch.manual_seed(num_layers)
    sizes = (asked.draw(2, torch.Generator()).x.size(-1), 8, num_layers, asked.out_channels)
    plain = [build(resolve(model, overrides), *sizes, encoding).double() for _ in range(3)]
    for parameter in (p for m in plain for p in m.parameters()):  # a bias of 0 may put a ReLU on its kink, where rounding decides
        parameter.data += 0.1 * torch.randn_like(parameter)
    found, stack, _ = shared_loss(plain, asked, num_layers, num_graphs, frozenset(shortcuts))
    expected = torch.stack([plain_loss(training_mode(m), asked, seed, num_graphs) for seed, m in enumerate(plain)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(found.sum(), list(stack.module.parameters()), materialize_grads=True, allow_unused=True)
    for ours, *theirs in zip(gradients, *(_gradients(m, e) for m, e in zip(plain, expected, strict=True)), strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-7, atol=1e-9)


def _gradients(model: nn.Module, loss: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, materialize_grads=True, allow_unused=True)


def rows_of(model: nn.Module, task: Task, num_layers: int, training: bool = True, num_graphs: int = 20) -> list[tuple[int, int]]:
    """How many nodes are alike and how many vary, layer by layer, with every shortcut allowed."""
    drawn = [draw(task, 0, "train", 0, num_graphs)]
    batch = Sharing(model, num_layers, ALL_SHORTCUTS, drawn).batch(drawn, training)
    return [(len(rows.alike), len(rows.varying)) for rows in batch.prepared.op.rows]


def test_cone_of_a_ring_shrinks_by_two_nodes_a_layer() -> None:
    model = build(resolve("gcn", {"norm": "none"}), 7, 8, 6, 5)
    assert rows_of(model, Transfer(topology=Ring(), hops=6), 6) == [(0, n) for n in (12, 11, 9, 7, 5, 3, 1)]


@pytest.mark.parametrize(
    ("model", "expected"),
    [("gcn", [10] * 4), ("gcn_virtual_node", [10] * 4), ("set_transformer", [10, 10, 10, 1]), ("gps", [10, 10, 10, 1])],
)
def test_cone_is_refused_where_a_global_channel_makes_it_inexact(model: str, expected: list[int]) -> None:
    built = build(resolve(model), 7, 8, 3, 5)
    assert rows_of(built, Transfer(topology=Ring(), hops=5), 3) == [(0, n) for n in expected]


def test_batch_statistics_forbid_the_cone_while_training_only() -> None:
    built, task = build(resolve("gcn"), 7, 8, 3, 5), Transfer(topology=Ring(), hops=5)
    assert rows_of(built, task, 3, training=True) == [(0, 10)] * 4
    assert rows_of(built, task, 3, training=False) == [(0, n) for n in (7, 5, 3, 1)]


def test_what_is_alike_is_computed_once_until_the_source_is_heard() -> None:
    model, task = build(resolve("gcn", {"norm": "none"}), 5, 8, 4, 5), PublishedRingTransfer(hops=4)
    # eight nodes; the cone leaves 8, 7, 5, 3, 1; the source at distance 4 is heard one hop further with each layer
    assert rows_of(model, task, 4) == [(7, 1), (5, 2), (3, 2), (1, 2), (0, 1)]
    assert rows_of(build(resolve("gcn"), 5, 8, 4, 5), task, 4) == [(7, 1), (5, 3), (3, 5), (1, 7), (0, 8)]


def test_depth_below_distance_leaves_a_constant() -> None:
    model, task = build(resolve("gcn", {"norm": "none"}), 5, 8, 3, 5).double(), PublishedRingTransfer(hops=5)
    assert rows_of(model, task, 3)[-1] == (1, 0)
    found, _, _ = shared_loss([model], task, 3, 20, ALL_SHORTCUTS)
    torch.testing.assert_close(found[0], plain_loss(model, task, 0, 20))


@pytest.mark.parametrize("model", ["set_transformer", "gps", "gcn_virtual_node"])
def test_nodes_are_not_alike_where_something_passes_the_edges(model: str) -> None:
    assert all(alike == 0 for alike, _ in rows_of(build(resolve(model), 5, 8, 3, 5), PublishedRingTransfer(hops=5), 3))


def test_random_layers_refuse_what_is_alike_and_what_is_equal() -> None:
    model, task = build(resolve("gcn", {"dropout": 0.5}), 5, 8, 3, 5), PublishedRingTransfer(hops=5)
    drawn = [draw(task, 0, "train", 0, 20)]
    sharing = Sharing(model, 3, ALL_SHORTCUTS, drawn)
    assert not sharing.equal_inputs
    assert all(alike == 0 for alike, _ in rows_of(model, task, 3))


def test_equal_graphs_are_computed_once_and_counted() -> None:
    drawn = [draw(PublishedRingTransfer(hops=5), seed, "train", 0, 40) for seed in range(2)]
    model = build(resolve("gcn"), 5, 8, 5, 5)
    batch = Sharing(model, 5, ALL_SHORTCUTS, drawn).batch(drawn, training=True)
    assert batch.counts is not None
    assert batch.counts.shape == (2, 5)
    assert batch.counts.sum(1).tolist() == [40, 40]
    assert batch.num_answers == 40
    for counts, y, block in zip(batch.counts, batch.y, drawn, strict=True):
        expected = torch.bincount(block.y.flatten(), minlength=5)
        assert torch.zeros(5).index_add(0, y, counts).tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["sgc", "propagation"])
@pytest.mark.parametrize("task", sorted(TASKS))
def test_states_before_the_first_weight_are_computed_once_and_change_nothing(name: str, task: str) -> None:
    assert_equal_on_a_path(name, {}, TASKS[task](3), 3, 8, {*PATHS})
    assert_equal_on_a_path(name, {}, TASKS[task](3), 3, 8, {"frozen_states"})


def test_propagation_is_not_repeated_by_steps_and_no_more_than_two_states_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Tensor]] = []
    most, product = [0], _Window.gcn

    def watched(self: _Window, h: Tensor, times: int = 1) -> Tensor:
        out = product(self, h, times)
        made.append(weakref.ref(out))
        most[0] = max(most[0], sum(state() is not None for state in made))
        return out

    monkeypatch.setattr(_Window, "gcn", watched)
    drawn = draw(Transfer(topology=Ring(), hops=3), 0, "train", 0, 6)
    model = build(resolve("propagation"), 7, 8, 9, 5)
    batch = Sharing(model, 9, ALL_SHORTCUTS, [drawn]).batch([drawn], training=True)
    assert len(made) == 9
    assert most[0] == 2
    for _ in range(3):
        batch.forward(Replicas([model], [1e-3], 0.0, stacked=True).module)
    assert len(made) == 9


@pytest.mark.parametrize("settings", [{"drop_node": 0.5}, {"drop_edge": 0.5}])
def test_states_that_training_thins_out_are_drawn_at_every_step(settings: dict[str, float]) -> None:
    drawn = [draw(Transfer(topology=Ring(), hops=3), 0, "train", 0, 6)]
    model = build(resolve("propagation", settings), 7, 8, 3, 5)
    batch = Sharing(model, 3, ALL_SHORTCUTS, drawn).batch(drawn, training=True)
    module = Replicas([model], [1e-3], 0.0, stacked=True).module.train()
    assert not torch.equal(batch.forward(module), batch.forward(module))


def test_a_node_that_varies_later_is_seen_to_vary() -> None:
    task = PublishedRingTransfer(hops=4)
    first, second = (draw(task, 0, "train", index, 20) for index in range(2))
    first.varying = second.varying = None  # as a task leaves it that does not know
    second.x[3, 1] = 0.5  # where every graph of the first block was alike
    model = build(resolve("gcn", {"norm": "none"}), 5, 8, 4, 5)
    sharing = Sharing(model, 4, ALL_SHORTCUTS, [first])
    for block in (first, second, first):
        batch = sharing.batch([block], training=True)
        found = losses(batch.forward(Replicas([model], [1e-3], 0.0, True).module), batch.y, "cross_entropy", batch.weight)
        plain = graph_batch(block, frozenset())
        torch.testing.assert_close(found, losses(plain.forward(model), plain.y, "cross_entropy"), rtol=1e-5, atol=1e-6)


def test_replicas_with_random_layers_are_not_stacked() -> None:
    cells = make_cells(Transfer(), "gcn", 2, range(2))
    dropped = [c.model_copy(update={"model": resolve("gcn", {"dropout": 0.5})}) for c in cells]
    assert {t.cost["stacked"] for t in trained(cells)} == {2}
    assert {t.cost["stacked"] for t in trained(dropped)} == {1}


def test_steps_to_readout_follow_the_direction_of_edges() -> None:
    edge_index = torch.tensor([[1, 2, 0], [0, 1, 3]])  # 2 -> 1 -> 0 -> 3
    assert steps_to_readout(edge_index, torch.tensor([0]), 4).tolist() == [0, 1, 2, float("inf")]


# Losses while training are compared, and weights under a node-wise norm: the gradient of a bias in front of a batch norm is
# zero but for rounding, which Adam scales up to steps of its own, without a trace in the function that is trained.
@pytest.mark.parametrize("model", ["gcn", "gat", "gps"])
def test_a_stacked_cell_goes_where_it_goes_alone(model: str) -> None:
    cells = make_cells(Transfer(topology=Ring(), hops=2), model, 2, range(3))
    for cell, stacked in zip(cells, trained(cells), strict=True):
        (alone,) = trained([cell])
        assert alone.curve["train_loss"] == pytest.approx(stacked.curve["train_loss"], rel=1e-4)
        if model == "gps":
            for ours, theirs in zip(alone.trained.parameters(), stacked.trained.parameters(), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)


def test_general_path_agrees_with_the_shared_one() -> None:
    cells = make_cells(Transfer(topology=Ring(), hops=2), "gin", 2, range(2))
    for ours, theirs in zip(trained(cells), trained(cells, frozenset()), strict=True):
        assert ours.curve["train_loss"] == pytest.approx(theirs.curve["train_loss"], rel=1e-3)


def test_training_again_gives_the_same_numbers_and_weights() -> None:
    cells = make_cells(Transfer(topology=Ring(), hops=2), "gcn", 2, range(2))
    first, second = trained(cells), trained(cells)
    assert [t.metrics for t in first] == [t.metrics for t in second]
    assert all(
        torch.equal(a, b)
        for one, two in zip(first, second, strict=True)
        for a, b in zip(one.trained.parameters(), two.trained.parameters(), strict=True)
    )


def test_global_random_state_is_untouched() -> None:
    state = torch.random.get_rng_state()
    trained(make_cells(Transfer(), "gcn", 2, range(2)))
    assert torch.equal(state, torch.random.get_rng_state())


def test_initial_model_depends_on_the_cell_alone() -> None:
    one, other = make_cells(Transfer(), "gcn", 2, range(2))
    torch.manual_seed(123)
    first = initial_model(one).state_dict()
    torch.manual_seed(456)
    again, different = initial_model(one).state_dict(), initial_model(other).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["decoder.weight"], different["decoder.weight"])


def test_solved_cells_leave_early_and_the_others_go_on() -> None:
    protocol = {"batch_size": 64, "max_steps": 400, "eval_every": 10, "num_validation": 256, "num_test": 256}
    cells = make_cells(Transfer(topology=Ring(), hops=2), "gcn", 4, range(4), 32, **protocol)
    done = trained(cells)
    ends = [t.metrics["steps"] for t in done]
    assert {t.metrics["stopped"] for t in done} == {"solved"}
    assert min(t.metrics["test"]["score"] for t in done) > 0.9
    assert len(set(ends)) > 1
    assert max(ends) < 400
    assert all(t.curve["step"][-1] == t.metrics["steps"] for t in done)


def test_cells_of_several_learning_rates_train_in_one_step_each_as_if_alone() -> None:
    task = Transfer(topology=Ring(), hops=2)
    cells = [c for lr in (1e-3, 1e-2) for c in make_cells(task, "gps", 2, range(2), lr=lr, max_steps=30)]
    done: list[Trained] = []
    train(cells, done.append)
    by_key = {t.cell.key: t for t in done}
    assert {t.cost["stacked"] for t in done} == {4}
    for cell in cells:
        (alone,) = trained([cell])
        assert alone.curve["train_loss"] == pytest.approx(by_key[cell.key].curve["train_loss"], rel=1e-3)


def test_replicas_that_go_on_keep_their_optimiser_state() -> None:
    torch.manual_seed(0)
    models: list[nn.Module] = [nn.Linear(3, 1) for _ in range(3)]
    x, together = torch.randn(8, 3), Replicas(models, [0.1, 0.1, 0.2], 0.0, stacked=True)
    alone = [torch.optim.Adam(m.parameters(), lr=lr) for m, lr in zip(models, (0.1, 0.1, 0.2), strict=True)]

    def steps(kept: list[int], number: int) -> None:
        for _ in range(number):
            weight, bias = together.module.weight, together.module.bias
            together.step((x @ weight.mT + bias.unsqueeze(1)).square().mean((1, 2)), None)
            for i in kept:
                alone[i].zero_grad()
                models[i](x).square().mean().backward()
                alone[i].step()

    steps([0, 1, 2], 5)
    together.keep([0, 2])
    steps([0, 2], 5)
    for row, i in enumerate((0, 2)):
        torch.testing.assert_close(together.flat[row], nn.utils.parameters_to_vector(models[i].parameters()))


def test_a_diverging_cell_is_a_result_and_leaves_its_neighbours_alone() -> None:
    cells = make_cells(Transfer(topology=Ring(), hops=2), "gcn", 2, range(2), lr=1e30, clip=None)
    cells = [c.model_copy(update={"model": resolve("gcn", {"norm": "none"})}) for c in cells]
    done = trained(cells)
    assert {t.status for t in done} == {"diverged"}
    assert all(t.metrics["last"]["test"]["loss"] is None for t in done)


def test_below_reach_the_output_knows_nothing_of_the_source() -> None:
    (done,) = trained(make_cells(Transfer(topology=Ring(), hops=4), "gcn", 3, range(1), max_steps=100, num_test=4096))
    assert done.metrics["test"]["score"] == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 4096) ** 0.5)


def test_unknown_shortcuts_and_mixed_conditions_are_refused() -> None:
    cells = make_cells(Transfer(), "gcn", 2, range(1))
    with pytest.raises(ValueError, match=r"unknown \['coen'\], known are"):
        train(cells, print, shortcuts=frozenset({"coen"}))
    with pytest.raises(ValueError, match="cells of one condition"):
        train(cells + make_cells(Transfer(), "gcn", 3, range(1)), print)


class Strange(nn.Module):
    """A stranger's model: PyG's signature, no `encode`, no operators."""

    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__()
        from torch_geometric.nn import GCN

        self.gnn = GCN(in_channels, hidden_channels, num_layers, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.gnn(x, edge_index)


def test_a_strangers_module_trains_untouched_on_the_general_path() -> None:
    cells = make_cells(Transfer(topology=Ring(), hops=2), f"{__name__}:Strange", 3, range(2), 32, max_steps=1500, batch_size=32)
    done = trained(cells)
    assert all(t.cost["stacked"] == 1 for t in done)
    assert all(t.metrics["test"]["score"] > 0.5 for t in done)


class Remembering(Strange):
    """It keeps what its last call made, graph and all, and from the first one when it was built."""

    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__(in_channels, hidden_channels, num_layers, out_channels)
        self.head = nn.Linear(out_channels, out_channels)
        self.last = self.head(torch.ones(1, out_channels))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        self.last = self.head(super().forward(x, edge_index))
        return self.last


def test_a_module_that_keeps_a_tensor_with_its_graph_is_trained_and_counted() -> None:
    (found,) = trained(make_cells(Transfer(topology=Ring(), hops=3), f"{__name__}:Remembering", 2, range(1)))
    assert found.cost["flops_per_step"]
    assert found.status == "ok"
    assert not torch.equal(found.trained.head.weight, found.initial.head.weight)


def test_statistics_of_a_fully_adjacent_layer_count_equal_graphs_as_often_as_they_occur() -> None:
    assert_equal_on_a_path("gcn_adjacent", {"norm": "batch"}, PublishedRingTransfer(hops=3), 1, 10, {"equal_inputs"})


@pytest.mark.parametrize("seeds", [range(1), range(3)])
def test_convolutions_may_have_a_weight_decay_of_their_own_as_in_gcnii(seeds: range) -> None:
    """Two parameter groups of PyTorch's Adam, as 2007.02133 trains, against one flat buffer."""
    models = [build(resolve("gcn_initial"), 8, 8, 3, 5).double() for _ in seeds]
    twins = copy.deepcopy(models)
    replicas = Replicas(models, [1e-2] * len(models), 0.3, len(models) > 1, conv_weight_decay=0.7)
    for _ in range(5):
        per_replica = [
            p.sin().flatten(1).sum(1) if len(models) > 1 else p.sin().sum()[None] for p in replicas.module.parameters()
        ]
        replicas.step(torch.stack(per_replica).sum(0), None)
    for index, twin in enumerate(twins):
        convs = list(twin.convs.parameters())
        others = [p for p in twin.parameters() if all(p is not conv for conv in convs)]
        adam = torch.optim.Adam([{"params": convs, "weight_decay": 0.7}, {"params": others, "weight_decay": 0.3}], lr=1e-2)
        for _ in range(5):
            adam.zero_grad()
            sum(p.sin().sum() for p in twin.parameters()).backward()
            adam.step()
        torch.testing.assert_close(
            replicas.restore(replicas.snapshot(index)).state_dict(), twin.state_dict(), rtol=1e-12, atol=1e-12
        )


def test_a_step_is_timed_without_leaving_a_trace_and_a_larger_one_takes_longer() -> None:
    before = torch.get_rng_state()
    small = step_seconds(make_cells(TASKS["ring"](3), "gcn", 1, range(2)))
    large = step_seconds(make_cells(TASKS["ring"](20), "gcn", 20, range(2), width=64, batch_size=64))
    assert 0 < small < large
    assert torch.equal(torch.get_rng_state(), before)

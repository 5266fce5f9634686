"""The engine against plain PyTorch: every shortcut computes the same function as a loop over PyG batches."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Batch

from datasets import Transfer
from datasets.barbell import Barbell
from datasets.ring import Ring
from datasets.tree import Tree
from suite.cell import Cell, Protocol, TaskRef
from suite.engine import ALL_SHORTCUTS, Trained, initial_model, train
from suite.engine.batches import draw, graph_batch, shared_batch
from suite.engine.replicas import Replicas
from suite.engine.score import losses
from suite.engine.topology import TopologyCache, steps_to_readout
from suite.models import MODELS, build, resolve
from suite.refs import ref_of
from suite.task import Task

TOPOLOGIES = {"ring": Ring(), "barbell": Barbell(clique_size=4), "tree": Tree()}


def make_cells(task: Task, model: str, num_layers: int, seeds: range, width: int = 8, **protocol: object) -> list[Cell]:
    ref = TaskRef(ref=ref_of(type(task)), params=task.config(), version=task.version)
    protocol = {"batch_size": 6, "max_steps": 20, "eval_every": 10, "num_validation": 16, "num_test": 16} | protocol
    common = {"task": ref, "model": resolve(model), "num_layers": num_layers, "hidden_channels": width}
    return [Cell(**common, seed=seed, protocol=Protocol(**protocol)) for seed in seeds]


def trained(cells: list[Cell], shortcuts: frozenset[str] = ALL_SHORTCUTS) -> list[Trained]:
    done: list[Trained] = []
    train(cells, done.append, shortcuts=shortcuts)
    return sorted(done, key=lambda t: t.cell.seed)


def plain_loss(model: nn.Module, task: Task, seed: int, num_graphs: int) -> Tensor:
    """The loss as a plain PyG loop has it: a list of `Data`, batched, read out by hand."""
    graphs = draw(task, seed, "train", 0, num_graphs).to_data_list()
    for graph in graphs:
        graph.x = graph.x.double()
    batch = Batch.from_data_list(graphs)
    needs = graph_batch(graphs, getattr(model, "needs", frozenset())).needs
    return F.cross_entropy(model(batch.x, batch.edge_index, batch=batch.batch, **needs)[batch.readout_index], batch.y)


@settings(max_examples=40, deadline=None)
@given(
    model=st.sampled_from(sorted(MODELS)),
    topology=st.sampled_from(sorted(TOPOLOGIES)),
    hops=st.integers(3, 4),
    num_layers=st.integers(1, 6),
    num_graphs=st.integers(2, 5),
    cone=st.booleans(),
)
def test_stacked_shared_and_coned_loss_and_gradients_equal_the_plain_models(
    model: str, topology: str, hops: int, num_layers: int, num_graphs: int, cone: bool
) -> None:
    torch.manual_seed(hops)
    task = Transfer(topology=TOPOLOGIES[topology], hops=hops)
    plain = [build(resolve(model), 7, 8, num_layers, 5).double() for _ in range(3)]
    stack = Replicas([copy.deepcopy(m) for m in plain], 1e-3, 0.0, stacked=True)
    drawn = [draw(task, seed, "train", 0, num_graphs) for seed in range(3)]
    for block in drawn:
        block.x = block.x.double()
    batch = shared_batch(drawn, TopologyCache(plain[0], num_layers, cone))
    found = losses(batch.forward(stack.module.train()), batch.y, "cross_entropy")
    expected = torch.stack([plain_loss(m.train(), task, seed, num_graphs) for seed, m in enumerate(plain)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(found.sum(), list(stack.module.parameters()), materialize_grads=True, allow_unused=True)
    for ours, *theirs in zip(gradients, *(_gradients(m, e) for m, e in zip(plain, expected, strict=True)), strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-8, atol=1e-10)


def _gradients(model: nn.Module, loss: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, materialize_grads=True, allow_unused=True)


def test_cone_of_a_ring_shrinks_by_two_nodes_a_layer() -> None:
    task = Transfer(topology=Ring(), hops=6)
    cells = make_cells(task, "gcn", 6, range(1))
    model = build(resolve("gcn", {"norm": "none"}), 7, 8, 6, 5)
    batch = shared_batch([draw(task, 0, "train", 0, 2)], TopologyCache(model, 6, cone=True))
    assert batch.prepared.op.sizes == (12, 11, 9, 7, 5, 3, 1)
    assert cells[0].num_layers == 6


@pytest.mark.parametrize(
    ("model", "expected"),
    [("gcn", [10] * 4), ("gcn_virtual_node", [10] * 4), ("set_transformer", [10, 10, 10, 1]), ("mlp", [1] * 4)],
)
def test_cone_is_refused_where_a_global_channel_makes_it_inexact(model: str, expected: list[int]) -> None:
    built = build(resolve(model), 7, 8, 3, 5)
    batch = shared_batch([draw(Transfer(topology=Ring(), hops=5), 0, "train", 0, 2)], TopologyCache(built, 3, cone=True))
    sizes = list(batch.prepared.op.sizes)
    assert sizes == expected if model != "mlp" else sizes[-1] == 1


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


def test_a_cell_that_never_leaves_chance_ends_by_the_rule_and_only_then() -> None:
    below_reach = make_cells(
        Transfer(topology=Ring(), hops=5), "gcn", 2, range(2), chance_stop=20, max_steps=60, num_validation=512
    )
    assert {(t.metrics["stopped"], t.metrics["steps"]) for t in trained(below_reach)} == {("chance", 20)}


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
    cells = make_cells(Transfer(topology=Ring(), hops=2), f"{__name__}:Strange", 3, range(2), 32, max_steps=300, batch_size=32)
    done = trained(cells)
    assert all(t.cost["stacked"] == 1 for t in done)
    assert all(t.metrics["test"]["score"] > 0.5 for t in done)

"""A diagnosis: what is measured of modules whose influence and smoothing are known, and what it leaves untouched."""

from __future__ import annotations

import base64
import copy
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Means
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.nn import GCN, PNA, GCNConv, SimpleConv, global_add_pool, global_mean_pool
from torch_geometric.utils import to_undirected

import suite
from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.copies import copied
from suite.hops import hop_distance
from suite.measures import FURTHER, MEASURES
from suite.measures.similarity import group_distance_ratio
from suite.models import build, resolve
from suite.samples import graphs_of

ROOT = Path(__file__).resolve().parents[1]


def ring(num_nodes: int = 12, channels: int = 3, seed: int = 0) -> Data:
    node = torch.arange(num_nodes)
    x = torch.randn(num_nodes, channels, generator=torch.Generator().manual_seed(seed))
    return Data(x=x, edge_index=to_undirected(torch.stack([node, node.roll(-1)])), y=node % 2)


class Fading(nn.Module):
    """out_v = sum_u base^-d(u, v) x_u, d in hops: a global channel whose influence is known."""

    def __init__(self, base: float) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        hops = hop_distance(edge_index, torch.arange(len(x)), len(x))
        return torch.where(hops < 0, 0, self.base ** -hops.double()).to(x) @ x


class Still(nn.Module):
    """Two layers that do nothing, and a module that tells its hidden states."""

    def encode(self, x: Tensor, edge_index: Tensor) -> list[Tensor]:
        return [x, x, x]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1]

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.decode(self.encode(x, edge_index))


class Forgetful(Still):
    def encode(self, x: Tensor, edge_index: Tensor) -> list[Tensor]:
        return [x, 0 * x + 1]


class Centred(nn.Module):
    """Subtracts the mean over all nodes that it is given, so that joined graphs would be mixed."""

    def __init__(self, out_channels: int = 2) -> None:
        super().__init__()
        self.conv, self.lin = SimpleConv("mean"), nn.Linear(3, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.lin(self.conv(x - x.mean(0), edge_index)).tanh()


def said(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


# what is found


@settings(max_examples=10, deadline=None)
@given(base=st.floats(1.1, 20))
def test_a_known_fading_is_found_and_said(base: float) -> None:
    found = suite.diagnose(Fading(base), ring(8))
    norm = found.measures["influence"]["log10_norm"]
    assert norm == pytest.approx([0.5 * math.log10(3) - hop * math.log10(base) for hop in range(5)], abs=1e-6)  # |b^-k I_3|
    squashing = found.findings["Over-squashing"]
    assert said(r"one hop costs a factor of ([\d.]+)$", squashing.short) == pytest.approx(base, rel=0.006)  # three digits
    sizes = [1, 2, 2, 2, 1]
    total = sum(size * base**-hop for hop, size in enumerate(sizes))
    mean = sum(hop * size * base**-hop for hop, size in enumerate(sizes)) / total
    assert said(r"^Inputs that count are ([\d.]+) hops away on average", squashing.text) == pytest.approx(mean, rel=0.006)
    assert found.findings["Reach"].short == "feels as far as 4 hops"


def test_influence_that_grows_with_distance_is_said_to(only: Callable[..., None]) -> None:
    only("influence", "operator_share")
    assert suite.diagnose(Fading(0.5), ring(8)).findings["Over-squashing"].short == "one hop gains a factor of 2"


@pytest.mark.parametrize("num_layers", [1, 3, 5])
def test_means_over_a_ring_reach_as_far_as_there_are_layers_and_no_pair_beyond_is_felt(
    num_layers: int, only: Callable[..., None]
) -> None:
    only("influence", "operator_share")
    found = suite.diagnose(Means(num_layers), ring(14))
    assert found.num_layers == num_layers
    influence = found.measures["influence"]
    assert [zeros == 0 for zeros in influence["zeros"]] == [hop <= num_layers for hop in range(8)]
    beyond = 14 * (14 - 1 - 2 * num_layers)  # all nodes are asked
    assert found.findings["Reach"].short == f"blind beyond {num_layers} hop{'s' * (num_layers > 1)}"
    assert f" {beyond} pairs of nodes, up to 7 hops apart." in found.findings["Reach"].text
    # on a regular graph the mean is GCN's operator: the model's shares are those of the bare one
    assert influence["share"] == pytest.approx(found.measures["operator_share"]["share"], abs=1e-12)


def test_neighbours_without_self_leave_gaps_that_are_said(only: Callable[..., None]) -> None:
    only("influence")

    class Alternating(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(SimpleConv("sum") for _ in range(3))

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            for conv in self.convs:
                x = conv(x, edge_index)
            return x

    reach = suite.diagnose(Alternating(), ring(12)).findings["Reach"]  # bipartite: three steps lead 1 or 3 hops away
    assert reach.short == "blind beyond 3 hops"
    assert reach.text.endswith("At 0, 2 hops nothing is felt.")


def test_many_means_over_a_small_ring_are_said_to_collapse(only: Callable[..., None]) -> None:
    only("smoothing")
    found = suite.diagnose(Means(25), ring(5))
    assert found.findings["Over-smoothing"].short == "states are alike"
    assert found.measures["smoothing"]["rq_mean"][-1] < 1e-12  # (1 + 2 cos 72°) / 3 to the power of 2 * 25


def test_two_phases_of_a_bipartite_graph_are_not_said_to_collapse(only: Callable[..., None]) -> None:
    """Means over neighbours without self keep what parts the halves of an even ring for ever; all else is below 3e-4 by then."""

    only("smoothing")

    class Phases(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(SimpleConv("mean") for _ in range(24))

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            for conv in self.convs:
                x = conv(x, edge_index)
            return x

    assert suite.diagnose(Phases(), ring(8)).findings["Over-smoothing"].short != "states are alike"


def test_states_that_are_one_constant_are_said_to_have_lost_all() -> None:
    found = suite.diagnose(Forgetful(), ring(16))
    assert found.findings["Own tokens"].short == "own tokens are lost"
    assert found.findings["Over-smoothing"].short == "states are alike"
    assert found.findings["Reach"].short == "feels nothing"


def test_states_that_nothing_happens_to_are_neither_smoothed_nor_lose_tokens() -> None:
    found = suite.diagnose(Still(), ring(16))
    assert found.num_layers == 2
    assert found.findings["Over-smoothing"].short == "states are not smoothed"
    assert found.findings["Own tokens"].short == "own tokens are kept"
    assert found.findings["Reach"].short == "blind beyond 0 hops"
    assert "Over-squashing" not in found.findings


def test_a_model_that_diverged_is_said_to_and_nothing_fails() -> None:
    model = GCN(3, 8, 2, 2)
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    found = suite.diagnose(model, ring())
    assert found.findings["Reach"].short == "feels nothing"
    assert found.findings["Over-smoothing"].short == "states are 0 or not finite"
    assert found.plot().axes
    json.dumps(found.measures, allow_nan=False)


def test_of_a_task_and_a_model_of_the_suite_the_measures_are_those_of_the_table() -> None:
    task, model = Transfer(topology=Ring(), hops=3), build(resolve("gcn"), 7, 8, 3, 5)
    found = suite.diagnose(model, task, seed=2)
    entries = {**MEASURES, **FURTHER}
    assert set(found.absent) == {"mixing"}
    assert "piecewise linear" in found.absent["mixing"]
    taken = {name: m.run(model, task, 2) for name, m in entries.items() if name != "mixing" and not (m.rewired or m.cells)}
    assert found.measures == taken
    assert found.data.startswith("Draws of transfer (content) over 3 hops of 6 nodes")
    assert "The planted sources, 3 hops away on average" in found.findings["Over-squashing"].text


@pytest.mark.parametrize("num_nodes", [1, 4])
def test_of_graphs_without_edges_no_reach_is_told(num_nodes: int) -> None:
    found = suite.diagnose(GCN(3, 8, 2, 2), Data(x=torch.randn(num_nodes, 3), edge_index=torch.zeros(2, 0, dtype=torch.long)))
    assert set(found.absent) == {"gradient", "mixing"}
    assert found.findings["Reach"].short == "no path to go"
    assert "Over-squashing" not in found.findings
    assert found.plot().axes


# what is given


def test_a_module_without_batch_sees_graphs_one_at_a_time() -> None:
    torch.manual_seed(0)
    model, graphs = Centred(), [ring(9, seed=1), ring(12, seed=2)]
    together, alone = suite.diagnose(model, graphs), [suite.diagnose(model, graph) for graph in graphs]
    for key in ("rq_mean", "feature_norm"):
        mean = np.mean([found.measures["smoothing"][key] for found in alone], axis=0)
        assert together.measures["smoothing"][key] == pytest.approx(mean)
    norms = np.mean([found.measures["gradient"]["norm"] for found in alone], axis=0)
    assert together.measures["gradient"]["norm"] == pytest.approx(norms)
    assert min(norms) > 0
    totals = [found.measures["influence"]["log10_total"] for found in alone]
    assert min(totals) <= together.measures["influence"]["log10_total"] <= max(totals)


def test_the_gradient_is_that_of_autograd(only: Callable[..., None]) -> None:
    only("gradient")
    torch.manual_seed(0)
    model, graph = Centred(), ring(9)
    x = graph.x.double().requires_grad_()
    loss = nn.functional.cross_entropy(copy.deepcopy(model).double()(x, graph.edge_index), graph.y)
    assert suite.diagnose(model, graph).measures["gradient"]["norm"][0] == pytest.approx(
        float(torch.autograd.grad(loss, x)[0].norm()), rel=1e-12
    )


class Tupled(Means):
    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        return super().forward(x, edge_index), "what attention weighed"


class Pooled(Means):
    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        return global_add_pool(super().forward(x, edge_index), batch)


class Single(Means):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index)[:, 0]


def test_of_several_outputs_the_first_counts_and_for_that_of_a_graph_its_last_state_stands_in() -> None:
    plain = suite.diagnose(Means(2), ring()).measures
    assert suite.diagnose(Tupled(2), ring()).measures == plain
    pooled = suite.diagnose(Pooled(2), [ring(), ring()])
    assert pooled.measures["influence"]["share"] == pytest.approx(plain["influence"]["share"])
    assert pooled.absent["gradient"] == "no y of classes or numbers of the graph that fits an output of width 3"
    assert "stands in for the output" in str(pooled)
    assert suite.diagnose(Single(2), ring()).measures["influence"]["share"] == pytest.approx(plain["influence"]["share"])


class Judging(nn.Module):
    """One output a graph that is smooth in x and mixes all nodes: tanh of a sum over nodes."""

    def __init__(self, out_channels: int = 2) -> None:
        super().__init__()
        self.convs = nn.ModuleList([GCNConv(3, 4), GCNConv(4, 4)])
        self.head = nn.Linear(4, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.head(global_mean_pool(x, batch)).tanh()


class Alone(Judging):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index)


def test_what_a_model_of_whole_graphs_mixes_is_that_of_its_output() -> None:
    torch.manual_seed(0)
    model, graph = Judging(), ring()
    found = suite.diagnose(model, graph)
    exact = copy.deepcopy(model).double()
    second = torch.stack(
        [hessian(lambda x, out=out: exact(x, graph.edge_index)[0, out], graph.x.double()).abs().amax((1, 3)) for out in range(2)]
    ).amax(0)
    graph.readout_index = torch.arange(1)
    asked = suite.diagnose(model, graph).measures["mixing"]
    first = [int((hop_distance(graph.edge_index, torch.arange(1), 12)[0] == hop).double().argmax()) for hop in range(7)]
    assert asked["mixing"] == pytest.approx([float(second[0, node]) for node in first], rel=1e-9)
    assert found.measures["mixing"]["mixing"][6] > 0  # past the four hops that two layers join
    assert "mixing and gradients alone are its own" in " ".join(str(found).split())


ANSWERS = {  # of outputs of width 2, or 1: what they are trained by
    "a class": (2, torch.tensor([1]), "cross-entropy"),
    "a class, without a dimension": (2, torch.tensor(1), "cross-entropy"),
    "several at once": (2, torch.tensor([[1, 0]]), "binary cross-entropy"),
    "numbers": (2, torch.tensor([[0.3, -2.0]]), "squared error"),
    "numbers of one dimension": (2, torch.tensor([0.3, -2.0]), "squared error"),
    "yes or no": (1, torch.tensor([[1]]), "binary cross-entropy"),
    "a number": (1, torch.tensor([4.5]), "squared error"),
}
TORCH_LOSSES = {
    "cross-entropy": lambda out, y: nn.functional.cross_entropy(out, y.view(-1)),
    "binary cross-entropy": lambda out, y: nn.functional.binary_cross_entropy_with_logits(out, y.view(out.shape).double()),
    "squared error": lambda out, y: nn.functional.mse_loss(out, y.view(out.shape).double()),
}


@pytest.mark.parametrize(("kind", "batched"), [*((kind, True) for kind in ANSWERS), ("a class", False)])
def test_gradients_of_a_model_of_whole_graphs_are_those_of_its_loss(kind: str, batched: bool, only: Callable[..., None]) -> None:
    """Norms by layer are autograd's at the same places, and at the input also those of central differences; mean over graphs."""
    only("gradient")
    torch.manual_seed(0)
    width, y, loss = ANSWERS[kind]
    model = Judging(width) if batched else Alone(width)
    graphs = [ring(8, seed=1), ring(11, seed=2)]
    for graph in graphs:
        graph.y = y
    found = suite.diagnose(model, graphs)
    exact, expected = copy.deepcopy(model).double().requires_grad_(False), []
    for graph in graphs:
        states = [graph.x.double().requires_grad_()]
        hooks = [conv.register_forward_hook(lambda _m, _a, out, states=states: states.append(out)) for conv in exact.convs]
        value = TORCH_LOSSES[loss](exact(states[0], graph.edge_index), y)
        expected.append([float(grad.norm()) for grad in torch.autograd.grad(value, states)])
        for hook in hooks:
            hook.remove()
        nudges = 1e-5 * torch.eye(states[0].numel()).double().view(-1, *states[0].shape)
        up, down = (
            torch.stack([TORCH_LOSSES[loss](exact(graph.x.double() + nudge, graph.edge_index), y) for nudge in sign * nudges])
            for sign in (1, -1)
        )
        assert float(((up - down) / 2e-5).norm()) == pytest.approx(expected[-1][0], rel=1e-5)
    gradient = found.measures["gradient"]
    assert gradient["norm"] == pytest.approx(np.mean(expected, axis=0), rel=1e-10)
    assert gradient["num_draws"] == 2
    assert f"Gradients are those of the {loss} against y." in " ".join(str(found).split())
    assert not any(row.isnull().any() for _, row in found.to_frame().query("quantity == 'norm'").iterrows())


def test_what_layers_of_a_model_of_whole_graphs_do_to_small_changes_is_the_spectrum_of_their_jacobians(
    only: Callable[..., None],
) -> None:
    only("layers", "smoothing", "spectrum")
    torch.manual_seed(0)
    model, graph = Judging(), ring(8)
    found = suite.diagnose(model, graph)
    first, second = (copy.deepcopy(conv).double() for conv in model.convs)
    edges, x = graph.edge_index, graph.x.double()
    steps = [(lambda h: first(h, edges), x), (lambda h: second(h.tanh(), edges), first(x, edges))]
    for layer, (step, at) in enumerate(steps, start=1):
        matrix = torch.autograd.functional.jacobian(step, at.detach()).reshape(-1, at.numel())
        values = torch.linalg.svdvals(matrix)
        assert found.measures["spectrum"]["singular_values"][str(layer)] == pytest.approx(values.tolist(), rel=1e-9, abs=1e-12)
        assert found.measures["layers"]["largest"][layer] == pytest.approx(float(values[0]), rel=0.05)
    assert "A layer multiplies a small change by" in found.findings["Scale"].text


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("y", [torch.arange(9) % 2, (torch.arange(9) % 2).float(), torch.linspace(-1, 1, 9)])
@pytest.mark.parametrize("column", [True, False])
def test_answers_in_a_column_are_those_in_a_row(width: int, y: Tensor, column: bool, only: Callable[..., None]) -> None:
    """y [N, 1] as y [N], of classes and of numbers; outputs of width 1 are one logit, or a number."""
    only("gradient")
    torch.manual_seed(0)
    model, graph = Centred(width), ring(9)
    graph.y = y.unsqueeze(1) if column else y
    found = suite.diagnose(model, graph)
    if width == 2 and y.is_floating_point():
        assert "that fits outputs of width 2" in found.absent["gradient"]
        return
    loss = "cross-entropy" if width == 2 else "binary cross-entropy" if bool(((y == 0) | (y == 1)).all()) else "squared error"
    x = graph.x.double().requires_grad_()
    value = TORCH_LOSSES[loss](copy.deepcopy(model).double()(x, graph.edge_index), y)
    expected = float(torch.autograd.grad(value, x)[0].norm())
    assert found.measures["gradient"]["norm"][0] == pytest.approx(expected, rel=1e-10)


def test_read_out_nodes_sources_and_numbers_to_regress_are_read_from_the_graph(only: Callable[..., None]) -> None:
    only("gradient", "influence")
    graph = ring(10, channels=2)
    graph.y, graph.readout_index, graph.source_index = torch.randn(10, 2), torch.tensor([0, 3]), torch.tensor([2, 5])
    found = suite.diagnose(Fading(2.0), graph)
    assert found.measures["influence"]["num_readouts"] == 2
    assert found.measures["influence"]["source_hops"] == 2
    assert found.measures["influence"]["source_share"] == pytest.approx(0.25 / (1 + 2 * (0.5 + 0.25 + 0.125 + 0.0625) + 0.03125))
    assert "gradient" in found.measures
    graph.y = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # of the two alone
    assert suite.diagnose(Fading(2.0), graph).measures["gradient"]["norm"][0] > 0


@pytest.mark.parametrize("y", [None, torch.arange(12) - 1, torch.arange(12), torch.zeros(1), torch.zeros(12, 5), "text"])
def test_without_answers_that_fit_gradients_are_not_measured_and_the_summary_says_why(y: Any) -> None:
    graph = ring()
    graph.y = y
    found = suite.diagnose(Means(2), graph)
    assert set(found.absent) == {"gradient", "mixing"}
    assert "gradient: no y of classes or numbers at the read-out nodes that fits outputs of width 3;" in " ".join(
        str(found).split()
    )


def test_a_batch_is_its_graphs_and_of_many_eight_are_looked_at() -> None:
    graphs = [ring(size) for size in range(5, 25)]
    assert suite.diagnose(Means(2), Batch.from_data_list(graphs[:2])).measures == suite.diagnose(Means(2), graphs[:2]).measures
    assert suite.diagnose(Means(2), graphs).data.startswith("8 of 20 graphs of 5 to 22 nodes, asked at 32")


def asked(readout: list[Any] | None = None, x: Tensor | None = None) -> Data:
    """An edge, asked at some of its nodes."""
    index = {} if readout is None else {"readout_index": torch.tensor(readout)}
    return Data(x=torch.ones(2, 1) if x is None else x, edge_index=torch.tensor([[0, 1], [1, 0]]), **index)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], ValueError, "data: must hold at least one graph, got none"),
        (None, TypeError, "data: must be a torch_geometric Data, a list of them or a task, got NoneType"),
        (HeteroData(), TypeError, "data: must be a torch_geometric Data, a list of them or a task, got HeteroData"),
        ([torch.zeros(2)], TypeError, "data: must be a torch_geometric Data, a list of them or a task, got Tensor"),
        (
            Data(edge_index=torch.zeros(2, 0, dtype=torch.long)),
            ValueError,
            "data.x: must be [num_nodes, in_channels], got NoneType",
        ),
        (Data(x=torch.zeros(3)), ValueError, "data.x: must be [num_nodes, in_channels], got [3]"),
        (Data(x=torch.zeros(3, 1)), ValueError, "data.edge_index: must be [2, num_edges], got NoneType"),
        (asked(x=torch.tensor([[0.0], [torch.nan]])), ValueError, "data.x: must be finite, got 1 of 2 values that are not"),
        (asked([2]), ValueError, "data.readout_index: must name nodes 0 ... 1, at least one, or mask them, got [1], torch.int64"),
        (asked([]), ValueError, "data.readout_index: must name nodes 0 ... 1"),
        (asked([False, False]), ValueError, "data.readout_index: must name nodes 0 ... 1"),
    ],
)
def test_data_that_are_no_graphs_are_refused(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        suite.diagnose(Means(1), data)


def test_read_outs_may_be_masked() -> None:
    model = GCN(1, 4, 2, 1)
    one, other = (suite.diagnose(model, asked(index)).measures for index in ([1], [False, True]))
    assert one == other


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"model: must be a torch\.nn\.Module, made and not its class or name, got 'gcn'"):
        suite.diagnose("gcn", ring())  # type: ignore[arg-type]


def test_models_without_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="GCN: has lazy parameters; call it once"):
        suite.diagnose(GCN(-1, 8, 2, 2), ring())


def test_what_a_model_raises_comes_through_with_what_it_was_given() -> None:
    with pytest.raises(RuntimeError) as caught:
        suite.diagnose(GCN(5, 8, 2, 2), ring())
    assert caught.value.__notes__ == ["while running the model on x [12, 3], in float64 and eval mode"]


# what is left untouched


def state(model: nn.Module) -> dict[str, Any]:
    tensors = dict(model.state_dict()) | {f"{name}.grad": p.grad for name, p in model.named_parameters() if p.grad is not None}
    modes = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    asked = [p.requires_grad for p in model.parameters()]
    return {"tensors": copy.deepcopy(tensors), "modes": modes, "requires_grad": asked}


def global_state() -> list[Any]:
    numpys = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    return [torch.get_rng_state().tolist(), random.getstate(), numpys, torch.get_default_dtype(), torch.is_grad_enabled()]


@pytest.mark.parametrize("training", [True, False])
def test_model_data_and_global_state_stay_as_they_were(training: bool) -> None:
    torch.manual_seed(3)
    model, graph = GCN(3, 8, 3, 2, dropout=0.5, norm="batch_norm").train(training), ring()
    model.norms[0].train(not training)  # every part has a mode of its own
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    model.convs[0].bias.requires_grad_(False)
    before, given_before, world = state(model), copy.deepcopy(graph.to_dict()), global_state()
    found = suite.diagnose(model, graph)
    for show in (found.plot, found._repr_html_, found.to_frame, found.__str__):
        show()
    assert global_state() == world
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)
    torch.testing.assert_close(graph.to_dict(), given_before, rtol=0, atol=0)


class Remembering(nn.Module):
    """Uses all that could be disturbed: a batch norm, dice of three kinds, and tensors kept from the call before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = GCNConv(3, 4), nn.BatchNorm1d(4)
        self.second = torch.nn.utils.weight_norm(nn.Linear(4, 2))  # .weight is made anew at every call
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.last: dict[str, list[Tensor]] = {"outputs": []}

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        self.calls += 1
        noise = random.random() + np.random.rand() + float(torch.rand(()))
        h = self.norm(self.first(x, edge_index))
        self.last["states"] = [h]
        out = self.second(nn.functional.dropout(h.relu(), 0.5, self.training)) * (1 + noise)
        self.last["outputs"].append(out)
        return out


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_a_model_that_remembers_its_last_call_is_diagnosed_and_keeps_what_it_remembers() -> None:
    torch.manual_seed(0)
    model, graph = Remembering(), ring()
    model.norm.eval()
    model(graph.x, graph.edge_index).square().sum().backward(retain_graph=True)
    out, states, weight = model.last["outputs"][0], model.last["states"][0], model.second.weight
    before, world = state(model), global_state()
    found = suite.diagnose(model, graph)
    assert found.num_layers == 1
    assert global_state() == world
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)
    assert model.last["outputs"] == [out]  # the very tensors, and still with their graph
    assert model.last["states"][0] is states
    assert model.second.weight is weight
    assert torch.autograd.grad(out.sum(), model.first.bias, retain_graph=True)[0].shape == (4,)


def test_a_copy_holds_what_is_remembered_by_value_and_once() -> None:
    model = nn.Linear(2, 2)
    model.last = model.again = model(torch.ones(1, 2))  # type: ignore[assignment]
    made = copied(model)
    assert made.last is made.again is not model.last
    assert made.last.is_leaf
    assert torch.equal(made.last, model.last)  # type: ignore[arg-type]


def test_that_would_notice_a_change() -> None:
    model = GCN(3, 8, 2, 2)
    before = state(model)
    model.convs[0].bias.data[0] += 1
    with pytest.raises(AssertionError):
        torch.testing.assert_close(state(model), before, rtol=0, atol=0)


def test_the_same_arguments_give_the_same_numbers_whatever_the_mode_and_the_random_state() -> None:
    torch.manual_seed(0)
    model = GCN(3, 8, 3, 2, dropout=0.5)
    first = suite.diagnose(model.train(), ring(40))
    torch.manual_seed(9)
    assert suite.diagnose(model.eval(), ring(40)) == first
    assert suite.diagnose(model, ring(40), seed=1) != first  # other nodes are asked


def test_a_task_stays_as_it_was() -> None:
    model = build(resolve("gcn"), 7, 8, 2, 5)
    before = torch.get_rng_state()
    suite.diagnose(model, Transfer(topology=Ring(), hops=3))
    assert torch.equal(torch.get_rng_state(), before)


# how it is shown


@pytest.fixture(scope="module")
def found() -> suite.Diagnosis:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return suite.diagnose(GCN(3, 8, 3, 2), ring())


def test_it_prints_within_eighty_columns_all_that_it_says(found: suite.Diagnosis) -> None:
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 80
    printed = " ".join(str(found).split())
    assert all(f"{topic} {text}" in printed for topic, text in found.sentences.items())
    assert list(found.sentences)[:3] == ["Model", "Looked at", "In short"]
    assert found.sentences["In short"] == "; ".join(finding.short for finding in found.findings.values() if finding.short) + "."


def test_the_table_has_every_number(found: suite.Diagnosis) -> None:
    frame = found.to_frame()
    assert list(frame.columns) == ["measure", "quantity", "axis", "at", "value", "initial"]
    assert set(frame["measure"]) == set(found.measures)
    for measure, quantity, axis in (
        ("smoothing", "rq_gcn", "layer"),
        ("influence", "share", "hop"),
        ("gradient", "norm", "layer"),
    ):
        rows = frame[(frame["measure"] == measure) & (frame["quantity"] == quantity)]
        assert rows["value"].tolist() == found.measures[measure][quantity]
        assert rows["at"].tolist() == list(range(len(rows)))
        assert set(rows["axis"]) == {axis}
    single = frame[(frame["measure"] == "recoverability") & (frame["quantity"] == "headline")]
    assert single["value"].item() == found.measures["recoverability"]["headline"]
    assert single["at"].isna().all()
    probed = frame[frame["quantity"] == "by_layer.0.001"]
    assert probed["value"].tolist() == found.measures["recoverability"]["by_layer"]["0.001"]


def test_the_figure_shows_the_numbers(found: suite.Diagnosis) -> None:
    shown = {ax.get_title(loc="left"): ax.lines for ax in found.plot().axes}
    influence, smoothing = found.measures["influence"], found.measures["smoothing"]
    assert len(shown) == 6
    norm = shown["Influence of one node, log₁₀"][-1].get_ydata()
    expected = [math.nan if value is None else value for value in influence["log10_norm"]]
    np.testing.assert_allclose(np.asarray(norm, dtype=float), expected)
    rank = shown["Effective rank, centred"][-1].get_ydata()
    np.testing.assert_allclose(np.asarray(rank, dtype=float), smoothing["effective_rank_centred"])


def test_a_notebook_shows_sentences_and_figure_and_without_matplotlib_the_sentences(
    found: suite.Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = found._repr_html_()
    image = re.search(r'src="data:image/png;base64,([^"]+)"', shown)
    assert image
    assert base64.b64decode(image[1]).startswith(b"\x89PNG\r\n")
    figure = found.plot()._repr_png_()  # by itself, too, where pyplot has not taught the notebook how
    assert figure == base64.b64decode(image[1])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "suite.diagnosis.shown")
    bare = found._repr_html_()
    assert "<img" not in bare
    assert shown.startswith(bare)
    with pytest.raises(ModuleNotFoundError, match="matplotlib"):
        found.plot()


def test_text_is_escaped_in_a_notebook() -> None:
    odd = type("A<b>", (Means,), {})(1)
    assert "A&lt;b&gt;" in suite.diagnose(odd, ring())._repr_html_()


def test_the_package_alone_diagnoses_and_importing_it_does_not_wait_for_torch() -> None:
    code = """
import sys
sys.modules.update(datasets=None, reports=None, run_all=None)
import suite
assert "torch" not in sys.modules
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCN
print(suite.diagnose(GCN(2, 4, 2, 2), Data(x=torch.eye(2), edge_index=torch.tensor([[0, 1], [1, 0]]))))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Model           GCN (")


def test_there_is_nothing_else_in_the_package() -> None:
    with pytest.raises(AttributeError, match="module 'suite' has no attribute 'diagnos'"):
        _ = suite.diagnos  # type: ignore[attr-defined]


def test_a_smooth_model_is_asked_what_it_mixes_and_the_graph_what_it_is_like(only: Callable[..., None]) -> None:
    only("mixing", "topology")
    torch.manual_seed(0)
    smooth = suite.diagnose(GCN(7, 8, 3, 5, act="tanh"), Transfer(topology=Ring(), hops=3))
    mixed = smooth.measures["mixing"]["mixing"]
    assert mixed[1] > 0
    assert mixed[3] > 0  # three layers, three hops
    short = suite.diagnose(GCN(7, 8, 2, 5, act="tanh"), Transfer(topology=Ring(), hops=3))
    assert short.measures["mixing"]["mixing"][3] == 0
    graph = smooth.measures["topology"]
    assert (graph["num_nodes"], graph["num_edges"], graph["wl_classes"]) == (6, 6, 1)
    assert graph["gap"] == pytest.approx(1 - math.cos(2 * math.pi / 6))
    assert graph["total_resistance"] == pytest.approx((6**3 - 6) / 12)
    assert (graph["pair_hops"], graph["pair_resistance"], graph["pair_commute_time"]) == (
        3,
        pytest.approx(1.5),
        pytest.approx(18),
    )
    assert (graph["pair_edge_cut"], graph["pair_vertex_cut"], graph["pair_shortest_paths"], graph["pair_walks"]) == (2, 2, 2, 2)
    assert graph["planted"]
    assert (graph["ollivier_ricci_mean"], graph["augmented_forman_mean"]) == (pytest.approx(0, abs=1e-9), 0)
    assert graph["decay_rate"] == pytest.approx(2 * math.log(2 / 3))
    assert graph["shell_sizes"] == [1, 2, 2, 1]
    assert "a cut of 2 edges or 2 nodes" in smooth.findings["Graph"].text


def test_further_numbers_of_a_linear_model_are_those_of_its_powers(only: Callable[..., None]) -> None:
    only("shares")
    model, task = build(resolve("sgc"), 7, 8, 3, 5), Transfer(topology=Ring(), hops=3)
    found = suite.diagnose(model, task).measures["shares"]
    walk = [7 / 27, 6 / 27, 3 / 27, 2 / 27]  # (1/3 (left + stay + right))^3 at 0, 1, 2 and 3 hops on a ring of six
    shells = [1, 2, 2, 1]
    total = sum(w * s for w, s in zip(walk, shells, strict=True))
    assert total == pytest.approx(1)
    assert found["range_hops"] == pytest.approx(sum(h * w * s for h, (w, s) in enumerate(zip(walk, shells, strict=True))))
    assert found["source_gain"] == pytest.approx(0, abs=1e-9)  # the topology alone
    # the read-out node's own input is the same in every sample, and all others vary alike, as far as 64 samples tell
    assert found["variances"] == "inputs"
    assert found["source_signal"] == pytest.approx(math.log10(walk[3] ** 2 / (2 * walk[1] ** 2 + 2 * walk[2] ** 2)), abs=0.05)
    graphs = task.draw(7, torch.Generator().manual_seed(0))  # too few samples of one graph
    found = suite.diagnose(model, graphs_of(graphs)).measures["shares"]
    rest = sum(s * w**2 for w, s in zip(walk, shells, strict=True)) - walk[3] ** 2
    assert found["variances"] == "alike"
    assert found["source_signal"] == pytest.approx(math.log10(walk[3] ** 2 / rest))


def test_classes_are_held_apart_where_there_are_some(only: Callable[..., None]) -> None:
    only("groups")
    graph = ring()
    graph.y = torch.arange(12) % 3
    found = suite.diagnose(Means(2), graph).measures["groups"]
    expected = group_distance_ratio(graph.x, graph.y)
    assert found["group_distance_ratio"][0] == pytest.approx(float(expected))
    graph.y = None
    assert "group_distance_ratio" not in suite.diagnose(Means(2), graph).measures["groups"]


class Dicing(nn.Module):
    """A stranger's model that throws every kind of dice as it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3, 2)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        noise = random.random() + np.random.rand() + float(torch.rand(()))
        return self.lin(x.index_add(0, edge_index[1], x[edge_index[0]])) * (1 + noise)


def test_dice_of_every_kind_fall_the_same_and_are_left_as_they_were() -> None:
    model, graph = Dicing(), ring()
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    first, second = suite.diagnose(model, graph), suite.diagnose(model, graph)
    assert first.measures == second.measures
    assert (random.getstate(), str(np.random.get_state())) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_a_hub_costs_the_curvature_at_it_and_nothing_else(only: Callable[..., None]) -> None:
    only("topology")
    size = 4200
    star = to_undirected(torch.stack([torch.zeros(size - 1, dtype=torch.long), torch.arange(1, size)]))
    graph = Data(x=torch.randn(size, 2), edge_index=star, readout_index=torch.tensor([0]))
    found = suite.diagnose(GCN(2, 4, 1, 2), graph).measures["topology"]
    assert "curvature_least" not in found
    assert found["gap"] == pytest.approx(1)
    assert found["wl_classes"] == 2
    assert found["shell_sizes"] == [1, size - 1]


class Weighing(nn.Module):
    """out_v = sum over edges (u, v) of weight x_u."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        return x.new_zeros(x.shape).index_add(0, edge_index[1], edge_weight.unsqueeze(1) * x[edge_index[0]])


@pytest.mark.parametrize("count", [1, 3])
def test_weights_of_edges_are_passed_to_a_parameter_of_that_name(count: int) -> None:
    graphs = [ring(8, seed=seed) for seed in range(count)]
    with pytest.raises(ValueError, match="Weighing: forward needs 'edge_weight' besides"):
        suite.diagnose(Weighing(), graphs)
    for graph in graphs:
        graph.edge_weight = torch.where(graph.edge_index[1] > graph.edge_index[0], 3.0, 1.0)
    found = suite.diagnose(Weighing(), graphs)
    # an L1 norm of derivatives is what the weights of a node's two edges sum to, times the channels
    incoming = torch.zeros(8).index_add_(0, graphs[0].edge_index[1], graphs[0].edge_weight)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: Weighing()(x, graphs[0].edge_index, graphs[0].edge_weight), graphs[0].x
    )
    assert jacobian.sum((1, 2, 3)).div(3).tolist() == pytest.approx(incoming.tolist())
    expected = float(np.mean([math.log10(w) for w in graphs[0].edge_weight.tolist()]))
    frobenius = 0.5 * math.log10(3)  # of w times the identity of three channels
    assert found.measures["influence"]["log10_norm"][1] == pytest.approx(expected + frobenius)
    assert "Passed besides, and held: edge_weight." in " ".join(str(found).split())


def test_data_of_edges_that_a_model_has_no_use_for_are_said_not_to_be_passed() -> None:
    graph = ring()
    assert "passed" not in str(suite.diagnose(Means(2), graph)).lower()
    graph.edge_attr = torch.ones(graph.num_edges, 1)
    assert "Not passed: edge_attr." in " ".join(str(suite.diagnose(Means(2), graph)).split())
    bare = PNA(3, 4, 2, 2, aggregators=["mean"], scalers=["identity"], deg=torch.tensor([0, 0, 12]))  # made without edge_dim
    with pytest.raises(AttributeError, match="edge_encoder"):
        bare(graph.x, graph.edge_index, edge_attr=graph.edge_attr)
    refusing = suite.diagnose(bare, graph)
    assert "Not passed: edge_attr (PNA refuses it: AttributeError)." in " ".join(str(refusing).split())
    graph.edge_attr = torch.ones(5, 1)
    with pytest.raises(ValueError, match=re.escape("data.edge_attr: must be [num_edges = 24, ...], got [5, 1]")):
        suite.diagnose(Means(2), graph)


def test_edges_that_go_one_way_are_said_to_be_read_both_ways() -> None:
    both = ring()
    said = "Some edges go one way: hops, paths and cuts take them both ways."
    assert said not in " ".join(str(suite.diagnose(Means(2), both)).split())
    one_way = Data(x=both.x, edge_index=torch.stack([torch.arange(12), torch.arange(12).roll(-1)]))
    found = suite.diagnose(Means(2), one_way)
    assert said in " ".join(str(found).split())
    assert found.measures["topology"]["pair_hops"] == 6


def test_features_in_double_are_measured_as_they_are(only: Callable[..., None]) -> None:
    only("gradient")
    graph = ring()
    graph.x = graph.x.double() / 3  # which float32 would round
    torch.manual_seed(0)
    model = Centred()
    x = graph.x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(copy.deepcopy(model).double()(x, graph.edge_index), graph.y)
    expected = float(torch.autograd.grad(loss, x)[0].norm())
    assert suite.diagnose(model, graph).measures["gradient"]["norm"][0] == pytest.approx(expected, rel=1e-13)


def test_a_graph_of_one_node_has_one_node(only: Callable[..., None]) -> None:
    only("topology")
    lone = Data(x=torch.randn(1, 3), edge_index=torch.zeros(2, 0, dtype=torch.long))
    assert "The graph has 1 node and 0 edges" in suite.diagnose(Means(1), lone).findings["Graph"].text

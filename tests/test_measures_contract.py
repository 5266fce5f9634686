"""What every entry of the table of measures promises, whatever the model and the task."""

import copy
import inspect
import json
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, GCNConv, GPSConv
from torch_geometric.utils import erdos_renyi_graph

from datasets.barbell import Barbell
from datasets.cycles import SameCycle
from datasets.distances import Distances
from datasets.known_range import KnownRange
from datasets.mean_exchange import MeanExchange
from datasets.neighbors_match import NeighborsMatch
from datasets.own_token import OwnToken
from datasets.published import PublishedNeighborsMatch, PublishedRingTransfer
from datasets.random_tree import RandomTree
from datasets.ring import Ring
from datasets.transfer import Transfer
from datasets.tree import Tree
from suite.measures import FURTHER, MEASURES, measure
from suite.models import MODELS, build, resolve
from suite.task import Block, Task, Topology

NUM_LAYERS = 3


class Strange(Task):
    """Another topology at every draw, several read-out nodes and no sources."""

    num_classes: int = 3

    def sample(self, rng: torch.Generator) -> Data:
        n = int(torch.randint(6, 12, (), generator=rng))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(n)
            edge_index = erdos_renyi_graph(n, 0.3)  # may fall apart
        x, y = torch.randn(n, 4, generator=rng), torch.randint(3, (2,), generator=rng)
        return Data(x=x, edge_index=edge_index, y=y, readout_index=torch.tensor([0, n - 1]))


class OneGraph(Task):
    """A labelled graph with a mask, one wide feature matrix: the shape of Cora."""

    fixed: ClassVar[bool] = True
    num_classes: int = 3

    def draw(self, num_graphs: int, rng: torch.Generator) -> list[Data]:
        return [Strange().sample(torch.Generator().manual_seed(0))] * num_graphs


class NoConvolution(nn.Module):
    """A stranger's module: no `encode`, no `batch`, nothing of PyG."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        row, col = edge_index
        return self.lin(x + torch.zeros_like(x).index_add_(0, col, x[row]) + 0 * torch.rand_like(x))


class Nested(nn.Module):
    """A stranger's transformer: `batch` by keyword, a convolution inside a convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, 8)
        self.convs = nn.ModuleList(GPSConv(8, GCNConv(8, 8), heads=2, norm="layer_norm") for _ in range(NUM_LAYERS))
        self.out = nn.Linear(8, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        h = self.lin(x)
        for conv in self.convs:
            h = conv(h, edge_index, batch)
        return self.out(h)


TASKS: dict[str, Task] = {
    "transfer": Transfer(topology=Ring(), hops=3),
    "own_token": OwnToken(topology=Ring(), size=3),
    "mean_exchange": MeanExchange(hops=3),
    "known_range": KnownRange(topology=Ring(), size=4, hops=2),
    "distances": Distances(topology=RandomTree(num_nodes=9)),
    "same_cycle": SameCycle(hops=2),
    "neighbors_match": NeighborsMatch(hops=2),
    "published_neighbors_match": PublishedNeighborsMatch(hops=2),
    "published_ring_transfer": PublishedRingTransfer(hops=3),
    "strange": Strange(),
    "one_graph": OneGraph(),
}


def model_for(name: str, task: Task) -> nn.Module:
    drawn = task.draw(1, torch.Generator().manual_seed(0))
    in_channels = (drawn.x if isinstance(drawn, Block) else drawn[0].x).size(-1)
    torch.manual_seed(0)
    if name in MODELS:
        return build(resolve(name), in_channels, 8, NUM_LAYERS, task.out_channels)
    if name == "pyg":
        return GCN(in_channels, 8, NUM_LAYERS, task.out_channels, dropout=0.5)
    return {"plain": NoConvolution, "nested": Nested}[name](in_channels, task.out_channels)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield value


CASES = [
    *[(task, "gcn") for task in TASKS],
    *[("transfer", model) for model in [*sorted(MODELS), "pyg", "plain", "nested"]],
    *[("strange", model) for model in ("gps", "spd_transformer", "nested", "plain")],
]


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(("task", "model"), CASES)
def test_every_measure_takes_every_model_and_task_and_returns_finite_json(name: str, task: str, model: str) -> None:
    found = MEASURES[name].run(model_for(model, TASKS[task]), TASKS[task], 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(math.isfinite(number) for number in numbers(found))
    assert list(numbers(found))


@pytest.mark.parametrize("name", MEASURES)
def test_results_depend_on_model_task_and_seed_alone(name: str) -> None:
    task = TASKS["transfer"]
    model = model_for("gat", task)
    torch.manual_seed(1)
    first = MEASURES[name].run(model, task, 0)
    torch.manual_seed(2)
    assert MEASURES[name].run(model, task, 0) == first
    if name not in ("operator_share", "rewiring"):  # facts about the topology
        assert MEASURES[name].run(model, task, 1) != first


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("model", ["gcn", "pyg", "plain"])
def test_model_mode_gradients_and_global_random_state_stay_as_they_were(name: str, model: str) -> None:
    task = TASKS["transfer"]
    module = model_for(model, task).train()
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    before, random = copy.deepcopy(module.state_dict()), torch.random.get_rng_state()
    MEASURES[name].run(module, task, 0)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert module.training
    assert all(child.training for child in module.modules())
    assert all(torch.equal(value, before[key]) and value.dtype == before[key].dtype for key, value in module.state_dict().items())
    assert all(p.requires_grad and p.grad is not None and p.grad.eq(7).all() for p in module.parameters())
    assert not any(child._forward_hooks for child in module.modules())


@pytest.mark.parametrize("name", MEASURES)
def test_dropout_is_off_and_the_mode_the_model_comes_in_does_not_matter(name: str) -> None:
    task = TASKS["transfer"]
    module = model_for("pyg", task)
    assert MEASURES[name].run(module.train(), task, 0) == MEASURES[name].run(module.eval(), task, 0)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_diverged_give_none_and_never_zero(name: str, value: float) -> None:
    task = TASKS["transfer"]
    module = model_for("gcn", task)
    for parameter in module.parameters():
        parameter.data.fill_(value)
    found = MEASURES[name].run(module, task, 0)
    json.dumps(found, allow_nan=False)
    headline = {"smoothing": "rq_gcn", "recoverability": "headline", "influence": "share", "gradient": "norm"}.get(name)
    if headline:
        values = found[headline] if isinstance(found[headline], list) else [found[headline]]
        assert all(v is None for v in values)


@pytest.mark.parametrize("model", ["gcn", "gcn_jk", "nested"])
def test_lists_by_layer_begin_before_the_first_and_end_after_the_last(model: str) -> None:
    task = TASKS["transfer"]
    module = model_for(model, task)
    smoothing = MEASURES["smoothing"].run(module, task, 0)
    for key in ("rq_gcn", "rq_mean", "rq_complete", "distance", "effective_rank", "feature_norm", "undefined"):
        assert len(smoothing[key]) == NUM_LAYERS + 1
    assert len(MEASURES["recoverability"].run(module, task, 0)["by_layer"]["0.001"]) == NUM_LAYERS + 1
    assert len(MEASURES["gradient"].run(module, task, 0)["norm"]) == NUM_LAYERS + 1
    assert MEASURES["operator_share"].run(module, task, 0)["num_layers"] == NUM_LAYERS


@pytest.mark.parametrize("model", ["gcn", "gps", "spd_transformer", "sage"])
def test_float32_weights_are_measured_in_float64(model: str) -> None:
    task = TASKS["transfer"]
    module = model_for(model, task)
    for name in MEASURES:
        assert MEASURES[name].run(module, task, 0) == MEASURES[name].run(copy.deepcopy(module).double(), task, 0)


NOT_SCALE_FREE = {
    "smoothing": {"feature_norm"},
    "recoverability": set(),
    "influence": {"log10_norm", "log10_total"},
    "operator_share": set(),
    "gradient": {  # the loss itself changes
        *("norm", "ratio", "signal_rq_gcn", "signal_rq_mean", "signal_rq_complete", "signal_mad_edges", "signal_mad_pairs"),
        *("signal_effective_rank", "signal_effective_rank_centred", "signal_stable_rank", "signal_rank_residual"),
    },
    "layers": {"largest", "rms"},
    "energies": {f"{kind}_{operator}" for kind in ("energy", "norm") for operator in ("gcn", "mean", "complete")},
    "groups": set(),
    "far_tokens": set(),
    "shares": {"total_influence", "range_hops_sum"},  # gain, range and signal over interference are left
    "topology": set(),
}


@pytest.mark.parametrize("topology", [Barbell(clique_size=4), Tree(arity=2)], ids=["barbell", "tree"])
@pytest.mark.parametrize("factor", [2.0, 3.0])
@pytest.mark.parametrize("name", NOT_SCALE_FREE)
def test_weights_times_a_factor_change_what_is_not_scale_free_and_nothing_else(
    name: str, factor: float, topology: Topology
) -> None:
    """Of a bias-free ReLU-GCN, whose states grow by the factor a layer; to 1e-6. What changes without need is a scale trap."""
    torch.manual_seed(0)
    task = Transfer(topology=topology, hops=4)
    model = GCN(7, 16, 5, task.out_channels, bias=False)
    entry = (MEASURES | FURTHER)[name]
    before = entry.run(model, task, 0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(factor)
    after = entry.run(model, task, 0)
    assert before.keys() == after.keys()
    assert {key for key in before if not alike(before[key], after[key])} == NOT_SCALE_FREE[name]


def alike(one: Any, other: Any) -> bool:
    """Return whether the same places hold the same words and None, and numbers equal to 1e-6; what has collapsed is rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-6, abs=1e-12)
    return bool(one == other)


def test_measure_reports_the_model_before_and_after_training() -> None:
    task = TASKS["transfer"]
    initial, trained = model_for("gcn", task), model_for("gcn", task)
    trained.decoder.weight.data *= 2
    both = measure("influence", task, 0, initial, trained)
    assert both["initial"] == MEASURES["influence"].run(initial, task, 0)
    assert both["trained"]["log10_total"] == pytest.approx(both["initial"]["log10_total"] + math.log10(2), rel=1e-9)


def test_an_unknown_measure_is_refused_with_the_nearest_known_one() -> None:
    model = model_for("gcn", TASKS["transfer"])
    with pytest.raises(ValueError, match=r"'smothing'.*Did you mean 'smoothing'"):
        measure("smothing", TASKS["transfer"], 0, model, model)


@pytest.mark.parametrize("name", MEASURES)
def test_every_entry_says_what_it_returns(name: str) -> None:
    assert f"`{name}`" in (inspect.getdoc(MEASURES[name].run) or "")
    assert MEASURES[name].version >= 1

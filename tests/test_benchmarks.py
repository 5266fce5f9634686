"""The benchmarks compare equal functions, and reckon rightly."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch_geometric.data import Batch

from benchmarks import certificates, influence, plain
from benchmarks.__main__ import ROWS, run, table
from benchmarks.certificates import TASKS, Certificates
from benchmarks.generation import drawn_again
from benchmarks.harness import Line, at_least, at_most, in_child, in_turn, peak_gib, ratios, spread
from benchmarks.limits import SEEDS, trivial_cells
from benchmarks.scaling import SERIES, Point, growth
from benchmarks.study import SHARE_OF_COSTS, sample, scaled, shortened, standard
from benchmarks.tasks import Circle, SmallWorlds
from benchmarks.training import TRAINING, Training, bare
from datasets.own_token import OwnToken
from datasets.transfer import Transfer
from suite.cell import Cell, Protocol
from suite.engine import initial_model, train
from suite.engine.batches import graph_batch
from suite.hops import hop_distance
from suite.measures.squashing import influence as our_influence
from suite.models import build, resolve
from suite.score import losses
from suite.study import load_study
from suite.task import Block, Task
from suite.views import task_ref

# What a part of ours is called in a plain twin, with any settings and with some.
RENAMED = {
    ".first": ".0",
    ".second": ".2",
    "encoder.weight": "encoder.0.weight",
    "encoder.bias": "encoder.0.bias",
    "att_source": "att_src",
    "att_target": "att_dst",
    "lin_neighbour": "lin_l",
    "lin_self": "lin_r",
    "attention_norm": "norm2",
    "conv_norm": "norm1",
    "mlp_norm": "norm3",
    "attention.out": "attn.out_proj",
    "attention.bias.table": "bias.weight",
}
RENAMED_BY_CONV = {
    "gcn": {"lin.bias": "bias"},
    "gcnii": {"lin.weight": "weight1"},
    "gin": {".mlp.": ".nn."},
    "node_wise": {".lin.": "."},
}


def as_plain(named: dict[str, Tensor], settings: dict[str, Any]) -> dict[str, Tensor]:
    """Return weights or gradients of one of our models under the names, and in the shapes, of its plain twin."""
    renamed = RENAMED | RENAMED_BY_CONV.get(settings.get("conv", ""), {})
    if settings.get("pair_bias") == "none":  # GPSConv has a dropout between its linear layers
        renamed = renamed | {"mlp.2": "mlp.3"}
    found: dict[str, Tensor] = {}
    for name, value in named.items():
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        found[name] = value.unsqueeze(0) if "att_" in name else value.T if name.endswith("weight1") else value
    for name in [name for name in found if "attention.query" in name]:
        query, value = found.pop(name), found.pop(name.replace("query", "value"))
        key = found.pop(name.replace("query", "key"), torch.zeros_like(query))  # its bias has no effect, and we have none
        joined = torch.cat([query, key, value])
        found[name.replace("attention.query.", "attn.in_proj_")] = joined
    return found


def both(row: Training) -> tuple[nn.Module, nn.Module, Task]:
    """Return our model of a row, with weights that no rule of initialisation would give, and its plain twin."""
    (cell, *_), task = row.cells(steps=1), row.task
    ours = initial_model(cell).double().train()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64), alpha=0.1)
    first = next(iter(plain.graphs_of(task, cell)))
    twin = plain.twin(cell.model, first.x.size(-1), cell.hidden_channels, cell.num_layers, task.out_channels).double()
    weights = as_plain(dict(ours.named_parameters()), cell.model.settings)
    twin.load_state_dict(twin.state_dict() | weights)  # refuses a name or shape that it does not have
    return ours, twin.train(), task


def check_equal(row: Training) -> None:
    """Loss and every gradient of the twins, on the batch that the first step sees."""
    ours, twin, task = both(row)
    (cell, *_) = row.cells(steps=1)
    graphs = [graph.clone() for graph in plain.graphs_of(task, cell)]
    for graph in graphs:
        graph.x = graph.x.double()
    block = Block.from_data_list(graphs) or graphs
    batch = graph_batch(block, ours.needs)
    found = losses(batch.forward(ours), batch.y, task.loss)[0]
    expected = plain.loss_of(twin, Batch.from_data_list(graphs), task.loss)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    ours_gradients = dict(zip(dict(ours.named_parameters()), gradients(ours, found), strict=True))
    twins = dict(zip(dict(twin.named_parameters()), gradients(twin, expected), strict=True))
    named = as_plain(ours_gradients, cell.model.settings)
    for name, gradient in twins.items():  # what is not ours plays no part: the first norm of a GPSConv without convolution
        torch.testing.assert_close(named.get(name, torch.zeros_like(gradient)), gradient, rtol=1e-7, atol=1e-9)


def gradients(model: nn.Module, loss: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("name", TRAINING)
def test_both_sides_of_a_row_have_the_same_loss_and_gradients(name: str) -> None:
    row = TRAINING[name]
    small = {"batch_size": 3, "num_seeds": 1}
    check_equal(Training(**{field: getattr(row, field) for field in row.__dataclass_fields__} | small))


def models_of_standard() -> list[str]:
    study = load_study(Path(__file__).parent.parent / "studies" / "standard.toml")
    return sorted({spec.name for grid in study.grid for spec in grid.models})


@pytest.mark.parametrize("model", models_of_standard())
def test_every_model_of_the_standard_study_has_an_equal_twin(model: str) -> None:
    check_equal(Training("", None, Transfer(hops=3), model, 3, 8, 4, 1, 1))


def test_settings_of_the_depth_study_have_equal_twins() -> None:
    for settings in ({"encoder": "none", "decoder": "none", "norm": "none"}, {"encoder": "linear", "norm": "none"}):
        check_equal(Training("", None, Transfer(hops=3), "gcn", 3, 8, 4, 1, 1, settings))


def test_a_norm_that_pyg_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="a plain model has batch, layer, none; got 'data'"):
        plain.norm_layer("data", 4)


def test_both_sides_take_as_many_steps_on_the_same_graphs() -> None:
    row = TRAINING["worlds"]
    (cell, *_) = row.cells(steps=3)
    graphs = plain.graphs_of(row.task, cell)
    assert len(graphs) == 3 * row.batch_size
    assert len(list(plain.batches_of(graphs, row.task, cell.protocol))) == 3


def test_bare_protocols_never_end_early_and_hardly_evaluate() -> None:
    found = bare(Protocol(max_steps=600, num_test=512), 30)
    assert (found.max_steps, found.eval_every, found.num_validation, found.num_test) == (30, 30, 1, 1)
    assert found.solved_at is None


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([6.0, 8.0, 30.0], [2.0, 4.0, 3.0]) == (2.0, 3.0, 10.0)
    assert spread([4.0, 1.0]) == (1.0, 2.5, 4.0)


def test_sides_change_places_from_round_to_round() -> None:
    order: list[str] = []

    def side(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    taken = in_turn({"plain": lambda: side("plain", 2.0), "ours": lambda: side("ours", 1.0)}, 2, lambda _: None)
    assert order == ["plain", "ours", "ours", "plain"]
    assert taken == {"plain": [2.0, 2.0], "ours": [1.0, 1.0]}


def test_a_line_is_judged_by_its_median() -> None:
    assert at_least("", 3, spread([2.0, 3.0, 4.0])).met
    assert not at_least("", 3, spread([1.0, 2.9, 40.0])).met
    assert at_least("", None, spread([1.0])).met is None
    assert at_most("", 4, spread([1.0, 4.0, 9.0]), "GiB").met


def test_a_child_has_one_thread_and_memory_of_its_own() -> None:
    assert in_child(torch.get_num_threads) == 1
    assert 0 < in_child(peak_gib) < 2


def test_small_worlds_all_differ_and_their_sources_are_where_they_say() -> None:
    task = SmallWorlds(pool=40)
    graphs = task.draw(200, torch.Generator().manual_seed(0))
    assert {graph.num_nodes for graph in graphs} >= set(range(20, 40))
    for graph in graphs:
        assert 1 <= hop_distance(graph.edge_index, graph.readout_index, graph.num_nodes)[0, graph.source_index] <= 3
        assert graph.x[graph.source_index, :5].argmax() == graph.y


def test_a_circle_grows_and_keeps_its_distance() -> None:
    for size in (16, 64):
        graph = Circle(size=size).graph(4)
        assert (graph.num_nodes, graph.edge_index.size(1)) == (size, 2 * size)


def test_the_loop_over_backward_passes_gives_our_influence() -> None:
    graph = influence.ring_graph(hops=4)
    graph.x = graph.x.double()
    ours = build(influence.GCN, influence.CHANNELS, 8, 3, 5).double().eval()
    twin = plain.twin(influence.GCN, influence.CHANNELS, 8, 3, 5).double().eval()
    twin.load_state_dict(as_plain(dict(ours.named_parameters()), influence.GCN.settings))
    torch.testing.assert_close(influence.autograd_loop(twin, graph), our_influence(ours, [graph])[0].x)


def test_the_sample_of_the_study_is_drawn_by_seed_and_from_its_batches() -> None:
    cells = sample(20)
    assert [cell.key for cell, _ in cells] == [cell.key for cell, _ in sample(20)] != [cell.key for cell, _ in sample(20, 1)]
    assert len({cell.key for cell, _ in cells}) == 20
    assert all(cell in batch and batch in standard().batches for cell, batch in cells)


def test_all_that_training_draws_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    real = Transfer.draw

    def counted(task: Transfer, num_graphs: int, rng: torch.Generator) -> Any:
        drawn.append(num_graphs)
        return real(task, num_graphs, rng)

    monkeypatch.setattr(Transfer, "draw", counted)
    protocol = Protocol(batch_size=8, max_steps=5, eval_every=2, num_validation=20, num_test=33, solved_at=None)
    sizes: dict[str, Any] = {"num_layers": 1, "hidden_channels": 4, "seed": 0, "protocol": protocol}
    cell = Cell(task=task_ref(Transfer(hops=2)), model=resolve("gcn"), **sizes)
    train([cell], lambda _: None)
    trained = list(drawn)
    drawn.clear()
    assert drawn_again(cell, 5) == sum(drawn) == sum(trained) == 8 * (1 + 5) + 20 + 20 + 33
    assert sorted(drawn) == sorted(trained)


def test_certifying_is_judged_by_its_wall_seconds_and_told_in_cpu_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {certificates.side_by_side: iter([70.0, 20.0]), certificates.alone: iter([7.0, 9.0])}
    monkeypatch.setattr(certificates, "in_child", lambda function, *_, **__: next(seconds[function]))
    said: list[str] = []
    wall, cpu = Certificates("certify", "quick", {"own token": OwnToken()}).run(5, said.append)
    assert (wall.title, wall.target, wall.found, wall.met) == ("certify, own token", "<= 60", spread([70, 20]), True)
    assert (cpu.title, cpu.target, cpu.found, cpu.met) == ("certify, own token, CPU", "-", spread([7, 9]), None)
    assert said[0] == "own token, round 1 of 2: 70.0 s on 2 processes, 7.0 CPU seconds in one"


def test_what_is_certified_is_asked_by_the_standard_study_but_for_the_dear_ones() -> None:
    assert {task_ref(task).key for task in TASKS.values()} <= set(standard().tasks)


def test_every_cell_of_the_study_has_a_twin() -> None:
    refs = {cell.model.ref for batch in standard().batches for cell in batch}
    assert refs <= plain.TWINS.keys()


def test_a_tenth_of_a_protocol_keeps_the_number_of_looks() -> None:
    whole = Protocol(max_steps=600, eval_every=50)
    found = scaled(whole, SHARE_OF_COSTS)
    assert found.max_steps // found.eval_every == whole.max_steps // whole.eval_every == 12
    assert found.num_test == whole.num_test
    assert shortened(whole, 20).max_steps == 30


def test_trivial_cells_are_all_different_and_come_in_batches_of_one_condition() -> None:
    batches = trivial_cells(5 * SEEDS)
    assert len({cell.key for batch in batches for cell in batch}) == 5 * SEEDS
    assert all(len({cell.condition for cell in batch}) == 1 for batch in batches)


def test_growth_is_the_exponent_between_the_largest_sizes() -> None:
    assert growth([Point(1, 9.0, None), Point(10, 1.0, None), Point(100, 100.0, None)]) == pytest.approx(2)


def test_a_series_differs_in_its_size_alone() -> None:
    for series in SERIES:
        assert len(series.sizes) == len(series.rows)
        assert series.sizes[0] <= series.compare_up_to


def test_the_table_fits_eighty_columns_and_says_what_is_not_there() -> None:
    lines = [at_least(row.title, 10, spread([1234.5])) for row in ROWS.values()] + [Line("nothing yet", "<= 60", None)]
    console = Console(width=80, record=True, file=StringIO())
    console.print(table(lines))
    shown = console.export_text().splitlines()
    assert max(map(len, shown)) <= 80
    assert all(any(row.title in line for line in shown) for row in ROWS.values())  # none is broken


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("rong10",)) == 2
    assert "Did you mean 'ring10'?" in capsys.readouterr().err
    assert run(("ring10",), rounds=0) == 2

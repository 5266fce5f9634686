"""Tuning is a function of the study and of what its trials reached: interrupted, it goes on as if it had not been."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_parts
import pytest
from fake_parts import PARTS, cells_of
from test_command_line import TINY, Ran, study_file
from test_study import GRID, expanded, problems
from test_study import study_file as grid_file

from datasets import TASKS
from suite.cell import Cell
from suite.expansion import Expansion, expand
from suite.refs import ref_of
from suite.runner import Planner
from suite.store import Store
from suite.study import load_study
from suite.tuning import AT_RANDOM, FIRST_SEED, NO_RESULT, Choice, Outcomes, Range, Tune, ask, best

REFS = {name: ref_of(cls) for name, cls in TASKS.items()}
TUNED = GRID | {
    "hops": 4,
    "num_layers": 2,
    "tune": {"trials": 7, "num_seeds": 2, "lr": [1e-4, 1e-1], "norm": ["batch", "layer", "none"], "clip": ["none", 1.0]},
}


def skill(cell: Cell) -> float:
    """A made-up validation skill with its best place inside the space."""
    return -abs(math.log(cell.protocol.lr / 3e-3)) - 0.1 * (cell.model.settings["norm"] != "layer") - 0.001 * (cell.seed % 2)


def rounds(folder: Path, grid: dict[str, Any], known: dict[str, float], lost: random.Random | None = None) -> Expansion:
    """Expand and "train" until nothing waits; with `lost`, each round is interrupted somewhere, by chance."""
    study = load_study(grid_file(folder, grid))
    for _ in range(1000):
        found = expand(study, REFS, (), lambda cell: known.get(cell.key))
        if not found.waiting:
            return found
        new = [cell for batch in found.batches for cell in batch if cell.purpose == "tune" and cell.key not in known]
        for cell in lost.sample(new, lost.randint(0, len(new))) if lost else new:
            known[cell.key] = skill(cell)
    raise AssertionError("tuning does not end")


def content(expansion: Expansion) -> Any:
    listing = expansion.listing("")
    return listing["tuning"], listing["cells"]


# the space


def test_two_floats_are_a_range_and_any_other_list_a_choice() -> None:
    tune = Tune.model_validate({"trials": 1, "lr": [1e-4, 1e-2], "dropout": [0.0, 0.5], "heads": [2, 4], "x": [0.1, 0.2, 0.3]})
    assert tune.space == {
        "lr": Range(1e-4, 1e-2),
        "dropout": Range(0.0, 0.5),
        "heads": Choice((2, 4)),
        "x": Choice((0.1, 0.2, 0.3)),
    }


def test_a_positive_range_is_searched_by_its_logarithm() -> None:
    drawn = [ask({"lr": Range(1e-6, 1.0)}, str(number), [])["lr"] for number in range(60)]
    assert 15 < sum(lr < 1e-3 for lr in drawn) < 45  # by its value it would be one in a thousand
    assert sum(ask({"p": Range(0.0, 1.0)}, str(number), [])["p"] < 1e-3 for number in range(60)) < 5


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ({"trials": 0, "lr": [1e-4, 1e-2]}, "grid[0].tune.trials: must be greater than or equal to 1, got 0"),
        ({"lr": [1e-4, 1e-2]}, "grid[0].tune.trials: is missing"),
        ({"trials": 2}, "grid[0].tune: names nothing to search, such as lr = [1e-4, 1e-2]"),
        ({"trials": 2, "lr": 0.1}, "grid[0].tune.lr: must be two floats, low and high, or a list of choices; got 0.1"),
        ({"trials": 2, "lr": [0.1, 0.01]}, "grid[0].tune.lr: must be a range from low to high, got [0.1, 0.01]"),
        ({"trials": 2, "nrom": ["layer", "none"]}, "no field of the protocol or setting is called 'nrom'. Did you mean 'norm'?"),
        ({"trials": 2, "lr": [-1.0, 1.0]}, "grid[0].tune.lr: must be greater than 0, got -1.0"),
        ({"trials": 2, "norm": ["layer", "big"]}, "norm: must be one of"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(tmp_path: Path, tune: dict[str, Any], said: str) -> None:
    assert said in problems(tmp_path, TUNED | {"tune": tune})[0]


def test_settings_that_go_with_a_rewiring_alone_or_not_at_all_are_refused_when_the_study_is_read(tmp_path: Path) -> None:
    tune = {"trials": 2, "conv": ["gcn", "node_wise"]}
    rewired = TUNED | {"models": [{"name": "gcn", "rewiring": "expander"}], "tune": tune}
    (said,) = problems(tmp_path, rewired)
    where = "trial.toml: grid[0].tune: gcn(rewiring=expander) with conv=node_wise"
    assert said.startswith(f"{where}: rewiring 'expander' changes edges, and gcn reads none: give it to a model that does")
    assert expanded(tmp_path, TUNED | {"tune": tune}).tuning  # without the rewiring it is a model to try


def test_settings_that_are_refused_only_together_are_found_when_the_study_is_read(tmp_path: Path) -> None:
    layers, adjacent = {"conv": ["gcn", "gated_gcn"]}, {"fully_adjacent_last": [False, True]}
    for alone in (layers, adjacent):
        assert expanded(tmp_path, TUNED | {"models": "gcn", "tune": {"trials": 1} | alone}).tuning
    (said,) = problems(tmp_path, TUNED | {"models": "gcn", "tune": {"trials": 1} | layers | adjacent})
    assert "fully_adjacent_last: must be false with conv = gated_gcn" in said


def test_a_model_without_anything_to_search_is_named(tmp_path: Path) -> None:
    grid = TUNED | {"models": ["gcn", "constant"], "tune": {"trials": 2, "norm": ["layer", "none"]}}
    assert problems(tmp_path, grid) == ["trial.toml: grid[0].tune: there is nothing to search for constant"]


def test_a_setting_is_searched_where_a_model_has_it_and_its_entry_does_not_set_it(tmp_path: Path) -> None:
    models = ["gcn", {"name": "gcn", "norm": "none"}, "set_transformer", "constant"]
    tune = {"trials": 1, "lr": [1e-4, 1e-2], "norm": ["layer", "batch"], "heads": [2, 4]}
    tuning = expanded(tmp_path, TUNED | {"models": models, "tune": tune}).tuning
    assert [set(tuned.trials[0].settings) for tuned in tuning] == [{"lr", "norm"}, {"lr"}, {"lr", "norm", "heads"}, {"lr"}]


# seeds, batches, trials


def test_tuning_and_reports_have_no_seed_and_no_cell_in_common(tmp_path: Path) -> None:
    found = rounds(tmp_path, TUNED, {})
    tuning = [entry.cell for tuned in found.tuning for trial in tuned.trials for entry in trial.entries]
    reported = [entry.cell for entry in found.entries]
    assert {cell.seed for cell in tuning} == {FIRST_SEED, FIRST_SEED + 1}
    assert {cell.seed for cell in reported} == {0, 1, 2}
    assert {cell.purpose for cell in tuning} == {"tune"}
    assert {cell.purpose for cell in reported} == {"report"}
    assert not {cell.key for cell in tuning} & {cell.key for cell in reported}


@pytest.mark.parametrize("seeds", [{"seeds": [FIRST_SEED]}, {"num_seeds": FIRST_SEED + 1}])
def test_seeds_of_tuning_cannot_be_asked_for(tmp_path: Path, seeds: dict[str, Any]) -> None:
    grid = {name: value for name, value in GRID.items() if name != "num_seeds"} | seeds
    assert f"seeds: must be below {FIRST_SEED}" in problems(tmp_path, grid)[0]


def test_every_model_has_the_same_number_of_trials_and_each_is_a_batch(tmp_path: Path) -> None:
    found = rounds(tmp_path, TUNED, {})
    assert [len(tuned.trials) for tuned in found.tuning] == [7, 7]
    batches = [batch for batch in found.batches if batch[0].purpose == "tune"]
    assert len(batches) == len({trial.entries[0].cell.condition for tuned in found.tuning for trial in tuned.trials})
    assert all([cell.seed for cell in batch] == [FIRST_SEED, FIRST_SEED + 1] for batch in batches)


def test_a_trial_is_asked_once_the_one_before_is_finished(tmp_path: Path) -> None:
    known: dict[str, float] = {}
    study = load_study(grid_file(tmp_path, TUNED))
    first = expand(study, REFS, (), lambda cell: known.get(cell.key))
    assert [len(tuned.trials) for tuned in first.tuning] == [1, 1]
    assert first.entries == ()
    assert first.waiting == 2 * 3
    gcn = [entry.cell for entry in first.tuning[0].trials[0].entries]
    known[gcn[0].key] = 0.5
    assert [len(t.trials) for t in expand(study, REFS, (), lambda cell: known.get(cell.key)).tuning] == [1, 1]
    known[gcn[1].key] = 0.5
    assert [len(t.trials) for t in expand(study, REFS, (), lambda cell: known.get(cell.key)).tuning] == [2, 1]


def test_reported_cells_follow_the_trial_of_the_best_mean_validation_skill(tmp_path: Path) -> None:
    found = rounds(tmp_path, TUNED, {})
    for tuned in found.tuning:
        means = [sum(skill(entry.cell) for entry in trial.entries) / 2 for trial in tuned.trials]
        assert tuned.chosen == means.index(max(means))
        winner = tuned.trials[tuned.chosen].entries[0]
        reported = [entry.cell for entry in found.entries if entry.model == winner.model]
        assert {cell.protocol for cell in reported} == {winner.cell.protocol}
        assert {cell.model.model_dump_json() for cell in reported} == {winner.cell.model.model_dump_json()}
    assert best([0.5, 0.7, 0.7]) == 1
    assert best([NO_RESULT, NO_RESULT]) == 0


# interrupted and resumed


@pytest.mark.parametrize("seed", range(3))
def test_tuning_interrupted_anywhere_asks_what_it_would_have_asked(tmp_path: Path, seed: int) -> None:
    straight: dict[str, float] = {}
    uninterrupted = content(rounds(tmp_path, TUNED, straight))
    broken: dict[str, float] = {}
    assert content(rounds(tmp_path, TUNED, broken, random.Random(seed))) == uninterrupted
    assert broken == straight
    assert content(expand(load_study(grid_file(tmp_path, TUNED)), REFS, (), lambda cell: straight.get(cell.key))) == uninterrupted


def test_more_trials_begin_with_those_that_were_made(tmp_path: Path) -> None:
    few, more = (rounds(tmp_path, TUNED | {"tune": TUNED["tune"] | {"trials": n}}, {}) for n in (3, 7))
    for one, other in zip(few.tuning, more.tuning, strict=True):
        assert [trial.settings for trial in other.trials[:3]] == [trial.settings for trial in one.trials]


def test_what_was_found_leads_the_search() -> None:
    space = {"lr": Range(1e-6, 1.0), "weight_decay": Range(1e-6, 1.0)}

    def missed(condition: str, led: bool) -> float:
        """How far from the best place the nearest of 16 trials is."""
        earlier: list[tuple[dict[str, Any], float]] = []
        for number in range(16):
            found = ask(space, condition if led else f"{condition} {number}", earlier if led else [])
            earlier.append((found, -abs(math.log10(found["lr"]) + 3) - 0.3 * abs(math.log10(found["weight_decay"]) + 4)))
        assert AT_RANDOM < 16
        return -max(score for _, score in earlier)

    led, blind = (sum(missed(str(number), led) for number in range(25)) for led in (True, False))
    assert led < 0.85 * blind


# the store


def test_outcomes_are_validation_skills_and_what_gave_none_is_worst(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    good, diverged, failed, waiting = cells_of(4)
    for cell, status, value in ((good, "ok", 0.25), (diverged, "diverged", None)):
        metrics = {"validation": {"skill": value}, "test": {"skill": 0.99}}
        record = {"key": cell.key, "status": status, "metrics": metrics}
        store.commit_cell(record, fake_parts.initial_model(cell).state_dict())
    outcomes = Outcomes(store)
    assert [outcomes(cell) for cell in (good, diverged, failed, waiting)] == [0.25, NO_RESULT, None, None]
    outcomes.tried.add(failed.key)
    assert [outcomes(cell) for cell in (good, diverged, failed, waiting)] == [0.25, NO_RESULT, NO_RESULT, None]


def test_trials_are_trained_and_not_measured(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    batch = tuple(cell.model_copy(update={"purpose": "tune"}) for cell in cells_of(2))
    (job,) = Planner(store, parts=PARTS).plan([batch], []).jobs
    assert [piece.stage for piece in job.pieces] == ["train", "train"]


FAILING = """
from torch import nn

class Fails(nn.Module):
    def __init__(self, in_channels, hidden_channels, num_layers, out_channels):
        super().__init__()
        self.out = nn.Linear(in_channels, out_channels)

    def forward(self, x, edge_index):
        raise ArithmeticError("bad luck")
"""


def test_a_tuned_study_runs_resumes_and_says_what_it_chose(tmp_path: Path, here: Callable[..., Ran]) -> None:
    (tmp_path / "fails.py").write_text(FAILING)
    text = TINY.replace('"hops", 3', '"hops"').replace('"mlp"', '"fails.py:Fails"') + "tune = { trials = 2, lr = [1e-4, 1e-1] }\n"
    arguments = ["--study", study_file(tmp_path, text), "--out", tmp_path / "results"]
    first = here(*arguments)
    assert first.returncode == 3, first.stdout + first.stderr
    assert first.stdout.startswith("tiny: 2 cells, 0 done, 2 to train, 1 task to certify, 4 more cells after tuning")
    assert "tiny: 4 done, 4 failed" in first.stdout
    listing = json.loads((tmp_path / "results" / "tiny" / "cells.json").read_text())
    gcn, fails = listing["tuning"]
    assert [trial["score"] is None for trial in gcn["trials"] + fails["trials"]] == [False, False, True, True]
    assert all(one["chosen"] is not None for one in (gcn, fails))
    chosen = gcn["trials"][gcn["chosen"]]["settings"]["lr"]
    store = Store(tmp_path / "results" / "store")
    records = [store.record(line["key"]) or {} for line in listing["cells"] if line["model"] == "gcn"]
    assert [record["cell"]["protocol"]["lr"] for record in records] == [chosen, chosen]
    content = json.loads((tmp_path / "results" / "tiny" / "report.json").read_text())
    tables = {block["name"]: block["rows"] for block in content["blocks"] if block["kind"] == "table"}
    assert [row[4]["text"] for row in tables["tab-tuning"]] == ["2 of 2", "2 of 2"]
    assert f"lr={chosen:.3g}" in [row[5]["text"] for row in tables["tab-tuning"]]
    # as if it had been interrupted in the second round
    kept = gcn["trials"][0]["cells"][0]["key"]
    for path in (tmp_path / "results" / "store" / "cells").rglob("*.*"):
        if not path.name.startswith(kept):
            path.unlink()
    again = here(*arguments)
    assert again.returncode == 3, again.stdout + again.stderr
    assert json.loads((tmp_path / "results" / "tiny" / "cells.json").read_text()) == listing
    status = here("status", "--study", "tiny", "--out", tmp_path / "results")
    assert "GCN, tuning" in status.stdout

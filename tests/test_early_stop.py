"""The false-stop rate of the rule that ends cells at chance, from made-up cells trained in full."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from made_up_study import MadeUpStudy
from scipy.stats import binomtest

from reports import report_on
from suite.analysis import load_results
from suite.analysis.early_stop import FullRun, Share, false_stops, would_end
from suite.cell import Cell, Protocol, TaskRef
from suite.models import resolve

CHANCE, GRAPHS = 0.2, 512  # as made-up studies have them
NOISE = CHANCE + 3 * (CHANCE * (1 - CHANCE) / GRAPHS) ** 0.5  # accuracy at three standard errors of guessing
BELOW, ABOVE = int(NOISE * GRAPHS) / GRAPHS, (int(NOISE * GRAPHS) + 1) / GRAPHS


def record(curve: dict[int, float], max_steps: int = 600) -> dict[str, Any]:
    study = MadeUpStudy()
    cell = study.cell(study.task("transfer", "ring", 8), "gcn", 0, 8)
    study.finish(cell, 0.2, chance_stop=None, curve=curve)
    found = study.store.records[cell["key"]]
    found["cell"]["protocol"]["max_steps"] = max_steps
    return found


@pytest.mark.parametrize(
    ("curve", "ends"),
    [
        ({350: BELOW, 400: BELOW, 450: 0.9, 600: 1.0}, True),  # what comes later does not help
        ({350: ABOVE, 400: BELOW, 600: BELOW}, False),  # the best so far counts, not the last
        ({350: BELOW, 400: ABOVE, 600: BELOW}, False),
        ({390: BELOW, 420: BELOW, 600: BELOW}, True),  # the first look after the step
        ({390: BELOW, 600: BELOW}, False),  # the budget ends it at that look
        ({350: 1.0}, False),  # solved before
    ],
)
def test_the_rule_looks_at_the_best_skill_once_the_step_is_reached(curve: dict[int, float], ends: bool) -> None:
    assert would_end(record(curve), CHANCE, 400) == ends


def test_shares_have_their_denominators_and_exact_limits() -> None:
    def runs(count: int, ended: bool, left: bool, solved: bool, same: bool = True) -> list[FullRun]:
        return [FullRun(400, ended, left, solved, same)] * count

    sample = runs(97, True, False, False) + runs(2, True, True, False) + runs(1, True, True, True, same=False)
    sample += runs(40, False, True, True) + runs(10, False, False, False) + [FullRun(300, False, True, True, True)]
    early, late = false_stops(sample)
    assert (early.after, early.of_ended, early.of_all) == (300, Share(0, 0), Share(0, 1))
    assert (late.of_ended, late.of_all, late.of_left) == (Share(3, 100), Share(3, 150), Share(3, 43))
    assert (late.solved_of_ended, late.other_source) == (Share(1, 100), 1)
    exact = binomtest(3, 100).proportion_ci(method="exact")
    assert late.of_ended.limits == pytest.approx((exact.low, exact.high))


def test_the_rule_read_from_a_curve_is_the_rule_of_the_engine() -> None:
    from suite.engine import train

    task = TaskRef(ref="datasets.transfer:Transfer", params={"topology": {"kind": "ring"}, "hops": 2}, version=1)
    model = resolve("gcn", {})
    done: list[Any] = []
    for seed, lr in product(range(3), (1e-6, 1e-2)):
        protocol = Protocol(lr=lr, max_steps=60, eval_every=20, num_validation=200, num_test=50, chance_stop=20)
        train([Cell(task=task, model=model, num_layers=2, hidden_channels=16, seed=seed, protocol=protocol)], done.append)
    ended = [trained.metrics["stopped"] == "chance" for trained in done]
    records = [{"cell": trained.cell.model_dump(mode="json"), "curve": trained.curve} for trained in done]
    assert [would_end(record, task.load().chance, 20) for record in records] == ended
    assert set(ended) == {True, False}


def two_studies(folder: Path) -> tuple[MadeUpStudy, Path, Path]:
    """Write a study with the rule, and one of two of its conditions trained in full; both in one store."""
    rule, full = MadeUpStudy(), MadeUpStudy()
    full.store = rule.store
    for hops in (6, 8, 10):
        for seed in range(5):
            rule.finish(rule.cell(rule.task("transfer", "ring", hops), "gcn", seed, hops), BELOW, chance_stop=400)
    for hops in (6, 8):
        for seed in range(5):
            cell = full.cell(full.task("transfer", "ring", hops), "gcn", seed, hops, section="in full")
            late = hops == 6 and seed == 0  # the only one that leaves chance, after the rule would have ended it
            curve = {400: BELOW, 800: 1.0 if late else BELOW, 1000: 1.0 if late else BELOW}
            full.finish(cell, 1.0 if late else 0.21, chance_stop=None, curve=curve)
    stranger = full.task("transfer", "barbell", 8)  # nothing under the rule is like it
    full.finish(full.cell(stranger, "gcn", 0, 8), 1.0, chance_stop=None, curve={400: BELOW, 1000: 1.0})
    return rule, rule.write(folder / "rule"), full.write(folder / "full")


def test_both_reports_show_the_rate_of_the_sample_that_they_share(tmp_path: Path) -> None:
    made_up, rule, full = two_studies(tmp_path)
    for folder in (rule, full):
        (found,) = false_stops(load_results(folder, made_up.store).full_runs)
        assert (found.after, found.of_ended, found.of_all, found.of_left) == (400, Share(1, 10), Share(1, 10), Share(1, 1))
    report_on(rule, made_up.store)
    said = (rule / "report.json").read_text()
    assert "1 of 10, 10.0 % [0.3 %, 44.5 %] after step 400" in said
    assert '"of_ended": {' in said
    assert "A worker held at most 300 MB in memory" in said


def test_a_rule_that_nothing_was_held_against_is_said_to_be_unmeasured(tmp_path: Path) -> None:
    made_up, rule, full = two_studies(tmp_path)
    (full / "cells.json").unlink()
    report_on(rule, made_up.store)
    assert "was not measured here: no cell of these settings was trained in full" in (rule / "report.json").read_text()


def test_cells_whose_noise_cannot_be_told_are_left_out(tmp_path: Path) -> None:
    made_up, rule, full = two_studies(tmp_path)
    some = [r for r in made_up.store.records.values() if r["cell"]["protocol"]["chance_stop"] is None][:3]
    some[0]["curve"]["validation_score"][0] = 0.2 + 0.3 / GRAPHS  # several answers a graph
    some[1]["status"] = "diverged"
    some[2]["metrics"]["test"]["skill"] = None
    for folder in (rule, full):
        assert len(load_results(folder, made_up.store).full_runs) == 7

"""Statistics against closed forms and other libraries; tables on a made-up study whose counts are known by hand."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_study import MadeUpStudy, add_depth_study, hop_study
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from reports.sentences import controls, edges_only
from suite.analysis import Analysis, analyse, load_results
from suite.analysis.measured import layer_profile, measured_table, quotient_of
from suite.analysis.provenance import newest, provenance_table, unfinished
from suite.analysis.results import access, depth_label
from suite.analysis.statistics import (
    Interval,
    agreement,
    clopper_pearson,
    fits,
    half_solve_bracket,
    mean_interval,
    separation,
    verdict,
)

ROOT = Path(__file__).parents[1]


def analysed(study: MadeUpStudy, folder: Path) -> Analysis:
    return analyse(load_results(study.write(folder), study.store))


@pytest.mark.parametrize("trials", [1, 4, 5, 8, 20])
def test_two_sided_exact_limits_are_those_of_statsmodels(trials: int) -> None:
    for successes in range(trials + 1):
        assert clopper_pearson(successes, trials) == pytest.approx(proportion_confint(successes, trials, method="beta"))


def test_one_sided_exact_limits_solve_their_binomial_equation() -> None:
    low, high = clopper_pearson(7, 8, sides=1)
    assert stats.binom.sf(6, 8, low) == pytest.approx(0.05)  # P(at least 7) at the lower limit
    assert stats.binom.cdf(7, 8, high) == pytest.approx(0.05)  # P(at most 7) at the upper one
    assert clopper_pearson(5, 5, sides=1)[0] == pytest.approx(0.05 ** (1 / 5))
    assert clopper_pearson(0, 5, sides=1)[1] == pytest.approx(1 - 0.05 ** (1 / 5))
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_impossible_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="got 6 of 5"):
        clopper_pearson(6, 5)


@pytest.mark.parametrize(
    ("solved", "cells", "expected"),
    [(5, 5, "success"), (7, 8, "success"), (9, 10, "success"), (15, 20, "success"), (0, 5, "failure"), (1, 8, "failure"),
     (1, 10, "failure"), (5, 20, "failure"), (4, 5, "mixed"), (6, 8, "mixed"), (8, 10, "mixed"), (14, 20, "mixed"),
     (4, 4, "too few"), (0, 4, "too few"), (1, 1, "too few"), (0, 0, "too few")],
)  # fmt: skip
def test_verdict_follows_the_one_sided_rule(solved: int, cells: int, expected: str) -> None:
    assert verdict(solved, cells) == expected


def test_two_sided_limits_would_not_decide_five_of_five() -> None:
    assert clopper_pearson(5, 5)[0] < 0.5 < clopper_pearson(5, 5, sides=1)[0]


@given(st.integers(0, 30), st.integers(0, 30))
def test_failure_is_the_mirror_image_of_success(solved: int, unsolved: int) -> None:
    mirror = {"success": "failure", "failure": "success", "mixed": "mixed", "too few": "too few"}
    assert verdict(unsolved, solved + unsolved) == mirror[verdict(solved, solved + unsolved)]


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_t_interval_is_that_of_statsmodels(values: list[float]) -> None:
    found = mean_interval(values)
    low, high = DescrStatsW(values).tconfint_mean(alpha=0.05)
    assert (found.mean, found.n) == (pytest.approx(np.mean(values), abs=1e-9), len(values))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_the_interval_of_an_accuracy_is_cut_at_one() -> None:
    free, cut = mean_interval([0.9, 1.0, 1.0]), mean_interval([0.9, 1.0, 1.0], bounds=(0, 1))
    assert free.high is not None
    assert free.high > 1 == cut.high
    assert (cut.mean, cut.low, cut.n) == (free.mean, free.low, free.n)


def test_missing_values_are_counted_out_and_one_value_has_no_interval() -> None:
    assert mean_interval([1.0, None, math.nan, math.inf]) == Interval(1.0, None, None, 1)
    assert mean_interval([None]) == Interval(None, None, None, 0)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_separation_is_the_area_under_the_roc_curve(cases: list[tuple[int, bool]]) -> None:
    values, solved = [float(v) for v, _ in cases], [s for _, s in cases]
    if len(set(solved)) == 1:
        assert separation(values, solved) is None
    else:
        assert separation(values, solved) == pytest.approx(roc_auc_score(solved, values))


@pytest.mark.parametrize(
    ("rates", "expected"),
    [([1, 1, 0.4, 0], (5, 8)), ([1, 1, 1, 1], (12, None)), ([0.2, 0, 0, 0], (None, 3)), ([1, 0.4, 1, 0], (3, 5))],
)
def test_half_solve_bracket_is_the_first_fall_below_one_half(rates: list[float], expected: tuple[Any, Any]) -> None:
    assert half_solve_bracket([3, 5, 8, 12], rates) == expected
    assert half_solve_bracket([12, 8, 5, 3], rates[::-1]) == expected


def test_fitting_and_agreement_need_an_interval_on_one_side() -> None:
    assert fits(Interval(0.99, 0.95, 1.0, 5)) == "fits"
    assert fits(Interval(0.4, 0.2, 0.6, 5)) == "does not fit"
    assert fits(Interval(0.9, 0.8, 1.0, 5)) == fits(Interval(1.0, None, None, 1)) == "undecided"
    assert agreement(0.81, Interval(0.7, 0.6, 0.8, 5), 0.02) == "agrees"
    assert agreement(0.83, Interval(0.7, 0.6, 0.8, 5), 0.02) == "differs"
    assert agreement(0.8, Interval(None, None, None, 0), 0.02) == "not run"
    assert agreement(0.8, Interval(0.7, 0.0, 1.0, 4), 0.02) == "too few"


@pytest.mark.parametrize(
    ("rule", "label"),
    [("hops", "L = r"), ("2*hops", "L = 2r"), ("hops+1", "L = r+1"), (16, "L = 16"), ("2*rewired_hops+1", "L = 2r′+1")],
)
def test_depth_rules_are_written_with_r(rule: str | int, label: str) -> None:
    assert depth_label(rule) == label


def test_failed_and_missing_cells_are_counted_and_not_averaged(tmp_path: Path) -> None:
    study = hop_study(models=("gps",), hops=(3,), depths=("hops",))
    study.lose(study.cells[0])
    study.lose(study.cells[1])
    study.fail(study.cells[1], "RuntimeError: made up")
    (row,) = analysed(study, tmp_path).conditions.to_dict("records")
    assert (row["planned"], row["finished"], row["ok"], row["failed"], row["missing"]) == (5, 3, 3, 1, 1)
    assert (row["solved"], row["rate"], row["verdict"]) == (3, 1.0, "too few")
    assert row["score"].n == 3


def test_a_diverged_cell_is_finished_and_not_solved_whatever_its_last_score(tmp_path: Path) -> None:
    study = hop_study(models=("gps",), hops=(3,), depths=("hops",))
    study.finish(study.cells[0], 1.0, status="diverged")
    study.finish(study.cells[1], None, status="diverged")
    (row,) = analysed(study, tmp_path).conditions.to_dict("records")
    assert (row["finished"], row["diverged"], row["solved"], row["verdict"]) == (5, 2, 3, "mixed")
    assert row["score"].n == 4  # one of them has no score at all


def test_seeds_on_either_side_of_the_threshold_are_told_apart(tmp_path: Path) -> None:
    study = hop_study(models=("gps",), hops=(3,), depths=("hops",))
    for cell, accuracy in zip(study.cells, (0.2, 0.919, 0.921, 0.95, 1.0), strict=True):  # skill .9 at accuracy .92
        study.finish(cell, accuracy)
    (row,) = analysed(study, tmp_path).conditions.to_dict("records")
    assert (row["solved"], row["finished"]) == (3, 5)


def test_a_cell_under_two_depth_rules_is_planned_once_and_shown_twice(tmp_path: Path) -> None:
    study = MadeUpStudy()
    task = study.task("transfer", "ring", 8)
    for rule in ("2*hops", "16"):
        for seed in range(5):
            study.finish(study.cell(task, "gcn", seed, 16, rule), 1.0)
    found = analysed(study, tmp_path)
    assert len(found.results.unique) == 5
    assert found.conditions["planned"].tolist() == [5, 5]
    assert sorted(found.conditions["series"]) == ["GCN (L = 16)", "GCN (L = 2r)"]


def test_tasks_of_one_name_are_told_apart_by_what_differs_and_distances_are_not(tmp_path: Path) -> None:
    study = MadeUpStudy()
    tasks = [study.task("transfer", "ring", hops, num_classes=k) for k in (2, 5) for hops in (3, 5)]
    for task in tasks:
        study.cell(task, "gcn", 0, 3)
    labels = [analysed(study, tmp_path).results.task_labels[task["task_key"]] for task in tasks]
    assert labels == ["transfer · ring (num_classes=2)"] * 2 + ["transfer · ring (num_classes=5)"] * 2


def test_models_of_one_title_are_told_apart_by_name(tmp_path: Path) -> None:
    study = MadeUpStudy()
    task = study.task("transfer", "ring", 3)
    study.cell(task, "gcn", 0, 3, look=("GCN", "MPNN", []))
    study.cell(task, "gcn(norm=none)", 0, 3, look=("GCN", "MPNN", []))
    assert set(analysed(study, tmp_path).conditions["model_label"]) == {"GCN (gcn)", "GCN (gcn(norm=none))"}


def test_widths_of_one_model_are_told_apart(tmp_path: Path) -> None:
    study = MadeUpStudy()
    task = study.task("transfer", "ring", 3)
    for width in (16, 64):
        cell = study.cell(task, "gcn", 0, 3)
        cell |= {"hidden_channels": width, "condition": str(width), "key": f"{width:064}"}
    assert set(analysed(study, tmp_path).conditions["series"]) == {"GCN (width 16)", "GCN (width 64)"}


def test_every_task_belongs_to_one_part_by_where_its_answer_lies_and_what_the_study_asks(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3,), seeds=1, depths=("hops",))
    study.cell(study.task("own token", "ring", 0), "gcn", 0, 8, 8)
    study.cell(study.task("diameter", None, None), "gcn", 0, 8, 8)
    add_depth_study(study, seeds=1)
    found = analysed(study, tmp_path)
    assert set(found.part("hops")["task"]) == {"transfer (content)"}
    assert set(found.part("no_distance")["task"]) == {"diameter"}  # between nodes, at no single distance
    assert set(found.part("depth")["task"]) == {"own token", "node labels"}  # on the node itself; asked for by the study


def test_each_model_is_judged_by_its_own_operator() -> None:
    smoothing = {"rq_gcn": [1, 0.1], "rq_mean": [1, 0.2], "rq_complete": [1, 0.3], "distance": [1.0, 0.5]}
    assert quotient_of(smoothing | {"operator": "gcn"})[-1] == 0.1
    assert quotient_of(smoothing | {"operator": "mean"})[-1] == 0.2
    assert quotient_of(smoothing | {"operator": "none"})[-1] == 0.3
    assert quotient_of(smoothing | {"operator": "sum"})[-1] == 0.25  # share of |H|^2 outside the fixed space


def test_a_source_that_is_not_felt_is_told_from_one_not_measured(tmp_path: Path) -> None:
    study = hop_study(models=("mlp", "gcn"), hops=(3,), seeds=1, depths=("hops",))
    study.measure(study.cells[1], random.Random(0), nan=True)
    table = measured_table(analysed(study, tmp_path).results).set_index(["key", "state"])
    blind, unmeasured = (table.loc[(cell["key"], "trained")] for cell in study.cells)
    assert blind["blind"]
    assert not unmeasured["blind"]
    assert pd.isna(blind["log10_share"])
    assert pd.isna(unmeasured["log10_share"])


def test_profile_of_logs_is_the_log_of_the_geometric_mean(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3,), seeds=3, depths=("hops",))
    results = analysed(study, tmp_path).results
    norms = [study.store.measured[c["key"]]["smoothing"]["trained"]["feature_norm"] for c in study.cells]
    found = layer_profile(results, [c["key"] for c in study.cells], "trained", "feature_norm", logs=True)
    assert [v.mean for v in found] == pytest.approx(np.log10(stats.gmean(norms, axis=0)))
    assert [v.n for v in found] == [3] * 4  # layers 0 to 3


def test_a_measure_that_orders_all_outcomes_separates_them_fully(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3, 5, 8), depths=("hops",))
    for cell in study.cells:
        study.finish(cell, 1.0 if cell["hops"] == 3 else 0.2)
        influence = study.store.measured[cell["key"]]["influence"]["trained"]
        influence |= {"source_share": 10.0 ** -cell["hops"], "log10_source_share": -float(cell["hops"])}
        if cell["hops"] == 8:  # not felt at all: below every share
            influence |= {"source_share": 0.0, "log10_source_share": None}
    found = {row["name"]: row for row in analysed(study, tmp_path).separations}["log10_share_trained"]
    assert (found["auc"], found["successes"], found["failures"]) == (1.0, 1, 2)


@pytest.mark.parametrize(
    ("told", "channel", "expected"),
    [
        ("edges", ["norm(train)"], "edges"),
        ("edges", ["virtual_node"], "global"),
        ("encoding", [], "encoding"),
        ("encoding", ["attention"], "global"),
        ("nothing", ["attention"], "control"),
        ("nothing", [], "control"),
    ],
)
def test_what_brings_a_model_to_know_of_other_nodes(told: str, channel: list[str], expected: str) -> None:
    assert access(told, channel) == expected


def test_controls_are_those_told_nothing_of_the_graph(tmp_path: Path) -> None:
    study = hop_study(models=("gcn", "set_transformer", "mlp"), hops=(3, 5), depths=("hops",))
    for cell in study.cells:
        if cell["model"] == "mlp":  # it has kept its name, and has an encoding of the graph
            cell |= {"title": "MLP + LapPE", "family": "MPNN", "told": "encoding"}
    found = analysed(study, tmp_path)
    said = [controls(found), edges_only(found)]
    assert ["MLP" in words for words in said] == [False, False]
    assert ["Set transformer" in words for words in said] == [True, False]
    assert ["GCN" in words for words in said] == [False, True]


def test_reach_is_bracketed_by_tested_distances(tmp_path: Path) -> None:
    study = hop_study(models=("gcn", "gps", "mlp"), hops=(3, 5, 8), depths=("hops",))
    limit = {"gcn": 5, "gps": 8, "mlp": 0}
    for cell in study.cells:
        study.finish(cell, 1.0 if cell["hops"] <= limit[cell["model"]] else 0.2)
    reach = analysed(study, tmp_path).reach.set_index("model_label")
    assert (reach.loc["GCN", "last"], reach.loc["GCN", "first"]) == (5, 8)
    assert reach["farthest_success"].fillna(0).to_dict() == {"GCN": 5, "GPS": 8, "MLP": 0}
    assert reach["access"].to_dict() == {"GCN": "edges", "GPS": "global", "MLP": "control"}


def test_every_cell_without_a_result_is_listed_with_its_reason(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3,), depths=("hops",))
    ok, missing, failed, diverged, unmeasured = study.cells
    without = study.cell(study.task("node labels", "Cora", None), "gcn", 0, 2, 2, "depth")
    study.fail(without, "no copy here", "unavailable")
    study.lose(missing)
    study.lose(failed)
    study.fail(failed, "first line\nRuntimeError: made up")
    study.finish(diverged, None, status="diverged")
    study.store.measured[unmeasured["key"]].pop("influence")
    failure = {"stage": "influence", "status": "oom", "message": "too large"}
    study.store.failed[unmeasured["key"]] = [failure]
    rows = {row["key"]: row for row in unfinished(analysed(study, tmp_path).results)}
    assert ok["key"] not in rows
    assert rows[missing["key"]]["why"] == "not run"
    assert rows[failed["key"]]["why"] == "error: RuntimeError: made up (1 attempt)"
    assert (rows[without["key"]]["status"], rows[without["key"]]["why"]) == ("unavailable", "no copy here")
    assert rows[diverged["key"]]["status"] == "diverged"
    assert (rows[unmeasured["key"]]["status"], rows[unmeasured["key"]]["why"]) == ("influence failed", "oom: too large")


def test_provenance_counts_every_record_and_dates_by_the_newest(tmp_path: Path) -> None:
    study = hop_study(models=("gcn", "gps"), hops=(3, 5), depths=("hops",))
    results = analysed(study, tmp_path).results
    fields = {field["field"]: field["values"] for field in provenance_table(results)}
    assert {name: sum(v["cells"] for v in values) for name, values in fields.items()} == dict.fromkeys(fields, 20)
    assert fields["fingerprint"] == [{"value": "aaaa", "cells": 19}, {"value": "bbbb", "cells": 1}]
    assert newest(results) == max(r["provenance"]["run"]["ended"] for r in study.store.records.values())


def test_a_grid_of_another_schema_is_refused(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3,), seeds=1)
    path = study.write(tmp_path) / "cells.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(ValueError, match="expected schema 3, got 99"):
        load_results(tmp_path, study.store)


def test_analysis_needs_neither_torch_nor_matplotlib_nor_the_reports() -> None:
    program = "import sys, suite.analysis; print({'torch', 'matplotlib', 'reports', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

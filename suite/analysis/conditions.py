"""Conditions: the seeds of one grid point taken together, with every planned cell counted."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from suite.analysis.measured import STATES, measured_table
from suite.analysis.results import STATUSES, Results
from suite.analysis.statistics import clopper_pearson, half_solve_bracket, mean_interval, separation, verdict
from suite.metrics import ERRORS
from suite.verdicts import barred_by

FIXED = (
    *("part", "condition", "task", "task_key", "task_label", "topology", "hops", "chance", "ceiling", "metric"),
    *("model", "base", "model_label", "family", "family_order", "model_order", "access", "global_channel"),
    *("depth_label", "series", "num_layers", "hidden_channels"),
)
SCORES = {"score": "test_score", "train_score": "train_score"}
MEASURED = (
    *("quotient", "effective_rank", "log10_norm", "recoverability", "smoothing"),
    *("log10_share", "squashing", "log10_total", "log10_operator_share", "log10_gradient_ratio"),
    *("mean_hops", "operator_hops", "source", "stable_rank", "mad", "log10_gain"),
    *("signal_quotient", "signal_stable_rank", "signal_mad"),
)


def condition_table(results: Results) -> pd.DataFrame:
    """Return one row per part of the report and condition: families and models together, else in the order of the study.

    Counts: `planned`, `ok`, `diverged`, `failed`, `missing`, `finished` (ok + diverged), `solved`. Outcome: `verdict`,
    `rate` with its two-sided exact limits `rate_low` and `rate_high` over finished cells, `score`, `train_score` and
    `skill` (Interval over the cells that have one). `barred`: what bars conclusions about distance from the task, see
    `suite.verdicts.BARS`, or "". Measures: `<name>_initial` and `<name>_trained` (Interval, for each
    of `MEASURED`), `blind_<state>` (cells whose read-out does not feel the source at all), `keys` (of finished cells).
    """
    cells = results.cells
    if cells.empty:
        return pd.DataFrame(columns=[*FIXED, "planned", "barred"])
    measured = {(row["key"], row["state"]): row for row in measured_table(results).to_dict("records")}
    groups: dict[tuple[Any, ...], list[dict[Any, Any]]] = {}
    for cell in cells.to_dict("records"):
        # two depth rules may give one depth: the same cells then stand for both, as two conditions of the report
        group = tuple(cell[name] for name in ("part", "condition", "depth_label", "model_label"))
        groups.setdefault(group, []).append(cell)
    barred = {t["task_key"]: barred_by(t, results.certificates.get(t["task_key"])) for t in results.tasks}
    rows = [_condition(group, measured) | {"barred": barred[group[0]["task_key"]]} for group in groups.values()]
    return pd.DataFrame(rows).sort_values(["family_order", "model_order"], kind="stable", ignore_index=True)


def _condition(cells: list[dict[Any, Any]], measured: dict[tuple[str, str], dict[Any, Any]]) -> dict[str, Any]:
    first, done = cells[0], [cell for cell in cells if cell["status"] in ("ok", "diverged")]
    solved, finished = sum(bool(cell["solved"]) for cell in done), len(done)
    low, high = clopper_pearson(solved, finished)
    row: dict[str, Any] = {name: first[name] for name in FIXED}
    row |= {status: sum(cell["status"] == status for cell in cells) for status in STATUSES}
    row |= {"planned": len(cells), "finished": finished, "solved": solved, "verdict": verdict(solved, finished)}
    row |= {"rate": solved / finished if finished else None, "rate_low": low, "rate_high": high}
    row["keys"] = [cell["key"] for cell in done]
    bounds = (-math.inf, math.inf) if first["metric"] in ERRORS else (0.0, 1.0)
    row |= {name: mean_interval((cell[column] for cell in done), bounds=bounds) for name, column in SCORES.items()}
    row["skill"] = mean_interval(cell["test_skill"] for cell in done)
    for state in STATES:
        found = [measured[key, state] for key in row["keys"]]
        row |= {f"{name}_{state}": mean_interval(cell[name] for cell in found) for name in MEASURED}
        row[f"blind_{state}"] = sum(bool(cell["blind"]) for cell in found)
    return row


def evidence(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return the conditions of the part "hops" whose tasks bar no conclusion about distance."""
    return conditions[(conditions["part"] == "hops") & (conditions["barred"] == "")]


def reach_table(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return, per task family and series, between which distances the solve rate falls below half; of `evidence` alone.

    Columns: `task_label`, `series`, `model_label`, `family`, `family_order`, `access`, `last` and `first` (see
    `half_solve_bracket`), `tested` and `decided` (numbers of distances with a finished cell, with a verdict),
    `farthest_success` and `farthest_solved` (by every finished seed), hops or None.
    """
    rows, columns = [], ["model_label", "family", "family_order", "model_order", "access", "global_channel"]
    for (task, series), group in evidence(conditions).groupby(["task_label", "series"], sort=False):
        done = group[group["finished"] > 0]
        last, first = half_solve_bracket(done["hops"].tolist(), done["rate"].tolist())
        row = {name: group.iloc[0][name] for name in columns}
        row |= {"task_label": task, "series": series, "last": last, "first": first, "tested": len(done)}
        row |= {"decided": int((done["verdict"] != "too few").sum())}
        row |= {"farthest_success": _farthest(done[done["verdict"] == "success"])}
        rows.append(row | {"farthest_solved": _farthest(done[done["rate"] == 1])})
    columns += ["task_label", "series", "last", "first", "tested", "decided", "farthest_success", "farthest_solved"]
    return pd.DataFrame(rows, columns=columns)


def _farthest(rows: pd.DataFrame) -> int | None:
    return int(rows["hops"].max()) if len(rows) else None


def separations(conditions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how well each measure tells conditions that succeed from those that fail, over edge-only models.

    Over `evidence` alone. One row per measure: `name`, `auc` (chance that a success has the larger value; None where
    undecidable), `successes`, `failures` (numbers of conditions). Conditions share models and tasks: the number describes
    this grid, it is no test.
    """
    rows = []
    known = evidence(conditions)
    local = known[known["access"] == "edges"]
    for name in (
        "log10_share_initial",
        "log10_share_trained",
        "log10_operator_share_initial",
        "recoverability_trained",
        "log10_total_initial",
        "log10_norm_initial",
        "log10_gain_initial",
        "source_trained",
    ):
        pairs = [
            (_mean(row, name), row["verdict"] == "success")
            for _, row in local.iterrows()
            if row["verdict"] in ("success", "failure")
        ]
        measured = [(value, success) for value, success in pairs if value is not None]
        values, outcomes = [value for value, _ in measured], [success for _, success in measured]
        won = sum(outcomes)
        rows.append({"name": name, "auc": separation(values, outcomes), "successes": won, "failures": len(measured) - won})
    return rows


def _mean(row: pd.Series[Any], name: str) -> float | None:
    """The mean of an interval; a source that is exactly invisible in every seed counts as minus infinity."""
    mean: float | None = row[name].mean
    if mean is None and name.startswith("log10_share"):
        blind = row[f"blind_{name.rpartition('_')[2]}"]
        return -math.inf if blind and blind == row["finished"] else None
    return mean

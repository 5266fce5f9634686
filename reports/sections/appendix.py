"""The appendix: further figures, every condition in numbers, every certificate in full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from reports.blocks import NONE, Block, cell, figure, fixed, heading, short, table, text
from reports.figures import Drawing
from reports.sections import fairness, rewiring
from reports.sections.context import Context
from reports.sections.provenance import LONG, lost_rows, lost_table
from reports.sections.tasks import families, flags

UNSAID = {"hops", "kind", "split", "block"}  # no knobs: said at each distance, or by a name, or set for each part of the data


def blocks(context: Context) -> list[Block]:
    """Return the appendix; its headings are lettered."""
    tables = [*_conditions(context), *rewiring.appendix(context), *fairness.appendix(context), *_certificates(context)]
    found = [*_figures(context), *tables, *_lost(context)]
    return [{"kind": "appendix"}, *found] if found else []


def _figures(context: Context) -> list[Block]:
    drawings = sorted(context.at("appendix"), key=_task_and_kind)
    return [heading("Further figures"), *(figure(d, floating=False) for d in drawings)] if drawings else []


def _task_and_kind(drawing: Drawing) -> tuple[int, int]:
    """By task; within it in an order that fills pages."""
    kind, _, number = drawing.name.rpartition("_")
    return int(number), ("smoothing", "shells", "influence").index(kind)


def _conditions(context: Context) -> list[Block]:
    body = _rows(context.analysis.conditions, _condition)
    if not body:
        return []
    caption = (
        "Every condition: solved of finished seeds, verdict, mean test and train score; after the last trained layer "
        "own-token recoverability, Rayleigh quotient, effective rank; log₁₀ share of the source before and after "
        "training, log₁₀ total; log₁₀ ratio of gradient norms, first over last layer, at initialisation. Means over "
        "seeds; intervals are in report.json."
    )
    head = [
        "Model",
        "r",
        "L",
        "Solved",
        "Verdict",
        "Test",
        "Train",
        "Own token",
        "RQ",
        "Rank",
        "Share, initial",
        "Share",
    ]
    widths = ["fill", "num", "num", "num", "text", *["num"] * 9]
    return [
        heading("All conditions"),
        text("The numbers behind the figures, and then what else was measured, one row a condition."),
        table("conditions", caption, [*head, "Total", "Gradient"], body, widths, 6.5),
        *_further(context),
    ]


def _further(context: Context) -> list[Block]:
    """Return what else was measured, of conditions of which anything was."""
    conditions = context.analysis.conditions
    measured = [
        any(row[name].mean is not None for name in (*FURTHER, *SMALL, *BACKWARD)) for row in conditions.to_dict("records")
    ]
    body = _rows(conditions[measured], _further_row)
    if not body:
        return []
    caption = (
        "Further measures. Range: how many hops away, on average, inputs are that the read-out feels, weighted by how much, "
        "before and after training, and the same of the operator as often as there are layers. After the last trained "
        "layer: skill at which the token of the source can be read at the read-out node; stable rank of what tells nodes apart; "
        "mean angle distance of all pairs (MAD). At initialisation: largest singular value of a layer's Jacobian, geometric mean "
        "over layers; and of the error signal at layer 0 (backward): Rayleigh quotient by the model's own operator, stable rank "
        "of what tells nodes apart in it, mean angle distance of all pairs. Means over seeds."
    )
    head = [
        "Model",
        "r",
        "L",
        "Range, initial",
        "Range",
        "Operator's",
        "Source token",
        "Stable rank",
        "MAD",
        "Gain",
        "Backward RQ",
        "Rank",
        "MAD",
    ]
    return [table("further", caption, head, body, ["fill", *["num"] * 12], 6.5)]


FURTHER = {
    "mean_hops_initial": 1,
    "mean_hops_trained": 1,
    "operator_hops_initial": 1,
    "source_trained": 2,
    "stable_rank_trained": 1,
    "mad_trained": 2,
}


SMALL = ("log10_gain_initial", "signal_quotient_initial")  # of many decades
BACKWARD = {"signal_stable_rank_initial": 1, "signal_mad_initial": 2}


def _further_row(row: dict[Any, Any], name: str) -> list[str]:
    gain, quotient = (row[quantity].mean for quantity in SMALL)
    numbers, backward = ([fixed(row[quantity].mean, digits) for quantity, digits in of.items()] for of in (FURTHER, BACKWARD))
    return [*_named(row, name), *numbers, short(None if gain is None else 10**gain), short(quotient), *backward]


def _rows(conditions: pd.DataFrame, row_of: Callable[[dict[Any, Any], str], list[str]]) -> list[Any]:
    """Return a row for each condition, under the names of their tasks; a series is named in its first row."""
    body: list[Any] = []
    for task, group in conditions.groupby("task_label", sort=False):
        body.append(str(task))
        for series, own in group.groupby("series", sort=False):
            rows = own.sort_values(["hops", "num_layers"]).to_dict("records")
            body += [row_of(row, str(series) if k == 0 else "") for k, row in enumerate(rows)]
    return body


def _named(row: dict[Any, Any], name: str) -> list[str]:
    return [name, NONE if pd.isna(row["hops"]) else str(int(row["hops"])), str(row["num_layers"])]


def _condition(row: dict[Any, Any], name: str) -> list[str]:
    finished, planned = row["finished"], row["planned"]
    blind = row["blind_trained"] and row["blind_trained"] == finished
    return [
        *_named(row, name),
        f"{row['solved']}/{finished}" + (f" of {planned}" if finished < planned else ""),
        row["verdict"],
        fixed(row["score"].mean, 3),
        fixed(row["train_score"].mean, 3),
        fixed(row["recoverability_trained"].mean),
        short(row["quotient_trained"].mean),
        fixed(row["effective_rank_trained"].mean, 1),
        fixed(row["log10_share_initial"].mean, 1),
        "not felt" if blind else fixed(row["log10_share_trained"].mean, 1),
        fixed(row["log10_total_trained"].mean, 1),
        fixed(row["log10_gradient_ratio_initial"].mean, 1),
    ]


def _certificates(context: Context) -> list[Block]:
    """A sheet for each task at each distance, small enough to stay on one page."""
    known = context.analysis.results.certificates
    found: list[Block] = []
    for label, tasks in families(context):
        for task in tasks:
            certificate = known.get(task["task_key"])
            name = label if task["hops"] is None else f"{label}, r = {task['hops']}"
            params = ", ".join(f"{k}={_param(v)}" for k, v in task["task"]["params"].items() if k not in UNSAID)
            asked = f"{task['task']['ref'].rpartition(':')[2]}({params})"
            if certificate is None:
                found.append(text(f"{name}: {flags(context, task)}. {asked}."))
                continue
            body = [_check(check) for check in certificate["checks"]]
            head, widths = ["Check", "What", "Value", "Limit", "", "Detail"], ["text", "text", "num", "text", "text", "fill"]
            caption = f"{name}: {flags(context, task)}. {asked}."
            found.append(table(f"sheet-{len(found) + 1}", caption, head, body, widths, 6.5))
    return [heading("Task data sheets"), *found] if found else []


def _check(check: dict[str, Any]) -> list[Any]:
    passed = {True: "passed", False: cell("not passed", "bold"), None: NONE}[check["passed"]]
    return [check["id"], check["name"], _value(check["value"]), _limit(check["limit"]), passed, check["detail"]]


def _limit(text: str) -> str:
    return text.replace("<=", "≤").replace(">=", "≥")


def _param(value: Any) -> str:
    """A parameter as one would write it: ring, tree(arity=3), none."""
    if isinstance(value, dict):
        inner = ", ".join(f"{k}={_param(v)}" for k, v in value.items() if k not in UNSAID)
        return str(value.get("kind", "")) + (f"({inner})" if inner else "")
    return "none" if value is None else str(value)


def _value(value: Any) -> str:
    return NONE if value is None else short(value) if isinstance(value, int | float) else str(value)


def _lost(context: Context) -> list[Block]:
    rows = lost_rows(context)
    return [heading("Cells without a result"), lost_table(rows)] if len(rows) > LONG else []

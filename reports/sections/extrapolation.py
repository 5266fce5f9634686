"""Beyond the training distribution: what models trained on one task score on another."""

from __future__ import annotations

import math
from typing import Any

from reports.blocks import Block, fixed, heading, plural, prose, ref, table
from reports.sections.context import Context
from suite.analysis.statistics import mean_interval


def blocks(context: Context) -> list[Block]:
    """Return the section, nothing where the study asks nothing of the kind."""
    rows = _rows(context)
    if not rows:
        return []
    lost = sum(row["inside"] - row["beyond"] > 0.1 for row in rows)
    body: list[Any] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        body.append(task)
        body += [_line(row) for row in rows if row["task"] == task]
    caption = (
        "Test skill of models beyond what they were trained on, beside skill on validation graphs, which are of the training "
        "distribution: (score − chance) / (ceiling − chance), with the chance of what is asked. Means over seeds with "
        "t-intervals. Trained at, asked at: the fields that differ. Validation chooses the weights; nothing looks at the test."
    )
    head = ["Model", "Trained at", "Asked at", "L", "Seeds", "Inside", "Beyond"]
    return [
        heading("Beyond the training distribution"),
        prose(
            f"Of {plural(len(rows), 'condition')} asked at other fields than they were trained at, {lost} lose more than a tenth "
            "of the full skill on the way. Each is in ",
            ref("tab-extrapolation"),
            ".",
        ),
        table("extrapolation", caption, head, body, ["text", "fill", "fill", "num", "num", "num", "num"], 7.5),
    ]


def _rows(context: Context) -> list[dict[str, Any]]:
    """Return the conditions that have finished cells of a task that is trained at other fields."""
    results = context.analysis.results
    fields = {task["task_key"]: _fields(task) for task in results.tasks}
    found = []
    for row in context.analysis.conditions.to_dict("records"):
        told = fields.get(row["task_key"])
        skills = [_skills(results.records[key]) for key in row["keys"]] if told else []
        known = [pair for pair in skills if None not in pair]
        if told and known:
            inside, beyond = (mean_interval(values, bounds=(-math.inf, 1.0)) for values in zip(*known, strict=True))
            said = {"task": row["task_label"], "model": row["series"], "layers": row["num_layers"], "seeds": len(known)}
            found.append(said | told | {"inside": inside.mean, "beyond": beyond.mean, "intervals": (inside, beyond)})
    return found


def _fields(task: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a task was trained at and is asked at; None for an ordinary one."""
    params = task["task"]["params"]
    if not task["task"]["ref"].endswith(":Extrapolated"):
        return None
    asked = {name: params["seen"]["params"][name] for name in params["trained"]}
    return {"trained": _said(params["trained"]), "asked": _said(asked)}


def _said(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_kind(value)}" for name, value in fields.items())


def _kind(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    inner = ", ".join(f"{name} {_kind(given)}" for name, given in value.items() if name != "kind")
    return f"{value.get('kind')}" + (f" ({inner})" if inner else "")


def _skills(record: dict[str, Any]) -> tuple[float | None, float | None]:
    metrics = record["metrics"]
    inside, beyond = ((metrics.get(split) or {}).get("skill") for split in ("validation", "test"))
    return inside, beyond


def _line(row: dict[str, Any]) -> list[str]:
    scores = [f"{fixed(one.mean)} [{fixed(one.low)}, {fixed(one.high)}]" for one in row["intervals"]]
    return [row["model"], row["trained"], row["asked"], str(row["layers"]), str(row["seeds"]), *scores]

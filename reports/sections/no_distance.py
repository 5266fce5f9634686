"""Tasks whose answer lies at no single distance: scores beside chance and controls."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.blocks import NONE, Block, cell, figure, fixed, heading, plural, prose, refs, spread, table, text
from reports.metrics import ERRORS, NAMES, SHARES
from reports.no_distance_sentences import no_distance_words
from reports.sections.context import Context
from reports.sentences import tasks_of
from suite.analysis.measured import result_of
from suite.analysis.statistics import mean_interval


def blocks(context: Context) -> list[Block]:
    """Return for each task what was reached on it, a table and a figure."""
    tasks = tasks_of(context.analysis, "no_distance")
    if not tasks:
        return []
    about = prose(
        """How far the answer lies differs here from node to node or from graph to graph, so there is no one distance to plot
        scores against, and no reach to speak of. What can be asked is whether a model is better than chance and than controls
        that see no edges, at which depth, and, where it is known how far each answer lies, how its errors grow with that."""
    )
    found = [heading("Tasks at no single distance"), about]
    for i, (task, rows) in enumerate(tasks, start=1):
        found.append(heading(task, 2))
        if not rows["finished"].sum():
            planned = plural(int(rows["planned"].sum()), "planned cell")
            found.append(text(f"None of the {planned} has finished. {context.reason(rows)}"))
            continue
        drawn = [d for d in context.at("no_distance") if d.name in (f"no_distance_{i}", f"errors_{i}")]
        tables = [_table(context, i, task, rows), *_errors(context, i, task, rows)]
        names = [*(block["name"] for block in tables), *(f"fig-{d.name}" for d in drawn)]
        found.append(prose(no_distance_words(task, rows), _certificate(context, rows), " All models: ", *refs(names), "."))
        found += [*tables, *(figure(d, floating=False) for d in drawn)]
    return found


def _certificate(context: Context, rows: pd.DataFrame) -> str:
    certificate = context.analysis.results.certificates.get(rows["task_key"].iloc[0])
    return f"Its certificate says: {certificate['verdict']}." if certificate else "It has no certificate yet."


def _table(context: Context, index: int, task: str, rows: pd.DataFrame) -> Block:
    metric = str(rows["metric"].iloc[0])
    scale, digits = (100, 1) if metric in SHARES else (1, 3)
    body: list[Any] = []
    for control in (False, True):
        part = rows[(rows["access"] == "control") == control]
        for row in part.to_dict("records"):
            name = cell(row["series"], color=context.looks[row["model_label"]]["color"])
            scores = [spread(row[column], digits, scale) for column in ("score", "train_score")]
            solved = f"{row['solved']}/{row['finished']}" + (f" of {row['planned']}" if row["finished"] < row["planned"] else "")
            verdict = row["verdict"] if row["finished"] else NONE
            body.append([name, str(row["num_layers"]), *scores, spread(row["skill"]), solved, verdict])
        if len(part) and not control:
            body.append("rule")
    chance = rows["chance"].iloc[0]
    level = NONE if pd.isna(chance) else fixed(scale * chance, digits)
    body += [*([] if body[-1] == "rule" else ["rule"]), ["Chance", "", level, "", "0.00", "", ""]]
    ceiling = rows["ceiling"].iloc[0]
    if ceiling not in (0, 1) and not pd.isna(ceiling):
        body.append(["Best possible", "", fixed(scale * ceiling, digits), "", "1.00", "", ""])
    caption = (
        f"{task}: {NAMES[metric]} in test and training at the weights selected on validation, skill, and seeds that solve it of "
        "those finished, with the verdict on them. Means and 95 % t-intervals over seeds. Below the line: controls that see "
        "no edges."
    )
    unit = " (%)" if metric in SHARES else ""
    head = ["Model", "L", f"Test{unit}", f"Train{unit}", "Skill", "Solved", "Verdict"]
    return table(f"no-distance-{index}", caption, head, body, ["text", "num", "num", "num", "num", "num", "text"], 8)


def _errors(context: Context, index: int, task: str, rows: pd.DataFrame) -> list[Block]:
    """Return the table of errors in the units of what is asked for, near and far; none where that are no numbers."""
    found, results = [], context.analysis.results
    for row in rows[rows["finished"] > 0].to_dict("records"):
        seeds = [result_of(results, key, "errors", "trained") for key in row["keys"]]
        found.append((row, [seed for seed in seeds if seed]))
    measured = [seed for _, seeds in found for seed in seeds]
    if not measured or str(rows["metric"].iloc[0]) not in ERRORS:
        return []
    unit, parts = measured[0]["unit"] or "units of y", _parts(max(len(seed["error_by_hop"]) for seed in measured))
    body: list[Any] = []
    for row, seeds in found:
        name = cell(row["series"], color=context.looks[row["model_label"]]["color"])
        whole = [_spread([seed["error"] for seed in seeds], 2), _spread([seed["log10_mse"] for seed in seeds], 2)]
        body.append([name, str(row["num_layers"]), *whole, *_near_and_far(seeds, "error", parts)])
    body += ["rule", ["Mean of all answers", "", _spread([s["constant"] for s in measured], 2), ""]]
    body[-1] += _near_and_far(measured, "constant", parts)
    by = "; then that by how many hops away the answer lies" if parts else ""
    caption = (
        f"{task}: mean absolute error in {unit} and log₁₀ of the squared one, on draws of the test{by}. Means and 95 % "
        "t-intervals over seeds."
    )
    names = [f"{a}–{b - 1} hops" if b - a > 1 else f"{a} hops" for a, b in parts]
    head = ["Model", "L", f"MAE ({unit})", "log₁₀ MSE", *names]
    return [table(f"errors-{index}", caption, head, body, ["text", *["num"] * (len(head) - 1)], 7.5)]


def _parts(length: int) -> list[tuple[int, int]]:
    """Return hops in parts, each twice as long as the one before, from 1; the last two in one where there were more than four."""
    parts = [(start, min(2 * start, length)) for start in (1, 2, 4, 8, 16, 32, 64) if start < length]
    parts = [(1, min(4, length)), *parts[2:]] if len(parts) > 2 else parts
    return [*parts[:3], (parts[3][0], length)] if len(parts) > 4 else parts


def _near_and_far(seeds: list[dict[str, Any]], name: str, parts: list[tuple[int, int]]) -> list[str]:
    """Return the mean error of all answers in each part."""
    found = []
    for start, end in parts:
        means = []
        for seed in seeds:
            pairs = list(zip(seed[f"{name}_by_hop"][start:end], seed["answers_by_hop"][start:end], strict=True))
            known = [(value, count) for value, count in pairs if value is not None]
            total = sum(count for _, count in known)
            means.append(sum(value * count for value, count in known) / total if total else None)
        found.append(_spread(means, 2))
    return found


def _spread(values: list[float | None], digits: int) -> str:
    return spread(mean_interval(values), digits)

"""Tasks whose answer lies at no single distance: scores beside chance and controls."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.blocks import NONE, Block, cell, figure, fixed, heading, plural, prose, ref, spread, table, text
from reports.metrics import NAMES, SHARES
from reports.no_distance_sentences import no_distance_words
from reports.sections.context import Context
from reports.sentences import tasks_of


def blocks(context: Context) -> list[Block]:
    """Return for each task what was reached on it, a table and a figure."""
    tasks = tasks_of(context.analysis, "no_distance")
    if not tasks:
        return []
    about = prose(
        """How far the answer lies differs here from node to node or from graph to graph, so there is no distance to plot
        against, and no reach to speak of. What can be asked is whether a model is better than chance and than controls that
        see no edges, and at which depth."""
    )
    found = [heading("Tasks at no single distance"), about]
    for i, (task, rows) in enumerate(tasks, start=1):
        found.append(heading(task, 2))
        if not rows["finished"].sum():
            planned = plural(int(rows["planned"].sum()), "planned cell")
            found.append(text(f"None of the {planned} has finished. {context.reason(rows)}"))
            continue
        drawn = [d for d in context.at("no_distance") if d.name == f"no_distance_{i}"]
        shown = [ref(f"tab-no-distance-{i}"), " and ", *(ref(f"fig-{d.name}") for d in drawn)]
        found.append(prose(no_distance_words(task, rows), _certificate(context, rows), " All models: ", *shown, "."))
        found += [_table(context, i, task, rows), *(figure(d, floating=False) for d in drawn)]
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

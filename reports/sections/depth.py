"""The depth study: tasks at no distance, by number of layers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.blocks import NONE, Block, Part, cell, figure, heading, percent, plural, ref, refs, score_words, spread, table, text
from reports.depth_sentences import depth_words, quotes
from reports.metrics import NAMES, SHARES
from reports.sections.context import Context
from reports.sentences import tasks_of
from suite.analysis.statistics import fits


def blocks(context: Context) -> list[Block]:
    """Return the study of each task by depth; where its cells are missing, why."""
    found: list[Block] = []
    for i, (task, rows) in enumerate(tasks_of(context.analysis, "depth"), start=1):
        found.append(heading(task, 2))
        if rows["finished"].sum() == 0:
            planned = plural(int(rows["planned"].sum()), "planned cell")
            found.append(text(f"None of the {planned} has finished. {context.reason(rows)}"))
            continue
        drawn = [d for d in context.at("depth") if d.name == f"depth_{i}"]
        shown = [*refs([f"fig-{d.name}" for d in drawn]), " and ", ref(f"tab-depth-{i}")]
        quoted = quotes(_task(context, rows), rows)
        found.append(
            text(
                depth_words(context.analysis, task, rows),
                " All models by depth: ",
                *shown,
                ".",
                *_quoted_words(quoted, i),
            )
        )
        found += [*(figure(d) for d in drawn), _table(context, i, task, rows)]
        found += [_quoted(i, quoted, rows)] if quoted else []
    return [heading("Accuracy against depth"), *found] if found else []


def _table(context: Context, index: int, task: str, rows: pd.DataFrame) -> Block:
    metric = rows["metric"].iloc[0]
    classes = metric in SHARES
    body: list[Any] = []
    for series, group in rows.groupby("series", sort=False):
        name: Any = cell(str(series), color=context.looks[group["model_label"].iloc[0]]["color"])
        for row in group.sort_values("num_layers").to_dict("records"):
            seeds = f"{row['finished']}/{row['planned']}"
            measured = [spread(row["recoverability_trained"]), spread(row["quotient_trained"], 3)]
            body.append([name, str(row["num_layers"]), seeds, *_scores(row, classes), *measured])
            name = ""
    name = NAMES[metric]
    fit = f" Fit: whether the interval of the train {name} lies above or below 90 %." if classes else ""
    caption = (
        f"{task} by depth: {name}, mean and 95 % t-interval over finished seeds, at the weights selected on validation.{fit} Own"
        " token and Rayleigh quotient after the last layer, trained."
    )
    unit = " (%)" if classes else ""
    head = ["Model", "L", "Seeds", f"Test{unit}", f"Train{unit}", "Fit", "Own token", "Rayleigh quotient"]
    return table(f"depth-{index}", caption, head, body, ["text", "num", "num", "num", "num", "text", "num", "num"], 7.5)


def _scores(row: dict[Any, Any], classes: bool) -> list[Any]:
    if not classes:
        return [spread(row["score"], 3), spread(row["train_score"], 3), NONE]
    fit = fits(row["train_score"])
    weight = "bold" if fit == "does not fit" else "regular"
    return [spread(row["score"], 1, 100), spread(row["train_score"], 1, 100), cell(fit, weight)]


def _task(context: Context, rows: pd.DataFrame) -> dict[str, Any]:
    key = rows["task_key"].iloc[0]
    found: dict[str, Any] = next(t["task"] for t in context.analysis.results.tasks if t["task_key"] == key)
    return found


def _quoted_words(quoted: list[dict[str, Any]], index: int) -> list[Part]:
    if not quoted:
        return []
    known = [quote["inside"] for quote in quoted if quote["inside"] is not None]
    said = f"{sum(known)} of {len(known)} lie inside our intervals." if known else "none can be compared with ours yet."
    return [
        " Of the figures commonly quoted for this study, as quoted and not ours (",
        ref(f"tab-quoted-{index}"),
        f"), {said}",
    ]


def _quoted(index: int, quoted: list[dict[str, Any]], rows: pd.DataFrame) -> Block:
    names = dict(zip(rows["base"][::-1], rows["model_label"][::-1], strict=True))
    verdict = {True: "inside our interval", False: "outside our interval", None: "not compared"}
    body = [
        [
            names.get(quote["model"], quote["model"]),
            str(quote["layers"]),
            percent(quote["value"], 1),
            NONE if quote["ours"] is None else score_words(quote["ours"], "accuracy"),
            verdict[quote["inside"]],
        ]
        for quote in quoted
    ]
    caption = (
        "As quoted, not ours: test accuracies commonly quoted for depth on this data set. For all but the two-layer "
        "one no source was found, and their protocol is unknown. They are neither targets nor used in any other "
        "number."
    )
    return table(
        f"quoted-{index}",
        caption,
        ["Model", "L", "As quoted", "Ours", ""],
        body,
        ["text", "num", "num", "num", "fill"],
        8,
    )

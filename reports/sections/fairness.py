"""Equal terms: what every model was given and took, and what tuning chose."""

from __future__ import annotations

from typing import Any

from reports.blocks import NONE, Block, cell, fixed, heading, plural, prose, ref, short, table
from reports.sections.context import PART_NAMES, Context
from suite.analysis.fairness import fairness_table

LONG = 30  # rows above which a table goes to the appendix


def blocks(context: Context) -> list[Block]:
    """Return the section, with its tables where they are short."""
    tables = _tables(context)
    if not tables:
        return []
    words = prose(
        """All models of a block see the same data in the same order, have the same budget of optimiser steps and, where
        tuned, the same number of trials. Where a number of parameters was asked, each model has the width, and beside it the
        inner width of its MLPs, that comes nearest; models without a width are exempt. FLOPs are those of one training step
        of the plain model, forward and backward: dense products, 2·nnz·channels for a sparse one or a sum along edges; work
        by element is not counted. Seconds are a cell's share of its stack; memory is the most that its worker held while its
        stack was trained, libraries included; none is given where the system (macOS) does not count it. Everything is in""",
        ref("tab-fairness"),
        ".",
    )
    return [heading("Equal terms", 2), words, *_tuning_words(context), *(block for block in tables if len(block["rows"]) <= LONG)]


def appendix(context: Context) -> list[Block]:
    """Return the tables that are too long for the methods."""
    found = [block for block in _tables(context) if len(block["rows"]) > LONG]
    return [heading("Equal terms, in full"), *found] if found else []


def _tables(context: Context) -> list[Block]:
    return [*_fairness(context), *_tuning(context)]


def _fairness(context: Context) -> list[Block]:
    found = fairness_table(context.analysis.results)
    if not found:
        return []
    several = len({row["part"] for row in found}) > 1
    body: list[Any] = []
    for before, row in zip([None, *found], found, strict=False):
        if several and (before is None or before["part"] != row["part"]):
            body.append(PART_NAMES[row["part"]])
        repeated = before is not None and (before["part"], before["model_label"]) == (row["part"], row["model_label"])
        body.append(_row(context, row, repeated))
    caption = (
        "What every model was given and took, by depth. Parameters asked and there, and the largest gap between them; FLOPs of "
        "a training step; mean number of steps used, of the budget; finished trials of tuning; mean seconds of a cell; largest "
        "memory. Ranges are over tasks and distances."
    )
    head = ["Model", "L", "Asked", "Parameters", "Gap", "FLOPs a step", "Steps", "Trials", "Seconds", "MB"]
    return [table("fairness", caption, head, body, ["fill", *["num"] * 9], 7)]


def _row(context: Context, row: dict[str, Any], repeated: bool) -> list[Any]:
    label = row["model_label"]
    name = "" if repeated else cell(label, color=context.looks[label]["color"])
    gap = "exempt" if row["exempt"] else NONE if row["gap"] is None else f"{fixed(100 * row['gap'], 1)} %"
    budget = " / ".join(f"{steps:,}" for steps in row["budget"])
    return [
        name,
        str(row["num_layers"]),
        " / ".join(f"{asked:,}" for asked in row["asked"]) or NONE,
        _range(row["parameters"]),
        gap,
        _range(row["flops_per_step"]),
        NONE if row["steps"] is None else f"{row['steps']:,.0f} of {budget}",
        _range(row["trials"]) if row["trials"] else "none",
        short(row["seconds"]),
        short(row["peak_memory_mb"]),
    ]


def _range(ends: list[float] | None) -> str:
    if ends is None:
        return NONE
    low, high = (f"{int(end):,}" if abs(end) < 1e6 else short(end) for end in ends)
    return low if low == high else f"{low} – {high}"


def _tuning_words(context: Context) -> list[Block]:
    tuning = context.analysis.results.tuning
    if not tuning:
        return []
    asked = sorted({one["asked"] for one in tuning})
    ended = sum(one["chosen"] is not None for one in tuning)
    lost = sum(trial["finished"] and trial["score"] is None for one in tuning for trial in one["trials"])
    return [
        prose(
            f"""{plural(len(tuning), "condition")} were tuned, each by {" or ".join(map(str, asked))} trials of a search that
            is led by the trials before (TPE, seeded from the condition), on seeds that no reported cell has. The trial of the
            best mean validation skill was chosen, the first of equals; test scores had no part in it. Tuning has ended for
            {ended} of them; {plural(lost, "trial")} gave no result. What was chosen is in""",
            ref("tab-tuning"),
            ".",
        )
    ]


def _tuning(context: Context) -> list[Block]:
    rows = [_tuned(one) for one in context.analysis.results.tuning]
    if not rows:
        return []
    caption = (
        "Tuning by condition: trials finished of those asked, the settings chosen, and the mean validation skill of the chosen "
        "and of the worst trial."
    )
    head = ["Task", "r", "Model", "L", "Trials", "Chosen", "Skill", "Worst"]
    return [table("tuning", caption, head, rows, ["fill", "num", "text", "num", "num", "fill", "num", "num"], 7)]


def _tuned(one: dict[str, Any]) -> list[str]:
    trials, chosen = one["trials"], one["chosen"]
    scores = [trial["score"] for trial in trials if trial["score"] is not None]
    settings = trials[chosen]["settings"] if chosen is not None else {}
    return [
        one["task_label"],
        NONE if one["hops"] is None else str(one["hops"]),
        one["title"],
        str(one["num_layers"]),
        f"{sum(trial['finished'] for trial in trials)} of {one['asked']}",
        ", ".join(f"{name}={_value(value)}" for name, value in sorted(settings.items())) or "not ended",
        NONE if chosen is None else fixed(trials[chosen]["score"]),
        fixed(min(scores, default=None)),
    ]


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

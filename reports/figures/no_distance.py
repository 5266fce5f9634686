"""Tasks at no single distance: a row a model, one dot a seed, beside chance."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports.figures.common import Drawing, clipped, number, slug
from reports.metrics import NAMES, SHARES
from reports.style import INK, MUTED, RULE, Look, panels
from suite.analysis import Analysis

ROW = 4.6  # mm


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return one drawing for each task of the part "no_distance" that has a finished cell."""
    found = []
    for i, (task, rows) in enumerate(analysis.part("no_distance").groupby("task_label", sort=False)):
        done = rows[rows["finished"] > 0]
        if done.empty:
            continue
        data = _data(analysis, done, looks)
        name = NAMES[data["metric"]]
        caption = (
            f"{task}: test {name} of every seed (dots) and their mean (stroke). Dotted: chance. Below the line: controls that "
            "see no edges."
        )
        found.append(Drawing(slug(i, "no_distance"), data, draw, caption, f"Dots of test {name}, a row a model", "no_distance"))
    return found


def _data(analysis: Analysis, rows: Any, looks: dict[str, Look]) -> dict[str, Any]:
    cells = analysis.results.by_key()
    lines = []
    for control in (False, True):
        part = rows[(rows["access"] == "control") == control]
        for row in part.to_dict("records"):  # a series, a model at one rule for its depth, has one condition of a task
            seeds = [number(value) for value in cells.loc[row["keys"], "test_score"]]
            look = {"name": row["series"], "color": looks[row["model_label"]]["color"]}
            lines.append(look | {"seeds": seeds, "mean": number(row["score"].mean), "control": control})
    return {"metric": rows["metric"].iloc[0], "chance": number(rows["chance"].iloc[0]), "lines": lines}


def draw(data: dict[str, Any]) -> Figure:
    """Draw the rows, controls at the bottom."""
    lines = data["lines"]
    figure, grid = panels(1, 1, ROW * len(lines) + 2, width=140, left=50, right=4, top=3, bottom=10)
    ax = grid[0][0]
    for place, line in enumerate(lines):
        known = [value for value in line["seeds"] if value is not None]
        ax.plot(known, [place] * len(known), "o", color=line["color"], ms=3.4, mfc="white", mew=0.9, clip_on=False)
        if line["mean"] is not None:
            ax.vlines(line["mean"], place - 0.32, place + 0.32, color=line["color"], lw=1.6)
    num_models = sum(not line["control"] for line in lines)
    if 0 < num_models < len(lines):
        ax.axhline(num_models - 0.5, color=RULE, lw=0.6)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.set_yticks(range(len(lines)), [clipped(line["name"], 34) for line in lines])
    for label, line in zip(ax.get_yticklabels(), lines, strict=True):
        label.set_color(line["color"])
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    if data["metric"] in SHARES:
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
    else:
        ax.set_xlim(left=0)
    if data["chance"] is not None:
        ax.axvline(data["chance"], color=MUTED, lw=0.9, ls=(0, (1, 1.5)), zorder=1)
    ax.set_xlabel(f"Test {NAMES[data['metric']]}", color=INK)
    return figure

"""What the figures share: the drawing with its data, axes over distances, bands, legends."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, StrMethodFormatter

from reports.style import FULL, GHOST, MM, MUTED, Look, label_rows, line, panels
from suite.analysis import Analysis
from suite.analysis.statistics import Interval

LEGEND = 19  # characters in a line of a family's legend
Triple = list[float | None]  # mean, low, high


@dataclass(frozen=True)
class Drawing:
    """One figure of the report: `draw(data)` is a pure function of JSON values, so its digest decides what is redrawn.

    `place` says where the report puts it: a section's name, or "appendix".
    """

    name: str
    data: dict[str, Any]
    draw: Callable[[dict[str, Any]], Figure]
    caption: str
    alt: str
    place: str


def triple(interval: Interval) -> Triple:
    """Return an interval as the JSON of figures: mean, low, high, each None where there is none."""
    return [number(interval.mean), number(interval.low), number(interval.high)]


def number(value: float | None) -> float | None:
    """Return a number of 6 significant digits; None for None and NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def families_of(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Return the model labels of each family, in the report's order."""
    ordered = rows.sort_values("family_order", kind="stable")
    found: dict[str, list[str]] = {}
    for family, model in zip(ordered["family"], ordered["model_label"], strict=True):
        if model not in found.setdefault(family, []):
            found[family].append(model)
    return found


def hop_tasks(analysis: Analysis) -> list[tuple[str, pd.DataFrame]]:
    """Return the task families of the part "hops" that have a finished cell, with their conditions."""
    rows = analysis.part("hops")
    if rows.empty:
        return []
    order = dict.fromkeys(analysis.results.part("hops")["task_label"])
    found = [(task, rows[rows["task_label"] == task]) for task in order]
    return [(task, own) for task, own in found if own["finished"].sum()]


def slug(index: int, prefix: str) -> str:
    """Return a figure's file name: numbered, because a task's name may hold anything."""
    return f"{prefix}_{index + 1}"


def hop_axis(ax: Axes, hops: Sequence[float]) -> None:
    """Set an axis over tested distances: linear, or logarithmic where they span more than a factor 8."""
    low, high = min(hops), max(hops)
    if high > 8 * low > 0:
        ax.set_xscale("log", base=2)
        ax.set_xlim(low / 1.25, high * 1.25)
    else:
        pad = max((high - low) * 0.08, 0.6)
        ax.set_xlim(low - pad, high + pad)
    ax.xaxis.set_major_locator(FixedLocator(thinned(sorted(set(hops)))))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def thinned(ticks: Sequence[float], most: int = 7) -> list[float]:
    """Return at most about `most` of the ticks, evenly picked, the last among them."""
    step = math.ceil(len(ticks) / most)
    return list(ticks)[::-1][::step][::-1]


def percent_axis(ax: Axes) -> None:
    """Set a y axis of rates and accuracies: 0 to 100 %."""
    ax.set_ylim(-0.03, 1.05)
    ax.set_yticks([0, 0.5, 1])
    ax.yaxis.set_major_formatter(PercentFormatter(1, 0))


def band(ax: Axes, x: Sequence[float], triples: Iterable[Triple], look: Look, marks: bool = True, **changes: Any) -> None:
    """Draw means as a model's line and t-intervals as a pale band; gaps where a mean is missing.

    Means alone decide the limits of the axes: with few seeds bands would be all one sees.
    """
    mean, low, high = np.array(list(triples), dtype=float).reshape(-1, 3).T
    if not np.isnan(low).all():
        shade = FillBetweenPolyCollection("x", np.array(x, dtype=float), low, high, color=look["color"], alpha=0.13, lw=0)
        ax.add_collection(shade, autolim=False)
    if not marks:
        changes["marker"] = ""
    elif len(mean) > 8:
        changes.setdefault("markevery", math.ceil(len(mean) / 6))
    ax.plot(x, mean, **line(look, **changes))


def model_legends(axes: Sequence[Axes], families: dict[str, list[str]], looks: dict[str, Look]) -> None:
    """Put the legend of each family's models below its own panel."""
    for ax, models in zip(axes, families.values(), strict=True):
        handles = [Line2D([], [], label=wrapped(m, LEGEND, 2), **line(looks[m])) for m in models]
        height = ax.get_window_extent().height / ax.figure.dpi / MM
        ax.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(-0.06, -9 / height),
            handlelength=2.4,
            borderaxespad=0,
            labelspacing=0.25,
            handletextpad=0.5,
        )


def legend_space(families: dict[str, list[str]]) -> float:
    """Return the millimetres that ticks, axis label and the family legends need below the panels."""
    lines = [sum(1 + wrapped(model, LEGEND, 2).count("\n") for model in models) for models in families.values()]
    return 10 + 3.7 * max(lines)


def family_panels(data: dict[str, Any], labels: Sequence[str], height: float, xlabel: str, offset: float) -> tuple[Figure, Any]:
    """Return a figure and its axes [labels, families]: a row of panels, `height` mm high, for each label, `offset` mm left of it.

    Titles and legends are those of the families and looks of `data`. The axes of a row have one scale.
    """
    families, looks = data["families"], data["looks"]
    figure, grid = panels(
        len(labels),
        len(families),
        height,
        width=grid_width(families),
        left=offset + 6.5,
        bottom=legend_space(families),
        sharex=True,
        sharey="row",
    )
    family_titles(grid[0], families, looks)
    label_rows(grid, labels, offset)
    for ax in grid[-1]:
        ax.set_xlabel(xlabel)
    model_legends(grid[-1], families, looks)
    return figure, grid


def grid_width(families: dict[str, list[str]]) -> float:
    """Return the width of a figure with a column for each family: narrower where there are few."""
    return {1: 84.0, 2: 120.0}.get(len(families), FULL)


def family_titles(axes: Sequence[Axes], families: Iterable[str], looks: dict[str, Look]) -> None:
    """Title each column with its family, in its colour."""
    colors = {look["family"]: look["color"] for look in looks.values()}
    for ax, family in zip(axes, families, strict=True):
        ax.set_title(clipped(family, 22), color=colors.get(family, MUTED))


def reference(ax: Axes, y: float | None, dash: Any = (0, (2, 2))) -> None:
    """Draw a horizontal reference line."""
    if y is not None:
        ax.axhline(y, color=MUTED, lw=0.7, ls=dash, zorder=1)


def ghosts(ax: Axes, lines: Iterable[tuple[Sequence[float], Sequence[float | None]]]) -> None:
    """Draw other models' lines as grey context."""
    x, y = [], []
    for hops, values in lines:
        x += [*hops, math.nan]
        y += [*(math.nan if v is None else v for v in values), math.nan]
    ax.plot(x, y, color=GHOST, lw=0.6, zorder=1)


def clipped(text: str, width: int) -> str:
    """Return the text, cut with an ellipsis where it is longer than `width` characters."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """Return the text broken into at most `lines` lines of `width` characters."""
    parts = textwrap.wrap(text, width, break_long_words=True)
    return "\n".join([*parts[: lines - 1], clipped(" ".join(parts[lines - 1 :]), width)] if len(parts) > lines else parts)

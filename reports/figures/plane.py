"""The plane of the two failures: over-smoothing across, over-squashing up, each model a path along hop distance."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.common import Drawing, clipped, hop_tasks, slug, triple, wrapped
from reports.figures.labels import place_names
from reports.style import FULL, INK, MM, MUTED, RULE, Look, line, panels
from suite.analysis import Analysis

PANELS = 6  # on one page
CAPTION = (
    "The plane of the two failures. Across: over-smoothing, 1 − R, with R the skill of a linear probe for a node's "
    "own token after the last layer under relative noise 10⁻³. Upwards: over-squashing, −log₁₀ of the source's share "
    "of the read-out's sensitivity at trained weights. Each model is a path along hop distance; the number in a mark "
    "is the distance r. Bars: 95 % t-intervals over seeds in both directions, cut at the frame. Filled marks: "
    "condition verdict success; open: any other. Above the broken line: the source is not felt at all (share exactly "
    "zero in every seed)."
)


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return the plane: a panel for each task family and depth rule, in pages of at most six."""
    shown = []
    for task, rows in hop_tasks(analysis):
        for depth, group in rows[rows["hops"].notna()].groupby("depth_label", sort=False):
            panel = {"task": task, "depth": depth, "paths": _paths(group, looks)}
            if panel["paths"]:
                shown.append(panel)
    several = len({panel["depth"] for panel in shown}) > 1
    alt = "Scatter charts of over-squashing against over-smoothing, each model a path along hop distance"
    pages = [shown[i : i + PANELS] for i in range(0, len(shown), PANELS)]
    return [
        Drawing(slug(i, "plane"), {"panels": page, "several": several}, draw, CAPTION, alt, "plane")
        for i, page in enumerate(pages)
    ]


def _paths(rows: pd.DataFrame, looks: dict[str, Look]) -> list[dict[str, Any]]:
    paths = []
    for model, group in rows.groupby("model_label", sort=False):
        points = []
        for _, row in group.sort_values("hops").iterrows():
            blind = bool(row["blind_trained"] and row["blind_trained"] == row["finished"])
            x, y = triple(row["smoothing_trained"]), triple(row["squashing_trained"])
            if x[0] is not None and (y[0] is not None or blind):
                points.append({"hops": int(row["hops"]), "x": x, "y": y, "blind": blind, "success": row["verdict"] == "success"})
        if points:
            paths.append({"model": model, "look": looks[str(model)], "points": points})
    return paths


def draw(data: dict[str, Any]) -> Figure:
    """Draw the panels in two columns; a lone one gets the full width."""
    shown = data["panels"]
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    legend = {path["model"]: path["look"] for panel in shown for path in panel["paths"]}
    head = 4.0 * math.ceil(len(legend) / 4) + 8
    figure, grid = panels(rows, columns, 92 if columns == 1 else 56, left=13, top=head, across=9, down=13, sharex=True)
    for ax in grid.flat[len(shown) :]:
        ax.axis("off")
    handles = [Line2D([], [], label=clipped(model, 26), **line(look, ms=4)) for model, look in legend.items()]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(13 / FULL, 1),
        ncols=4,
        handlelength=2.6,
        columnspacing=1.2,
        labelspacing=0.25,
        borderaxespad=0,
    )
    for ax, panel in zip(grid.flat, shown, strict=False):
        _axes(ax, panel, data["several"])
        _marks(ax, panel)
    tall = figure.get_figheight() / MM
    figure.supxlabel("Over-smoothing: 1 − own-token recoverability at the last layer", fontsize=8, y=1.5 / tall, va="bottom")
    figure.supylabel("Over-squashing: −log₁₀ share of the source, trained", fontsize=8, x=1 / FULL, ha="left")
    return figure


def _axes(ax: Axes, panel: dict[str, Any], several: bool) -> None:
    points = [point for path in panel["paths"] for point in path["points"]]
    seen = [point["y"] for point in points if point["y"][0] is not None]
    most = max([mean for mean, _, _ in seen], default=0)
    top = 1.08 * max([0.5, *(min(high or mean, 1.3 * most) for mean, _, high in seen)])  # long bars run out of the frame
    blind = any(point["blind"] for point in points)
    panel["strip"] = top * 1.06
    ax.set_xlim(-0.07, 1.07)
    ax.set_ylim(-0.1 * top, top * (1.14 if blind else 1.02))
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.tick_params(labelbottom=True)
    ax.grid(False)
    if blind:
        ax.axhline(top, color=RULE, lw=0.7, ls=(0, (4, 2)))
        ax.text(1.07, panel["strip"], "not felt", fontsize=6.5, style="italic", color=MUTED, ha="right", va="center")
    title = f"{panel['task']}, {panel['depth']}" if several else panel["task"]
    ax.set_title(wrapped(title, 56, 2), fontsize=7.5, color=INK)
    spots = [(point["x"][0], (point["y"][0] or 0) / top) for point in points if not point["blind"]]
    for x, y, text in ((0, 0, "neither"), (1, 0, "smoothed"), (0, 1, "squashed"), (1, 1, "squashed and smoothed")):
        if not any(abs(px - x) < 0.45 and abs(py - y) < 0.2 for px, py in spots):
            ax.text(
                1.06 if x else -0.06,
                0.98 * top if y else -0.08 * top,
                text,
                fontsize=6.5,
                style="italic",
                color=MUTED,
                ha="right" if x else "left",
                va="top" if y else "bottom",
            )


def _marks(ax: Axes, panel: dict[str, Any]) -> None:
    names: list[tuple[float, float, str, str]] = []
    spots: list[tuple[float, float]] = []
    for path in panel["paths"]:
        look, points = path["look"], path["points"]
        xs = [point["x"][0] for point in points]
        ys = [panel["strip"] if point["blind"] else point["y"][0] for point in points]
        ax.plot(xs, ys, **line(look, marker="", lw=0.8, alpha=0.8), zorder=2)
        for x, y, point in zip(xs, ys, points, strict=True):
            _bars(ax, x, y, point, look["color"])
            face, ink = (look["color"], "white") if point["success"] else ("white", look["color"])
            ax.plot([x], [y], marker=look["marker"], ms=8, mfc=face, mec=look["color"], mew=0.8, zorder=4)
            ax.text(x, y, str(point["hops"]), fontsize=5, color=ink, ha="center", va="center_baseline", zorder=5)
        spots += [*zip(xs, ys, strict=True), *_along(xs, ys), *_ends(points, ys)]
        names.append((xs[-1], ys[-1], clipped(path["model"], 24), look["color"]))
    place_names(ax, names, spots)


def _along(xs: list[float], ys: list[float]) -> list[tuple[float, float]]:
    """Points on a path between its marks, for names to keep off."""
    pairs = zip(zip(xs, ys, strict=True), zip(xs[1:], ys[1:], strict=True), strict=False)
    return [(a + t * (c - a), b + t * (d - b)) for (a, b), (c, d) in pairs for t in (0.2, 0.4, 0.6, 0.8)]


def _ends(points: list[dict[str, Any]], ys: list[float]) -> list[tuple[float, float]]:
    """Points on the horizontal error bars."""
    bars = [(point["x"], y) for point, y in zip(points, ys, strict=True) if point["x"][1] is not None]
    return [(low + t * (high - low), y) for (_, low, high), y in bars for t in (0, 0.25, 0.75, 1)]


def _bars(ax: Axes, x: float, y: float, point: dict[str, Any], color: str) -> None:
    if point["x"][1] is not None:
        ax.plot(point["x"][1:], [y, y], color=color, lw=0.6, alpha=0.6, zorder=3)
    if point["y"][1] is not None and not point["blind"]:
        ax.plot([x, x], point["y"][1:], color=color, lw=0.6, alpha=0.6, zorder=3)

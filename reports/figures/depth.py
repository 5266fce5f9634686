"""The depth study: test accuracy, train accuracy, smoothing and feature norm against the number of layers."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, StrMethodFormatter

from reports.figures.common import Drawing, band, clipped, number, reference, slug, triple
from reports.metrics import NAMES, SHARES
from reports.published import quoted_depths
from reports.style import INK, MUTED, Look, end_labels, panels
from suite.analysis import Analysis
from suite.analysis.measured import result_of

PANELS = (
    ("score", "Test {}"),
    ("train_score", "Train {}"),
    ("quotient_trained", "log₁₀ Rayleigh quotient, last layer"),
    ("log10_norm_trained", "log₁₀ norm of features, last layer"),
)


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return one drawing for each task of the part "depth" that has a finished cell."""
    rows = analysis.part("depth")
    found = []
    for i, (task, group) in enumerate(rows.groupby("task_label", sort=False)):
        if group["finished"].sum() == 0:
            continue
        data = _data(analysis, group, looks)
        quoted = " Crosses: figures commonly quoted for this study, not ours." if data["quoted"] else ""
        name = NAMES[data["metric"]]
        caption = (
            f"{task} by depth: mean over seeds with 95 % t-bands (cut at the frame), at the weights selected on "
            f"validation.{quoted} Train {name} stands beside test {name} since a loss of both is a failure to "
            "fit, whatever its cause. Dotted: chance. Dashed: Rayleigh quotient of a constant vector."
        )
        found.append(Drawing(slug(i, "depth"), data, draw, caption, f"Line charts of {name} and smoothing by depth", "depth"))
    return found


def _data(analysis: Analysis, rows: pd.DataFrame, looks: dict[str, Look]) -> dict[str, Any]:
    lines = []
    for series, group in rows.groupby("series", sort=False):
        own = group.sort_values("num_layers")
        look = looks[own["model_label"].iloc[0]]
        line: dict[str, Any] = {"model": series, "layers": [int(n) for n in own["num_layers"]], "look": look}
        for name, _ in PANELS:
            line[name] = [triple(v) for v in own[name]]
        line["quotient_trained"] = [[_log(v) for v in row] for row in line["quotient_trained"]]
        lines.append(line)
    constant = None
    for key in (key for keys in rows["keys"] for key in keys):
        constant = constant or number(result_of(analysis.results, key, "smoothing", "trained").get("constant_rq_gcn"))
    chance, ref = float(rows["chance"].iloc[0]), _task_ref(analysis, rows)
    base = dict(zip(rows["base"][::-1], rows["model_label"][::-1], strict=True))
    quoted = [
        quote | {"color": looks[base[quote["model"]]]["color"] if quote["model"] in base else INK} for quote in quoted_depths(ref)
    ]
    metric = rows["metric"].iloc[0]
    return {"lines": lines, "metric": metric, "chance": number(chance), "constant": constant, "quoted": quoted}


def _task_ref(analysis: Analysis, rows: pd.DataFrame) -> dict[str, Any]:
    return next(t["task"] for t in analysis.results.tasks if t["task_key"] == rows["task_key"].iloc[0])


def _log(value: float | None) -> float | None:
    return math.log10(value) if value is not None and value > 0 else None


def draw(data: dict[str, Any]) -> Figure:
    """Draw two or, where smoothing was measured, four panels with the models named at the lines' ends."""
    measured = any(row[0] is not None for line in data["lines"] for row in line["quotient_trained"])
    figure, grid = panels(2 if measured else 1, 2, 46, left=15, right=29, across=44, top=3, sharex=True)
    layers = sorted({n for line in data["lines"] for n in line["layers"]})
    for ax, (name, label) in zip(grid.flat, PANELS, strict=False):
        for line in data["lines"]:
            band(ax, line["layers"], line[name], line["look"])
        ax.set_ylabel(label.format(NAMES[data["metric"]]))
        ax.yaxis.set_label_coords(-0.26, 0.5)
        _layer_axis(ax, layers)
    for ax in grid[0]:
        if data["metric"] in SHARES:
            ax.set_ylim(0, 1.03)
            ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
        else:
            ax.set_ylim(bottom=0)
        reference(ax, data["chance"], (0, (1, 1.5)))
    for quote in data["quoted"]:
        grid[0][0].plot([quote["layers"]], [quote["value"]], "x", color=quote["color"], ms=5, mew=1.2, zorder=5)
    if data["quoted"]:
        grid[0][0].text(0.02, 0.03, "× as quoted, not ours", transform=grid[0][0].transAxes, fontsize=6.5, color=MUTED)
    if measured and data["constant"]:
        reference(grid[1][0], math.log10(data["constant"]), (0, (4, 2)))
    for ax in grid[-1]:
        ax.set_xlabel("Layers")
    for ax, (name, _) in zip(grid.flat, PANELS, strict=False):
        ends = [(line, next((row[0] for row in reversed(line[name]) if row[0] is not None), None)) for line in data["lines"]]
        end_labels(ax, [(end, clipped(line["model"], 22), line["look"]["color"]) for line, end in ends if end is not None], 6.5)
    return figure


def _layer_axis(ax: Axes, layers: list[int]) -> None:
    if min(layers) > 0:
        ax.set_xscale("log", base=2)
        ax.set_xlim(min(layers) / 1.15, max(layers) * 1.05)
    ax.xaxis.set_major_locator(FixedLocator(layers))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))

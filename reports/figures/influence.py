"""Over-squashing against distance: the source's share of the read-out's sensitivity, and the total sensitivity."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.common import (
    Drawing,
    band,
    families_of,
    family_panels,
    hop_axis,
    hop_tasks,
    slug,
    triple,
)
from reports.style import MUTED, Look
from suite.analysis import Analysis

QUANTITIES = (("log10_share", "log₁₀ share"), ("log10_total", "log₁₀ total"))


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return one drawing for each measured task family; the first is for the main text."""
    found: list[Drawing] = []
    for i, (task, rows) in enumerate(hop_tasks(analysis)):
        data = _data(rows[rows["hops"].notna()], looks)
        if not data["looks"]:
            continue
        caption = (
            f"{task}: what the read-out node feels of the source, against hop distance. Share: norm of the Jacobian "
            "from source to read-out over the sum of these norms over all nodes; total: that sum. Solid with 95 % "
            "t-bands over seeds (cut at the frame): trained; thin: at initialisation; grey dots: the share under the "
            "propagation operator, (Sᴸ) row-normalised, which needs no weights; with the skip where layers add to their input, "
            "each by the measured size of what it adds, and without the skip for any other. A line ends where the source is "
            "not felt at all. Rows: rule for the number of layers."
        )
        alt = "Line charts of the log share of the source and of total sensitivity against hop distance, by model family"
        found.append(Drawing(slug(i, "influence"), data, draw, caption, alt, "appendix" if found else "influence"))
    return found


def _data(rows: pd.DataFrame, looks: dict[str, Look]) -> dict[str, Any]:
    lines = []
    for (model, depth), group in rows.groupby(["model_label", "depth_label"], sort=False):
        own = group.sort_values("hops")
        line: dict[str, Any] = {"model": model, "depth": depth, "hops": [int(h) for h in own["hops"]]}
        for name, _ in QUANTITIES:
            line |= {f"{name}_{s}": [triple(v) for v in own[f"{name}_{s}"]] for s in ("initial", "trained")}
        line["operator"] = [triple(v) for v in own["log10_operator_share_initial"]]
        if any(v[0] is not None for v in line["log10_share_trained"] + line["log10_total_trained"]):
            lines.append(line)
    kept = rows[rows["model_label"].isin([line["model"] for line in lines])]
    return {
        "depths": list(dict.fromkeys(kept["depth_label"])),
        "families": families_of(kept),
        "lines": lines,
        "looks": {model: looks[model] for model in dict.fromkeys(line["model"] for line in lines)},
    }


def draw(data: dict[str, Any]) -> Figure:
    """Draw a row of panels for each quantity and depth rule and a column for each family."""
    families, looks = data["families"], data["looks"]
    rows = [(name, label, depth) for name, label in QUANTITIES for depth in data["depths"]]
    labels = [f"{label}\n{depth}" if len(data["depths"]) > 1 else label for _, label, depth in rows]
    figure, grid = family_panels(data, labels, 23, "Hop distance r", 9)
    for axes, (name, _, depth) in zip(grid, rows, strict=True):
        for ax, models in zip(axes, families.values(), strict=True):
            for line in data["lines"]:
                if line["model"] in models and line["depth"] == depth:
                    look = looks[line["model"]]
                    if name == "log10_share":
                        grey = look | {"color": MUTED}
                        band(ax, line["hops"], line["operator"], grey, marks=False, ls=(0, (0.8, 1.6)), lw=1.0)
                    initial = [[v[0], None, None] for v in line[f"{name}_initial"]]
                    band(ax, line["hops"], initial, look, marks=False, lw=0.6, alpha=0.7)
                    band(ax, line["hops"], line[f"{name}_trained"], look)
    hops = sorted({hop for line in data["lines"] for hop in line["hops"]})
    for ax in grid[-1]:
        hop_axis(ax, hops)
    return figure

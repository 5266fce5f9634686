"""Accuracy against hop distance: one figure a task, one panel a model, one dot a seed."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from reports.figures.common import (
    Drawing,
    clipped,
    families_of,
    ghosts,
    hop_axis,
    hop_tasks,
    number,
    percent_axis,
    slug,
)
from reports.metrics import SHARES, comparable
from reports.style import DASHES, FULL, INK, MM, MUTED, Look, panels, width_of
from suite.analysis import Analysis


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return one drawing for each task family."""
    found = []
    for i, (task, rows) in enumerate(hop_tasks(analysis)):
        data = _data(analysis, rows, looks)
        score = f"test {comparable(data['metric'])}"
        caption = (
            f"{task}: solve rate and {score} against hop distance. Lines join the share of finished seeds that solve "
            f"the task; bars are exact (Clopper-Pearson) 95 % intervals of that rate; each small dot is the {score} "
            "of one seed; thin grey lines repeat the other models; the dotted line is chance."
        )
        if len(data["depths"]) > 1:
            caption += " Dashes and filled or open marks tell the depth rules apart."
        alt = f"Small charts of solve rate against hop distance, one for each of {len(data['panels'])} models"
        found.append(Drawing(slug(i, "hops"), data, draw, caption, alt, "hops"))
    return found


def _data(analysis: Analysis, rows: pd.DataFrame, looks: dict[str, Look]) -> dict[str, Any]:
    cells = analysis.results.by_key()
    metric = rows["metric"].iloc[0]
    classes = metric in SHARES
    column = "test_score" if classes else "test_skill"
    depths = list(dict.fromkeys(rows["depth_label"]))
    models_drawn = []
    for models in families_of(rows).values():
        for model in models:
            own = rows[rows["model_label"] == model].sort_values("hops", kind="stable")
            lines = [_line(own[own["depth_label"] == depth], cells, column, depth) for depth in depths]
            models_drawn.append({"model": model, "look": looks[model], "lines": [line for line in lines if line["hops"]]})
    chance = rows.drop_duplicates("hops").sort_values("hops")
    level = chance["chance"] if classes else chance["chance"] * 0
    return {
        "metric": metric,
        "depths": depths,
        "panels": models_drawn,
        "chance": {"hops": _ints(chance["hops"]), "level": [number(v) for v in level]},
    }


def _line(own: pd.DataFrame, cells: pd.DataFrame, column: str, depth: str) -> dict[str, Any]:
    return {
        "depth": depth,
        "hops": _ints(own["hops"]),
        "rate": [number(v) for v in own["rate"]],
        "low": [number(v) for v in own["rate_low"]],
        "high": [number(v) for v in own["rate_high"]],
        "finished": [int(v) for v in own["finished"]],
        "seeds": [[number(v) for v in cells.loc[keys, column]] if keys else [] for keys in own["keys"]],
    }


def _ints(values: Any) -> list[int]:
    return [0 if math.isnan(v) else int(v) for v in values]


def draw(data: dict[str, Any]) -> Figure:
    """Draw the grid of model panels."""
    models, depths = data["panels"], data["depths"]
    columns = min(len(models), min((4, 3, 5), key=lambda c: -len(models) % c))  # as few empty places as may be
    rows = math.ceil(len(models) / columns)
    width = {1: 84.0, 2: 120.0}.get(columns, FULL)
    figure, grid = panels(
        rows, columns, 22, width=width, left=19, down=8, top=11 if len(depths) > 1 else 6, sharex=True, sharey=True
    )
    for ax in grid.flat[len(models) :]:
        ax.axis("off")
    for i, (ax, model) in enumerate(zip(grid.flat, models, strict=False)):
        others = [line for other in models if other is not model for line in other["lines"]]
        ghosts(ax, [(line["hops"], line["rate"]) for line in others])
        _panel(ax, model, data, depths)
        ax.tick_params(labelbottom=i + columns >= len(models))
    tall = figure.get_figheight() / MM
    figure.supxlabel("Hop distance r", fontsize=8, y=1.5 / tall, va="bottom")
    dots = f"test {SHARES.get(data['metric'], 'skill')}"
    rate = "Share of seeds that solve it" if rows > 1 else "Solve rate"  # one row of panels has no room for the long one
    figure.supylabel(f"{rate} (line)\n{dots} (dots)", fontsize=8, x=1 / width, ha="left", linespacing=1.3)
    if len(depths) > 1:
        handles = [Line2D([], [], color=INK, label=depth, **_depth_style(i, INK)) for i, depth in enumerate(depths)]
        figure.legend(handles=handles, loc="upper right", ncols=len(depths), handlelength=2.8, borderaxespad=0)
    return figure


def _depth_style(index: int, color: str) -> dict[str, Any]:
    return {"ls": DASHES[index % 4], "marker": "o", "ms": 3.6, "mew": 0.9, "mfc": color if index % 2 == 0 else "white"}


def _panel(ax: Axes, panel: dict[str, Any], data: dict[str, Any], depths: list[str]) -> None:
    color, hops, level = panel["look"]["color"], data["chance"]["hops"], data["chance"]["level"]
    ends = [min(hops) / 10, 10 * max(hops)]
    ax.plot([ends[0], *hops, ends[1]], [level[0], *level, level[-1]], color=MUTED, lw=0.7, ls=(0, (1, 1.5)), zorder=1)
    hop_axis(ax, hops)
    percent_axis(ax)
    ax.set_title(clipped(panel["model"], int((width_of(ax) + 4) / 1.3)), color=color, fontsize=7.5)
    for line in panel["lines"]:
        i = depths.index(line["depth"])
        aside = 1.0 * (i - (len(depths) - 1) / 2)  # mm: depth rules beside each other
        known = [j for j, n in enumerate(line["finished"]) if n]
        ax.vlines(
            [line["hops"][j] for j in known],
            [line["low"][j] for j in known],
            [line["high"][j] for j in known],
            color=color,
            lw=0.7,
            alpha=0.45,
            transform=_moved(ax, aside),
        )
        rate = [math.nan if v is None else v for v in line["rate"]]
        ax.plot(line["hops"], rate, color=color, **_depth_style(i, color), clip_on=False, transform=_moved(ax, aside))
        for k in range(max((len(seeds) for seeds in line["seeds"]), default=0)):
            dots = [(h, s[k]) for h, s in zip(line["hops"], line["seeds"], strict=True) if k < len(s) and s[k] is not None]
            spot = aside + (0.7 * (k // 2) + 0.9) * (-1) ** k
            ax.plot(
                [h for h, _ in dots],
                [min(max(v, -0.03), 1.05) for _, v in dots],
                ".",
                color=color,
                ms=4.2,
                mec="white",
                mew=0.35,
                clip_on=False,
                zorder=5,
                transform=_moved(ax, spot),
            )


def _moved(ax: Axes, millimetres: float) -> Transform:
    """Data coordinates, moved sideways on the paper."""
    assert ax.figure is not None
    return ax.transData + ScaledTranslation(millimetres * MM, 0, ax.figure.dpi_scale_trans)

"""Published accuracies and ours against hop distance, under the published settings."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.common import Drawing, clipped, hop_axis, number, percent_axis, triple, wrapped
from reports.published import cards_of
from reports.style import FULL, INK, MUTED, Look, panels
from suite.analysis import Analysis

COLUMNS = 3


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return one drawing with a panel for each task family and model that has published numbers."""
    cards = [card for card in cards_of(analysis) if card["condition"]["finished"]]
    if not cards:
        return []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for card in cards:
        groups.setdefault((card["condition"]["task_label"], card["condition"]["model_label"]), []).append(card)
    shown = [{"task": t, "model": m, "look": looks[m], "points": _points(analysis, g)} for (t, m), g in groups.items()]
    caption = (
        "Published settings: our accuracy against hop distance (dots: seeds; line: mean; bars: 95 % t-interval) "
        "beside the published value (cross). Dotted: chance."
    )
    alt = "Line charts of our and published accuracy against hop distance"
    return [Drawing("reproduction", {"panels": shown}, draw, caption, alt, "reproduction")]


def _points(analysis: Analysis, cards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    cells = analysis.results.by_key()
    points = []
    for card in sorted(cards, key=lambda c: float(c["condition"]["hops"])):
        row, published = card["condition"], card["card"]
        seeds = cells.loc[row["keys"], f"{published.split}_score"]
        points.append(
            {
                "hops": int(row["hops"]),
                "published": published.value,
                "ours": triple(card["ours"]),
                "seeds": [number(v) for v in seeds],
                "chance": number(row["chance"]),
                "split": published.split,
            }
        )
    return points


def draw(data: dict[str, Any]) -> Figure:
    """Draw a panel for each task and model."""
    shown = data["panels"]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, grid = panels(rows, columns, 36, width=84 if columns == 1 else FULL, left=14, across=14, down=18, top=9)
    for ax in grid.flat[len(shown) :]:
        ax.axis("off")
    for ax, panel in zip(grid.flat, shown, strict=False):
        _panel(ax, panel)
    return figure


def _panel(ax: Axes, panel: dict[str, Any]) -> None:
    points, color = panel["points"], panel["look"]["color"]
    hops = [point["hops"] for point in points]
    ax.plot(hops, [point["chance"] for point in points], color=MUTED, lw=0.7, ls=(0, (1, 1.5)))
    ax.plot(hops, [point["ours"][0] for point in points], color=color, marker="o", mfc="white", mew=0.9)
    for point in points:
        if point["ours"][1] is not None:
            ax.plot([point["hops"]] * 2, point["ours"][1:], color=color, lw=0.8, alpha=0.5)
        seeds = [seed for seed in point["seeds"] if seed is not None]
        ax.plot([point["hops"]] * len(seeds), seeds, ".", color=color, ms=2.6, mew=0)
    ax.plot(hops, [point["published"] for point in points], "x", color=INK, ms=4.5, mew=1.1)
    hop_axis(ax, hops)
    percent_axis(ax)
    ax.set_xlabel("Hop distance r")
    ax.set_ylabel(f"{points[0]['split'].capitalize()} accuracy")
    ax.set_title(wrapped(panel["task"], 38, 2) + "\n" + clipped(panel["model"], 34), fontsize=7.5, color=color)

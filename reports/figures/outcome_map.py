"""The outcome map: every condition of the study as one disc, filled by the share of its seeds that solve the task."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Wedge

from reports.figures.common import Drawing, clipped, hop_tasks, slug, wrapped
from reports.style import FULL, GRID, INK, MM, MUTED, Look
from suite.analysis import Analysis

ROW, COLUMN, LABEL, HEAD, GAP = 4.3, 4.9, 44.0, 15.0, 3.0  # mm
MAX_ROWS = 48


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return the map, in as many parts as rows and columns need."""
    tasks = hop_tasks(analysis)
    if not tasks:
        return []
    hops = analysis.part("hops")
    series = list(dict.fromkeys(zip(hops["series"], hops["model_label"], strict=True)))
    blocks = [_block(analysis, task, rows) for task, rows in tasks]
    parts = [
        {"rows": [[name, looks[model]["color"], looks[model]["family"]] for name, model in names], "tasks": group}
        for group in _grouped(blocks)
        for names in _chunks(_asked(series, group), MAX_ROWS)
    ]
    return [
        Drawing(slug(i, "outcome_map"), part, draw, CAPTION, "Grid of discs, one a condition, filled by solve rate", "hops")
        for i, part in enumerate(parts)
    ]


CAPTION = (
    "Outcome of every condition. Rows are models (with the rule for the number of layers L where there are several), "
    "columns hop distances r; the filled share of a disc is the share of its finished seeds that solve the task "
    "(test skill of at least 0.9). Dashed rim: some planned seeds did not finish; small cross: none did. In italics: "
    "what the task's certificate says."
)


def _block(analysis: Analysis, task: str, rows: Any) -> dict[str, Any]:
    certificates = analysis.results.certificates
    verdicts = dict.fromkeys(certificates[k]["verdict"] for k in rows["task_key"] if k in certificates)
    cells = [
        [
            row["series"],
            int(row["hops"]) if row["hops"] == row["hops"] else 0,
            row["solved"],
            row["finished"],
            row["planned"],
        ]
        for _, row in rows.iterrows()
    ]
    hops = sorted({cell[1] for cell in cells})
    return {"task": task, "verdict": " / ".join(verdicts) or "not certified yet", "hops": hops, "cells": cells}


def _asked(series: list[tuple[str, str]], blocks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return those of `series` that were planned on some task of the blocks."""
    planned = {name for block in blocks for name, *_ in block["cells"]}
    return [(name, model) for name, model in series if name in planned]


def _width(block: dict[str, Any]) -> float:
    return max(COLUMN * len(block["hops"]), 23.0)


def _grouped(blocks: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Spread the blocks over as few figures as hold them, about evenly."""
    needed = sum(_width(block) + GAP for block in blocks)
    share = needed / math.ceil(needed / (FULL - LABEL + GAP))
    groups: list[list[dict[str, Any]]] = [[]]
    for block in blocks:
        used = sum(_width(b) + GAP for b in groups[-1])
        if groups[-1] and (used >= share or LABEL + used + _width(block) > FULL):
            groups.append([])
        groups[-1].append(block)
    return groups


def _chunks(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def draw(data: dict[str, Any]) -> Figure:
    """Draw in millimetres: the axes are the paper."""
    rows = data["rows"]
    gaps = [1.4 * len({family for _, _, family in rows[: i + 1]}) for i in range(len(rows))]
    height = HEAD + ROW * len(rows) + gaps[-1]
    figure = Figure(figsize=(FULL * MM, height * MM))
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, FULL), ylim=(height, 0))
    ax.axis("off")
    at = {name: HEAD + ROW * (i + 0.5) + gaps[i] - 1.4 for i, (name, _, _) in enumerate(rows)}
    left, blocks = LABEL, data["tasks"]
    spare = FULL - LABEL + GAP - sum(_width(block) + GAP for block in blocks)
    for block in blocks:
        width = _width(block) + min(spare / len(blocks), 12)
        _draw_block(ax, block, left, width, at, {name: color for name, color, _ in rows})
        left += width + GAP
    for name, color, _ in rows:
        ax.text(LABEL - 3, at[name], clipped(name, 38), ha="right", va="center", color=color, fontsize=7)
        ax.plot([LABEL - 1, left - GAP], [at[name]] * 2, color=GRID, lw=0.5, zorder=0)
    return figure


def _draw_block(ax: Axes, block: dict[str, Any], left: float, width: float, at: dict[str, float], color: dict[str, str]) -> None:
    step = width / len(block["hops"])
    chars = int(width / 1.3)
    ax.text(
        left,
        0.6,
        wrapped(block["task"], chars, 2),
        fontsize=7,
        fontweight="semibold",
        va="top",
        color=INK,
        linespacing=1.1,
    )
    ax.text(left, 10.1, clipped(block["verdict"], int(width / 1.05)), fontsize=6.5, style="italic", va="bottom", color=MUTED)
    for i, hop in enumerate(block["hops"]):
        ax.text(left + step * (i + 0.5), HEAD - 1.6, str(hop), fontsize=7, ha="center", va="center", color=MUTED)
    for name, hop, solved, finished, planned in block["cells"]:
        if name not in at:
            continue
        x, y = left + step * (block["hops"].index(hop) + 0.5), at[name]
        if not finished:
            ax.plot([x], [y], marker="x", color=MUTED, ms=3, mew=0.7)
            continue
        rim = "-" if finished == planned else (0, (1.5, 1.2))
        ax.add_patch(Circle((x, y), 1.65, fc="white", ec=color[name], lw=0.8, ls=rim))
        if solved:  # y runs downwards, so angles do too: clockwise from the top
            ax.add_patch(Wedge((x, y), 1.65, -90, -90 + 360 * solved / finished, fc=color[name], lw=0))

"""How figures look: colour says the family, marker and dash the model, also in grey and for colour-blind readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

FONTS = Path(__file__).parent / "fonts"
FONT = "Source Sans Pro"
MM = 1 / 25.4
FULL = 166.0  # mm: the text width of an A4 page with 22 mm margins; figures are drawn at this size, never scaled

INK, MUTED, RULE, GRID, GHOST = "#1a1a1a", "#595959", "#8c8c8c", "#e3e3e3", "#d4d4d4"
ACCENT = "#2166AC"

# One hue a family, at least 3:1 against white; the worst pair stays CIEDE2000 > 15 under simulated colour blindness.
FAMILY = {
    "MPNN": "#2166AC",
    "Deep MPNN": "#D55E00",
    "Rewired": "#1B9E77",
    "Transformer": "#5E1A54",
    "Control": "#595959",
}
SPARE = ("#8A6D00", "#A6325A", "#3B7A8C")  # families that a stranger's model brings
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))

Look = dict[str, Any]  # "family", "color", "marker", "dash"


def looks(families: Sequence[tuple[str, str]]) -> dict[str, Look]:
    """Give each of the (model, family) pairs its colour, and within the family its own marker and dash."""
    strange = sorted({family for _, family in families} - set(FAMILY))
    color = FAMILY | {family: SPARE[i % len(SPARE)] for i, family in enumerate(strange)}
    members: dict[str, list[str]] = {}
    for model, family in dict.fromkeys(families):
        members.setdefault(family, []).append(model)
    return {
        model: {"family": family, "color": color[family], "marker": MARKERS[i % 8], "dash": DASHES[i % 4]}
        for family, models in members.items()
        for i, model in enumerate(models)
    }


@contextmanager
def style() -> Iterator[None]:
    """Draw within this: the settings of all figures, undone afterwards."""
    _add_fonts()
    settings: dict[str, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": [FONT, "DejaVu Sans"],
        "font.size": 8,
        "text.parse_math": False,  # names are a user's: "$" must not start mathematics
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "axes.edgecolor": RULE,
        "axes.linewidth": 0.6,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": GRID,
        "grid.linewidth": 0.5,
        "axes.axisbelow": True,
        "axes.ymargin": 0.12,
        "axes.titlelocation": "left",
        "axes.titleweight": "semibold",
        "axes.titlepad": 4,
        "axes.titley": 1.0,  # else each title is placed by measuring all ticks
        "lines.linewidth": 1.3,
        "lines.markersize": 3.6,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "hopscope",
        "axes.unicode_minus": True,
    }
    with matplotlib.rc_context(settings):  # type: ignore[arg-type]
        yield


@cache
def _add_fonts() -> None:
    for path in sorted(FONTS.glob("*.ttf")):
        font_manager.fontManager.addfont(path)


def panels(
    rows: int,
    columns: int,
    height: float,
    *,
    width: float = FULL,
    left: float = 14,
    right: float = 2,
    top: float = 6,
    bottom: float = 11,
    across: float = 5,
    down: float = 5,
    **share: Any,
) -> tuple[Figure, Any]:
    """Return a figure and its grid of axes [rows, columns], each panel `height` high; all lengths in millimetres.

    Places are given, not found by a layout engine: panels of one report line up, and drawing takes half the time.
    """
    tall = top + bottom + rows * height + (rows - 1) * down
    figure = Figure(figsize=(width * MM, tall * MM))
    wide = (width - left - right - (columns - 1) * across) / columns
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        **share,
        gridspec_kw={
            "left": left / width,
            "right": 1 - right / width,
            "top": 1 - top / tall,
            "bottom": bottom / tall,
            "wspace": across / wide,
            "hspace": down / height,
        },
    )
    return figure, grid


def label_rows(grid: Any, labels: Sequence[str], offset: float = 10.5) -> None:
    """Label the y axes of the first column, all at `offset` millimetres from it."""
    for axes, label in zip(grid, labels, strict=True):
        ax = axes[0]
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.set_ylabel(label)
        ax.yaxis.set_label_coords(-offset / width_of(ax), 0.5)


def width_of(ax: Axes) -> float:
    """Return how wide axes are on the paper, in millimetres."""
    return float(ax.get_window_extent().width / ax.figure.dpi / MM)


def line(look: Look, **changes: Any) -> dict[str, Any]:
    """Return the arguments of `Axes.plot` for a model's line."""
    dash = look["dash"] if isinstance(look["dash"], str) else (look["dash"][0], tuple(look["dash"][1]))
    return {"color": look["color"], "marker": look["marker"], "ls": dash, "mfc": "white", "mew": 0.9} | changes


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions near the wanted ones, in their order, at least `gap` apart where they fit between the limits."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = [min(max(wanted[i], low), high) for i in order]
    for _ in range(200):
        moved = False
        for i in range(1, len(places)):
            lack = gap - (places[i] - places[i - 1])
            if lack > 1e-9:
                places[i - 1], places[i], moved = places[i - 1] - lack / 2, places[i] + lack / 2, True
        places = [min(max(place, low), high) for place in places]
        if not moved:
            break
    result = [0.0] * len(wanted)
    for i, place in zip(order, places, strict=True):
        result[i] = place
    return result


def end_labels(ax: Axes, items: Sequence[tuple[float, str, str]], size: float = 7) -> None:
    """Write (y, text, colour) right of the axes, pushed apart, with hairline leaders; call when all else is drawn."""
    box = ax.get_window_extent()
    width, height = box.width / ax.figure.dpi * 72, box.height / ax.figure.dpi * 72  # points
    to_axes = ax.transAxes.inverted()
    wanted = [float(to_axes.transform(ax.transData.transform((ax.get_xlim()[1], y)))[1]) for y, _, _ in items]
    for (_, text, color), start, end in zip(items, wanted, spread(wanted, (size + 1.5) / height, 0, 1), strict=True):
        ax.plot([1.01, 1 + 12 / width], [start, end], transform=ax.transAxes, color=color, lw=0.5, clip_on=False)
        ax.text(1 + 14 / width, end, text, transform=ax.transAxes, color=color, fontsize=size, va="center")

"""The figure of a diagnosis: what is felt by hop, and what becomes of the states by layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from suite.diagnosis.words import SKIPS, Measures, roughness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from suite.diagnosis.shown import Shown

SIZE = (6.54, 3.6)  # inches: the text width of an A4 page
MODEL, BESIDE = "#2166AC", "#595959"
Values = list[float | None]
SKILL = "Own token read off, skill"
PANELS = (
    ("Share of sensitivity, log₁₀", "hops"),
    ("Influence of one node, log₁₀", "hops"),
    ("Rayleigh quotient, log₁₀", "layer"),
    ("Effective rank, centred", "layer"),
    (SKILL, "layer"),
    ("Gradient, log₁₀ norm", "layer"),
)


def draw(data: dict[str, Any]) -> Shown:
    """Draw six panels from {"measures": ..., "initial": ..., "num_layers": ...}; one whose measure is not there says so.

    What the same model is untrained is a dashed line, where that is known.
    """
    from suite.diagnosis.shown import Shown  # here: the engine does without matplotlib, which is an extra

    measures: Measures = data["measures"]
    smoothing = measures.get("smoothing", {})
    known = bool(smoothing) and smoothing["rq_complete"][-1] is not None
    judged = roughness(smoothing) if known else None
    null: Values | None = [judged.null] * len(judged.values) if judged else None
    alone = measures.get("operator_share", {})
    name = alone.get("operator", "")
    operator = f"{name}{SKIPS[alone['skips']]}" if alone and alone["skips"] != "none" else f"bare {name}"
    beside = {0: (_log(alone.get("share")), operator), 2: (_log(null), "random rows")}
    figure = Shown(figsize=SIZE, layout="constrained")
    panels = zip(figure.subplots(2, 3).flat, PANELS, _lines(measures), _lines(data["initial"]), strict=True)
    for place, (ax, (title, axis), values, before) in enumerate(panels):
        title = f"{judged.title}, log₁₀" if judged and place == 2 else title
        _line(ax, title, axis, values, {"untrained": before} | {name: line for line, name in [beside.get(place, (None, ""))]})
    return figure


def _lines(measures: Measures) -> list[Values | None]:
    """Return what each panel shows."""
    influence, smoothing = measures.get("influence", {}), measures.get("smoothing", {})
    return [
        _log(influence.get("share")),
        influence.get("log10_norm"),
        _log(roughness(smoothing).values) if smoothing else None,
        smoothing.get("effective_rank_centred"),
        measures.get("recoverability", {}).get("by_layer", {}).get("0.001"),
        _log(measures.get("gradient", {}).get("norm")),
    ]


def _line(ax: Axes, title: str, axis: str, values: Values | None, beside: dict[str, Values | None]) -> None:
    """Draw `values` against their place, gaps where one is None, and the lines `beside` them by their names."""
    from matplotlib.ticker import MaxNLocator

    ax.set_title(title, fontsize=8, loc="left")
    ax.set_xlabel(axis, fontsize=8)
    ax.tick_params(labelsize=7)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if not values or all(value is None for value in values):
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", fontsize=8, color=BESIDE)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    for name, line in beside.items():
        if line and any(value is not None for value in line):
            style = "--" if name == "untrained" else ":"
            label = name if name != "untrained" or title == PANELS[0][0] else "_untrained"  # explained once
            ax.plot(range(len(line)), _gaps(line), color=BESIDE, linestyle=style, linewidth=1.2, label=label)
    ax.plot(range(len(values)), _gaps(values), color=MODEL, marker="o", markersize=3.5, linewidth=1.3)
    if title == SKILL:
        ax.set_ylim(min(-0.05, *ax.get_ylim()), 1.05)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7, frameon=False)


def _gaps(values: Values) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _log(values: Values | None) -> Values | None:
    return None if values is None else [math.log10(value) if value else None for value in values]

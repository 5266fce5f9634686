"""The figure of a diagnosis: what is felt by hop, and what becomes of the states by layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from suite.diagnosis.words import Measures, quotient_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (6.54, 3.6)  # inches: the text width of an A4 page
MODEL, BESIDE = "#2166AC", "#595959"
Values = list[float | None]


def draw(data: dict[str, Any]) -> Figure:
    """Draw six panels from {"measures": ..., "num_layers": ...}; one whose measure is not there says so."""
    from matplotlib.figure import Figure  # here: the engine does without matplotlib, which is an extra

    measures: Measures = data["measures"]
    figure = Figure(figsize=SIZE, layout="constrained")
    panels = figure.subplots(2, 3)
    _influence(panels[0, 0], panels[0, 1], measures)
    _smoothing(panels[0, 2], panels[1, 0], measures)
    _line(panels[1, 1], "Own token read off, skill", "layer", measures.get("recoverability", {}).get("by_layer", {}).get("0.001"))
    _line(panels[1, 2], "Gradient, log₁₀ norm", "layer", _log(measures.get("gradient", {}).get("norm")))
    return figure


def _influence(share: Axes, norm: Axes, measures: Measures) -> None:
    found, operator = measures.get("influence", {}), measures.get("operator_share", {})
    _line(share, "Share of sensitivity, log₁₀", "hops", _log(found.get("share")), _log(operator.get("share")), "bare operator")
    _line(norm, "Influence of one node, log₁₀", "hops", found.get("log10_norm"))


def _smoothing(quotient: Axes, rank: Axes, measures: Measures) -> None:
    found = measures.get("smoothing", {})
    values: Values | None = None
    null: Values | None = None
    if found and found["rq_complete"][-1] is not None:
        operator = quotient_of(found)
        values = _log(found[f"rq_{operator}"])
        null = _log([found[f"null_rq_{operator}"]] * len(found[f"rq_{operator}"]))
    _line(quotient, "Rayleigh quotient, log₁₀", "layer", values, null, "random rows")
    _line(rank, "Effective rank, centred", "layer", found.get("effective_rank_centred"))


def _line(ax: Axes, title: str, axis: str, values: Values | None, beside: Values | None = None, label: str = "") -> None:
    """Draw `values` against their place, gaps where one is None, and another line `beside` them."""
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
    if beside:
        ax.plot(range(len(beside)), _gaps(beside), color=BESIDE, linestyle=":", linewidth=1.2, zorder=3, label=label)
    ax.plot(range(len(values)), _gaps(values), color=MODEL, marker="o", markersize=3.5, linewidth=1.3)
    if beside:
        ax.legend(fontsize=7, frameon=False)


def _gaps(values: Values) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _log(values: Values | None) -> Values | None:
    return None if values is None else [math.log10(value) if value else None for value in values]

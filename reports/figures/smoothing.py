"""Over-smoothing by depth: four quantities after each layer, before and after training."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.common import (
    Drawing,
    band,
    families_of,
    family_panels,
    hop_tasks,
    number,
    reference,
    slug,
    triple,
)
from reports.style import Look
from suite.analysis import Analysis
from suite.analysis.measured import STATES, layer_profile, result_of

ROWS = (  # quantity, label, mean of logs
    ("quotient", "log₁₀ Rayleigh\nquotient", True),
    ("recoverability", "Own token\nrecoverable", False),
    ("effective_rank", "Effective\nrank", False),
    ("feature_norm", "log₁₀ norm\nof features", True),
)
FLOOR = -12.0  # log10 below which a quotient is rounding


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return one drawing for each measured task family; the first is for the main text."""
    found: list[Drawing] = []
    for i, (task, rows) in enumerate(hop_tasks(analysis)):
        chosen = hardest(rows)
        data = _data(analysis, chosen, looks)
        if not data["models"]:
            continue
        caption = (
            f"{task} at its largest distance, r = {data['hops']}, and the deepest models run there: features after "
            "each layer (0: after the encoder). Solid with 95 % t-bands over seeds (cut at the frame): trained; "
            "thin: at initialisation. The Rayleigh quotient is that of the model's own operator (over all nodes "
            "where it has none); dashed: the value of a constant vector under the GCN operator; dotted: random "
            "features. Recoverability: skill of a linear probe for a node's own token under relative noise 10⁻³. "
            "Quotients below 10⁻¹² are drawn there."
        ) + unmeasured(chosen, data["models"])
        alt = "Line charts of Rayleigh quotient, recoverability, effective rank and feature norm against layer, by model family"
        found.append(Drawing(slug(i, "smoothing"), data, draw, caption, alt, "appendix" if found else "smoothing"))
    return found


def unmeasured(rows: pd.DataFrame, models: dict[str, Any]) -> str:
    """Name the models that a figure of the hardest conditions has to leave out."""
    lost = [model for model in rows["model_label"] if model not in models]
    return f" Not measured there: {', '.join(lost)}." if lost else ""


def hardest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one condition a model: at the largest distance of the task, and the deepest there."""
    farthest = rows[rows["hops"] == rows["hops"].max()] if rows["hops"].notna().any() else rows
    deepest = farthest.sort_values("num_layers", kind="stable").groupby("model_label", sort=False).tail(1)
    return deepest.sort_values("family_order", kind="stable")


def _data(analysis: Analysis, rows: pd.DataFrame, looks: dict[str, Look]) -> dict[str, Any]:
    results, models = analysis.results, {}
    constant = null = None
    for _, row in rows.iterrows():
        profiles = {
            quantity: {s: [triple(v) for v in layer_profile(results, row["keys"], s, quantity, logs)] for s in STATES}
            for quantity, _, logs in ROWS
        }
        if any(profiles[quantity]["trained"] for quantity in profiles):
            models[row["model_label"]] = profiles
        for key in row["keys"]:
            smoothing = result_of(results, key, "smoothing", "initial")
            if smoothing.get("operator") == "gcn" and constant is None:
                constant = number(smoothing.get("constant_rq_gcn"))
            null = null or number(smoothing.get("null_rq_gcn"))
    kept = rows[rows["model_label"].isin(models)]
    return {
        "hops": None if kept.empty or kept["hops"].isna().all() else int(kept["hops"].iloc[0]),
        "families": families_of(kept),
        "models": models,
        "constant": constant,
        "null": null,
        "looks": {model: looks[model] for model in models},
    }


def draw(data: dict[str, Any]) -> Figure:
    """Draw a row of panels for each quantity and a column for each family."""
    figure, grid = family_panels(data, [label for _, label, _ in ROWS], 22, "Layer", 10.5)
    for axes, (quantity, _, _) in zip(grid, ROWS, strict=True):
        for ax, models in zip(axes, data["families"].values(), strict=True):
            _panel(ax, [(data["models"][m][quantity], data["looks"][m]) for m in models], quantity)
            if quantity == "quotient":
                reference(ax, _log(data["constant"]), (0, (4, 2)))
                reference(ax, _log(data["null"]), (0, (1, 1.5)))
            if quantity == "recoverability":
                ax.set_ylim(-0.05, 1.05)
    for ax in grid[-1]:
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


def _panel(ax: Axes, lines: list[tuple[dict[str, Any], Look]], quantity: str) -> None:
    for profile, look in lines:
        for state in STATES:
            rows = profile[state]
            if quantity == "quotient":
                rows = [[None if v is None else max(v, FLOOR) for v in row] for row in rows]
            trained = state == "trained"
            if not trained:
                rows = [[row[0], None, None] for row in rows]
            band(ax, range(len(rows)), rows, look, marks=trained, lw=1.2 if trained else 0.6, alpha=1 if trained else 0.7)


def _log(value: float | None) -> float | None:
    return math.log10(value) if value else None

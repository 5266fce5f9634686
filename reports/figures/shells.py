"""Where a read-out node looks: its sensitivity by hop, in the hardest conditions."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.common import (
    Drawing,
    band,
    families_of,
    family_panels,
    hop_tasks,
    slug,
    triple,
)
from reports.figures.smoothing import hardest, unmeasured
from reports.style import MUTED, Look
from suite.analysis import Analysis
from suite.analysis.measured import STATES, hop_profile


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return one drawing for each measured task family; the first is for the main text."""
    found: list[Drawing] = []
    for i, (task, rows) in enumerate(hop_tasks(analysis)):
        chosen = hardest(rows)
        data = _data(analysis, chosen, looks)
        if not data["models"]:
            continue
        at = "" if data["hops"] is None else f" at r = {data['hops']}"
        caption = (
            f"{task}{at}, the deepest models run there: share of the read-out's sensitivity that falls on the nodes k "
            "hops away (sum over the shell, mean of log₁₀ over seeds). Solid with 95 % t-bands (cut at the frame): "
            "trained; thin: at initialisation; grey dots: the propagation operator. The vertical line marks the "
            "source's distance; a line ends where the share is exactly zero."
        ) + unmeasured(chosen, data["models"])
        alt = "Line charts of the log share of sensitivity against hops from the read-out node, by model family"
        found.append(Drawing(slug(i, "shells"), data, draw, caption, alt, "appendix" if found else "influence"))
    return found


def _data(analysis: Analysis, rows: pd.DataFrame, looks: dict[str, Look]) -> dict[str, Any]:
    results, models = analysis.results, {}
    for _, row in rows.iterrows():
        profile = {s: [triple(v) for v in hop_profile(results, row["keys"], "influence", s, "share", True)] for s in STATES}
        operator = hop_profile(results, row["keys"][:1], "operator_share", "initial", "share", True)
        if profile["trained"]:
            models[row["model_label"]] = profile | {"operator": [triple(v) for v in operator]}
    kept = rows[rows["model_label"].isin(models)]
    return {
        "hops": None if kept.empty or kept["hops"].isna().all() else int(kept["hops"].iloc[0]),
        "families": families_of(kept),
        "models": models,
        "looks": {model: looks[model] for model in models},
    }


def draw(data: dict[str, Any]) -> Figure:
    """Draw one panel a family."""
    families, looks = data["families"], data["looks"]
    figure, (axes,) = family_panels(data, ["log₁₀ share at k hops"], 30, "Hops k", 8)
    for ax, models in zip(axes, families.values(), strict=True):
        if data["hops"] is not None:
            ax.axvline(data["hops"], color=MUTED, lw=0.6)
        for model in models:
            profile, look = data["models"][model], looks[model]
            operator = profile["operator"]
            band(ax, range(len(operator)), operator, look | {"color": MUTED}, marks=False, ls=(0, (0.8, 1.6)), lw=1.0)
            initial = [[v[0], None, None] for v in profile["initial"]]
            band(ax, range(len(initial)), initial, look, marks=False, lw=0.6, alpha=0.7)
            band(ax, range(len(profile["trained"])), profile["trained"], look)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure

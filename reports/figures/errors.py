"""Errors by true distance: how far away answers may lie before a model loses them."""

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
    number,
    slug,
    triple,
)
from reports.style import MUTED, Look
from suite.analysis import Analysis
from suite.analysis.measured import hop_profile, result_of


def drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return one drawing for each task of the part "no_distance" whose errors were measured at more than one distance."""
    found = []
    for i, (task, rows) in enumerate(analysis.part("no_distance").groupby("task_label", sort=False)):
        data = _data(analysis, deepest(rows), looks)
        if data["models"] and data["hops"] > 1:
            what = f"mean absolute error in {data['unit']}" if data["unit"] else "share answered wrongly"
            constant = ". Dotted: of saying the mean of all answers" if data["constant"] else ""
            caption = (
                f"{task}: {what} by how many hops away the answer lies, of the deepest models. Means over seeds with 95 % "
                f"t-bands (cut at the frame){constant}."
            )
            alt = f"Line charts of the {what} against hops, by model family"
            found.append(Drawing(slug(i, "errors"), data, draw, caption, alt, "no_distance"))
    return found


def deepest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return of each model the condition with the most layers, of those with a finished cell."""
    done = rows[rows["finished"] > 0].sort_values("num_layers", kind="stable")
    return done.drop_duplicates("model_label", keep="last").sort_values(["family_order", "model_order"], kind="stable")


def _data(analysis: Analysis, rows: pd.DataFrame, looks: dict[str, Look]) -> dict[str, Any]:
    results, models, constant, unit = analysis.results, {}, [], ""
    for row in rows.to_dict("records"):
        profile = [triple(v) for v in hop_profile(results, row["keys"], "errors", "trained", "error_by_hop")]
        if profile:
            models[row["model_label"]] = profile
            constant = hop_profile(results, row["keys"], "errors", "trained", "constant_by_hop")
            unit = str(result_of(results, row["keys"][0], "errors", "trained").get("unit") or "")
    return {
        "unit": unit,
        "hops": sum(any(p[i][0] is not None for p in models.values() if i < len(p)) for i in range(_longest(models))),
        "families": families_of(rows[rows["model_label"].isin(models)]),
        "models": models,
        "constant": [number(v.mean) for v in constant],
        "looks": {model: looks[model] for model in models},
    }


def _longest(models: dict[str, Any]) -> int:
    return max(map(len, models.values()), default=0)


def draw(data: dict[str, Any]) -> Figure:
    """Draw one panel a family."""
    families, looks = data["families"], data["looks"]
    label = f"Error ({data['unit']})" if data["unit"] else "Share wrong"
    figure, (axes,) = family_panels(data, [label], 30, "Hops to what is asked for", 8)
    for ax, models in zip(axes, families.values(), strict=True):
        known = [(hop, value) for hop, value in enumerate(data["constant"]) if value is not None]
        ax.plot([hop for hop, _ in known], [value for _, value in known], color=MUTED, lw=1.0, ls=(0, (0.8, 1.6)))
        for model in models:
            at = [hop for hop, value in enumerate(data["models"][model]) if value[0] is not None]
            band(ax, at, [data["models"][model][hop] for hop in at], looks[model])
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylim(bottom=0)
    return figure

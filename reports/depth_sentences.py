"""What a task by depth says: whether the plain GCN gets worse, and if so whether it fails to fit or to generalise."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.blocks import fixed, plural, score_words
from reports.metrics import NAMES, SHARES
from reports.no_distance_sentences import better
from reports.published import quoted_depths
from suite.analysis import Analysis
from suite.analysis.statistics import Interval, fits


def depth_words(analysis: Analysis, task: str, rows: pd.DataFrame, most: int | None = None) -> str:
    """Return what the conditions of one task say, in at most so many sentences."""
    own = plain(rows)
    if own.empty:
        planned = plural(int(rows["planned"].sum()), "planned cell")
        return "" if rows["finished"].sum() else f"{task}: none of {planned} by depth has finished; nothing can be said."
    shallow, deep = own.iloc[0], own.iloc[-1]
    name, metric = deep["series"], str(deep["metric"])
    what = NAMES[metric]
    if len(own) == 1:
        layers = plural(int(deep["num_layers"]), "layer")
        return f"{task}: plain {name} has finished at one depth only, {layers}: test {what} {score_words(deep['score'], metric)}."
    first = (
        f"{task}: plain {name} has test {what} {score_words(shallow['score'], metric)} at "
        f"{plural(int(shallow['num_layers']), 'layer')} and {score_words(deep['score'], metric)} at {int(deep['num_layers'])}; "
        f"train {what} {score_words(shallow['train_score'], metric)} and {score_words(deep['train_score'], metric)}."
    )
    return " ".join([first, _drop(shallow, deep), *_propagation(rows, deep), *_collapse(analysis, deep)][:most])


def plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the finished conditions of the plain GCN by depth: of several models built on `gcn` the study's first."""
    own = rows[(rows["base"] == "gcn") & (rows["finished"] > 0)]
    return own[own["series"] == own["series"].iloc[0]].sort_values("num_layers") if len(own) else own


def _known(*intervals: Interval) -> bool:
    return all(interval.low is not None and interval.high is not None for interval in intervals)


def _drop(shallow: Any, deep: Any) -> str:
    before, after, layers, metric = shallow["score"], deep["score"], plural(int(deep["num_layers"]), "layer"), str(deep["metric"])
    if not _known(before, after):
        return "One seed a depth gives no interval: whether the difference is more than chance cannot be said."
    if not better(before, after, metric):
        what = "better" if better(after, before, metric) else "not clearly worse"
        return f"At {layers} it is {what} than at {int(shallow['num_layers'])}: these seeds show no loss with depth."
    if metric not in SHARES:
        return f"At {layers} it is worse than at {int(shallow['num_layers'])}."
    fit, name = fits(deep["train_score"]), NAMES[metric]
    if fit == "does not fit":
        return (
            f"At {layers} it does not even fit its training set (train {name} below 90 %): the loss with depth is "
            "a failure of training, and by itself no proof of over-smoothing."
        )
    if fit == "fits":
        return f"At {layers} it still fits its training set (above 90 %): the loss with depth is not a failure to fit."
    return f"Whether it still fits its training set at {layers} is not decided by these seeds."


def _propagation(rows: pd.DataFrame, deep: Any) -> list[str]:
    """Compare with smoothing alone: as many propagation steps, no weights between them."""
    steps, metric = int(deep["num_layers"]), str(deep["metric"])
    same = rows[(rows["base"] == "propagation") & (rows["finished"] > 0) & (rows["num_layers"] == steps)]
    if same.empty:
        return []
    control, ours = same.iloc[0]["score"], deep["score"]
    found = f"Propagation without weights, {steps} steps and a linear read-out, has {score_words(control, metric)}"
    if not _known(control, ours):
        return [f"{found}."]
    if better(control, ours, metric):
        return [f"{found}: that many smoothing steps do not by themselves lose the answer."]
    return [f"{found}: {'worse than' if better(ours, control, metric) else 'not clearly different from'} the trained model."]


def _collapse(analysis: Analysis, deep: Any) -> list[str]:
    measured = [analysis.results.measures.get(key, {}).get("smoothing") for key in deep["keys"]]
    constant = next((m["trained"].get("constant_rq_gcn") for m in measured if m), None)
    value = deep["quotient_trained"].mean
    if not constant or value is None:
        return []
    near = abs(value / constant - 1) < 0.1
    said = "within a tenth of" if near else "more than a tenth away from"
    found = (
        f"After its last layer the Rayleigh quotient is {fixed(value, 3)}, {said} that of one constant vector for all "
        f"nodes ({fixed(constant, 3)})"
    )
    return [found + ("; the nodes have nearly become one." if near else ".")]


def quotes(task: dict[str, Any], rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the accuracies by depth commonly quoted for a task beside ours.

    Keys: `model`, `layers`, `value`; `ours` (Interval or None); `inside`: whether the value lies inside our interval.
    """
    found = []
    for quote in quoted_depths(task):
        own = rows[(rows["base"] == quote["model"]) & (rows["num_layers"] == quote["layers"]) & (rows["finished"] > 0)]
        ours = own.iloc[0]["score"] if len(own) else None
        inside = ours.low <= quote["value"] <= ours.high if ours is not None and _known(ours) else None
        found.append(quote | {"ours": ours, "inside": inside})
    return found

"""Measures of finished cells as tables: one number per cell and state, and profiles by layer or by hop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from suite.analysis.results import Results
from suite.analysis.statistics import Interval, mean_interval

State = Literal["initial", "trained"]
STATES: tuple[State, State] = ("initial", "trained")
OF_STATES = ("smoothing", "recoverability", "gradient", "operator_share", "layers")  # need the hidden states after every layer
NOISE = "0.001"  # relative noise at which recoverability is reported: about the precision of bfloat16

# The Rayleigh quotient that is 0 exactly where a model's own operator ends. An edge-free model has no operator and is
# judged over all nodes, as if every two were neighbours.
QUOTIENT = {"gcn": "rq_gcn", "mean": "rq_mean", "complete": "rq_complete"}


def quotient_of(smoothing: dict[str, Any]) -> list[float | None]:
    """Return by layer the Rayleigh quotient by which the model of a smoothing result is judged.

    Sum aggregation has no operator of norm one: there it is the share of |H|^2 outside the space that repeated sums
    end in (for complete mixing the two are the same number).
    """
    operator = str(smoothing.get("operator"))
    if operator == "sum":
        return [None if d is None else d * d for d in smoothing.get("distance") or []]
    return list(smoothing.get(QUOTIENT.get(operator, "rq_complete")) or [])


def result_of(results: Results, key: str, measure: str, state: State) -> dict[str, Any]:
    """Return what `measure` found for a cell; empty where it was not taken, or the model does not show what it is taken of."""
    if measure in OF_STATES and is_opaque(results, key):
        return {}
    return (results.measures.get(key, {}).get(measure) or {}).get(state) or {}


def is_opaque(results: Results, key: str) -> bool:
    """Return whether a cell's model shows nothing of its layers: no `encode` and `decode`, no PyG convolutions to listen to.

    What was measured of its states is then measured of its input alone.
    """
    seen = ((results.measures.get(key, {}).get("smoothing") or {}).get("initial") or {}).get("effective_rank") or []
    return len(seen) == 1 and results.records[key]["cell"]["num_layers"] > 0


def measured_table(results: Results) -> pd.DataFrame:
    """Return one row per finished cell and state: `key`, `state`, and at the last layer or for the source

    `quotient` (own operator), `effective_rank`, `log10_norm`, `recoverability` (own token, noise 1e-3), `smoothing`
    (1 - recoverability), `log10_share` and `log10_total` of the read-out's sensitivity, `squashing` (-log10 share),
    `blind` (True: the source's share is exactly 0), `dead_readouts`, `log10_operator_share` and `log10_gradient_ratio`;
    `mean_hops`, how far away what counts is, and `operator_hops`, the same of the bare operator; `source`, the skill at which
    the token of the source can be read at the read-out node (noise 1e-3); `stable_rank` (centred) and `mad` (over all pairs);
    `log10_gain`, the mean over layers of log10 of the largest singular value of a layer's Jacobian; `signal_quotient`,
    `signal_stable_rank` and `signal_mad`, of the error signal at layer 0, the first by the model's own operator. What was not
    measured or is NaN is missing.
    """
    rows = [_row(results, key, state) for key in results.records for state in STATES]
    return pd.DataFrame(rows, columns=list(_row(results, "", "initial")))


def _row(results: Results, key: str, state: State) -> dict[str, Any]:
    smoothing = result_of(results, key, "smoothing", state)
    influence = result_of(results, key, "influence", state)
    operator = result_of(results, key, "operator_share", state)
    gradient = result_of(results, key, "gradient", state)
    recovered = result_of(results, key, "recoverability", state)
    recoverability = recovered.get("headline")
    log_share = influence.get("log10_source_share")
    return {
        "key": key,
        "state": state,
        "quotient": _last(quotient_of(smoothing)),
        "effective_rank": _last(smoothing.get("effective_rank")),
        "log10_norm": log10(_last(smoothing.get("feature_norm"))),
        "recoverability": recoverability,
        "smoothing": None if recoverability is None else 1 - recoverability,
        "log10_share": log_share,
        "squashing": None if log_share is None else -log_share,
        "blind": influence.get("source_share") == 0,
        "log10_total": influence.get("log10_total"),
        "dead_readouts": influence.get("dead_readouts"),
        "log10_operator_share": operator.get("log10_source_share"),
        "log10_gradient_ratio": log10(gradient.get("ratio")),
        "mean_hops": influence.get("mean_hops"),
        "operator_hops": operator.get("mean_hops") if operator.get("operator") != "none" else None,
        "source": (recovered.get("source") or {}).get(NOISE),
        "stable_rank": _last(smoothing.get("stable_rank")),
        "mad": _last(smoothing.get("mad_pairs")),
        "log10_gain": _mean_log10(result_of(results, key, "layers", state).get("largest") or []),
        "signal_quotient": _first(quotient_of(_of_signals(gradient, smoothing))),
        "signal_stable_rank": _first(gradient.get("signal_stable_rank")),
        "signal_mad": _first(gradient.get("signal_mad_pairs")),
    }


def _of_signals(gradient: dict[str, Any], smoothing: dict[str, Any]) -> dict[str, Any]:
    """Return what a gradient result says of error signals, under the names that a smoothing result has for states."""
    return {name.removeprefix("signal_"): value for name, value in gradient.items()} | {"operator": smoothing.get("operator")}


def log10(value: float | None) -> float | None:
    """Return the logarithm, or None of what has none."""
    return math.log10(value) if value is not None and math.isfinite(value) and value > 0 else None


def _last(values: Sequence[float | None] | None) -> float | None:
    return values[-1] if values else None


def _first(values: Sequence[float | None] | None) -> float | None:
    return values[0] if values else None


def _mean_log10(values: Sequence[float | None]) -> float | None:
    """Return the mean logarithm; None where a value has none, but for the first, which layer 0 does not have."""
    logs = [log10(value) for value in values[1:]]
    known = [value for value in logs if value is not None]
    return sum(known) / len(known) if known and len(known) == len(logs) else None


def layer_profile(results: Results, keys: Sequence[str], state: State, quantity: str, logs: bool = False) -> list[Interval]:
    """Return the mean of a quantity after each layer 0 … L over the seeds `keys` of one condition, with t-intervals.

    `quantity` is a list of the smoothing measure, "quotient" for the model's own, or "recoverability" (own token at
    noise 1e-3). With `logs` the mean and limits are those of log10. Empty where nothing was measured.
    """
    return _over_seeds([_layers(results, key, state, quantity) for key in keys], logs)


def hop_profile(
    results: Results, keys: Sequence[str], measure: str, state: State, quantity: str, logs: bool = False
) -> list[Interval]:
    """Return the mean of a list by hop 0 … H ("share", "mean_share") over the seeds `keys` of one condition."""
    return _over_seeds([result_of(results, key, measure, state).get(quantity) or [] for key in keys], logs)


def _layers(results: Results, key: str, state: State, quantity: str) -> list[float | None]:
    if quantity == "recoverability":
        return list(by_noise(result_of(results, key, "recoverability", state)).get(float(NOISE)) or [])
    smoothing = result_of(results, key, "smoothing", state)
    return quotient_of(smoothing) if quantity == "quotient" else list(smoothing.get(quantity) or [])


def by_noise(recoverability: dict[str, Any]) -> dict[float, list[float | None]]:
    """Return recoverability by layer for each noise level, whose JSON keys are text."""
    return {float(noise): values for noise, values in (recoverability.get("by_layer") or {}).items()}


def _over_seeds(lists: list[Any], logs: bool) -> list[Interval]:
    longest = max((len(values) for values in lists), default=0)
    columns = [[values[i] for values in lists if i < len(values)] for i in range(longest)]
    return [mean_interval([log10(v) for v in column] if logs else column) for column in columns]

"""What every model was given and took: parameters, work, steps, trials, time, memory."""

from __future__ import annotations

from typing import Any

import pandas as pd

from suite.analysis.results import PARTS, Results


def fairness_table(results: Results) -> list[dict[str, Any]]:
    """Return one row per part of the report, model and depth, part by part in the order of families.

    Keys: `part`, `model_label`, `num_layers`; `asked` (parameters asked for, by value), `parameters` [least, most], `gap`
    (the largest, as a signed share of what was asked; None where nothing was, or the model is `exempt` for want of a width);
    `flops_per_step` [least, most]; `steps` (mean used), `budget` (largest number of steps, by value); `trials` [fewest, most]
    finished by its tuned conditions; `seconds` (mean), `peak_memory_mb` (largest). None where nothing is known.
    """
    if results.cells.empty:
        return []
    trials = _trials(results)
    cells = results.cells.assign(part_order=results.cells["part"].map(PARTS.index))
    cells = cells.sort_values(["part_order", "family_order", "model_order", "num_layers"], kind="stable")
    groups = cells.groupby(["part", "model_label", "num_layers"], sort=False)
    return [_row(results, pd.DataFrame(group), trials) for _, group in groups]


def tuned_names(results: Results) -> dict[tuple[str, str], set[str]]:
    """Return the names of the settings that were searched, by part of the report and model."""
    found: dict[tuple[str, str], set[str]] = {}
    for one in results.tuning:
        found.setdefault((one["part"], one["model"]), set()).update(one["trials"][0]["settings"])
    return found


def _row(results: Results, cells: pd.DataFrame, trials: dict[tuple[Any, ...], int]) -> dict[str, Any]:
    cells = cells.drop_duplicates("key")
    first = cells.iloc[0]
    budgets = [budget for budget in cells["budget"] if isinstance(budget, dict)] if "budget" in cells else []
    gaps = [budget["got"] / budget["asked"] - 1 for budget in budgets if not budget["exempt"]]
    protocols = [results.records[key]["cell"]["protocol"] for key in cells["key"] if key in results.records]
    where = {(row["part"], row["task_key"], row["model"], row["num_layers"]) for row in cells.to_dict("records")}
    return {
        "part": first["part"],
        "model_label": first["model_label"],
        "num_layers": int(first["num_layers"]),
        "asked": sorted({budget["asked"] for budget in budgets}),
        "exempt": any(budget["exempt"] for budget in budgets),
        "parameters": _span(cells, "num_parameters"),
        "gap": max(gaps, key=abs, default=None),
        "flops_per_step": _span(cells, "flops_per_step"),
        "steps": _known(cells, "steps").mean() if len(_known(cells, "steps")) else None,
        "budget": sorted({protocol["max_steps"] for protocol in protocols}),
        "trials": _ends([trials[place] for place in where if place in trials]),
        "seconds": _known(cells, "seconds").mean() if len(_known(cells, "seconds")) else None,
        "peak_memory_mb": _known(cells, "peak_memory_mb").max() if len(_known(cells, "peak_memory_mb")) else None,
    }


def _trials(results: Results) -> dict[tuple[Any, ...], int]:
    """Return how many trials of every tuned condition are finished, by part, task, model and depth."""
    return {
        (one["part"], one["task_key"], one["model"], one["num_layers"]): sum(trial["finished"] for trial in one["trials"])
        for one in results.tuning
    }


def _known(cells: pd.DataFrame, column: str) -> pd.Series[float]:
    found: pd.Series[float] = cells[column].dropna() if column in cells else pd.Series(dtype=float)
    return found


def _span(cells: pd.DataFrame, column: str) -> list[float] | None:
    return _ends(_known(cells, column).tolist())


def _ends(values: list[Any]) -> list[Any] | None:
    return [min(values), max(values)] if values else None

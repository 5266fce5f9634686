"""Where the numbers come from: versions, hardware, commits, and every cell that gave none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from suite.analysis.results import Results

PER_CELL = ("batch", "run")  # fields of the provenance that differ from cell to cell by nature


def newest(results: Results) -> str | None:
    """Return when the newest record was finished, in ISO form; None where no record says."""
    runs = [(record.get("provenance") or {}).get("run") or {} for record in results.records.values()]
    return max((run["ended"] for run in runs if run.get("ended")), default=None)


def provenance_table(results: Results) -> list[dict[str, Any]]:
    """Return the distinct values of every provenance field: `field`, `values` [{`value`, `cells`}], commonest first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in results.records.values():
        shared = {k: v for k, v in (record.get("provenance") or {}).items() if k not in PER_CELL}
        for name, value in _leaves(shared):
            counts[name]["none" if value is None else str(value)] += 1
    return [
        {"field": name, "values": [{"value": v, "cells": n} for v, n in sorted(c.items(), key=lambda i: (-i[1], i[0]))]}
        for name, c in sorted(counts.items())
    ]


def unfinished(results: Results) -> list[dict[str, Any]]:
    """Return every planned cell that failed, diverged, is missing or has no data, every measure that failed, and why.

    Columns: `key`, `section`, `task_label`, `hops`, `series`, `num_layers`, `seed`, `status`, `why`.
    """
    rows = []
    for cell in results.unique.to_dict("records"):
        place = {name: cell[name] for name in ("key", "section", "task_label", "hops", "series", "num_layers", "seed")}
        failures = results.failures.get(cell["key"], [])
        if cell["status"] == "ok":
            lost = {f["stage"]: f for f in failures if f["stage"] not in ("train", *results.measures[cell["key"]])}
            rows += [place | {"status": f"{stage} failed", "why": _said(f)} for stage, f in sorted(lost.items())]
            continue
        attempts = [failure for failure in failures if failure["stage"] == "train"]
        why = {"diverged": f"the loss was not finite within {cell.get('steps') or 0:.0f} steps", "missing": "not run"}
        if cell["status"] == "unavailable":
            why["unavailable"] = str(attempts[-1]["message"])
        said = f"{_said(attempts[-1])} ({len(attempts)} {'attempt' if len(attempts) == 1 else 'attempts'})" if attempts else ""
        rows.append(place | {"status": cell["status"], "why": why.get(cell["status"], said)})
    return rows


def _said(failure: dict[str, Any]) -> str:
    lines = str(failure.get("message") or "").strip().splitlines()
    return f"{failure['status']}: {lines[-1] if lines else 'no message'}"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value

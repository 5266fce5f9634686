"""Where the numbers come from, and the cells that gave none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reports.blocks import Block, heading, plural, ref, table, text
from reports.sections.context import Context
from suite.analysis.provenance import provenance_table, unfinished

LONG = 40  # rows above which the list of unfinished cells goes to the appendix
FEW = 6  # conditions that have a row each where all of them ended for the same reason


def blocks(context: Context) -> list[Block]:
    """Return versions and hardware, seeds, and the cells that failed, diverged, are missing or have no data."""
    results = context.analysis.results
    fields = provenance_table(results)
    rows = [[field["field"], "; ".join(_value(v, len(field["values"]), v["value"]) for v in field["values"])] for field in fields]
    found: list[Block] = [heading("Provenance"), text(_words(context, fields))]
    if rows:
        caption = "Provenance of the finished cells. Where a field has several values, the number of cells of each is given."
        found.append(table("provenance", caption, ["Field", "Value"], rows, ["text", "fill"], 7.5))
    lost = lost_rows(context)
    if not lost:
        return [*found, text("Every planned cell finished, and no measure failed.")]
    if len(lost) > LONG:
        return [*found, text("Cells that failed, diverged, are missing or have no data are listed in ", ref("tab-lost"), ".")]
    return [*found, lost_table(lost)]


def _value(entry: dict[str, Any], several: int, shown: str) -> str:
    return f"{shown} ({entry['cells']})" if several > 1 else shown


def _words(context: Context, fields: list[dict[str, Any]]) -> str:
    results = context.analysis.results
    seeds = sorted({int(seed) for seed in results.cells["seed"]}) if len(results.cells) else []
    span = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0]) if seeds else "none"
    seconds = results.unique["seconds"].dropna().sum() if "seconds" in results.unique else 0
    said = (
        f"Study “{results.study['name']}”, file sha256 {str(results.study.get('file_sha256', ''))[:12]}; seeds "
        f"{span}; {plural(len(results.records), 'record')}, {seconds / 3600:.2f} hours of training in all (on busy "
        "machines an upper bound)."
    )
    memory = results.unique["peak_memory_mb"].max() if "peak_memory_mb" in results.unique else None
    if memory is not None and memory == memory:
        said += f" A worker held at most {memory:,.0f} MB in memory while it trained, libraries included."
    prints: list[Any] = next((field["values"] for field in fields if field["field"] == "fingerprint"), [])
    if len(prints) > 1:
        said += (
            f" Note: the records come from {len(prints)} states of the source (fingerprints of task, model and "
            "training code); versions in the cells' keys say that their numbers should not differ for that."
        )
    return said


def lost_rows(context: Context) -> list[list[str]]:
    """Return one row for each condition and reason, with its seeds; conditions of a task for the same reason in one if many."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], set[int]]] = {}
    for row in unfinished(context.analysis.results):
        hops = "–" if row["hops"] != row["hops"] or row["hops"] is None else str(int(row["hops"]))
        conditions = groups.setdefault((row["task_label"], row["status"], row["why"]), {})
        conditions.setdefault((hops, row["series"], str(row["num_layers"])), set()).add(int(row["seed"]))
    found = []
    for (task, *why), conditions in groups.items():
        rows = [(*condition, _listed(seeds)) for condition, seeds in conditions.items()]
        if len(rows) > FEW:
            distances, series, layers = (set(column) for column in zip(*conditions, strict=True))
            at, every = sorted(distances, key=lambda hop: (len(hop), hop)), set().union(*conditions.values())
            many = f"{plural(len(series), 'model')}, {plural(len(rows), 'condition')}"
            rows = [(", ".join(at), many, _listed(map(int, layers)), _listed(every))]
        found += [[task, *row, *why] for row in rows]
    return found


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def lost_table(rows: list[list[str]]) -> Block:
    """Return the table of cells that gave no result."""
    caption = (
        "Every cell that failed, diverged, is missing or whose data cannot be had (unavailable), and every measure that failed. "
        "None of them is part of a mean."
    )
    head = ["Task", "r", "Model", "L", "Seeds", "Status", "Reason"]
    return table("lost", caption, head, rows, ["fill", "num", "fill", "num", "text", "text", "fill"], 7.5)

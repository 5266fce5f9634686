"""Rewirings: what each did to the graph, and to the way from the source to the read-out node."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.blocks import NONE, Block, fixed, heading, table, text
from reports.sections.context import Context
from suite.analysis.measured import result_of

HEAD = ["Model", "r", "after", "L", "Edges", "+", "−", "Nodes +", "lg S", "after", "R", "after", "Cut", "after", "Seconds"]
CAPTION = (
    "What rewiring did, by condition, of the first finished seed: hops from source to read-out node in the task's own graph, and "
    "after; undirected edges, added and removed, nodes appended; log₁₀ of entry (v, u) of the model's operator to the power L; "
    "effective resistance; edges that keep the two together; seconds. A dash: no path, a graph in parts, or an entry that is 0."
)


def appendix(context: Context) -> list[Block]:
    """Return the table of rewired conditions; nothing where the study has none."""
    body: list[Any] = []
    for task, group in context.analysis.conditions.groupby("task_label", sort=False):
        rows = [row for row in _rows(context, group) if row is not None]
        body += [str(task), *rows] if rows else []
    if not body:
        return []
    return [
        heading("Rewirings"),
        text(
            "Hops on every axis, and shells of influence, are those of the task's own graph; models, operators and influence run "
            "on the rewired one. A rewiring that shortens the way gives a model of equal depth more layers to spare, so equal L "
            "and equal L − r are two comparisons."
        ),
        table("rewirings", CAPTION, HEAD, body, ["fill", *["num"] * 14], 6.5),
    ]


def _rows(context: Context, conditions: pd.DataFrame) -> list[list[str] | None]:
    ordered = conditions.sort_values(["series", "hops", "num_layers"], kind="stable").to_dict("records")
    return [_row(context, row) for row in ordered]


def _row(context: Context, row: dict[Any, Any]) -> list[str] | None:
    found = next((r for key in row["keys"] if (r := result_of(context.analysis.results, key, "rewiring", "initial"))), None)
    if found is None:
        return None
    before, after = found["before"], found["after"]
    return [
        str(row["series"]),
        *(_whole(way["hops"]) for way in (before, after)),
        str(row["num_layers"]),
        *(_whole(found[name]) for name in ("num_edges", "added_edges", "removed_edges", "new_nodes")),
        *(
            fixed(way[name], digits)
            for name, digits in (("log10_power", 1), ("resistance", 2), ("cut", 1))
            for way in (before, after)
        ),
        NONE if found["seconds"] is None else f"{found['seconds']:.2g}",
    ]


def _whole(value: float | None) -> str:
    """A mean of counts: without decimals where it is whole."""
    return NONE if value is None else f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"

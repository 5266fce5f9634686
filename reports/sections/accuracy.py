"""How far: solve rates and accuracy against hop distance."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.blocks import NONE, Block, cell, figure, fixed, heading, prose, refs, table, text
from reports.figures.common import hop_tasks
from reports.metrics import SHARES, comparable
from reports.sections.context import Context
from reports.sentences import depth_rules, task_words

COLUMNS, TASKS = 7, 4  # distances and tasks side by side, for which their names leave room
WEIGHT = {"success": "bold", "failure": "muted", "mixed": "italic", "too few": "regular"}


def blocks(context: Context) -> list[Block]:
    """Return the map, the reach of every series, and a table and a figure for each task."""
    analysis, drawings = context.analysis, context.at("hops")
    if analysis.part("hops").empty:
        return []
    if not hop_tasks(analysis):
        return [heading("Accuracy against hop distance"), text("No cell of the tasks at a distance has finished.")]
    maps = [d for d in drawings if d.name.startswith("outcome_map")]
    panels = [d for d in drawings if d.name.startswith("hops")]
    tables = [block for i, (task, rows) in enumerate(hop_tasks(analysis)) for block in _task_tables(context, i, task, rows)]
    reach = _reach(context)
    about = prose(
        """A seed solves its task where its test skill, (score − chance) / (ceiling − chance), is at least 0.9.
        Outcomes are bimodal, a seed solves its task or stays at chance, so conditions are judged by their solve rate,
        and accuracy is never averaged over distances. Every condition at a glance:"""
    )
    about["parts"] += refs([f"fig-{d.name}" for d in maps])
    if reach:
        about["parts"] += ["; distances between which the solve rate falls below one half: "]
        about["parts"] += refs([block["name"] for block in reach])
    about["parts"] += ["; task by task: ", *refs([block["name"] for block in tables])]
    about["parts"] += [", and ", *refs([f"fig-{d.name}" for d in panels]), ". ", depth_rules(analysis)]
    return [
        heading("Accuracy against hop distance"),
        about,
        *(figure(d, floating=False) for d in maps),
        *reach,
        *_by_task(context, tables, [figure(d) for d in panels]),
    ]


def _by_task(context: Context, tables: list[Block], figures: list[Block]) -> list[Block]:
    """Return for each task its name, what was reached on it, its tables and its figure."""
    found: list[Block] = []
    for i, ((task, _), drawn) in enumerate(zip(hop_tasks(context.analysis), figures, strict=True)):
        own = [t for t in tables if t["name"].startswith(f"tab-hops-{i + 1}-")]
        found += [heading(task, 2), text(task_words(context.analysis, task)), *own, drawn]
    return found


def _reach(context: Context) -> list[Block]:
    reach = context.analysis.reach.sort_values("family_order", kind="stable")
    tasks = list(dict.fromkeys(context.analysis.reach["task_label"]))
    caption = (
        "Between which tested distances the solve rate first falls below one half. “> 12”: not within the distances "
        "tested; “< 3”: already at the nearest. A bracket between distances tested, not a fit: outcomes separate too "
        "sharply for a finite slope. Distances from which nothing may be concluded are left out."
    )
    found: list[Block] = []
    for start in range(0, len(tasks), TASKS):
        some = tasks[start : start + TASKS]
        rows = []
        for series, group in reach[reach["task_label"].isin(some)].groupby("series", sort=False):
            bracket = {row["task_label"]: _bracket(row) for row in group.to_dict("records")}
            color = context.looks[group["model_label"].iloc[0]]["color"]
            rows.append([cell(str(series), color=color), *(bracket.get(task, NONE) for task in some)])
        widths = ["text", *["share"] * len(some)]
        found.append(table(f"reach-{len(found) + 1}", caption, ["Model", *some], rows, widths, 8 if len(some) < 5 else 7))
    return found


def _bracket(row: dict[Any, Any]) -> str:
    last, first = (None if value is None or pd.isna(value) else int(value) for value in (row["last"], row["first"]))
    if last is None and first is None:
        return NONE
    return f"> {last}" if first is None else f"< {first}" if last is None else f"{last} – {first}"


def _task_tables(context: Context, index: int, task: str, rows: pd.DataFrame) -> list[Block]:
    hops = sorted({int(h) for h in rows["hops"]})
    chunks = [hops[i : i + COLUMNS] for i in range(0, len(hops), COLUMNS)]
    return [
        _task_table(context, f"hops-{index + 1}-{k + 1}", task, rows[rows["hops"].isin(chunk)], chunk)
        for k, chunk in enumerate(chunks)
    ]


def _task_table(context: Context, name: str, task: str, rows: pd.DataFrame, hops: list[int]) -> Block:
    metric = rows["metric"].iloc[0]
    classes = metric in SHARES
    body: list[Any] = []
    for control in (False, True):
        part = rows[(rows["access"] == "control") == control]
        for series, group in part.groupby("series", sort=False):
            color = context.looks[group["model_label"].iloc[0]]["color"]
            found = {int(row["hops"]): _outcome(row, classes) for row in group.to_dict("records")}
            body.append([cell(str(series), color=color), *(found.get(hop, NONE) for hop in hops)])
        if len(part) and not control:
            body.append("rule")
    by_hop = {int(row["hops"]): row for row in rows.to_dict("records")}
    level = [fixed(by_hop[hop]["chance"]) if classes else "0.00" for hop in hops]
    verdicts = [_verdict(context, by_hop[hop]["task_key"]) for hop in hops]
    body += ["rule", ["Chance", *level], ["Certificate", *verdicts]]
    score = f"test {comparable(metric)}"
    caption = (
        f"{task}: mean {score} and solved of finished seeds. Bold: success (one-sided 95 % limit of the solve rate "
        "above one half); grey: failure; italic: mixed; plain: too few seeds to decide. †: some planned seeds did "
        "not finish. Below the line: controls that are told nothing of the graph."
    )
    return table(name, caption, ["Model", *(f"r = {hop}" for hop in hops)], body, ["text", *["share"] * len(hops)], 8)


def _outcome(row: dict[Any, Any], classes: bool) -> Any:
    if not row["finished"]:
        return cell(NONE, note=" 0/0†" if row["planned"] else "")
    mean = (row["score"] if classes else row["skill"]).mean
    dagger = "†" if row["finished"] < row["planned"] else ""
    return cell(fixed(mean), WEIGHT[row["verdict"]], f" {row['solved']}/{row['finished']}{dagger}")


def _verdict(context: Context, key: str) -> Any:
    certificate = context.analysis.results.certificates.get(key)
    return cell(certificate["verdict"] if certificate else "not yet", "italic")

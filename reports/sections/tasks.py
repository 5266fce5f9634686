"""What the tasks really need: their certificates."""

from __future__ import annotations

from typing import Any

from reports.blocks import NONE, Block, cell, fixed, heading, plural, prose, ref, table
from reports.sections.context import Context
from reports.sentences import certificates
from suite.verdicts import CERTIFIED, is_published

CHECKS = (("K2", "Seen in training"), ("K4", "Graph-blind"), ("K5", "Edge-free set"), ("K6", "Nearer"), ("K7", "Permuted"))


def blocks(context: Context) -> list[Block]:
    """Return one row for each task family, a published one next to the task that repairs it."""
    if not context.analysis.results.tasks:
        return []
    groups = families(context)
    rows = [_row(context, label, tasks) for label, tasks in groups]
    published = [tasks for _, tasks in groups if is_published(tasks[0])]
    good = sum(_all_certified(context, tasks) for tasks in published)
    note = f" Of {plural(len(published), 'published task')}, {good} certified at all distances." if published else ""
    caption = (
        "Certificates by task family; values are ranges over the distances. Seen in training: share of test inputs "
        "that training also shows. Graph-blind: accuracy of an MLP on the read-out node's own features. Edge-free "
        "set: the best of models that see all nodes and no edges. Nearer: the best of those that are told each node’s "
        "distance, shown what lies nearer than r; permuted: shown all nodes, at distances along edges drawn anew with "
        "degrees kept. A control at chance counts only if the same budget solves a twin of the task that it can solve."
    )
    head = ["Task", "r", "Verdict", *(name for _, name in CHECKS), "Chance"]
    return [
        heading("What the tasks need"),
        prose(
            "Before any deep model is trained, small controls find out what a task needs.",
            certificates(context.analysis) + note + " The verdicts are in ",
            ref("tab-certificates"),
            ", every check in the appendix. “Content-addressed” bars taking the success of a model with a global "
            "channel as evidence that it uses structure; where only edges carry information, claims of reach stand. "
            "Other verdicts but “certified” bar every conclusion about distance from the task. "
            "One given graph, or questions about whole graphs, are never certified: controls of edges cannot be trained "
            "on them. Nor is a task that neither a witness nor a control solves. "
            "Published tasks keep their flaws, stand beside the task that repairs them, and are never pooled with it.",
        ),
        table("certificates", caption, head, rows, ["fill", "text", "fill", *["num"] * (len(CHECKS) + 1)], 8),
    ]


def _row(context: Context, label: str, tasks: list[dict[str, Any]]) -> list[Any]:
    values = [_range(context, tasks, check) for check, _ in CHECKS]
    return [label, _hops(tasks), _verdicts(context, tasks), *values, _chance(context, tasks)]


def families(context: Context) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the task families with their tasks; each published one stands before those that repair it."""
    labels = context.analysis.results.task_labels
    groups: dict[str, list[dict[str, Any]]] = {}
    for task in context.analysis.results.tasks:
        groups.setdefault(labels[task["task_key"]], []).append(task)
    ours = [(label, tasks) for label, tasks in groups.items() if not is_published(tasks[0])]
    left = [(label, tasks) for label, tasks in groups.items() if is_published(tasks[0])]
    ordered: list[tuple[str, list[dict[str, Any]]]] = []
    while ours:
        pairs = [pair for pair in left if _repairs(ours[0][1][0], pair[1][0])]
        left = [pair for pair in left if pair not in pairs]
        also = [own for own in ours[1:] if any(_repairs(own[1][0], pair[1][0]) for pair in pairs)]
        ordered += [*pairs, ours[0], *also]  # what repairs the same stays together
        ours = [own for own in ours[1:] if own not in also]
    return ordered + left


REPAIRS = {  # names that do not say so themselves; the graph, where it is a part of the repair
    ("AddressedLeaf", "PublishedNeighborsMatch"): None,
    ("Transfer", "PublishedCitationChains"): "path",
}


def _repairs(ours: dict[str, Any], published: dict[str, Any]) -> bool:
    """PublishedNeighborsMatch is repaired by NeighborsMatch, PublishedRingTransfer by Transfer on a ring; others by `REPAIRS`."""
    names = _class(ours), _class(published)
    if names in REPAIRS:
        return REPAIRS[names] in (None, str(ours["topology"]).partition(" ")[0])
    same_graph = names[1].removeprefix("Published") == names[0] or ours["topology"] == published["topology"]
    return names[1].endswith(names[0]) and same_graph


def _class(task: dict[str, Any]) -> str:
    return str(task["task"]["ref"].rpartition(":")[2])


def _hops(tasks: list[dict[str, Any]]) -> str:
    return ", ".join(str(task["hops"]) for task in tasks if task["hops"] is not None) or NONE


def _verdicts(context: Context, tasks: list[dict[str, Any]]) -> Any:
    by_verdict: dict[str, list[str]] = {}
    for task in tasks:
        by_verdict.setdefault(flags(context, task), []).append(str(task["hops"]))
    if len(by_verdict) == 1:
        verdict = next(iter(by_verdict))
        return cell(verdict, "regular" if verdict == "certified" else "bold")
    return cell("; ".join(f"{verdict} (r = {', '.join(hops)})" for verdict, hops in by_verdict.items()), "bold")


def flags(context: Context, task: dict[str, Any]) -> str:
    """Return the verdict on a task, and what else its certificate found; why there is none where there is none."""
    certificate = context.analysis.results.certificates.get(task["task_key"])
    if certificate is None:
        return "data unavailable" if task["task_key"] in context.analysis.results.unavailable else "not certified yet"
    more = [tag for tag in certificate.get("tags", []) if tag != certificate["verdict"]]
    return ", ".join([certificate["verdict"], *more])


def _all_certified(context: Context, tasks: list[dict[str, Any]]) -> bool:
    known = context.analysis.results.certificates
    return all(task["task_key"] in known and known[task["task_key"]]["verdict"] == CERTIFIED for task in tasks)


def _range(context: Context, tasks: list[dict[str, Any]], check: str) -> str:
    known = context.analysis.results.certificates
    lines = [line for t in tasks if t["task_key"] in known for line in known[t["task_key"]]["checks"] if line["id"] == check]
    values = [line["value"] for line in lines if isinstance(line["value"], int | float)]
    return _span(values)


def _chance(context: Context, tasks: list[dict[str, Any]]) -> str:
    cells = context.analysis.results.cells
    return _span(cells.loc[cells["task_key"].isin([t["task_key"] for t in tasks]), "chance"].tolist() if len(cells) else [])


def _span(values: list[float]) -> str:
    if not values:
        return NONE
    low, high = fixed(min(values)), fixed(max(values))
    return low if low == high else f"{low} – {high}"

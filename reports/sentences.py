"""What the data say, in sentences: each is made from counts and intervals, and says where they decide nothing.

Every function returns a paragraph, empty where the study has nothing of the kind.
"""

from __future__ import annotations

import pandas as pd

from reports.blocks import listing, percent, plural
from reports.depth_sentences import depth_words
from reports.no_distance_sentences import no_distance_words
from reports.published import cards_of
from suite.analysis import Analysis
from suite.analysis.results import STATUSES
from suite.verdicts import BARS, CERTIFIED, CONTENT


def summary(analysis: Analysis) -> list[str]:
    """Return the executive summary: the most important sentences of every section, nulls included."""
    found = [coverage(analysis)]
    if finished(analysis):
        found += [edges_only(analysis), global_channels(analysis), left_out(analysis), controls(analysis)]
        found.append(two_failures(analysis))
    found += [no_distance_words(task, rows) for task, rows in tasks_of(analysis, "no_distance")]
    found.append(certificates(analysis))
    found += [depth_words(analysis, task, rows, most=3) for task, rows in tasks_of(analysis, "depth")]
    return [words for words in [*found, reproduction(analysis)] if words]


def finished(analysis: Analysis) -> int:
    """Return the number of finished cells."""
    return int(analysis.results.unique["status"].isin(["ok", "diverged"]).sum())


def tasks_of(analysis: Analysis, part: str) -> list[tuple[str, pd.DataFrame]]:
    """Return the tasks of one part of the report, with their conditions."""
    return [(str(task), rows) for task, rows in analysis.part(part).groupby("task_label", sort=False)]


def coverage(analysis: Analysis) -> str:
    """How much of the plan there is, and how the conditions came out."""
    cells, hops = analysis.results.unique, analysis.part("hops")
    count = {status: int((cells["status"] == status).sum()) for status in STATUSES}
    why = {"unavailable": " (their data cannot be had)"}
    lost = ", ".join(f"{count[status]} {status}{why.get(status, '')}" for status in STATUSES[1:] if count[status])
    planned = plural(len(cells), "planned cell")
    if not finished(analysis):
        return f"No cell of this study has finished ({planned}: {lost or 'none'}), so nothing can be said yet."
    found = f"{finished(analysis):,} of {planned} finished" + (f" ({lost})." if lost else ".")
    if hops.empty:
        return found
    verdicts = hops["verdict"].value_counts()
    names = {"success": "succeed", "failure": "fail", "mixed": "are mixed", "too few": "have too few finished seeds"}
    said = [f"{verdicts.get(name, 0)} {word}" for name, word in names.items() if name != "too few" or name in verdicts]
    return f"{found} Of {plural(len(hops), 'condition')} (task, distance, model, depth rule) {listing(said)}."


def edges_only(analysis: Analysis) -> str:
    """How far models get in which nothing but edges carries information."""
    rows = analysis.reach[analysis.reach["access"] == "edges"]
    return _reach(rows, "Where only edges carry information") if len(rows) else ""


def global_channels(analysis: Analysis) -> str:
    """How far models with a global channel get, and what their tasks allow to conclude from it."""
    rows = analysis.reach[analysis.reach["access"] == "global"]
    if rows.empty:
        return ""
    loose = [task for task in dict.fromkeys(rows["task_label"]) if _content_addressed(analysis, task)]
    found = _reach(rows, "With a global channel")
    if loose:
        found += (
            f" On {listing(loose, 3)} the certificate says that a set of nodes without edges suffices: success there "
            "shows access to all nodes, not use of structure."
        )
    return found


def left_out(analysis: Analysis) -> str:
    """Which tasks say nothing of distance, and why."""
    rows = analysis.part("hops")
    said = []
    for name, part in _barred(rows):
        places = [f"{task} at {_distances(own)}" for task, own in part.groupby("task_label", sort=False)]
        said.append(f"{name} ({BARS[name]}): {listing(places)}")
    if not said:
        return ""
    return (
        "Left out of what is said of how far models reach and of what goes with failing, since what is known of the task "
        f"bars it: {'; '.join(said)}."
    )


def _barred(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return, for each thing that bars conclusions from some of the conditions, those conditions."""
    parts = [(name, rows[rows["barred"] == name]) for name in BARS]
    return [(name, part) for name, part in parts if len(part)]


def _distances(rows: pd.DataFrame) -> str:
    return f"r = {listing([str(int(hops)) for hops in sorted(set(rows['hops']))])}"


def _reach(rows: pd.DataFrame, who: str) -> str:
    """Say how far the series of `rows` (of the reach table) get."""
    tested = rows[rows["tested"] > 0]
    falls, decided = int(tested["first"].notna().sum()), bool(tested["decided"].sum())
    far, series = farthest(tested)
    best = f"the farthest success is at r = {far} ({listing(series, 2)})" if series else "none succeeds at any tested distance"
    if not decided:
        alike = (
            f"every finished seed solves up to r = {far} ({listing(series, 2)})" if series else "no task is solved by every seed"
        )
        best = f"too few seeds for any verdict; {alike}"
    return (
        f"{who} ({listing(list(dict.fromkeys(rows['model_label'])), 5)}): {best}; the solve rate falls below one half within "
        f"the tested distances in {falls} of {plural(len(tested), 'series', 'series')} (a model and depth rule on a task)."
    )


def farthest(rows: pd.DataFrame) -> tuple[int | None, list[str]]:
    """Return the farthest distance in rows of the reach table, and which series on which task got there.

    It is that of a success; where no condition has enough seeds for a verdict, that which every finished seed solves.
    """
    column = "farthest_success" if rows["decided"].sum() else "farthest_solved"
    known = rows[rows[column].notna()]
    if known.empty:
        return None, []
    best = known[known[column] == known[column].max()]
    names = [f"{series} on {task}" for series, task in zip(best["series"], best["task_label"], strict=True)]
    return int(known[column].max()), names


def _content_addressed(analysis: Analysis, task: str) -> bool:
    labels, known = analysis.results.task_labels, analysis.results.certificates
    return any(CONTENT in c.get("tags", []) for key, c in known.items() if labels[key] == task)


def controls(analysis: Analysis) -> str:
    """What the controls solve that are told nothing of the graph."""
    rows = analysis.part("hops")
    if rows.empty:
        return ""
    rows = rows[(rows["access"] == "control") & (rows["finished"] > 0)]
    if rows.empty:
        return "No control without edges has finished: whether the tasks need the graph rests on their certificates."
    decided = bool((rows["verdict"] != "too few").any())
    wins = rows["verdict"] == "success" if decided else rows["rate"] == 1
    verb = "succeeds in" if decided else "solves with every finished seed"
    groups = wins.groupby(rows["model_label"], sort=False)
    said = listing([f"{name} {verb} {won.sum()} of {plural(len(won), 'condition')}" for name, won in groups])
    if wins.any():
        return f"Controls without edges: {said}. Where it does, solving the task does not show that edges were used."
    return f"Controls without edges: {said}. So what nodes show without edges does not explain a success of the others."


def task_words(analysis: Analysis, task: str) -> str:
    """How far each series gets on one task, farthest first, and at which distances its certificates bar saying so."""
    own = analysis.part("hops")
    own = own[own["task_label"] == task]
    bars = [f"{_distances(part)} ({name}: {BARS[name]})" for name, part in _barred(own)]
    note = f"Nothing is concluded about distance from {listing(bars)}." if bars else ""
    return " ".join(part for part in [_farthest_words(analysis, task), note] if part)


def _farthest_words(analysis: Analysis, task: str) -> str:
    rows = analysis.reach[(analysis.reach["task_label"] == task) & (analysis.reach["tested"] > 0)]
    decided = bool(rows["decided"].sum())
    groups: dict[float, list[str]] = {}
    for series, far in zip(rows["series"], rows["farthest_success" if decided else "farthest_solved"], strict=True):
        groups.setdefault(0 if pd.isna(far) else far, []).append(series)
    never = groups.pop(0, [])
    said = [f"r = {int(far)}: {listing(names, 5)}" for far, names in sorted(groups.items(), reverse=True)]
    what = "Farthest success" if decided else "Too few seeds for a verdict; farthest distance that every finished seed solves"
    best = f"{what}, {'; '.join(said)}." if said else ""
    return f"{best} At no tested distance: {listing(never, 5)}.".strip() if never else best


def depth_rules(analysis: Analysis) -> str:
    """What more layers change, on the same tasks, distances and models."""
    rows = analysis.evidence
    rows = rows[rows["access"] == "edges"]
    order = rows.groupby("depth_label")["num_layers"].mean().sort_values(kind="stable").index.tolist()
    if len(order) < 2:
        return ""
    where = ["task_label", "model_label", "hops"]
    ends = [rows[rows["depth_label"] == rule].set_index(where)["verdict"] for rule in (order[0], order[-1])]
    pairs = pd.concat(ends, axis=1, keys=["few", "many"], join="inner")
    lost, won = pairs[pairs["few"] == "failure"], pairs[pairs["few"] == "success"]
    if lost.empty and won.empty:
        return ""
    return (
        f"More layers, {order[-1]} instead of {order[0]}, where only edges carry information: "
        f"{(lost['many'] == 'success').sum()} of {plural(len(lost), 'failure')} become successes and "
        f"{(won['many'] == 'failure').sum()} of {plural(len(won), 'success', 'successes')} become failures."
    )


def two_failures(analysis: Analysis) -> str:
    """Which of the two failures goes with not solving the task."""
    if analysis.part("hops").empty:
        return ""
    found = {row["name"]: row for row in analysis.separations}
    share, token = found["log10_share_trained"], found["recoverability_trained"]
    counts = f"{plural(share['successes'], 'success', 'successes')}, {plural(share['failures'], 'failure')}"
    if share["auc"] is None or token["auc"] is None:
        return (
            "Whether over-squashing or over-smoothing goes with failing cannot be said from this grid: of measured "
            f"edge-only conditions with a verdict there are {counts}."
        )
    before = found["log10_share_initial"]["auc"]
    early = "" if before is None else f"; the share before any training does so in {percent(before)}"
    gap = abs(share["auc"] - 0.5) - abs(token["auc"] - 0.5)
    which = "neither goes with failing clearly more closely"
    if abs(gap) > 0.1:
        closer, other = ("squashing", "smoothing") if gap > 0 else ("smoothing", "squashing")
        which = f"over-{closer} goes with failing more closely than over-{other}"
    return (
        f"Over edge-only conditions with a verdict ({counts}), a success has the larger source share than a failure "
        f"in {percent(share['auc'])} of pairs, and the larger recoverability of own tokens in {percent(token['auc'])} "
        f"(50 %: no relation){early}. On this grid {which}; that is an association over conditions that share models "
        "and tasks, not a cause."
    )


def certificates(analysis: Analysis) -> str:
    """What the certificates say of the tasks."""
    tasks, known = analysis.results.tasks, analysis.results.certificates
    if not tasks:
        return ""
    verdicts = [known[task["task_key"]]["verdict"] for task in tasks if task["task_key"] in known]
    unavailable = sum(task["task_key"] in analysis.results.unavailable - known.keys() for task in tasks)
    good, missing = verdicts.count(CERTIFIED), len(tasks) - len(verdicts) - unavailable
    flagged = [f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts) if v != CERTIFIED]
    each = " (each distance is one)" if any(task["hops"] is not None for task in tasks) else ""
    parts = [f"{good} of {plural(len(tasks), 'task')}{each} {'is' if good == 1 else 'are'} certified"]
    parts += [f"flagged: {listing(flagged)}"] if flagged else []
    parts += [f"{missing} without a certificate yet"] if missing else []
    parts += [f"{unavailable} whose data cannot be had"] if unavailable else []
    return "; ".join(parts) + "."


def reproduction(analysis: Analysis) -> str:
    """How many published numbers ours agree with."""
    verdicts = [card["verdict"] for card in cards_of(analysis)]
    if not verdicts:
        return ""
    names = {
        "agrees": "agree with ours",
        "differs": "differ",
        "too few": "have fewer than five seeds of ours",
        "not run": "are not run",
    }
    said = [f"{verdicts.count(verdict)} {words}" for verdict, words in names.items() if verdict in verdicts]
    return f"Of {plural(len(verdicts), 'published number')} with a card, {listing(said)}."

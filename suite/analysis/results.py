"""A study read back: what was planned, what the store has of it, and how tasks and models are called in a report."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from suite.analysis.statistics import SOLVED_SKILL

SCHEMA = 3
FAMILIES = (
    "MPNN",
    "Deep MPNN",
    "Rewired",
    "Transformer",
)  # order of figures and tables; strangers' next, controls last
CONTROL = "Control"
STATUSES = ("ok", "diverged", "failed", "unavailable", "missing")
PARTS = (
    "hops",
    "no_distance",
    "depth",
    "reproduction",
)  # against distance; tasks at no single one; against depth; published settings


class Records(Protocol):
    """The part of `suite.store.Store` that an analysis reads."""

    def record(self, key: str) -> dict[str, Any] | None: ...
    def failures(self, key: str) -> list[dict[str, Any]]: ...
    def measures(self, key: str) -> dict[str, dict[str, Any]]: ...
    def certificate(self, task_key: str) -> dict[str, Any] | None: ...


@dataclass(frozen=True)
class Results:
    """Everything a report is made of.

    `cells` has one row per *planned* cell, in the order of the study: the fields of `cells.json`; `status` (one of
    `STATUSES`); `part` of the report (one of `PARTS`); `task_label`, `model_label`, `series` (model and depth rule),
    `base` (the model's name without its settings), `access`; and of finished cells `solved` and the scores. A cell
    that diverged is finished and has not solved its task; one that failed, is missing or whose data are unavailable has no
    outcome.
    """

    study: dict[str, Any]
    tasks: list[dict[str, Any]]
    task_labels: dict[str, str]  # by task key
    cells: pd.DataFrame
    records: dict[str, dict[str, Any]] = field(repr=False)
    measures: dict[str, dict[str, dict[str, Any]]] = field(repr=False)
    failures: dict[str, list[dict[str, Any]]] = field(repr=False)
    certificates: dict[str, dict[str, Any]] = field(repr=False)
    tuning: list[dict[str, Any]] = field(repr=False)  # as `cells.json` lists it, with the `part` and `task_label` of each

    @property
    def unique(self) -> pd.DataFrame:
        """Each planned cell once: one that stands in several places of the study is trained once and counts once."""
        return self.cells.drop_duplicates("key") if len(self.cells) else self.cells

    @property
    def unavailable(self) -> set[str]:
        """The keys of the tasks whose data cannot be had."""
        return set(self.cells.loc[self.cells["status"] == "unavailable", "task_key"]) if len(self.cells) else set()

    def part(self, name: str) -> pd.DataFrame:
        """Return the planned cells of one part of the report, one of `PARTS`; empty where the study has none."""
        return self.cells[self.cells["part"] == name]

    def by_key(self) -> pd.DataFrame:
        """Return each planned cell once, indexed by its key."""
        return self.unique.set_index("key")


def load_results(study_dir: Path, store: Records) -> Results:
    """Read `cells.json` of a study and what `store` has of its cells.

    Raises FileNotFoundError where the study was never expanded, ValueError where `cells.json` is of another schema.
    """
    path = study_dir / "cells.json"
    grid = json.loads(path.read_text(encoding="utf-8"))
    if grid.get("schema") != SCHEMA:
        raise ValueError(f"{path}: expected schema {SCHEMA}, got {grid.get('schema')!r}; run the study again to rewrite it")
    keys = [cell["key"] for cell in grid["cells"]]
    records = {key: record for key in dict.fromkeys(keys) if (record := store.record(key)) is not None}
    measures = {key: store.measures(key) for key in records}
    failures = {key: found for key in dict.fromkeys(keys) if (found := store.failures(key))}
    certificates = {t["task_key"]: c for t in grid["tasks"] if (c := store.certificate(t["task_key"])) is not None}
    rows = [cell | _outcome(records.get(cell["key"]), failures.get(cell["key"], [])) for cell in grid["cells"]]
    labels = _task_labels(grid["tasks"])
    cells = _labelled(pd.DataFrame(rows), labels) if rows else pd.DataFrame(columns=["key", "part", "status"])
    tuning = [_tuned(one, labels) for one in grid.get("tuning", [])]  # none in what was written before there was tuning
    return Results(grid["study"], grid["tasks"], labels, cells, records, measures, failures, certificates, tuning)


def _tuned(one: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    return one | {"part": _part(one["section"], one["hops"]), "task_label": labels[one["task_key"]]}


def _outcome(record: dict[str, Any] | None, failures: list[dict[str, Any]]) -> dict[str, Any]:
    if record is None:
        last = next((failure["status"] for failure in reversed(failures) if failure["stage"] == "train"), "missing")
        return {"status": last if last in ("unavailable", "missing") else "failed", "solved": None}
    metrics, cost = record["metrics"], record["cost"]
    last = metrics.get("last") or {}
    skill = (metrics.get("test") or {}).get("skill")
    return {
        "status": record["status"],
        "solved": record["status"] == "ok" and skill is not None and skill >= SOLVED_SKILL,
        "test_skill": skill,
        "test_score": (metrics.get("test") or {}).get("score"),
        "train_score": (metrics.get("train") or {}).get("score"),
        "last_test_score": (last.get("test") or {}).get("score"),
        "last_train_score": (last.get("train") or {}).get("score"),
        "steps": metrics.get("steps"),
        "solved_step": metrics.get("solved_step"),
        "stopped": metrics.get("stopped"),
        "seconds": cost.get("seconds"),
        "flops_per_step": cost.get("flops_per_step"),
        "num_parameters": cost.get("num_parameters"),
        "peak_memory_mb": cost.get("peak_memory_mb"),
    }


def _labelled(cells: pd.DataFrame, labels: dict[str, str]) -> pd.DataFrame:
    """Add `task_label`, `model_label`, `depth_label`, `series` and `family_order`: labels that tell all apart."""
    cells = cells.copy()
    cells["hops"] = pd.to_numeric(cells["hops"])
    cells["solved"] = cells["solved"].astype("boolean")
    cells["part"] = [_part(section, hops) for section, hops in zip(cells["section"], cells["hops"], strict=True)]
    cells["task_label"] = cells["task_key"].map(labels)
    shared = cells.groupby(["part", "title"])["model"].transform("nunique") > 1
    cells["model_label"] = cells["title"].where(~shared, cells["title"] + " (" + cells["model"] + ")")
    cells["model_order"] = pd.factorize(cells["model_label"])[0]
    rule, variant = cells["depth"].map(depth_label), _variant(cells)
    several = (rule.groupby([cells["part"], cells["model_label"]]).transform("nunique") > 1) & (cells["part"] != "depth")
    notes = (rule.where(several, "") + variant).str.removeprefix(", ")
    cells["series"] = cells["model_label"] + (" (" + notes + ")").where(notes != "", "")
    cells["depth_label"] = rule + variant
    strange = sorted(set(cells["family"]) - {*FAMILIES, CONTROL})
    order = {family: i for i, family in enumerate([*FAMILIES, *strange, CONTROL])}
    cells["base"] = cells["model"].str.partition("(")[0]
    cells["access"] = [access(t, c) for t, c in zip(cells["told"], cells["global_channel"], strict=True)]
    cells["family_order"] = cells["family"].map(order)
    return cells


def _variant(cells: pd.DataFrame) -> pd.Series[str]:
    """Tell conditions apart that differ in neither task, model nor depth: by width, else by a number."""
    width = cells.groupby(["part", "model_label"])["hidden_channels"].transform("nunique") > 1
    note = (", width " + cells["hidden_channels"].astype(str)).where(width, "")
    alike = cells.groupby(["part", "task_key", "model_label", "depth", note], sort=False)["condition"]
    number = alike.transform(lambda conditions: pd.factorize(conditions)[0] + 1).astype(str)
    return note + (", variant " + number).where(alike.transform("nunique") > 1, "")


def access(told: str, global_channel: list[str]) -> str:
    """Return what brings a trained model to know of other nodes and edges; `told` is by what it knows of the graph.

    "edges" alone; a "global" channel too; an "encoding" of the graph alone; or, of a "control", nothing of the graph. A norm
    with batch statistics couples nodes in training alone.
    """
    if told == "nothing":
        return "control"
    return "global" if set(global_channel) - {"norm(train)"} else told


def _part(section: str, hops: float | None) -> str:
    """Return the part of a block of the study: as it says, else by where the answer lies (0: on the node itself)."""
    if section in ("reproduction", "depth"):
        return section
    if hops is None or math.isnan(hops):
        return "no_distance"
    return "hops" if hops > 0 else "depth"


def depth_label(rule: Any) -> str:
    """Return a depth rule as a report writes it: "2*hops" becomes "L = 2r", r the hop distance, r′ that after a rewiring."""
    return "L = " + str(rule).replace("rewired_hops", "r′").replace("hops", "r").replace("*", "").strip()


def family_of(task: dict[str, Any]) -> tuple[str, str]:
    """Return what tells a task family apart: its class, and all parameters but the distance, as JSON."""
    ref = task["task"]
    params = {k: v for k, v in ref["params"].items() if k != "hops"}
    return f"{ref['ref']}@{ref['version']}", json.dumps(params, sort_keys=True)


def _task_labels(tasks: list[dict[str, Any]]) -> dict[str, str]:
    """Name each task after its family: title and topology, and where families share these what differs."""
    families: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for task in tasks:
        families[family_of(task)].append(task)
    names = {family: _name(members) for family, members in families.items()}
    params = {family: _flat(members[0]["task"]["params"]) for family, members in families.items()}
    labels: dict[str, str] = {}
    for family, members in families.items():
        alike = [other for other, name in names.items() if name == names[family]]
        differs = {k: v for k, v in params[family].items() if k != "hops" and any(params[o].get(k) != v for o in alike)}
        note = ", ".join(f"{key}={value}" for key, value in differs.items()) or members[0]["task"]["ref"]
        label = names[family] + (f" ({note})" if len(alike) > 1 else "")
        labels |= {task["task_key"]: label for task in members}
    return labels


def _name(members: list[dict[str, Any]]) -> str:
    """Title and topology of a family; settings in brackets that change with the distance are left out."""
    parts = []
    for field_name in ("title", "topology"):
        found = list(dict.fromkeys(str(task[field_name]) for task in members if task[field_name]))
        parts += found if len(found) <= 1 else [found[0].partition(" (")[0]]
    return " · ".join(parts)


def _flat(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat

"""What a study is made of once it is written out: cells as its blocks show them, and the trials of its tuning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from suite.cell import Cell
from suite.provenance import public

if TYPE_CHECKING:
    from suite.factors import Told
    from suite.task import Task, Topology


@dataclass(frozen=True)
class Budget:
    """The parameters that a block asks of its models, and what a model at the width found for it has.

    `exempt` are models without a width, whose number of parameters is what it is.
    """

    asked: int
    got: int
    exempt: bool


@dataclass(frozen=True)
class Entry:
    """A cell as a block of the study shows it: one line of `cells.json`."""

    section: str
    cell: Cell
    task: Task
    model: str
    title: str
    family: str
    told: Told
    global_channel: tuple[str, ...]
    pe_reach: int | None
    depth: str
    budget: Budget | None

    def line(self) -> dict[str, Any]:
        """Return what reports group and label by, as JSON values."""
        cell, task = self.cell, self.task
        return {
            "key": cell.key,
            "condition": cell.condition,
            "section": self.section,
            "task": task.title,
            "topology": topology_label(task),
            "hops": task.range,
            "model": self.model,
            "title": self.title,
            "family": self.family,
            "told": self.told,
            "global_channel": list(self.global_channel),
            "pe_reach": self.pe_reach,
            "num_layers": cell.num_layers,
            "depth": self.depth,
            "hidden_channels": cell.hidden_channels,
            "budget": None if self.budget is None else asdict(self.budget),
            "seed": cell.seed,
            "purpose": cell.purpose,
            "task_key": cell.task.key,
            "chance": _known(task, "chance"),
            "ceiling": _known(task, "ceiling"),
            "metric": task.metric,
        }


def _known(task: Task, level: Literal["chance", "ceiling"]) -> float | None:
    """Return the task's chance or ceiling; None where it needs data that cannot be had, whose cells have no result either."""
    from suite.task import DataUnavailable

    try:
        return float(getattr(task, level))
    except DataUnavailable:
        return None


@dataclass(frozen=True)
class Trial:
    """Settings that were or are tried, by the cells in `entries`; `score` is None as long as one of them is not finished."""

    settings: dict[str, Any]
    entries: tuple[Entry, ...]
    score: float | None


@dataclass(frozen=True)
class Tuning:
    """The trials of one condition, as far as they are known, and the number of the one that its reported cells follow."""

    trials: tuple[Trial, ...]
    asked: int
    chosen: int | None
    num_reported: int

    @property
    def waiting(self) -> int:
        """How many reported cells are not known yet."""
        return self.num_reported if self.chosen is None else 0

    def line(self) -> dict[str, Any]:
        """Return it as JSON values; a trial whose cells gave no result has the score None, as one that is not finished."""
        first = self.trials[0].entries[0].line()
        names = ("section", "task", "topology", "hops", "task_key", "model", "title", "family", "num_layers", "depth")
        trials = [
            {
                "settings": public(trial.settings),
                "score": trial.score if trial.score is not None and math.isfinite(trial.score) else None,
                "finished": trial.score is not None,
                "cells": [entry.line() | {"title": f"{entry.title}, tuning"} for entry in trial.entries],
            }
            for trial in self.trials
        ]
        return {name: first[name] for name in names} | {"asked": self.asked, "chosen": self.chosen, "trials": trials}


Outcome = Callable[[Cell], float | None]  # validation skill of a finished cell, NO_RESULT of one without; None: not finished


def nothing_known(_cell: Cell) -> float | None:
    """The outcome of every cell where nothing was run yet."""
    return None


def topology_label(task: Task) -> str | None:
    """Return how tables call the graph of `task`: its kind (a network: its name) and what differs from the defaults.

    One that is made of another always names it.
    """
    from suite.task import Topology

    topology = getattr(task, "topology", None)
    if not isinstance(topology, Topology):
        return None
    if "topology" not in type(task).model_fields:  # not a knob of this task: may vary with the distance
        return _name(topology)
    return _label(topology)


def _label(topology: Topology) -> str:
    from suite.task import Topology

    parts = {key: _label(part) for key in type(topology).model_fields if isinstance(part := getattr(topology, key), Topology)}
    own = topology.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "name", *parts})
    settings = ", ".join(f"{key}={value}" for key, value in (parts | own).items())
    return f"{_name(topology)} ({settings})" if settings else _name(topology)


def _name(topology: Topology) -> str:
    return str(getattr(topology, "name", topology.kind))

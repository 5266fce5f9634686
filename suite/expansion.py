"""A study written out: every cell of its blocks, the batches that are trained together, the tasks, and `cells.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.block import GridBlock
from suite.cell import Cell, TaskRef
from suite.entries import Entry, Outcome, Tuning, nothing_known, topology_label
from suite.provenance import public
from suite.study import Study, StudyError, TaskSpec
from suite.tasks import find_task

if TYPE_CHECKING:
    from suite.task import Task

SCHEMA = 3  # of `cells.json`


@dataclass(frozen=True)
class Expansion:
    """A study written out: entries (a cell may stand in several sections), unique cells, batches, tasks.

    Of conditions that are tuned, the reported cells are known once all trials are finished: until then they are `waiting`.
    """

    study: Study
    entries: tuple[Entry, ...]
    tuning: tuple[Tuning, ...] = ()

    @cached_property
    def every(self) -> tuple[Entry, ...]:
        """The entries, and those of tuning."""
        return (*self.entries, *(entry for tuned in self.tuning for trial in tuned.trials for entry in trial.entries))

    @cached_property
    def first(self) -> dict[str, Entry]:
        """The first entry of each cell, by key."""
        return {entry.cell.key: entry for entry in reversed(self.every)}

    @property
    def waiting(self) -> int:
        """How many reported cells wait for the tuning of their condition."""
        return sum(tuned.waiting for tuned in self.tuning)

    @cached_property
    def batches(self) -> tuple[tuple[Cell, ...], ...]:
        """Cells that differ in learning rate and seed only, in this order: trained together, whatever is there already.

        Those of tuning by trial, as their rates become known one after another.
        """
        groups: dict[str, dict[tuple[float, int], Cell]] = {}
        for entry in self.every:
            group = entry.cell.stack if entry.cell.purpose == "report" else entry.cell.condition
            groups.setdefault(group, {})[entry.cell.protocol.lr, entry.cell.seed] = entry.cell
        return tuple(tuple(cells[key] for key in sorted(cells)) for cells in groups.values())

    @cached_property
    def tasks(self) -> dict[str, tuple[TaskRef, Task]]:
        """Every task of the study once, by key."""
        return {entry.cell.task.key: (entry.cell.task, entry.task) for entry in self.every}

    def listing(self, store: str) -> dict[str, Any]:
        """Return the content of `cells.json`; `store` is the relative path from there to the store."""
        study = self.study
        about = {"name": study.name, "title": study.title, "question": study.question, "file_sha256": study.file_sha256}
        tasks = [
            {"task_key": key, "task": public(ref.model_dump(mode="json")), "title": task.title}
            | {"topology": topology_label(task), "hops": task.range}
            for key, (ref, task) in self.tasks.items()
        ]
        cells = [entry.line() for entry in self.entries]
        found = {"schema": SCHEMA, "study": about, "store": store, "cells": cells, "tasks": tasks}
        return found | {"tuning": [tuned.line() for tuned in self.tuning], "waiting": self.waiting}


def expand(study: Study, tasks: Mapping[str, str], only: Sequence[str] = (), outcome: Outcome = nothing_known) -> Expansion:
    """Return every cell of `study` that is known: what follows tuning is, once `outcome` knows the cells of all trials.

    Args:
        study: what to expand.
        tasks: the `module:Name` reference of every task known by name.
        only: tasks to restrict the study to, as `kind` names them; one that the study lacks is asked with the settings
            of the first block that suits it.
        outcome: what became of the cells of tuning.

    Raises StudyError with every problem: names, fields, hops that a topology cannot carry, rules without a distance.
    """
    entries: list[Entry] = []
    tuning: list[Tuning] = []
    problems: list[str] = []
    for index, grid in enumerate(study.grid):
        keep = [number for number, spec in enumerate(grid.tasks) if not only or spec.kind in only]
        block = GridBlock(grid, f"grid[{index}]", tasks, study.folder, outcome)
        found, wrong = block.expand(keep)
        entries += found
        tuning += block.tuning
        problems += wrong
    if problems:
        raise StudyError(study.place, problems)
    for kind in only:
        if not any(spec.kind == kind for grid in study.grid for spec in grid.tasks):
            block, found = _added(study, kind, tasks, outcome)
            entries += found
            tuning += block.tuning
    unique = {(entry.section, entry.model, entry.depth, entry.cell.key): entry for entry in reversed(entries)}
    return Expansion(study, tuple(reversed(unique.values())), tuple(tuning))


def _added(study: Study, kind: str, tasks: Mapping[str, str], outcome: Outcome) -> tuple[GridBlock, list[Entry]]:
    """Ask a task that the study lacks in the first block that suits it."""
    try:
        find_task(kind, tasks)
    except ValueError as error:
        raise StudyError("--task", [str(error)]) from error
    first_problems: list[str] = []
    for grid in study.grid:
        asked = grid.model_copy(update={"tasks": (TaskSpec(kind=kind),)})
        block = GridBlock(asked, "", tasks, Path(), outcome)
        entries, problems = block.expand([0])
        if not problems:
            return block, entries
        first_problems = first_problems or [problem.removeprefix(".tasks[0]").lstrip(".: ") for problem in problems]
    raise StudyError(f"--task {kind}", first_problems)

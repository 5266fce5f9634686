"""Rows that have a limit instead of an opponent: peak memory, and what a cell costs beside its training."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.harness import Line, Say, Spread, at_most, in_child, peak_gib, spread
from benchmarks.training import bare, task_ref
from datasets.published import PublishedNeighborsMatch
from datasets.transfer import Transfer
from suite.cell import Cell, Protocol
from suite.costs import Costs
from suite.engine import train
from suite.models import resolve
from suite.progress import Lines
from suite.runner import Planner, Runner
from suite.store import Store
from suite.survey import survey
from suite.worker import Parts

MEASURES: Mapping[str, Any] = {}  # this module stands for `suite.measures` in a worker that has nothing to measure
SEEDS = 5  # of a condition, as in the studies


def memory_of_tree(batch_size: int, steps: int) -> float:
    """Return the peak memory, in GiB, of a process that trains NeighborsMatch at 8 hops as published."""
    protocol = bare(Protocol(batch_size=batch_size), steps)
    model = resolve("gcn", {"norm": "layer", "skip": "residual", "encoder": "linear"})
    task = task_ref(PublishedNeighborsMatch(hops=8))
    train([Cell(task=task, model=model, num_layers=9, hidden_channels=32, seed=0, protocol=protocol)], lambda _: None)
    return peak_gib()


@dataclass(frozen=True)
class TreeMemory:
    """NeighborsMatch at 8 hops in batches of 1,024, as its authors trained it."""

    title: str = "tree 8, published, batch 1024: peak"
    batch_size: int = 1024

    def run(self, rounds: int, say: Say) -> list[Line]:
        say("one process")
        return [at_most(self.title, 4, spread([in_child(memory_of_tree, self.batch_size, 2, worker=True)]), "GiB")]


def trivial_cells(count: int, size: int = SEEDS) -> list[tuple[Cell, ...]]:
    """Return `count` cells that one step trains, in batches of `size`."""
    task, model = task_ref(Transfer(hops=2, num_classes=2)), resolve("mlp")
    batches = []
    for number in range(count // size):
        protocol = bare(Protocol(batch_size=1, weight_decay=1 / (number + 1)), 1)  # a condition of its own
        common = {"task": task, "model": model, "num_layers": 1, "hidden_channels": 1, "protocol": protocol}
        batches.append(tuple(Cell.model_validate(common | {"seed": seed}) for seed in range(size)))
    return batches


def runner_seconds(batches: Sequence[tuple[Cell, ...]], parts: Parts, workers: int = 2) -> tuple[float, float]:
    """Return the seconds per cell, on all workers together, of a first run of `batches` and of a second with nothing to do.

    What `run_all.py run` does between the study and the report, into a store of its own. The fork server, which takes a few
    seconds to start, whatever the number of cells, is warm before the clock starts.
    """
    times = []
    with tempfile.TemporaryDirectory() as folder:
        _run(Store(Path(folder) / "warm"), batches[:1], parts, workers)
        for _ in range(2):
            start = time.perf_counter()
            _run(Store(Path(folder) / "store"), batches, parts, workers)
            times.append(time.perf_counter() - start)
    count = sum(map(len, batches))
    return times[0] / count, times[1] / count


def _run(store: Store, batches: Sequence[tuple[Cell, ...]], parts: Parts, workers: int) -> None:
    store.prepare()
    cells = [cell for batch in batches for cell in batch]
    listing: dict[str, Any] = {"cells": [_line(cell) for cell in cells], "tasks": []}
    jobs = Planner(store, parts=parts).plan(batches, []).jobs
    costs = Costs(store, cells, {}, set())
    with open(os.devnull, "w") as nowhere, Lines(Console(file=nowhere), store, listing, jobs, costs.seconds, workers) as shown:
        Runner(store, workers, shown).run(sorted(jobs, key=costs.seconds, reverse=True))
    if survey(listing, store).counts != {"done": len(cells)}:
        raise RuntimeError("the runner left cells undone")


def _line(cell: Cell) -> dict[str, Any]:
    looks = {"task": "trivial", "topology": None, "hops": None, "title": "model"}
    return looks | {"key": cell.key, "num_layers": cell.num_layers, "seed": cell.seed, "purpose": cell.purpose}


def real_seconds(count: int) -> tuple[float, float]:
    """Return `runner_seconds` of `count` trivial cells that the real engine trains, without measures and certificates."""
    return runner_seconds(trivial_cells(count), Parts(measures=__name__))


@dataclass(frozen=True)
class Overhead:
    """What a cell costs beside its training, as their number grows: it must stay the same."""

    title: str = "overhead of a trivial cell"
    counts: tuple[int, ...] = (100, 1000)

    def run(self, rounds: int, say: Say) -> list[Line]:
        lines = []
        for count in self.counts:
            say(f"{count:,} cells")
            new, again = real_seconds(count)  # in this process: the workers are processes of their own
            lines.append(at_most(f"{count:,} trivial cells, a cell", 20, _once(new), "ms"))
            lines.append(Line(f"{count:,} finished cells, a cell", "-", _once(again), "ms"))
        return lines


def _once(seconds: float) -> Spread:
    return spread([1000 * seconds])


LIMITS: dict[str, TreeMemory | Overhead] = {
    "tree8-memory": TreeMemory(),
    "overhead": Overhead(),
    "overhead-10000": Overhead(counts=(10_000,)),
}

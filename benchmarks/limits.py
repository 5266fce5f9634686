"""Rows that have a limit instead of an opponent: peak memory, and what a cell costs beside its training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import Line, Say, Spread, at_most, in_child, peak_gib, spread
from benchmarks.training import bare, task_ref
from datasets.published import PublishedNeighborsMatch
from datasets.transfer import Transfer
from suite.cell import Cell, Protocol
from suite.engine import train
from suite.models import resolve
from suite.runner import Planner, Runner
from suite.store import Store
from suite.worker import Parts

MEASURES: Mapping[str, Any] = {}  # this module stands for `suite.measures` in a worker that has nothing to measure
SEEDS = 20  # of a condition: cells that a worker process takes together


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


def trivial_cells(count: int) -> list[tuple[Cell, ...]]:
    """Return `count` cells that one step trains, in batches of `SEEDS`."""
    task, model = task_ref(Transfer(hops=2, num_classes=2)), resolve("mlp")
    batches = []
    for number in range(count // SEEDS):
        protocol = bare(Protocol(batch_size=1, lr=1e-3 / (number + 1)), 1)  # a condition of its own
        common = {"task": task, "model": model, "num_layers": 1, "hidden_channels": 1, "protocol": protocol}
        batches.append(tuple(Cell.model_validate(common | {"seed": seed}) for seed in range(SEEDS)))
    return batches


class Silent:
    """A watcher of the runner that has nothing to say."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def runner_seconds(count: int) -> tuple[float, float]:
    """Return the seconds per cell that planning and running `count` trivial cells take, and then planning them again.

    One worker, the real runner, store and engine, no measures and no certificates.
    """
    batches = trivial_cells(count)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.prepare()
        planner = Planner(store, parts=Parts(measures=__name__))
        start = time.perf_counter()
        plan = planner.plan(batches, [])
        Runner(store, 1, Silent()).run(plan.jobs)
        middle = time.perf_counter()
        if planner.plan(batches, []).jobs:
            raise RuntimeError("the runner left cells undone")
        return (middle - start) / count, (time.perf_counter() - middle) / count


@dataclass(frozen=True)
class Overhead:
    """What a cell costs beside its training, as their number grows: it must stay the same."""

    title: str = "overhead of a trivial cell"
    counts: tuple[int, ...] = (100, 1000)

    def run(self, rounds: int, say: Say) -> list[Line]:
        lines = []
        for count in self.counts:
            say(f"{count:,} cells")
            new, again = in_child(runner_seconds, count)
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

"""Certificates: what the quick tier takes for tasks of the standard study, and for a graph of 256 nodes.

Wall seconds as `run_all.py certify` takes them, controls side by side in two processes; CPU seconds of the same in one process,
which other work on the machine does not change much.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.harness import Line, Say, at_most, in_child, spread
from datasets.chorded_line import ChordedLine
from datasets.distances import Distances
from datasets.known_range import KnownRange
from datasets.ordered_path import OrderedPath
from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.cell import TaskRef
from suite.certify import certify
from suite.runner import processes
from suite.task import Task
from suite.views import task_ref

CORES = 2
TARGET = 60  # wall seconds on two cores
TASKS: dict[str, Task] = {
    "transfer": Transfer(topology=Ring(), addressing="position", num_classes=8, hops=6),
    "ordered path": OrderedPath(group="s3", hops=6),
    "known range": KnownRange(topology=Ring(), size=16, hops=6),
    "distances": Distances(topology=ChordedLine()),
    "products on 256 nodes": KnownRange(interaction="product"),
}


class Spent(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


def alone(ref: TaskRef) -> float:
    """Certify a task in this process and return the CPU seconds."""
    task, start = ref.load(), time.process_time()
    certify(task)
    return time.process_time() - start


def side_by_side(ref: TaskRef) -> float:
    """Certify a task, its controls in processes of their own, and return the wall seconds; the processes stand by already."""
    task = ref.load()
    with processes(CORES) as pool:
        list(pool.map(_imported, range(CORES)))
        start = time.perf_counter()
        certify(task, pool=pool)
        return time.perf_counter() - start


def _imported(number: int) -> int:
    import suite.certify  # noqa: F401 - what a process imports when it starts is no part of a task's time

    return number


@dataclass(frozen=True)
class Certificates:
    """The quick tier, task by task."""

    title: str = "certify"
    tasks: dict[str, Task] = field(default_factory=lambda: TASKS)

    def run(self, rounds: int, say: Say) -> list[Line]:
        lines = []
        for name, task in self.tasks.items():
            ref, found = task_ref(task), []
            for number in range(min(rounds, 2)):
                found.append(Spent(in_child(side_by_side, ref, worker=True), in_child(alone, ref, worker=True)))
                said = f"{found[-1].wall:.1f} s on {CORES} processes, {found[-1].cpu:.1f} CPU seconds in one"
                say(f"{name}, round {number + 1} of {min(rounds, 2)}: {said}")
            lines.append(at_most(f"{self.title}, {name}", TARGET, spread([one.wall for one in found]), "s"))
            lines.append(Line(f"{self.title}, {name}, CPU", "-", spread([one.cpu for one in found]), "s"))
        return lines


CERTIFICATES: dict[str, Certificates] = {"certify": Certificates()}

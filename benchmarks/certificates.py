"""Certificates: what both tiers take for tasks of the standard study, and for the dearest that there are.

Wall seconds as `run_all.py certify` takes them, controls side by side in two processes; CPU seconds of the same in one process,
which other work on the machine does not change much.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.harness import Line, Say, at_most, in_child, spread
from datasets.chorded_line import ChordedLine
from datasets.colour_islands import ColourIslands
from datasets.distances import Distances
from datasets.known_range import KnownRange
from datasets.network import Network
from datasets.ordered_path import OrderedPath
from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.cell import TaskRef
from suite.certify import certify
from suite.runner import processes
from suite.store import Tier
from suite.task import Task
from suite.views import task_ref

CORES = 2
TARGETS: dict[Tier, int] = {"quick": 60, "full": 600}  # wall seconds on two cores
TASKS: dict[str, Task] = {
    "transfer": Transfer(topology=Ring(), addressing="position", num_classes=8, hops=6),
    "ordered path": OrderedPath(group="s3", hops=6),
    "known range": KnownRange(topology=Ring(), size=16, hops=6),
    "distances": Distances(topology=ChordedLine()),
}
DEAR: dict[str, Task] = {
    "products on 256 nodes": KnownRange(interaction="product"),
    "diameters": Distances(quantity="diameter"),
    "colour islands": ColourIslands(),
    "a road network": Transfer(topology=Network(), addressing="position"),
}


class Spent(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


def alone(ref: TaskRef, tier: Tier) -> float:
    """Certify a task in this process and return the CPU seconds."""
    task, start = ref.load(), time.process_time()
    certify(task, tier)
    return time.process_time() - start


def side_by_side(ref: TaskRef, tier: Tier) -> float:
    """Certify a task, its controls in processes of their own, and return the wall seconds; the processes stand by already."""
    task = ref.load()
    with processes(CORES) as pool:
        list(pool.map(_imported, range(CORES)))
        start = time.perf_counter()
        certify(task, tier, pool)
        return time.perf_counter() - start


def _imported(number: int) -> int:
    import suite.certify  # noqa: F401 - what a process imports when it starts is no part of a task's time

    return number


@dataclass(frozen=True)
class Certificates:
    """A tier, task by task."""

    title: str
    tier: Tier
    tasks: dict[str, Task] = field(default_factory=lambda: TASKS | DEAR)

    def run(self, rounds: int, say: Say) -> list[Line]:
        lines = []
        for name, task in self.tasks.items():
            ref, found = task_ref(task), []
            for number in range(min(rounds, 2)):
                found.append(Spent(*(in_child(spent, ref, self.tier, worker=True) for spent in (side_by_side, alone))))
                said = f"{found[-1].wall:.1f} s on {CORES} processes, {found[-1].cpu:.1f} CPU seconds in one"
                say(f"{name}, round {number + 1} of {min(rounds, 2)}: {said}")
            lines.append(at_most(f"{self.title}, {name}", TARGETS[self.tier], spread([one.wall for one in found]), "s"))
            lines.append(Line(f"{self.title}, {name}, CPU", "-", spread([one.cpu for one in found]), "s"))
        return lines


CERTIFICATES = {"certify": Certificates("certify", "quick"), "certify-full": Certificates("certify-full", "full")}

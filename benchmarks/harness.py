"""How a row is measured: every measurement in a process of its own, both sides in turn, and what is printed of it.

A process of its own, because the engine's settings of the allocator and of matrix products hold for a whole process and
must not reach the plain side, and because peak memory is a process's.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple, TypeVar

from suite.runner import WORKER_ENVIRONMENT

Result = TypeVar("Result")
Say = Callable[[str], None]


def in_child(function: Callable[..., Result], *arguments: Any, worker: bool = False) -> Result:
    """Return `function(*arguments)` from a fresh process with one thread and PyTorch's own settings.

    `worker`: with the environment that the suite gives its workers, which Python and PyTorch read when they start.
    """
    os.environ["TQDM_DISABLE"] = "1"  # PyG's own progress bars
    alone = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    before = dict(os.environ)
    os.environ.update(WORKER_ENVIRONMENT if worker else alone)
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_single_threaded, function, arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _single_threaded(function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    import torch

    torch.set_num_threads(1)
    return function(*arguments)


def peak_gib() -> float:
    """Return the largest resident memory this process ever had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Spread(NamedTuple):
    """What the rounds of a measurement gave."""

    low: float
    middle: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(min(values), median(values), max(values))


def ratios(plain: Sequence[float], ours: Sequence[float]) -> Spread:
    """Return how many times as much plain took, round by round: sides of one round ran next to each other."""
    return spread([p / o for p, o in zip(plain, ours, strict=True)])


def in_turn(sides: Mapping[str, Callable[[], float]], rounds: int, say: Say) -> dict[str, list[float]]:
    """Return the seconds of each side, one value a round; the order turns round from round to round."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            say(f"round {number + 1} of {rounds}, {name}")
            taken[name].append(sides[name]())
    return taken


@dataclass(frozen=True)
class Line:
    """A line of the table: what was measured, what is aimed at, and what was found."""

    title: str
    target: str
    found: Spread | None  # None: there was nothing to measure
    unit: str = "x"
    met: bool | None = None


def at_least(title: str, target: float | None, found: Spread) -> Line:
    """Return the line of a ratio, which is judged by its median."""
    if target is None:
        return Line(title, "-", found)
    return Line(title, f">= {target:g}", found, met=found.middle >= target)


def at_most(title: str, target: float, found: Spread, unit: str) -> Line:
    """Return the line of a cost, which is judged by its median."""
    return Line(title, f"<= {target:g}", found, unit, found.middle <= target)

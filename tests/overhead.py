"""What hopscope itself spends on a cell: a study whose cells do nothing, from planning to stored records and a second plan.

    PYTHONPATH=. python tests/overhead.py 1000 5     # cells, cells in a batch

The first call in a process also starts the fork server (a few seconds once, whatever the number of cells); `overhead` waits
for it before it looks at the clock.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fake_parts import PARTS, cells_of
from rich.console import Console

from suite.cell import Cell
from suite.costs import Costs
from suite.progress import Lines
from suite.runner import Planner, Runner
from suite.store import Store
from suite.survey import survey


@dataclass(frozen=True)
class Overhead:
    """Wall-clock milliseconds per cell on all workers together: of a first run, and of a second with nothing to do."""

    first: float
    second: float


def overhead(folder: Path, num_cells: int, size: int = 1, workers: int = 2) -> Overhead:
    """Return what `num_cells` cells in batches of `size`, which train for no time, cost in a new store under `folder`."""
    batches = [cells_of(size, condition=number) for number in range(num_cells // size)]
    _run(Store(folder / "warm"), [cells_of(1)], workers)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        _run(Store(folder / "store"), batches, workers)
        times.append(1000 * (time.perf_counter() - start) / num_cells)
    return Overhead(*times)


def _run(store: Store, batches: list[tuple[Cell, ...]], workers: int) -> None:
    """Do what `run_all.py run` does between the study and the report."""
    store.prepare()
    cells = [cell for batch in batches for cell in batch]
    listing: dict[str, Any] = {"cells": [_line(cell) for cell in cells], "tasks": []}
    jobs = Planner(store, parts=PARTS).plan(batches, []).jobs
    costs = Costs(store, cells, {}, set())
    with open("/dev/null", "w") as nowhere, Lines(Console(file=nowhere), store, listing, jobs, costs.seconds, workers) as shown:
        Runner(store, workers, shown).run(sorted(jobs, key=costs.seconds, reverse=True))
    assert survey(listing, store).counts == {"done": len(cells)}


def _line(cell: Cell) -> dict[str, Any]:
    looks = {"task": "quiet", "topology": None, "hops": None, "title": "model"}
    return looks | {"key": cell.key, "num_layers": cell.num_layers, "seed": cell.seed}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(asdict(overhead(Path(name), *map(int, sys.argv[1:]))))

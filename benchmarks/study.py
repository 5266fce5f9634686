"""The whole `standard` study: its training against the plain loop on a random sample of its cells, and where the rest goes.

A sampled cell is trained alone by the plain loop, and by the engine in its batch, of whose seconds it is charged its share:
that is how the study trains it. Both sides take a fixed share of the cell's steps, so that long cells weigh more, as they do
in the study.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import training
from benchmarks.harness import Line, Say, Spread, at_least, in_child, in_turn, ratios, spread
from datasets import TASKS
from suite.cell import Cell, Protocol, TaskRef
from suite.certify import certify
from suite.engine import Trained, train
from suite.expansion import Expansion, expand
from suite.measures import MEASURES, measure
from suite.refs import ref_of
from suite.runner import Planner, Runner
from suite.store import Store
from suite.study import load_study
from suite.task import DataUnavailable

STANDARD = Path(__file__).parents[1] / "studies" / "standard.toml"
SHARE = 6  # one of so many steps is taken for the ratio: enough that setting up weighs little, as it does in the study
SHARE_OF_COSTS = 10  # and for the other costs, at which the looks at the validation set come out whole
CHUNK = 12  # cells that one process takes


class Sampled(NamedTuple):
    """A cell of the study and the batch it is trained in."""

    cell: Cell
    batch: tuple[Cell, ...]


@cache
def standard() -> Expansion:
    """Return the study without the cells whose data cannot be had here."""
    whole = expand(load_study(STANDARD), {name: ref_of(task) for name, task in TASKS.items()})
    missing = {key for key, (ref, _) in whole.tasks.items() if not _can_be_drawn(ref)}
    return Expansion(whole.study, tuple(entry for entry in whole.entries if entry.cell.task.key not in missing))


def _can_be_drawn(ref: TaskRef) -> bool:
    try:
        ref.load().at("train", 0).draw(1, torch.Generator())
    except DataUnavailable:
        return False
    return True


def sample(count: int, seed: int = 0) -> list[Sampled]:
    """Return `count` cells of the study, always the same for one `seed`."""
    every = [Sampled(cell, batch) for batch in standard().batches for cell in batch]
    return random.Random(seed).sample(every, count)


def shortened(protocol: Protocol, share: int) -> Protocol:
    """Return `protocol` with one of `share` steps, nothing but training."""
    return training.bare(protocol, max(2, protocol.max_steps // share))


def scaled(protocol: Protocol, share: int) -> Protocol:
    """Return `protocol` with one of `share` steps between looks and in all, its evaluation sets and no early end."""
    steps, every = max(2, protocol.max_steps // share), max(1, protocol.eval_every // share)
    return protocol.model_copy(update={"max_steps": steps, "eval_every": every, "solved_at": None})


def _with(cells: Sequence[Cell], change: Callable[[Protocol, int], Protocol], share: int) -> list[Cell]:
    return [cell.model_copy(update={"protocol": change(cell.protocol, share)}) for cell in cells]


# the ratio


def plain_seconds(part: Sequence[Sampled]) -> float:
    return sum(training.plain_seconds(_with([cell], shortened, SHARE)) for cell, _ in part)


def our_seconds(part: Sequence[Sampled]) -> float:
    return sum(training.our_seconds(_with(batch, shortened, SHARE)) / len(batch) for _, batch in part)


def _chunks(cells: Sequence[Sampled]) -> list[Sequence[Sampled]]:
    return [cells[i : i + CHUNK] for i in range(0, len(cells), CHUNK)]


def _in_children(side: Callable[[Sequence[Sampled]], float], cells: Sequence[Sampled], worker: bool) -> float:
    return sum(in_child(side, part, worker=worker) for part in _chunks(cells))


@dataclass(frozen=True)
class Ratio:
    """Training of a sample of the study's cells."""

    title: str = "standard, training"
    count: int = 60

    def run(self, rounds: int, say: Say) -> list[Line]:
        cells = sample(self.count)
        sides = {
            "plain": partial(_in_children, plain_seconds, cells, False),
            "ours": partial(_in_children, our_seconds, cells, True),
        }
        taken = in_turn(sides, min(rounds, 2), say)
        return [at_least(f"{self.title}, {self.count} cells", 3, ratios(taken["plain"], taken["ours"]))]


# where the rest goes


class Costs(NamedTuple):
    """CPU seconds of a cell of the study at its whole budget of steps."""

    training: float
    evaluation: float
    measures: float


def costs(part: Sequence[Sampled]) -> Costs:
    """Return the sums over `part` of what the engine spends on a cell."""
    trains, looks, measures = 0.0, 0.0, 0.0
    for cell, batch in part:
        only, _ = _trained(_with(batch, shortened, SHARE_OF_COSTS))
        seconds, done = _trained(_with(batch, scaled, SHARE_OF_COSTS))
        steps = cell.protocol.max_steps / max(2, cell.protocol.max_steps // SHARE_OF_COSTS)
        trains += only * steps / len(batch)
        looks += (seconds - only) / len(batch)
        start = time.process_time()
        for name in MEASURES:
            measure(name, cell.task.load(), cell.seed, deepcopy(done.initial), done.trained)
        measures += time.process_time() - start
    return Costs(trains, looks, measures)


def _trained(cells: Sequence[Cell]) -> tuple[float, Trained]:
    """Return the CPU seconds of training `cells`, warmed up, and one of them."""
    done: list[Trained] = []
    train(training.with_steps(cells, training.WARM_UP), lambda _: None)
    start = time.process_time()
    train(cells, done.append)
    return time.process_time() - start, done[0]


def certificates(refs: Sequence[TaskRef]) -> float:
    start = time.process_time()
    for ref in refs:
        certify(ref.load())
    return time.process_time() - start


class Silent:
    """A watcher of the runner that has nothing to say."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def report_seconds(part: Sequence[Sampled]) -> float:
    """Return the CPU seconds of the report of a study that consists of the conditions in `part`, run in two steps a cell."""
    from reports import build_report  # here: the other rows' processes need no figures

    conditions = {cell.condition for cell, _ in part}
    entries = [
        replace(entry, cell=_with([entry.cell], scaled, 10**6)[0])
        for entry in standard().entries
        if entry.cell.condition in conditions
    ]
    small = Expansion(standard().study, tuple(entries))
    with tempfile.TemporaryDirectory() as temporary:
        folder, store = Path(temporary) / "standard", Store(Path(temporary) / "store")
        folder.mkdir()
        store.prepare()
        plan = Planner(store).plan(small.batches, [])  # a report can do without certificates
        Runner(store, 1, Silent()).run(plan.jobs)
        (folder / "cells.json").write_text(json.dumps(small.listing("../store")))
        start = time.process_time()
        build_report(folder, store.root)
        return time.process_time() - start


@dataclass(frozen=True)
class Rest:
    """CPU seconds of the whole study, from a sample, by what they are spent on. Every cell at its whole budget of steps."""

    title: str = "standard"
    num_cells: int = 12
    num_tasks: int = 5
    num_conditions: int = 4

    def run(self, rounds: int, say: Say) -> list[Line]:
        study, cells = standard(), sample(self.num_cells)
        every = sum(map(len, study.batches))
        say(f"training, evaluation and measures of {self.num_cells} of {every} cells")
        parts = [in_child(costs, part, worker=True) for part in _chunks(cells)]
        sums = Costs(*(sum(part) for part in zip(*parts, strict=True)))
        refs = random.Random(0).sample([ref for ref, _ in study.tasks.values()], self.num_tasks)
        say(f"certificates of {self.num_tasks} of {len(study.tasks)} tasks")
        certified = in_child(certificates, refs) * len(study.tasks) / self.num_tasks
        say(f"the report of {self.num_conditions} conditions")
        report = in_child(report_seconds, cells[: self.num_conditions])
        found = {name: value * every / self.num_cells for name, value in sums._asdict().items()}
        found |= {"certificates": certified, f"report of {self.num_conditions} conditions": report}
        return [Line(f"{self.title}: {name}", "-", _once(value), "s") for name, value in found.items()]


def _once(value: float) -> Spread:
    return spread([value])


STUDY: dict[str, Ratio | Rest] = {"study": Ratio(), "study-costs": Rest()}

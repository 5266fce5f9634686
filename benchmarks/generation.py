"""Generation: how much of the time of the `quick` study goes into drawing its graphs.

The study is trained as it is, batch by batch, early ends included; then all that training drew is drawn again and nothing else is
done. Of the study's time only training is counted, so that the share found is no less than the true one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

from benchmarks.harness import Line, Say, at_most, in_child, spread
from datasets import TASKS
from suite.cell import Cell
from suite.engine import Trained, blocks, train
from suite.engine.batches import draw
from suite.expansion import expand
from suite.refs import ref_of
from suite.study import load_study
from suite.task import Block, Packed, Split

QUICK = Path(__file__).parents[1] / "studies" / "quick.toml"
TARGET = 5  # per cent


class Spent(NamedTuple):
    """CPU seconds."""

    training: float
    drawing: float


def drawn_again(cell: Cell, steps: int) -> int:
    """Draw what `steps` steps of training `cell` draw, evaluation sets included, and return how many graphs that is."""
    task, protocol = cell.task.load(), cell.protocol
    size = 1 if task.fixed else protocol.batch_size
    steps = 1 if task.fixed else steps
    drawn = [_count(draw(task, cell.seed, "train", index, size)) for index in (0, *range(steps))]  # the first sets models up
    for split in get_args(Split):
        number = protocol.num_test if split == "test" else protocol.num_validation
        drawn += map(_count, blocks(task, cell.seed, split, number, protocol.batch_size))
    return sum(drawn)


def _count(block: Block | Packed) -> int:
    return block.num_graphs if isinstance(block, Block) else len(block)


def spent(batches: Sequence[Sequence[Cell]]) -> Spent:
    """Train `batches`, then draw again what each cell drew."""
    done: list[Trained] = []
    start = time.process_time()
    for batch in batches:
        train(batch, done.append)
    middle = time.process_time()
    for one in done:
        drawn_again(one.cell, one.metrics["steps"])
    return Spent(middle - start, time.process_time() - middle)


@dataclass(frozen=True)
class Generation:
    """The share of drawing in the time of a study."""

    title: str = "quick, generation"

    def run(self, rounds: int, say: Say) -> list[Line]:
        batches = expand(load_study(QUICK), {name: ref_of(task) for name, task in TASKS.items()}).batches
        shares = []
        for number in range(min(rounds, 2)):
            say(f"round {number + 1} of {min(rounds, 2)}, {sum(map(len, batches))} cells")
            found = in_child(spent, batches, worker=True)
            shares.append(100 * found.drawing / found.training)
        return [at_most(self.title, TARGET, spread(shares), "% of training")]


GENERATION: dict[str, Generation] = {"generation": Generation()}

"""Rows that compare training: the same cells, the same number of steps, the engine against the plain loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import plain
from benchmarks.harness import Line, Say, at_least, in_child, in_turn, ratios
from benchmarks.tasks import SmallWorlds
from datasets.network import Network
from datasets.published import PublishedNeighborsMatch, PublishedRingTransfer
from datasets.transfer import Transfer
from suite.cell import Cell, Protocol, TaskRef
from suite.engine import train
from suite.models import resolve
from suite.refs import file_sha256, ref_of
from suite.task import Task

WARM_UP = 2  # steps before the clock starts, on both sides


def task_ref(task: Task) -> TaskRef:
    ref = ref_of(type(task))
    return TaskRef(ref=ref, params=task.config(), version=task.version, sha256=file_sha256(ref))


def bare(protocol: Protocol, steps: int) -> Protocol:
    """Return `protocol` with `steps` steps, no early end and next to no evaluation: what is left is training."""
    changes = {"max_steps": steps, "eval_every": steps, "num_validation": 1, "num_test": 1}
    return protocol.model_copy(update=changes | {"solved_at": None})


def with_steps(cells: Sequence[Cell], steps: int) -> list[Cell]:
    return [cell.model_copy(update={"protocol": bare(cell.protocol, steps)}) for cell in cells]


def plain_seconds(cells: Sequence[Cell]) -> float:
    """Return the CPU seconds of the plain loop; graphs are drawn before the clock starts."""
    plain.seconds(with_steps(cells[:1], WARM_UP))
    return plain.seconds(cells)


def our_seconds(cells: Sequence[Cell]) -> float:
    """Return the CPU seconds of the engine; it draws its graphs as it goes, within them."""
    train(with_steps(cells, WARM_UP), lambda _: None)
    start = time.process_time()
    train(cells, lambda _: None)
    return time.process_time() - start


@dataclass(frozen=True)
class Training:
    """A row of training: `target` is the ratio aimed at, None where none is set."""

    title: str
    target: float | None
    task: Task
    model: str
    num_layers: int
    width: int
    batch_size: int
    num_seeds: int
    steps: int
    settings: dict[str, Any] = field(default_factory=dict)

    def cells(self, steps: int | None = None) -> list[Cell]:
        """Return the cells of the row, with `steps` steps each (default: the row's)."""
        common = {
            "task": task_ref(self.task),
            "model": resolve(self.model, self.settings),
            "num_layers": self.num_layers,
            "hidden_channels": self.width,
            "protocol": bare(Protocol(batch_size=self.batch_size), steps or self.steps),
        }
        return [Cell.model_validate(common | {"seed": seed}) for seed in range(self.num_seeds)]

    def run(self, rounds: int, say: Say) -> list[Line]:
        cells = self.cells()
        sides = {"plain": partial(in_child, plain_seconds, cells), "ours": partial(in_child, our_seconds, cells, worker=True)}
        taken = in_turn(sides, rounds, say)
        return [at_least(self.title, self.target, ratios(taken["plain"], taken["ours"]))]


def _ring(title: str, target: float | None, task: Task, hops: int, steps: int, norm: str = "layer") -> Training:
    """Depth = distance, width 64, batches of 128, 8 seeds."""
    return Training(title, target, task, "gcn", hops, 64, 128, 8, steps, {"norm": norm})


def _tree(title: str, target: float, hops: int, model: str, batch_size: int, num_seeds: int, steps: int) -> Training:
    """NeighborsMatch as published, one layer more than the tree is deep, width 32."""
    settings = {"norm": "layer", "skip": "residual"}
    task = PublishedNeighborsMatch(hops=hops)
    return Training(title, target, task, model, hops + 1, 32, batch_size, num_seeds, steps, settings)


PUBLISHED_10, PUBLISHED_20 = PublishedRingTransfer(hops=10), PublishedRingTransfer(hops=20)
ROADS = Transfer(topology=Network(name="minnesota_road"), hops=16)
TRAINING: dict[str, Training] = {
    "ring10": _ring("ring 10, published, GCN, layer norm", 9, PUBLISHED_10, 10, 40),
    "ring20": _ring("ring 20, published, GCN, layer norm", 16, PUBLISHED_20, 20, 20),
    "ring20-batch": _ring("ring 20, published, GCN, batch norm", 7, PUBLISHED_20, 20, 12, norm="batch"),
    "ring10-random": _ring("ring 10, random, GCN, layer norm", None, Transfer(hops=10), 10, 40),
    "ring10-random-batch": _ring("ring 10, random, GCN, batch norm", None, Transfer(hops=10), 10, 20, norm="batch"),
    "tree4": _tree("tree 4, published, GCN, batch 256", 3.6, 4, "gcn", 256, 8, 30),
    "tree8": _tree("tree 8, published, GCN, batch 32", 4, 8, "gcn", 32, 2, 25),
    "tree5-gat": _tree("tree 5, published, GAT, batch 128", 2.5, 5, "gat", 128, 4, 25),
    "gps64": Training("ring of 64, GPS, depth 4, batch 32", 1.7, Transfer(hops=32), "gps", 4, 64, 32, 4, 25),
    "worlds": Training("graphs that all differ, GCN, depth 8", 2, SmallWorlds(), "gcn", 8, 64, 64, 4, 60, {"norm": "layer"}),
    "roads": Training("2,640-node roads, GCN, depth 16", 4, ROADS, "gcn", 16, 32, 16, 2, 10, {"norm": "layer"}),
}

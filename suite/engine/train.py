"""Training: the cells of one condition, stacked where that is exact, each with its own data, early stop and result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from suite.cell import Cell
from suite.engine.batches import GraphBatch, SharedBatch, Sharing, blocks, draw, graph_batch, packed, same_topology
from suite.engine.flops import flops_per_step
from suite.engine.machine import PeakMemory, keep_freed_memory, use_fast_products
from suite.engine.replicas import Replicas
from suite.factors import redrawn, task_of
from suite.models import build
from suite.models.base import Model
from suite.models.encodings import Needs
from suite.rng import digest
from suite.samples import Drawn
from suite.score import losses, scores
from suite.task import Block, Packed, Split, Task

ALL_SHORTCUTS = frozenset(
    {
        "shared_topology",
        "cone",
        "last_layer",
        "alike_nodes",
        "equal_inputs",
        "frozen_states",
        "stack",
        "fast_products",
        "kept_memory",
    }
)
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TIMED_STEPS, TIMED_SECONDS = 5, 0.2  # at most, to find out what a step takes
STACK_BYTES = 1 << 23  # of one layer's states; beyond, nothing is won by stacking


@dataclass
class Trained:
    """What training a cell gave. `metrics`, `curve` and `cost` are as in the record (docs/architecture.md)."""

    cell: Cell
    status: Literal["ok", "diverged"]
    metrics: dict[str, Any]
    curve: dict[str, list[float]]
    cost: dict[str, float | None]
    initial: nn.Module
    trained: nn.Module


def train(
    cells: Sequence[Cell],
    on_done: Callable[[Trained], None],
    *,
    shortcuts: frozenset[str] = ALL_SHORTCUTS,
    on_step: Callable[[int, int], None] | None = None,
) -> None:
    """Train `cells`, which must differ in seed and learning rate only, and hand each to `on_done` as soon as it ends.

    `shortcuts` names what may be used to save work without changing a result; where a model or task makes one inexact, it is
    not taken. Raises ValueError for unknown names or cells of different conditions. `on_step(step, max_steps)` is called at
    every look at the validation set.

    shared_topology: blocks of one topology share operators and encodings; without it, what builds on it is off too.
    cone: nodes that cannot reach a read-out in the layers left are not computed.
    last_layer: models that see past the edges still write the last layer at the read-outs alone.
    alike_nodes: nodes whose input is the same in all graphs of a batch are computed once, until something varying reaches them.
    equal_inputs: equal graphs of a batch are computed once, and counted.
    frozen_states: states before the first weight are computed once a batch, and the last alone is held.
    stack: several cells in one step.
    fast_products, kept_memory: oneDNN's float32 kernels, and freed memory kept (`suite.engine.machine`), for the whole process.
    """
    if unknown := shortcuts - ALL_SHORTCUTS:
        raise ValueError(f"shortcuts: unknown {sorted(unknown)}, known are {sorted(ALL_SHORTCUTS)}")
    if len({cell.stack for cell in cells}) != 1:
        raise ValueError("train takes the cells of one condition, which differ in their seed or learning rate only")
    for loop in _loops(cells, shortcuts):
        loop.run(on_done, on_step)


def step_seconds(cells: Sequence[Cell]) -> float:
    """Return how long a step of `cells`, trained together as `train` does, takes here: of all of them, after the first one."""
    loop = next(_loops(cells, ALL_SHORTCUTS))
    return loop.step_seconds() * len(cells) / len(loop.cells)


def _loops(cells: Sequence[Cell], shortcuts: frozenset[str]) -> Iterator[_Loop]:
    """Yield the loops that train `cells`, as many in each as one step takes."""
    if "kept_memory" in shortcuts:
        keep_freed_memory()
    task = task_of(cells[0])
    first = [draw(task, cell.seed, "train", 0, batch_graphs(task, cell)) for cell in cells]
    initial = [initial_model(cell, task, block) for cell, block in zip(cells, first, strict=True)]
    model = initial[0]
    shared = "shared_topology" in shortcuts and same_topology(first) and isinstance(model, Model)
    if shared and model.random and not task.fixed:  # whose edges are dropped anew in every graph
        shared = False
    flops = flops_per_step(model, first[0])
    use_fast_products(shared and "fast_products" in shortcuts)
    stack = shared and "stack" in shortcuts and not model.random
    size = _stack_size(cells[0], Sharing(model, cells[0].num_layers, shortcuts, first[:1]), first[0]) if stack else 1  # type: ignore[arg-type]
    for start in range(0, len(cells), size):
        part = slice(start, start + size)
        sharing = Sharing(model, cells[0].num_layers, shortcuts, first[part]) if shared else None  # type: ignore[arg-type]
        yield _Loop(task, list(cells[part]), initial[part], sharing, flops)


def _stack_size(cell: Cell, sharing: Sharing, block: Block) -> int:
    """Return how many cells are trained in one step: as many as keep the states of a layer within the cache.

    A function of the cell alone, so that what is trained together depends on the study and not on the machine.
    """
    states = sharing.num_rows(block) * (block.num_nodes if sharing.model.pairwise else 1)
    return max(1, STACK_BYTES // (4 * cell.hidden_channels * states))


def batch_graphs(task: Task, cell: Cell) -> int:
    """Return how many graphs a step sees."""
    return 1 if task.fixed else cell.protocol.batch_size


def initial_model(cell: Cell, task: Task | None = None, block: Drawn | None = None) -> nn.Module:
    """Return the model that training `cell` starts from, in eval mode: a function of the cell alone.

    Data-dependent layers have taken their constants from the cell's first training block.
    """
    task = task or task_of(cell)
    block = draw(task, cell.seed, "train", 0, batch_graphs(task, cell)) if block is None else block
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(digest("initial", cell.key, size=8), 16) >> 1)
        in_channels = packed(block).x.size(-1)
        sizes = in_channels, cell.hidden_channels, cell.num_layers, task.out_channels
        model = build(cell.model, *sizes, cell.encoding).eval()
    if isinstance(model, Model) and model.calibrated:
        model.calibrate(graph_batch(block, model.needs).forward)
    return model


@dataclass
class _Run:
    """What one cell has been through so far."""

    cell: Cell
    initial: nn.Module
    best: list[Tensor]
    best_step: int = 0
    best_skill: float = -float("inf")
    solved_step: int | None = None
    curve: dict[str, list[float]] = field(default_factory=lambda: {"step": [], "train_loss": [], "validation_score": []})


class _Loop:
    """Cells trained in one loop: replicas of one architecture, each with its own stream of data."""

    def __init__(
        self, task: Task, cells: list[Cell], initial: list[nn.Module], sharing: Sharing | None, flops_per_step: int
    ) -> None:
        self.peak = PeakMemory(next((p.device for p in initial[0].parameters()), torch.device("cpu")))
        self.flops_per_step = flops_per_step
        self.task, self.protocol, self.sharing = task, cells[0].protocol, sharing
        rates = [cell.protocol.lr for cell in cells]
        self.replicas = Replicas(initial, rates, self.protocol.weight_decay, sharing is not None, self.protocol.conv_weight_decay)
        self.runs = [_Run(c, m, self.replicas.snapshot(i)) for i, (c, m) in enumerate(zip(cells, initial, strict=True))]
        self.cells = cells
        self.needs: Needs = getattr(initial[0], "needs", frozenset())
        self.batch_size = batch_graphs(task, cells[0])
        self.sets: dict[Split, list[SharedBatch | GraphBatch]] = {}
        self._fixed = self._draw_batch(0) if task.fixed and not redrawn(cells[0]) else None
        self.start = self.cpu_start = 0.0

    def run(self, on_done: Callable[[Trained], None], on_step: Callable[[int, int], None] | None) -> None:
        """Train until every cell has ended."""
        self.sets = {split: self._evaluation_set(split) for split in SPLITS}
        self.start, self.cpu_start = time.perf_counter(), time.process_time()
        protocol, total, since = self.protocol, torch.zeros(len(self.runs)), 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(digest("training", *(run.cell.key for run in self.runs), size=8), 16) >> 1)
            for step in range(1, protocol.max_steps + 1):
                total, since = total + self._step(step), since + 1
                if step % protocol.eval_every and step != protocol.max_steps:
                    continue
                ended = self._look(step, (total / since).tolist())
                total, since = torch.zeros(len(self.runs)), 0
                if on_step is not None:
                    on_step(step, protocol.max_steps)
                if ended:
                    total = torch.zeros(self._end(ended, step, on_done))
                if not self.runs:
                    return

    def step_seconds(self) -> float:
        """Take steps without looking at any set, and return the mean time of those after the first, which prepares."""
        with torch.random.fork_rng(devices=[]):
            self._step(1)
            start = now = time.perf_counter()
            steps = 0
            while steps < TIMED_STEPS and (not steps or now < start + TIMED_SECONDS):
                steps += 1
                self._step(1 + steps)
                now = time.perf_counter()
        return (now - start) / steps

    def _step(self, step: int) -> Tensor:
        batch = self._fixed or self._draw_batch(step - 1)
        self.replicas.module.train()
        loss = losses(batch.forward(self.replicas.module), batch.y, self.task.loss, batch.weight)
        self.replicas.step(loss, self.protocol.clip)
        return loss.detach()

    def _draw_batch(self, index: int) -> SharedBatch | GraphBatch:
        return self._pack([draw(self.task, run.cell.seed, "train", index, self.batch_size) for run in self.runs], training=True)

    def _pack(self, drawn: Sequence[Block | Packed], training: bool) -> SharedBatch | GraphBatch:
        if self.sharing is None:
            return graph_batch(drawn[0], self.needs)
        if not same_topology(drawn):
            raise ValueError(f"{type(self.task).__name__} draws blocks of different topologies for different seeds")
        return self.sharing.batch(drawn, training)  # type: ignore[arg-type]

    def _evaluation_set(self, split: Split) -> list[SharedBatch | GraphBatch]:
        protocol = self.protocol
        count = protocol.num_test if split == "test" else protocol.num_validation
        size = protocol.batch_size  # the blocks that training draws, so that the train set is what was trained on
        seeds = [blocks(self.task, run.cell.seed, split, count, size) for run in self.runs]
        return [self._pack(drawn, training=False) for drawn in zip(*seeds, strict=True)]

    @torch.no_grad()
    def _evaluate(self, module: nn.Module, split: Split, index: list[int]) -> tuple[list[float], list[float]]:
        """Return loss and score on `split` of models that see the data of runs `index`: means over samples, not batches."""
        module.eval()
        loss, score, count = torch.zeros(len(index)).double(), torch.zeros(len(index)).double(), 0
        for whole in self.sets[split]:
            batch = whole if index == list(range(len(self.runs))) else whole.keep(index)
            out, answers = batch.forward(module), batch.num_answers
            loss += losses(out, batch.y, self.task.loss, batch.weight).double() * answers
            score += scores(out, batch.y, self.task.metric, batch.weight).to(score) * answers
            count += answers
        return (loss / count).tolist(), (score / count).tolist()

    def _look(self, step: int, train_loss: list[float]) -> dict[int, str]:
        """Look at the validation set; return which replicas end here and why."""
        _, found = self._evaluate(self.replicas.module, "validation", list(range(len(self.runs))))
        ended: dict[int, str] = {}
        for index, (run, score, loss) in enumerate(zip(self.runs, found, train_loss, strict=True)):
            run.curve["step"].append(step)
            run.curve["train_loss"].append(loss)
            run.curve["validation_score"].append(score)
            if loss != loss or abs(loss) == float("inf"):
                ended[index] = "diverged"
                continue
            skill = self.task.skill(score)
            if skill > run.best_skill:
                run.best_skill, run.best_step, run.best = skill, step, self.replicas.snapshot(index)
            if reason := self._reason_to_end(run, step, skill):
                ended[index] = reason
        return ended

    def _reason_to_end(self, run: _Run, step: int, skill: float) -> str | None:
        protocol = self.protocol
        if protocol.solved_at is not None and skill >= protocol.solved_at:
            run.solved_step = step
            return "solved"
        return "budget" if step >= protocol.max_steps else None

    def _end(self, ended: dict[int, str], step: int, on_done: Callable[[Trained], None]) -> int:
        """Hand over the replicas that end; return how many go on."""
        for index, reason in ended.items():
            final = self.replicas.snapshot(index)
            best = self.runs[index].best_step != step and self.protocol.select == "best"
            model = self.replicas.restore(final)
            selected = last = self._table(index, model)
            if best:
                model = self.replicas.restore(self.runs[index].best)
                selected = self._table(index, model)
            on_done(self._result(index, reason, step, selected, last, model))
        on = [index for index in range(len(self.runs)) if index not in ended]
        self.runs = [self.runs[index] for index in on]
        if on:
            self.replicas.keep(on)
            self.sets = {split: [batch.keep(on) for batch in batches] for split, batches in self.sets.items()}
            self._fixed = self._fixed and self._fixed.keep(on)
        return len(on)

    def _table(self, index: int, model: nn.Module) -> dict[str, Any]:
        """Return what a plain model reaches on each split of run `index`."""
        found = {split: self._evaluate(model, split, [index]) for split in SPLITS}
        return {split: self._numbers(loss[0], score[0]) for split, (loss, score) in found.items()}

    def _result(
        self, index: int, reason: str, step: int, selected: dict[str, Any], last: dict[str, Any], model: nn.Module
    ) -> Trained:
        run = self.runs[index]
        metrics = selected | {
            "last": last,
            "best_step": run.best_step if self.protocol.select == "best" else step,
            "steps": step,
            "stopped": reason,
            "solved_step": run.solved_step,
        }
        share = len(self.cells)  # seconds are the whole stack's, divided among its cells
        cost: dict[str, float | None] = {
            "num_parameters": self.replicas.flat.size(1),
            "flops_per_step": self.flops_per_step,
            "steps": step,
            "stacked": share,
            "seconds": (time.perf_counter() - self.start) / share,
            "cpu_seconds": (time.process_time() - self.cpu_start) / share,
            "peak_memory_mb": self.peak.megabytes(),
        }
        status: Literal["ok", "diverged"] = "diverged" if reason == "diverged" else "ok"
        return Trained(run.cell, status, metrics, run.curve, cost, run.initial, model)

    def _numbers(self, loss: float, score: float) -> dict[str, float | None]:
        """Return what a record says of a split; None for what is not a number."""
        found = {"loss": loss, "score": score, "skill": self.task.skill(score)}
        return {name: value if abs(value) < float("inf") else None for name, value in found.items()}

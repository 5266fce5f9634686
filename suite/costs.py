"""What jobs may cost before they ran: for their order, the time left, and the estimate a study prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from statistics import mean, median

from suite.cell import Cell
from suite.rng import canonical_json
from suite.store import Store
from suite.worker import Job

CERTIFICATE = 8.0  # seconds of one idle core, as all of these; what they become on this machine is measured
MEASURE = 0.015  # a layer
DISPATCH = 2e-4  # a layer and step take however small they are
FLOPS = 2e10  # a second, on products this small
PATIENCE = 3.0  # times its estimate that a long job may take: the machine may be slower, or busy
SHARE, LEAST, MOST = 0.03, 1.0, 20.0  # of the estimated time that finding out what steps take is worth, from and to seconds


class Costs:
    """Seconds of a job on one core: those of the same condition where some of it is stored, else a model of its steps.

    The model assumes that the whole budget is used and counts dense layers over all nodes of all graphs, cell by cell. What the
    engine saves (seeds in one step, equal graphs once, nodes that matter alone) and what the machine takes is in a factor:
    from stored cells of the same model, or from steps taken to find out (`to_be_timed`, `learn`).

    Args:
        store: where finished cells are.
        cells: those of the study.
        num_nodes: nodes of a graph, by task key.
        fixed: keys of the tasks that are one graph.
    """

    def __init__(self, store: Store, cells: Iterable[Cell], num_nodes: Mapping[str, int], fixed: Set[str]) -> None:
        self.num_nodes, self.fixed, self.slowness = num_nodes, fixed, 1.0
        seconds: dict[str, list[float]] = {}
        self.factors: dict[tuple[str, str, str], list[float]] = {}
        for cell in cells:
            record = store.record(cell.key) if store.has(cell.key) else None
            if record is None:
                continue
            seconds.setdefault(cell.condition, []).append(record["cost"]["seconds"])
            if cell.task.key in num_nodes:
                self._learn(cell, record["cost"]["seconds"])
        self.known = {condition: mean(values) for condition, values in seconds.items()}

    def to_be_timed(self, jobs: Iterable[Job]) -> tuple[list[tuple[Cell, ...]], float]:
        """Return batches whose steps are worth timing, the dearest first, and how many seconds that is worth; 0: none.

        It is the dearest batch of each model and task of which no cell is stored.
        """
        groups: dict[tuple[str, str, str], list[Job]] = {}
        total = 0.0
        for job in jobs:
            total += self.seconds(job)
            if any(piece.stage == "train" for piece in job.pieces) and _kind(job.cells[0]) not in self.factors:
                groups.setdefault(_kind(job.cells[0]), []).append(job)
        dear = sorted(groups.values(), key=lambda group: sum(map(self.seconds, group)), reverse=True)
        limit = min(MOST, SHARE * total) if groups and SHARE * total >= LEAST else 0.0
        return [max(group, key=self.seconds).cells for group in dear], limit

    def learn(self, slowness: float, timed: Iterable[tuple[Sequence[Cell], float]]) -> None:
        """Take over how slow the machine is and what a step of each of some batches took, all its cells together."""
        self.slowness = slowness
        for cells, seconds in timed:
            for cell in cells:
                self._learn(cell, seconds * cell.protocol.max_steps / len(cells))

    def seconds(self, job: Job) -> float:
        """Return the estimate for `job`."""
        if job.task is not None:
            return CERTIFICATE * self.slowness
        layers = {cell.key: cell.num_layers + 2 for cell in job.cells}
        measures = MEASURE * self.slowness * sum(layers[piece.key] for piece in job.pieces if piece.stage != "train")
        if not any(piece.stage == "train" for piece in job.pieces):
            return measures
        return measures + sum(map(self._cell, job.cells))

    def with_time(self, job: Job) -> Job:
        """Return `job` with its limit raised to `PATIENCE` times the estimate, where a cell's own limit is below."""
        return replace(job, seconds=max(job.seconds, PATIENCE * self.seconds(job)))

    def _cell(self, cell: Cell) -> float:
        return self.known.get(cell.condition) or self._model(cell) * self._factor(cell)

    def _learn(self, cell: Cell, seconds: float) -> None:
        self.factors.setdefault(_kind(cell), []).append(seconds / self._model(cell))

    def _factor(self, cell: Cell) -> float:
        """Return what is known of the same model on the same task, else of ever less alike ones, else of the machine."""
        model, settings, task = _kind(cell)
        for alike in ((model, settings, task), (model, None, task), (model, settings, None), (model, None, None), (None,) * 3):
            found = [self.factors[kind] for kind in self.factors if all(a in (None, b) for a, b in zip(alike, kind, strict=True))]
            if found:
                return median(value for values in found for value in values)
        return self.slowness

    def _model(self, cell: Cell) -> float:
        graphs = 1 if cell.task.key in self.fixed else cell.protocol.batch_size
        nodes, width, layers = self.num_nodes.get(cell.task.key, 0), cell.hidden_channels, cell.num_layers + 2
        nodes *= graphs
        flops = 6 * nodes * layers * width * (width + 64)  # a product forward and two backward, and what goes by element
        return cell.protocol.max_steps * (DISPATCH * layers + flops / FLOPS)


def _kind(cell: Cell) -> tuple[str, str, str]:
    """Return what cells have in common of which one says what others may take: model, its settings, class of the task."""
    return cell.model.ref, canonical_json(cell.model.settings), cell.task.ref

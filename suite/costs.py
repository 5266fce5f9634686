"""What jobs may cost before they ran: for their order, the time left, and the estimate a study prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from statistics import mean, median

from suite.cell import Cell
from suite.store import Store
from suite.worker import Job

CERTIFICATE = 20.0  # seconds
MEASURE = 0.5
DISPATCH = 2e-4  # seconds a layer and step take however small they are
PATIENCE = 3.0  # times its estimate that a long job may take: the machine may be slower, or busy
FLOPS = 2e10  # a second, of one core on products this small


class Costs:
    """Seconds of a job on one core: those of the same condition where some of it is stored, else a model of its steps.

    The model assumes that the whole budget is used, counts dense layers over all nodes of all graphs, and is scaled to what
    stored cells of the same model took.

    Args:
        store: where finished cells are.
        cells: those of the study.
        num_nodes: nodes of a graph, by task key.
        fixed: keys of the tasks that are one graph.
    """

    def __init__(self, store: Store, cells: Iterable[Cell], num_nodes: Mapping[str, int], fixed: Set[str]) -> None:
        self.num_nodes, self.fixed = num_nodes, fixed
        seconds: dict[str, list[float]] = {}
        ratios: dict[str, list[float]] = {}
        for cell in cells:
            record = store.record(cell.key) if store.has(cell.key) else None
            if record is None:
                continue
            seconds.setdefault(cell.condition, []).append(record["cost"]["seconds"])
            if cell.task.key in num_nodes:
                ratios.setdefault(cell.model.ref, []).append(record["cost"]["seconds"] / self._model(cell))
        self.known = {condition: mean(values) for condition, values in seconds.items()}
        self.scale = {ref: median(values) for ref, values in ratios.items()}

    def seconds(self, job: Job) -> float:
        """Return the estimate for `job`."""
        measures = MEASURE * sum(piece.stage != "train" for piece in job.pieces)
        if job.task is not None:
            return CERTIFICATE
        if not any(piece.stage == "train" for piece in job.pieces):
            return measures
        return measures + sum(map(self._cell, job.cells))

    def with_time(self, job: Job) -> Job:
        """Return `job` with its limit raised to `PATIENCE` times the estimate, where a cell's own limit is below."""
        return replace(job, seconds=max(job.seconds, PATIENCE * self.seconds(job)))

    def _cell(self, cell: Cell) -> float:
        return self.known.get(cell.condition) or self._model(cell) * self.scale.get(cell.model.ref, 1.0)

    def _model(self, cell: Cell) -> float:
        graphs = 1 if cell.task.key in self.fixed else cell.protocol.batch_size
        nodes, width, layers = self.num_nodes.get(cell.task.key, 0), cell.hidden_channels, cell.num_layers + 2
        nodes *= graphs
        flops = 6 * nodes * layers * width * (width + 64)  # a product forward and two backward, and what goes by element
        return cell.protocol.max_steps * (DISPATCH * layers + flops / FLOPS)

"""What a worker process does with a job: train a batch of cells, measure them, or certify a task; then it asks for another.

The worker commits everything itself, so a driver that dies loses nothing, and sets its own alarm, so a job that hangs ends
even when nobody is left to end it. It tells the driver how far it is and nothing else: outcomes are read from the store.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from suite.cell import Cell, TaskRef
from suite.memory import count_anew
from suite.provenance import public
from suite.store import SCHEMA, Store

DONE, ERROR, BUSY = 0, 1, 75  # how a job ended; a process that dies tells by its exit code, a signal's is negative
GRACE = 60.0  # seconds between the limit, at which the driver ends a worker, and the alarm of the worker itself


class Piece(NamedTuple):
    """One result that a job is to leave in the store."""

    key: str  # of a cell, or of a task
    stage: str  # "train", "certify", or the name of a measure
    version: int = 0  # of the measure or certificate; a cell's is part of its key


class Parts(NamedTuple):
    """The modules that do the work, by name: the driver never imports the engine."""

    engine: str = "suite.engine"  # train, initial_model, task_of
    measures: str = "suite.measures"  # MEASURES, measure
    certify: str = "suite.certify"  # VERSION, certify


PARTS = Parts()


@dataclass(frozen=True)
class Job:
    """A batch of cells, or a task to certify: the unit of placement, lock and deadline.

    Attributes:
        name: of the lock and the log: the batch's condition, or the key of a single cell or task.
        pieces: the results still to be made, out of all that the job could make.
        cells: what is trained together, whatever of it is there already.
        task: what is to be certified, where the job is a certification.
        store: the folder of the store.
        seconds: how long the job may take; `grace` seconds later the worker ends by itself.
        provenance: what the driver knows about where results come from; `run` holds what differs from run to run.
    """

    name: str
    pieces: tuple[Piece, ...]
    store: str
    seconds: float
    cells: tuple[Cell, ...] = ()
    task: TaskRef | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    parts: Parts = PARTS
    grace: float = GRACE

    @property
    def task_key(self) -> str:
        """The key of the task that the job is about."""
        return (self.task or self.cells[0].task).key


def main(driver: Connection) -> None:
    """Entry of the worker process: do the jobs that `driver` sends, each (job, log), until it hangs up.

    Everything printed goes to the file `log`. How far a job is goes back as (step, max_steps), how it ended as a number.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the kernel ends us, even in the middle of C code
    while True:
        try:
            job, log = driver.recv()
        except (EOFError, OSError):
            return
        signal.setitimer(signal.ITIMER_REAL, job.seconds + job.grace)
        _print_to(log)
        _as_new()
        code = _Worker(job, driver).run()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)
        with suppress(OSError):  # the driver is gone
            driver.send(code)


def time_steps(driver: Connection, batches: Sequence[Sequence[Cell]], parts: Parts) -> None:
    """Entry of a process that finds out what work takes: send how slow the machine is, then what a step of each batch takes.

    None stands for a batch that fails: the worker that is to train it tells.
    """
    _print_to(os.devnull)
    _as_new()
    engine = importlib.import_module(parts.engine)
    driver.send(engine.slowness())
    for cells in batches:
        try:
            driver.send(engine.step_seconds(cells))
        except Exception:
            driver.send(None)


def _print_to(log: str) -> None:
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


def _as_new() -> None:
    """Undo what an earlier job may have set for the whole process, so that a job does not depend on what ran before it."""
    import numpy
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.default_generator.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)
    count_anew()


class _Worker:
    def __init__(self, job: Job, driver: Connection) -> None:
        self.job, self.driver, self.store = job, driver, Store(job.store)
        self.started = datetime.now(UTC)

    def run(self) -> int:
        """Return the exit code: BUSY where another process is at it, ERROR where a whole batch failed."""
        with self.store.lock(self.job.name) as free:
            if not free:
                return BUSY
            if self.job.task is not None:
                return self._attempt(list(self.job.pieces), self._certify)
            code = self._attempt([piece for piece in self.job.pieces if piece.stage == "train"], self._train)
            if code == DONE:
                self._measure_all()
            return code

    def _measure_all(self) -> None:
        """Measure the cells that were trained to an end: weights that diverged say nothing."""
        for cell in self.job.cells:
            record = self.store.record(cell.key)
            if record is not None and record["status"] == "ok":
                for piece in self.job.pieces:
                    if piece.key == cell.key and piece.stage != "train":
                        self._attempt([piece], partial(self._measure, cell, piece))

    def _attempt(self, pieces: list[Piece], work: Callable[[], None]) -> int:
        """Do `work` for `pieces`. A failure is recorded, but for a batch of several cells: its driver takes it apart."""
        if not pieces:
            return DONE
        try:
            work()
            return DONE
        except Exception as error:
            status = _status(error)
            if status == "unavailable":
                message, trace = str(error), None
            else:
                traceback.print_exc()
                if pieces[0].stage == "train" and len(self.job.cells) > 1:
                    return ERROR
                message, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
            for piece in pieces:
                self._record_failure(piece, status, message, trace)
            return DONE

    def _record_failure(self, piece: Piece, status: str, message: str, trace: str | None) -> None:
        if piece.stage == "train" and self.store.has(piece.key):
            return
        failure = failure_of(self.job, piece, status, message) | {"traceback": trace}
        self.store.commit_failure(piece.key, public(failure))

    def _train(self) -> None:
        wanted = {piece.key for piece in self.job.pieces if piece.stage == "train" and not self.store.has(piece.key)}
        if not wanted:
            return

        def commit(trained: Any) -> None:
            if trained.cell.key in wanted:
                self.store.commit_cell(self._record(trained), trained.trained.state_dict())

        self._engine.train(self.job.cells, commit, on_step=self._tell)

    @property
    def _engine(self) -> Any:
        return importlib.import_module(self.job.parts.engine)

    def _record(self, trained: Any) -> dict[str, Any]:
        run = {"started": self.started.isoformat(), "ended": datetime.now(UTC).isoformat()}
        provenance = self.job.provenance | {"batch": [cell.key for cell in self.job.cells], "engine": self._how()}
        provenance["run"] = self.job.provenance.get("run", {}) | run
        return {
            "schema": SCHEMA,
            "key": trained.cell.key,
            "cell": public(trained.cell.model_dump(mode="json")),
            "status": trained.status,
            "metrics": trained.metrics,
            "curve": trained.curve,
            "cost": trained.cost,
            "provenance": provenance,
        }

    def _how(self) -> dict[str, str]:
        """Return how the engine ran: what it may use to save work, and what it settled on here."""
        found: dict[str, str] = self._engine.settings()
        return {"shortcuts": ", ".join(sorted(self._engine.ALL_SHORTCUTS))} | found

    def _measure(self, cell: Cell, piece: Piece) -> None:
        """Measure a cell from the store, always: the same code whether it was trained just now or last year."""
        if (piece.stage, piece.version) in self.store.measured(cell.key):
            return
        from suite.copies import copied  # with torch, which a worker imports when it has a job

        initial = self._engine.initial_model(cell)
        trained = copied(initial)
        trained.load_state_dict(self.store.weights(cell.key))
        measure = importlib.import_module(self.job.parts.measures).measure
        result = measure(piece.stage, self._engine.task_of(cell), cell.seed, initial, trained.eval())
        self.store.commit_measure(cell.key, piece.stage, piece.version, result)

    def _certify(self) -> None:
        assert self.job.task is not None
        (piece,) = self.job.pieces
        if piece.version not in self.store.certified(piece.key):
            certificate = importlib.import_module(self.job.parts.certify).certify(self.job.task.load())
            self.store.commit_certificate(piece.key, piece.version, public(certificate))

    def _tell(self, step: int, max_steps: int) -> None:
        with suppress(OSError):  # the driver is gone; the batch is finished all the same
            self.driver.send((step, max_steps))


def failure_of(job: Job, piece: Piece, status: str, message: str) -> dict[str, Any]:
    """Return what is recorded of a failed attempt at `piece`."""
    run = job.provenance.get("run", {})
    return {
        "stage": piece.stage,
        "version": piece.version,
        "status": status,
        "message": message,
        "traceback": None,
        "limit_seconds": job.seconds,
        "fingerprint": job.provenance.get("fingerprint"),
        "run": run.get("id"),
        "log": run.get("log"),
        "time": datetime.now(UTC).isoformat(),
    }


def _status(error: Exception) -> str:
    """Tell data that are not to be had, and memory that ran out (on a CPU torch says it in words only), from other errors."""
    import torch

    from suite.task import DataUnavailable

    if isinstance(error, DataUnavailable):
        return "unavailable"
    out = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
    return "oom" if out else "error"

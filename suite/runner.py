"""The runner: one single-threaded worker process per core, one batch at a time, outcomes read from the store.

There is no queue to break: a worker holds one job, a result is a file, and what is left to do is what the store does not
hold. A worker is replaced after a batch that did not end well, and once it is `RENEW` seconds old: a long batch has a
process of its own, short ones share the cost of one. `plan` says which jobs a study still needs; `Runner.run` places them on
this machine.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, forkserver, resource_tracker
from typing import Any, Protocol

from suite import worker
from suite.cell import Cell, TaskRef
from suite.provenance import environment, fingerprint, public
from suite.store import Store
from suite.worker import BUSY, DONE, PARTS, Job, Parts, Piece, failure_of, main

PRELOAD = [
    *("torch", "torch_geometric", "pydantic", "einops", "safetensors.torch"),
    *("scipy.sparse.csgraph", "scipy.sparse.linalg", "scipy.stats", "tyro", "rich.live"),
]
# Read once, when a process starts or imports torch: one thread a worker, and memory in large pages where Linux has them to give.
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
CELL_SECONDS = 3600.0  # a cell may take this long, a batch so much for each of its cells
RETRIES = 2  # of a job that something killed
LOST = 255  # exit code of a worker whose fork server was killed: it may still be running
RENEW = 10.0  # seconds after which a worker takes no further job: many times what starting one takes
TICK = 0.25  # seconds between two looks at the running jobs
ASK_AGAIN = 2.0  # seconds between two questions whether a busy job has become free

# planning: what the store does not hold


@dataclass(frozen=True)
class Plan:
    """What a study still needs.

    Attributes:
        jobs: to be run, in the order of the study.
        given_up: failures of earlier runs that stand: tried again when the source changes or on request.
    """

    jobs: tuple[Job, ...]
    given_up: tuple[dict[str, Any], ...]


class Planner:
    """Compares a study with the store.

    Args:
        store: where results are.
        retry: statuses of earlier failures (error, oom, timeout) to try again whatever the source.
        run: about this run, kept in the provenance of what it makes.
        cell_seconds: how long a cell may take.
        parts: the modules that do the work.
    """

    def __init__(
        self,
        store: Store,
        *,
        retry: frozenset[str] = frozenset(),
        run: dict[str, Any] | None = None,
        cell_seconds: float = CELL_SECONDS,
        parts: Parts = PARTS,
    ) -> None:
        self.store, self.retry, self.cell_seconds, self.parts = store, retry, cell_seconds, parts
        self.provenance = environment() | {"run": {"id": uuid.uuid4().hex} | (run or {})}
        measures = importlib.import_module(parts.measures).MEASURES
        self.measures = [(name, measure.version, measure.rewired) for name, measure in measures.items()]
        self.certificate: int = importlib.import_module(parts.certify).VERSION
        self.given_up: list[dict[str, Any]] = []

    def plan(self, batches: Iterable[Sequence[Cell]], tasks: Iterable[TaskRef]) -> Plan:
        """Return the jobs that make what is missing of `batches` and of the certificates of `tasks`."""
        self.given_up = []
        jobs = [job for ref in tasks for job in self._certification(ref)]
        jobs += [job for batch in batches for job in self._training(tuple(batch))]
        return Plan(tuple(jobs), tuple(self.given_up))

    def _certification(self, ref: TaskRef) -> Iterator[Job]:
        source, piece = fingerprint(ref.ref), Piece(ref.key, "certify", self.certificate)
        if self.certificate not in self.store.certified(ref.key) and not self._stands(piece, source):
            yield self._job(ref.key, (piece,), source, task=ref)

    def _training(self, batch: tuple[Cell, ...]) -> Iterator[Job]:
        missing = [piece for cell in batch for piece in self._missing(cell)]
        if not missing:
            return
        source = fingerprint(batch[0].task.ref, batch[0].model.ref)
        todo = [piece for piece in missing if not self._stands(piece, source)]
        untrainable = {piece.key for piece in missing if piece.stage == "train"} - {p.key for p in todo if p.stage == "train"}
        todo = [piece for piece in todo if piece.key not in untrainable]
        whole = self._job(batch[0].condition, tuple(todo), source, cells=batch)
        if untrainable:  # as a whole the batch would only fail again
            yield from take_apart(whole, todo)
        elif todo:
            yield whole

    def _missing(self, cell: Cell) -> list[Piece]:
        record = self.store.record(cell.key)  # not just `has`: a record that cannot be read is made again
        there = self.store.measured(cell.key) if record else set()
        measures: list[Piece] = []
        if cell.purpose == "report":  # trials of tuning are scored and no more
            asked = [entry[:2] for entry in self.measures if cell.rewiring is not None or not entry[2]]
            measures = [Piece(cell.key, *entry) for entry in asked if entry not in there]
        if record is None:
            return [Piece(cell.key, "train"), *measures]
        return measures if record["status"] == "ok" else []

    def _stands(self, piece: Piece, source: str) -> bool:
        """Whether an earlier failure at `piece` would only be repeated; it then counts as given up."""
        failures = [f for f in self.store.failures(piece.key) if (f["stage"], f["version"]) == piece[1:]]
        if not failures:
            return False
        last = failures[-1]
        stands: bool = last["status"] not in self.retry and (
            (last["status"] == "error" and last["fingerprint"] == source)
            or last["status"] == "oom"
            or (last["status"] == "timeout" and self.cell_seconds <= last["limit_seconds"])
        )
        if stands:
            self.given_up.append(last)
        return stands

    def _job(self, name: str, pieces: tuple[Piece, ...], source: str, **what: Any) -> Job:
        seconds = self.cell_seconds * max(1, len(what.get("cells", ())))
        provenance = self.provenance | {"fingerprint": source}
        return Job(name, pieces, str(self.store.root), seconds, provenance=provenance, parts=self.parts, **what)


def take_apart(job: Job, pieces: Iterable[Piece]) -> list[Job]:
    """Return one job per cell for the `pieces` of a batch."""
    pieces, seconds = list(pieces), job.seconds / max(1, len(job.cells))
    own = {cell.key: tuple(piece for piece in pieces if piece.key == cell.key) for cell in job.cells}
    return [
        replace(job, name=cell.key, pieces=own[cell.key], cells=(cell,), seconds=seconds) for cell in job.cells if own[cell.key]
    ]


def give_up(store: Store, jobs: Iterable[Job], reason: str) -> None:
    """Note that the data of `jobs` cannot be had, once."""
    for job in jobs:
        for piece in job.pieces:
            if piece.stage in ("train", "certify"):
                known = store.failures(piece.key)
                if not known or (known[-1]["status"], known[-1]["message"]) != ("unavailable", reason):
                    store.commit_failure(piece.key, public(failure_of(job, piece, "unavailable", reason)))


# running: processes on this machine


def warm_up() -> None:
    """Start the fork server, from which workers are forked with the heavy imports done once; it loads them by itself.

    Only third-party modules are loaded ahead, so that no state of ours is shared. The environment of workers is that of now.
    """
    for name, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    forkserver.set_forkserver_preload(PRELOAD)
    with _interrupts_blocked():
        forkserver.ensure_running()


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Yield a pool of single-threaded processes, which end at once where we are interrupted."""
    warm_up()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver"))
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown()


def time_steps(
    batches: Sequence[tuple[Cell, ...]], limit: float, parts: Parts = PARTS
) -> tuple[float, list[tuple[tuple[Cell, ...], float]]]:
    """Return how slow this machine is (see `suite.engine.slowness`) and what a step of `batches` takes, within `limit` s.

    In a process of its own, which is ended then: what steps leave in memory, and a batch that is too large, concern nobody.
    """
    warm_up()
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=worker.time_steps, args=(theirs, batches, parts))
    with _interrupts_blocked():
        process.start()
    theirs.close()
    slowness, timed = 1.0, []
    try:
        slowness = ours.recv()
        end = time.monotonic() + limit
        for cells in batches:
            if not ours.poll(max(0.0, end - time.monotonic())):
                break
            if (seconds := ours.recv()) is not None:
                timed.append((cells, seconds))
    except EOFError:
        pass  # it died
    finally:
        process.kill()
        process.join()
        ours.close()
    return slowness, timed


class Watcher(Protocol):
    """Who wants to know what happens, e.g. a progress display. Calls come from the runner's loop and must be quick."""

    def started(self, job: Job) -> None:
        """A worker took up `job`."""

    def stepped(self, job: Job, step: int, max_steps: int) -> None:
        """The training of `job` came so far."""

    def made(self, job: Job, piece: Piece) -> None:
        """A result of `job` is in the store."""

    def failed(self, job: Job, piece: Piece, failure: dict[str, Any]) -> None:
        """A result of `job` is given up in this run."""

    def ended(self, job: Job) -> None:
        """The worker of `job` is gone; what it did not make is asked for again."""

    def tick(self, notice: str) -> None:
        """Time passed; `notice` is what a user should know now, or empty."""


@dataclass
class _Hand:
    """A worker process, and the pipe by which it gets jobs and says how far it is."""

    process: Any
    pipe: connection.Connection
    since: float

    def dismiss(self) -> None:
        """End it at once. What it finished is in the store, and what hangs cannot be asked to leave."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclass
class _Running:
    job: Job
    hand: _Hand
    log: str
    deadline: float
    left: list[Piece]
    overdue: bool = False


class Runner:
    """Runs jobs on this machine, `workers` at a time. Ctrl-C once finishes what runs, twice kills it."""

    def __init__(self, store: Store, workers: int, watcher: Watcher) -> None:
        self.store, self.workers, self.watcher = store, workers, watcher
        self.running: list[_Running] = []
        self.idle: list[_Hand] = []
        self.waiting: deque[Job] = deque()
        self.busy: list[Job] = []
        self.kills: dict[str, int] = {}
        self.interrupts = 0
        self.context = multiprocessing.get_context("forkserver")

    def run(self, jobs: Iterable[Job]) -> bool:
        """Run `jobs`, in their order as workers become free; return False where the user interrupted."""
        self.waiting, self.busy, asked = deque(jobs), [], 0.0
        with self._signals():
            warm_up()
            while self.running or ((self.waiting or self.busy) and not self.interrupts):
                while self.waiting and len(self.running) < self.workers and not self.interrupts:
                    self._start(self.waiting.popleft())
                if self.busy and not self.waiting and not self.running and time.monotonic() > asked + ASK_AGAIN:
                    self.waiting, self.busy, asked = deque(self.busy), [], time.monotonic()
                self._look()
        return not self.interrupts

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before = {name: signal.signal(name, self._interrupt) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
            for hand in [*self.idle, *(running.hand for running in self.running)]:  # those at work: after an error of ours
                hand.dismiss()
            self.idle = []

    def _interrupt(self, number: int, frame: Any) -> None:
        self.interrupts += 1 if number == signal.SIGINT else 2
        if self.interrupts > 1:
            for running in self.running:
                running.hand.process.kill()

    def _start(self, job: Job) -> None:
        if all(self._is_there(piece) for piece in job.pieces):  # another process made it since
            for piece in job.pieces:
                self.watcher.made(job, piece)
            return
        log = self.store.new_log(job.name)
        run = job.provenance.get("run", {}) | {"log": str(log.relative_to(self.store.root))}
        sent = replace(job, provenance=job.provenance | {"run": run})
        hand = self._hand()
        with suppress(OSError):  # it has just died: that is seen when it is looked at
            hand.pipe.send((sent, str(log)))
        self.running.append(_Running(sent, hand, str(log), time.monotonic() + job.seconds, list(job.pieces)))
        self.watcher.started(sent)

    def _hand(self) -> _Hand:
        """Return a worker without a job: an idle one that is alive, else a new one."""
        while self.idle:
            hand = self.idle.pop()
            if hand.process.is_alive():
                return hand
            hand.dismiss()
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=main, args=(theirs,))
        with _interrupts_blocked():
            process.start()
        theirs.close()
        return _Hand(process, ours, time.monotonic())

    def _look(self) -> None:
        """Wait for news or a tick; say what was made, end what is overdue, settle what has ended."""
        hands = [running.hand for running in self.running]
        connection.wait([hand.process.sentinel for hand in hands] + [hand.pipe for hand in hands], TICK)
        for running in list(self.running):
            alive = running.hand.process.is_alive()  # asked before reading the store: what it wrote, it wrote before it ended
            code = self._hear(running)
            self._see_what_was_made(running)
            if code is not None:
                self._settle(running, code)
            elif not alive:
                self._settle(running, running.hand.process.exitcode)
            elif time.monotonic() > running.deadline and not running.overdue:
                running.overdue = True
                running.hand.process.kill()
        self.watcher.tick(self._notice())

    def _notice(self) -> str:
        if self.interrupts and self.running:
            return f"Interrupted: finishing {len(self.running)} running batches. Ctrl-C again stops them."
        held = self.busy and not self.running
        return "Waiting for batches that another process is working on." if held else ""

    def _hear(self, running: _Running) -> int | None:
        """Pass on how far the job is; return how it ended, once the worker has said so."""
        try:
            while running.hand.pipe.poll():
                told = running.hand.pipe.recv()
                if isinstance(told, int):
                    return told
                self.watcher.stepped(running.job, *told)
        except (EOFError, OSError):
            pass  # the worker has ended
        return None

    def _see_what_was_made(self, running: _Running) -> None:
        for piece in [piece for piece in running.left if self._is_there(piece)]:
            running.left.remove(piece)
            self.watcher.made(running.job, piece)
            record = self.store.record(piece.key) if piece.stage == "train" else None
            if record and record["status"] != "ok":  # weights that diverged are not measured
                running.left = [other for other in running.left if other.key != piece.key]

    def _is_there(self, piece: Piece) -> bool:
        if piece.stage == "train":
            return self.store.has(piece.key)
        if piece.stage == "certify":
            return piece.version in self.store.certified(piece.key)
        return (piece.stage, piece.version) in self.store.measured(piece.key)

    def _settle(self, running: _Running, code: int) -> None:
        """A job has ended: report its failures, and ask again for what it neither made nor gave up."""
        self.running.remove(running)
        job, well = running.job, code == BUSY or not running.left
        for piece in list(running.left):
            if failure := self._failure(job, piece):
                running.left.remove(piece)
                if failure["stage"] == piece.stage:
                    self.watcher.failed(job, piece, failure)
        self.watcher.ended(job)
        self._release(running.hand, well)
        if not running.left and os.path.exists(running.log) and not os.path.getsize(running.log):
            os.unlink(running.log)  # all went well and nothing was said
        if not running.left or self.interrupts > 1:
            return
        if code == BUSY:
            self.busy.append(job)
        else:
            self._ask_again(running, code)

    def _release(self, hand: _Hand, well: bool) -> None:
        """Keep a worker for another job where its last one went well and it is young."""
        if well and self.waiting and not self.interrupts and time.monotonic() < hand.since + RENEW:
            self.idle.append(hand)
        else:
            hand.dismiss()

    def _ask_again(self, running: _Running, code: int) -> None:
        job, kills = running.job, self.kills.get(running.job.name, 0)
        overdue = running.overdue or code == -signal.SIGALRM
        killed = code < 0 or code == LOST
        if killed and not overdue and kills < RETRIES:
            self.kills[job.name] = kills + 1
            self.waiting.appendleft(replace(job, pieces=tuple(running.left)))
        elif len(job.cells) > 1:
            self.waiting.extendleft(reversed(take_apart(job, running.left)))
        else:
            status = "timeout" if overdue else "killed" if killed else "error"
            untrained = {piece.key for piece in running.left if piece.stage == "train"}
            for piece in running.left:
                if piece.key in untrained and piece.stage != "train":
                    continue  # there was nothing to measure
                failure = failure_of(job, piece, status, _why(status, code, job))
                self.store.commit_failure(piece.key, public(failure))
                self.watcher.failed(job, piece, failure)

    def _failure(self, job: Job, piece: Piece) -> dict[str, Any] | None:
        """Return what this run recorded against `piece`; a measure of a cell that was not trained fails with the cell."""
        run = job.provenance.get("run", {}).get("id")
        ours = [failure for failure in self.store.failures(piece.key) if failure["run"] == run]
        return next((failure for failure in reversed(ours) if failure["stage"] in (piece.stage, "train")), None)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: fork server and workers inherit the mask. Ours wait until it is lifted."""
    resource_tracker.ensure_running()  # lifts the mask when it starts, so not below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _why(status: str, code: int, job: Job) -> str:
    if status == "timeout":
        return f"not finished after {job.seconds:.0f} s"
    if status == "killed":
        return f"ended by {'a loss of its process' if code == LOST else signal.Signals(-code).name}, {RETRIES + 1} times"
    return "ended without a result" if code == DONE else f"the worker exited with code {code}"

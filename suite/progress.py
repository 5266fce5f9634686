"""What a user sees while a study runs: a live table on a terminal, one plain line per finished cell elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suite.store import Store
from suite.survey import all_lines, left_out
from suite.worker import Job, Piece

REDRAW = 0.1  # seconds between two pictures of the live table: short cells end faster than anyone reads


def duration(seconds: float) -> str:
    """Say how long: 4.2 s, 12 min, 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def shorten(text: str, width: int) -> str:
    """Cut out the middle of what is too long: both ends tell things apart."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def asked(line: dict[str, Any]) -> str:
    """Return what a line of `cells.json` asks: `transfer (content), ring`."""
    return f"{line['task']}, {line['topology']}" if line["topology"] else str(line["task"])


def at_hops(task: dict[str, Any]) -> str:
    """Return what a task of `cells.json` is: `transfer (content), ring, h4`."""
    hops = "" if task["hops"] is None else f", h{task['hops']}"
    return asked(task | {"task": task["title"]}) + hops


@dataclass
class _Active:
    job: Job
    since: float
    training: int  # cells still to be trained
    done: float = 0.0  # share of their steps


class Progress:
    """Counts what happens to the cells of a study; a `suite.runner.Watcher`. Subclasses show it.

    Args:
        console: where to write.
        store: where scores are read from.
        listing: the study, as in `cells.json`.
        jobs: those to be run.
        seconds: the estimate for a job.
        workers: how many run at a time.
    """

    def __init__(
        self,
        console: Console,
        store: Store,
        listing: dict[str, Any],
        jobs: Collection[Job],
        seconds: Callable[[Job], float],
        workers: int,
    ) -> None:
        self.console, self.store, self.seconds, self.workers = console, store, seconds, workers
        self.lines: dict[str, dict[str, Any]] = {}
        for line in all_lines(listing):
            self.lines.setdefault(line["key"], line)  # a cell may stand in several sections
        self.tasks = {task["task_key"]: at_hops(task) for task in listing["tasks"]}
        self.estimates = {job.name: seconds(job) for job in jobs}
        self.start = time.monotonic()
        self.spent = self.expected = 0.0  # of ended jobs: what they took and what they were thought to take
        self.active: dict[str, _Active] = {}
        without = left_out(listing, store, (piece for job in jobs for piece in job.pieces))
        self.total = Counter(self._group(line) for key, line in self.lines.items() if key not in without)
        self.done = Counter(self._group(line) for key, line in self.lines.items() if store.has(key))
        self.failures: Counter[tuple[str, str]] = Counter()
        self.notice = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.tick("")

    def started(self, job: Job) -> None:
        training = sum(piece.stage == "train" for piece in job.pieces)
        self.active[job.name] = _Active(job, time.monotonic(), training)
        self.estimates.setdefault(job.name, self.seconds(job))

    def stepped(self, job: Job, step: int, max_steps: int) -> None:
        if job.name in self.active:
            self.active[job.name].done = step / max_steps

    def made(self, job: Job, piece: Piece) -> None:
        if piece.stage == "train":
            self.done[self._group(self.lines[piece.key])] += 1
            if job.name in self.active:
                self.active[job.name].training -= 1

    def failed(self, job: Job, piece: Piece, failure: dict[str, Any]) -> None:
        if piece.stage == "train":
            self.failures[self._group(self.lines[piece.key])] += 1
        self._print(f"{failure['status']}: {self._name(piece)}: {failure['message']}")

    def ended(self, job: Job) -> None:
        active = self.active.pop(job.name)
        self.spent += time.monotonic() - active.since
        self.expected += self.estimates.pop(job.name, 0.0)

    def tick(self, notice: str) -> None:
        self.notice = notice

    @property
    def left(self) -> float | None:
        """Seconds until the end as far as can be said, None before the first job has ended."""
        if not self.spent or not self.expected:
            return None
        pace = self.spent / self.expected
        running = {name: time.monotonic() - active.since for name, active in self.active.items()}
        each = [max(0.0, pace * estimate - running.get(name, 0.0)) for name, estimate in self.estimates.items()]
        return max(sum(each) / self.workers, max(each, default=0.0))

    @staticmethod
    def _group(line: dict[str, Any]) -> tuple[str, str]:
        return asked(line), str(line["title"])

    def _name(self, piece: Piece) -> str:
        if piece.stage == "certify":
            return f"certificate of {self.tasks[piece.key]}"
        line = self.lines[piece.key]
        what = "" if piece.stage == "train" else f"{piece.stage} of "
        return f"{what}{line['title']}, {asked(line)}, {place(line)}"

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Lines(Progress):
    """One plain line per finished cell, for logs and pipes."""

    def __enter__(self) -> Progress:
        count, model, task = self._widths
        self._print(f"{'cells':>{count}} {'model':<{model}} {'task':<{task}} {'hops/layers':<11} seed score stopped  time")
        return self

    def made(self, job: Job, piece: Piece) -> None:
        super().made(job, piece)
        if piece.stage == "certify":
            verdict = (self.store.certificate(piece.key) or {}).get("verdict")
            self._print(f"{self._name(piece)}: {verdict}")
        if piece.stage == "train" and (record := self.store.record(piece.key)):
            self._print(self._line(self.lines[piece.key], record))

    def tick(self, notice: str) -> None:
        if notice and notice != self.notice:
            self._print(notice)
        super().tick(notice)

    def _line(self, line: dict[str, Any], record: dict[str, Any]) -> str:
        count, model, task = self._widths
        counted = f"{sum(self.done.values())}/{sum(self.total.values())}"
        size = f"{'-' if line['hops'] is None else line['hops']}/{line['num_layers']}"
        split = "validation" if line["purpose"] == "tune" else "test"  # nobody looks at a test while tuning
        score, stopped = record["metrics"][split]["score"], record["metrics"]["stopped"]
        return (
            f"{counted:>{count}} {shorten(line['title'], model):<{model}} {shorten(asked(line), task):<{task}} {size:<11} "
            f"{line['seed']:>4} {'-' if score is None else f'{score:.3f}':>5} {stopped:<8} {duration(record['cost']['seconds'])}"
        )

    @cached_property
    def _widths(self) -> tuple[int, int, int]:
        """Widths of the columns count, model and task; a line has 80 characters where names allow it, and 110 at most."""
        count = 2 * len(str(sum(self.total.values()))) + 1
        task, model = (max(5, *(len(group[part]) for group in self.total)) for part in (0, 1))
        return count, min(model, 26), min(task, 110 - 41 - count - min(model, 26))


class Screen(Progress):
    """A live table: what runs, what is done, what failed, and how long it will take."""

    def __enter__(self) -> Progress:
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.live.start()
        self.drawn = -REDRAW
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def tick(self, notice: str) -> None:
        if notice != self.notice or time.monotonic() > self.drawn + REDRAW:
            super().tick(notice)
            self.live.update(self._render(), refresh=True)
            self.drawn = time.monotonic()

    def _render(self) -> Group:
        done, failed, total = (sum(c.values()) for c in (self.done, self.failures, self.total))
        left = "" if self.left is None else f", about {duration(self.left)} left"
        some_failed = f", {failed} failed" if failed else ""
        text = f" {done}/{total} cells{some_failed}, {duration(time.monotonic() - self.start)}{left}"
        room = self.console.width - len(text) - 4  # a terminal writes ^C behind it, which must not begin a new line
        bar = ProgressBar(total=total, completed=done + failed, width=max(8, room))
        footer = Table.grid()
        footer.add_row(bar, text)
        return Group(self._table(), footer, *([Text(self.notice, "yellow")] if self.notice else []))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        table.add_column("task", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("model", no_wrap=True)
        for name, width in (("done", 4), ("failed", 6), ("running", 9)):
            table.add_column(name, justify="right", no_wrap=True, min_width=width)
        running = self._running()
        for task, model in [group for group in running if group not in self.total]:
            table.add_row(task, model, "", "", running[task, model])
        groups, room = list(self.total), max(3, self.console.height - 8 - table.row_count)
        if len(groups) > room:  # what runs first, what is finished last
            groups.sort(key=lambda group: (group not in running, self._finished(group)))
        for group in groups[:room]:
            task, model = group
            done, failed = f"{self.done[group]}/{self.total[group]}", str(self.failures[group] or "")
            style = "dim" if self._finished(group) else ""
            table.add_row(task, model, done, Text(failed, "red"), running.get(group, ""), style=style)
        hidden = groups[room:]
        if hidden:
            open_ones = sum(not self._finished(group) for group in hidden)
            table.add_row(f"... {len(hidden)} more, {open_ones} of them unfinished", style="dim")
        return table

    def _finished(self, group: tuple[str, str]) -> bool:
        return self.done[group] + self.failures[group] >= self.total[group]

    def _running(self) -> dict[tuple[str, str], str]:
        """Return what runs, by group (a certification is one of its own), and how far it is."""
        found: dict[tuple[str, str], list[str]] = {}
        for active in self.active.values():
            if active.job.task is not None:
                found.setdefault((self.tasks[active.job.task_key], "certificate"), []).append("certifying")
                continue
            share = f"{active.done:.0%}" if active.training > 0 else "measuring"
            found.setdefault(self._group(self.lines[active.job.cells[0].key]), []).append(share)
        return {group: ", ".join(shares) for group, shares in found.items()}


def place(line: dict[str, Any]) -> str:
    """Return which run of a condition a line of `cells.json` is: distance, layers, seed."""
    hops = "" if line["hops"] is None else f"h{line['hops']} "
    return f"{hops}L{line['num_layers']} s{line['seed']}"

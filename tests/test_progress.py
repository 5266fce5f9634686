"""What a user sees fits the terminal and says what is so; estimates come from what is known."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from fake_parts import PARTS, cells_of
from rich.console import Console

from suite.cell import Cell
from suite.costs import Costs
from suite.progress import Lines, Progress, Screen, duration, shorten
from suite.provenance import arguments, public
from suite.runner import Planner
from suite.store import Store
from suite.worker import Job, Piece


def listing_of(batches: list[tuple[Cell, ...]], task: str = "transfer (position)", title: str = "GCN") -> dict[str, Any]:
    """Return what `cells.json` says, a model of its own for every batch."""
    cells = [
        {
            "key": cell.key,
            "task": task,
            "topology": "schutterwald_lv_grid",
            "hops": 12,
            "num_layers": 24,
            "seed": cell.seed,
            "purpose": "report",
        }
        | {"title": f"{title} {number}", "task_key": cell.task.key}
        for number, batch in enumerate(batches)
        for cell in batch
    ]
    tasks = {c["task_key"]: {"task_key": c["task_key"], "title": task, "topology": "ring", "hops": 12} for c in cells}
    return {"study": {"name": "trial"}, "cells": cells, "tasks": list(tasks.values())}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.prepare()
    return store


def commit(store: Store, cell: Cell, seconds: float = 10.0) -> None:
    record = {"key": cell.key, "status": "ok", "cost": {"seconds": seconds}}
    store.commit_cell(record | {"metrics": {"test": {"score": 0.9375}, "stopped": "diverged"}}, {})


def shown(kind: type[Progress], store: Store, num_batches: int, width: int = 80) -> tuple[Any, list[Job], io.StringIO]:
    batches = [cells_of(2, condition=number) for number in range(num_batches)]
    jobs = Planner(store, parts=PARTS).plan(batches, [batches[0][0].task]).jobs
    out = io.StringIO()
    console = Console(file=out, width=width, height=24, force_terminal=kind is Screen)
    return kind(console, store, listing_of(batches), jobs, lambda _: 60.0, 2), list(jobs), out


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (4.25, "4.2 s"), (75, "75 s"), (700, "12 min"), (11100, "3 h 05 min")]
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize("width", range(3, 12))
def test_what_is_too_long_keeps_both_ends(width: int) -> None:
    text = "abcdefghij"
    short = shorten(text, width)
    assert len(short) == min(width, len(text))
    head, _, tail = short.partition("…")
    assert text.startswith(head)
    assert text.endswith(tail or head)


@pytest.mark.parametrize("num_batches", [1, 40])
def test_the_live_table_fits_a_terminal_of_80_columns_and_24_lines(store: Store, num_batches: int) -> None:
    screen, jobs, out = shown(Screen, store, num_batches)
    for job in jobs[:2]:
        screen.started(job)
    screen.stepped(jobs[1], 300, 1000)
    screen.notice = "Interrupted: finishing 2 running batches. Ctrl-C again stops them."
    Console(file=out, width=80, height=24).print(screen._render())
    lines = out.getvalue().splitlines()
    assert len(lines) <= 22
    assert all(len(line.rstrip()) <= 80 for line in lines)
    text = out.getvalue()
    assert "certifying" in text
    assert "30%" in text
    assert f"0/{2 * num_batches} cells" in text
    assert ("of them unfinished" in text) == (num_batches > 20)


def test_a_finished_cell_is_one_line_and_counts(store: Store) -> None:
    lines, jobs, out = shown(Lines, store, 1)
    cell = jobs[1].cells[1]
    commit(store, cell, 12.3)
    with lines:
        lines.started(jobs[1])
        lines.made(jobs[1], Piece(cell.key, "train"))
    head, line = out.getvalue().splitlines()
    assert head.split() == ["cells", "model", "task", "hops/layers", "seed", "score", "stopped", "time"]
    assert " ".join(line.split()) == "1/2 GCN 0 transfer (position), schutterwald_lv_grid 12/24 1 0.938 diverged 12 s"
    assert len(line) <= 110


def test_the_time_left_is_scaled_by_what_jobs_took(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("suite.progress.time.monotonic", lambda: clock[0])
    progress, jobs, _ = shown(Lines, store, 5)  # 6 jobs of 60 s by the estimate, on 2 workers
    assert progress.left is None
    progress.started(jobs[0])
    clock[0] = 120.0  # twice as slow
    progress.ended(jobs[0])
    assert progress.left == pytest.approx(5 * 120 / 2)
    progress.started(jobs[1])
    clock[0] = 180.0
    assert progress.left == pytest.approx((4 * 120 + 60) / 2)


def test_the_estimate_of_a_condition_is_what_its_stored_cells_took(store: Store) -> None:
    half, other = cells_of(4), cells_of(4, condition=1)
    for cell in half[:2]:
        commit(store, cell, seconds=30.0)
    jobs = Planner(store, parts=PARTS).plan([half, other], []).jobs
    costs = Costs(store, [*half, *other], {half[0].task.key: 10, other[0].task.key: 10}, set())
    known, alike = map(costs.seconds, jobs)
    measures = 0.015 * 4 * (1 + 2)  # one measure of each cell of one layer
    assert known == pytest.approx(4 * 30 + measures)
    assert alike == pytest.approx(known)  # the same model and size: scaled to what was seen
    assert costs.with_time(jobs[0]) == jobs[0]  # an hour a cell is more
    hurried = Planner(store, parts=PARTS, cell_seconds=1.0).plan([half], []).jobs[0]
    assert costs.with_time(hurried).seconds == pytest.approx(3 * costs.seconds(hurried))


def test_what_a_step_of_a_batch_took_is_the_estimate_of_all_like_it(store: Store) -> None:
    batches = [cells_of(4, condition=number) for number in range(3)]
    jobs = Planner(store, parts=PARTS).plan(batches, []).jobs
    costs = Costs(store, [cell for batch in batches for cell in batch], {batch[0].task.key: 10**6 for batch in batches}, set())
    (timed,), limit = costs.to_be_timed(jobs)  # one stands for all: they have one model and ask one task
    assert 0 < limit <= 20
    costs.learn(3.0, [(timed, 0.01)])
    steps, measures = timed[0].protocol.max_steps, 3.0 * 0.015 * 4 * (1 + 2)
    assert [costs.seconds(job) for job in jobs] == pytest.approx([0.01 * steps + measures] * 3)  # of a whole batch at once
    assert costs.to_be_timed(jobs) == ([], 0.0)


def test_nothing_is_timed_where_it_would_take_longer_than_it_tells(store: Store) -> None:
    cells = cells_of(2)
    jobs = Planner(store, parts=PARTS).plan([cells], []).jobs
    assert Costs(store, cells, {cells[0].task.key: 10}, set()).to_be_timed(jobs)[1] == 0


def test_records_keep_no_folders() -> None:
    assert arguments(["--out=/a/b/results", "/c/mine.py:Mine", "--study", "quick", "/"]) == [
        "--out=results", "mine.py:Mine", "--study", "quick", "/",
    ]  # fmt: skip
    ref = {"ref": "/a/b/mine.py:Mine", "sha256": "0" * 64, "version": 1}
    assert public({"task": [ref]}) == {"task": [ref | {"ref": "mine.py:Mine"}]}
    assert public('File "/a/b/mine.py", line 3') == 'File "mine.py", line 3'
    assert public(str(Path.home() / "x")) == "~/x"

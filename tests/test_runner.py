"""Whatever dies, finished cells stay, others go on, and nothing is done twice. The engine here is tests/fake_parts.py."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_parts
import pytest
import torch
from fake_parts import PARTS, cells_of
from witness import Witness

from benchmarks.limits import runner_seconds
from suite import provenance
from suite.cell import Cell, FactorRef, TaskRef
from suite.runner import Plan, Planner, Runner, give_up, time_steps
from suite.store import Store
from suite.survey import survey

ROOT = Path(__file__).resolve().parents[1]
Batches = Sequence[Sequence[Cell]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    (tmp_path / "trace").touch()
    return tmp_path / "trace"


def plan(store: Store, batches: Batches, tasks: Iterable[TaskRef] = (), **options: Any) -> Plan:
    return Planner(store, parts=PARTS, **options).plan(batches, tasks)


def run(store: Store, batches: Batches, tasks: Iterable[TaskRef] = (), workers: int = 1, **options: Any) -> Witness:
    witness = Witness()
    assert Runner(store, workers, witness).run(plan(store, batches, tasks, **options).jobs)
    return witness


def started(trace: Path) -> list[tuple[int, int]]:
    """Return (size of the batch, seed) of every training that began."""
    return [(int(size), int(seed)) for _, _, size, seed in map(str.split, trace.read_text().splitlines())]


def files(store: Store) -> dict[str, tuple[int, bytes]]:
    """Return inode and content of every result."""
    kinds = ("cells", "measures", "certificates")
    paths = [path for kind in kinds for path in (store.root / kind).rglob("*.*")]
    return {str(path): (path.stat().st_ino, path.read_bytes()) for path in paths}


def without_time(store: Store) -> dict[str, Any]:
    """Return every result, but for what may differ from run to run."""
    found: dict[str, Any] = {}
    for path in sorted(path for kind in ("cells", "measures") for path in (store.root / kind).rglob("*.*")):
        content: Any = path.read_bytes()
        if path.suffix == ".json":
            content = json.loads(content)
            content.pop("cost", None)
            content.get("provenance", {}).pop("run", None)
        found[str(path.relative_to(store.root))] = content
    return found


# what is made


def test_a_batch_leaves_records_weights_measures_and_a_second_run_does_nothing(store: Store, trace: Path) -> None:
    batch, task = cells_of(3, trace=str(trace)), cells_of(1)[0].task
    witness = run(store, [batch], [task], workers=2)
    assert store.keys() == {cell.key for cell in batch}
    for cell in batch:
        weights, initial = store.weights(cell.key), fake_parts.initial_model(cell).state_dict()
        assert (weights["bias"] == initial["bias"] + 1).all()
        assert (weights["weight"] == initial["weight"]).all()
        measured = store.measures(cell.key)["sum"]
        assert measured["trained"]["sum"] - measured["initial"]["sum"] == pytest.approx(2, abs=1e-6)
    assert (store.certificate(task.key) or {})["verdict"] == "certified"
    assert (5, 10) in witness.all("stepped")
    assert len(witness.all("made")) == 3 + 3 + 1
    assert plan(store, [batch], [task]) == Plan((), ())
    before = files(store)
    run(store, [batch], [task])
    assert files(store) == before
    assert started(trace) == [(3, 0), (3, 1), (3, 2)]


def test_one_and_two_workers_and_another_run_give_the_same_files(tmp_path: Path) -> None:
    batches = [cells_of(2, {"1": "diverge"}, condition=number) for number in range(3)]
    stores = [Store(tmp_path / name) for name in ("one", "two", "again")]
    for store, workers in zip(stores, (1, 2, 2), strict=True):
        store.prepare()
        run(store, batches, workers=workers)
    one, two, again = map(without_time, stores)
    assert one == two == again
    assert len(one) == 6 * 2 + 3


def test_a_batch_that_misses_a_cell_runs_whole_and_commits_that_one(store: Store, trace: Path) -> None:
    batch = cells_of(3, trace=str(trace))
    run(store, [batch])
    before = files(store)
    lost = [path for path in before if batch[1].key in path]
    for path in lost:
        Path(path).unlink()
    run(store, [batch])
    after = files(store)
    assert {path: found for path, found in after.items() if path not in lost} == {
        path: found for path, found in before.items() if path not in lost
    }
    assert started(trace)[3:] == [(3, 0), (3, 1), (3, 2)]
    record = store.record(batch[1].key) or {}
    assert record["provenance"]["batch"] == [cell.key for cell in batch]
    assert record["provenance"]["engine"] == {"shortcuts": "sloth", "float32_matmul_precision": "highest"}
    assert record["metrics"]["test"]["score"] == 0.75  # as the fake engine scores in a batch of three


def test_a_record_without_a_measure_gets_only_that(store: Store, trace: Path) -> None:
    batch = cells_of(2, trace=str(trace))
    run(store, [batch])
    made = next((store.root / "measures").rglob("sum.2.json"))
    content = made.read_bytes()
    made.unlink()
    run(store, [batch])
    assert made.read_bytes() == content
    assert len(started(trace)) == 2


def test_what_rewiring_did_is_asked_of_rewired_cells_alone(store: Store) -> None:
    (plain,) = cells_of(1)
    rewired = plain.model_copy(update={"rewiring": FactorRef(name="two_hop", settings={}, version=1)})
    jobs = Planner(store).plan([[plain], [rewired]], []).jobs
    stages = [{piece.stage for piece in job.pieces} for job in jobs]
    assert stages[1] - stages[0] == {"rewiring"}
    assert stages[0] < stages[1]


def test_a_diverged_cell_is_a_result_and_is_not_measured(store: Store) -> None:
    batch = cells_of(2, {"0": "diverge"})
    witness = run(store, [batch])
    record = store.record(batch[0].key) or {}
    assert (record["status"], record["metrics"]["test"]["loss"]) == ("diverged", None)
    assert store.measures(batch[0].key) == {}
    assert store.measures(batch[1].key)
    assert not witness.all("failed")
    assert plan(store, [batch]).jobs == ()


def test_records_do_not_name_machine_or_user(store: Store) -> None:
    run(store, [cells_of(1)], run={"argv": provenance.public([str(Path.home() / "x"), str(ROOT / "y")])})
    text = next((store.root / "cells").rglob("*.json")).read_text()
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text
    assert os.uname().nodename not in text
    assert json.loads(text)["provenance"]["run"]["argv"] == ["~/x", "./y"]


# what fails


@pytest.mark.parametrize(
    ("does", "status", "message"),
    [
        ("raise", "error", "ZeroDivisionError: one over nothing"),
        ("oom", "oom", "can't allocate memory"),
        ("kill", "killed", "ended by SIGKILL, 3 times"),
        ("exit", "error", "the worker exited with code 7"),
        ("hang", "timeout", "not finished after 3 s"),
    ],
)
def test_a_cell_that_fails_is_recorded_and_harms_no_other(
    store: Store, trace: Path, does: str, status: str, message: str
) -> None:
    batch = cells_of(3, {"1": does}, trace=str(trace))
    witness = run(store, [batch], workers=2, cell_seconds=3.0 if does == "hang" else 600.0)
    assert store.keys() == {batch[0].key, batch[2].key}
    assert all(store.measures(batch[seed].key) for seed in (0, 2))
    (failure,) = store.failures(batch[1].key)
    assert (failure["stage"], failure["status"]) == ("train", status)
    assert message in failure["message"]
    assert (store.root / failure["log"]).exists()
    assert witness.all("failed") == [(batch[1].key, "train", status)]
    if does == "raise":
        assert "one over nothing" in failure["traceback"]
        assert str(ROOT) not in failure["traceback"]
        assert "one over nothing" in (store.root / failure["log"]).read_text()


def test_a_batch_that_was_killed_is_tried_again_whole(store: Store, trace: Path) -> None:
    batch = cells_of(2, {"1": "once kill"}, trace=str(trace))
    run(store, [batch])
    assert started(trace) == [(2, 0), (2, 1), (2, 0), (2, 1)]
    assert [(store.record(cell.key) or {})["metrics"]["test"]["score"] for cell in batch] == [0.5, 0.5]


def test_an_error_stands_until_the_source_changes_or_it_is_asked_for(
    store: Store, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = cells_of(2, {"0": "raise"}, trace=str(trace))
    run(store, [batch])
    begun = len(started(trace))
    assert plan(store, [batch]).jobs == ()
    assert [f["status"] for f in plan(store, [batch]).given_up] == ["error"]
    assert plan(store, [batch], retry=frozenset({"oom", "timeout"})).jobs == ()
    assert len(plan(store, [batch], retry=frozenset({"error"})).jobs) == 1
    monkeypatch.setattr("suite.runner.fingerprint", lambda *_: "another source")
    run(store, [batch])
    assert len(started(trace)) > begun
    assert len(store.failures(batch[0].key)) == 2


@pytest.mark.parametrize(
    ("status", "again"), [("error", False), ("oom", False), ("timeout", False), ("killed", True), ("unavailable", True)]
)
def test_which_failures_are_tried_again(store: Store, status: str, again: bool) -> None:
    (cell,) = batch = cells_of(1)
    source = provenance.fingerprint(cell.task.ref, cell.model.ref)
    failure = {"stage": "train", "version": 0, "status": status, "fingerprint": source, "limit_seconds": 60.0}
    store.commit_failure(cell.key, failure)
    assert len(plan(store, [batch], cell_seconds=60.0).jobs) == again
    assert len(plan(store, [batch], cell_seconds=61.0).jobs) == (again or status == "timeout")


def test_a_measure_that_fails_leaves_the_cell_and_its_other_measures(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = SimpleNamespace(version=1, rewired=False, run=None)  # the worker, a process of its own, has no such measure
    monkeypatch.setitem(fake_parts.MEASURES, "broken", broken)
    batch = cells_of(1)
    witness = run(store, [batch])
    assert store.measures(batch[0].key).keys() == {"sum"}
    assert witness.all("failed") == [(batch[0].key, "broken", "error")]
    assert plan(store, [batch]).jobs == ()
    listing = {"cells": [{"key": batch[0].key}], "tasks": []}
    found = survey(listing, store)
    assert found.counts == {"done": 1}
    assert found.failed


def test_a_certification_that_fails_is_recorded(store: Store) -> None:
    task = TaskRef(ref="fake_parts:Quiet", params={"certifies": False}, version=1)
    run(store, [], [task])
    assert store.certificate(task.key) is None
    assert [failure["stage"] for failure in store.failures(task.key)] == ["certify"]
    assert plan(store, [], [task]).jobs == ()
    assert survey({"cells": [], "tasks": [{"task_key": task.key}]}, store).failed


def test_data_that_cannot_be_had_are_no_failure_and_are_asked_for_again(store: Store) -> None:
    batch = cells_of(2, {"0": "unavailable"})
    run(store, [batch])
    assert [store.failures(cell.key)[-1]["status"] for cell in batch] == ["unavailable"] * 2
    found = survey({"cells": [{"key": cell.key} for cell in batch], "tasks": []}, store)
    assert found.counts == {"unavailable": 2}
    assert not found.failed
    jobs = plan(store, [batch]).jobs
    assert len(jobs) == 1
    give_up(store, jobs, "no network, no copy")
    give_up(store, jobs, "no network, no copy")
    assert len(store.failures(batch[1].key)) <= 2  # told once more at most, not at every run


def test_a_record_that_cannot_be_read_is_made_again(store: Store) -> None:
    batch = cells_of(1)
    run(store, [batch])
    next((store.root / "cells").rglob("*.json")).write_text("{")
    run(store, [batch])
    assert (store.record(batch[0].key) or {})["status"] == "ok"


# workers


def costs_of(store: Store, batch: Sequence[Cell]) -> dict[str, Any]:
    return (store.record(batch[0].key) or {})["cost"]


def test_steps_are_timed_in_a_process_that_may_fail_or_hang() -> None:
    fine, broken, slow = cells_of(2, seconds=0.25), cells_of(2, {"0": "raise"}), cells_of(2, seconds=60)
    slowness, timed = time_steps([broken, fine, slow, fine], 10.0, PARTS)
    assert slowness == 2.0
    assert timed == [(fine, 0.25)]


def test_short_batches_share_a_worker_until_one_fails(store: Store) -> None:
    does = (None, None, {"0": "raise"}, None, {"0": "once kill"}, None)
    batches = [cells_of(1, d, condition=n, trace=str(store.root / "trace")) for n, d in enumerate(does)]
    run(store, batches)
    first, second, third, again, last = (costs_of(store, batches[n])["process"] for n in (0, 1, 3, 4, 5))
    assert first == second
    assert again == last
    assert len({first, third, again}) == 3
    count = Counter(line.split()[0] for line in (store.root / "trace").read_text().splitlines())
    assert [count[batch[0].condition] for batch in batches] == [1, 1, 1, 1, 2, 1]  # a death costs its own batch alone


def test_a_worker_grows_old(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.runner.RENEW", 0.0)
    batches = [cells_of(1, condition=number) for number in range(3)]
    run(store, batches)
    assert len({costs_of(store, batch)["process"] for batch in batches}) == 3


def test_a_batch_does_not_depend_on_what_its_worker_did_before(store: Store) -> None:
    batches = [cells_of(1, {"0": does} if does else None, condition=n) for n, does in enumerate(["upset", "gulp", ""])]
    run(store, batches)
    assert len({costs_of(store, batch)["process"] for batch in batches}) == 1
    assert [store.weights(batch[0].key)["bias"].dtype for batch in batches] == [torch.float64, torch.float32, torch.float32]
    before, most, after = (costs_of(store, batch)["peak_memory_mb"] for batch in batches)
    assert most > before + 250
    assert after < before + 50  # a peak of its own


def test_the_cost_of_a_cell_that_does_nothing_is_small_and_does_not_grow() -> None:
    few, many = (runner_seconds([cells_of(1, condition=n) for n in range(count)], PARTS) for count in (100, 400))
    assert many[0] < max(2 * few[0], 0.02)
    assert many[0] < 0.06  # seconds; 0.02 on a machine that does nothing else
    assert many[1] < max(2 * few[1], 0.005)


# others


def test_a_batch_that_another_process_holds_is_asked_for_again(store: Store, trace: Path) -> None:
    batch = cells_of(1, trace=str(trace))
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock(batch[0].condition):
            held.set()
            free.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    threading.Timer(4.0, free.set).start()
    witness = run(store, [batch])
    other.join()
    assert len(witness.all("started")) > 1
    assert started(trace) == [(1, 0)]
    assert witness.all("notice") == ["Waiting for batches that another process is working on."]
    assert store.keys() == {batch[0].key}


DRIVER = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from fake_parts import PARTS, cells_of
from suite import runner
from suite.store import Store
from witness import Witness
runner.PRELOAD = ["torch", "safetensors.torch"]
if __name__ == "__main__":
    store = Store({store!r})
    store.prepare()
    batches = [cells_of(3, condition=n, seconds={seconds}, trace={trace!r}) for n in range({batches})]
    jobs = runner.Planner(store, parts=PARTS).plan(batches, []).jobs
    sys.exit(0 if runner.Runner(store, 2, Witness()).run(jobs) else 130)
"""


def driver(tmp_path: Path, store: Store, **fields: Any) -> subprocess.Popen[bytes]:
    """Start a driver of its own process, as a user does."""
    paths = [str(ROOT), str(ROOT / "tests")]
    code = DRIVER.format(paths=paths, store=str(store.root), trace=str(tmp_path / "trace"), **fields)
    (tmp_path / "driver.py").write_text(code)
    return subprocess.Popen([sys.executable, str(tmp_path / "driver.py")], cwd=tmp_path, start_new_session=True)


def children_of(pid: int) -> list[int]:
    """Return the ids of the processes whose parent is `pid`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def workers_of(pid: int) -> list[int]:
    """Return the ids of the processes that the fork server of driver `pid` has forked."""
    return [worker for child in children_of(pid) for worker in children_of(child)]


def kill_one_of(rng: random.Random, process: subprocess.Popen[bytes]) -> None:
    """Kill a driver, one of its helpers, or one of its workers; workers come and go, so until one is hit."""
    while process.poll() is None:
        pid = process.pid
        victims = rng.choice([[pid], children_of(pid), workers_of(pid)])
        with suppress(ProcessLookupError):
            os.kill(rng.choice(victims or [pid]), signal.SIGKILL)
            return


def storm(tmp_path: Path, store: Store, kills: int, batches: int) -> None:
    """Kill driver, workers or fork server, `kills` times in all, then let it finish; hold every promise against the outcome."""
    rng, seen = random.Random(kills), dict[str, tuple[int, bytes]]()
    finished: dict[str, int] = {}  # condition -> lines of the trace when all its cells were there
    conditions = {batch[0].condition: batch for batch in _batches_of(tmp_path, batches)}
    process = driver(tmp_path, store, seconds=0.05, batches=batches)
    for _ in range(kills):
        known = len(_lines(tmp_path))
        wait_for(lambda known=known, process=process: len(_lines(tmp_path)) > known or process.poll() is not None)
        time.sleep(rng.uniform(0.0, 0.6))
        kill_one_of(rng, process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        seen |= files(store)
        there, lines = store.keys(), len(_lines(tmp_path))
        for condition, batch in conditions.items():
            if all(cell.key in there for cell in batch):
                finished.setdefault(condition, lines)
        if process.poll() is not None:
            process = driver(tmp_path, store, seconds=0.05, batches=batches)
    assert sum(finished.values())  # there was something to lose
    assert process.wait(timeout=300) == 0
    after = files(store)
    cells = [cell for batch in conditions.values() for cell in batch]
    assert store.keys() == {cell.key for cell in cells}  # none lost
    assert seen.items() <= after.items()  # none rewritten: same file, same bytes
    assert Counter(path.name.partition(".")[0] for path in (store.root / "cells").rglob("*.safetensors")) == Counter(
        cell.key for cell in cells
    )
    later = [line.split()[0] for line in _lines(tmp_path)]
    assert not any(condition in later[count:] for condition, count in finished.items())  # none repeated
    assert list((store.root / "failed").rglob("*.json")) == []
    assert plan(store, list(conditions.values())).jobs == ()


def _lines(tmp_path: Path) -> list[str]:
    trace = tmp_path / "trace"
    return trace.read_text().splitlines() if trace.exists() else []


def _batches_of(tmp_path: Path, count: int, seconds: float = 0.05) -> list[tuple[Cell, ...]]:
    return [cells_of(3, condition=number, seconds=seconds, trace=str(tmp_path / "trace")) for number in range(count)]


def test_a_few_kills_lose_nothing(tmp_path: Path, store: Store) -> None:
    storm(tmp_path, store, kills=2, batches=16)


@pytest.mark.slow
def test_ten_kills_lose_nothing(tmp_path: Path, store: Store) -> None:
    storm(tmp_path, store, kills=10, batches=40)


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether process `pid` has ended (its parent may not have asked yet)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_finishes_what_runs_and_a_second_one_stops_it(tmp_path: Path, store: Store, presses: int) -> None:
    process = driver(tmp_path, store, seconds=1.0, batches=9)
    wait_for(lambda: _lines(tmp_path))
    workers = workers_of(process.pid)
    for _ in range(presses):
        os.killpg(process.pid, signal.SIGINT)  # a terminal tells everybody
        time.sleep(0.2)
    assert process.wait(timeout=60) == 130
    begun = {line.split()[0] for line in _lines(tmp_path)}
    complete = {batch[0].condition for batch in _batches_of(tmp_path, 9, 1.0) if {cell.key for cell in batch} <= store.keys()}
    assert 1 <= len(begun) <= 2
    assert complete == (begun if presses == 1 else set())
    assert workers
    wait_for(lambda: all(map(gone, workers)), 10)


def test_a_worker_whose_driver_died_ends_by_its_own_alarm(tmp_path: Path, store: Store) -> None:
    batch = cells_of(1, {"0": "hang"}, trace=str(tmp_path / "trace"))
    code = f"""
import sys
sys.path[:0] = {[str(ROOT), str(ROOT / "tests")]!r}
from dataclasses import replace
from fake_parts import PARTS, cells_of
from suite import runner
from suite.store import Store
from witness import Witness
runner.PRELOAD = ["torch", "safetensors.torch"]
if __name__ == "__main__":
    store = Store({str(store.root)!r})
    batch = cells_of(1, {{"0": "hang"}}, trace={str(tmp_path / "trace")!r})
    jobs = runner.Planner(store, parts=PARTS, cell_seconds=12.0).plan([batch], []).jobs
    runner.Runner(store, 1, Witness()).run([replace(job, grace=0.5) for job in jobs])
"""
    (tmp_path / "orphan.py").write_text(code)
    process = subprocess.Popen([sys.executable, str(tmp_path / "orphan.py")])
    wait_for(lambda: len(_lines(tmp_path)) == 1)
    (worker,) = workers_of(process.pid)
    process.kill()
    process.wait()
    assert not gone(worker)
    with store.lock(batch[0].condition) as free:
        assert not free  # it still works
    wait_for(lambda: gone(worker), 40)
    with store.lock(batch[0].condition) as free:
        assert free

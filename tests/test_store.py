"""The store keeps what was finished first, whole, and nothing else."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.store import STALE, Store, StoreError

KEY = "ab" + "0" * 62


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def a_record(**fields: Any) -> dict[str, Any]:
    return {"key": KEY, "status": "ok"} | fields


def in_threads(work: Any, count: int = 8) -> list[Any]:
    """Call `work(number)` in `count` threads that start together, and return what they return."""
    barrier, results = threading.Barrier(count), [None] * count

    def call(number: int) -> None:
        barrier.wait()
        results[number] = work(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_finished_cell_is_never_rewritten(store: Store) -> None:
    assert store.commit_cell(a_record(score=1), {"w": torch.ones(2)})
    path = next(store.root.glob("cells/ab/*.json"))
    before = path.read_bytes(), path.stat().st_ino
    assert not store.commit_cell(a_record(score=2), {"w": torch.zeros(2)})
    assert (path.read_bytes(), path.stat().st_ino) == before
    assert torch.equal(store.weights(KEY)["w"], torch.ones(2))


def test_of_many_at_once_exactly_one_is_first_and_its_record_names_its_own_weights(store: Store) -> None:
    first = in_threads(lambda n: store.commit_cell(a_record(score=n), {"w": torch.full((3,), float(n))}))
    assert first.count(True) == 1
    record = store.record(KEY)
    assert record is not None
    assert record["score"] == first.index(True)
    assert store.weights(KEY)["w"].tolist() == [record["score"]] * 3
    assert store.keys() == {KEY}


def test_weights_come_back_to_the_bit(store: Store) -> None:
    weights = {"a": torch.randn(3, 4).t(), "count": torch.tensor(7), "d": torch.randn(2, dtype=torch.float64)}
    store.commit_cell(a_record(), weights)
    found = store.weights(KEY)
    assert found.keys() == weights.keys()
    assert all(found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in weights.items())


def test_weights_that_a_killed_attempt_left_are_not_taken_for_those_of_the_record(store: Store) -> None:
    store.commit_cell(a_record(), {"w": torch.ones(2)})
    next(store.root.glob("cells/ab/*.json")).unlink()  # killed between weights and record
    assert not store.has(KEY)
    assert store.keys() == set()
    store.commit_cell(a_record(), {"w": torch.zeros(2)})
    assert torch.equal(store.weights(KEY)["w"], torch.zeros(2))


def test_weights_of_an_unfinished_cell_are_a_key_error(store: Store) -> None:
    with pytest.raises(KeyError, match=KEY):
        store.weights(KEY)


def test_a_record_that_does_not_parse_is_set_aside_and_may_be_made_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.commit_cell(a_record(score=1), {})
    path = next(store.root.glob("cells/ab/*.json"))
    path.write_bytes(path.read_bytes()[:10])
    assert store.record(KEY) is None
    assert "set aside" in caplog.text
    assert path.with_name(path.name + ".bad").exists()
    assert store.commit_cell(a_record(score=2), {})
    assert store.keys() == {KEY}


def test_files_hold_json_as_the_standard_has_it(store: Store) -> None:
    store.commit_cell(a_record(loss=float("nan"), curve=[1.5, float("inf")], name="ü"), {})
    text = next(store.root.glob("cells/ab/*.json")).read_text(encoding="utf-8")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert (found["loss"], found["curve"], found["name"]) == (None, [1.5, None], "ü")


def test_the_newest_version_of_a_measure_and_of_a_certificate_counts(store: Store) -> None:
    for version in (9, 10, 2):
        assert store.commit_measure(KEY, "smoothing", version, {"version": version})
        assert store.commit_certificate(KEY, version, {"version": version})
    assert store.measures(KEY) == {"smoothing": {"version": 10}}
    assert store.measured(KEY) == {("smoothing", 2), ("smoothing", 9), ("smoothing", 10)}
    assert store.certificate(KEY) == {"version": 10}
    assert store.certified(KEY) == {2, 9, 10}


def test_of_one_version_the_full_certificate_counts_and_of_two_the_newer(store: Store) -> None:
    assert store.commit_certificate(KEY, 1, {"tier": "full"}, "full")
    assert (store.certified(KEY), store.certified(KEY, "full")) == ({1}, {1})  # a full one will do where a quick one is asked
    assert store.commit_certificate(KEY, 1, {"tier": "quick"})
    assert store.certificate(KEY) == {"tier": "full"}
    assert store.commit_certificate(KEY, 2, {"tier": "quick, newer"})
    assert store.certificate(KEY) == {"tier": "quick, newer"}
    assert (store.certified(KEY), store.certified(KEY, "full")) == ({1, 2}, {1})


def test_nothing_is_there_before_it_was_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "nowhere")
    assert (store.record(KEY), store.measures(KEY), store.certificate(KEY), store.failures(KEY)) == (None, {}, None, [])
    assert (store.keys(), store.failed_keys()) == (set(), set())
    assert not (tmp_path / "nowhere").exists()


def test_every_failed_attempt_is_kept_in_order(store: Store) -> None:
    numbers = in_threads(lambda n: store.commit_failure(KEY, {"stage": "train", "attempt": n}))
    assert sorted(numbers) == list(range(1, 9))
    assert [numbers[failure["attempt"]] for failure in store.failures(KEY)] == list(range(1, 9))
    assert store.failed_keys() == {KEY}


def test_logs_of_attempts_have_names_of_their_own(store: Store) -> None:
    assert len(set(in_threads(lambda _: store.new_log("job")))) == 8


def test_a_lock_is_held_by_one_and_freed_at_the_end(store: Store) -> None:
    with store.lock("a") as first, store.lock("a") as second, store.lock("b") as other:
        assert (first, second, other) == (True, False, True)
    with store.lock("a") as again:
        assert again


def test_only_stale_temporary_files_are_swept(store: Store) -> None:
    stale, fresh = store.root / "tmp" / "stale", store.root / "tmp" / "fresh"
    stale.touch()
    fresh.touch()
    long_ago = time.time() - STALE - 60
    os.utime(stale, (long_ago, long_ago))
    store.prepare()
    assert (stale.exists(), fresh.exists()) == (False, True)


def test_nothing_temporary_is_left_behind(store: Store) -> None:
    store.commit_cell(a_record(), {"w": torch.ones(1)})
    store.commit_cell(a_record(), {"w": torch.ones(1)})
    assert list((store.root / "tmp").iterdir()) == []


def test_a_store_of_a_newer_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"schema": 99}')
    with pytest.raises(StoreError, match=r"layout 99.*newer"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write results to .*file/store"):
        Store(tmp_path / "file" / "store").prepare()

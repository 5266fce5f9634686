"""Facts about Cora and CiteSeer, and about data that are not there."""

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from data_copy import COPY, needs_copy
from torch_geometric.utils import is_undirected

from datasets import planetoid
from datasets.planetoid import Planetoid
from datasets.stored import DATA_ROOT
from suite.rng import stream
from suite.task import Block, DataUnavailable, Split


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone, and nothing remembered from other tests."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv(DATA_ROOT, str(COPY))
    planetoid._load.cache_clear()
    return cache


def drawn(task: Planetoid, split: Split) -> Block:
    return task.at(split, 0).draw(1, stream("test"))


@needs_copy
@pytest.mark.parametrize(
    ("name", "nodes", "columns", "features", "classes", "train"),
    [("Cora", 2708, 10556, 1433, 7, 140), ("CiteSeer", 3327, 9104, 3703, 6, 120)],
)
def test_sizes_and_splits_are_the_published_ones(
    name: str, nodes: int, columns: int, features: int, classes: int, train: int
) -> None:
    task, asked = Planetoid(name=name), {}
    for split, count in (("train", train), ("validation", 500), ("test", 1000)):
        block = drawn(task, split)
        assert block.x.shape == (1, nodes, features)
        assert block.edge_index.size(1) == columns
        assert is_undirected(block.edge_index)
        assert block.y.shape == (1, count)
        asked[split] = set(block.readout_index.tolist())
        assert len(asked[split]) == count
        if split == "train":
            assert block.y.flatten().bincount().tolist() == [20] * classes
    assert task.out_channels == classes
    assert not asked["train"] & asked["test"]
    assert not asked["validation"] & asked["test"]


@needs_copy
def test_rows_of_x_sum_to_one() -> None:
    sums = drawn(Planetoid(), "train").x.sum(2)
    assert torch.allclose(sums, torch.ones_like(sums), atol=1e-5)


@needs_copy
def test_the_copy_is_read_and_never_written_to(own_cache: Path) -> None:
    def contents() -> dict[str, str]:
        files = (COPY / "planetoid").rglob("*")
        return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}

    before = contents()
    drawn(Planetoid(), "test")
    assert contents() == before
    assert list(own_cache.rglob("processed"))


@needs_copy
def test_a_second_process_finds_the_cache_and_needs_no_copy_of_its_own(own_cache: Path) -> None:
    drawn(Planetoid(), "test")
    before = {f: f.stat().st_mtime_ns for f in own_cache.rglob("*")}
    planetoid._load.cache_clear()
    drawn(Planetoid(), "test")
    assert {f: f.stat().st_mtime_ns for f in own_cache.rglob("*")} == before


def test_without_copy_and_network_one_message_says_what_was_looked_for(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    task = Planetoid()  # asking for it is no error yet
    with pytest.raises(DataUnavailable, match=r"Cora: no planetoid/Cora/raw .*no network.*--data-root"):
        drawn(task, "train")
    assert not list((own_cache / "hopscope").iterdir())  # nothing half-made stays


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match="'Cora' or 'CiteSeer'"):
        Planetoid(name="Coral")


def test_where_the_data_lie_is_no_part_of_the_task() -> None:
    assert Planetoid().config() == {"name": "Cora", "split": "train"}

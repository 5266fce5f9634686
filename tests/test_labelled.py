"""Facts about labelled graphs: published sizes and splits, the metric, and data that are not there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from data_copy import COPY, needs_copy
from made_up_labelled import write_city, write_tolokers
from sklearn.metrics import accuracy_score, roc_auc_score
from torch_geometric.utils import contains_self_loops, is_undirected, to_undirected

from datasets import labelled
from datasets.labelled import LabelledGraph
from datasets.stored import DATA_ROOT
from suite.cell import Cell, Protocol
from suite.engine import Trained, train
from suite.models import resolve
from suite.rng import stream
from suite.score import scores
from suite.task import Block, DataUnavailable, Split
from suite.views import task_ref

SIZES = [
    ("Minesweeper", 10_000, 78_804, 7, 2, (5000, 2500, 2500)),
    ("Texas", 183, 558, 1703, 5, (87, 59, 37)),
    ("Cornell", 183, 554, 1703, 5, (87, 59, 37)),
    ("Wisconsin", 251, 900, 1703, 5, (120, 80, 51)),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(DATA_ROOT, str(COPY))
    labelled._load.cache_clear()


def drawn(task: LabelledGraph, split: Split) -> Block:
    return task.at(split, 0).draw(1, stream("test"))


@needs_copy
@pytest.mark.parametrize(("name", "nodes", "columns", "features", "classes", "counts"), SIZES)
def test_sizes_and_splits_are_the_published_ones(
    name: Any, nodes: int, columns: int, features: int, classes: int, counts: tuple[int, ...]
) -> None:
    splits: tuple[Split, ...] = ("train", "validation", "test")
    for fold in (0, 9):
        asked = []
        for split, count in zip(splits, counts, strict=True):
            block = drawn(LabelledGraph(name=name, fold=fold), split)
            assert block.x.shape == (1, nodes, features)
            assert block.edge_index.size(1) == columns
            assert block.y.numel() == count
            assert 0 <= int(block.y.min()) <= int(block.y.max()) < classes
            asked.append(set(block.readout_index.tolist()))
        assert not asked[0] & asked[1] | asked[0] & asked[2] | asked[1] & asked[2]
    assert is_undirected(block.edge_index)
    assert not contains_self_loops(block.edge_index)


@needs_copy
def test_folds_ask_other_nodes() -> None:
    first, second = (drawn(LabelledGraph(name="Texas", fold=fold), "test").readout_index for fold in (0, 1))
    assert not torch.equal(first, second)


def test_the_area_under_the_curve_is_that_of_scikit_learn_and_no_less_for_any_shift() -> None:
    rng = stream("auc")
    out, y = torch.randn(3, 50, 2, generator=rng), torch.randint(2, (3, 50), generator=rng)
    found = scores(out + torch.tensor([5.0, 0.0]), y, "roc_auc")
    assert found.tolist() == pytest.approx([roc_auc_score(b, a[:, 1] - a[:, 0]) for a, b in zip(out, y, strict=True)])
    perfect = torch.stack([-y.float(), y.float()], dim=2)
    assert scores(perfect, y, "roc_auc").tolist() == [1.0] * 3
    assert scores(torch.zeros(3, 50, 2), y, "roc_auc").tolist() == [0.5] * 3


def test_tolokers_are_read_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_tolokers(tmp_path)
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    for split, masks in (("train", "train_masks"), ("validation", "val_masks"), ("test", "test_masks")):
        for fold in (0, 9):
            block = drawn(LabelledGraph(name="Tolokers", fold=fold), split)  # type: ignore[arg-type]
            asked = torch.from_numpy(raw[masks][fold]).nonzero().flatten()
            assert torch.equal(block.readout_index, asked)
            assert torch.equal(block.y[0], torch.from_numpy(raw["node_labels"])[asked])
    assert torch.equal(block.x[0], torch.from_numpy(raw["node_features"]))
    pairs = {frozenset(pair) for pair in raw["edges"].tolist()}
    assert {frozenset(pair) for pair in block.edge_index.T.tolist()} == pairs
    assert block.edge_index.size(1) == 2 * len(pairs)


def test_a_city_is_read_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_city(tmp_path, "paris")
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    task = LabelledGraph(name="paris")
    assert (task.metric, task.out_channels, task.chance) == ("accuracy", 10, 0.1)
    for split, mask in (("train", "train_mask"), ("validation", "valid_mask"), ("test", "test_mask")):
        block = drawn(task, split)  # type: ignore[arg-type]
        asked = raw[mask].nonzero().flatten()
        assert torch.equal(block.readout_index, asked)
        assert torch.equal(block.y[0], raw["10-chunk_16-hop_node_labels"][asked])
    assert torch.equal(block.x[0], raw["node_features_augmented"])
    assert torch.equal(block.edge_index, to_undirected(raw["edge_indices"]))


@pytest.mark.parametrize("name", ["Tolokers", "paris"])
def test_scores_on_a_labelled_graph_are_those_of_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    write_tolokers(tmp_path)
    write_city(tmp_path, "paris")
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    task, found = LabelledGraph(name=name), list[Trained]()
    cell = Cell(
        task=task_ref(task), model=resolve("gcn"), num_layers=2, hidden_channels=8, seed=0, protocol=Protocol(max_steps=2)
    )
    train([cell], found.append)
    block = drawn(task, "test")
    with torch.no_grad():
        out = found[0].trained(block.x[0], block.edge_index)[block.readout_index]
    y = block.y[0]
    expected = roc_auc_score(y, out[:, 1] - out[:, 0]) if name == "Tolokers" else accuracy_score(y, out.argmax(1))
    assert found[0].metrics["test"]["score"] == pytest.approx(expected, abs=1e-6)


@needs_copy
def test_a_gcn_ranks_mines_better_than_chance() -> None:
    task = LabelledGraph(name="Minesweeper")
    assert (task.metric, task.chance) == ("roc_auc", 0.5)
    protocol = Protocol(lr=0.01, max_steps=30, eval_every=10, solved_at=None)
    found: list[Trained] = []
    train(
        [Cell(task=task_ref(task), model=resolve("gcn"), num_layers=2, hidden_channels=16, seed=0, protocol=protocol)],
        found.append,
    )
    assert found[0].metrics["test"]["score"] > 0.55


def test_data_that_are_not_there_are_named_with_the_place_to_put_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_args: object) -> None:
        raise OSError("no route")

    monkeypatch.setenv(DATA_ROOT, str(tmp_path / "nothing"))
    monkeypatch.setitem(labelled.SOURCES, "paris", labelled.CITY._replace(load=unreachable))
    with pytest.raises(DataUnavailable, match=r"paris: no city/paris/raw under .*no route.*--data-root DIR"):
        drawn(LabelledGraph(name="paris"), "train")


def test_a_split_that_is_not_published_is_refused() -> None:
    with pytest.raises(ValueError, match="fold: must be < 1, the splits of london, got 3"):
        LabelledGraph(name="london", fold=3)

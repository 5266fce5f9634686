"""Extrapolation: a task trained on one setting and tested on another, as a view and in a study."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from pydantic import ValidationError
from torch_geometric.data import Data

from datasets import TASKS
from datasets.transfer import Transfer
from suite.cell import Cell, Protocol
from suite.engine import blocks, train
from suite.expansion import expand
from suite.models import resolve
from suite.refs import ref_of
from suite.rng import stream
from suite.study import StudyError, load_study
from suite.task import Block, Level, Split, Task
from suite.testing import TASK_CHECKS
from suite.views import Extrapolated, task_ref

FAR = Extrapolated(seen=task_ref(Transfer(hops=6)), trained={"hops": 3})
STUDY = """
title = "Farther than trained"
question = "How far?"
[[grid]]
section = "hops"
tasks = [{ kind = "transfer", train = { hops = 3 } }]
hops = [3, 6]
models = ["gcn"]
num_layers = ["hops"]
num_seeds = 2
"""


class Sampled(Task):
    """One ring at a time, of two sizes where `mixed`: then it comes as a list, otherwise as a block."""

    hops: int = 3
    num_classes: int = 2
    mixed: bool = False

    def sample(self, rng: torch.Generator) -> Data:
        larger = int(torch.randint(2, (), generator=rng)) if self.mixed else 0
        return Transfer(hops=self.hops + larger, num_classes=2).draw(1, rng).to_data_list()[0]

    @property
    def range(self) -> int | None:
        return None if self.mixed else self.hops


@pytest.mark.parametrize(("split", "hops"), [("train", 3), ("validation", 3), ("test", 6)])
def test_only_the_test_asks_farther(split: str, hops: int) -> None:
    seen = FAR.at(split, 0)  # type: ignore[arg-type]
    mine, plain = seen.draw(4, stream("x")), Transfer(hops=hops).draw(4, stream("x"))
    assert isinstance(mine, Block)
    assert torch.equal(mine.x, plain.x)
    assert mine.num_nodes == 2 * hops
    assert seen.range == hops


def test_it_is_scored_named_and_remade_as_what_the_test_asks() -> None:
    assert (FAR.range, FAR.chance, FAR.title) == (6, 0.2, "transfer (content), trained at hops=3")
    assert task_ref(FAR).load() == FAR
    position = Extrapolated(seen=task_ref(Transfer(addressing="position", hops=7)), trained={"hops": 5})
    assert position.chance == Transfer(addressing="position", hops=7).chance
    assert position.content_twin() == Extrapolated(
        seen=task_ref(Transfer(addressing="position", hops=7).content_twin()), trained={"hops": 5}
    )


@pytest.mark.parametrize("check", TASK_CHECKS)
@pytest.mark.parametrize(
    "trained", [{"hops": 3}, {"topology": {"kind": "tree"}}, {"topology": {"kind": "clique_path"}, "hops": 4}]
)
def test_it_keeps_the_contract_of_tasks(trained: dict[str, object], check: str) -> None:
    assert not list(TASK_CHECKS[check](Extrapolated(seen=task_ref(Transfer(hops=6)), trained=trained)))


def test_other_widths_are_refused_with_both_named() -> None:
    with pytest.raises(ValidationError, match=r"trained: must leave .*training has 6 and 4 .*the test has 7 and 5"):
        Extrapolated(seen=task_ref(Transfer()), trained={"num_classes": 4})


def test_blocks_and_lists_are_brought_to_one_form() -> None:
    mixed = Extrapolated(seen=task_ref(Sampled(mixed=True)), trained={"mixed": False})
    assert not isinstance(mixed.at("train", 0).draw(8, stream("y")), Block)
    assert isinstance(Extrapolated(seen=task_ref(Sampled()), trained={"hops": 4}).at("train", 0).draw(8, stream("y")), Block)


def test_a_model_without_reach_learns_near_and_fails_far() -> None:
    """Four layers see a source 3 hops away, and nothing 6 away: there the score must be that of guessing."""
    protocol = Protocol(lr=1e-2, max_steps=300, num_validation=128, num_test=512)
    cell = Cell(task=task_ref(FAR), model=resolve("gin"), num_layers=4, hidden_channels=32, seed=0, protocol=protocol)
    done = []
    train([cell], done.append)
    metrics = done[0].metrics
    assert metrics["validation"]["score"] > 0.9
    assert metrics["test"]["score"] == pytest.approx(0.2, abs=0.08)


def test_evaluation_sets_have_the_sizes_of_their_settings() -> None:
    sizes = {split: {b.num_nodes for b in blocks(FAR, 0, split, 64, 32)} for split in ("train", "test")}  # type: ignore[arg-type]
    assert sizes == {"train": {6}, "test": {12}}


class Collection(Task):
    """Someone's given graphs: as many as `size` in training, half of them in validation, and `asked` in the test."""

    level: ClassVar[Level] = "graph"
    num_classes: int = 2
    size: int = 6
    asked: int = 4
    split: Split = "train"

    def at(self, split: Split, block: int) -> Collection:
        return self.model_copy(update={"split": split})

    def given(self, split: Split) -> int:
        return {"train": self.size, "validation": self.size // 2, "test": self.asked}[split]

    def draw(self, num_graphs: int, rng: torch.Generator) -> list[Data]:
        edge_index = torch.tensor([[0, 1], [1, 0]])
        number = min(num_graphs, self.given(self.split))
        return [Data(x=torch.full((2, 1), float(i)), edge_index=edge_index, y=torch.tensor([i % 2])) for i in range(number)]


def test_collections_of_unlike_size_are_asked_whole_each_in_its_splits() -> None:
    small, large = Collection(), Collection(size=10, asked=8)
    task = Extrapolated(seen=task_ref(small), trained={"size": 10, "asked": 8})
    for split, whole in (("train", large), ("validation", large), ("test", small)):
        (drawn,) = blocks(task, 0, split, 1, 1)  # type: ignore[arg-type]
        assert task.given(split) == len(drawn) == whole.given(split)  # type: ignore[arg-type]
        assert task.at(split, 0).given(split) == whole.given(split)  # type: ignore[arg-type]


def expanded(text: str, folder: Path) -> list[Cell]:
    (folder / "far.toml").write_text(text)
    refs = {name: ref_of(task) for name, task in TASKS.items()}
    return [cell for batch in expand(load_study(folder / "far.toml"), refs).batches for cell in batch]


def test_a_study_trains_near_and_tests_at_every_distance(tmp_path: Path) -> None:
    cells = expanded(STUDY, tmp_path)
    assert len(cells) == 2 * 2
    assert {(cell.task.load().range, cell.num_layers) for cell in cells} == {(3, 3), (6, 6)}
    assert {cell.task.load().at("train", 0).range for cell in cells} == {3}
    assert {cell.task.params["trained"]["hops"] for cell in cells} == {3}


def test_a_field_that_the_task_lacks_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"grid\[0\]\.tasks\[0\]\.train"):
        expanded(STUDY.replace("train = { hops = 3 }", "train = { hpos = 3 }"), tmp_path)


def test_a_strangers_file_counts_by_its_name_in_a_view_too() -> None:
    seen = task_ref(Transfer()).model_dump() | {"sha256": "0" * 64}
    cells = [
        task_ref(FAR).model_copy(update={"params": {"seen": seen | {"ref": f"{place}/mine.py:Mine"}, "trained": {"hops": 3}}})
        for place in ("/here", "/there")
    ]
    assert cells[0].key == cells[1].key

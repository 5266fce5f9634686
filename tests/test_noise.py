"""Noise on tokens moves nothing but tokens, and each of them by less than a half."""

from typing import Any

import pytest
import torch
from torch import Tensor

from datasets import TASKS
from datasets.grid import Grid
from datasets.noise import LARGEST
from suite.certify import _seen, _survey
from suite.rng import stream
from suite.task import Block, Task
from suite.testing import check_task
from suite.witness import witness_score

NOISY: list[tuple[str, dict[str, Any]]] = [
    ("addressed_leaf", {}),
    ("mixed_transfer", {}),
    ("mixed_transfer", {"addressing": "content"}),
    ("neighbors_match", {}),
    ("neighbors_match", {"directed": True}),
    ("ordered_path", {}),
    ("ordered_path", {"group": "s3"}),
    ("ordered_tokens", {"group": "s3", "hops": 3}),
    ("own_token", {}),
    ("proximity", {}),
    ("transfer", {"crowding": 2}),
    ("transfer", {"addressing": "position", "topology": Grid(width=4), "hops": 4}),
    ("two_radius", {}),
    ("two_radius", {"matched_by": "path", "centres": 2}),
    ("two_radius", {"hops": 1}),
]
DRAWN_LAST = [(name, fields) for name, fields in NOISY if name != "transfer"]  # its keys are drawn after


def pair(name: str, fields: dict[str, Any], num_graphs: int = 200) -> tuple[Task, Task, Block, Block]:
    """A task without noise and with the most of it, and what each draws from one stream."""
    plain, noisy = TASKS[name](**fields), TASKS[name](**fields, noise=LARGEST)
    drawn = [task.draw(num_graphs, stream("noise, test")) for task in (plain, noisy)]
    assert all(isinstance(block, Block) for block in drawn)
    return plain, noisy, *drawn  # type: ignore[return-value]


def carried(task: Task, block: Block) -> Tensor:
    """Which entries of x are tokens: those of the columns that hold them, or all of a list; [num_nodes] rows that hold any."""
    mark = torch.zeros_like(block.x, dtype=torch.bool)
    mark[:, :, task.token_channels or slice(None)] = True
    return mark & (block.x[:, :, task.token_channels or slice(None)] != 0).any(2, keepdim=True)


def test_every_task_with_noise_is_tested_here() -> None:
    assert {name for name, cls in TASKS.items() if "noise" in cls.model_fields} == {name for name, _ in NOISY}
    assert len({str(TASKS[name].model_fields["noise"]) for name, _ in NOISY}) == 1  # one range, default and help


@pytest.mark.parametrize(("name", "fields"), DRAWN_LAST)
def test_from_one_stream_noise_changes_tokens_alone_and_each_can_be_read(name: str, fields: dict[str, Any]) -> None:
    plain, _, clean, block = pair(name, fields)
    tokens = carried(plain, clean)
    assert torch.equal(block.y, clean.y)
    assert torch.equal(block.edge_index, clean.edge_index)
    assert torch.equal(block.x[~tokens], clean.x[~tokens])
    off = (block.x - clean.x)[tokens]
    assert float(off.abs().max()) < 0.5
    assert torch.equal(block.x[tokens] > 0.5, clean.x[tokens] == 1)
    assert float(off.std()) == pytest.approx(LARGEST / 3**0.5, rel=0.05)  # U(-a, a)
    assert float(off.mean()) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("name", "fields"), NOISY)
def test_what_can_be_known_and_guessed_and_how_far_it_lies_stays_as_it_is(name: str, fields: dict[str, Any]) -> None:
    plain, noisy, clean, block = pair(name, fields, 2)
    for told in ("chance", "ceiling", "range", "token_channels", "out_channels", "irregular"):
        assert getattr(plain, told) == getattr(noisy, told)
    assert torch.equal(block.readout_index, clean.readout_index)
    assert block.x.shape == clean.x.shape
    assert noisy.title.count("noise 0.45") == 1
    assert "noise" not in plain.title


@pytest.mark.parametrize(("name", "fields"), NOISY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_witness_sees_through_the_most_noise_there_is(name: str, fields: dict[str, Any], dtype: torch.dtype) -> None:
    task = TASKS[name](**fields, noise=LARGEST)
    assert witness_score(task, dtype) == task.ceiling


@pytest.mark.parametrize(("name", "fields"), NOISY)
def test_a_noisy_task_keeps_the_contract(name: str, fields: dict[str, Any]) -> None:
    check_task(TASKS[name](**fields, noise=LARGEST))


def test_inputs_that_noise_alone_tells_apart_are_one_input() -> None:
    """A class and a half of ways are learned by heart, with noise or without."""
    plain, noisy = (TASKS["addressed_leaf"](hops=2, num_classes=2, noise=noise) for noise in (0.0, 0.3))
    for task in (plain, noisy):
        survey = _survey(task)
        assert torch.unique(survey.hashes["train"].inputs).numel() <= 4 * 2**6  # ways, classes of six nodes
        assert _seen(task, survey).tag == "memorisable"

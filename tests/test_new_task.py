"""A task to begin with keeps the contract as it is written, and is found by the commands that are told of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import run_all
from suite.certify import SEEN
from suite.engine import blocks
from suite.new_task import class_name, write_task
from suite.refs import load
from suite.samples import hashes
from suite.testing import check_task

ROOT = Path(__file__).resolve().parent.parent


def test_a_new_task_keeps_its_contract_as_it_is_written_and_is_short(tmp_path: Path) -> None:
    module, _ = write_task("path_parity", tmp_path)
    check_task(load(f"{module}:PathParity")())
    source = module.read_text()
    body = source[source.index("def sample") :].strip().splitlines()[1:]
    assert len(body) <= 15
    assert sum("#" in line for line in body) >= 6  # it says why


def test_a_new_task_does_not_show_the_test_in_training(tmp_path: Path) -> None:
    """Its inputs are (classes ** (nodes - 1)) up to the ring's reflection: far more than anybody trains on."""
    module, _ = write_task("path_parity", tmp_path)
    task = load(f"{module}:PathParity")()
    inputs = [hashes([block]).inputs for split in ("train", "test") for block in blocks(task, 0, split, 2000, 64)]
    train, test = torch.cat(inputs).chunk(2)
    assert float(torch.isin(test, train).double().mean()) <= SEEN


def test_its_test_passes(tmp_path: Path) -> None:
    write_task("near_or_far", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_near_or_far.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_command_writes_both_files_and_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all.main(["new-task", "two_rings", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"run_all.py certify {tmp_path}/two_rings.py:TwoRings" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test_two_rings.py", "two_rings.py"]


@pytest.mark.parametrize("name", ["Two Rings", "class", "2rings", "TwoRings"])
def test_what_no_module_can_be_called_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all.main(["new-task", name, "--folder", str(tmp_path)]) == 2
    assert f"NAME: must be a module's name in lower case, such as path_parity; got '{name}'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_mine.py").write_text("kept")
    assert run_all.main(["new-task", "mine", "--folder", str(tmp_path)]) == 2
    assert "test_mine.py is there already" in capsys.readouterr().err
    assert (tmp_path / "test_mine.py").read_text() == "kept"
    assert not (tmp_path / "mine.py").exists()


def test_a_class_is_called_as_its_module() -> None:
    assert class_name("path_parity_2") == "PathParity2"

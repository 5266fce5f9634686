"""References: what a stranger names, and what becomes of results when it changes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import forgotten
from test_command_line import own_task

from suite.refs import file_sha256, load
from suite.tasks import find_task, make_task

ROOT = Path(__file__).resolve().parents[1]


def package(folder: Path, before: str = "") -> None:
    (folder / "mine").mkdir(exist_ok=True)
    own_task(folder / "mine", before, "tasks")


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder`, which is not on its path."""
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); " + arguments[0], *arguments[1:]]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def key_of(ref: str, folder: Path) -> str:
    """Return the key of a task as a process sees it that was started in `folder`, which is not on its path."""
    with pytest.MonkeyPatch.context() as fresh, forgotten():
        fresh.chdir(folder)
        return make_task(find_task(ref, {}), {})[0].key


def test_a_task_in_a_package_of_the_working_folder_is_found_and_known_by_its_content(tmp_path: Path) -> None:
    keys = []
    for before in ("", "rng.manual_seed(0)", ""):
        package(tmp_path, before)
        keys.append(key_of("mine.tasks:Mine", tmp_path))
    assert keys[0] == keys[2] != keys[1]


def test_a_task_in_a_package_and_the_same_in_a_file_are_one(tmp_path: Path) -> None:
    package(tmp_path)
    assert key_of("mine.tasks:Mine", tmp_path) == key_of("mine/tasks.py:Mine", tmp_path)


def test_a_package_of_the_working_folder_goes_through_a_run_to_a_report_with_its_certificate(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / "tiny.toml").write_text("""
title = "Tiny"
question = "Does it run?"
[[grid]]
section = "hops"
tasks = { kind = "mine.tasks:Mine" }
models = ["gcn"]
num_layers = ["hops"]
hidden_channels = 8
num_seeds = 1
protocol = { max_steps = 4, eval_every = 2, batch_size = 8, num_validation = 16, num_test = 32 }
""")
    command = [sys.executable, str(ROOT / "run_all.py"), "--study", "tiny.toml", "--workers", "1"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1/1" in found.stdout
    made = tmp_path / "results" / "tiny"
    assert (made / "report.pdf").read_bytes().startswith(b"%PDF")
    assert re.search(
        r"r = \d+: [^.]*(certified|content-addressed)[^.]*\. Mine\(", (made / "report.json").read_text(encoding="utf-8")
    )


def test_built_ins_count_by_their_version_and_others_by_their_source() -> None:
    assert file_sha256("datasets.transfer:Transfer") is None
    assert file_sha256("torch_geometric.nn:GCN") is not None
    with pytest.raises(ValueError, match=r"torch_geometric\.nn changed since the study was expanded \(sha256 was 000000000000"):
        load("torch_geometric.nn:GCN", "0" * 64)


def test_a_module_that_is_nowhere_is_refused_with_what_would_do() -> None:
    with pytest.raises(
        ModuleNotFoundError, match=r"no module 'nowhere', .*start from the folder that holds it, install it, or name"
    ):
        load("nowhere.nets:Net")


def test_what_a_module_itself_misses_is_not_mistaken_for_it(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import not_installed_anywhere")
    found = python(tmp_path, "from suite.refs import load; load('needy:Net')")
    assert "No module named 'not_installed_anywhere'" in found.stderr

"""What README, CONTRIBUTING and docs/ show, run as shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from datasets import TASKS
from suite.controls import graph_blind
from suite.expansion import expand
from suite.models import build, resolve
from suite.refs import load, ref_of
from suite.study import load_study
from suite.testing import TASK_CHECKS, check_task
from suite.witness import witness_score

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def code(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.fixture
def strangers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that docs/add-a-task.md tells a reader to write."""
    parity, _, _, path, _ = code("docs/add-a-task.md")
    (tmp_path / "parity.py").write_text(parity)
    (tmp_path / "path.py").write_text(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tasks_page_shows_a_task_that_keeps_the_contract(strangers_folder: Path) -> None:
    task = load(str(strangers_folder / "parity.py") + ":PathParity")(hops=10)
    check_task(task)
    source = code("docs/add-a-task.md")[0]
    body = source[source.index("class") :].splitlines()
    assert len(body) <= 20  # and its topology is shorter


def test_the_tasks_page_shows_a_witness_that_solves_the_task(tmp_path: Path) -> None:
    parity, witness, *_ = code("docs/add-a-task.md")
    (tmp_path / "witnessed.py").write_text(f"{parity}\n{witness}")
    task = load(f"{tmp_path}/witnessed.py:PathParity")(hops=12)
    assert witness_score(task, torch.float32) == 1.0
    assert not list(TASK_CHECKS["witness"](task))


def test_the_tasks_page_shows_a_twin_that_a_graph_blind_control_solves(tmp_path: Path) -> None:
    parity, _, twin, *_ = code("docs/add-a-task.md")
    (tmp_path / "twinned.py").write_text(f"from datasets.twins import SampledWithAnswer\n{parity}\n{twin}")
    task = load(f"{tmp_path}/twinned.py:PathParity")(hops=4)
    graph = task.answer_twin().sample(torch.Generator().manual_seed(0))
    assert graph.x[:, -2:].tolist() == [[float(graph.y == 0), float(graph.y == 1)], *[[0.0, 0.0]] * 4]
    assert graph_blind(task.answer_twin()).solved


@pytest.mark.usefixtures("strangers_folder")
def test_the_tasks_page_shows_a_topology_that_transfer_takes(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code("docs/add-a-task.md")[4], "docs/add-a-task.md", "exec"), {})
    assert "transfer (position)" in capsys.readouterr().out


def test_the_tasks_page_shows_a_study_that_expands(strangers_folder: Path) -> None:
    (strangers_folder / "parity.toml").write_text(code("docs/add-a-task.md", "toml")[0])
    refs = {name: ref_of(task) for name, task in TASKS.items()}
    cells = [cell for batch in expand(load_study(strangers_folder / "parity.toml"), refs).batches for cell in batch]
    assert len(cells) == 3 * 3 * 2 * 5


def test_the_tasks_page_shows_a_study_that_tests_farther_than_it_trains(strangers_folder: Path) -> None:
    (strangers_folder / "far.toml").write_text(code("docs/add-a-task.md", "toml")[1])
    cells = [cell for batch in expand(load_study(strangers_folder / "far.toml"), {}).batches for cell in batch]
    assert len(cells) == 3 * 2 * 5
    tasks = [cell.task.load() for cell in cells]
    assert {task.range for task in tasks} == {3, 4, 8}
    assert {task.at("validation", 0).range for task in tasks} == {3}


def test_the_models_page_shows_the_example_and_it_is_short(tmp_path: Path) -> None:
    source = code("docs/add-a-model.md")[0]
    assert source in (ROOT / "examples" / "my_model.py").read_text()
    assert len([line for line in source[source.index("class") :].splitlines() if line.strip()]) <= 15
    (tmp_path / "my_model.py").write_text(source)
    model = build(resolve(f"{tmp_path}/my_model.py:MyNet"), 4, 8, 2, 3)
    assert model(torch.rand(3, 4), torch.tensor([[0, 1], [1, 2]])).shape == (3, 3)


def test_the_models_page_shows_a_study_that_expands_at_equal_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(code("docs/add-a-model.md")[0])
    (tmp_path / "mine.toml").write_text(code("docs/add-a-model.md", "toml")[0])
    expansion = expand(load_study(tmp_path / "mine.toml"), {name: ref_of(task) for name, task in TASKS.items()})
    assert {entry.model for entry in expansion.entries} == {
        "my_model.py:MyNet",
        "sage",
        "torch_geometric.nn.models:GCN(norm=LayerNorm)",
    }
    assert all(abs(entry.budget.got - 20_000) <= 1_000 for entry in expansion.entries if entry.budget)


def test_the_page_on_equal_terms_shows_a_study_that_begins_to_tune(tmp_path: Path) -> None:
    (tmp_path / "tuned.toml").write_text(code("docs/equal-terms.md", "toml")[0])
    expansion = expand(load_study(tmp_path / "tuned.toml"), {name: ref_of(task) for name, task in TASKS.items()})
    assert [len(tuned.trials) for tuned in expansion.tuning] == [1] * 2 * 3
    assert expansion.waiting == 2 * 3 * 5
    assert len(expansion.batches) == 2 * 3


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["status"]])
def test_readme_commands_that_train_nothing_run(arguments: list[str], tmp_path: Path) -> None:
    assert f"run_all.py {arguments[0]}" in (ROOT / "README.md").read_text()
    extra = ["--out", str(tmp_path)] if arguments == ["status"] else []
    done = subprocess.run([sys.executable, "run_all.py", *arguments, *extra], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 2 if arguments == ["status"] else 0), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_named_file_of_a_page_is_there(page: Path) -> None:
    text = page.read_text()
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"`((?:suite|datasets|reports|studies|tests|docs)/[\w/.-]+\.(?:py|toml|md))`", text)
    missing = [name for name in linked if not (page.parent / name).exists()]
    missing += [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
    assert not missing


def test_contributing_stays_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) < 80


def test_the_page_of_tasks_lists_each_of_them_once() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(TASKS)

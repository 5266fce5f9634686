"""The command line: what it prints, how it ends, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import pytest
from test_runner import files, without_time
from witness import Witness

import run_all
from datasets import TASKS
from suite.expansion import expand
from suite.models.layered import Readout
from suite.models.layers import NORMS
from suite.models.stack import Skip
from suite.refs import ref_of
from suite.runner import Planner, Runner
from suite.store import Store
from suite.study import load_study

ROOT = Path(__file__).resolve().parents[1]
Ran = subprocess.CompletedProcess[str]
TINY = """
title = "Tiny"
question = "Does it run?"
[[grid]]
section = "hops"
tasks = { kind = "transfer", topology = "ring", hops = 2 }
models = ["gcn", "mlp"]
num_layers = ["hops", 3]
hidden_channels = 8
num_seeds = 2
protocol = { max_steps = 20, eval_every = 10, batch_size = 8, num_validation = 16, num_test = 32 }
"""


def study_file(folder: Path, text: str = TINY) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def own_task(folder: Path, before: str = "", name: str = "mine") -> Path:
    """Write a task on a path of three nodes; `before` runs ahead of every sample."""
    code = f"""
        import torch
        from torch_geometric.data import Data
        from suite.task import DataUnavailable, Task

        class Mine(Task):
            hops: int = 2
            num_classes: int = 2

            def sample(self, rng):
                {before or "pass"}
                y = torch.randint(2, (1,), generator=rng)
                x = torch.zeros(3, 2)
                x[2, y] = 1
                edge_index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
                readout, source = torch.tensor([0]), torch.tensor([2])
                return Data(x=x, edge_index=edge_index, y=y, readout_index=readout, source_index=source)
        """
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(code))
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A folder in which the tiny study was run, and what the command printed: in a process of its own, as users do."""
    folder = tmp_path_factory.mktemp("ran")
    call = [sys.executable, str(ROOT / "run_all.py"), "--study", str(study_file(folder)), "--out", str(folder / "results")]
    return folder, subprocess.run([*call, "--workers", "2"], cwd=ROOT, capture_output=True, text=True, check=False)


# a run


def test_a_run_prints_a_line_per_cell_and_ends_with_the_report(
    ran: tuple[Path, Ran],
) -> None:
    folder, process = ran
    assert (process.returncode, process.stderr) == (0, "")
    lines = process.stdout.splitlines()
    cells = [line for line in lines if re.match(r" *\d+/8 ", line)]
    assert [line.split()[0] for line in cells] == [f"{number}/8" for number in range(1, 9)]
    assert all(re.search(r"transfer \(content\), ring +2/[23] +[01] +\d\.\d{3} (budget|solved) ", line) for line in cells)
    assert any(line.startswith("certificate of transfer (content), ring, h2: ") for line in lines)
    assert Path(lines[-1]) == folder / "results" / "tiny" / "report.pdf"
    assert Path(lines[-1]).read_bytes().startswith(b"%PDF")


def test_the_same_run_again_trains_nothing_and_draws_the_report_again(
    ran: tuple[Path, Ran], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, _ = ran
    before = files(Store(folder / "results" / "store"))
    assert run_all.main(["--study", str(folder / "tiny.toml"), "--out", str(folder / "results")]) == 0
    assert files(Store(folder / "results" / "store")) == before
    printed = capfd.readouterr().out.splitlines()
    assert printed[0] == "tiny: 8 cells, 8 done, 0 to train, 0 tasks to certify"
    assert len(printed) == 3


def test_status_counts_and_needs_no_torch(ran: tuple[Path, Ran]) -> None:
    folder, _ = ran
    arguments = ["status", "--study", "tiny", "--out", str(folder / "results")]
    call = [sys.executable, "-X", "importtime", str(ROOT / "run_all.py"), *arguments]
    process = subprocess.run(call, capture_output=True, text=True, check=False)
    assert process.returncode == 0
    assert process.stdout.splitlines()[-1] == "tiny: 8 done"
    assert not re.search(r"\b(torch|torch_geometric|numpy)\b", process.stderr)


@pytest.mark.slow
def test_only_tasks_asked_for_are_run(tmp_path: Path, ran: tuple[Path, Ran], here: Callable[..., Ran]) -> None:
    folder, _ = ran
    path = own_task(tmp_path)
    out = folder / "results"
    before = files(Store(out / "store"))
    process = here("--study", folder / "tiny.toml", "--out", out, "--task", f"{path}:Mine", "--seeds", "1")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("tiny: 4 cells, 0 done, 4 to train, 1 task to certify")
    after = files(Store(out / "store"))
    assert before.items() <= after.items()  # what was there stays
    assert not any(str(tmp_path).encode() in content for _, content in after.values())


@pytest.mark.slow
def test_one_and_two_workers_train_the_same_cells_to_the_bit(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path))
    expansion = expand(study, {name: ref_of(cls) for name, cls in TASKS.items()})
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    for store, workers in zip(stores, (1, 2), strict=True):
        store.prepare()
        assert Runner(store, workers, Witness()).run(Planner(store).plan(expansion.batches, []).jobs)
    one, two = map(without_time, stores)
    assert one == two
    assert sum(name.endswith(".safetensors") for name in one) == 8


NO_CONVOLUTION = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, in_channels, hidden_channels, num_layers, out_channels, act=torch.relu):
        super().__init__()
        self.first, self.last, self.act = nn.Linear(in_channels, hidden_channels), nn.Linear(hidden_channels, out_channels), act

    def forward(self, x, edge_index):
        return self.last(self.act(self.first(x)))

class Fails(Mine):
    def forward(self, x, edge_index):
        raise ArithmeticError("bad luck")
"""


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext of poppler-utils to look into a PDF")
def test_the_row_of_a_strangers_model_stands_in_the_pdf(ran: tuple[Path, Ran], tmp_path: Path, here: Callable[..., Ran]) -> None:
    out = tmp_path / "results"
    shutil.copytree(ran[0] / "results", out)  # the other models are trained
    assert here("--study", ran[0] / "tiny.toml", "--out", out, "--model", f"{ROOT}/examples/my_model.py:MyNet").returncode == 0
    content = json.loads((out / "tiny" / "report.json").read_text())
    (row, *_) = [row for row in content["data"]["conditions"] if row["model"] == "my_model.py:MyNet"]
    call = ["pdftotext", "-layout", str(out / "tiny" / "report.pdf"), "-"]
    lines = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()
    shown = [" ".join(line.split()) for line in lines if row["series"] in line]
    numbers = f"{row['num_layers']} {row['solved']}/{row['finished']}"
    assert any(numbers in line and f"{row['score']['mean']:.3f}" in line for line in shown), shown


def test_models_of_ones_own_stand_beside_cached_results_of_the_others(
    ran: tuple[Path, Ran], tmp_path: Path, here: Callable[..., Ran]
) -> None:
    folder, _ = ran
    before = files(Store(folder / "results" / "store"))
    (tmp_path / "mine.py").write_text(NO_CONVOLUTION)
    names = ["torch_geometric.nn.models:GCN", f"{ROOT}/examples/my_model.py:MyNet", "mine.py:Mine", "mine.py:Fails"]
    own = [argument for name in names for argument in ("--model", name)]
    process = here("--study", folder / "tiny.toml", "--out", folder / "results", *own, cwd=tmp_path)
    assert process.returncode == 3, process.stderr
    assert process.stdout.startswith("tiny: 24 cells, 8 done, 16 to train")
    assert "error: Fails, transfer (content), ring, h2 L2 s0 and 3 more: ArithmeticError: bad luck" in process.stdout
    after = files(Store(folder / "results" / "store"))
    assert before.items() <= after.items()
    assert not any(str(tmp_path).encode() in content for _, content in after.values())
    content = json.loads((folder / "results" / "tiny" / "report.json").read_text())
    rows = {row["model"]: row for row in content["data"]["conditions"]}
    assert rows.keys() == {"gcn", "mlp", "torch_geometric.nn.models:GCN", "my_model.py:MyNet", "mine.py:Mine", "mine.py:Fails"}
    assert rows["my_model.py:MyNet"]["recoverability_trained"]["mean"] is not None
    assert rows["mine.py:Mine"]["recoverability_trained"]["mean"] is None
    assert "Measures by layer are not available for Mine:" in json.dumps(content)
    assert str(tmp_path) not in json.dumps(content)
    assert here("--study", folder / "tiny.toml", "--out", folder / "results").returncode == 0  # and without them again


# what goes wrong


def test_cells_that_fail_are_named_and_the_others_reported(tmp_path: Path, here: Callable[..., Ran]) -> None:
    code = """
        from torch import nn

        class Fails(nn.Module):
            def __init__(self, in_channels, hidden_channels, num_layers, out_channels):
                super().__init__()
                self.out = nn.Linear(in_channels, out_channels)

            def forward(self, x, edge_index, batch=None):
                if self.training:
                    raise ArithmeticError("bad luck")
                return self.out(x)
        """
    (tmp_path / "model.py").write_text(textwrap.dedent(code))
    text = TINY.replace('"mlp"', '"model.py:Fails"')
    process = here("--study", study_file(tmp_path, text), "--out", tmp_path / "results")
    assert process.returncode == 3, process.stdout + process.stderr
    assert "Traceback" not in process.stdout + process.stderr
    assert "error: Fails, transfer (content), ring, h2 L2 s0 and 3 more: ArithmeticError: bad luck" in process.stdout
    assert "tiny: 4 done, 4 failed" in process.stdout
    assert process.stdout.splitlines()[-1].endswith("report.pdf")
    again = here("status", "--study", "tiny", "--out", tmp_path / "results")
    assert again.returncode == 3
    assert "failed" in again.stdout.splitlines()[0]


def test_data_that_cannot_be_had_are_left_out(tmp_path: Path, here: Callable[..., Ran]) -> None:
    own_task(tmp_path, "raise DataUnavailable('no network, no copy')")
    tasks = '[{ kind = "transfer", topology = "ring", hops = 2 }, { kind = "mine.py:Mine" }]'
    text = TINY.replace('{ kind = "transfer", topology = "ring", hops = 2 }', tasks).replace("20", "10")
    process = here("--study", study_file(tmp_path, text), "--out", tmp_path / "results")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Mine is left out: no network, no copy" in process.stdout
    assert "tiny: 16 cells, 0 done, 8 to train, 1 task to certify, 8 unavailable" in process.stdout
    assert "tiny: 8 done, 8 unavailable" in process.stdout
    last = process.stdout.splitlines()[-2]
    assert last.startswith("unavailable: ")
    assert last.endswith("and 7 more: no network, no copy")
    again = here("status", "--study", "tiny", "--out", tmp_path / "results")
    assert again.returncode == 0
    assert "unavailable" in again.stdout.splitlines()[0]
    assert "failed" not in again.stdout
    assert "and 7 more: no network, no copy" in again.stdout
    assert any(line.startswith("8/8 ") for line in process.stdout.splitlines())  # what cannot be had is not waited for


def test_a_task_file_edited_while_the_study_runs_is_refused(tmp_path: Path) -> None:
    path = own_task(tmp_path)
    text = TINY.replace('{ kind = "transfer", topology = "ring", hops = 2 }', '[{ kind = "mine.py:Mine" }]')
    expansion = expand(load_study(study_file(tmp_path, text)), {})
    store = Store(tmp_path / "store")
    store.prepare()
    jobs = Planner(store).plan(expansion.batches[:1], []).jobs
    path.write_text(path.read_text() + "\n# edited\n")
    assert Runner(store, 1, Witness()).run(jobs)
    assert store.keys() == set()
    failed = [failure for cell in expansion.batches[0] for failure in store.failures(cell.key)]
    assert len(failed) == 2
    assert all("changed since the study was expanded" in failure["message"] for failure in failed)


NETS = """
from torch import nn

class Other: ...

class Swapped(nn.Module):
    def __init__(self, in_channels, out_channels, hidden_channels, num_layers): ...

class OfData(nn.Module):
    def __init__(self, a, b, c, d): ...
    def forward(self, data): ...

class OfEdges(OfData):
    def forward(self, x, edge_index, edge_attr): ...
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--study", "qick"], "--study: no study is called 'qick'. Did you mean 'quick'? Known: "),
        (["--study", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["--study", "broken.toml"], "broken.toml: not valid TOML: "),
        (["--study", "zero.toml"], "zero.toml: grid[0].tasks[0].hops: must be >= 2 on a ring, got 0"),
        (["--study", "wide.toml"], "wide.toml: grid[0].hidden_channels: must be a valid integer, got 'wide'"),
        (["--study", "tiny.toml", "--out", "tiny.toml"], "--out: cannot write results to tiny.toml/store: "),
        (["--study", "tiny.toml", "--task", "rings"], "--task: no task is called 'rings'."),
        (["--study", "tiny.toml", "--task", "raises.py:Mine"], "task raises.py:Mine: drawing a graph failed: ZeroDivision"),
        (["--study", "tiny.toml", "--task", "made.py:Mine"], "--task made.py:Mine: ZeroDivisionError: "),
        (["--model", "gcnn"], "--model gcnn: no model is called 'gcnn'. Did you mean 'gcn'? Known: "),
        (["--model", "nowhere.py:Net"], "--model nowhere.py:Net: no such file: "),
        (["--model", "nowhere.nets:Net"], "--model nowhere.nets:Net: ModuleNotFoundError: no module 'nowhere', installed or in "),
        (["--model", "nets.py:Net"], "--model nets.py:Net: "),
        (["--model", "nets.py:Other"], "--model nets.py:Other: 'nets.py:Other' is no model: a model is a subclass of torch.nn."),
        (
            ["--model", "nets.py:Swapped"],
            "--model nets.py:Swapped: Swapped: must be made as (in_channels, hidden_channels, num_layers, out_channels), "
            "its __init__ takes (in_channels, out_channels, hidden_channels, num_layers)",
        ),
        (
            ["--model", "nets.py:OfData"],
            "--model nets.py:OfData: OfData: forward must take (x, edge_index), and may take batch; it takes (data)",
        ),
        (
            ["--model", "nets.py:OfEdges"],
            "--model nets.py:OfEdges: OfEdges: forward needs 'edge_attr' besides (x, edge_index), which no task has",
        ),
        (["--seeds", "0"], "--seeds: must be >= 1, got 0"),
        (["--workers", "0"], "--workers: must be >= 1, got 0"),
        (["--data-root", "nowhere"], "--data-root: no folder at nowhere"),
        (["status", "--study", "tiny"], "nothing of study 'tiny' under results; run there: none"),
        (["report", "--study", "tiny"], "nothing of study 'tiny' under results; run there: none"),
        (["certify", "transfr"], "certify transfr: no task is called 'transfr'. Did you mean 'transfer'?"),
        (["certify", "transfer", "hops=0"], "certify transfer: hops: must be >= 2 on a ring, got 0"),
        (["certify", "transfer", "hops"], "certify transfer: expected FIELD=VALUE, got 'hops'"),
        (
            ["certify", "transfer", 'topology={"kind": "tree"}'],
            "certify transfer: topology: expected a table or a list as in a study, 'topology={ kind = ",
        ),
    ],
)
def test_bad_input_is_one_message_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    study_file(tmp_path)
    (tmp_path / "broken.toml").write_text(TINY + "models = [")
    (tmp_path / "zero.toml").write_text(TINY.replace("hops = 2 }", "hops = 0 }"))
    (tmp_path / "wide.toml").write_text(TINY.replace("hidden_channels = 8", 'hidden_channels = "wide"'))
    own_task(tmp_path, "1 / 0", name="raises")
    own_task(tmp_path, name="made").write_text(own_task(tmp_path).read_text() + "\n    def __init__(self, **fields): 1 / 0\n")
    (tmp_path / "nets.py").write_text(NETS)
    assert run_all.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(said)
    assert len(captured.err.splitlines()) == 1
    assert not list(tmp_path.glob("results/*/cells.json"))


@pytest.mark.parametrize("arguments", [["--stdy", "quick"], ["rnu"], ["--seeds", "many"], ["--retry", "all-of-it"], ["certify"]])
def test_options_that_are_not_there_are_exit_2(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_all.main(arguments)
    assert caught.value.code == 2
    assert "--help" in capsys.readouterr().err


# quick answers


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--study", "no.toml"], ["status", "--out", "nowhere"]])
def test_help_and_early_mistakes_cost_less_than_a_second_and_no_torch(arguments: Sequence[str]) -> None:
    call = [sys.executable, "-X", "importtime", str(ROOT / "run_all.py"), *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(call, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode in (0, 2)
    assert not re.search(r"\b(torch|torch_geometric|numpy)\b", process.stderr.replace("PyTorch", ""))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0  # of the processor: others may be busy


def test_list_names_everything_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all.main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "standard",
        "transfer",
        "own_token",
        "barbell",
        "gcn",
        "set_transformer",
        "smoothing",
        "drop_edge",
        "random_edges",
        *(f"skip={skip}" for skip in set(get_args(Skip)) - {"none"}),
        *(f"readout={readout}" for readout in set(get_args(Readout)) - {"last"}),
        *(f"norm={norm}" for norm in set(NORMS) - {"none"}),
        "fully_adjacent_last",
        "virtual_node",
    ):
        assert re.search(rf"^{name} +\S", printed, re.MULTILINE)
    assert "Exphormer (Transformer): conv=gcn, attention=expander, expander_degree=4, num_virtual_nodes=1" in " ".join(
        printed.split()
    )


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("raise DataUnavailable('mines: under water')", "mines: under water"),
        ("return 3", "drawing a graph failed: sample: what it returns must be a torch_geometric.data.Data; is int"),
    ],
)
def test_certify_of_what_cannot_be_drawn_says_why_in_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, said: str
) -> None:
    task = f"{own_task(tmp_path, before)}:Mine"
    assert run_all.main(["certify", task, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_certify_of_answers_that_are_no_classes_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = own_task(tmp_path)
    task.write_text(task.read_text().replace("y=y,", "y=y + 1,"))
    assert run_all.main(["certify", f"{task}:Mine", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"certify {task}:Mine: classes must lie in 0 ... 1 (out_channels); found 2\n"


def test_certify_says_what_a_task_needs_and_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "results")
    assert run_all.main(["certify", "transfer", "hops=3", "topology=clique_path", "--out", out]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "transfer (content): content-addressed, memorisable"  # three tokens: 125 inputs
    assert max(map(len, printed.splitlines())) <= 80
    why = printed[printed.index("\nK5") : printed.index("\nK6")]
    assert "not passed asked: <= 0.250; one attention layer on the set of nodes scores 1.000, guessing" in " ".join(why.split())
    (certificate,) = (tmp_path / "results" / "store" / "certificates").rglob("*.json")
    assert json.loads(certificate.read_text())["hops"] == 3
    assert run_all.main(["certify", "transfer", "hops=3", "topology=clique_path", "--out", out]) == 0


def test_the_full_tier_adds_shuffled_answers_and_is_shown_from_then_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["certify", "own_token", "--out", str(tmp_path)]
    for more, ids in ((["--tier", "full"], 13), ([], 13)):
        assert run_all.main([*asked, *more]) == 0
        printed = capsys.readouterr().out
        assert len(re.findall(r"^K\d+ ", printed, re.MULTILINE)) == ids
        assert printed.splitlines()[-1] == "own token: local"
    assert len(list((tmp_path / "store" / "certificates").rglob("*.json"))) == 1


def test_the_environment_tells_workers_where_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSCOPE_DATA_ROOT", "elsewhere")
    run_all.main(["--study", str(tmp_path / "nowhere.toml"), "--data-root", str(tmp_path)])
    assert os.environ["HOPSCOPE_DATA_ROOT"] == str(tmp_path.resolve())

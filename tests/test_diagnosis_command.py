"""`run_all.py diagnose`, its page, and what docs/diagnose.md shows."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib
import pytest
import torch
from safetensors.torch import save_file
from test_docs import code
from torch_geometric.data import Data
from torch_geometric.nn import GAT, GCN

import run_all
import suite
from suite.diagnosis.named import named_model, read_graphs

ROOT = Path(__file__).resolve().parents[1]
NETS = """
    import torch
    from torch_geometric.nn import GCN

    torch.manual_seed(0)
    ready = GCN(3, 4, 2, 2)
    number = 3
    """


def path(num_nodes: int = 6) -> Data:
    node = torch.arange(num_nodes - 1)
    one_way = torch.stack([node, node + 1])
    x = torch.randn(num_nodes, 3, generator=torch.Generator().manual_seed(0))
    return Data(x=x, edge_index=torch.cat([one_way, one_way.flip(0)], dim=1), y=torch.arange(num_nodes) % 4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    torch.save([path(5), path(6)], tmp_path / "graphs.pt")
    torch.save(path(), tmp_path / "one.pt")
    torch.save({"x": torch.zeros(3)}, tmp_path / "dict.pt")
    (tmp_path / "junk.pt").write_bytes(b"no file of torch")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "model", "looked_at"),
    [
        (["gcn", "--num-layers", "2"], r"GCN \(.* 2 layers\)\.", "8 graphs of 6 to 127 nodes, asked at 8 read-out nodes."),
        (["gcn", "--num-layers", "1", "--data", "graphs.pt"], r"GCN \(.* 1 layer\)\.", "2 graphs of 5 to 6 nodes, asked at 11"),
        (["nets.py:ready", "--data", "one.pt"], r"GCN \(26 parameters, 2 layers\)\.", "1 graph of 6 nodes, asked at 6"),
        (
            ["torch_geometric.nn.models:GIN", "--num-layers", "3", "--data", "transfer", "hops=4", "topology=ring"],
            r"GIN \(.* 3 layers\)\.",
            "Draws of transfer (content) over 4 hops of 8 nodes",
        ),
    ],
)
def test_it_prints_the_summary_and_writes_a_page(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], model: str, looked_at: str
) -> None:
    assert run_all.main(["diagnose", *arguments, "--hidden-channels", "8"]) == 0
    *lines, page = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    assert re.search(f"Model {model} Looked at {re.escape(looked_at)}", said)
    assert page == f"results/diagnose/{arguments[0].rpartition(':')[2]}.pdf"
    assert (folder / page).read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gnc"], "diagnose gnc: no model is called 'gnc'. Did you mean"),
        (["nowhere.py:Net"], "diagnose nowhere.py:Net: no such file"),
        (["nets.py:number"], "diagnose nets.py:number: 'nets.py:number' is no model"),
        (["nets.py:ready"], "diagnose nets.py:ready: "),  # three columns wide, and the standard set has seven
        (["gcn", "--data", "nowhere.pt"], "--data: no such file: nowhere.pt"),
        (["gcn", "--data", "dict.pt"], "--data: dict.pt: must hold a Data or a list of them, holds dict"),
        (["gcn", "--data", "junk.pt"], "--data: junk.pt holds no Data that can be read safely"),
        (["gcn", "--data", "transfr"], "--data: no task is called 'transfr'. Did you mean 'transfer'?"),
        (["gcn", "--data", "transfer", "hops"], "--data: expected FIELD=VALUE, got 'hops'"),
        (["gcn", "--data", "transfer", "hops=1"], "--data: hops: must be >= 2 on a ring, got 1"),
        (["gcn", "--num-layers", "0"], "--num-layers: must be >= 1, got 0"),
        (["gcn", "--weights", "dict.pt"], "diagnose gcn: weights in dict.pt are not those of"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_diagnosed_is_one_message_and_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run_all.main(["diagnose", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(said)
    assert len(captured.err.splitlines()) == 1
    assert not Path("results").exists()


@pytest.mark.parametrize("name", ["trained.pt", "trained.safetensors"])
def test_weights_are_those_of_the_file(folder: Path, name: str) -> None:
    trained = GCN(3, 8, 2, 4)
    if name.endswith(".pt"):
        torch.save(trained.state_dict(), folder / name)
    else:
        save_file(trained.state_dict(), folder / name)
    model = named_model("torch_geometric.nn.models:GCN", (3, 8, 2, 4), weights=folder / name)
    torch.testing.assert_close(dict(model.state_dict()), dict(trained.state_dict()), rtol=0, atol=0)


def test_initial_weights_depend_on_the_seed_and_leave_global_random_state() -> None:
    before = torch.get_rng_state()
    first, again, other = (named_model("gcn", (3, 8, 2, 4), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_graphs_of_a_file_are_read_back(folder: Path) -> None:
    allowed = set(torch.serialization.get_safe_globals())
    graphs = read_graphs(folder / "graphs.pt")
    assert set(torch.serialization.get_safe_globals()) == allowed
    assert [graph.num_nodes for graph in graphs] == [5, 6]
    assert torch.equal(graphs[1].x, path(6).x)


def test_the_page_is_one_page_with_every_sentence_and_the_same_bytes_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = suite.diagnose(GCN(3, 8, 3, 4), path(12))
    settings = dict(matplotlib.rcParams)
    first, second = (found.to_pdf(tmp_path / name / "page.pdf").read_bytes() for name in ("a", "b"))
    assert first == second
    assert dict(matplotlib.rcParams) == settings
    assert found.to_pdf(str(tmp_path / "page.pdf")) == tmp_path / "page.pdf"
    if not (shutil.which("pdfinfo") and shutil.which("pdftotext")):
        pytest.skip("needs poppler's pdfinfo and pdftotext")
    about = subprocess.run(["pdfinfo", tmp_path / "a" / "page.pdf"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^Pages: +1$", about, re.MULTILINE)
    text = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "a" / "page.pdf", "-"], capture_output=True, text=True, check=True
    ).stdout
    words = text.split()
    for topic, sentence in found.sentences.items():
        assert topic in text
        assert set(sentence.split()) <= set(words)


def test_a_page_needs_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = suite.diagnose(GCN(3, 8, 1, 4), path())
    monkeypatch.setitem(sys.modules, "reports.diagnosis", None)
    with pytest.raises(ModuleNotFoundError, match=r"reports/ of a checkout.*plot\(\)\.savefig\(path\)"):
        found.to_pdf(tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


def test_the_page_on_diagnosis_shows_code_that_runs(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    names: dict[str, object] = {}
    with torch.random.fork_rng(devices=[]):
        for block in code("docs/diagnose.md"):
            exec(compile(block, "docs/diagnose.md", "exec"), names)
    said = " ".join(capsys.readouterr().out.split())
    assert (folder / "diagnosis.pdf").read_bytes().startswith(b"%PDF")
    assert "blind beyond 8 hops" in said  # eight layers
    assert "Draws of transfer (content) over 5 hops" in said
    assert names["quotient"].tolist() == names["diagnosis"].measures["smoothing"]["rq_gcn"]  # type: ignore[attr-defined]


def commands() -> list[str]:
    (shown,) = re.findall(r"^```\n(python .*?)^```", (ROOT / "docs" / "diagnose.md").read_text(), re.DOTALL | re.MULTILINE)
    return shown.strip().splitlines()


@pytest.mark.parametrize("command", commands())
def test_the_page_on_diagnosis_shows_commands_that_run(command: str, folder: Path) -> None:
    torch.save(GAT(3, 64, 4, 4).state_dict(), folder / "trained.pt")
    arguments = shlex.split(command.replace("examples/", f"{ROOT}/examples/"))
    assert arguments[:3] == ["python", "run_all.py", "diagnose"]
    assert run_all.main([*arguments[2:], "--out", str(folder / "out")]) == 0
    assert len(list((folder / "out" / "diagnose").glob("*.pdf"))) == 1


def test_the_readme_shows_a_command_that_the_page_on_diagnosis_has_too() -> None:
    (shown,) = re.findall(r"^python run_all.py diagnose (\S+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert any(f"diagnose {shown}" in command for command in commands())

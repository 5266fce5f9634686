"""The report of made-up studies: bytes, bookmarks, fonts, references, and that its sentences follow the data."""

import json
import logging
import math
import os
import random
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_study import HOSTILE, MODELS, MadeUpStudy, add_depth_study, hop_study

from reports import build_report, report_on
from reports.blocks import clean, fixed, heading, listing, short, table
from reports.drawing import draw_all
from reports.figures import Drawing, outcome_map
from reports.published import CARDS, quoted_depths
from reports.sentences import summary
from reports.style import FAMILY, looks, spread
from reports.typeset import compile_pdf
from suite.analysis import Analysis, analyse, load_results
from suite.store import Store
from suite.verdicts import BARS, TAGS

ROOT = Path(__file__).parents[1]
FAILURE = "RuntimeError: made-up failure #1 of $x$"


def needs(tool: str) -> Any:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool} of poppler-utils to look into a PDF")


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def words_of(pdf: Path) -> str:
    """The text of a PDF with every run of white space as one space."""
    return " ".join(run("pdftotext", pdf, "-").split())


def analysed(study: MadeUpStudy, folder: Path) -> Analysis:
    return analyse(load_results(study.write(folder), study.store))


def dirty_study() -> MadeUpStudy:
    """One of everything that may go wrong: hostile names, failed, missing, diverged cells, NaN measures."""
    study = hop_study(models=("gcn", "gcn_residual", "gps", "set_transformer", "mlp"), hops=(3, 5, 12), depths=("hops",))
    rng = random.Random(0)
    for cell in study.cells:
        if cell["model"] == "gcn_residual":
            cell["title"] = HOSTILE
        if cell["seed"] == 0 and cell["hops"] == 3:
            study.lose(cell)
            study.fail(cell, FAILURE)
        elif cell["seed"] == 1 and cell["hops"] == 5:
            study.lose(cell)
            study.finish(cell, None, status="diverged")
        elif cell["model"] == "gps" and cell["hops"] == 12:
            study.lose(cell)
        elif cell["seed"] == 2:
            study.measure(cell, rng, nan=True)
    task = study.task("NeighborsMatch (published)", "tree", 3, "datasets.published:PublishedNeighborsMatch")
    study.certify(task, "content-addressed", ("content-addressed",), passed=False)
    for seed in range(5):
        study.finish(study.cell(task, "gcn", seed, 4, "hops+1", "reproduction", 1 / 8), 0.9, 1.0)
    add_depth_study(study)
    return study


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a built report with one of everything."""
    study, folder = dirty_study(), tmp_path_factory.mktemp("dirty") / "made_up"
    return report_on(study.write(folder), study.store).parent


@pytest.fixture(scope="module")
def content(dirty: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((dirty / "report.json").read_text(encoding="utf-8"))
    return found


@needs("pdffonts")
def test_every_font_is_embedded(dirty: Path) -> None:
    lines = run("pdffonts", dirty / "report.pdf").splitlines()[2:]
    assert lines
    embedded = [line.split()[-5] for line in lines]  # name, type, encoding, emb, sub, uni, object ID (two words)
    assert set(embedded) == {"yes"}, "\n".join(lines)


@needs("pdftohtml")
def test_bookmarks_are_the_headings(dirty: Path, content: dict[str, Any]) -> None:
    tree = ElementTree.fromstring(run("pdftohtml", "-xml", "-i", "-stdout", dirty / "report.pdf"))
    bookmarks = [re.sub(r"^([A-Z\d]+(\.\d+)*) ", "", item.text or "") for item in tree.iter("item")]
    headings = [block["title"] for block in content["blocks"] if block["kind"] == "heading"]
    assert bookmarks == headings


@needs("pdftotext")
def test_a_hostile_name_stands_in_the_pdf_as_it_was_typed(dirty: Path) -> None:
    assert HOSTILE in words_of(dirty / "report.pdf")


@needs("pdftotext")
def test_cells_without_a_result_are_named_with_their_reason(dirty: Path, content: dict[str, Any]) -> None:
    words = words_of(dirty / "report.pdf")
    assert "made-up failure #1 of $x$" in words
    assert "5 diverged, 5 failed, 5 missing" in words
    assert sorted(row["status"] for row in content["data"]["unfinished"]) == ["diverged"] * 5 + ["failed"] * 5 + ["missing"] * 5


@needs("pdfinfo")
def test_the_pdf_is_tagged_dated_by_the_data_and_of_sane_length(dirty: Path) -> None:
    lines = run("pdfinfo", "-isodates", dirty / "report.pdf").splitlines()
    about = dict(re.split(r":\s+", line, maxsplit=1) for line in lines if ": " in line)
    assert about["Tagged"] == "yes"
    assert about["CreationDate"].startswith("2026-01-31")
    assert int(about["Pages"]) <= 25


def test_the_same_records_give_the_same_bytes_in_another_place_and_process(dirty: Path, tmp_path: Path) -> None:
    program = """
import sys
from itertools import pairwise
from pathlib import Path
sys.path.insert(0, "tests")
from test_report import dirty_study, report_on
study = dirty_study()
report_on(study.write(Path(sys.argv[1])), study.store)
"""
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": str(ROOT)}
    other = tmp_path / "elsewhere"
    subprocess.run([sys.executable, "-c", program, other], cwd=ROOT, env=environment, check=True)
    names = sorted(path.relative_to(dirty).as_posix() for path in dirty.rglob("*.*"))
    assert names == sorted(path.relative_to(other).as_posix() for path in other.rglob("*.*"))
    assert [name for name in names if (dirty / name).read_bytes() != (other / name).read_bytes()] == []


def test_every_figure_and_table_is_named_in_the_text_but_the_data_sheets(content: dict[str, Any]) -> None:
    blocks = content["blocks"]
    named = {part["ref"] for block in blocks if block["kind"] == "text" for part in block["parts"] if isinstance(part, dict)}
    there = {block["name"] for block in blocks if block["kind"] in ("figure", "table")}
    assert named <= there
    assert {name.rpartition("-")[0] for name in there - named} <= {"tab", "tab-sheet"}  # of methods, provenance, appendix
    assert not [name for name in there - named if name.startswith("fig-")]


def test_figures_are_text_and_have_words_for_who_cannot_see_them(dirty: Path, content: dict[str, Any]) -> None:
    figures = [block for block in content["blocks"] if block["kind"] == "figure"]
    assert {block["file"] for block in figures} == {f"figures/{path.name}" for path in (dirty / "figures").iterdir()}
    for block in figures:
        assert block["alt"]
        assert "<text" in (dirty / block["file"]).read_text(encoding="utf-8")


@needs("pdftotext")
def test_the_template_adds_no_number_but_the_page(dirty: Path, tmp_path: Path) -> None:
    from reports.typeset import compile_pdf

    content = json.loads((dirty / "report.json").read_text(encoding="utf-8"))
    bare = {"title": "t", "subtitle": "s", "description": "d", "header": "h", "run": "r", "stamp": "v"}
    tile = {"kind": "tiles", "tiles": [{"value": "v", "label": "l"}]}
    blocks = [{"kind": "text", "parts": ["words"]}, {"kind": "bullets", "items": ["one"]}, tile]
    (tmp_path / "report.json").write_text(json.dumps(content | bare | {"blocks": blocks}), encoding="utf-8")
    (tmp_path / "bare.pdf").write_bytes(compile_pdf(tmp_path, dated=True))
    assert re.findall(r"\d+", words_of(tmp_path / "bare.pdf")) == ["1", "1"]  # page 1 / 1


def test_numbers_of_the_figures_are_in_the_json(dirty: Path, content: dict[str, Any]) -> None:
    drawn = {path.stem for path in (dirty / "figures").iterdir()}
    assert set(content["data"]["figures"]) == drawn
    rates = {(row["series"], row["hops"]): row["rate"] for row in content["data"]["conditions"] if row["part"] == "hops"}
    for panel in content["data"]["figures"]["hops_1"]["panels"]:
        for line in panel["lines"]:
            assert line["rate"] == [rates[panel["model"], hops] for hops in line["hops"]]


def test_a_second_build_draws_nothing_and_new_data_draws_one(tmp_path: Path) -> None:
    study = hop_study(models=("gcn", "mlp"), hops=(3, 5), depths=("hops",))
    names = {m: MODELS[m][0] for m in ("gcn", "mlp")}
    look = looks([(names["gcn"], "MPNN"), (names["mlp"], "Control")])
    drawings = outcome_map.drawings(analysed(study, tmp_path), look)
    assert (draw_all(drawings, tmp_path / "figures"), draw_all(drawings, tmp_path / "figures")) == (len(drawings), 0)
    study.finish(study.cells[0], 0.2)
    (tmp_path / "figures" / "stale.svg").write_text("<svg/>")
    changed = outcome_map.drawings(analysed(study, tmp_path), look)
    assert draw_all(changed, tmp_path / "figures") == 1
    assert not (tmp_path / "figures" / "stale.svg").exists()


@needs("pdftotext")
def test_a_sheet_stays_on_one_page(dirty: Path, content: dict[str, Any], tmp_path: Path) -> None:
    """Of thirteen checks, most of whose details take two lines and one four."""
    shutil.copytree(dirty / "figures", tmp_path / "figures")
    rows = [[f"K{i}.", "what", "1", "published", "passed", "a detail " * (40 if i == 10 else 15)] for i in range(1, 14)]
    widths = ["text", "text", "num", "text", "text", "fill"]
    sheets = [
        table(f"sheet-{i}", "a task", ["Check", "What", "Value", "Limit", "", "Detail"], rows, widths, 6.5) for i in range(9)
    ]
    (tmp_path / "report.json").write_text(json.dumps({**content, "blocks": [heading("Sheets"), *sheets]}), encoding="utf-8")
    (tmp_path / "report.pdf").write_bytes(compile_pdf(tmp_path, dated=True))
    pages = run("pdftotext", "-layout", tmp_path / "report.pdf", "-").split("\f")
    counts = [[page.count(f"K{i}.") for i in (1, 13)] for page in pages if "a detail" in page]
    assert all(first == last for first, last in counts)
    assert sum(first for first, _ in counts) == 9
    assert len(counts) > 1


@needs("pdftotext")
def test_a_study_without_a_finished_cell_says_so_and_why_cora_is_missing(tmp_path: Path) -> None:
    study = hop_study(models=("gcn", "mlp"), hops=(3,))
    add_depth_study(study)
    for cell in study.cells:
        study.lose(cell)
        if cell["section"] == "depth":
            study.fail(cell, "Cora is neither on this machine nor to be had from the network", "unavailable")
    study.store.certificates.clear()
    path = report_on(study.write(tmp_path), study.store)
    words, content = words_of(path), json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    assert "No cell of this study has finished" in words
    assert "(80 planned cells: 60 unavailable (their data cannot be had), 20 missing)" in words
    assert "failed" not in summary(analysed(study, tmp_path))[0]
    assert "1 without a certificate yet; 1 whose data cannot be had" in words
    assert {row["status"] for row in content["data"]["unfinished"]} == {"unavailable", "missing"}
    assert {(row["unavailable"], row["failed"]) for row in content["data"]["conditions"] if row["part"] == "depth"} == {(5, 0)}
    assert "Cora is neither on this machine nor to be had from the network" in words
    (table,) = [block for block in content["blocks"] if block.get("name") == "tab-lost"]
    rows = [[cell["text"] for cell in row] for row in table["rows"]]
    assert [row[5] for row in rows].count("missing") == 4  # two models at two depths, each with a row
    assert [row[2] for row in rows if row[5] == "unavailable"] == [
        "3 models, 12 conditions"
    ]  # at four depths each, for one reason


@pytest.mark.parametrize("measured", [True, False])
def test_one_model_one_task_one_distance_one_seed_is_enough(tmp_path: Path, measured: bool) -> None:
    study = hop_study(models=("gcn",), hops=(4,), seeds=1, depths=("hops",))
    if not measured:
        study.store.measured.clear()
    pdf = report_on(study.write(tmp_path), study.store)
    assert pdf.read_bytes().startswith(b"%PDF")
    drawn = {path.stem.rpartition("_")[0] for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"outcome_map", "hops"} | ({"smoothing", "influence", "shells", "plane", "limits"} if measured else set())


def test_a_report_is_built_from_a_store_on_disk(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3,), seeds=2, depths=("hops",))
    study.fail(study.cells[1], FAILURE)
    study.lose(study.cells[1])
    study.commit(Store(tmp_path / "store"))
    pdf = build_report(study.write(tmp_path / "made_up"), tmp_path / "store")
    report = pdf.read_bytes()
    assert report == report_on(study.write(tmp_path / "again"), study.store).read_bytes()
    assert "1 of 2 planned cells finished (1 failed)" in (tmp_path / "made_up" / "report.json").read_text(encoding="utf-8")


def test_a_letter_that_no_font_has_costs_the_standard_and_not_the_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = hop_study(models=("gcn",), hops=(3,), seeds=1, depths=("hops",))
    for cell in study.cells:
        cell["title"] = "model \U0001f9ea with a control\x07character"
    with caplog.at_level(logging.WARNING):
        pdf = report_on(study.write(tmp_path), study.store)
    assert pdf.exists()
    assert "no font has" in caplog.text


def test_a_regression_task_is_shown_by_skill_and_not_by_its_error(tmp_path: Path) -> None:
    study = hop_study(models=("gps",), hops=(3,), depths=("hops",))
    for cell in study.cells:
        cell |= {"metric": "mse", "chance": 1.0}
        for split in ("train", "validation", "test"):
            study.store.records[cell["key"]]["metrics"][split] = {"loss": 0.03, "score": 0.03, "skill": 0.97}
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    (table,) = [b for b in content["blocks"] if b["kind"] == "table" and b["name"] == "tab-hops-1-1"]
    assert "test skill (1 − squared error / chance)" in table["caption"]
    assert [cell["text"] for cell in table["rows"][0]] == ["GPS", "0.97"]
    assert content["data"]["figures"]["hops_1"]["chance"]["level"] == [0.0]


def test_what_every_model_was_given_and_took_is_in_one_table(tmp_path: Path) -> None:
    study = hop_study(models=("gcn", "mlp"), hops=(3, 5), depths=("hops",))
    for cell in study.cells:
        exempt = cell["model"] == "mlp"
        cell["budget"] = {"asked": 12_000, "got": 40 if exempt else 12_345, "exempt": exempt}
        if cell["model"] == "gcn":
            study.store.records[cell["key"]]["cost"]["flops_per_step"] = 2_000_000 if cell["hops"] == 5 else 1_234
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    (table,) = [block for block in content["blocks"] if block["kind"] == "table" and block["name"] == "tab-fairness"]
    assert [[cell["text"] for cell in row] for row in table["rows"]] == [
        ["GCN", "3", "12,000", "12,345", "2.9 %", "1,234", "500 of 1,000", "none", "3.5", "300"],
        ["", "5", "12,000", "12,345", "2.9 %", "2.0·10⁶", "500 of 1,000", "none", "3.5", "300"],
        ["MLP", "3", "12,000", "12,345", "exempt", "–", "500 of 1,000", "none", "3.5", "300"],  # of before FLOPs were counted
        ["", "5", "12,000", "12,345", "exempt", "–", "500 of 1,000", "none", "3.5", "300"],
    ]


def test_each_part_of_the_report_stands_once_in_the_table_of_equal_terms(content: dict[str, Any]) -> None:
    (table,) = [block for block in content["blocks"] if block.get("name") == "tab-fairness"]
    assert [row for row in table["rows"] if isinstance(row, str)] == ["Distance", "Depth", "Reproduction"]


def test_what_a_rewiring_did_is_in_a_table_of_the_appendix(tmp_path: Path) -> None:
    study = hop_study(models=("gcn", "mlp"), hops=(3,), depths=("hops",))
    before = {"hops": 3.0, "log10_power": -1.1, "resistance": 1.5, "cut": 2.0}
    after = {"hops": None, "log10_power": None, "resistance": None, "cut": 0.0}
    counts = {"num_nodes": 6.0, "num_edges": 6.0, "new_nodes": 0.0, "added_edges": 0.5, "removed_edges": 6.0, "seconds": 0.012}
    for cell in (cell for cell in study.cells if cell["model"] == "gcn"):
        found = counts | {"before": before, "after": after, "num_layers": 3}
        study.store.measured[cell["key"]]["rewiring"] = {"initial": found, "trained": found}
        factor = {"name": "random_edges", "settings": {"like": {"name": "fosr", "settings": {"share": 0.5}, "version": 1}}}
        study.store.records[cell["key"]]["cell"]["rewiring"] = factor | {"version": 1}
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    tables = {block["name"]: block["rows"] for block in content["blocks"] if block["kind"] == "table"}
    _, row = tables["tab-rewirings"]
    shown = ["GCN", "3", "–", "3", "6", "0.5", "6", "0", "−1.1", "–", "1.50", "–", "2.0", "0.0", "0.012"]
    assert [cell["text"] for cell in row] == shown
    settings = [row[-1]["text"] for row in tables["tab-models"] if row[0]["text"] == "GCN"]
    assert settings[0].endswith("rewiring=random_edges(like=fosr(share=0.5))")


def test_smoothing_backward_is_in_the_table_of_further_measures(tmp_path: Path) -> None:
    study = hop_study(models=("gcn", "mlp"), hops=(3,), depths=("hops",))
    backward = {"signal_rq_gcn": [0.25, 0.5, 0.6], "signal_rq_complete": [0.75, 0.8, 0.9]}
    backward |= {"signal_stable_rank": [1.2, 2.0, 3.0], "signal_mad_pairs": [0.14, 0.2, 0.3]}
    for cell in study.cells:
        study.store.measured[cell["key"]]["gradient"]["initial"] |= backward
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    (further,) = (block for block in content["blocks"] if block["kind"] == "table" and block["name"] == "tab-further")
    shown = {row[0]["text"]: [cell["text"] for cell in row[-3:]] for row in further["rows"] if not isinstance(row, str)}
    assert shown == {"GCN": ["0.25", "1.2", "0.14"], "MLP": ["0.75", "1.2", "0.14"]}  # each by its own operator, at layer 0
    assert [cell["text"] if isinstance(cell, dict) else cell for cell in further["head"][-3:]] == ["Backward RQ", "Rank", "MAD"]


# what the sentences say


def test_five_of_five_is_a_success_and_four_of_four_too_few(tmp_path: Path) -> None:
    for seeds, expected in ((5, "1 succeed, 0 fail and 0 are mixed"), (4, "1 have too few finished seeds")):
        study = hop_study(models=("gps",), hops=(3,), seeds=seeds, depths=("hops",))
        assert expected in summary(analysed(study, tmp_path / str(seeds)))[0]


def study_without_distance(scores: dict[str, float], seeds: int = 5, metric: str = "accuracy") -> MadeUpStudy:
    study = MadeUpStudy()
    task = study.task("cycles", None, None, "made.up:Cycles")
    study.certify(task, "certified")
    for model, score in scores.items():
        for seed in range(seeds):
            cell = study.cell(task, model, seed, 4, 4, "hops", 0.5) | {"metric": metric}
            study.cells[-1] = cell
            study.finish(cell, score + 0.001 * (seed - seeds // 2))
    return study


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"gcn": 0.6, "gps": 0.9, "mlp": 0.5, "set_transformer": 0.7}, "GPS, 90.0 % [89.8, 90.2]"),
        ({"gcn": 0.6, "gps": 0.9, "mlp": 0.5, "set_transformer": 0.7}, "Set transformer, 70.0 % [69.8, 70.2]"),
        ({"gcn": 0.6, "gps": 0.9, "mlp": 0.5, "set_transformer": 0.7}, "1 of 2 models is better than it, by intervals"),
        ({"gcn": 0.6, "gps": 0.701, "set_transformer": 0.7}, "0 of 2 models are better than it, by intervals"),
        ({"gcn": 0.6, "gps": 0.9}, "no control without edges has finished"),
        ({"mlp": 0.6}, "no model has finished"),
    ],
)
def test_a_task_at_no_distance_is_said_beside_chance_and_controls(tmp_path: Path, scores: dict[str, float], said: str) -> None:
    words = " ".join(summary(analysed(study_without_distance(scores), tmp_path)))
    assert said in words
    assert "chance 50.0 %" in words
    assert "by depth" not in words
    assert "plain" not in words


def test_the_smaller_error_is_the_better_one(tmp_path: Path) -> None:
    study = study_without_distance({"gcn": 0.4, "gps": 0.1, "mlp": 0.5}, metric="mse")
    words = " ".join(summary(analysed(study, tmp_path)))
    assert "lowest squared error: GPS, 0.100 [0.098, 0.102]" in words
    assert "MLP, 0.500 [0.498, 0.502]; 2 of 2 models are better than it" in words


@needs("pdftotext")
def test_a_task_at_no_distance_has_its_own_section_and_no_axis_of_layers_or_hops(tmp_path: Path) -> None:
    path = report_on(
        study_without_distance({"gcn": 0.6, "gps": 0.9, "mlp": 0.5}).write(tmp_path / "made_up"),
        study_without_distance({"gcn": 0.6, "gps": 0.9, "mlp": 0.5}).store,
    )
    content = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    titles = [block["title"] for block in content["blocks"] if block["kind"] == "heading"]
    assert "Tasks at no single distance" in titles
    assert "Accuracy against depth" not in titles
    assert "Accuracy against hop distance" not in titles
    (table,) = [block for block in content["blocks"] if block.get("name") == "tab-no-distance-1"]
    assert [row[0]["text"] for row in table["rows"] if row != "rule"] == ["GCN", "GPS", "MLP", "Chance"]
    figure = (path.parent / "figures" / "no_distance_1.svg").read_text(encoding="utf-8")
    assert "Layers" not in figure
    assert "Hop" not in figure
    assert "Tasks at no single distance" in words_of(path)


def test_what_is_possible_at_best_stands_beside_scores_where_answers_are_noisy(tmp_path: Path) -> None:
    study = study_without_distance({"gcn": 0.6, "gps": 0.9})
    for cell in study.cells:
        cell["ceiling"] = 0.948
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    (table,) = [block for block in content["blocks"] if block.get("name") == "tab-no-distance-1"]
    assert [cell["text"] for cell in table["rows"][-1]] == ["Best possible", "", "94.8", "", "1.00", "", ""]


def depth_study(test: dict[int, float], train: dict[int, float]) -> MadeUpStudy:
    study = MadeUpStudy()
    task = study.task("Cora", None, None, "made.up:Planetoid", name="Cora")
    for layers in test:
        for seed in range(5):
            noise = 0.001 * (seed - 2)
            cell = study.cell(task, "gcn", seed, layers, layers, "depth", 1 / 7)
            study.finish(cell, test[layers] + noise, train[layers] + noise)
    return study


@pytest.mark.parametrize(
    ("test", "train", "said"),
    [
        ({2: 0.81, 8: 0.3}, {2: 0.99, 8: 0.4}, "does not even fit its training set"),
        ({2: 0.81, 8: 0.6}, {2: 0.99, 8: 0.99}, "not a failure to fit"),
        ({2: 0.81, 8: 0.6}, {2: 0.99, 8: 0.9}, "not decided by these seeds"),
        ({2: 0.81, 8: 0.81}, {2: 0.99, 8: 0.99}, "not clearly worse"),
        ({2: 0.81, 8: 0.85}, {2: 0.99, 8: 0.99}, "it is better than at 2"),
        ({8: 0.81}, {8: 0.99}, "one depth only"),
    ],
)
def test_the_depth_study_says_what_the_data_say(
    tmp_path: Path, test: dict[int, float], train: dict[int, float], said: str
) -> None:
    study = depth_study(test, train)
    assert said in " ".join(summary(analysed(study, tmp_path)))


def test_quoted_figures_are_marked_as_not_ours_and_compared_with_our_intervals(tmp_path: Path) -> None:
    study = depth_study({2: 0.815, 4: 0.7}, {2: 0.99, 4: 0.99})
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    (table,) = [b for b in content["blocks"] if b["kind"] == "table" and b["name"].startswith("tab-quoted")]
    assert table["caption"].startswith("As quoted, not ours")
    verdicts = {(row[0]["text"], row[1]["text"]): row[4]["text"] for row in table["rows"]}
    assert verdicts["GCN", "2"] == "inside our interval"
    assert verdicts["GCN", "4"] == "outside our interval"
    assert verdicts["GCN", "8"] == "not compared"
    assert [quote["value"] for quote in quoted_depths({"params": {"name": "CiteSeer"}})] == []


def test_success_on_a_content_addressed_task_is_not_called_use_of_structure(tmp_path: Path) -> None:
    study = hop_study(models=("gps", "set_transformer"), hops=(3, 5), depths=("hops",))
    words = " ".join(summary(analysed(study, tmp_path / "flagged")))
    assert "not use of structure" in words
    for task in study.tasks.values():
        study.certify(task, "certified")
    assert "not use of structure" not in " ".join(summary(analysed(study, tmp_path / "certified")))


BARRING = {
    "local",
    "edge-free",
    "memorisable",
    "unidentifiable",
    "precision-limited",
    "not certified (control undertrained)",
    "not certified (no control of edges)",
    "not certified (not shown solvable)",
    "not certified (not shown learnable)",
    "not certified (contract broken)",
}


def far_study() -> MadeUpStudy:
    """A GCN solves "near" up to 5 hops and not at 8, and all of "far", at 11 and 12 hops, where the share grows with distance."""
    study = MadeUpStudy()
    rng = random.Random(0)
    for title, distances in (("near", (3, 5, 8)), ("far", (11, 12))):
        for hops in distances:
            task = study.task(title, "ring", hops, f"made.up:{title}")
            study.certify(task, "certified")
            for seed in range(5):
                cell = study.cell(task, "gcn", seed, hops)
                study.finish(cell, 0.2 if hops == 8 else 1.0)
                study.measure(cell, rng)
                study.store.measured[cell["key"]]["influence"]["trained"] |= {"log10_source_share": -float(hops)}
    return study


def said_of(study: MadeUpStudy, folder: Path) -> str:
    """The summary, and all that is said in the report's text."""
    content = json.loads((report_on(study.write(folder), study.store).parent / "report.json").read_text("utf-8"))
    texts = [part for b in content["blocks"] if b["kind"] == "text" for part in b["parts"] if isinstance(part, str)]
    return " ".join([*summary(analysed(study, folder)), *texts])


def test_a_certified_task_counts_in_every_conclusion(tmp_path: Path) -> None:
    study = far_study()
    analysis = analysed(study, tmp_path)
    assert "farthest success is at r = 12 (GCN on far · ring)" in " ".join(summary(analysis))
    share = {row["name"]: row for row in analysis.separations}["log10_share_trained"]
    assert (share["auc"], share["successes"], share["failures"]) == (0.5, 4, 1)
    assert "Left out" not in said_of(study, tmp_path)


@pytest.mark.parametrize("verdict", sorted(BARRING))
def test_a_verdict_bars_conclusions_about_distance_and_the_report_says_so(tmp_path: Path, verdict: str) -> None:
    study = far_study()
    for task in study.tasks.values():
        if task["title"] == "far" and task["hops"] == 12:
            study.certify(task, verdict, (verdict,))
        elif task["title"] == "far":  # another verdict stands before it, which bars nothing where edges alone carry information
            study.certify(task, "content-addressed", ("content-addressed", verdict))
    analysis, words = analysed(study, tmp_path), said_of(study, tmp_path)
    assert "farthest success is at r = 5 (GCN on near · ring)" in words
    assert "r = 12" not in words.replace("far · ring at r = 11 and 12", "").replace(f"from r = 11 and 12 ({verdict}", "")
    assert "Left out" in words
    assert f"{verdict} ({BARS[verdict]}): far · ring at r = 11 and 12" in words
    assert f"Nothing is concluded about distance from r = 11 and 12 ({verdict}" in words
    assert set(analysis.reach["task_label"]) == {"near · ring"}
    share = {row["name"]: row for row in analysis.separations}["log10_share_trained"]
    assert (share["auc"], share["successes"], share["failures"]) == (1.0, 2, 1)
    assert "2 successes, 1 failure" in words


def test_every_verdict_bars_or_is_known_not_to() -> None:
    assert set(TAGS) - {"content-addressed"} == BARRING


def test_one_distance_of_a_family_may_be_barred_alone(tmp_path: Path) -> None:
    study = far_study()
    study.certify(next(task for task in study.tasks.values() if task["hops"] == 12), "local", ("local",))
    words = said_of(study, tmp_path)
    assert "farthest success is at r = 11 (GCN on far · ring)" in words
    assert "local (the answer, or a part of it, can be had nearer than r): far · ring at r = 12" in words


def test_published_tasks_are_pooled_with_none_whatever_their_certificates_say(tmp_path: Path) -> None:
    study = far_study()
    published: dict[str, Any] = {"ref": "datasets.published:PublishedRingTransfer", "params": {"hops": 15}}
    for ref, params in ((published["ref"], {}), ("suite.views:Extrapolated", {"seen": published, "trained": {"hops": 4}})):
        task = study.task("ring transfer (published)", "ring", 15, ref, **params)
        study.certify(task, "certified")
        for seed in range(5):
            study.finish(study.cell(task, "gcn", seed, 15), 1.0)
    words = said_of(study, tmp_path)
    assert "farthest success is at r = 12 (GCN on far · ring)" in words
    assert "as published (kept with its flaws, and never pooled with ours)" in words


def test_a_task_without_a_certificate_supports_no_conclusion(tmp_path: Path) -> None:
    study = far_study()
    for key in [key for key, task in study.tasks.items() if task["title"] == "far"]:
        del study.store.certificates[key]
    words = said_of(study, tmp_path)
    assert "farthest success is at r = 5 (GCN on near · ring)" in words
    assert "without a certificate (nothing shows what it needs): far · ring at r = 11 and 12" in words


def test_a_study_all_of_whose_tasks_are_barred_still_has_a_report(tmp_path: Path) -> None:
    study = far_study()
    for task in study.tasks.values():
        study.certify(task, "memorisable", ("memorisable",))
    words = said_of(study, tmp_path)
    assert "farthest success" not in words
    assert "cannot be said from this grid" in words


def test_nothing_is_said_of_the_two_failures_where_all_conditions_end_alike(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3,), depths=("hops",))
    words = " ".join(summary(analysed(study, tmp_path)))
    assert "cannot be said from this grid" in words
    assert "goes with failing" not in words.replace("over-smoothing goes with failing cannot", "")


@pytest.mark.parametrize(("seeds", "shown"), [(5, True), (3, False)])  # three seeds never decide
def test_measures_are_not_said_to_separate_what_is_undecided(tmp_path: Path, seeds: int, shown: bool) -> None:
    study = hop_study(models=("gcn",), hops=(3, 8), seeds=seeds, depths=("hops",))
    content = json.loads((report_on(study.write(tmp_path / "made_up"), study.store).parent / "report.json").read_text("utf-8"))
    assert any(block.get("name") == "tab-separation" for block in content["blocks"]) == shown


def test_a_published_task_stands_before_the_one_that_repairs_it(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3,), depths=("hops",), tasks=(("transfer", "barbell"), ("transfer", "ring")))
    task = study.task("ring transfer (published)", "ring", 3, "datasets.published:PublishedRingTransfer", family="ring")
    study.certify(task, "memorisable", ("content-addressed", "memorisable"), passed=False)
    study.cell(task, "gcn", 0, 3, section="reproduction")
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    (table,) = [b for b in content["blocks"] if b["kind"] == "table" and b["name"] == "tab-certificates"]
    shown = [(row[0]["text"], row[2]["text"]) for row in table["rows"]]
    assert [name for name, _ in shown] == ["transfer · barbell", "ring transfer (published) · ring", "transfer · ring"]
    assert shown[1][1] == "memorisable, content-addressed"


def test_a_published_task_stands_before_all_that_repair_it(tmp_path: Path) -> None:
    study = hop_study(models=("gcn",), hops=(3,), depths=("hops",), tasks=(("transfer", "ring"), ("transfer", "path")))
    for title, topology, ref in (
        ("NeighborsMatch", "tree", "datasets.neighbors_match:NeighborsMatch"),
        ("citation chains (published)", None, "datasets.published:PublishedCitationChains"),
        ("NeighborsMatch (published)", "tree", "datasets.published:PublishedNeighborsMatch"),
        ("cycles", None, "datasets.cycles:SameCycle"),
        ("addressed leaf", "tree", "datasets.addressed_leaf:AddressedLeaf"),
    ):
        study.cell(study.task(title, topology, 3, ref), "gcn", 0, 3)
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    (table,) = [b for b in content["blocks"] if b["kind"] == "table" and b["name"] == "tab-certificates"]
    names = [row[0]["text"].partition(" · ")[::2] for row in table["rows"]]
    beside = [name for name, _ in names]
    first = beside.index("NeighborsMatch (published)")
    assert beside[first + 1 : first + 3] == ["NeighborsMatch", "addressed leaf"]
    chains = beside.index("citation chains (published)")
    assert names[chains + 1] == ("transfer", "path")
    assert len(names) == 7


@pytest.mark.parametrize(("ours", "verdict"), [(1.0, "agrees"), (0.5, "differs")])
def test_a_card_compares_the_published_split_with_our_interval(tmp_path: Path, ours: float, verdict: str) -> None:
    study = MadeUpStudy()
    task = study.task("NeighborsMatch (published)", "tree", 3, "datasets.published:PublishedNeighborsMatch")
    for seed in range(5):
        study.finish(
            study.cell(task, "gcn(norm=layer)", seed, 4, "hops+1", "reproduction", 1 / 8, ("GCN", "MPNN", [])), 0.3, ours
        )
    content = json.loads((report_on(study.write(tmp_path), study.store).parent / "report.json").read_text("utf-8"))
    (table,) = [b for b in content["blocks"] if b["kind"] == "table" and b["name"] == "tab-cards"]
    assert [cell["text"] for cell in table["rows"][0]][-1] == verdict


def test_cards_are_unique_and_accuracies() -> None:
    assert len({(card.task, card.family, card.model, card.hops) for card in CARDS}) == len(CARDS)
    assert all(0 < card.value <= 1 for card in CARDS)


# small parts


def test_no_two_models_of_a_report_look_alike() -> None:
    families = [(f"{family} {i}", family) for family in [*FAMILY, "A stranger's", "Another's"] for i in range(8)]
    found = looks(families)
    assert len({(look["color"], look["marker"]) for look in found.values()}) == len(families)


def test_family_colours_stand_out_against_white() -> None:
    for color in FAMILY.values():
        red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) >= 3  # WCAG 2.1, 1.4.11


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_spread_labels_keep_their_order_and_distance(wanted: list[float]) -> None:
    found = spread(wanted, 0.05, 0, 1)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    assert all(found[b] - found[a] >= 0.05 - 1e-3 for a, b in pairwise(order))
    assert all(0 <= place <= 1 for place in found)


def test_numbers_are_written_for_readers() -> None:
    assert fixed(-0.001) == "0.00"
    assert fixed(-1.5, 1) == "−1.5"
    assert fixed(None) == fixed(float("nan")) == "–"
    assert short(0.00012) == "1.2·10⁻⁴"
    assert short(1949.6) == "1,950"
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"


def test_text_is_cleaned_of_what_cannot_be_printed_and_of_nothing_else() -> None:
    assert clean({"a\x00": ["b\nc\ud800", float("nan"), HOSTILE]}) == {"a?": ["b c?", None, HOSTILE]}


def test_reports_need_no_torch_and_no_datasets() -> None:
    program = "import sys, reports; print({'torch', 'datasets', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_drawing_depends_on_its_data_alone() -> None:
    from reports.drawing import digest

    base = Drawing("x", {"a": 1}, outcome_map.draw, "caption", "alt", "hops")
    assert digest(base) == digest(Drawing("x", {"a": 1}, outcome_map.draw, "other words", "alt", "hops"))
    assert digest(base) != digest(Drawing("x", {"a": 2}, outcome_map.draw, "caption", "alt", "hops"))


def by_distance(slope: float) -> dict[str, Any]:
    """What a cell is measured whose error grows with the distance, up to 6 hops, of which a read-out has none at 0 and 3."""
    error = [None if hop in (0, 3) else slope * hop for hop in range(7)]
    constant = [None if hop in (0, 3) else abs(hop - 3.0) for hop in range(7)]
    answers = [0 if hop in (0, 3) else 10 * hop for hop in range(7)]
    whole = {"unit": "hops", "error": slope, "mse": slope**2, "log10_mse": 2 * math.log10(slope), "constant": 1.5}
    return whole | {"error_by_hop": error, "constant_by_hop": constant, "answers_by_hop": answers}


def test_errors_in_hops_are_shown_near_and_far(tmp_path: Path) -> None:
    """1 to 3 hops: 10 answers wrong by s and 20 by 2 s, in all (10 + 40) s / 30; 4 to 6: (160 + 250 + 360) s / 150."""
    study = study_without_distance({"gcn": 0.4, "gps": 0.1}, metric="mse")
    for cell in study.cells:
        found = by_distance({"gcn": 1.0, "gps": 0.1}[cell["model"]])
        study.store.measured[cell["key"]] = {"errors": {"initial": found, "trained": found}}
    path = report_on(study.write(tmp_path / "made_up"), study.store)
    content = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    (table,) = [block for block in content["blocks"] if block.get("name") == "tab-errors-1"]
    assert table["head"] == ["Model", "L", "MAE (hops)", "log₁₀ MSE", "1–3 hops", "4–6 hops"]
    gcn, gps, constant = ([cell["text"].split(" ")[0] for cell in row] for row in table["rows"] if row != "rule")
    assert gcn[1:] == ["4", "1.00", "0.00", "1.67", "5.13"]
    assert gps[2:] == ["0.10", "−2.00", "0.17", "0.51"]
    assert constant[0] == "Mean"
    assert constant[4:] == [f"{(20 + 20) / 30:.2f}", f"{(40 + 100 + 180) / 150:.2f}"]
    assert "Error (hops)" in (path.parent / "figures" / "errors_1.svg").read_text(encoding="utf-8")

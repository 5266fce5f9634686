"""The section on extrapolation: skill inside beside skill beyond, of tasks that are trained at other fields, and of no others."""

from pathlib import Path

from made_up_study import MadeUpStudy

from reports.sections.context import Context
from reports.sections.extrapolation import blocks
from suite.analysis import analyse
from suite.analysis.results import load_results


def context(study: MadeUpStudy, folder: Path) -> Context:
    return Context(analyse(load_results(study.write(folder), study.store)), [], {})


def test_skill_inside_and_beyond_stand_beside_the_fields_that_differ(tmp_path: Path) -> None:
    study = MadeUpStudy()
    seen = {"ref": "made.up:Transfer", "params": {"hops": 8, "topology": {"kind": "tree", "arity": 3}}}
    far = study.task("far", None, None, "suite.views:Extrapolated", seen=seen, trained={"hops": 3, "topology": {"kind": "ring"}})
    for seed, (inside, beyond) in enumerate([(1.0, 0.2), (0.92, 0.36), (0.96, 0.28)]):
        cell = study.cell(far, "gcn", seed, 8)
        study.finish(cell, beyond)
        score = study.store.records[cell["key"]]["metrics"]["validation"]
        score["skill"] = (inside - 0.2) / 0.8
    study.finish(study.cell(study.task("near", "ring", 3), "gcn", 0, 8), 1.0)
    found = blocks(context(study, tmp_path))
    (table,) = [block for block in found if block.get("name") == "tab-extrapolation"]
    (line,) = [[one["text"] for one in row] for row in table["rows"] if isinstance(row, list) and len(row) > 1]
    assert line[1:5] == ["hops 3, topology ring", "hops 8, topology tree (arity 3)", "8", "3"]
    assert line[5].startswith("0.95 [")  # (1 + .9 + .95) / 3
    assert line[6].startswith("0.10 [")  # (0 + .2 + .1) / 3


def test_a_study_without_such_tasks_has_no_such_section(tmp_path: Path) -> None:
    study = MadeUpStudy()
    study.finish(study.cell(study.task("near", "ring", 3), "gcn", 0, 8), 1.0)
    assert blocks(context(study, tmp_path)) == []

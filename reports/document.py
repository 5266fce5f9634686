"""report.json: everything the PDF shows, pieces and numbers, as one JSON value."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

from reports.blocks import clean, plural
from reports.figures import all_drawings
from reports.figures.common import Drawing, clipped, number
from reports.sections import Context, all_blocks
from reports.sentences import summary
from reports.style import looks
from suite.analysis import Analysis
from suite.analysis.fairness import fairness_table
from suite.analysis.provenance import newest, provenance_table, unfinished

SCHEMA = 1


def drawings_of(analysis: Analysis) -> tuple[list[Drawing], dict[str, Any]]:
    """Return what is to be drawn, with text that can be printed, and the looks of the models."""
    rows = analysis.conditions
    look = looks(list(zip(rows["model_label"], rows["family"], strict=True)) if len(rows) else [])
    drawn = [
        Drawing(d.name, clean(d.data), d.draw, clean(d.caption), clean(d.alt), d.place) for d in all_drawings(analysis, look)
    ]
    return drawn, look


def document(analysis: Analysis, drawings: list[Drawing], look: dict[str, Any]) -> dict[str, Any]:
    """Return the content of report.json: what the template lays out (`blocks`), and the numbers behind it (`data`)."""
    results = analysis.results
    ended = newest(results)
    blocks = all_blocks(Context(analysis, drawings, look))
    name, digest = str(results.study["name"]), str(results.study.get("file_sha256") or "")[:8]
    title = str(results.study.get("title") or name)
    head = {
        "schema": SCHEMA,
        "title": title,
        "subtitle": f"Study “{name}” · {plural(len(results.unique), 'cell')}, {plural(len(results.tasks), 'task')}",
        "description": summary(analysis)[0],
        "date": [int(part) for part in ended[:10].split("-")] if ended else None,
        "header": clipped(title, 90),
        "run": f"study {clipped(name, 40)}",
        "stamp": f"hopscope · study file {digest}",
        "blocks": blocks,
    }
    found: dict[str, Any] = clean(head | {"data": _data(analysis, drawings)})
    return found


def _data(analysis: Analysis, drawings: list[Drawing]) -> dict[str, Any]:
    results = analysis.results
    return {
        "study": results.study,
        "conditions": [_plain(row) for row in analysis.conditions.to_dict("records")],
        "reach": [_plain(row) for row in analysis.reach.to_dict("records")],
        "separations": [_plain(row) for row in analysis.separations],
        "certificates": results.certificates,
        "fairness": [_plain(row) for row in fairness_table(results)],
        "tuning": [_plain(row) for row in results.tuning],
        "provenance": provenance_table(results),
        "unfinished": [_plain(row) for row in unfinished(results)],
        "figures": {drawing.name: drawing.data for drawing in drawings},
    }


def _plain(value: Any) -> Any:
    """Return table values as JSON: intervals as objects, numbers of 6 digits, missing values as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool):
        return value
    if hasattr(value, "item"):
        value = value.item()
    return number(value) if isinstance(value, float) else value

"""A diagnosis on one page: its sentences, a row each, and its figure."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from reports import blocks
from reports.drawing import draw_all
from reports.figures import Drawing
from reports.typeset import compile_pdf
from suite.diagnosis import Diagnosis, picture

CAPTION = (
    "By hop: share of an output's sensitivity that all nodes at a distance have together, and influence of one node there; "
    "dotted: what the propagation operator brings in as many layers. By layer (0: before the first): Rayleigh quotient "
    "(dotted: of random rows), effective rank of what tells nodes apart, skill of a linear probe for a node's own token, and "
    "norm of the loss's gradient. Dashed: the model with weights drawn anew. Logarithms are to base 10; a line ends where there "
    "is nothing."
)
ALT = "Line charts of influence by hop, and of Rayleigh quotient, effective rank, own tokens and gradient by layer"


def write_diagnosis(found: Diagnosis, path: Path) -> Path:
    """Write the page of a diagnosis as PDF to `path`, and return it. The same diagnosis gives the same bytes."""
    drawing = Drawing("diagnosis", found.numbers, picture.draw, CAPTION, ALT, "diagnosis")
    with TemporaryDirectory() as made:
        folder = Path(made)
        draw_all([drawing], folder / "figures")
        (folder / "report.json").write_text(json.dumps(_document(found, drawing), ensure_ascii=False), encoding="utf-8")
        pdf = compile_pdf(folder, dated=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pdf)
    return path


def _document(found: Diagnosis, drawing: Drawing) -> blocks.Block:
    title = f"Diagnosis of {found.model}"
    sentences = found.sentences
    rows = [[blocks.cell(topic, "bold"), text] for topic, text in sentences.items()]
    table = blocks.table("sentences", "What the measures say.", ["Topic", "Finding"], rows, ["text", "fill"])
    content: blocks.Block = blocks.clean(
        {
            "title": title,
            "subtitle": found.data,
            "description": sentences.get("In short", title),
            "date": None,
            "header": title,
            "run": "",
            "stamp": "hopscope",
            "blocks": [table, blocks.figure(drawing, floating=False)],
        }
    )
    return content

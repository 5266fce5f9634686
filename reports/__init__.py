"""Analysis to PDF: figures (SVG), report.json, report.pdf.

`document.py` collects what is said (`sentences.py`, `sections/`, one figure a module in `figures/`), `report.typ` how
it looks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from reports.document import document, drawings_of
from reports.drawing import draw_all
from reports.typeset import compile_pdf
from suite.analysis import analyse, load_results
from suite.analysis.results import Records
from suite.store import Store

__all__ = ["build_report", "report_on"]


def build_report(study_dir: Path, store_root: Path) -> Path:
    """Write report.json, figures/ and report.pdf of the study in `study_dir`, and return the path of the PDF.

    The same records give the same bytes. Raises FileNotFoundError where `study_dir` has no cells.json.
    """
    return report_on(study_dir, Store(store_root))


def report_on(study_dir: Path, store: Records) -> Path:
    """Do the work of `build_report` on anything that reads like a store."""
    analysis = analyse(load_results(study_dir, store))
    drawings, looks = drawings_of(analysis)
    content = document(analysis, drawings, looks)
    draw_all(drawings, study_dir / "figures")
    _replace(study_dir / "report.json", json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1).encode())
    pdf = study_dir / "report.pdf"
    _replace(pdf, compile_pdf(study_dir, dated=content["date"] is not None))
    return pdf


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)

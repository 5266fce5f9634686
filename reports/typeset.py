"""report.json and figures to PDF, by typst: archival (PDF/A-3a), accessible (PDF/UA-1), the same bytes every time."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import typst

from reports.style import FONTS

log = logging.getLogger(__name__)

TEMPLATE = Path(__file__).parent / "report.typ"
ARCHIVAL, ACCESSIBLE = "a-3a", "ua-1"


def compile_pdf(folder: Path, dated: bool) -> bytes:
    """Return the PDF of `folder`, which holds report.json and figures/.

    `dated` says whether the document has a date, which PDF/A demands; it is that of the newest record, so there is none
    before the first cell has finished, and never that of the clock.

    The standards make a missing glyph or a missing alternative text an error. Where a user's string has a character
    that no font has, the PDF is made without them, and a line is logged. Any other warning of typst raises
    RuntimeError: an unknown font, say, is only a warning to typst.
    """
    template = folder / ".report.typ"  # typst reads nothing outside its root, so the template goes there for a moment
    shutil.copyfile(TEMPLATE, template)
    try:
        try:
            return _compile(template, folder, [*([ARCHIVAL] if dated else []), ACCESSIBLE])
        except typst.TypstError as error:
            if "could not be displayed" not in error.message:
                raise
            log.warning("the PDF is not PDF/A, since a name has a character that no font has: %s", error.message)
            return _compile(template, folder, [])
    finally:
        template.unlink()


def _compile(template: Path, folder: Path, standards: list[Any]) -> bytes:
    pdf, warnings = typst.compile_with_warnings(
        str(template),
        root=str(folder),
        font_paths=[str(FONTS)],
        ignore_system_fonts=True,
        pdf_standards=standards,
        timestamp=0,
    )
    if warnings:
        raise RuntimeError("typst warns: " + "; ".join(warning.message for warning in warnings))
    assert isinstance(pdf, bytes)
    return pdf

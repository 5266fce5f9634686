"""Figures on disk: drawn when their data or their code changed, kept otherwise."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from functools import cache
from pathlib import Path

import matplotlib

from reports.figures import Drawing
from reports.style import FONTS, style

log = logging.getLogger(__name__)


def draw_all(drawings: list[Drawing], folder: Path) -> int:
    """Write each drawing as `folder/<name>.svg`, remove other figures, and return how many were drawn anew.

    An SVG names the digest of what it was drawn from, so one whose digest is today's is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = 0
    for drawing in drawings:
        path, mark = folder / f"{drawing.name}.svg", digest(drawing)
        if not (path.exists() and mark in path.read_text(encoding="utf-8")[:2000]):
            _draw(drawing, path, mark)
            drawn += 1
    for path in folder.glob("*.svg"):
        if path.stem not in {drawing.name for drawing in drawings}:
            path.unlink()
    return drawn


def digest(drawing: Drawing) -> str:
    """Return the digest of all that decides a figure's bytes: its data, the code, matplotlib, the fonts."""
    text = json.dumps([drawing.name, drawing.data], sort_keys=True, ensure_ascii=False)
    return "hopscope-" + hashlib.sha256(f"{_code()}{text}".encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _code() -> str:
    here = Path(__file__).parent
    sources = [
        *sorted(here.glob("figures/*.py")),
        here / "style.py",
        here / "published.py",
        *sorted(FONTS.glob("*.ttf")),
    ]
    content = hashlib.sha256(matplotlib.__version__.encode())
    for source in sources:
        content.update(source.read_bytes())
    return content.hexdigest()


def _draw(drawing: Drawing, path: Path, mark: str) -> None:
    with style(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = json.loads(json.dumps(drawing.data))  # what a figure shows is JSON, also at its first drawing
        figure = drawing.draw(data)
        figure.savefig(path, metadata={"Date": None, "Identifier": mark})
    for message in dict.fromkeys(str(w.message) for w in caught):
        log.warning("figure %s: %s", drawing.name, message)

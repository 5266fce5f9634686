"""Figures on disk: drawn when their data or their code changed, kept otherwise."""

from __future__ import annotations

import gc
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
    stale = [drawing for drawing in drawings if not _is_drawn(drawing, folder)]
    gc.disable()  # a figure is a knot of cycles: looking for garbage while it grows takes a third of the time
    try:
        for i, drawing in enumerate(stale, start=1):
            _draw(drawing, folder / f"{drawing.name}.svg")
            if i % 16 == 0:
                gc.collect()
    finally:
        gc.enable()
    for path in folder.glob("*.svg"):
        if path.stem not in {drawing.name for drawing in drawings}:
            path.unlink()
    return len(stale)


def _is_drawn(drawing: Drawing, folder: Path) -> bool:
    path = folder / f"{drawing.name}.svg"
    return path.exists() and digest(drawing) in path.read_text(encoding="utf-8")[:2000]


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


def _draw(drawing: Drawing, path: Path) -> None:
    with style(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = json.loads(json.dumps(drawing.data))  # what a figure shows is JSON, also at its first drawing
        figure = drawing.draw(data)
        half = path.with_suffix(".tmp")  # a figure is there whole or not at all, also after a kill
        figure.savefig(half, format="svg", metadata={"Date": None, "Identifier": digest(drawing)})
        half.replace(path)
    for message in dict.fromkeys(str(w.message) for w in caught):
        log.warning("figure %s: %s", drawing.name, message)

"""The pieces a report is made of, as JSON values: text with references, figures, tables, equations.

`report.typ` knows how each kind looks and nothing else: every word and number comes from here, and no text is ever read
as markup.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from reports.figures import Drawing
from reports.metrics import SHARES
from suite.analysis.statistics import Interval

Block = dict[str, Any]
Part = str | dict[str, str]
NONE = "–"  # where there is no number


def heading(title: str, level: int = 1, numbered: bool = True, flush: bool = False) -> Block:
    """A heading; its text is also the bookmark. With `flush` no figure from before floats past it."""
    return {"kind": "heading", "title": title, "level": level, "numbered": numbered, "flush": flush}


def text(*parts: Part) -> Block:
    """A paragraph of strings and references."""
    return {"kind": "text", "parts": list(parts)}


def prose(words: str, *parts: Part) -> Block:
    """A paragraph that begins with `words`, which may span lines of the source, a space, and goes on with `parts`."""
    return text(" ".join(words.split()), " ", *parts)


def bullets(items: Sequence[str]) -> Block:
    """A list of sentences."""
    return {"kind": "bullets", "items": list(items)}


def ref(name: str) -> Part:
    """A reference to the figure or table of that name: "Figure 3"."""
    return {"ref": name}


def refs(names: Sequence[str]) -> list[Part]:
    """References to several figures or tables: "Figure 3, Figure 4 and Figure 5"."""
    parts: list[Part] = []
    for i, name in enumerate(names):
        parts += ([] if i == 0 else [" and " if i == len(names) - 1 else ", "]) + [ref(name)]
    return parts


def figure(drawing: Drawing, floating: bool = True) -> Block:
    """A figure that `reports.drawing` draws; `floating` to the top or bottom of a page, or standing where it is."""
    return {
        "kind": "figure",
        "name": f"fig-{drawing.name}",
        "file": f"figures/{drawing.name}.svg",
        "caption": drawing.caption,
        "alt": drawing.alt,
        "float": floating,
    }


def equation(name: str, alt: str) -> Block:
    """One of the equations that the template holds, with the words a screen reader says."""
    return {"kind": "equation", "name": name, "alt": alt}


def table(
    name: str,
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Any]],
    widths: Sequence[str],
    size: float = 8.5,
) -> Block:
    """A table. `widths` has for each column "text" (left) or "num" (right), as wide as needed, or "fill" (left) or
    "share" (right), an equal part of the rest.

    A cell is a string or what `cell` returns. A row may also be a string: "rule" is a line across, any other a title
    that spans the columns.
    """
    return {
        "kind": "table",
        "name": f"tab-{name}",
        "caption": caption,
        "head": list(head),
        "widths": list(widths),
        "size": size,
        "rows": [row if isinstance(row, str) else [_cell(value) for value in row] for row in rows],
    }


def cell(value: str, weight: str = "regular", note: str = "", color: str | None = None) -> dict[str, Any]:
    """A cell: weight "regular", "bold", "muted" or "italic", a small grey note behind, a square of colour before."""
    return {"text": value, "weight": weight, "note": note, "color": color}


def _cell(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else cell(str(value))


# numbers as words


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share as "81.4 %"."""
    return NONE if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def fixed(value: float | None, digits: int = 2) -> str:
    """Return a number with so many decimals, a true minus sign, and never "−0.00"."""
    if value is None or math.isnan(value):
        return NONE
    shown = f"{value:.{digits}f}"
    return (shown.lstrip("-") if float(shown) == 0 else shown).replace("-", "−")


def short(value: float | None) -> str:
    """Return a number of three significant digits, as a power of ten where it is very small or large."""
    if value is None or math.isnan(value):
        return NONE
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}·10".replace("-", "−") + str(int(exponent)).translate(_RAISED)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def spread(interval: Interval, digits: int = 2, scale: float = 1) -> str:
    """Return a mean and its t-interval as "0.81 [0.79, 0.83]"; without the interval where there is one value."""
    if interval.mean is None:
        return NONE
    if interval.low is None or interval.high is None:
        return fixed(scale * interval.mean, digits)
    low, high = fixed(scale * interval.low, digits), fixed(scale * interval.high, digits)
    return f"{fixed(scale * interval.mean, digits)} [{low}, {high}]"


def score_words(score: Interval, metric: str) -> str:
    """Return a score with its interval as sentences have it: accuracies "81.4 % [80.9, 81.9]", errors "0.123 [0.1, 0.15]"."""
    if metric not in SHARES:
        return spread(score, 3)
    mean, _, limits = spread(score, 1, 100).partition(" ")
    return f"{mean} % {limits}".strip()


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return "1 seed", "2 seeds"."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listing(names: Sequence[str], most: int = 6) -> str:
    """Return "a, b and c"; of many names the first few and how many more."""
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def clean(value: Any) -> Any:
    """Return JSON values whose text can be printed: no control characters, no half surrogate pairs, no NaN."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(_printable(char) for char in value)
    if isinstance(value, dict):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _printable(char: str) -> str:
    if char in "\t\n\r":
        return " "
    return "?" if unicodedata.category(char) in ("Cc", "Cs", "Cn") else char

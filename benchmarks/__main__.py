"""What hopscope's engine saves against plain PyG loops, measured in the same run.

python -m benchmarks                     every row but the slow ones, and the scaling table
python -m benchmarks ring10 tree4        these rows
python -m benchmarks scaling --rounds 1  the scaling table
python -m benchmarks overhead-10000      a slow one
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Protocol

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import tyro
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from benchmarks import scaling
from benchmarks.certificates import CERTIFICATES
from benchmarks.generation import GENERATION
from benchmarks.harness import Line, Say
from benchmarks.influence import INFLUENCE
from benchmarks.limits import LIMITS
from benchmarks.study import STUDY
from benchmarks.training import TRAINING
from suite.refs import unknown

SLOW = ("overhead-10000", "certify-full")
USAGE = 2


class Row(Protocol):
    """What a table of rows holds."""

    @property
    def title(self) -> str: ...

    def run(self, rounds: int, say: Say) -> list[Line]: ...


ROWS: dict[str, Row] = {**TRAINING, **INFLUENCE, **LIMITS, **STUDY, **GENERATION, **CERTIFICATES}
NAMES = [*ROWS, "scaling"]
Names = Annotated[
    tuple[str, ...], arg(metavar="[ROW ...]", help=f"Any of {', '.join(NAMES)}; without: all but {', '.join(SLOW)}.")
]

console, aside = Console(width=80), Console(stderr=True)


def run(rows: Positional[Names] = (), *, rounds: int = 3) -> int:
    """Measure rows and print them.

    Args:
        rows: Which.
        rounds: Measurements of each side; the table shows the least, the middle and the largest.
    """
    for name in rows:
        if name not in NAMES:
            print(unknown("row", name, NAMES), file=sys.stderr)
            return USAGE
    if rounds < 1:
        print(f"--rounds: must be >= 1, got {rounds}", file=sys.stderr)
        return USAGE
    chosen = rows or tuple(name for name in NAMES if name not in SLOW)
    lines = [line for name in chosen if name in ROWS for line in _measured(name, rounds)]
    if lines:
        console.print(table(lines))
    if "scaling" in chosen:
        console.print(scaling.table({series.title: scaling.measured(series, _say("scaling")) for series in scaling.SERIES}))
    return 0


def _measured(name: str, rounds: int) -> list[Line]:
    lines = ROWS[name].run(rounds, _say(name))
    for line in lines:
        aside.print(f"  {line.title}: {_value(line)}", highlight=False)
    return lines


def _say(name: str) -> Say:
    return lambda what: aside.print(f"{name}: {what}", highlight=False)


def _value(line: Line) -> str:
    if line.found is None:
        return "nothing to measure yet"
    return f"{' / '.join(map(_number, line.found))} {line.unit}"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def table(lines: Sequence[Line]) -> Table:
    """Return the table of rows: a tick where the median meets its target."""
    shown = Table("row", title="x: CPU seconds of plain over ours, round by round", title_justify="left", box=SIMPLE)
    for name in ("target", "min", "median", "max"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    for line in lines:
        values = ("-", "-", "-") if line.found is None else tuple(_number(value) for value in line.found)
        mark = "" if line.met is None else "✓" if line.met else "✗"
        shown.add_row(line.title, line.target, *values, f"{line.unit} {mark}")
    return shown


if __name__ == "__main__":
    sys.exit(tyro.cli(run, prog="python -m benchmarks", description=__doc__))

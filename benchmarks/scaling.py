"""The scaling table: what a training step costs as one size grows and the others stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from rich.box import SIMPLE
from rich.table import Table

from benchmarks.harness import Say, in_child
from benchmarks.tasks import Circle
from benchmarks.training import Training, our_seconds, plain_seconds
from datasets.transfer import Transfer

STEPS, STEPS_IF_LARGE, LARGE = 40, 8, 10_000  # nodes


@dataclass(frozen=True)
class Series:
    """Rows of training that differ in one size; `compare_up_to` is the largest the plain loop is timed at."""

    title: str
    sizes: tuple[int, ...]
    rows: tuple[Training, ...]
    compare_up_to: int


@dataclass(frozen=True)
class Point:
    """CPU milliseconds of a step of one cell; plain is None where it was not timed."""

    size: int
    ours: float
    plain: float | None


def _row(size: int = 64, hops: int = 4, depth: int = 8, batch: int = 16, cells: int = 1, norm: str = "batch") -> Training:
    task = Transfer(topology=Circle(size=size), hops=hops)
    steps = STEPS if size < LARGE else STEPS_IF_LARGE
    return Training("", None, task, "gcn", depth, 32, batch, cells, steps, {"norm": norm})


NODES = (64, 512, 4096, 32_768, 100_000)
DEPTHS, HOPS = (2, 8, 32, 64), (2, 4, 8, 16, 32)
BATCHES, CELLS = (4, 16, 64, 256), (1, 2, 4, 8, 16)
SERIES: tuple[Series, ...] = (
    Series("nodes (whole graph)", NODES, tuple(_row(size=n, batch=2) for n in NODES), 4096),
    Series("nodes (what reaches)", NODES, tuple(_row(size=n, batch=2, norm="layer") for n in NODES), 4096),
    Series("depth", DEPTHS, tuple(_row(depth=d) for d in DEPTHS), 64),
    Series("hops = depth", HOPS, tuple(_row(size=2 * h if h > 2 else 5, hops=h, depth=h, norm="layer") for h in HOPS), 64),
    Series("batch", BATCHES, tuple(_row(batch=b) for b in BATCHES), 256),
    Series("cells", CELLS, tuple(_row(cells=c) for c in CELLS), 4),
)


def measured(series: Series, say: Say) -> list[Point]:
    """Return the cost at every size of `series`, all sizes of a side in one process."""
    say(f"{series.title}, ours")
    ours = in_child(_per_step, series.rows, False, worker=True)
    say(f"{series.title}, plain")
    plain = in_child(_per_step, [row for n, row in _sized(series) if n <= series.compare_up_to], True)
    both = [*plain, *[None] * (len(ours) - len(plain))]
    return [Point(size, o, p) for size, o, p in zip(series.sizes, ours, both, strict=True)]


def _sized(series: Series) -> list[tuple[int, Training]]:
    return list(zip(series.sizes, series.rows, strict=True))


def _per_step(rows: Sequence[Training], plain: bool) -> list[float]:
    """Return the milliseconds of a step of one cell: the plain loop's are those of its first cell."""
    found = []
    for row in rows:
        cells = row.cells()[: 1 if plain else row.num_seeds]
        seconds = plain_seconds(cells) if plain else our_seconds(cells)
        found.append(1000 * seconds / row.steps / len(cells))
    return found


def growth(points: Sequence[Point]) -> float:
    """Return the exponent b of cost ~ size^b between the two largest sizes."""
    before, last = points[-2:]
    return log(last.ours / before.ours) / log(last.size / before.size)


def table(found: dict[str, list[Point]]) -> Table:
    """Return the table of all series: milliseconds of a step of one cell."""
    shown = Table("size", title="CPU ms of a step of one cell", title_justify="left", box=SIMPLE)
    for name in ("value", "ours", "plain", "plain / ours", "growth"):
        shown.add_column(name, justify="right")
    for title, points in found.items():
        for index, point in enumerate(points):
            plain = "-" if point.plain is None else f"{point.plain:.1f}"
            ratio = "-" if point.plain is None else f"{point.plain / point.ours:.1f}"
            last = f"size^{growth(points):.1f}" if point is points[-1] else ""
            shown.add_row(title if index == 0 else "", f"{point.size:,}", f"{point.ours:.2f}", plain, ratio, last)
        shown.add_section()
    return shown

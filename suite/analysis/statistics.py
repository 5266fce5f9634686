"""Statistics of a report: exact rates, intervals over seeds, the verdict on a condition.

Outcomes of the suite are bimodal: a seed solves a task or stays at chance. So rates get exact intervals, and a
t-interval is kept for quantities with one mode (log shares, recoverability).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from scipy.stats import beta, rankdata
from scipy.stats import t as student

SOLVED_SKILL = 0.9  # a cell has solved its task from this test skill on; fixed before any run
LEVEL = 0.95

Verdict = Literal["success", "failure", "mixed", "too few"]


@dataclass(frozen=True)
class Interval:
    """A mean and its limits over `n` seeds; below two values the limits are None, below one the mean too."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


@cache
def clopper_pearson(successes: int, trials: int, level: float = LEVEL, sides: Literal[1, 2] = 2) -> tuple[float, float]:
    """Return the exact limits of a rate: two-sided at `level`, or with `sides=1` each limit one-sided at `level`.

    The two conventions must not be mixed: 5 of 5 has the lower limit .478 two-sided and .549 one-sided.
    Raises ValueError unless 0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"a rate needs 0 <= successes <= trials, got {successes} of {trials}")
    tail = (1 - level) / sides
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high


def verdict(solved: int, cells: int) -> Verdict:
    """Return what `solved` of `cells` seeds say of a condition, by the one-sided 95 % limits of the solve rate.

    Success: the lower limit is above one half; failure: the upper one is below; else mixed. Where even a unanimous
    outcome would not decide (fewer than five seeds) the verdict is "too few".
    """
    if clopper_pearson(cells, cells, sides=1)[0] <= 0.5:
        return "too few"
    low, high = clopper_pearson(solved, cells, sides=1)
    return "success" if low > 0.5 else "failure" if high < 0.5 else "mixed"


def finite(values: Iterable[float | None]) -> list[float]:
    """Return the values that are numbers: neither None nor NaN nor infinite."""
    return [float(v) for v in values if v is not None and math.isfinite(v)]


def mean_interval(
    values: Iterable[float | None], level: float = LEVEL, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Return the mean and its t-interval over the values that are numbers; `n` says how many there were.

    `bounds` are those of the quantity itself (an accuracy's 0 and 1): the interval is cut there.
    """
    kept = np.array(finite(values))
    if kept.size == 0:
        return Interval(None, None, None, 0)
    mean = float(kept.mean())
    if kept.size == 1:
        return Interval(mean, None, None, 1)
    half = _quantile(level, kept.size - 1) * float(kept.std(ddof=1)) / math.sqrt(kept.size)
    return Interval(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]), int(kept.size))


@cache
def _quantile(level: float, freedom: int) -> float:
    return float(student.ppf((1 + level) / 2, freedom))


def half_solve_bracket(hops: Sequence[float], rates: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the two tested distances between which the solve rate first falls below one half.

    (None, h): already below one half at the nearest distance h; (h, None): still at or above it at the farthest, h. A
    bracket, not a fitted distance: outcomes separate so sharply that a logistic fit has no finite slope.
    """
    last = None
    for hop, rate in sorted(zip(hops, rates, strict=True)):
        if rate < 0.5:
            return last, hop
        last = hop
    return last, None


def separation(values: Sequence[float], solved: Sequence[bool]) -> float | None:
    """Return the chance that a solved case has the larger value than an unsolved one, ties counting half.

    That is the area under the ROC curve: .5 tells nothing, 1 or 0 tells all. None where one of the classes is empty.
    """
    won, lost = sum(solved), len(solved) - sum(solved)
    if not won or not lost:
        return None
    ranks = rankdata(values)
    rank_sum = float(sum(rank for rank, success in zip(ranks, solved, strict=True) if success))
    return (rank_sum - won * (won + 1) / 2) / (won * lost)


def fits(train_score: Interval, threshold: float = 0.9) -> Literal["fits", "does not fit", "undecided"]:
    """Return whether models fit their training set: the train accuracy's t-interval lies above or below `threshold`."""
    if train_score.low is None or train_score.high is None:
        return "undecided"
    return "fits" if train_score.low > threshold else "does not fit" if train_score.high < threshold else "undecided"


def agreement(published: float, ours: Interval, reading_error: float) -> Literal["agrees", "differs", "not run", "too few"]:
    """Return whether a published value lies inside our interval widened by the error of reading it.

    Fewer than five seeds are too few: nearly everything lies inside their interval.
    """
    if ours.low is None or ours.high is None or ours.n < 5:
        return "too few" if ours.n else "not run"
    return "agrees" if ours.low - reading_error <= published <= ours.high + reading_error else "differs"

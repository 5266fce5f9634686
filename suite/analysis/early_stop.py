"""How often the rule that ends cells at chance errs: told by cells of the same settings that were trained in full.

The rule, `Protocol.chance_stop` = N: a cell ends at the first look at its validation set at or after step N, before the end
of its budget, where its best validation skill so far is below three standard errors of guessing. A cell trained in full
(no N, all else equal) shows by its validation curve whether the rule would have ended it, and by its test score, on samples
that decided nothing, what would have been missed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from suite.analysis.statistics import SOLVED_SKILL, clopper_pearson

Record = Mapping[str, Any]


class Store(Protocol):
    """The part of `suite.store.Store` that is needed here."""

    def record(self, key: str) -> dict[str, Any] | None: ...


@dataclass(frozen=True)
class FullRun:
    """A cell trained in full, held against the rule.

    Attributes:
        after: the step N of the rule, as another cell of the same settings has it.
        ended: the rule would have ended it.
        left: its test skill is at least three standard errors of guessing above chance: it left chance in the end.
        solved: its test skill is at least `SOLVED_SKILL`.
        same_source: it was trained by the same state of the source as a cell under the rule.
    """

    after: int
    ended: bool
    left: bool
    solved: bool
    same_source: bool


@dataclass(frozen=True)
class Share:
    """`part` of `whole`, with the two-sided exact limits of the rate; without any, no rate."""

    part: int
    whole: int

    @property
    def limits(self) -> tuple[float, float]:
        """The Clopper-Pearson limits of the rate."""
        return clopper_pearson(self.part, self.whole)


@dataclass(frozen=True)
class FalseStops:
    """What the rule with one N would have done to the cells trained in full.

    A false stop is a cell that the rule would have ended although, trained in full, it left chance.

    Attributes:
        after: the step N of the rule.
        of_ended: false stops among the cells that the rule would have ended: *the false-stop rate*.
        of_all: false stops among all cells trained in full.
        of_left: false stops among the cells that left chance: what the rule costs them.
        solved_of_ended: cells that went on to solve their task, among those that the rule would have ended.
        other_source: cells trained by another state of the source than the cells under the rule.
    """

    after: int
    of_ended: Share
    of_all: Share
    of_left: Share
    solved_of_ended: Share
    other_source: int


def guessing_noise(chance: float, answers: int) -> float:
    """Return three standard errors of a guesser's accuracy on `answers` answers, as skill."""
    return 3 * math.sqrt(chance * (1 - chance) / answers) / (1 - chance)


def would_end(record: Record, chance: float, after: int) -> bool:
    """Return whether the rule with N = `after` would have ended this cell, which was trained in full."""
    protocol, curve = record["cell"]["protocol"], record["curve"]
    best = -float("inf")
    for step, score in zip(curve["step"], curve["validation_score"], strict=True):
        skill = -float("inf") if score is None else (score - chance) / (1 - chance)
        best = max(best, skill)
        if step >= after:  # the best only grows: what is not ended here never is
            return step < protocol["max_steps"] and best < guessing_noise(chance, protocol["num_validation"])
    return False  # solved or diverged before


def full_runs(study_dir: Path, store: Store) -> list[FullRun]:
    """Return every cell trained in full that has a counterpart under the rule, one of the two at least in this study.

    Counterparts are looked for in this study and in those beside it that share the store, and are equal but for the rule
    and the seed. Cells are left out that diverged, do not classify, or ask several answers a graph (their scores are no
    multiples of one over the number of validation graphs): the noise of their guessing cannot be told from a record.
    """
    own = _planned(study_dir)
    lines = dict(own)
    for path in sorted(study_dir.resolve().parent.glob("*/cells.json")):
        lines |= _planned(path.parent)
    records = {key: record for key in lines if (record := store.record(key)) is not None and record["status"] == "ok"}
    rules: dict[tuple[str, bool], dict[int, set[Any]]] = {}  # settings, in this study -> N -> states of the source
    for key, record in records.items():
        after = record["cell"]["protocol"]["chance_stop"]
        if after is not None:
            rules.setdefault((_settings(record), key in own), {}).setdefault(after, set()).add(_source(record))
    found = []
    for key, record in records.items():
        if record["cell"]["protocol"]["chance_stop"] is None and _can_be_judged(record, lines[key]):
            here, beside = (rules.get((_settings(record), mine), {}) for mine in (True, False))
            sources = {after: here.get(after, set()) | beside.get(after, set()) for after in (*here, *beside)}
            chance, mine = lines[key]["chance"], sources if key in own else here
            found += [_judge(record, chance, after, _source(record) in sources[after]) for after in mine]
    return found


def false_stops(runs: Iterable[FullRun]) -> list[FalseStops]:
    """Return how often the rule errs, for each step N that cells have it at."""
    runs = list(runs)
    found = []
    for after in sorted({run.after for run in runs}):
        some = [run for run in runs if run.after == after]
        ended, left = [run for run in some if run.ended], [run for run in some if run.left]
        wrong = sum(run.left for run in ended)
        solved = Share(sum(run.solved for run in ended), len(ended))
        other = sum(not run.same_source for run in some)
        shares = Share(wrong, len(ended)), Share(wrong, len(some)), Share(wrong, len(left))
        found.append(FalseStops(after, *shares, solved, other))
    return found


def _judge(record: Record, chance: float, after: int, same_source: bool) -> FullRun:
    skill, answers = record["metrics"]["test"]["skill"], record["cell"]["protocol"]["num_test"]
    left = skill >= guessing_noise(chance, answers)
    return FullRun(after, would_end(record, chance, after), left, skill >= SOLVED_SKILL, same_source)


def _planned(study_dir: Path) -> dict[str, dict[str, Any]]:
    grid = json.loads((study_dir / "cells.json").read_text(encoding="utf-8"))
    return {line["key"]: line for line in grid["cells"]}


def _settings(record: Record) -> str:
    """Return the whole condition but for the rule, as text."""
    cell = {name: value for name, value in record["cell"].items() if name != "seed"}
    return json.dumps(cell | {"protocol": cell["protocol"] | {"chance_stop": None}}, sort_keys=True)


def _source(record: Record) -> Any:
    return (record.get("provenance") or {}).get("fingerprint")


def _can_be_judged(record: Record, line: Mapping[str, Any]) -> bool:
    scores = [score for score in record["curve"]["validation_score"] if score is not None]
    graphs = record["cell"]["protocol"]["num_validation"]
    one_answer = all(abs(score * graphs - round(score * graphs)) < 1e-3 for score in scores)
    return line["loss"] == "cross_entropy" and record["metrics"]["test"]["skill"] is not None and one_answer

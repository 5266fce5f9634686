"""Tuning: trials of a search space, one after another, each made of cells like any other.

In a block of a study file:

    tune = { trials = 8, lr = [1e-4, 1e-2], norm = ["batch", "layer"] }

`trials` of every condition (task, model, depth), each scored by its mean validation skill over `num_seeds` seeds (1) that no
reported cell has. What else is named is searched: a field of the protocol, or a setting of the models that have it. Two floats
are a range, logarithmic where both are positive; any other list is a choice.

A trial is a function of the condition, its number and the trials before it: Optuna is told these anew, with a sampler seeded
from the condition and the number. Results are in the store alone, so that tuning goes on wherever it was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from suite.cell import Cell
from suite.rng import digest
from suite.store import Store

FIRST_SEED = 10_000  # of tuning; reported cells have seeds below
AT_RANDOM = 4  # trials that are drawn at random, before what was found leads the search
NO_RESULT = float("-inf")  # of a trial with a cell that diverged or failed


@dataclass(frozen=True)
class Range:
    """Floats from `low` to `high`, by their logarithm where both are positive."""

    low: float
    high: float

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values by which to see whether the whole range is allowed."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """Any of `values`."""

    values: tuple[Any, ...]

    @property
    def probes(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values


Space = Mapping[str, Range | Choice]


class Tune(BaseModel):
    """How a block of a study is tuned: as the file has it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    trials: StrictInt = Field(ge=1)
    num_seeds: StrictInt = Field(1, ge=1)

    @model_validator(mode="after")
    def _space_can_be_read(self) -> Tune:
        if not self.space:
            raise ValueError("names nothing to search, such as lr = [1e-4, 1e-2]")
        return self

    @property
    def space(self) -> Space:
        """What is searched, by name; raises ValueError for what is neither a range nor a choice."""
        return {name: _dimension(name, value) for name, value in (self.model_extra or {}).items()}

    @property
    def seeds(self) -> range:
        return range(FIRST_SEED, FIRST_SEED + self.num_seeds)


def _dimension(name: str, value: Any) -> Range | Choice:
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(item, str | int | float) for item in value):
        raise ValueError(f"{name}: must be two floats, low and high, or a list of choices; got {value!r}")
    if len(value) == 2 and all(isinstance(item, float) for item in value):
        if not value[0] < value[1]:
            raise ValueError(f"{name}: must be a range from low to high, got {value!r}")
        return Range(*value)
    return Choice(tuple(value))


class Outcomes:
    """What became of cells, by the store, which is asked once for each finished one.

    `tried` are keys of cells that had their turn: without a record they have no result.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.tried = store, set[str]()
        self.known: dict[str, float] = {}

    def __call__(self, cell: Cell) -> float | None:
        """Return the validation skill of a cell, `NO_RESULT`, or None where it is not finished. Test scores are not looked at."""
        if cell.key not in self.known and (record := self.store.record(cell.key)) is not None:
            skill = record["metrics"]["validation"]["skill"] if record["status"] == "ok" else None
            self.known[cell.key] = NO_RESULT if skill is None else skill
        return self.known.get(cell.key, NO_RESULT if cell.key in self.tried else None)


def ask(space: Space, condition: str, earlier: Sequence[tuple[dict[str, Any], float]]) -> dict[str, Any]:
    """Return the settings of the next trial of `condition`, after the `earlier` ones, each (settings, score).

    Raises ModuleNotFoundError where Optuna is not installed.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(dimension) for name, dimension in sorted(space.items())}
    seed = int(digest("tune", condition, len(earlier), size=4), 16)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=AT_RANDOM)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for settings, score in earlier:
        study.add_trial(optuna.trial.create_trial(params=settings, distributions=distributions, value=score))
    params: dict[str, Any] = study.ask(distributions).params
    return params


def _distribution(dimension: Range | Choice) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.low > 0)


def best(scores: Sequence[float]) -> int:
    """Return the number of the best trial, the first of equals."""
    return max(range(len(scores)), key=lambda number: (scores[number], -number))

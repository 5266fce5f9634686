"""Where a study stands: which of its cells are finished, failed or missing, from file names and failure notes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from suite.store import Store
from suite.worker import Piece

State = Literal["done", "failed", "unavailable", "missing"]


@dataclass(frozen=True)
class Survey:
    """Attributes:
    states: of every cell of the study, by key.
    problems: the last failure at each result that is not there.
    """

    states: dict[str, State]
    problems: tuple[dict[str, Any], ...]

    @property
    def counts(self) -> Counter[str]:
        """How many cells are in each state."""
        return Counter(self.states.values())

    @property
    def failed(self) -> bool:
        """Whether anything failed; data that cannot be had is no failure."""
        return any(problem["status"] != "unavailable" for problem in self.problems)


def all_lines(listing: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every cell of `cells.json`, reported ones first, then those of tuning."""
    tuned = listing.get("tuning", [])  # none in what was written before there was tuning
    return [*listing["cells"], *(cell for one in tuned for trial in one["trials"] for cell in trial["cells"])]


def survey(listing: dict[str, Any], store: Store) -> Survey:
    """Compare a study, as `cells.json` lists it, with the store."""
    finished, stumbled = store.keys(), store.failed_keys()
    states: dict[str, State] = {}
    problems: list[dict[str, Any]] = []
    for key in dict.fromkeys(line["key"] for line in all_lines(listing)):
        done = key in finished
        last = _unresolved(store, key, done) if key in stumbled else []
        problems += last
        failed: State = "unavailable" if last and last[0]["status"] == "unavailable" else "failed"
        states[key] = "done" if done else failed if last else "missing"
    for task in listing["tasks"]:
        if task["task_key"] in stumbled and not store.certified(task["task_key"]):
            problems += store.failures(task["task_key"])[-1:]
    return Survey(states, tuple(problems))


def left_out(listing: dict[str, Any], store: Store, pieces: Iterable[Piece]) -> set[str]:
    """Return the cells of a study whose data could not be had and that none of `pieces`, what is to be made, asks for."""
    states = survey(listing, store).states
    return {key for key, state in states.items() if state == "unavailable"} - {piece.key for piece in pieces}


def _unresolved(store: Store, key: str, done: bool) -> list[dict[str, Any]]:
    """Return the last failure at each result of a cell that is still not there; its training counts for all of them."""
    last = {(failure["stage"], failure["version"]): failure for failure in store.failures(key)}
    if not done:
        return [failure for (stage, _), failure in last.items() if stage == "train"]
    there = store.measured(key)
    return [failure for stage, failure in last.items() if stage[0] != "train" and stage not in there]

"""Published numbers that a report puts beside ours: quoted, never targets, and part of no average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from suite.analysis import Analysis
from suite.analysis.statistics import agreement, mean_interval


@dataclass(frozen=True)
class Card:
    """One published accuracy: of which task class, model and distance, where it stands, how it was selected."""

    task: str  # class name
    model: str
    hops: int
    value: float
    split: Literal["train", "test"]
    reading_error: float  # of a number read off a figure, or of rounding
    source: str
    family: str | None = None  # of the task, where it has several


_RING = "arXiv:2302.02941, figure in lrnzgiusti/on-oversquashing; 3 seeds, selected on test"
_TREE = "arXiv:2006.05205, tech-srl/bottleneck; one seed, stopped on train accuracy"

_CLIFFS = {  # accuracy from one distance to another
    "ring": ((2, 10, 1.0), (11, 11, 0.81), (12, 12, 0.29), (13, 16, 0.22)),
    "clique_path": ((3, 8, 1.0), (9, 9, 0.74), (10, 10, 0.29), (11, 12, 0.22)),
}

CARDS: tuple[Card, ...] = (
    *(
        Card("PublishedRingTransfer", "gcn", r, value, "test", 0.02, _RING, family)
        for family, steps in _CLIFFS.items()
        for first, last, value in steps
        for r in range(first, last + 1)
    ),
    *(
        Card("PublishedNeighborsMatch", "gcn", r, v, "train", 0.005, _TREE)
        for r, v in ((2, 1.0), (3, 1.0), (4, 0.70), (5, 0.19), (6, 0.14), (7, 0.09), (8, 0.08))
    ),
    *(
        Card("PublishedNeighborsMatch", "gin", r, v, "train", 0.005, _TREE)
        for r, v in ((2, 1.0), (3, 1.0), (4, 0.77), (5, 0.29), (6, 0.20))
    ),
)

# Commonly quoted for depth on Cora; no source was found for any but the first, and none is ours.
_CORA = (("gcn", 2, 0.815), ("gcn", 4, 0.792), ("gcn", 8, 0.701), ("gcn_residual", 4, 0.821))


def card_for(task: dict[str, Any], model: str) -> Card | None:
    """Return the published number for a task reference and a model; None where there is none.

    `model` is the name in the study; settings in brackets behind it are the published block's.
    """
    params = task["params"]
    asked = task["ref"].rpartition(":")[2], params.get("family"), model.partition("(")[0], params.get("hops")
    return next((card for card in CARDS if (card.task, card.family, card.model, card.hops) == asked), None)


def quoted_depths(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the accuracies by depth commonly quoted for Cora: `model`, `layers`, `value`; none for other data."""
    if "cora" not in [str(value).lower() for value in task["params"].values()]:
        return []
    return [{"model": model, "layers": layers, "value": value} for model, layers, value in _CORA]


def cards_of(analysis: Analysis) -> list[dict[str, Any]]:
    """Return each condition of the part "reproduction" that has a published number.

    Keys: `condition` (its row), `card`, `ours` (Interval of the accuracy the card is about), `median` over the seeds,
    `verdict` (see `agreement`).
    """
    refs = {task["task_key"]: task["task"] for task in analysis.results.tasks}
    cells = analysis.results.by_key() if len(analysis.results.cells) else None
    found = []
    for row in analysis.part("reproduction").to_dict("records"):
        card = card_for(refs[row["task_key"]], row["model"])
        if card is None or cells is None:
            continue
        scores = cells.loc[row["keys"], f"{card.split}_score"] if row["keys"] else None
        ours = mean_interval([] if scores is None else scores, bounds=(0, 1))
        median = None if ours.n == 0 or scores is None else float(scores.dropna().astype(float).median())
        verdict = agreement(card.value, ours, card.reading_error)
        found.append({"condition": row, "card": card, "ours": ours, "median": median, "verdict": verdict})
    return found

"""What every section is made from."""

from __future__ import annotations

from dataclasses import dataclass

from reports.figures import Drawing
from reports.style import Look
from suite.analysis import Analysis

PART_NAMES = {"hops": "Distance", "depth": "Depth", "reproduction": "Reproduction"}


@dataclass(frozen=True)
class Context:
    """The tables of a study, its drawings, and how its models look."""

    analysis: Analysis
    drawings: list[Drawing]
    looks: dict[str, Look]

    def at(self, place: str) -> list[Drawing]:
        """Return the drawings that belong to one place of the report."""
        return [drawing for drawing in self.drawings if drawing.place == place]

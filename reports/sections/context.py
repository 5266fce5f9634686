"""What every section is made from."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.figures import Drawing
from reports.style import Look
from suite.analysis import Analysis

PART_NAMES = {"hops": "Distance", "no_distance": "No single distance", "depth": "Depth", "reproduction": "Reproduction"}


@dataclass(frozen=True)
class Context:
    """The tables of a study, its drawings, and how its models look."""

    analysis: Analysis
    drawings: list[Drawing]
    looks: dict[str, Look]

    def at(self, place: str) -> list[Drawing]:
        """Return the drawings that belong to one place of the report."""
        return [drawing for drawing in self.drawings if drawing.place == place]

    def reason(self, rows: pd.DataFrame) -> str:
        """Say why none of the cells of some conditions has finished."""
        cells, failures = self.analysis.results.cells, self.analysis.results.failures
        keys = [key for key in cells.loc[cells["condition"].isin(rows["condition"]), "key"] if key in failures]
        said = dict.fromkeys(str(failures[key][-1].get("message") or failures[key][-1]["status"]) for key in keys)
        return f"Reason given: {'; '.join(said)}" if said else "They have not been run yet."

"""Records, measures and certificates -> tables and statistics.

`analyse(load_results(study_dir, store))` gives every table a report is made of. Nothing here draws, prints or trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from suite.analysis.conditions import condition_table, evidence, reach_table, separations
from suite.analysis.results import Results, load_results

__all__ = ["Analysis", "Results", "analyse", "load_results"]


@dataclass(frozen=True)
class Analysis:
    """The tables of one study: see `condition_table`, `reach_table` and `separations`."""

    results: Results
    conditions: pd.DataFrame
    reach: pd.DataFrame
    separations: list[dict[str, Any]]

    def part(self, name: str) -> pd.DataFrame:
        """Return the conditions of one part of the report, one of `suite.analysis.results.PARTS`."""
        return self.conditions[self.conditions["part"] == name]

    @property
    def evidence(self) -> pd.DataFrame:
        """Return the conditions that conclusions about distance may rest on: see `suite.verdicts.BARS`."""
        return evidence(self.conditions)


def analyse(results: Results) -> Analysis:
    """Return the tables of a study."""
    conditions = condition_table(results)
    return Analysis(results, conditions, reach_table(conditions), separations(conditions))

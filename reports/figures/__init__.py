"""The figures of a report: one module each, `drawings(analysis, looks)` says what to draw, `draw(data)` draws it."""

from __future__ import annotations

from reports.figures import (
    depth,
    errors,
    hops,
    influence,
    limits,
    no_distance,
    outcome_map,
    plane,
    reproduction,
    shells,
    smoothing,
)
from reports.figures.common import Drawing
from reports.style import Look
from suite.analysis import Analysis

FIGURES = (outcome_map, hops, smoothing, influence, shells, plane, no_distance, errors, depth, reproduction, limits)

__all__ = ["Drawing", "all_drawings"]


def all_drawings(analysis: Analysis, looks: dict[str, Look]) -> list[Drawing]:
    """Return every drawing of a study, in the order of the report."""
    return [drawing for module in FIGURES for drawing in module.drawings(analysis, looks)]

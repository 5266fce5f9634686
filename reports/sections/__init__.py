"""The sections of a report, one module each: `blocks(context)` returns its pieces, none where the study has none."""

from __future__ import annotations

from reports.blocks import Block
from reports.sections import (
    accuracy,
    appendix,
    depth,
    extrapolation,
    mechanisms,
    methods,
    no_distance,
    overview,
    provenance,
    reproduction,
    tasks,
)
from reports.sections.context import Context

SECTIONS = (overview, accuracy, extrapolation, mechanisms, no_distance, tasks, depth, reproduction, methods, provenance, appendix)

__all__ = ["Context", "all_blocks"]


def all_blocks(context: Context) -> list[Block]:
    """Return every piece of the report, in order."""
    return [block for module in SECTIONS for block in module.blocks(context)]

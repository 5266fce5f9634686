"""The whole `standard` study: its training against the plain loop, cell by cell of a random sample, and its other costs."""

from __future__ import annotations

from benchmarks.training import Training

STUDY: dict[str, Training] = {}

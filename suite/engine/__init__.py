"""The engine: trains the cells of a condition together, exactly as if each were alone."""

from suite.engine.batches import blocks
from suite.engine.machine import settings, slowness
from suite.engine.train import ALL_SHORTCUTS, Trained, initial_model, step_seconds, train
from suite.factors import task_of

__all__ = [
    "ALL_SHORTCUTS",
    "Trained",
    "blocks",
    "initial_model",
    "settings",
    "slowness",
    "step_seconds",
    "task_of",
    "train",
]

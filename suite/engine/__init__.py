"""The engine: trains the cells of a condition together, exactly as if each were alone."""

from suite.engine.batches import blocks
from suite.engine.machine import settings
from suite.engine.train import ALL_SHORTCUTS, Trained, initial_model, train

__all__ = ["ALL_SHORTCUTS", "Trained", "blocks", "initial_model", "settings", "train"]

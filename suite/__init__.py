"""hopscope's engine: tasks, models, measures, training and records, usable without the rest of the project.

suite.diagnose(model, data)  every measure that applies to a model, in sentences, as a table and as a figure
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: the command line imports this package, and answers without waiting for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'suite' has no attribute '{name}'")
    from suite import diagnosis

    return getattr(diagnosis, name)

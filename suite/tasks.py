"""From what a study or a command line names to a task: its class, its fields, and what a first graph of it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from suite.cell import TaskRef
from suite.refs import file_sha256, load, reason_of, ref_of, said, unknown
from suite.rng import stream
from suite.study import StudyError

if TYPE_CHECKING:
    from suite.task import Task


def find_task(kind: str, known: Mapping[str, str], folder: Path = Path()) -> type[Task]:
    """Return the class that `kind` names: an entry of the table, `module:Name`, or `file.py:Name` seen from `folder`.

    Raises ValueError where there is no such task.
    """
    from suite.task import Task

    if kind not in known and ":" not in kind:
        raise ValueError(unknown("task", kind, known) + "; or file.py:Name")
    try:
        cls = load(known.get(kind) or placed(kind, folder))
    except Exception as error:
        raise ValueError(reason_of(error)) from error
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise ValueError(f"'{kind}' is no task: a task is a subclass of suite.task.Task")
    return cls


def make_task(cls: type[Task], settings: dict[str, Any], path: str = "") -> tuple[TaskRef, Task]:
    """Return the task with these fields, and the reference that makes it again elsewhere.

    Raises StudyError where the fields are refused; `path` begins its messages.
    """
    try:
        task = cls(**settings)
    except ValidationError as error:
        raise StudyError("", [said(found, path, set(cls.model_fields)) for found in error.errors()]) from error
    except Exception as error:
        raise StudyError("", [f"{path}: {reason_of(error)}" if path else reason_of(error)]) from error
    ref = ref_of(cls)
    return TaskRef(ref=ref, params=task.config(), version=cls.version, sha256=file_sha256(ref)), task


def num_nodes_of(ref: TaskRef) -> int:
    """Draw one graph as a worker would, and return its number of nodes; raises as `_probe`."""
    return _probe(ref)[0]


def in_channels_of(ref: TaskRef) -> int:
    """Draw one graph as a worker would, and return the width of its `x`: what models take in. Raises as `_probe`."""
    return _probe(ref)[1]


def _probe(ref: TaskRef) -> tuple[int, int]:
    """Draw one graph as a worker would, and return its number of nodes and the width of `x`.

    Raises suite.task.DataUnavailable where the data cannot be had, StudyError where the task's own code fails.
    """
    from suite.samples import graphs_of
    from suite.task import DataUnavailable

    try:
        task = ref.load()
        x = graphs_of(task.at("train", 0).draw(1, stream(task.config(), "probe")))[0].x
        return int(x.size(0)), int(x.size(1))
    except DataUnavailable:
        raise
    except Exception as error:
        raise StudyError(f"task {ref.ref.rpartition('/')[2]}", [f"drawing a graph failed: {reason_of(error)}"]) from error


def placed(name: str, folder: Path) -> str:
    """Look for `file.py:Name` beside the study first, then where we are."""
    beside = folder / name.rpartition(":")[0]
    return f"{beside}:{name.rpartition(':')[2]}" if name.rpartition(":")[0].endswith(".py") and beside.exists() else name


def all_placed(value: Any, folder: Path) -> Any:
    """Return settings in which each `file.py:Name`, as of a topology or of one inside another, is looked for in this way."""
    if isinstance(value, dict):
        return {name: all_placed(item, folder) for name, item in value.items()}
    if isinstance(value, list):
        return [all_placed(item, folder) for item in value]
    return placed(value, folder) if isinstance(value, str) else value

"""What encodings and rewirings have in common: settings that are fields, a version, a title, and references to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from suite.cell import FactorRef
from suite.refs import unknown
from suite.task import Value


class Factor(Value):
    """Something that changes the graphs a task draws and goes with every model; its fields are its settings.

    Attributes:
        version: part of every key; raise it when the same settings would give other numbers.
        title: how figures call it, behind the name of the model.
    """

    version: ClassVar[int] = 1
    title: ClassVar[str]


def resolve_factor(what: str, table: Mapping[str, type[Factor]], name: str, settings: dict[str, Any] | None) -> FactorRef:
    """Return the reference of the factor called `name` in `table`, with every setting written out.

    Raises ValueError, with the nearest known names, where there is none; pydantic's ValidationError for a setting it refuses.
    """
    if name not in table:
        raise ValueError(unknown(what, name, table))
    made = table[name].model_validate(settings or {})
    return FactorRef(name=name, settings=made.model_dump(mode="json"), version=made.version)

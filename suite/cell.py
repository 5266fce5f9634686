"""A cell: everything that decides one training run, fully resolved, and the hash that names its result."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.refs import load
from suite.rng import canonical_json

Purpose = Literal["report", "tune"]


class Frozen(BaseModel):
    """A frozen record of resolved settings; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(Frozen):
    """How a cell is trained and scored. Budgets are optimiser steps, never seconds."""

    lr: float = Field(1e-3, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty, on every weight")
    conv_weight_decay: float | None = Field(None, ge=0, description="the same for a stack's convolutions; none: as for all")
    batch_size: int = Field(64, ge=1, description="graphs in a step")
    max_steps: int = Field(1000, ge=1, description="optimiser steps at most")
    eval_every: int = Field(50, ge=1, description="steps between two looks at the validation set")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; none: unclipped")
    num_validation: int = Field(512, ge=1, description="validation graphs, drawn once")
    num_test: int = Field(1024, ge=1, description="test graphs, drawn once")
    solved_at: float | None = Field(0.998, description="validation skill at which training ends; none: never")
    select: Literal["best", "last"] = Field("best", description="weights kept: best on validation, or after the last step")


class TaskRef(Frozen):
    """A task as a cell holds it: where its class is, all its fields, its version."""

    ref: str
    params: dict[str, Any]
    version: int
    sha256: str | None = None  # of a stranger's file

    @cached_property
    def key(self) -> str:
        """The sha256 that names the task: certificates are stored under it."""
        return _digest(_placeless(self.model_dump(mode="json")))

    def load(self) -> Any:
        """Return the task, a `suite.task.Task`; raises ValueError where the file changed or a field is refused."""
        return load(self.ref, self.sha256)(**self.params)


class ModelRef(Frozen):
    """A model as a cell holds it: where its class is and every setting beside the four sizes. Names are not part of it."""

    ref: str
    settings: dict[str, Any]
    version: int
    sha256: str | None = None


class FactorRef(Frozen):
    """An encoding or a rewiring as a cell holds it: its name in the table, every setting, its version."""

    name: str
    settings: dict[str, Any]
    version: int

    def __hash__(self) -> int:
        return hash(canonical_json(self.model_dump(mode="json")))


class Cell(Frozen):
    """One training run: a condition (all but `seed`) and its seed.

    `encoding` and `rewiring` change the graphs that the task draws, for any model (`suite.factors`); None: as they are drawn.
    """

    schema_version: ClassVar[int] = 1
    trainer_version: ClassVar[int] = 1  # raise it when the trainer would give other numbers

    task: TaskRef
    model: ModelRef
    num_layers: int = Field(ge=0)
    hidden_channels: int = Field(ge=1)
    seed: int = Field(ge=0)
    protocol: Protocol = Protocol()
    purpose: Purpose = "report"
    encoding: FactorRef | None = None
    rewiring: FactorRef | None = None

    @cached_property
    def key(self) -> str:
        """The sha256 of the cell in canonical JSON with the versions that decide its numbers: equal cells, equal keys."""
        return self._digest()

    @cached_property
    def condition(self) -> str:
        """The hash of everything but the seed: cells that share it are one condition."""
        return self._digest("seed")

    @cached_property
    def stack(self) -> str:
        """The hash of everything but seed and learning rate: cells that share it may be trained in one step."""
        return self.model_copy(update={"protocol": self.protocol.model_copy(update={"lr": 1.0})}).condition

    def _digest(self, *without: str) -> str:
        content = self.model_dump(mode="json", exclude=set(without))
        content |= {"task": _placeless(content["task"]), "model": _placeless(content["model"])}
        for factor in ("encoding", "rewiring"):
            if content[factor] is None:  # a cell without has the key it had before there were any
                del content[factor]
        if content["protocol"]["conv_weight_decay"] is None:  # and so one of a protocol from before there was this
            del content["protocol"]["conv_weight_decay"]
        return _digest(content | {"schema_version": self.schema_version, "trainer_version": self.trainer_version})


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _placeless(ref: dict[str, Any]) -> dict[str, Any]:
    """A stranger's file counts by its name and content, not by where it lies; so does one that a view sees."""
    if isinstance(seen := ref.get("params", {}).get("seen"), dict):
        ref = ref | {"params": ref["params"] | {"seen": _placeless(seen)}}
    return ref | {"ref": ref["ref"].rpartition(":")[2]} if ref["sha256"] else ref

"""Views: a task as something else sees it, itself a task, so that the same engine trains on it and measures draw from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor
from torch_geometric.data import Data

from suite.cell import TaskRef
from suite.refs import file_sha256, ref_of
from suite.rng import stream
from suite.task import Block, Level, Loss, Metric, Split, Task, Topology

PROBED = 8  # graphs looked at to learn what a task draws


def task_ref(task: Task) -> TaskRef:
    """Return the reference of `task`, with every field written out."""
    ref = ref_of(type(task))
    return TaskRef(ref=ref, params=task.config(), version=task.version, sha256=file_sha256(ref))


class View(Task):
    """Base of the views: asks what `seen` asks, and shows what `show` leaves of a block."""

    seen: TaskRef
    _task: Task = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        self._task = self.seen.load()

    @property
    def level(self) -> Level:  # type: ignore[override]  # a task's class says it, a view repeats its task's
        return self._task.level

    @property
    def loss(self) -> Loss:  # type: ignore[override]
        return self._task.loss

    @property
    def metric(self) -> Metric:
        return self._task.metric

    @property
    def fixed(self) -> bool:  # type: ignore[override]
        return self._task.fixed

    @property
    def out_channels(self) -> int:
        return self._task.out_channels

    @property
    def chance(self) -> float:
        return self._task.chance

    @property
    def near_chance(self) -> float:
        return self._task.near_chance

    @property
    def ceiling(self) -> float:
        return self._task.ceiling

    @property
    def range(self) -> int | None:
        return self._task.range

    @property
    def unit(self) -> str:
        return self._task.unit

    def in_unit(self, y: Tensor) -> Tensor:
        return self._task.in_unit(y)

    @property
    def token_channels(self) -> slice | None:
        return self._task.token_channels

    @property
    def irregular(self) -> frozenset[str]:
        return self._task.irregular

    def given(self, split: Split) -> int | None:
        return self._task.given(split)

    def at(self, split: Split, block: int) -> Self:
        view = self.model_copy()
        view._task = self._task.at(split, block)
        return view

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | Sequence[Data]:
        drawn = self._task.draw(num_graphs, rng)
        if isinstance(drawn, Block):
            return self.show(drawn, rng)
        graphs = [graph for one in drawn for graph in self.show(_alone(one), rng).to_data_list()]
        if self.level == "graph":
            for graph in graphs:
                del graph.readout_index
        return Block.from_data_list(graphs) or graphs

    def show(self, block: Block, rng: torch.Generator) -> Block:
        """Return what is seen of `block`; `rng` is the stream that it was drawn from."""
        raise NotImplementedError


def _alone(graph: Data) -> Block:
    """Return a block of one graph; of a whole one no node is read."""
    if "readout_index" not in graph:
        graph = graph.clone()
        graph.readout_index = graph.edge_index.new_empty(0)
    block = Block.from_data_list([graph])
    assert block is not None  # one graph always shares its topology with itself
    return block


class Extrapolated(View):
    """The task `seen`, asked in the test of models that were trained on it with other fields: fewer hops, another topology.

    Training and validation draw from the task with the fields `trained`, so that no choice looks at the test. Chance, ceiling and
    distance are those of the test, so that a rule for the depth reaches as far as it asks. Raises ValueError where the two draw
    x of other widths or ask other kinds of question.
    """

    trained: dict[str, Any] = Field(min_length=1, description="fields in training and validation")
    _trained: Task = PrivateAttr()
    _as_blocks: bool = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        self._trained = self.seen.model_copy(update={"params": self.seen.params | self.trained}).load()

    @model_validator(mode="after")
    def _one_model_does_for_both(self) -> Self:
        tasks = {"training": self._trained, "the test": self._task}
        drawn = {name: task.at("train", 0).draw(PROBED, stream(task.config(), "probe")) for name, task in tasks.items()}
        self._as_blocks = all(isinstance(found, Block) for found in drawn.values())
        given = {name: (_width(found), tasks[name].out_channels, tasks[name].loss) for name, found in drawn.items()}
        if len(set(given.values())) > 1:
            said = ", ".join(f"{name} has {width} and {out} ({loss})" for name, (width, out, loss) in given.items())
            raise ValueError(f"trained: must leave the channels of x and of the answer, and the loss, as they are; {said}")
        return self

    @property
    def title(self) -> str:
        fields = ", ".join(f"{name}={_kind(value)}" for name, value in self.trained.items())
        return f"{self._task.title}, trained at {fields}"

    @property
    def topology(self) -> Topology | None:
        found: Topology | None = getattr(self._task, "topology", None)
        return found

    @property
    def irregular(self) -> frozenset[str]:
        return self._task.irregular | self._trained.irregular

    def at(self, split: Split, block: int) -> Self:
        view = self.model_copy()
        view._task = (self._task if split == "test" else self._trained).at(split, block)
        return view

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | Sequence[Data]:
        drawn = self._task.draw(num_graphs, rng)
        return drawn.to_data_list() if isinstance(drawn, Block) and not self._as_blocks else drawn

    def given(self, split: Split) -> int | None:
        return (self._task if split == "test" else self._trained).given(split)

    def witness(self, block: Block) -> Tensor | None:
        return self._task.witness(block)

    def bare_lists(self) -> Sequence[Task]:
        return self._task.bare_lists()

    def exact_range(self) -> float | None:
        return self._task.exact_range()

    def oracle(self, radius: int) -> float | None:
        return self._task.oracle(radius)

    def answer_twin(self) -> Task | None:
        return self._twin(self._task.answer_twin())

    def content_twin(self) -> Task | None:
        return self._twin(self._task.content_twin())

    def _twin(self, twin: Task | None) -> Task | None:
        """Return `twin`, of the test's task, trained as this one."""
        return None if twin is None else type(self)(seen=task_ref(twin), trained=self.trained)


def _width(drawn: Block | Sequence[Data]) -> int:
    return int(drawn.x.size(2) if isinstance(drawn, Block) else drawn[0].x.size(1))


def _kind(value: Any) -> Any:
    """A topology as a title calls it; what is none as a study says it."""
    if value is None:
        return "none"
    return value.get("name", value.get("kind")) if isinstance(value, dict) else value

"""Views: a task as something else sees it, itself a task, so that the same engine trains on it and measures draw from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from pydantic import PrivateAttr
from torch_geometric.data import Data

from suite.cell import TaskRef
from suite.task import Block, Level, Loss, Split, Task


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
    def fixed(self) -> bool:  # type: ignore[override]
        return self._task.fixed

    @property
    def out_channels(self) -> int:
        return self._task.out_channels

    @property
    def chance(self) -> float:
        return self._task.chance

    @property
    def ceiling(self) -> float:
        return self._task.ceiling

    def at(self, split: Split, block: int) -> Self:
        view = self.model_copy()
        view._task = self._task.at(split, block)
        return view

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | Sequence[Data]:
        drawn = self._task.draw(num_graphs, rng)
        if isinstance(drawn, Block):
            return self.show(drawn, rng)
        graphs = [graph for one in drawn for graph in self.show(_alone(one), rng).to_data_list()]
        return Block.from_data_list(graphs) or graphs

    def show(self, block: Block, rng: torch.Generator) -> Block:
        """Return what is seen of `block`; `rng` is the stream that it was drawn from."""
        raise NotImplementedError


def _alone(graph: Data) -> Block:
    block = Block.from_data_list([graph])
    assert block is not None  # one graph always shares its topology with itself
    return block

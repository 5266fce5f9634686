"""What published tasks have in common: finite sets, and the flaws that they were published with."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Self

import torch
from pydantic import Field

from suite.rng import stream
from suite.task import Block, Split, Task


class Published(Task):
    """A task on finite sets: which one a block draws from is a field, set by `at`."""

    split: Split = Field("train", description="set to draw from; set by `at`")

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"split": split})

    def content_twin(self) -> Task:
        return self  # content-addressed as they stand


class PublishedBlocks(Published):
    """A published task whose sets of `sizes` graphs are drawn whole, once, by `make`; a block takes any of them."""

    sizes: ClassVar[dict[Split, int]]

    def make(self, num_graphs: int, rng: torch.Generator) -> Block:
        """Return the graphs of one set."""
        raise NotImplementedError

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        known = _set(self)
        chosen = torch.randint(known.num_graphs, (num_graphs,), generator=rng)
        return Block(known.edge_index, known.x[chosen], known.y[chosen], known.readout_index, known.source_index, known.varying)


@lru_cache(maxsize=32)
def _set(task: PublishedBlocks) -> Block:
    return task.make(task.sizes[task.split], stream("published", task.config()))

"""Ring lookup, as published: which value stands on the ring beside the key that the read-out shows?"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from datasets.lookup import looked_up
from datasets.published.base import PublishedBlocks
from datasets.ring import Ring
from datasets.twins import WithAnswer
from suite.task import Block, Split, Task


class PublishedRingLookup(PublishedBlocks):
    """Ring lookup, from the same file as ring transfer, `lrnzgiusti/on-oversquashing:data/ring_transfer.py`, there deprecated.

    A ring of 2 `radius` nodes. All but the first carry a key and a value, x = [key, one-hot | value, one-hot] of as many of
    either as there are such nodes, values in random order; the first shows a random key and is asked for its value. **A key
    always stands on the same node**, distances from 1 to `radius` are mixed, and a set of nodes without edges solves it. No
    split is published: 5,000 graphs for training and 500 each for validation and test, as many as of ring transfer.
    """

    sizes: ClassVar[dict[Split, int]] = {"train": 5000, "validation": 500, "test": 500}
    radius: int = Field(5, ge=2, description="largest distance on the ring of twice as many nodes")

    @property
    def range(self) -> None:
        """Differs from graph to graph: the asked key is 1 to `radius` hops away."""
        return None

    @property
    def title(self) -> str:
        return "ring lookup (published)"

    @property
    def out_channels(self) -> int:
        return 2 * self.radius - 1

    @property
    def token_channels(self) -> slice:
        return slice(self.out_channels, 2 * self.out_channels)

    def make(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, number = Ring().graph(self.radius), self.out_channels
        values = torch.rand(num_graphs, number, generator=rng).argsort(1)
        asked = torch.randint(number, (num_graphs, 1), generator=rng)
        every = torch.eye(number)
        x = torch.zeros(num_graphs, number + 1, 2 * number)
        x[:, 1:] = torch.cat([every.expand(num_graphs, -1, -1), every[values]], dim=2)
        x[:, :1, :number] = every[asked]
        return Block(graph.edge_index, x, values.gather(1, asked), graph.readout_index)

    def witness(self, block: Block) -> Tensor:
        """Look the key up among all other nodes."""
        return looked_up(block.x[:, :, : self.out_channels], block.x[:, :, self.token_channels], block.readout_index)

    def answer_twin(self) -> Task:
        return PublishedRingLookupWithAnswer(**dict(self))


class PublishedRingLookupWithAnswer(WithAnswer, PublishedRingLookup):
    """Published ring lookup, the answer written on the node that is asked."""

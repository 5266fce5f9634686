"""Mean exchange between two cliques, as published."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from datasets.barbell import Barbell
from datasets.published.base import PublishedBlocks
from datasets.twins import WithAnswer
from suite.task import Block, Loss, Split, Task, Topology


class PublishedMeanExchange(PublishedBlocks):
    """Mean exchange on a barbell, BuNN, arXiv:2405.15540; after `jacobbamberger/BuNN`, not every setting of which is known.

    Two cliques of n nodes and one edge between them; x is U(-2 sqrt(3n), 0) in one and U(0, 2 sqrt(3n)) in the other, and every
    node is asked for the mean over the other clique. **The sign of a node tells its side**, so that one who sees no edge knows
    the other mean but for its variance, 1, and a set of nodes without edges knows it wholly. 1,000 graphs for training and 100
    each for validation and test, as in the tasks it is shown beside.
    """

    loss: ClassVar[Loss] = "mse"
    sizes: ClassVar[dict[Split, int]] = {"train": 1000, "validation": 100, "test": 100}
    size: int = Field(10, ge=3, description="nodes of a clique; published are 10, 20 and 50")

    @property
    def title(self) -> str:
        return "mean exchange (published)"

    @property
    def topology(self) -> Topology:
        return Barbell(clique_size=self.size)

    def make(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, n = self.topology.graph(3), self.size
        widest = 2 * (3 * n) ** 0.5
        values = widest * torch.rand(num_graphs, 2, n, generator=rng) * torch.tensor([-1.0, 1.0])[:, None]
        y = values.mean(2).flip(1).repeat_interleave(n, dim=1)
        return Block(graph.edge_index, values.flatten(1).unsqueeze(2), y, torch.arange(2 * n))

    def witness(self, block: Block) -> Tensor:
        """The mean over the nodes of the other sign; a zero, which no draw has, would count for neither."""
        sign = block.x.sign()
        other = (sign.mT == -sign[:, block.readout_index]).to(block.x.dtype)  # [num_graphs, num_readouts, num_nodes]
        return (other @ block.x) / other.sum(2, keepdim=True)

    def answer_twin(self) -> Task:
        return PublishedMeanExchangeWithAnswer(**dict(self))


class PublishedMeanExchangeWithAnswer(WithAnswer, PublishedMeanExchange):
    """Published mean exchange, the answer written on every node."""

"""Graph transfer, as published: source and target exchange their values, and everybody is asked."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import add_self_loops

from datasets.crossed_ring import CrossedRing
from datasets.path import Path
from datasets.published.base import PublishedBlocks
from datasets.published.ring_transfer import crossed_ring_edges
from datasets.ring import Ring
from datasets.twins import WithAnswer
from suite.task import Block, Loss, Split, Task, Topology


class PublishedGraphTransfer(PublishedBlocks):
    """Graph transfer, arXiv:2405.01009; `gravins/SWAN:graph_transfer/graph_transfer_data.py`.

    x = [U(0, 1)], 1 at the source and 0 at the target; y is x with these two exchanged, and all nodes are asked. **The answer is
    a function of a node's own input** (1 becomes 0, 0 becomes 1, all else is copied): no edge is needed, and the two nodes that
    were to show range are two of many. `distance` is the published one: a line of so many nodes, with self-loops, has one hop
    less, the rings as many. 1,000 training graphs and 100 each for validation and test, **which are the same hundred**: the
    published seed is chosen by a split name that never matches. The two rungs of the crossed ring that are ring edges are there
    twice, as the published code emits them.
    """

    version: ClassVar[int] = 2
    loss: ClassVar[Loss] = "mse"
    sizes: ClassVar[dict[Split, int]] = {"train": 1000, "validation": 100, "test": 100}
    family: Literal["line", "ring", "crossed_ring"] = Field("line", description="published topology")
    distance: int = Field(5, ge=3, description="nodes of the line; hops on a ring")
    block: int = Field(0, ge=0, description="number of the block, set by `at`: the sets without training are read in order")

    def at(self, split: Split, block: int) -> Self:
        """Validation is the test, and either is read in one order whatever the stream."""
        return self.model_copy(update={"split": split} if split == "train" else {"split": "test", "block": block})

    @property
    def title(self) -> str:
        return f"graph transfer, {self.family.replace('_', ' ')} of {self.distance} (published)"

    @property
    def irregular(self) -> frozenset[str]:
        of_family = {"line": {"self-loops"}, "ring": set(), "crossed_ring": {"duplicate edges"}}[self.family]
        return frozenset({"validation is test"} | of_family)

    @property
    def chance(self) -> float:
        """The variance of y: 1/12 at nodes that copy, 1/4 at the two that do not."""
        n = int(self._graph().num_nodes or 0)
        return ((n - 2) / 12 + 2 / 4) / n

    def make(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph = self._graph()
        ends, every = [int(graph.readout_index), int(graph.source_index)], torch.arange(int(graph.num_nodes or 0))
        values = torch.rand(num_graphs, every.numel(), generator=rng)
        values[:, ends[0]], values[:, ends[1]] = 0, 1
        y = values.clone()
        y[:, ends] = values[:, ends[::-1]]
        edge_index: Tensor = graph.edge_index
        if self.family == "line":
            edge_index = add_self_loops(edge_index)[0]
        elif self.family == "crossed_ring":
            edge_index = crossed_ring_edges(edge_index, self.distance)
        return Block(edge_index, values.unsqueeze(2), y, every)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        if self.split == "train":
            return super().draw(num_graphs, rng)
        return super().draw(num_graphs, torch.Generator().manual_seed(self.block))

    def witness(self, block: Block) -> Tensor:
        """Answer from a node's own input alone."""
        own = block.x[:, block.readout_index]
        return torch.where((own == 0) | (own == 1), 1 - own, own)

    def answer_twin(self) -> Task:
        return PublishedGraphTransferWithAnswer(**dict(self))

    def _graph(self) -> Data:
        topologies: dict[str, Topology] = {"line": Path(tail=0), "ring": Ring(), "crossed_ring": CrossedRing()}
        return topologies[self.family].graph(self.distance - (self.family == "line"))


class PublishedGraphTransferWithAnswer(WithAnswer, PublishedGraphTransfer):
    """Published graph transfer, the answer written on every node."""

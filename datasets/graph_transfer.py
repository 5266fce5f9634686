"""Graph transfer: two flagged nodes exchange their values.

After arXiv:2405.01009. Different here: both values are N(0, 1), so that nothing of the answer stands on the node itself, all
other nodes carry values too, only the two are asked, and splits differ.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from datasets.places import one_pair
from datasets.ring import Ring
from datasets.topologies import TopologyField
from datasets.twins import WithAnswer
from suite.task import Block, Loss, Task


class GraphTransfer(Task):
    """x = [value, N(0, 1) | flag of the two ends]; each end is asked for the value of the other. Guessing leaves the variance, 1.

    The flag is content: a set of nodes without edges solves it. Raises ValueError where a topology asks at several nodes.
    """

    loss: ClassVar[Loss] = "mse"
    topology: TopologyField = Ring()
    hops: int = Field(5, ge=1, description="distance between the two")

    @model_validator(mode="after")
    def _asks_at_one_pair(self) -> Self:
        one_pair(self.topology, self.hops, "graph transfer")
        return self

    @property
    def title(self) -> str:
        return "graph transfer"

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph = self.topology.graph(self.hops)
        ends = torch.cat([graph.readout_index, graph.source_index])
        values = torch.randn(num_graphs, int(graph.num_nodes or 0), generator=rng)
        flags = torch.zeros_like(values).index_fill_(1, ends, 1)
        return Block(graph.edge_index, torch.stack([values, flags], 2), values[:, ends.flip(0)], ends, ends.flip(0))

    def witness(self, block: Block) -> Tensor:
        """What the two have together, less one's own."""
        flagged = block.x[:, :, :1] * block.x[:, :, 1:]
        return flagged.sum(1, keepdim=True) - flagged[:, block.readout_index]

    def answer_twin(self) -> Task:
        return GraphTransferWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return self


class GraphTransferWithAnswer(WithAnswer, GraphTransfer):
    """Graph transfer, the answer written on both ends."""

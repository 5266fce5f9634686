"""OwnToken: every node is asked for its own class. Nothing has to travel, so what is lost is lost to smoothing.

The answer is local by design (a graph-blind model must reach the ceiling); asked of a deep model it shows whether the
layers leave nodes distinguishable.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from datasets.noise import NoiseField, noise_in_title, with_noise
from datasets.places import has_size
from datasets.ring import Ring
from datasets.topologies import TopologyField
from suite.task import Block, Task


class OwnToken(Task):
    """x = class, one-hot; read at all nodes, each its own source. Guessing is right once in `num_classes`."""

    topology: TopologyField = Ring()
    size: int = Field(5, description="the `hops` the topology is built with, not the task's, which are 0")
    num_classes: int = Field(5, ge=2, description="classes of a token")
    noise: NoiseField = 0.0

    @model_validator(mode="after")
    def _topology_has_that_size(self) -> Self:
        has_size(self.topology, self.size)
        return self

    @property
    def title(self) -> str:
        return f"own token{noise_in_title(self.noise)}"

    @property
    def range(self) -> int:
        return 0

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph = self.topology.graph(self.size)
        every = torch.arange(int(graph.num_nodes or 0))
        y = torch.randint(self.num_classes, (num_graphs, every.numel()), generator=rng)
        x = torch.zeros(*y.shape, self.num_classes).scatter_(2, y.unsqueeze(2), 1)
        return Block(graph.edge_index, with_noise(x, self.noise, rng), y, every, every)

    def witness(self, block: Block) -> Tensor:
        """Read it."""
        return block.x[:, block.readout_index]

    def answer_twin(self) -> Task:
        return self

    def content_twin(self) -> Task:
        return self

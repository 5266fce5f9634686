"""One-radius and two-radius lookup, as published: many values behind one node, at one hop or two."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from datasets.lookup import looked_up
from datasets.published.base import PublishedBlocks
from datasets.radius import radius_edges
from datasets.twins import WithAnswer
from suite.task import Block, Split, Task


class PublishedTwoRadius(PublishedBlocks):
    """Two-radius and one-radius, arXiv:2511.20406; `YakovM93/Short-Range-Oversquashing:bottleneck/data_generate`.

    x = [id, one-hot of `load + centres` | label, one-hot of 10, or of 11 at 1 hop]. At 2 hops `load` nodes with an id and a label
    are joined to all of `centres` nodes, and these to as many nodes that have the same ids, in another order: each is asked for
    the label of its id. Centres have ids of their own, and **they and all who are asked carry class 9 for want of a label**, as a
    tenth of the labelled do. At 1 hop a centre with the id of a leaf is asked; its label is an 11th class, and one column of the
    ids stays empty. 7,000 graphs for training, 700 each for validation and test. Ids are content, so that a set of nodes without
    edges solves it.

    Without `centres` there is no edge at all: the published control, for models that need none.
    """

    version: ClassVar[int] = 2
    num_classes: ClassVar[int] = 10
    sizes: ClassVar[dict[Split, int]] = {"train": 7000, "validation": 700, "test": 700}
    hops: int = Field(2, ge=1, le=2, description="2: two-radius; 1: one-radius")
    load: int = Field(8, ge=2, description="labels that have to pass the centres")
    centres: int = Field(1, ge=0, description="nodes that they pass; 1 at one hop; 0: no edges, the published control")

    @model_validator(mode="after")
    def _one_hop_has_one_centre(self) -> Self:
        radius_edges(self.hops, self.load, self.centres)
        return self

    @property
    def title(self) -> str:
        return f"{'one' if self.hops == 1 else 'two'}-radius{'' if self.centres else ', no edges'} (published)"

    @property
    def range(self) -> int | None:
        return self.hops if self.centres else None

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset() if self.centres else frozenset({"disconnected"})

    @property
    def token_channels(self) -> slice:
        return slice(self.load + self.centres, self.load + self.centres + self.num_classes)

    def make(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph = radius_edges(self.hops, self.load, self.centres)
        ids = torch.eye(self.load)[torch.rand(num_graphs, self.load, generator=rng).argsort(1)]
        asked = torch.rand(num_graphs, self.load, generator=rng).argsort(1)[:, : graph.asked.numel()]
        labels = torch.randint(self.num_classes, (num_graphs, self.load), generator=rng)
        centre = torch.arange(self.load, self.load + self.centres)
        x = torch.zeros(num_graphs, graph.num_nodes, self.token_channels.stop + (self.hops == 1))
        x[:, graph.labelled, : self.load] = ids
        x[:, graph.labelled, self.token_channels] = torch.eye(self.num_classes)[labels]
        x[:, centre, centre] = 1  # ids, which at one hop the one that is asked replaces
        x[:, centre, -1] = 1
        x[:, graph.asked] = 0
        x[:, graph.asked, : self.load] = ids.gather(1, asked.unsqueeze(2).expand(-1, -1, self.load))
        x[:, graph.asked, -1] = 1
        return Block(graph.edge_index, x, labels.gather(1, asked), graph.asked, graph.labelled)

    def witness(self, block: Block) -> Tensor:
        """Look each id up among all other nodes."""
        return looked_up(block.x[:, :, : self.load], block.x[:, :, self.token_channels], block.readout_index)

    def answer_twin(self) -> Task:
        return PublishedTwoRadiusWithAnswer(**dict(self))


class PublishedTwoRadiusWithAnswer(WithAnswer, PublishedTwoRadius):
    """Published two-radius, the answer written on every node that is asked."""

"""Mixed transfer: the read-out says how far away it wants the class from; a different distance in every sample.

`Transfer` by position asks at one distance, which a model may learn by heart. Here it is told, so that one model can be asked at
distances that it was never trained on: `Extrapolated`, or a study's `train = { hops = 4 }`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.utils import degree

from datasets.chance import commonest_share
from datasets.path import Path
from datasets.places import one_pair, places
from datasets.topologies import TopologyField
from datasets.twins import WithAnswer, with_columns
from suite.hops import hop_distance
from suite.task import Block, Task, Topology


class MixedTransfer(Task):
    """x = [class, one-hot | flag | distance asked for, one-hot of `max_hops`, at the read-out | read-out flag].

    Every node but the read-out carries a class; one node at each of the distances `least` ... `hops`, any of those there
    of one degree, carries a flag, and y is the class of the flagged node at the distance asked for, uniform among them. A set of
    nodes and their degrees knows all flagged classes, and `chance` is the share of the commonest.
    """

    topology: TopologyField = Path(tail=0)
    least: int = Field(1, ge=1, description="smallest distance asked for")
    hops: int = Field(5, ge=2, description="largest distance asked for")
    size: int = Field(10, ge=2, description="the `hops` the topology is built with")
    max_hops: int = Field(10, ge=2, description="columns for the distance: one model for all that are asked up to there")
    num_classes: int = Field(5, ge=2, description="classes of a token")

    @model_validator(mode="after")
    def _distances_are_there(self) -> Self:
        if not self.least < self.hops <= min(self.max_hops, self.size):
            raise ValueError(
                f"hops: must be > least = {self.least}, <= max_hops = {self.max_hops} and <= size = {self.size}, got {self.hops}"
            )
        for place in places(self.topology):
            if not bool(_one_degree(place, self.size, self.least, self.hops).any()):
                raise ValueError(
                    f"hops: at each of the distances {self.least} ... {self.hops} there must be a node of one degree,"
                    f" or degrees tell which flag is how far; this {self.topology.kind} of size {self.size} has none: a larger"
                    " size, fewer hops, or a larger least may"
                )
        return self

    @property
    def range(self) -> None:
        """Differs from sample to sample."""
        return None

    @property
    def title(self) -> str:
        return f"mixed transfer ({self.least} to {self.hops} hops)"

    @property
    def chance(self) -> float:
        return commonest_share(self.hops - self.least + 1, self.num_classes)

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        layout, asked = _layout(self.topology, self.size), torch.arange(self.least, self.hops + 1)
        graph, readout = torch.arange(num_graphs).unsqueeze(1), layout.readout_index
        distance = layout.distance.where(_one_degree(self.topology, self.size, self.least, self.hops), -1)
        classes = torch.randint(self.num_classes, (num_graphs, layout.distance.numel()), generator=rng)
        order = torch.rand(num_graphs, layout.distance.numel(), generator=rng)
        flagged = torch.stack([order.masked_fill(distance != hop, -1).argmax(1) for hop in asked.tolist()], dim=1)
        wanted = torch.randint(asked.numel(), (num_graphs, 1), generator=rng)
        x = torch.zeros(num_graphs, layout.distance.numel(), self.num_classes + self.max_hops + 2)
        x.scatter_(2, classes.unsqueeze(2), 1)
        x[:, readout] = 0
        x[graph, flagged, self.num_classes] = 1
        x[graph, readout, self.num_classes + asked[wanted]] = 1
        x[:, readout, -1] = 1
        y = classes.gather(1, flagged.gather(1, wanted))
        return Block(layout.edge_index, x, y, readout)

    def witness(self, block: Block) -> Tensor:
        """The class of the flagged node at the distance asked for, by breadth-first search."""
        distance = hop_distance(block.edge_index, block.readout_index, block.num_nodes)[0].clamp(min=0)
        told = block.x[:, block.readout_index, self.num_classes + 1 : -1]  # [num_graphs, 1, max_hops]
        there = torch.cat([torch.zeros_like(told[..., :1]), told], dim=2)[:, 0]  # by distance, from 0
        there = F.pad(there, (0, max(0, int(distance.max()) - self.max_hops)))[:, distance]
        chosen = there * block.x[:, :, self.num_classes]
        return (chosen.unsqueeze(2) * block.x[:, :, : self.num_classes]).sum(1, keepdim=True)

    def answer_twin(self) -> Task:
        return MixedTransferWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return MixedTransferMarked(**dict(self))


class MixedTransferWithAnswer(WithAnswer, MixedTransfer):
    """Mixed transfer, the answer written on the read-out node."""


class MixedTransferMarked(MixedTransfer):
    """Mixed transfer with a column that marks the node whose class is asked for."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        distance = _layout(self.topology, self.size).distance
        told = block.x[:, block.readout_index, self.num_classes + 1 : -1].argmax(2) + 1  # [num_graphs, 1]
        mark = block.x[:, :, self.num_classes] * (distance == told)
        return with_columns(block, mark.unsqueeze(2))


class _Layout(NamedTuple):
    edge_index: Tensor
    distance: Tensor  # [num_nodes] hops from the read-out
    readout_index: Tensor


@lru_cache(maxsize=256)
def _layout(topology: Topology, size: int) -> _Layout:
    one_pair(topology, size, "mixed transfer")
    graph = topology.graph(size)
    distance = hop_distance(graph.edge_index, graph.readout_index, int(graph.num_nodes or 0))[0]
    return _Layout(graph.edge_index, distance, graph.readout_index)


@lru_cache(maxsize=256)
def _one_degree(topology: Topology, size: int, least: int, hops: int) -> Tensor:
    """Return which nodes have the commonest degree of those that occur at all distances `least` ... `hops`: [num_nodes] bool."""
    layout, shells = _layout(topology, size), range(least, hops + 1)
    degrees = degree(layout.edge_index[0], layout.distance.numel()).long()
    everywhere = set.intersection(*(set(degrees[layout.distance == hop].tolist()) for hop in shells))
    asked = (layout.distance >= least) & (layout.distance <= hops)
    commonest = max(everywhere, key=lambda one: int((asked & (degrees == one)).sum()), default=-1)
    eligible: Tensor = asked & (degrees == commonest)
    return eligible

"""Mixed transfer: the read-out says how far away it wants the class from; a different distance in every sample.

`Transfer` by position asks at one distance, which a model may learn by heart. Here it is told, so that one model can be asked at
distances that it was never trained on: `Extrapolated`, or a study's `train = { hops = 4 }`. Asked at one of the distances alone,
`asked = 3, train = { asked = "none" }`, it shows what a model trained on all of them scores by distance.

By content it is the ring lookup of `lrnzgiusti/on-oversquashing:data/ring_transfer.py`. Different here: keys stand on other nodes
in every sample (there each always on its own), classes are iid (there a permutation), how many keys there are and how far are
knobs, on any topology, and the distance is told. The published form is `datasets.published.PublishedRingLookup`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.utils import degree

from datasets.chance import commonest_share
from datasets.lookup import looked_up
from datasets.noise import NoiseField, noise_in_title, with_noise
from datasets.path import Path
from datasets.places import one_pair, places
from datasets.topologies import TopologyField
from datasets.twins import WithAnswer, with_columns
from suite.hops import hop_distance
from suite.task import Block, Task, Topology


class MixedTransfer(Task):
    """x = [class, one-hot | flag, or key, one-hot of `max_hops` | distance asked for, as many, at the read-out | read-out flag].

    Every node but the read-out carries a class; one node at each of the distances `least` ... `hops`, any of those there
    of one degree, is marked, and y is the class of the marked node at the distance asked for, uniform among them, or `asked`.

    By `position` the mark is a flag: a set of nodes and their degrees knows all flagged classes, and `chance` is the share of the
    commonest. By `content` it is a key of its own, drawn afresh, and the read-out shows the one that is wanted: a set of nodes
    without edges solves it.
    """

    topology: TopologyField = Path(tail=0)
    addressing: Literal["position", "content"] = Field("position", description="how the node asked for is told from others")
    least: int = Field(1, ge=1, description="smallest distance asked for")
    hops: int = Field(5, ge=2, description="largest distance asked for")
    asked: int | None = Field(None, ge=1, description="the one distance that is asked for; none: any of them")
    size: int = Field(10, ge=2, description="the `hops` the topology is built with")
    max_hops: int = Field(10, ge=2, description="columns for the distance: one model for all that are asked up to there")
    num_classes: int = Field(5, ge=2, description="classes of a token")
    noise: NoiseField = 0.0

    @model_validator(mode="after")
    def _distances_are_there(self) -> Self:
        if not self.least < self.hops <= min(self.max_hops, self.size):
            raise ValueError(
                f"hops: must be > least = {self.least}, <= max_hops = {self.max_hops} and <= size = {self.size}, got {self.hops}"
            )
        if self.asked is not None and not self.least <= self.asked <= self.hops:
            raise ValueError(f"asked: must be >= least = {self.least} and <= hops = {self.hops}, got {self.asked}")
        for place in places(self.topology):
            if not bool(_one_degree(place, self.size, self.least, self.hops).any()):
                raise ValueError(
                    f"hops: at each of the distances {self.least} ... {self.hops} there must be a node of one degree,"
                    f" or degrees tell which flag is how far; this {self.topology.kind} of size {self.size} has none: a larger"
                    " size, fewer hops, or a larger least may"
                )
        return self

    @property
    def range(self) -> int | None:
        """Differs from sample to sample, unless one distance alone is asked for."""
        return self.asked

    @property
    def title(self) -> str:
        by = "by key, " if self.addressing == "content" else ""
        return f"mixed transfer ({by}{self.least} to {self.hops} hops{noise_in_title(self.noise)})"

    @property
    def chance(self) -> float:
        if self.addressing == "content":
            return 1 / self.num_classes
        return commonest_share(self.hops - self.least + 1, self.num_classes)

    @property
    def near_chance(self) -> float:
        """What lies nearer is independent of the answer, whose classes are alike."""
        return 1 / self.out_channels

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        layout, hops = _layout(self.topology, self.size), torch.arange(self.least, self.hops + 1)
        graph, readout = torch.arange(num_graphs).unsqueeze(1), layout.readout_index
        distance = layout.distance.where(_one_degree(self.topology, self.size, self.least, self.hops), -1)
        classes = torch.randint(self.num_classes, (num_graphs, layout.distance.numel()), generator=rng)
        order = torch.rand(num_graphs, layout.distance.numel(), generator=rng)
        flagged = torch.stack([order.masked_fill(distance != hop, -1).argmax(1) for hop in hops.tolist()], dim=1)
        wanted = torch.randint(hops.numel(), (num_graphs, 1), generator=rng)
        wanted = wanted if self.asked is None else torch.full_like(wanted, self.asked - self.least)
        x = torch.zeros(num_graphs, layout.distance.numel(), self._told.stop + 1)
        x.scatter_(2, classes.unsqueeze(2), 1)
        x[:, readout] = 0
        keys = torch.zeros_like(flagged)
        if self.addressing == "content":
            keys = torch.rand(num_graphs, self.max_hops, generator=rng).argsort(1)[:, : hops.numel()]
            x[graph, readout, self.num_classes + keys.gather(1, wanted)] = 1
        x[graph, flagged, self.num_classes + keys] = 1
        x[graph, readout, self._told.start + hops[wanted] - 1] = 1
        x[:, readout, -1] = 1
        x[:, :, self.token_channels] = with_noise(x[:, :, self.token_channels], self.noise, rng)
        y = classes.gather(1, flagged.gather(1, wanted))
        source = None if self.asked is None else (distance == self.asked).nonzero().flatten()  # each of them may hold the answer
        return Block(layout.edge_index, x, y, readout, source)

    def witness(self, block: Block) -> Tensor:
        """The class of the flagged node at the distance asked for, by breadth-first search; by content, of the wanted key."""
        tokens, marks = block.x[:, :, : self.num_classes], block.x[:, :, self.num_classes : self._told.start]
        if self.addressing == "content":
            return looked_up(marks, tokens, block.readout_index)
        distance = hop_distance(block.edge_index, block.readout_index, block.num_nodes)[0].clamp(min=0)
        told = block.x[:, block.readout_index, self._told]  # [num_graphs, 1, max_hops]
        there = torch.cat([torch.zeros_like(told[..., :1]), told], dim=2)[:, 0]  # by distance, from 0
        there = F.pad(there, (0, max(0, int(distance.max()) - self.max_hops)))[:, distance]
        chosen = there.unsqueeze(2) * marks
        return (chosen * tokens).sum(1, keepdim=True)

    def answer_twin(self) -> Task:
        return MixedTransferWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return self if self.addressing == "content" else MixedTransferMarked(**dict(self))

    @property
    def _told(self) -> slice:
        """The columns of x that say at the read-out how far away it asks."""
        start = self.num_classes + (1 if self.addressing == "position" else self.max_hops)
        return slice(start, start + self.max_hops)


class MixedTransferWithAnswer(WithAnswer, MixedTransfer):
    """Mixed transfer, the answer written on the read-out node."""


class MixedTransferMarked(MixedTransfer):
    """Mixed transfer with a column that marks the node whose class is asked for."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        distance = _layout(self.topology, self.size).distance
        told = block.x[:, block.readout_index, self._told].argmax(2) + 1  # [num_graphs, 1]
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

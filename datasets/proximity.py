"""Proximity: are more than so many blue nodes within `hops` of the read-out? Counting in a ball of exactly known radius.

After the h-proximity tasks of SP-MPNN (Abboud, Dimitrov and Ceylan, 2022, arXiv:2206.01003). Different here: one node asks, so
that the answer is at one distance; as many nodes are blue under both answers; what decides lies at that distance, or beyond it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.utils import degree

from datasets.noise import NoiseField, noise_in_title, with_noise
from datasets.path import Path
from datasets.places import one_pair
from datasets.topologies import TopologyField
from datasets.twins import WithAnswer, with_columns
from suite.hops import hop_distance
from suite.task import Block, Task, Topology


class Proximity(Task):
    """x = [colour, one-hot, the first is blue | read-out flag]; y = 1 where more than `num_near` nodes within `hops` are blue.

    `num_near` nodes within `hops` are blue, chosen at random, and one more, which decides: `hops` away for yes, farther for no,
    among nodes of the same degree. Nearer than `hops` graphs look alike under both answers, and as a set they do: guessing is
    right half of the time. All other nodes but the read-out have one of the other colours.

    Raises ValueError where no node is farther than `hops`, at a degree that occurs there, or too few are within.
    """

    num_classes: ClassVar[int] = 2
    topology: TopologyField = Path(tail=16)
    hops: int = Field(5, ge=1, description="radius of the ball in which blue nodes are counted")
    num_near: int = Field(2, ge=0, description="blue nodes within, beside the one that decides")
    num_colours: int = Field(5, ge=2, description="colours, blue among them")
    noise: NoiseField = 0.0

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        one_pair(self.topology, self.hops, "Proximity")
        places = _places(self.topology, self.hops)
        if not places.beyond.numel():
            raise ValueError(
                f"topology: must go on beyond {self.hops} hops with nodes of a degree that occurs there, and this"
                f" {self.topology.kind} does not: a longer `tail`, or fewer hops"
            )
        if self.num_near > places.within.numel() - 1:
            raise ValueError(
                f"num_near: must be < {places.within.numel()}, the nodes within {self.hops} hops, got {self.num_near}"
            )
        return self

    @property
    def title(self) -> str:
        return f"proximity ({self.num_near} near{noise_in_title(self.noise)})"

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_colours)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, places = self.topology.graph(self.hops), _places(self.topology, self.hops)
        every, n = torch.arange(num_graphs), int(graph.num_nodes or 0)
        colour = 1 + torch.randint(self.num_colours - 1, (num_graphs, n), generator=rng)
        y = torch.randint(2, (num_graphs,), generator=rng)
        at = places.at[torch.randint(places.at.numel(), (num_graphs,), generator=rng)]
        beyond = places.beyond[torch.randint(places.beyond.numel(), (num_graphs,), generator=rng)]
        order = torch.rand(num_graphs, places.within.numel(), generator=rng)
        order[places.within == at[:, None]] = 2.0  # kept free under both answers: who sees less cannot tell
        colour[every[:, None], places.within[order.argsort(1)[:, : self.num_near]]] = 0
        colour[every, torch.where(y == 1, at, beyond)] = 0
        x = torch.zeros(num_graphs, n, self.num_colours + 1).scatter_(2, colour.unsqueeze(2), 1)
        x[:, graph.readout_index, : self.num_colours] = 0
        x[:, graph.readout_index, -1] = 1
        x[:, :, self.token_channels] = with_noise(x[:, :, self.token_channels], self.noise, rng)
        return Block(graph.edge_index, x, y[:, None], graph.readout_index, graph.source_index)

    def witness(self, block: Block) -> Tensor:
        """Search breadth first and count."""
        within = hop_distance(block.edge_index, block.readout_index, block.num_nodes) <= self.hops  # [1, num_nodes]
        more = (block.x[:, :, 0].round() * within).sum(1, keepdim=True) - self.num_near
        return torch.stack([1 - more, more], dim=2)

    def answer_twin(self) -> Task:
        return ProximityWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return ProximityMarked(**dict(self))


class ProximityWithAnswer(WithAnswer, Proximity):
    """Proximity, the answer written on the read-out node."""


class ProximityMarked(Proximity):
    """Proximity, the nodes within the ball marked."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        columns = torch.zeros(num_graphs, block.num_nodes, 1)
        columns[:, _places(self.topology, self.hops).within] = 1
        return with_columns(block, columns)


class _Places(NamedTuple):
    within: Tensor  # nodes 1 ... hops away
    at: Tensor  # nodes hops away
    beyond: Tensor  # farther ones, of a degree that occurs at hops


@lru_cache(maxsize=256)
def _places(topology: Topology, hops: int) -> _Places:
    graph = topology.graph(hops)
    n = int(graph.num_nodes or 0)
    distance, degrees = hop_distance(graph.edge_index, graph.readout_index, n)[0], degree(graph.edge_index[0], n, torch.long)
    alike = degrees == degrees[graph.source_index]  # that of one node: else degrees would tell where it may be
    at = ((distance == hops) & alike).nonzero().flatten()
    return _Places(((distance > 0) & (distance <= hops)).nonzero().flatten(), at, ((distance > hops) & alike).nonzero().flatten())

"""Colour islands: are the red nodes one island, or two?

After HGNet (arXiv:2107.07432). Different here: as many nodes are red under both answers, answers are balanced, islands grow by
one rule, and any topology carries them, real networks too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree

from datasets.places import has_size
from datasets.topologies import TopologyField
from datasets.torus import Torus
from datasets.twins import SampledWithAnswer, told_elsewhere
from suite.task import Block, Task, Topology

TRIES = 200  # of growing two islands that do not touch


class ColourIslands(Task):
    """x = [red | U(0, 1)]; every node is asked whether the red ones are connected (y = 1) or two islands.

    A number of nodes are red. Two islands of half of them grow each from a random node, one neighbour at a time, and do not
    touch; a single one grows to the whole number. Where degrees differ, those of red nodes may tell a set model a little: ask for
    the certificate; on a torus they are all the same. Raises ValueError where two such islands find no room.
    """

    num_classes: ClassVar[int] = 2
    topology: TopologyField = Torus()
    size: int = Field(8, description="the `hops` the topology is built with")
    num_red: int = Field(12, ge=2, multiple_of=2, description="red nodes")

    @model_validator(mode="after")
    def _islands_find_room(self) -> Self:
        has_size(self.topology, self.size)
        self._islands(True, torch.Generator().manual_seed(0))
        return self

    @property
    def range(self) -> None:
        """Differs from draw to draw."""
        return None

    @property
    def title(self) -> str:
        return "colour islands"

    def sample(self, rng: torch.Generator) -> Data:
        graph = self.topology.graph(self.size)
        n, two = int(graph.num_nodes or 0), bool(torch.randint(2, (), generator=rng))
        red = torch.zeros(n).index_fill_(0, self._islands(two, rng), 1)
        x, every = torch.stack([red, torch.rand(n, generator=rng)], 1), torch.arange(n)
        return Data(x=x, edge_index=graph.edge_index, y=torch.full((n,), int(not two)), readout_index=every)

    def witness(self, block: Block) -> Tensor:
        """Flood the red nodes from the first one: are all reached?"""
        begin, end = block.edge_index
        red = block.x[:, :, 0]
        first = (red.cumsum(1) == 1) & (red == 1)
        flood = first.to(red.dtype)
        for _ in range(self.num_red):
            flood = flood.index_add(1, end, flood[:, begin]).clamp(max=1) * red
        one = (flood.sum(1) == red.sum(1)).to(red.dtype)
        return torch.stack([1 - one, one], 1)[:, None].expand(-1, block.readout_index.numel(), -1)

    def answer_twin(self) -> Task:
        return ColourIslandsWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return ColourIslandsTold(**dict(self))

    def _islands(self, two: bool, rng: torch.Generator) -> Tensor:
        """Return the red nodes: [num_red]."""
        beside = _neighbours(self.topology, self.size)
        for _ in range(TRIES):
            free = set(range(len(beside)))
            first = _grown(beside, free, self.num_red // 2 if two else self.num_red, rng)
            free -= first | {node for member in first for node in beside[member]}
            second = _grown(beside, free, self.num_red - len(first), rng)
            if len(first) + len(second) == self.num_red:
                return torch.tensor(sorted(first | second))
        raise ValueError(
            f"num_red: two islands must find room on a {self.topology.kind} of {len(beside)} nodes, and did not in {TRIES} tries:"
            f" fewer, or a larger `size`; got {self.num_red}"
        )


class ColourIslandsWithAnswer(SampledWithAnswer, ColourIslands):
    """Colour islands, the answer written on every node."""


class ColourIslandsTold(ColourIslands):
    """Colour islands of which one node is asked, while another carries the answer."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        order = torch.randperm(graph.num_nodes, generator=rng)
        return told_elsewhere(self, graph, order[:1], order[1:2])


@lru_cache(maxsize=64)
def _neighbours(topology: Topology, size: int) -> list[list[int]]:
    graph = topology.graph(size)
    order = graph.edge_index[:, graph.edge_index[0].argsort(stable=True)]
    counts = degree(order[0], graph.num_nodes, torch.long).tolist()
    return [part.tolist() for part in torch.split(order[1], counts)]


def _grown(beside: list[list[int]], free: set[int], size: int, rng: torch.Generator) -> set[int]:
    """Return a connected set of `size` nodes of `free`, or fewer where it gets stuck; none for size 0."""
    if not free or not size:
        return set()
    pool = sorted(free)
    island = [pool[int(torch.randint(len(pool), (1,), generator=rng))]]
    shore = [node for node in beside[island[0]] if node in free]
    while shore and len(island) < size:
        node = shore.pop(int(torch.randint(len(shore), (1,), generator=rng)))
        if node not in island:
            island.append(node)
            shore += [other for other in beside[node] if other in free and other not in island]
    return set(island)

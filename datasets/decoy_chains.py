r"""Decoy chains: does any of several ways from the source arrive, or is there a hole in each?

    v - o - o - o - u - t - t     hops = 3, num_chains = 1: two ways, the last node of each at hops 3, then the
      \ o - o - x /               source u, and a tail. x is a hole: the way above is free, y = 1

After GLoRa (`DongzhuoranZhou/GLoRa`). Different here: both answers have as many holes, fills have one law, all ways are equally
long, and with `hole = "far"` nothing nearer than `hops` tells anything.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch_geometric.utils import to_undirected

from datasets.twins import WithAnswer, with_columns
from suite.task import Block, Task


class DecoyChains(Task):
    """x = [fill, N(0, 1) | hole | source flag | read-out flag], y = 1 where a way without a hole leads from the source.

    `num_chains` + 1 ways of `hops` nodes. Where y = 0 each has a hole; where y = 1 one of them, any, has none and there is a
    hole on the tail behind the source instead, so that the number of holes and their degrees tell nothing. With `far` a hole is
    on the last node of its way, next to the source; else anywhere on it, and a smaller ball tells something (`oracle`).
    """

    num_classes: ClassVar[int] = 2
    hops: int = Field(5, ge=1, description="nodes of a way; the last one, which decides, is so far away")
    num_chains: int = Field(3, ge=1, description="ways beside the one that may be free")
    hole: Literal["far", "anywhere"] = Field("far", description="where on a way its hole may be")
    directed: bool = Field(False, description="edges lead towards the read-out only")
    tail: int = Field(2, ge=2, le=4096, description="nodes behind the source: padding that shortens nothing")

    @property
    def title(self) -> str:
        return f"decoy chains ({self.num_chains}{'' if self.hole == 'far' else ', holes anywhere'})"

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"directed"} if self.directed else ())

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph = _graph(self.hops, self.num_chains + 1, self.directed, self.tail)
        ways, hops = graph.ways.shape
        y = torch.randint(2, (num_graphs, 1), generator=rng)
        place = torch.full((num_graphs, ways), hops - 1)
        if self.hole == "anywhere":
            place = torch.randint(hops, (num_graphs, ways), generator=rng)
        holes = graph.ways[torch.arange(ways), place]  # [num_graphs, ways]
        free = torch.randint(ways, (num_graphs, 1), generator=rng)
        holes = torch.where((y == 1) & (torch.arange(ways) == free), graph.tail, holes)
        x = torch.zeros(num_graphs, graph.num_nodes, 4)
        x[:, :, 0] = torch.randn(num_graphs, graph.num_nodes, generator=rng)
        x[:, :, 1].scatter_(1, holes, 1)
        x[:, graph.source, 2] = 1
        x[:, 0, 3] = 1
        return Block(graph.edge_index, x, y, torch.tensor([0]), graph.ways[:, -1])

    def witness(self, block: Block) -> Tensor:
        """Go on from the source, edge by edge, wherever there is no hole."""
        begin, end = block.edge_index
        reached, open_ = block.x[:, :, 2], 1 - block.x[:, :, 1]
        for _ in range(self.hops + 1):
            reached = reached.index_add(1, end, reached[:, begin]).clamp(max=1) * open_
        arrived = reached[:, block.readout_index]
        return torch.stack([1 - arrived, arrived], 2)

    def oracle(self, radius: int) -> float:
        """Return the accuracy of Bayes' rule on the nodes within `radius` hops, radius >= 0.

        It counts the ways on which no hole is seen. Where y = 0 each way hides its hole, independently; where y = 1 one is free.
        """
        hidden = float(radius < self.hops) if self.hole == "far" else max(0.0, 1 - radius / self.hops)  # chance of a hole

        def seen_free(num_ways: int) -> list[float]:
            """Return the chances that 0, 1, ... of the ways, each with a hole, show none."""
            return [comb(num_ways, k) * hidden**k * (1 - hidden) ** (num_ways - k) for k in range(num_ways + 1)]

        return sum(map(max, seen_free(self.num_chains + 1), [0.0, *seen_free(self.num_chains)])) / 2

    def answer_twin(self) -> Task:
        return DecoyChainsWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return DecoyChainsTold(**dict(self))


class DecoyChainsWithAnswer(WithAnswer, DecoyChains):
    """Decoy chains, the answer written on the read-out node."""


class DecoyChainsTold(DecoyChains):
    """Decoy chains with the answer written on the last node of every way."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        told = F.one_hot(block.y, 2).to(block.x)  # [num_graphs, 1, 2]
        column = block.x.new_zeros(num_graphs, block.num_nodes, 2)
        column[:, block.source_index] = told
        return with_columns(block, column)


class _Graph(NamedTuple):
    edge_index: Tensor
    num_nodes: int
    ways: Tensor  # [num_ways, hops] nodes, from the read-out on
    source: int
    tail: int  # the first node behind the source, of two edges


@lru_cache(maxsize=256)
def _graph(hops: int, num_ways: int, directed: bool, num_behind: int) -> _Graph:
    ways = 1 + torch.arange(num_ways * hops).view(num_ways, hops)
    source = 1 + num_ways * hops
    whole = torch.cat([torch.zeros(num_ways, 1, dtype=torch.long), ways, torch.full((num_ways, 1), source)], dim=1)
    inward = torch.stack([whole[:, 1:].flatten(), whole[:, :-1].flatten()])
    behind = source + torch.arange(num_behind + 1)
    tail = torch.stack([behind[1:], behind[:-1]])
    edges = torch.cat([inward, tail], dim=1)
    return _Graph(edges if directed else to_undirected(edges), source + num_behind + 1, ways, source, source + 1)

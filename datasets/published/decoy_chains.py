"""GLoRa as published: a way from the source without a hole, among chains that each have one."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data

from datasets.published.base import Published
from datasets.twins import SampledWithAnswer, told_elsewhere
from suite.rng import stream
from suite.task import Block, Split, Task

SIZES: dict[Split, int] = {"train": 1600, "validation": 200, "test": 200}  # the former half of each has a hole on every way
FILLS = torch.cat([torch.arange(-700, -200), torch.arange(300, 800)]) / 100


class PublishedDecoyChains(Published):
    """GLoRa (Zhou et al., 2025); `DongzhuoranZhou/GLoRa:graphgps/loader/dataset/GLoRa_Generator.py`.

    A directed main path of k edges, k uniform in floor(2 depth / 3) ... depth, from the source to the target, which is asked; 5
    to 10 further chains, each the inside of a path whose k is drawn alike, from a node of the main path or of an earlier chain to
    another, at the ranks it had itself. x = [1 | fill] of the source, [fill | 1] of all others, [fill | 0] of holes; a fill is
    one of -7, -6.99 ... -2.01, 3, 3.01 ... 7.99. Every chain has a hole; y = 1 where the main path, and so any way, has none.
    2,000 graphs: 1,600 / 200 / 200, half of each with y = 1.

    Holes are 2 or 3 more than chains for both answers, but **where y = 0 one is on the main path, and where y = 1 all are on
    chains**: the main path has most of the branches, so that holes by their number of edges tell a set of nodes a part of the
    answer. A logistic regression on these counts is right in .6 to .65 of graphs; the controls of the certificate, which learn
    from 1,600 graphs with fills up to 8, do not find it. Nor are there more holes than nodes on chains, so that at small depths
    a few of y = 1 have one or two less.

    5 to 10 chains are the paper's and the default of the public code; the configuration that comes with it (`R_random: false`)
    makes one. The paper has 10,000 graphs of each depth, the public script 2,000.
    """

    num_classes: ClassVar[int] = 2
    depth: int = Field(5, ge=3, le=15, description="edges of the main path at most, and at least two thirds of it")

    @property
    def title(self) -> str:
        return f"decoy chains to {self.depth} (published)"

    @property
    def range(self) -> None:
        """The main path differs in length from graph to graph, and a chain may be a shorter way."""
        return None

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"directed"})

    def sample(self, rng: torch.Generator) -> Data:
        which = int(torch.randint(SIZES[self.split], (1,), generator=rng))
        drawn = _drawn(self.depth, self.split, which)
        return Data(x=drawn.x, edge_index=drawn.edge_index, y=drawn.y, readout_index=drawn.target, source_index=drawn.source)

    def witness(self, block: Block) -> Tensor:
        """Go on from the source, edge by edge, wherever there is no hole."""
        begin, end = block.edge_index
        reached, open_ = (block.x[:, :, 0] == 1).to(block.x.dtype), (block.x[:, :, 1] != 0).to(block.x.dtype)
        for _ in range(block.num_nodes - 1):
            reached = reached.index_add(1, end, reached[:, begin]).clamp(max=1) * open_
        arrived = reached[:, block.readout_index]
        return torch.stack([1 - arrived, arrived], 2)

    def answer_twin(self) -> Task:
        return PublishedDecoyChainsWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return PublishedDecoyChainsTold(**dict(self))


class PublishedDecoyChainsWithAnswer(SampledWithAnswer, PublishedDecoyChains):
    """Published decoy chains, the answer written on the target."""


class PublishedDecoyChainsTold(PublishedDecoyChains):
    """Published decoy chains, the answer written on the source."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        return told_elsewhere(self, graph, torch.tensor([0]), graph.source_index)


class _Drawn(NamedTuple):
    x: Tensor
    edge_index: Tensor
    y: Tensor
    source: Tensor  # [1]
    target: Tensor  # [1]


@lru_cache(maxsize=8192)
def _drawn(depth: int, split: Split, which: int) -> _Drawn:
    """Return graph number `which` of a split, its nodes in random order."""
    rng, free = stream("published decoy chains", depth, split, which), which >= SIZES[split] // 2
    holes = None
    while holes is None:  # too few nodes are on chains for a hole on the main path as well
        web = _web(depth, rng)
        holes = _holes(web, free, rng)
    n = web.num_nodes
    x = FILLS[torch.randint(len(FILLS), (n, 2), generator=rng)]
    x[0, 0] = 1
    x[1:, 1] = 1
    x[holes, 1] = 0
    place = torch.randperm(n, generator=rng)  # where each node goes
    target = place[web.main - 1]
    return _Drawn(x[place.argsort()], place[torch.tensor(web.edges).T], torch.tensor([int(free)]), place[:1], target[None])


class _Web(NamedTuple):
    """A main path, nodes 0 ... main - 1, and chains, numbered on."""

    main: int
    chains: list[range]
    num_nodes: int
    edges: list[tuple[int, int]]


def _web(depth: int, rng: torch.Generator) -> _Web:
    shortest = 2 * depth // 3
    length = _between(shortest, depth, rng)
    places = [(rank, length) for rank in range(length + 1)]  # of each node, along a path of so many edges
    edges, chains = [(node, node + 1) for node in range(length)], []
    for _ in range(_between(5, 10, rng)):
        own = _between(shortest, depth, rng)
        first, last = sorted(_between(1, own - 1, rng) for _ in range(2))
        begin, end = (_alike(places, rank, own, rng) for rank in (first - 1, last + 1))
        chain = range(len(places), len(places) + last - first + 1)
        edges += itertools.pairwise([begin, *chain, end])
        places += [(rank, own) for rank in range(first, last + 1)]
        chains.append(chain)
    return _Web(length + 1, chains, len(places), edges)


def _alike(places: list[tuple[int, int]], rank: int, own: int, rng: torch.Generator) -> int:
    """Return any of the nodes that are, to the nearest rank, as far along their paths as `rank` is along one of `own` edges."""
    alike = [node for node, (at, length) in enumerate(places) if at == (2 * length * rank + own) // (2 * own)]
    return alike[_between(0, len(alike) - 1, rng)]


def _between(first: int, last: int, rng: torch.Generator) -> int:
    return int(torch.randint(first, last + 1, (), generator=rng))


def _holes(web: _Web, free: bool, rng: torch.Generator) -> list[int] | None:
    """Return the holes, or None where the main path should have one and there would be more than there may be."""

    def some(number: int, nodes: list[int]) -> list[int]:
        return [nodes[place] for place in torch.randperm(len(nodes), generator=rng)[:number].tolist()]

    on_chains = list(range(web.main, web.num_nodes))
    inside = list(range(1, web.main - 1))
    number = min(len(web.chains) + 2 + int(torch.randint(2, (), generator=rng)), len(on_chains))
    holes = [node for chain in web.chains for node in some(1, list(chain))]
    if not free:
        holes += some(1, inside)
    if len(holes) > number:
        return None
    places = on_chains if free else inside + on_chains
    return holes + some(number - len(holes), sorted(set(places) - set(holes)))

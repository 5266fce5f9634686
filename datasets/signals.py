"""Signals: several answers at once from every node asked, no two of which are alike. Can a deep net still tell that many apart?

    node 0  1 1 1        every column is 1 at node 0 and at one more node
    node 1  1 0 0
    node 2  0 1 0        num_signals = 3
    node 3  0 0 1

After Roth and Liebig (2023), arXiv:2308.16800; `roth-andreas/rank_collapse:synthetic/main.py`. Where layers leave node features
that span fewer dimensions than there are signals, some of these answers cannot be given. Nothing has to travel.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from suite.rng import stream
from suite.task import Block, Loss, Task

MAX_DRAWS = 1000  # of graphs, until every node has an edge in and an edge out


class Signals(Task):
    """x [num_nodes, 2 num_signals] ~ N(0, 1), y [num_signals + 1, num_signals] of 0 and 1, asked at the first nodes.

    One directed Erdős–Rényi graph in which every node has an edge in and an edge out; `seed` is another, with other features. As
    published the nodes asked in training are those asked in the test: what counts is whether a net can fit.

    Raises ValueError where fewer nodes are there than asked, or edges are so rare that no graph is found.
    """

    loss: ClassVar[Loss] = "binary_cross_entropy"
    fixed: ClassVar[bool] = True
    num_signals: int = Field(3, ge=2, le=16, description="answers that every node asked gives; one node more is asked")
    num_nodes: int = Field(20, ge=3, le=512, description="of the graph")
    density: float = Field(0.2, gt=0, le=1, description="chance of an edge from one node to another")
    seed: int = Field(0, ge=0, description="which graph and features")

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if self.num_nodes <= self.num_signals:
            raise ValueError(f"num_nodes: must be > num_signals = {self.num_signals}, got {self.num_nodes}")
        _edges(self.num_nodes, self.density, self.seed)
        return self

    @property
    def title(self) -> str:
        return f"{self.num_signals} signals at once"

    @property
    def range(self) -> int:
        """Features name the nodes: nothing has to travel."""
        return 0

    @property
    def out_channels(self) -> int:
        return self.num_signals

    @property
    def chance(self) -> float:
        """Average precision where all nodes look alike: the share of ones, 2 of num_signals + 1."""
        return 2 / (self.num_signals + 1)

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"directed", "disconnected", "training is test"})

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        x = torch.randn(self.num_nodes, 2 * self.num_signals, generator=stream("signals", self.config()))
        asked = torch.arange(self.num_signals + 1)
        y = torch.cat([torch.ones(1, self.num_signals), torch.eye(self.num_signals)])
        edge_index = _edges(self.num_nodes, self.density, self.seed)
        return Block(edge_index, x.expand(num_graphs, -1, -1), y.expand(num_graphs, -1, -1), asked, asked)


@lru_cache(maxsize=64)
def _edges(num_nodes: int, density: float, seed: int) -> Tensor:
    """Return the edges of the first graph drawn in which every node has an edge in and an edge out."""
    rng = stream("signals, graph", num_nodes, density, seed)
    for _ in range(MAX_DRAWS):
        adjacent = (torch.rand(num_nodes, num_nodes, generator=rng) < density).fill_diagonal_(False)
        if bool((adjacent.any(0) & adjacent.any(1)).all()):
            return adjacent.nonzero().T.contiguous()
    raise ValueError(f"density: must be larger for {num_nodes} nodes all to have an edge in and an edge out, got {density}")

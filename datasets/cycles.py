"""Cycles: is the flagged node on my cycle, and is the graph one cycle or two?

    read-out  0 - 1 - 2       6 - 7 - 8
              |       |       |       |        SameCycle, hops = 3
              5 - 4 - 3       11- 10- 9

All nodes have degree 2 and all graphs of one size as many edges, so that neither degrees nor counts tell anything.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Self

import networkx as nx
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx

from datasets.twins import SampledWithAnswer, WithAnswer, with_columns
from suite.hops import hop_distance
from suite.task import Block, Task


class SameCycle(Task):
    """Same cycle: is the flagged node on the read-out's cycle, or on another?

    x = [token, one-hot | flag | read-out flag], y = 1 for yes. Two cycles, the read-out's of 2 * hops nodes. The flag is on the
    read-out's antipode or, half of the time, anywhere on the other cycle; tokens are random, tell nothing and are the same in
    kind at all nodes. Set and (hops - 1)-ball look alike under both answers: guessing is right half of the time, exactly. Flags
    make it solvable by 1-WL, and by propagating the flag.

    Raises ValueError where `num_nodes` leaves fewer than three for the other cycle.
    """

    num_classes: ClassVar[int] = 2
    hops: int = Field(5, ge=2, description="distance to the antipode; its cycle has twice as many nodes")
    num_tokens: int = Field(5, ge=2, description="classes of the tokens that every node but the read-out carries")
    num_nodes: int | None = Field(None, le=4096, description="of both cycles; none: 4 * hops, two of one length")

    @model_validator(mode="after")
    def _other_is_a_cycle(self) -> Self:
        if self._other < 3:
            raise ValueError(f"num_nodes: must be >= 2 * hops + 3 = {2 * self.hops + 3}, got {self.num_nodes}")
        return self

    @property
    def title(self) -> str:
        return "same cycle"

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_tokens)

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected"})

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        size, others = 2 * self.hops, self._other
        edge_index = _cycles(size, others)
        y = torch.randint(2, (num_graphs, 1), generator=rng)
        other = size + torch.randint(others, (num_graphs, 1), generator=rng)
        tokens = torch.randint(self.num_tokens, (num_graphs, size + others), generator=rng)
        x = torch.zeros(num_graphs, size + others, self.num_tokens + 2).scatter_(2, tokens.unsqueeze(2), 1)
        x[:, 0, : self.num_tokens] = 0
        x[torch.arange(num_graphs), torch.where(y == 1, self.hops, other)[:, 0], self.num_tokens] = 1
        x[:, 0, self.num_tokens + 1] = 1
        return Block(edge_index, x, y, torch.tensor([0]), torch.tensor([self.hops]))

    def witness(self, block: Block) -> Tensor:
        """Search breadth first: is the flagged node reached?"""
        reached = hop_distance(block.edge_index, block.readout_index, block.num_nodes) >= 0  # [1, num_nodes]
        yes = (block.x[:, :, self.num_tokens] * reached).sum(1, keepdim=True)
        return torch.stack([1 - yes, yes], dim=2)

    @property
    def _other(self) -> int:
        """Nodes of the cycle that the read-out is not on."""
        return 2 * self.hops if self.num_nodes is None else self.num_nodes - 2 * self.hops

    def answer_twin(self) -> Task:
        return SameCycleWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return SameCycleByContent(**dict(self))


class SameCycleWithAnswer(WithAnswer, SameCycle):
    """Same cycle, the answer written on the read-out node."""


class SameCycleByContent(SameCycle):
    """Same cycle, with a column that marks the antipode: flag and mark on one node say yes."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        mark = block.x.new_zeros(num_graphs, block.num_nodes, 1)
        mark[:, self.hops] = 1
        return with_columns(block, mark)


class CycleOrTwo(Task):
    """One cycle of n nodes (y = 0), or a triangle and a cycle of n - 3 (y = 1)?

    Every node is asked, and x = 1 everywhere; n is uniform in `min_nodes` ... `max_nodes`. After Co-GNN (arXiv:2310.01267), whose
    graph level is asked of every node here. No message-passing model can beat guessing, since 1-WL gives all nodes one colour;
    encodings that break the tie can.
    """

    num_classes: ClassVar[int] = 2
    min_nodes: int = Field(6, ge=6, description="nodes of the smallest graphs")
    max_nodes: int = Field(13, description="nodes of the largest graphs")

    @model_validator(mode="after")
    def _sizes_are_in_order(self) -> Self:
        if self.max_nodes < self.min_nodes:
            raise ValueError(f"max_nodes: must be >= min_nodes = {self.min_nodes}, got {self.max_nodes}")
        return self

    @property
    def title(self) -> str:
        return "one cycle or two"

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected", "few inputs"})

    def sample(self, rng: torch.Generator) -> Data:
        n = int(torch.randint(self.min_nodes, self.max_nodes + 1, (), generator=rng))
        two = bool(torch.randint(2, (), generator=rng))
        every = torch.arange(n)
        edge_index = _cycles(3, n - 3) if two else _cycles(n)
        return Data(x=torch.ones(n, 1), edge_index=edge_index, y=torch.full_like(every, int(two)), readout_index=every)

    def answer_twin(self) -> Task:
        return CycleOrTwoWithAnswer(**dict(self))


class CycleOrTwoWithAnswer(SampledWithAnswer, CycleOrTwo):
    """One cycle or two, the answer written on every node."""


@lru_cache(maxsize=256)
def _cycles(*sizes: int) -> Tensor:
    """Return the edges of disjoint cycles, nodes numbered along each: [2, 2 * sum(sizes)]."""
    index: Tensor = from_networkx(nx.disjoint_union_all([nx.cycle_graph(size) for size in sizes])).edge_index
    return index

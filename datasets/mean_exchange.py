"""Mean exchange: one node is asked for the mean of the far nodes of the other clique.

After the barbell task of BuNN (Bamberger et al., 2024), known here through a secondary text only. Different here:
features are N(0, 1) everywhere (there: their sign tells the side), so that the side is a bit of the input or has to be
found from the structure; nodes that hold a bridge do not count, since they are one hop nearer than the others; one node,
flagged, answers. Three arms:

    Barbell(), side=True    squashed: every message crosses the bridges
    Clique(),  side=True    the same question without a bottleneck; only smoothing can spoil it
    Barbell(), side=False   the sides must be found from the edges
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from torch import Tensor
from torch_geometric.utils import degree

from datasets.barbell import Barbell
from datasets.clique import Clique
from datasets.topologies import read_topology, write_topology
from datasets.twins import WithAnswer
from suite.hops import hop_distance
from suite.task import Block, Loss, Task, Topology


def _two_cliques(value: Any) -> Topology:
    topology = read_topology(value)
    if not isinstance(topology, Barbell | Clique):
        raise ValueError(f"must be a barbell or a clique, got {topology.kind}")
    return topology


class MeanExchange(Task):
    """x = [value | read-out flag | 1 on the nodes asked for, if `side`]; y = their mean value over its sd.

    Asked for are the other clique's nodes that hold no bridge, all of them `hops` away. The sd of the mean of k values is
    1 / sqrt(k), so y has variance 1, and so has the error of predicting a constant.
    """

    version: ClassVar[int] = 2
    loss: ClassVar[Loss] = "mse"
    topology: Annotated[Barbell | Clique, BeforeValidator(_two_cliques), PlainSerializer(write_topology)] = Barbell()
    hops: int = Field(3, description="distance to the far nodes of the other clique; 1 on a clique")
    side: bool = Field(True, description="whether the input says which nodes are asked for")

    @model_validator(mode="after")
    def _sides_can_be_found(self) -> Self:
        self.topology.graph(self.hops)
        if isinstance(self.topology, Clique) and not self.side:
            raise ValueError("side: must be true on a clique, whose edges do not tell its halves apart, got false")
        if not self.side and _unexplained(self.topology, self.hops) <= 0:
            raise ValueError("side: must be true where one node alone is asked for, which its degree tells, got false")
        return self

    @property
    def title(self) -> str:
        return f"mean exchange ({'side told' if self.side else 'side from structure'})"

    @property
    def chance(self) -> float:
        """Mean squared error of guessing: the constant 0 with `side`, else the best guess from values and degrees."""
        return 1.0 if self.side else _unexplained(self.topology, self.hops)

    @property
    def near_chance(self) -> float:
        """The variance of the answer, of which what lies nearer is independent."""
        return 1.0

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, far = self.topology.graph(self.hops), _far_nodes(self.topology, self.hops)
        x = torch.zeros(num_graphs, int(graph.num_nodes or 0), 3 if self.side else 2)
        x[:, :, 0] = torch.randn(x.shape[:2], generator=rng)
        x[:, graph.readout_index, 1] = 1
        if self.side:
            x[:, far, 2] = 1
        y = x[:, far, 0].mean(dim=1, keepdim=True) * len(far) ** 0.5  # [num_graphs, 1]
        return Block(graph.edge_index, x, y, graph.readout_index, far)

    def witness(self, block: Block) -> Tensor:
        """The mean over the nodes that are told, else over those at `hops`."""
        hops = hop_distance(block.edge_index, block.readout_index, block.num_nodes)  # [1, num_nodes]
        other = block.x[:, :, 2] if self.side else (hops == self.hops).to(block.x.dtype)
        total = (other * block.x[:, :, 0]).sum(dim=1)  # the sd of a mean of k values is k^-1/2
        return (total / other.sum(dim=1).sqrt()).view(-1, 1, 1)

    def answer_twin(self) -> Task:
        return MeanExchangeWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return self if self.side else self.model_copy(update={"side": True})


class MeanExchangeWithAnswer(WithAnswer, MeanExchange):
    """Mean exchange, the answer written on the read-out node."""


@lru_cache(maxsize=256)
def _far_nodes(topology: Barbell | Clique, hops: int) -> Tensor:
    """Return the other clique's nodes that hold no bridge."""
    bridges = topology.bridges if isinstance(topology, Barbell) else 0
    num_nodes = int(topology.graph(hops).num_nodes or 0)
    return torch.arange(num_nodes - topology.clique_size + bridges, num_nodes)


@lru_cache(maxsize=256)
def _unexplained(topology: Barbell | Clique, hops: int) -> float:
    """Return the share of y's variance that is left open to one who knows every node's value and degree, not its side.

    Of the N nodes of one degree, the read-out aside, B are asked for; the best guess weighs each of them by B / N, which
    explains B^2 / N of the k shares of the variance. About a half stays open.
    """
    graph, far = topology.graph(hops), _far_nodes(topology, hops)
    degrees = degree(graph.edge_index[0], graph.num_nodes, torch.long)
    other = torch.bincount(degrees[far], minlength=int(degrees.max()) + 1).double()
    every = torch.bincount(degrees[1:], minlength=int(degrees.max()) + 1).double()  # the read-out is node 0
    return float(1 - (other.square() / every.clamp(min=1)).sum() / len(far))

"""Contextual blockmodel: a node's own features say its class badly, its neighbours' average better, everybody's average nothing.

Deshpande et al. (2018), arXiv:1807.09596; averaging against depth as in Wu et al. (2023), arXiv:2212.10701. Averages first
denoise and then mix, so that depth has an optimum that is known: `accuracy_by_averaging`.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.special import ndtr
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_adj, to_undirected

from datasets.twins import SampledWithAnswer, told_elsewhere
from suite.rng import stream
from suite.task import Task

AVERAGED = 32  # graphs of a stream of its own that `accuracy_by_averaging` looks at


class ContextualSBM(Task):
    """x = class -1 or +1 times `signal` + N(0, 1), in one column; y = the class of every node, 0 or 1.

    Two classes of `block_size` nodes; pairs within a class are joined with chance `inside`, others with `outside`. `chance` is
    the accuracy of the sign of a node's own feature, Phi(signal): what needs no edges. No ceiling is known; the score's is 1.

    Raises ValueError where classes do not differ in their edges.
    """

    block_size: int = Field(50, ge=8, le=2048, description="nodes of each class")
    inside: float = Field(0.1, gt=0, le=1, description="chance of an edge within a class")
    outside: float = Field(0.02, ge=0, le=1, description="chance of an edge between classes")
    signal: float = Field(0.5, gt=0, description="mean of a feature over its standard deviation")

    @model_validator(mode="after")
    def _edges_tell(self) -> Self:
        if self.inside == self.outside:
            raise ValueError(f"outside: must differ from inside = {self.inside}, or edges say nothing; got {self.outside}")
        return self

    @property
    def title(self) -> str:
        return "contextual blockmodel"

    @property
    def range(self) -> None:
        """Every hop tells a little, less and less."""
        return None

    @property
    def out_channels(self) -> int:
        return 2

    @property
    def chance(self) -> float:
        return float(ndtr(torch.tensor(self.signal)))

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected"})  # a sparse one has lone nodes

    def sample(self, rng: torch.Generator) -> Data:
        edge_index, y = self._graph(rng)
        x = self.signal * (2.0 * y - 1) + torch.randn(len(y), generator=rng)
        return Data(x=x[:, None], edge_index=edge_index, y=y, readout_index=torch.arange(len(y)))

    def accuracy_by_averaging(self, num_layers: int) -> Tensor:
        """Return the accuracy of the sign of x averaged 0, 1, ... `num_layers` times over nodes and neighbours: [num_layers + 1].

        Given a graph an average is Gaussian, so that each node's part is exact: Phi(mean / deviation), with the rows of P^L, P
        that of D^-1 (A + I). The mean over `AVERAGED` graphs. Averaging alone, and so a lower bound of what L layers can do.
        """
        found = torch.zeros(num_layers + 1, dtype=torch.double)
        rng = stream("contextual blockmodel", self.config())
        for _ in range(AVERAGED):
            edge_index, y = self._graph(rng)
            sign = 2.0 * y.double() - 1
            power = torch.eye(len(y), dtype=torch.double)
            average = power + to_dense_adj(edge_index, max_num_nodes=len(y))[0]
            average /= average.sum(1, keepdim=True)
            for depth in range(num_layers + 1):
                found[depth] += ndtr(sign * self.signal * (power @ sign) / power.norm(dim=1)).mean() / AVERAGED
                power = average @ power
        return found

    def answer_twin(self) -> Task:
        return ContextualSBMWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return ContextualSBMTold(**dict(self))

    def _graph(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return edges and classes, whose nodes come in random order."""
        n = 2 * self.block_size
        y = torch.randperm(n, generator=rng) % 2
        pair = torch.triu_indices(n, n, 1)
        chance = torch.where(y[pair[0]] == y[pair[1]], self.inside, self.outside)
        edges = pair[:, torch.rand(pair.size(1), generator=rng) < chance]
        return to_undirected(edges, num_nodes=n), y


class ContextualSBMWithAnswer(SampledWithAnswer, ContextualSBM):
    """Contextual blockmodel, the answer written on every node."""


class ContextualSBMTold(ContextualSBM):
    """Contextual blockmodel of which one node is asked, while another carries the answer."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        order = torch.randperm(graph.num_nodes, generator=rng)
        return told_elsewhere(self, graph, order[:1], order[1:2])

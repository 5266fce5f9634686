"""Contextual blockmodel: a node's own features say its class badly, its neighbours' average better, everybody's average nothing.

Deshpande et al. (2018), arXiv:1807.09596; averaging against depth as in Wu et al. (2023), arXiv:2212.10701. Averages first
denoise and then mix, so that depth has an optimum that is known: `accuracy_by_averaging`. What messages that are weighed as Bayes
would could do at each depth is `accuracy_by_propagation`, and what is left at last is the ceiling.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.special import ndtr
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_adj, to_undirected

from datasets.twins import SampledWithAnswer, told_elsewhere
from suite.rng import stream
from suite.task import Block, Task

AVERAGED = 32  # graphs of a stream of its own that `accuracy_by_averaging` looks at
PROPAGATED = 6_400  # nodes in all, of `accuracy_by_propagation`
ROUNDS = 16  # after which propagation has settled
CERTAIN = 1 - 1e-12
WITNESSED_NODES = 256  # of a graph, at most
GAIN = 0.005  # accuracy that edges must add


class ContextualSBM(Task):
    """x = class -1 or +1 times `signal` + N(0, 1), in one column; y = the class of every node, 0 or 1.

    Two classes of `block_size` nodes; pairs within a class are joined with chance `inside`, others with `outside`. `chance` is
    the accuracy of the sign of a node's own feature, Phi(signal): what needs no edges. `ceiling` is that of belief propagation.

    Raises ValueError where edges add less than half a percent to it.
    """

    version: ClassVar[int] = 2
    block_size: int = Field(50, ge=8, le=2048, description="nodes of each class")
    inside: float = Field(0.1, gt=0, le=1, description="chance of an edge within a class")
    outside: float = Field(0.02, ge=0, le=1, description="chance of an edge between classes")
    signal: float = Field(0.5, gt=0, description="mean of a feature over its standard deviation")

    @model_validator(mode="after")
    def _edges_tell(self) -> Self:
        if self.ceiling < self.chance + GAIN:
            raise ValueError(
                f"outside: must differ more from inside = {self.inside}, or signal be other than {self.signal}, for edges to add"
                f" {GAIN:.1%} to what features say alone; got {self.outside}"
            )
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
    def ceiling(self) -> float:
        """What propagation adds at best to `chance`: on the same graphs, so that their luck is in both."""
        found = self.accuracy_by_propagation(ROUNDS)
        return min(1.0, self.chance + float(found.max() - found[0]))  # without luck, which may carry an estimate past 1

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected"})  # a sparse one has lone nodes

    def sample(self, rng: torch.Generator) -> Data:
        edge_index, y = _graph(self.block_size, self.inside, self.outside, rng)
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
            edge_index, y = _graph(self.block_size, self.inside, self.outside, rng)
            sign = 2.0 * y.double() - 1
            power = torch.eye(len(y), dtype=torch.double)
            average = power + to_dense_adj(edge_index, max_num_nodes=len(y))[0]
            average /= average.sum(1, keepdim=True)
            for depth in range(num_layers + 1):
                found[depth] += ndtr(sign * self.signal * (power @ sign) / power.norm(dim=1)).mean() / AVERAGED
                power = average @ power
        return found

    def accuracy_by_propagation(self, num_rounds: int) -> Tensor:
        """Return the accuracy of belief propagation after 0, 1, ... `num_rounds` rounds: [num_rounds + 1].

        Each node tells every other, joined or not, the odds of its class without what that one told. That is Bayes' rule on a
        tree, and is thought to be as good where graphs are large and sparse (Decelle et al., 2011, arXiv:1109.3041); of dense
        graphs of a dozen nodes Bayes' rule knows a few percent more. The mean over graphs of `PROPAGATED` nodes in all, one at
        least.
        """
        return _by_propagation(self.block_size, self.inside, self.outside, self.signal, num_rounds)

    def witness(self, block: Block) -> Tensor | None:
        """Belief propagation, until it has settled: the odds of class 1. None on graphs where messages of all pairs are dear."""
        if block.num_nodes > WITNESSED_NODES:
            return None
        slope = _slope(self.inside, self.outside, block.edge_index, block.num_nodes).to(block.x.dtype)
        odds = torch.stack([[*propagated(2 * self.signal * x[:, 0], slope, ROUNDS)][-1] for x in block.x])
        return torch.stack([-odds, odds], dim=2)[:, block.readout_index]

    def answer_twin(self) -> Task:
        return ContextualSBMWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return ContextualSBMTold(**dict(self))


class ContextualSBMWithAnswer(SampledWithAnswer, ContextualSBM):
    """Contextual blockmodel, the answer written on every node."""


class ContextualSBMTold(ContextualSBM):
    """Contextual blockmodel of which one node is asked, while another carries the answer."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        order = torch.randperm(graph.num_nodes, generator=rng)
        return told_elsewhere(self, graph, order[:1], order[1:2])


def _graph(block_size: int, inside: float, outside: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return edges and classes, whose nodes come in random order."""
    n = 2 * block_size
    y = torch.randperm(n, generator=rng) % 2
    pair = torch.triu_indices(n, n, 1)
    chance = torch.where(y[pair[0]] == y[pair[1]], inside, outside)
    edges = pair[:, torch.rand(pair.size(1), generator=rng) < chance]
    return to_undirected(edges, num_nodes=n), y


@lru_cache(maxsize=64)
def _by_propagation(block_size: int, inside: float, outside: float, signal: float, num_rounds: int) -> Tensor:
    rng, n = stream("propagation", block_size, inside, outside, signal), 2 * block_size
    found, num_graphs = torch.zeros(num_rounds + 1, dtype=torch.double), max(1, PROPAGATED // n)
    for _ in range(num_graphs):
        edge_index, y = _graph(block_size, inside, outside, rng)
        x = signal * (2.0 * y - 1) + torch.randn(n, generator=rng).double()
        slope = _slope(inside, outside, edge_index, n)
        for number, odds in enumerate(propagated(2 * signal * x, slope, num_rounds)):
            found[number] += ((odds > 0).long() == y).double().mean() / num_graphs
    return found


def _slope(inside: float, outside: float, edge_index: Tensor, num_nodes: int) -> Tensor:
    """Return what edges and their absence say of pairs of nodes, as `propagated` wants it: [num_nodes, num_nodes] float64."""
    joined, apart = (inside - outside) / (inside + outside), (outside - inside) / max(2 - inside - outside, 1 - CERTAIN)
    slope = torch.full((num_nodes, num_nodes), apart, dtype=torch.double).fill_diagonal_(0)
    slope[edge_index[0], edge_index[1]] = joined
    return slope


def propagated(own: Tensor, slope: Tensor, num_rounds: int) -> Iterator[Tensor]:
    """Yield the log odds that each node is of class 1 after 0, 1, ... rounds of belief propagation: [num_nodes] each.

    `own` [num_nodes] is what a node's feature says. `slope` [num_nodes, num_nodes] is (p - q) / (p + q), p the chance of what is
    seen between two nodes, an edge or none, where their classes are the same, and q where they are not; 0 on the diagonal.
    """
    odds, told = own, torch.zeros_like(slope)  # told[v, u]: what u says to v
    certain = min(CERTAIN, 1 - torch.finfo(own.dtype).eps)
    yield odds
    for _ in range(num_rounds):
        said = torch.tanh((odds - told.T) / 2)  # what a node knows but from the one that it says it to
        told = 2 * torch.atanh((slope * said).clamp(-certain, certain))
        odds = own + told.sum(1)
        yield odds

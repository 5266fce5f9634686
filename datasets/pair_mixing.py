"""Pair mixing: a function of two values that does, or does not, have to mix them.

After `ignasa007/DropEdge-on-OverSquashing`, whose tanh(x_u + x_v) a sum over all nodes gives away. The product needs a second
derivative across the distance (arXiv:2306.03589 bounds it); the sum, on the same graphs, is its control.
"""

from __future__ import annotations

import math
from functools import cache
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from datasets.places import one_pair
from datasets.ring import Ring
from datasets.topologies import TopologyField
from datasets.twins import WithAnswer
from suite.task import Block, Loss, Task

Mixing = Literal["product", "sum"]


class PairMixing(Task):
    """x = [value, N(0, 1) | source flag | read-out flag], y = tanh(x_u x_v), or tanh(x_u + x_v), over its standard deviation.

    All nodes carry values. `chance` is what the read-out's own value leaves open, by quadrature. The flag is content: a set of
    nodes without edges solves it. Raises ValueError where a topology asks at several nodes.
    """

    loss: ClassVar[Loss] = "mse"
    topology: TopologyField = Ring()
    mixing: Mixing = "product"
    hops: int = Field(5, ge=1, description="distance between the two")

    @model_validator(mode="after")
    def _asks_at_one_pair(self) -> Self:
        one_pair(self.topology, self.hops, "pair mixing")
        return self

    @property
    def title(self) -> str:
        return f"pair mixing ({self.mixing})"

    @property
    def chance(self) -> float:
        moments = _moments(self.mixing)
        return 1 - moments.explained / moments.variance

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph = self.topology.graph(self.hops)
        values = torch.randn(num_graphs, int(graph.num_nodes or 0), generator=rng)
        flags = [torch.zeros_like(values).index_fill_(1, end, 1) for end in (graph.source_index, graph.readout_index)]
        y = self._mixed(values[:, graph.source_index], values[:, graph.readout_index])
        return Block(graph.edge_index, torch.stack([values, *flags], 2), y, graph.readout_index, graph.source_index)

    def witness(self, block: Block) -> Tensor:
        """Mix the two flagged values."""
        value = block.x[:, :, 0]
        source, own = ((value * block.x[:, :, flag]).sum(1, keepdim=True) for flag in (1, 2))
        return self._mixed(source, own).unsqueeze(2)

    def answer_twin(self) -> Task:
        return PairMixingWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return self

    def _mixed(self, source: Tensor, own: Tensor) -> Tensor:
        mixed = source * own if self.mixing == "product" else source + own
        return mixed.tanh() / math.sqrt(_moments(self.mixing).variance)


class PairMixingWithAnswer(WithAnswer, PairMixing):
    """Pair mixing, the answer written on the read-out node."""


class _Moments(NamedTuple):
    variance: float
    explained: float  # by the read-out's own value


@cache
def _moments(mixing: Mixing) -> _Moments:
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    own = nodes[:, None]
    answers = np.tanh(own * nodes if mixing == "product" else own + nodes)
    given = answers @ weights  # E[answer | own value]; both means are 0
    return _Moments(float(weights @ answers**2 @ weights), float(weights @ given**2))

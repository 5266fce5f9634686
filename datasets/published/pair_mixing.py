"""Pair mixing on molecules, as published: the sum of two values far apart."""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from datasets.published.base import Published
from datasets.twins import SampledWithAnswer
from suite.hops import hop_distance
from suite.measures import all_resistances
from suite.rng import stream
from suite.task import Block, Loss, Split, Task

SIZES: dict[Split, int] = {"train": 1000, "validation": 250, "test": 250}
COMMUTE_SIZES: dict[Split, int] = {"train": 10_000, "validation": 1000, "test": 1000}


class PublishedPairMixing(Published):
    """Pair mixing, `ignasa007/DropEdge-on-OverSquashing:dataset/synthetic_zinc_sd.py`; by commute time `synthetic_zinc_ct.py`.

    A molecule in which two atoms `hops` apart carry U(0, 1) and all others 0; y = tanh(x_u + x_v). A sum over the graph is the
    answer but for the tanh: **nothing has to be mixed, and no edge is needed**. Here every atom is asked what is asked of the
    graph there, and molecules are made: rings of six and chains, 18 to 30 atoms. 1,000 / 250 / 250 graphs.

    With `commute` the pair is any at that quantile of the commute times 2 |E| R(u, v), R the effective resistance, among all
    ordered pairs of atoms, an atom with itself counted too; the nearest time that occurs. 10,000 / 1,000 / 1,000 graphs.
    """

    loss: ClassVar[Loss] = "mse"
    hops: int = Field(5, ge=2, le=8, description="distance between the two atoms, without `commute`")
    commute: float | None = Field(  # a tenth of all pairs holds every atom with itself
        None, ge=0.1, le=1, description="quantile of commute times that the pair is at; None: it is at `hops`"
    )

    @property
    def range(self) -> None:
        """Every atom is asked, at whatever distance from the two."""
        return None

    @property
    def title(self) -> str:
        return f"pair mixing{'' if self.commute is None else f' at commute quantile {self.commute:g}'} (published)"

    @property
    def chance(self) -> float:
        """The variance of tanh(a + b), a and b U(0, 1)."""
        return float(_moments()[1])

    def sample(self, rng: torch.Generator) -> Data:
        sizes, chosen = (SIZES, self.hops) if self.commute is None else (COMMUTE_SIZES, f"commute {self.commute}")
        which = int(torch.randint(sizes[self.split], (1,), generator=rng))
        own = stream("published pair mixing", self.split, chosen, which)
        while True:
            edge_index = _molecule(own)
            every = torch.arange(int(edge_index.max()) + 1)
            pairs = self._pairs(edge_index, every)
            if len(pairs):
                break
        pair = pairs[int(torch.randint(len(pairs), (1,), generator=own))]
        values = torch.rand(2, 1, generator=own)
        x = torch.zeros(every.numel(), 1).index_copy_(0, pair, values)
        return Data(x=x, edge_index=edge_index, y=values.sum().tanh().expand(every.numel()), readout_index=every)

    def _pairs(self, edge_index: Tensor, every: Tensor) -> Tensor:
        """Return the pairs of atoms that may be mixed: [num_pairs, 2]."""
        if self.commute is None:
            return (hop_distance(edge_index, every, every.numel()) == self.hops).nonzero()
        ohms = all_resistances(edge_index, every.numel(), every)  # commute times but for 2 |E|
        return torch.isclose(ohms, ohms.flatten().quantile(self.commute, interpolation="nearest")).nonzero()

    def witness(self, block: Block) -> Tensor:
        """Add up all atoms."""
        return block.x.sum(1, keepdim=True).tanh().expand(-1, block.readout_index.numel(), 1)

    def answer_twin(self) -> Task:
        return PublishedPairMixingWithAnswer(**dict(self))


class PublishedPairMixingWithAnswer(SampledWithAnswer, PublishedPairMixing):
    """Published pair mixing, the answer written on every atom."""


def _molecule(rng: torch.Generator) -> Tensor:
    """Return the edges of rings of six and single atoms, each joined to an atom with less than three bonds before it."""
    target, edges, bonds = int(torch.randint(18, 31, (1,), generator=rng)), [], [0]
    while len(bonds) < target:
        free = [atom for atom, count in enumerate(bonds) if count < 3]
        place = free[max(0, len(free) - 1 - int(torch.randint(4, (1,), generator=rng)))]  # near the end: long, not bushy
        start, size = len(bonds), 6 if bool(torch.randint(2, (1,), generator=rng)) else 1
        ring = list(range(start, start + size))
        edges += [(place, start), *itertools.pairwise(ring), *([(ring[-1], start)] if size == 6 else [])]
        bonds += [2 if size == 6 else 0] * size
        bonds[place] += 1
        bonds[start] += 1
    index: Tensor = to_undirected(torch.tensor(edges).T)
    return index


def _moments() -> Tensor:
    """Return mean and variance of tanh(a + b) for a, b uniform on (0, 1), by the midpoint rule."""
    grid = (torch.arange(2000, dtype=torch.double) + 0.5) / 2000
    values = (grid[:, None] + grid).tanh()
    return torch.stack([values.mean(), values.var(correction=0)])

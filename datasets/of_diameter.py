"""Graphs of a random family whose diameter lies between two bounds: families and bins of diameters, crossed."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Self, get_args

import networkx as nx
import torch
from pydantic import Field, model_validator
from torch_geometric.data import Data

from datasets.altered import OtherTopology
from datasets.random_tree import RandomTree
from datasets.sampled import Component, Sampled
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Split

NUM_TRIED, OCCURRENCES = 100, 10  # graphs that are looked at, and those of them that must have such a diameter
MAX_DRAWS = 10_000  # for one graph; a tenth of a family is not missed so often


class OfDiameter(Sampled):
    """A graph of the random family `topology`, whatever seed that has, drawn again until its diameter is `least` ... `most`.

    `hops` goes up to `least`. Raises ValueError where `topology` is one graph, or fewer than a tenth of the family has such a
    diameter, in any split: every graph costs as many draws as it is rare.
    """

    kind: Literal["of_diameter"] = "of_diameter"
    topology: OtherTopology = RandomTree()
    least: int = Field(15, ge=1, description="hops between the two nodes farthest apart, at least")
    most: int = Field(18, ge=1, description="at most")

    @model_validator(mode="after")
    def _occurs(self) -> Self:
        if not isinstance(self.topology, Sampled):
            families = "a random family (random_tree, chorded_line, subnetwork, ...)"
            raise ValueError(f"topology: must be {families}, got one graph, a {self.topology.kind}")
        if self.most < self.least:
            raise ValueError(f"most: must be >= least = {self.least}, got {self.most}")
        for split in get_args(Split):
            _hold(self.at(split, 0))
        return self

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"topology": self.topology.at(split, block)})

    def build(self, hops: int) -> Data:
        if hops > self.least:
            raise ValueError(f"hops: must be <= least = {self.least}, which every graph has, got {hops}")
        return super().build(hops)

    def sampled(self) -> nx.Graph:
        rng = self.rng()
        for _ in range(MAX_DRAWS):
            drawn = self.drawn(rng)
            if self.least <= _diameter(drawn) <= self.most:
                return nx.Graph(drawn.edge_index.T.tolist())
        raise ValueError(f"{self!r} found no graph among {MAX_DRAWS:,}")

    def drawn(self, rng: torch.Generator) -> Component:
        """Return any graph of the family, of whatever diameter."""
        assert isinstance(self.topology, Sampled)
        return self.topology.afresh(rng)


def _diameter(drawn: Component) -> int:
    return int(hop_distance(drawn.edge_index, torch.arange(drawn.num_nodes), drawn.num_nodes).max())


@lru_cache(maxsize=256)
def _hold(topology: OfDiameter) -> None:
    """Raise ValueError unless the diameters asked for occur in the family often enough."""
    rng, found = stream("diameters", repr(topology.topology)), list[int]()
    while sum(topology.least <= diameter <= topology.most for diameter in found) < OCCURRENCES:
        if len(found) == NUM_TRIED:
            asked = f"least: must leave, up to most, a tenth of the diameters of {topology.topology!r}"
            said = f"{min(found)} to {max(found)} in {NUM_TRIED} graphs, got {topology.least} to {topology.most}"
            raise ValueError(f"{asked}: {said}")
        found.append(_diameter(topology.drawn(rng)))

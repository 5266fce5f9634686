"""Random geometric graph: points in a square, joined where they are near. Long distances without a single bottleneck."""

from typing import ClassVar, Literal

import networkx as nx
from pydantic import Field

from datasets.sampled import Sampled


class RandomGeometric(Sampled):
    """The largest component of `num_nodes` uniform points of the unit square, joined within `radius`."""

    kind: Literal["random_geometric"] = "random_geometric"
    joins: ClassVar[str] = "radius"
    num_nodes: int = Field(160, ge=8, le=4096, description="before the largest component is kept")
    radius: float = Field(0.12, gt=0, le=1.5, description="of the unit square's side")

    def sampled(self) -> nx.Graph:
        return nx.random_geometric_graph(self.num_nodes, self.radius, seed=self.seed)

"""Erdős–Rényi: every pair of nodes joined with the same probability; the largest component."""

from typing import ClassVar, Literal

import networkx as nx
from pydantic import Field

from datasets.sampled import Sampled


class ErdosRenyi(Sampled):
    """The largest component of G(num_nodes, mean_degree / (num_nodes - 1))."""

    kind: Literal["erdos_renyi"] = "erdos_renyi"
    joins: ClassVar[str] = "mean_degree"
    num_nodes: int = Field(128, ge=8, le=4096, description="before the largest component is kept")
    mean_degree: float = Field(3.0, gt=1, le=64, description="expected; above 1 there is a giant component")

    def sampled(self) -> nx.Graph:
        return nx.fast_gnp_random_graph(self.num_nodes, self.mean_degree / (self.num_nodes - 1), seed=self.seed)

"""Barabási–Albert: each new node joins some that are there, preferring those of high degree. Hubs, and short distances."""

from typing import Literal

import networkx as nx
from pydantic import Field

from datasets.sampled import Sampled


class BarabasiAlbert(Sampled):
    """Preferential attachment; with `attached` = 1 a tree. attached (num_nodes - attached) edges, connected."""

    kind: Literal["barabasi_albert"] = "barabasi_albert"
    num_nodes: int = Field(128, ge=20, le=4096, description="of the graph")
    attached: int = Field(1, ge=1, le=16, description="edges that each new node brings")

    def sampled(self) -> nx.Graph:
        return nx.barabasi_albert_graph(self.num_nodes, self.attached, seed=self.seed)

"""The expander: a random regular graph. No bottleneck anywhere, so distances are short: the control of all thin families."""

from typing import Literal, Self

import networkx as nx
from pydantic import Field, model_validator

from datasets.sampled import Sampled


class Expander(Sampled):
    """A connected graph of `num_nodes` nodes of degree `degree`, drawn uniformly, nearly; distances grow as log(num_nodes)."""

    kind: Literal["expander"] = "expander"
    degree: int = Field(3, ge=3, le=16, description="of every node")
    num_nodes: int = Field(128, ge=8, le=4096, description="an even number where the degree is odd")

    @model_validator(mode="after")
    def _has_whole_edges(self) -> Self:
        if self.degree >= self.num_nodes or self.degree * self.num_nodes % 2:
            raise ValueError(
                f"num_nodes: degree * num_nodes must be even and degree < num_nodes, got {self.degree} and {self.num_nodes}"
            )
        return self

    def sampled(self) -> nx.Graph:
        graph = nx.random_regular_graph(self.degree, self.num_nodes, seed=self.seed)
        attempt = 1
        while not nx.is_connected(graph):  # rare, and rarer for every degree more
            graph = nx.random_regular_graph(self.degree, self.num_nodes, seed=self.seed + 1_000_003 * attempt)
            attempt += 1
        return graph

"""Stochastic blockmodel: dense blocks with few edges between them, a chain of random bottlenecks."""

from typing import ClassVar, Literal

import networkx as nx
from pydantic import Field

from datasets.sampled import Sampled


class StochasticBlockmodel(Sampled):
    """`num_blocks` of `block_size` nodes; pairs within a block are joined with probability `inside`, others with `outside`."""

    kind: Literal["stochastic_blockmodel"] = "stochastic_blockmodel"
    joins: ClassVar[str] = "inside"
    num_blocks: int = Field(6, ge=2, le=64, description="communities")
    block_size: int = Field(20, ge=2, le=256, description="nodes of each")
    inside: float = Field(0.2, gt=0, le=1, description="probability of an edge within a block")
    outside: float = Field(0.002, gt=0, le=1, description="and between two blocks")

    def sampled(self) -> nx.Graph:
        chances = [[self.inside if a == b else self.outside for b in range(self.num_blocks)] for a in range(self.num_blocks)]
        graph = nx.stochastic_block_model([self.block_size] * self.num_blocks, chances, seed=self.seed)
        simple = nx.Graph()  # without the partition
        simple.add_nodes_from(graph)
        simple.add_edges_from(graph.edges)
        return simple

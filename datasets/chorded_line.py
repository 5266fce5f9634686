"""The chorded line: a path on which one node in five has an edge to another a few further on."""

from typing import Literal

import networkx as nx
import torch
from pydantic import Field

from datasets.sampled import Sampled


class ChordedLine(Sampled):
    """A path of `num_nodes`; a fifth of the nodes have an edge to another 2 ... 6 further on, where there is one."""

    kind: Literal["chorded_line"] = "chorded_line"
    num_nodes: int = Field(30, ge=8, le=4096)

    def sampled(self) -> nx.Graph:
        rng, size = self.rng(), self.num_nodes
        graph = nx.path_graph(size)
        begin = torch.randperm(size, generator=rng)[: size // 5]
        end = begin + torch.randint(2, 7, (size // 5,), generator=rng)
        graph.add_edges_from(pair for pair in zip(begin.tolist(), end.tolist(), strict=True) if pair[1] < size)
        return graph

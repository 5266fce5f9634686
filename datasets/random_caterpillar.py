"""The random caterpillar: half of the nodes a path, the others hung on it at random; with two joints a lobster."""

from typing import Literal

import networkx as nx
import torch
from pydantic import Field

from datasets.sampled import Sampled


class RandomCaterpillar(Sampled):
    """A tree of `num_nodes`: a path of half of them; with `joints` 2 a quarter hang on it, the rest on those."""

    kind: Literal["random_caterpillar"] = "random_caterpillar"
    num_nodes: int = Field(30, ge=8, le=4096)
    joints: int = Field(1, ge=1, le=2, description="nodes of a leg at most; 2: a lobster")

    def sampled(self) -> nx.Graph:
        rng, spine = self.rng(), self.num_nodes // 2
        graph = nx.path_graph(spine)
        starts = [0, spine, self.num_nodes] if self.joints == 1 else [0, spine, spine + self.num_nodes // 4, self.num_nodes]
        for above, start, end in zip(starts, starts[1:], starts[2:], strict=False):
            on = torch.randint(above, start, (end - start,), generator=rng).tolist()
            graph.add_edges_from(zip(range(start, end), on, strict=True))
        return graph

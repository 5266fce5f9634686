"""The random tree: long, for each node joins one of the few before it."""

from typing import Literal

import networkx as nx
import torch
from pydantic import Field

from datasets.sampled import Sampled


class RandomTree(Sampled):
    """A tree of `num_nodes`: each node joins one of the three before it, all alike."""

    kind: Literal["random_tree"] = "random_tree"
    num_nodes: int = Field(30, ge=8, le=4096)

    def sampled(self) -> nx.Graph:
        before = torch.arange(1, self.num_nodes)
        back = 1 + (torch.rand(len(before), generator=self.rng()) * before.clamp(max=3)).long()
        return nx.Graph(zip(before.tolist(), (before - back).tolist(), strict=True))

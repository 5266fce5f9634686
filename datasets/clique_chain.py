"""The clique chain: cliques in a row, joined by single edges; the last clique's nodes, but for its exit, are `hops` away.

    source  0 - 1         4 - 5  read-out     clique_size = 3, hops = 3, num_nodes = 6
             \\ /           \\ /
              2  -  -  -  -  3

As FoSR's clique match (arXiv:2210.11790), which has three cliques of ten.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class CliqueChain(Topology):
    """k = (hops + 1) / 2 cliques of s = `clique_size` nodes: k s nodes, k s (s - 1) / 2 + k - 1 edges; `hops` is odd."""

    kind: Literal["clique_chain"] = "clique_chain"
    min_hops: ClassVar[int] = 3  # out of a clique, over, and into the next
    clique_size: int = Field(5, ge=2, description="nodes of each clique")

    def build(self, hops: int) -> Data:
        if not hops % 2:
            raise ValueError(f"hops: must be odd on a clique_chain, two for each clique that is crossed; got {hops}")
        count, size = (hops + 1) // 2, self.clique_size
        first = size * torch.arange(count)
        cliques = (torch.combinations(torch.arange(size)).t()[:, None] + first[:, None]).flatten(1)
        between = torch.stack([first[1:] - 1, first[1:]])
        edge_index = to_undirected(torch.cat([cliques, between], dim=1))
        readout, source = torch.tensor([count * size - 1]), torch.tensor([0])
        return Data(edge_index=edge_index, num_nodes=count * size, readout_index=readout, source_index=source)

"""The path: one way from read-out to source, with a tail behind either end.

0 - 1 - 2 - 3 - 4 - 5        tail = 1, hops = 3, num_nodes = 6
read-out 1, source 4
"""

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Path(Topology):
    """A path of `hops + 2 tail + 1` nodes, one edge fewer; with tails the source has degree 2 as the nodes between have."""

    kind: Literal["path"] = "path"
    tail: int = Field(1, ge=0, description="nodes behind the read-out, and as many behind the source")

    def build(self, hops: int) -> Data:
        node = torch.arange(hops + 2 * self.tail + 1)
        edge_index = to_undirected(torch.stack([node[:-1], node[1:]]))
        readout, source = torch.tensor([self.tail]), torch.tensor([self.tail + hops])
        return Data(edge_index=edge_index, num_nodes=node.numel(), readout_index=readout, source_index=source)

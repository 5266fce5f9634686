"""The grid: read-out at a corner, source `hops` away, many shortest paths between them.

read-out  0 - 1 - 2 - 3
          |   |   |   |        width = 2, hops = 3, extra = 1, num_nodes = 8
          4 - 5 - 6 - 7        source 6

The ladder is the grid of width 2, the path that of width 1.
"""

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Grid(Topology):
    """`width` rows and `columns = hops - i + 1 + extra`, the source i = min(width - 1, hops // 2) rows down.

    C(hops, i) shortest paths; width (columns - 1) + columns (width - 1) edges.
    """

    kind: Literal["grid"] = "grid"
    width: int = Field(3, ge=1, le=64, description="rows")
    extra: int = Field(1, ge=0, le=64, description="columns behind the source")

    def build(self, hops: int) -> Data:
        down = min(self.width - 1, hops // 2)
        columns = hops - down + 1 + self.extra
        node = torch.arange(self.width * columns).view(self.width, columns)
        along = torch.stack([node[:, :-1].flatten(), node[:, 1:].flatten()])
        across = torch.stack([node[:-1].flatten(), node[1:].flatten()])
        edge_index = to_undirected(torch.cat([along, across], dim=1), num_nodes=node.numel())
        source = node[down, hops - down].view(1)
        return Data(edge_index=edge_index, num_nodes=node.numel(), readout_index=node[0, :1], source_index=source)

"""The layered graph: every level between read-out and source is `width` nodes wide, neighbouring levels joined completely.

                1 - 3 - 5
              /   X   X   \\
    read-out 0            7  source     width = 2, hops = 4, num_nodes = 8
              \\   X   X   /
                2 - 4 - 6

The crossed ring is the layered graph of width 2, the path without tails that of width 1.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Layered(Topology):
    """`r - 1` levels of `w = width` nodes for `r = hops`: `2 + w (r - 1)` nodes, `2 w + w^2 (r - 2)` edges."""

    kind: Literal["layered"] = "layered"
    min_hops: ClassVar[int] = 2  # an edge has no level between its ends
    width: int = Field(3, ge=1, description="nodes of each level between read-out and source")

    def build(self, hops: int) -> Data:
        num_nodes = 2 + self.width * (hops - 1)
        level = torch.arange(1, num_nodes - 1).view(hops - 1, self.width)
        near, far = level[:-1, :, None].expand(-1, -1, self.width), level[1:, None].expand(-1, self.width, -1)
        ends = torch.cat([level[0] * 0, level[-1]]), torch.cat([level[0], level[-1] * 0 + num_nodes - 1])
        edges = torch.cat([torch.stack([near.flatten(), far.flatten()]), torch.stack(ends)], dim=1)
        readout, source = torch.tensor([0]), torch.tensor([num_nodes - 1])
        return Data(edge_index=to_undirected(edges), num_nodes=num_nodes, readout_index=readout, source_index=source)

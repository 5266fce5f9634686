"""The ring: read-out and source on opposite sides of a cycle, joined by two shortest paths.

read-out  0 - 1 - 2 - 3
          |           |        hops = 4, num_nodes = 8
          7 - 6 - 5 - 4  source
"""

from typing import ClassVar, Literal

import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Ring(Topology):
    """A cycle of `2 * hops` nodes and as many edges; every node has degree 2."""

    kind: Literal["ring"] = "ring"
    min_hops: ClassVar[int] = 2  # two nodes are no cycle

    def build(self, hops: int) -> Data:
        node = torch.arange(2 * hops)
        edge_index = to_undirected(torch.stack([node, node.roll(-1)]))  # [2, 4 * hops]
        readout, source = torch.tensor([0]), torch.tensor([hops])
        return Data(edge_index=edge_index, num_nodes=2 * hops, readout_index=readout, source_index=source)

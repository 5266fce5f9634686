"""The circular ladder: two rings joined rung by rung, read-out and source on opposite sides of the first.

read-out  0 - 1 - 2 - 3 - 4 - 5 - (0)
          |   |   |   |   |   |           hops = 3, num_nodes = 12
          6 - 7 - 8 - 9 - 10- 11- (6)     source 3
"""

from typing import ClassVar, Literal

import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class CircularLadder(Topology):
    """Two rings of `2 * hops` nodes and the rungs: `4 * hops` nodes, `6 * hops` edges; every node has degree 3.

    One node, the source's partner, is farther from the read-out than the source.
    """

    kind: Literal["circular_ladder"] = "circular_ladder"
    min_hops: ClassVar[int] = 2  # two nodes are no cycle

    def build(self, hops: int) -> Data:
        node = torch.arange(2 * hops)
        ring = torch.stack([node, node.roll(-1)])
        rungs = torch.stack([node, node + 2 * hops])
        edge_index = to_undirected(torch.cat([ring, ring + 2 * hops, rungs], dim=1))  # [2, 12 * hops]
        readout, source = torch.tensor([0]), torch.tensor([hops])
        return Data(edge_index=edge_index, num_nodes=4 * hops, readout_index=readout, source_index=source)

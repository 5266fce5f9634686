"""The crossed ring: a cycle with its two sides joined crosswise, so that each level between the ends is two nodes wide.

                1 - 2 - 3
              /   X   X   \\
    read-out 0             4  source     hops = 4, num_nodes = 8
              \\   X   X   /
                7 - 6 - 5

From Di Giovanni et al. (2023), arXiv:2302.02941, whose code emits two of the edges twice; here each is there once.
"""

from typing import ClassVar, Literal

import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class CrossedRing(Topology):
    """A ring of `2 * hops` nodes whose neighbouring levels are joined completely: `4 * hops - 4` edges.

    Read-out and source alone have degree 2; a task that must not show the source by its degree takes it `Decoyed`.
    """

    kind: Literal["crossed_ring"] = "crossed_ring"
    min_hops: ClassVar[int] = 2  # two nodes are no cycle

    def build(self, hops: int) -> Data:
        node = torch.arange(2 * hops)
        ring = torch.stack([node, node.roll(-1)])
        level = torch.arange(1, hops - 1)  # levels l and l + 1 hold the nodes (l, -l) and (l + 1, -l - 1)
        crosses = torch.cat([torch.stack([level, -level - 1]), torch.stack([-level, level + 1])], dim=1) % (2 * hops)
        edge_index = to_undirected(torch.cat([ring, crosses], dim=1))  # [2, 8 * hops - 8]
        readout, source = torch.tensor([0]), torch.tensor([hops])
        return Data(edge_index=edge_index, num_nodes=2 * hops, readout_index=readout, source_index=source)

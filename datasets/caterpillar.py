"""The caterpillar: a path with legs at every node; with legs of two joints a lobster.

0 - 1 - 2 - 3 - 4 - 5        tail = 1, hops = 3, legs = 1, joints = 1, num_nodes = 12
|   |   |   |   |   |
6   7   8   9   10  11       read-out 1, source 4
"""

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Caterpillar(Topology):
    """A spine of `hops + 2 tail + 1` nodes, each with `legs` paths of `joints` nodes: a tree of `1 + legs joints` spines."""

    kind: Literal["caterpillar"] = "caterpillar"
    legs: int = Field(1, ge=1, le=16, description="at every node of the spine")
    joints: int = Field(1, ge=1, le=16, description="nodes of a leg; 2: a lobster")
    tail: int = Field(1, ge=0, description="nodes of the spine behind the read-out, and as many behind the source")

    def build(self, hops: int) -> Data:
        spine = torch.arange(hops + 2 * self.tail + 1)
        leg = torch.arange(self.legs * spine.numel())  # which spine node it hangs on: leg % spine
        edges = [torch.stack([spine[:-1], spine[1:]])]
        above, start = leg % spine.numel(), spine.numel()
        for _ in range(self.joints):
            joint = leg + start
            edges.append(torch.stack([above, joint]))
            above, start = joint, start + leg.numel()
        readout, source = torch.tensor([self.tail]), torch.tensor([self.tail + hops])
        edge_index = to_undirected(torch.cat(edges, dim=1))
        return Data(edge_index=edge_index, num_nodes=start, readout_index=readout, source_index=source)

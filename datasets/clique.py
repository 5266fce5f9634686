"""The clique: everybody is everybody's neighbour. The counterpart of the barbell with nothing to squash.

read-out  0 --- 1
          |  X  |        clique_size = 2, hops = 1, num_nodes = 4
          2 --- 3  source
"""

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Clique(Topology):
    """A complete graph on `2 * clique_size` nodes, as many as a barbell without inner bridge nodes has.

    `clique_size (2 clique_size - 1)` edges; the only distance is 1.
    """

    kind: Literal["clique"] = "clique"
    clique_size: int = Field(8, ge=1, description="half the number of nodes")

    def build(self, hops: int) -> Data:
        if hops != 1:
            raise ValueError(f"hops: must be 1 on a clique, got {hops}")
        num_nodes = 2 * self.clique_size
        edge_index = to_undirected(torch.combinations(torch.arange(num_nodes)).t())
        readout, source = torch.tensor([0]), torch.tensor([num_nodes - 1])
        return Data(edge_index=edge_index, num_nodes=num_nodes, readout_index=readout, source_index=source)

"""The clique path (lollipop): a clique with a path behind one of its nodes; read-out in the clique, source on the path.

    read-out  0 --- 1
              |  X  |
              2 --- 3 --- 4 --- 5  source - 6        clique_size = 4, hops = 3, extra = 1, num_nodes = 7

From Di Giovanni et al. (2023), arXiv:2302.02941, where clique and path are equally long (`clique_size = hops - 1`);
here distance and clique size are two knobs, and `extra` continues the path, so that the source's degree can be an
ordinary one.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class CliquePath(Topology):
    """A clique of `k = clique_size` nodes and a path of `t = hops - 1 + extra`: `k (k - 1) / 2 + t` edges."""

    kind: Literal["clique_path"] = "clique_path"
    min_hops: ClassVar[int] = 2  # read-out, the node the path hangs on, the path
    clique_size: int = Field(5, ge=2, description="nodes of the clique")
    extra: int = Field(0, ge=0, description="nodes of the path behind the source")

    def build(self, hops: int) -> Data:
        clique = torch.combinations(torch.arange(self.clique_size)).t()
        num_nodes = self.clique_size + hops - 1 + self.extra
        tail = torch.arange(self.clique_size - 1, num_nodes)  # begins in the clique
        edge_index = to_undirected(torch.cat([clique, torch.stack([tail[:-1], tail[1:]])], dim=1))
        readout, source = torch.tensor([0]), torch.tensor([self.clique_size + hops - 2])
        return Data(edge_index=edge_index, num_nodes=num_nodes, readout_index=readout, source_index=source)

"""The barbell: two cliques joined by thin bridges, read-out in one and source in the other.

    read-out  0 - 1                 7 - 8
              | X |                 | X |          clique_size = 4, bridges = 1, hops = 5, num_nodes = 10
              2 - 3 --- 4 --- 5 --- 6 - 9  source

Neither read-out nor source holds a bridge.
"""

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Barbell(Topology):
    """Cliques of `k = clique_size` nodes, `w = bridges` with `b = hops - 3` inner nodes each.

    `2 k + w b` nodes: first the read-out's clique, then bridge by bridge, then the source's clique;
    `k (k - 1) + w (b + 1)` edges.
    """

    kind: Literal["barbell"] = "barbell"
    min_hops: ClassVar[int] = 3  # to the bridge, over it, and to the source
    clique_size: int = Field(8, ge=2, description="nodes of each clique")
    bridges: int = Field(1, ge=1, description="parallel bridges; fewer than a clique has nodes")

    @model_validator(mode="after")
    def _read_out_holds_no_bridge(self) -> Self:
        if self.bridges >= self.clique_size:
            raise ValueError(f"bridges: must be < clique_size = {self.clique_size}, got {self.bridges}")
        return self

    def build(self, hops: int) -> Data:
        size, inner = self.clique_size, hops - 3
        num_nodes = 2 * size + self.bridges * inner
        clique = torch.combinations(torch.arange(size)).t()
        edges = torch.cat([clique, clique + num_nodes - size, self._bridge_edges(num_nodes, inner)], dim=1)
        readout, source = torch.tensor([0]), torch.tensor([num_nodes - 1])
        return Data(edge_index=to_undirected(edges), num_nodes=num_nodes, readout_index=readout, source_index=source)

    def _bridge_edges(self, num_nodes: int, inner: int) -> Tensor:
        bridge = torch.arange(self.bridges)[:, None]
        near = self.clique_size - 1 - bridge  # the last nodes of the first clique
        middle = self.clique_size + bridge * inner + torch.arange(inner)
        far = num_nodes - self.clique_size + bridge  # the first nodes of the second
        path = torch.cat([near, middle, far], dim=1)  # [bridges, inner + 2]
        return torch.stack([path[:, :-1].flatten(), path[:, 1:].flatten()])

"""The torus: a grid closed in both directions, read-out and source on opposite sides. Every node has degree 4."""

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Torus(Topology):
    """`width` rows, `2 (hops - width // 2)` columns: the source is as far away as any node; 2 n edges, no end anywhere."""

    kind: Literal["torus"] = "torus"
    width: int = Field(3, ge=3, le=64, description="rows")

    def build(self, hops: int) -> Data:
        columns = 2 * (hops - self.width // 2)
        if columns < 4:
            raise ValueError(f"hops: must be >= {self.width // 2 + 2} on a torus of width {self.width}, got {hops}")
        node = torch.arange(self.width * columns).view(self.width, columns)
        around = [torch.stack([node.flatten(), node.roll(-1, dim).flatten()]) for dim in (0, 1)]
        edge_index = to_undirected(torch.cat(around, dim=1))
        source = node[self.width // 2, columns // 2].view(1)
        return Data(edge_index=edge_index, num_nodes=node.numel(), readout_index=node[0, :1], source_index=source)

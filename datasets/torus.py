"""The torus: a grid closed in both directions, every node of degree 4; read-out and source on opposite sides, or nearer."""

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Torus(Topology):
    """`width` rows and `2 (hops - width // 2)` columns: the source is as far away as any node; 2 n edges, no end anywhere.

    With `columns` c the size does not depend on `hops`, up to width // 2 + c // 2 of them: the source is as many rows down as
    across, where there are as many.
    """

    kind: Literal["torus"] = "torus"
    width: int = Field(3, ge=3, le=64, description="rows")
    columns: int | None = Field(None, ge=3, le=512, description="columns; none: as many as put the source opposite the read-out")

    def build(self, hops: int) -> Data:
        half = self.width // 2
        columns = 2 * (hops - half) if self.columns is None else self.columns
        if self.columns is None and columns < 4:
            raise ValueError(f"hops: must be >= {half + 2} on a torus of width {self.width}, got {hops}")
        if hops > half + columns // 2:
            raise ValueError(f"hops: must be <= {half + columns // 2} on a torus of {self.width} by {columns}, got {hops}")
        down = max(min(half, hops // 2), hops - columns // 2)
        node = torch.arange(self.width * columns).view(self.width, columns)
        around = [torch.stack([node.flatten(), node.roll(-1, dim).flatten()]) for dim in (0, 1)]
        edge_index = to_undirected(torch.cat(around, dim=1))
        source = node[down, hops - down].view(1)
        return Data(edge_index=edge_index, num_nodes=node.numel(), readout_index=node[0, :1], source_index=source)

"""The theta graph: read-out and source are poles, joined by paths that share no inner node.

              1 - 2
            /       \\
read-out  0 - 3 - 4 - 7  source     paths = 3, hops = 3, num_nodes = 8
            \\       /
              5 - 6
"""

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology


class Theta(Topology):
    """Poles joined by `p = paths` disjoint paths of `r = hops` edges: `2 + p (r - 1)` nodes, `p r` edges.

    The commute time of the poles is `2 r^2` whatever p. Poles have degree p, inner nodes 2. With `open_paths` the others lack the
    edge after their middle, so that both their ends lead nowhere: one open path is the only way between the poles.

    Raises ValueError for more open paths than there are.
    """

    kind: Literal["theta"] = "theta"
    min_hops: ClassVar[int] = 2  # several paths of one edge would be one edge
    paths: int = Field(3, ge=1, description="disjoint paths between the poles")
    open_paths: int | None = Field(None, ge=1, description="paths that lead all the way; none: all")

    @model_validator(mode="after")
    def _open_ones_are_there(self) -> Self:
        if self.open_paths is not None and self.open_paths > self.paths:
            raise ValueError(f"open_paths: must be <= paths = {self.paths}, got {self.open_paths}")
        return self

    def build(self, hops: int) -> Data:
        num_nodes = 2 + self.paths * (hops - 1)
        inner = torch.arange(1, num_nodes - 1).view(self.paths, hops - 1)
        pole = torch.zeros(self.paths, 1, dtype=torch.long)
        path = torch.cat([pole, inner, pole + num_nodes - 1], dim=1)  # [paths, hops + 1]
        kept = torch.ones(self.paths, hops, dtype=torch.bool)
        kept[self.open_paths or self.paths :, hops // 2] = False
        edge_index = to_undirected(torch.stack([path[:, :-1][kept], path[:, 1:][kept]]))
        readout, source = torch.tensor([0]), torch.tensor([num_nodes - 1])
        return Data(edge_index=edge_index, num_nodes=num_nodes, readout_index=readout, source_index=source)

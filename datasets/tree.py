"""The tree: read-out at the root of a complete tree, source `hops` below it.

                    0  read-out
                 /     \\
               1         2          arity = 2, hops = 2, extra = 0, num_nodes = 7
             /   \\     /   \\
    source  3     4   5     6

`extra` levels below the source give it the degree of an inner node, which nodes above it have too.
"""

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Topology

MAX_NODES = 2**17


class Tree(Topology):
    """A complete tree of `depth = hops + extra`: `(arity ** (depth + 1) - 1) / (arity - 1)` nodes, level by level."""

    kind: Literal["tree"] = "tree"
    arity: int = Field(2, ge=2, description="children of an inner node")
    extra: int = Field(0, ge=0, description="levels below the source")

    def build(self, hops: int) -> Data:
        num_nodes = self.size(hops + self.extra)
        if num_nodes > MAX_NODES:
            deep = f"a tree of arity {self.arity} and depth {hops + self.extra}"
            raise ValueError(f"hops: {deep} has more than {MAX_NODES:,} nodes, got {hops}")
        child = torch.arange(1, num_nodes)
        edge_index = to_undirected(torch.stack([(child - 1) // self.arity, child]))
        readout, source = torch.tensor([0]), torch.tensor([self.size(hops - 1)])
        return Data(edge_index=edge_index, num_nodes=num_nodes, readout_index=readout, source_index=source)

    def size(self, depth: int) -> int:
        """Return the number of nodes of a tree of that depth, which is also the first node one level below."""
        return int((self.arity ** (depth + 1) - 1) // (self.arity - 1))

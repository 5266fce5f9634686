"""The attachment tree: each new node joins one that is there, the late ones by preference. Long and bushy.

After the trees of ECHO (2025, arXiv:2512.17762), which attach by k^3 and have diameters of 17 to 40. That k is the number of a
node is our reading, since `Graph-ECHO-Benchmark/ECHO` downloads its graphs ready made: it gives such trees, and degrees would
give stars.
"""

from typing import Literal

import networkx as nx
import torch
from pydantic import Field

from datasets.sampled import Sampled
from suite.rng import stream


class AttachmentTree(Sampled):
    """The k-th of `num_nodes` is joined with chance in proportion to k^`exponent`; exponent 0: a random recursive tree.

    num_nodes - 1 edges; a node is about (exponent + 1) log(num_nodes) hops from the first one.
    """

    kind: Literal["attachment_tree"] = "attachment_tree"
    num_nodes: int = Field(100, ge=8, le=4096, description="of the tree")
    exponent: float = Field(3.0, ge=0, le=16, description="how much late nodes are preferred")

    def sampled(self) -> nx.Graph:
        rng = stream("attachment tree", self.num_nodes, self.exponent, self.seed)
        node = torch.arange(self.num_nodes)
        weight = ((node + 1) / self.num_nodes).double().pow(self.exponent).cumsum(0)  # of all up to this one
        drawn = torch.rand(self.num_nodes - 1, generator=rng).double() * weight[:-1]
        joined = torch.searchsorted(weight, drawn, right=True).minimum(node[:-1])
        return nx.Graph(zip(node[1:].tolist(), joined.tolist(), strict=True))

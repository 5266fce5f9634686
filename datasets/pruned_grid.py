"""The pruned grid: long and thin, a fifth of its edges taken out, in one piece still."""

from typing import Literal

import networkx as nx
import torch
from pydantic import Field

from datasets.sampled import Sampled


class PrunedGrid(Sampled):
    """A grid 4 wide of `num_nodes`, without a fifth of its edges, or as many as leave it connected: a random tree stays."""

    kind: Literal["pruned_grid"] = "pruned_grid"
    num_nodes: int = Field(32, ge=8, le=4096, multiple_of=4)

    def sampled(self) -> nx.Graph:
        rng = self.rng()
        whole = nx.convert_node_labels_to_integers(nx.grid_2d_graph(self.num_nodes // 4, 4))
        edges = list(whole.edges)
        nx.set_edge_attributes(whole, dict(zip(edges, torch.rand(len(edges), generator=rng).tolist(), strict=True)), "weight")
        graph = nx.Graph(nx.minimum_spanning_tree(whole).edges)  # of random weights: a random tree
        others = [edge for edge in edges if not graph.has_edge(*edge)]
        kept = max(len(others) - round(len(edges) / 5), 0)
        graph.add_edges_from(others[i] for i in torch.randperm(len(others), generator=rng)[:kept].tolist())
        return graph

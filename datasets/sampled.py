"""Random families: a graph drawn by a seed, its largest component kept, and a place to ask at exactly so many hops away."""

from functools import lru_cache
from typing import ClassVar

import networkx as nx
import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx

from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Topology


class Sampled(Topology):
    """Base of the random families: `sampled` draws the graph; `seed` is a field, so that a value is one graph."""

    joins: ClassVar[str] = "num_nodes"  # the field that, raised, joins more nodes
    seed: int = Field(0, ge=0, description="which of the graphs of the family")

    def sampled(self) -> nx.Graph:
        """Return the graph, drawn by `seed` alone."""
        raise NotImplementedError

    def build(self, hops: int) -> Data:
        edge_index, distance = _drawn(self)
        rng = stream("place", self.kind, self.seed, hops)
        can_ask = (distance == hops).any(1).nonzero().flatten()
        if not can_ask.numel():
            raise ValueError(f"hops: {self!r} has nodes 1 to {int(distance.max())} hops apart, got {hops}")
        readout = can_ask[torch.randint(can_ask.numel(), (1,), generator=rng)]
        shell = (distance[readout[0]] == hops).nonzero().flatten()
        source = shell[torch.randint(shell.numel(), (1,), generator=rng)]
        return Data(edge_index=edge_index, num_nodes=len(distance), readout_index=readout, source_index=source)


@lru_cache(maxsize=4)  # 134 MB each at 4,096 nodes
def _drawn(topology: Sampled) -> tuple[Tensor, Tensor]:
    """Return the edges of the largest component, and the hops between all its nodes [num_nodes, num_nodes]."""
    drawn = topology.sampled()
    largest = max(nx.connected_components(drawn), key=len)
    if len(largest) < 2:
        joins, given = topology.joins, getattr(topology, topology.joins)
        raise ValueError(f"{joins}: must be larger, or the seed another: {topology!r} joins no two nodes, got {joins} = {given}")
    graph = nx.Graph()  # nodes in order: from_networkx numbers them as they come
    graph.add_nodes_from(sorted(largest))
    graph.add_edges_from(drawn.subgraph(largest).edges)
    edge_index, num_nodes = from_networkx(graph).edge_index, graph.number_of_nodes()
    return edge_index, hop_distance(edge_index, torch.arange(num_nodes), num_nodes)

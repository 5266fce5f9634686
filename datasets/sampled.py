"""Random families: a graph drawn by a seed, its largest component kept, and a place to ask at exactly so many hops away."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, NamedTuple

import networkx as nx
import numpy as np
import torch
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

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

    def rng(self) -> torch.Generator:
        """Return the stream that `seed` names."""
        return stream("sampled", self.kind, self.seed)

    def afresh(self, rng: torch.Generator) -> Component:
        """Return another graph of the family, whatever `seed` says."""
        return _component(self.model_copy(update={"seed": int(torch.randint(2**31, (), generator=rng))}))

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


class Component(NamedTuple):
    """The largest component of a graph."""

    edge_index: Tensor  # [2, num_edges]
    num_nodes: int


@lru_cache(maxsize=4)  # 134 MB each at 4,096 nodes
def _drawn(topology: Sampled) -> tuple[Tensor, Tensor]:
    """Return the edges of the largest component, and the hops between all its nodes [num_nodes, num_nodes]."""
    edge_index, num_nodes = _component(topology)
    return edge_index, hop_distance(edge_index, torch.arange(num_nodes), num_nodes)


def _component(topology: Sampled) -> Component:
    drawn = topology.sampled()
    size, edges = drawn.number_of_nodes(), np.array(list(drawn.edges), dtype=np.int64).reshape(-1, 2)
    label = connected_components(coo_array((np.ones(len(edges)), edges.T), shape=(size, size)), directed=False)[1]
    kept = label == np.bincount(label).argmax()
    if kept.sum() < 2:
        joins, given = topology.joins, getattr(topology, topology.joins)
        raise ValueError(f"{joins}: must be larger, or the seed another: {topology!r} joins no two nodes, got {joins} = {given}")
    number = kept.cumsum() - 1  # of each node among those kept
    edge_index = torch.from_numpy(number[edges[kept[edges[:, 0]]]].T)
    return Component(to_undirected(edge_index, num_nodes=int(kept.sum())), int(kept.sum()))

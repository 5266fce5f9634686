"""Transforms of a graph that a model may name in `needs`; computed once a topology and passed by keyword."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Data

from suite.hops import hop_distance


def all_hop_distances(graph: Data) -> Tensor:
    """Return the hop distance between any two nodes, -1 where no path leads: [num_nodes, num_nodes] long."""
    return hop_distance(graph.edge_index, torch.arange(graph.num_nodes), graph.num_nodes)


ENCODINGS: dict[str, Callable[[Data], Tensor]] = {"hop_distance": all_hop_distances}

"""A sparse random graph over the nodes of another, through which everything is a few edges away."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from suite.rng import stream

EDGE, EXPANDER = 1, 2


def with_expander(graph: Data, degree: int = 4) -> Tensor:
    """Return which pairs of nodes attention may join: [n, n] long, 1 at (v, u) for an edge from u to v, 2 for an expander's.

    The expander is the union of degree / 2 random Hamiltonian cycles, regular where they have no edge in common: connected, and
    of a spectral gap near the best possible with high probability (Friedman; 2303.06147). Where the degree is odd, a random
    matching of all nodes, but one where their number is odd, makes up the rest. Its pairs that are edges stay 1.

    It is drawn from a stream named by the graph's content, so that every split and model sees the same. Nodes are taken in the
    order of their colours under colour refinement: how they are numbered does not matter, but among nodes of one colour. So it
    tells nodes of a symmetric graph apart, always the same way: on a fixed topology it is a position, as in the original.
    """
    order, rng = drawn_for(graph, "expander")
    num_nodes = len(order)
    pairs = torch.zeros(num_nodes, num_nodes, dtype=torch.long)
    for _ in range(degree // 2):
        cycle = order[torch.randperm(num_nodes, generator=rng)]
        pairs[cycle, cycle.roll(1)] = pairs[cycle.roll(1), cycle] = EXPANDER
    if degree % 2:
        one, other = order[torch.randperm(num_nodes, generator=rng)][: num_nodes // 2 * 2].view(2, -1)
        pairs[one, other] = pairs[other, one] = EXPANDER
    pairs.fill_diagonal_(0)
    pairs[graph.edge_index[1], graph.edge_index[0]] = EDGE
    return pairs


def drawn_for(graph: Data, name: str) -> tuple[Tensor, torch.Generator]:
    """Return the nodes in the order of their colours, and a stream named by `name` and the graph as it is in that order."""
    order = _order(graph)
    source, target = order.argsort()[graph.edge_index]
    return order, stream(name, len(order), sorted(zip(source.tolist(), target.tolist(), strict=True)))


def _order(graph: Data) -> Tensor:
    """Return the nodes by their colours under colour refinement, those of one colour by number."""
    incoming: list[list[int]] = [[] for _ in range(int(graph.num_nodes))]
    for source, target in graph.edge_index.T.tolist():
        incoming[target].append(source)
    colour, num_colours = [0] * len(incoming), 1
    while True:
        seen = [(colour[node], sorted(colour[other] for other in others)) for node, others in enumerate(incoming)]
        ranks = {repr(key): rank for rank, key in enumerate(sorted(seen))}
        colour = [ranks[repr(key)] for key in seen]
        if len(ranks) == num_colours:
            return torch.tensor(colour).argsort(stable=True)
        num_colours = len(ranks)

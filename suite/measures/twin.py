"""The edge-free twin: the same model, weights, norms, skips and depth, with the identity where its operator was.

A total that vanishes with depth vanishes by the weights and activations of layers, or by their aggregation. The twin has the
first alone, so that their quotient is what aggregation does.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.measures.frozen import EDGE_DATA
from suite.measures.squashing import influence


def edge_free(graph: Data) -> Data:
    """Return a copy of `graph` in which each node is its own only neighbour.

    The operators of gcn, of means and of attention along edges are the identity there, since they have a loop at every node, or
    have one neighbour to weigh. Raises ValueError for a graph with data of edges, of which such a loop has none.
    """
    if found := [name for name in EDGE_DATA if graph.get(name) is not None]:
        raise ValueError(f"graph: without edges there is no {' and '.join(found)}")
    alone = copy.copy(graph)
    alone.edge_index = torch.arange(int(graph.num_nodes or 0)).expand(2, -1)
    return alone


def aggregation_gain(model: nn.Module, graph: Data) -> Tensor:
    """Return log10 of total_v over that of the edge-free twin, of each read-out node: [num_readouts] float64.

    total_v = sum over all nodes w of |J_vw| (`influence`); the twin is the same model, weights, norms, skips and depth, on the
    graph in which each node is its own only neighbour, so that the operator is the identity. total = what layers keep of a node
    (the twin's) x what aggregation makes of it. Zero: aggregation takes nothing of the total, as means in a linear net; log10 of
    the row sum of S^L in a linear GCN. Negative: signals of neighbours cancel, or meet units that are dead to them. Scale-free:
    twice the weights of a linear net, or of a ReLU net without biases, leave it. NaN where either total is 0. Cost: twice that of
    `influence`. (This project's own.)

    Pitfalls: at one input. Under sums (GIN) the twin counts each node twice, as itself and as its neighbour. Attention to all
    nodes, a virtual node and norms over nodes are no edges, and stay; what a model works out of edges (distances) is the twin's.

    Raises ValueError where the graph has no `readout_index`, and for one with `edge_weight` or `edge_attr`.
    """
    own, twins = (influence(model, [one])[0].x.sum(1) for one in (graph, edge_free(graph)))
    gain = (own / twins).log10()
    return gain.where(gain.isfinite(), torch.nan)

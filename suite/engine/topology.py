"""What is computed once per topology: the node order, the rows that are needed, the propagation matrices, the encodings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor
from torch_geometric.data import Data

from suite.models.base import Model
from suite.models.encodings import encoded
from suite.operators import SharedOperators
from suite.task import Block, own_edges


@dataclass(frozen=True)
class Prepared:
    """Operators and encodings of one topology, for one model architecture, and where in the order its read-out nodes stand."""

    op: SharedOperators
    needs: dict[str, Tensor]
    readouts: list[int]


def steps_to_readout(edge_index: Tensor, readout_index: Tensor, num_nodes: int) -> Tensor:
    """Return how many edges, followed in their direction, lead from each node to the nearest read-out: [num_nodes], inf: none."""
    row, col = edge_index.numpy()
    backwards = coo_array((np.ones(row.size), (col, row)), shape=(num_nodes, num_nodes)).tocsr()
    found = dijkstra(backwards, unweighted=True, indices=readout_index.numpy(), min_only=True)
    return torch.from_numpy(found)


def coupling(model: Model, training: bool) -> frozenset[str]:
    """Return the channels past the edges that are open in this mode: statistics of the batch are, while training."""
    return model.global_channel - (frozenset() if training else {"norm(train)"})


def sizes_of(block: Block, model: Model, num_layers: int, shortcuts: frozenset[str], training: bool) -> tuple[Tensor, list[int]]:
    """Return the order of the nodes [num_nodes], and how many of the first of them are needed after each layer.

    "cone": nodes that cannot reach a read-out in the layers left are not. Exact where edges alone carry information.
    "last_layer": where something else does, but no statistic over nodes, the last layer still writes read-outs alone.
    Where all nodes are needed all the way, they keep the order of the task, whatever the read-outs.
    """
    channel, num_readouts = coupling(model, training), block.readout_index.numel()
    hops = model.layer_hops or (1,) * num_layers
    cone = "cone" in shortcuts and not channel
    last = "last_layer" in shortcuts and bool(channel) and not channel & {"norm", "norm(train)"}
    sizes = [block.num_nodes] * (len(hops) + 1)
    if not cone and not last:
        return torch.arange(block.num_nodes), sizes
    steps = steps_to_readout(block.edge_index, block.readout_index, block.num_nodes)
    steps[block.readout_index] = -torch.arange(num_readouts, 0, -1, dtype=steps.dtype)  # first, in their order
    if cone:
        sizes = [int((steps <= sum(hops[layer:])).sum()) for layer in range(len(sizes))]
    return steps.argsort(stable=True), sizes if cone else [*sizes[:-1], num_readouts]


def encodings(block: Block, model: Model) -> dict[str, Tensor]:
    """Return the encodings of the graph that `model` needs."""
    graph = Data(edge_index=block.edge_index, num_nodes=block.num_nodes, original_index=own_edges(block))
    return encoded(model.needs, graph)

"""What is computed once per topology: the node order, the cone, the propagation matrices and the encodings a model needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor
from torch_geometric.data import Data

from suite.models.base import Model
from suite.models.encodings import ENCODINGS
from suite.operators import SharedOperators
from suite.task import Block


@dataclass(frozen=True)
class Prepared:
    """Operators and encodings of one topology and its read-out nodes, for one model architecture."""

    op: SharedOperators
    needs: dict[str, Tensor]
    num_readouts: int

    def features(self, x: Tensor) -> Tensor:
        """Bring x [replicas, graphs, nodes, channels] into the engine's order, cut to the cone: nodes before graphs."""
        return x.transpose(1, 2).index_select(1, self.op.order[: self.op.sizes[0]])


def steps_to_readout(edge_index: Tensor, readout_index: Tensor, num_nodes: int) -> Tensor:
    """Return how many edges, followed in their direction, lead from each node to the nearest read-out: [num_nodes], inf: none."""
    row, col = edge_index.numpy()
    backwards = coo_array((np.ones(row.size), (col, row)), shape=(num_nodes, num_nodes)).tocsr()
    found = dijkstra(backwards, unweighted=True, indices=readout_index.numpy(), min_only=True)
    return torch.from_numpy(found)


def prepare(block: Block, model: Model, num_layers: int, cone: bool) -> Prepared:
    """Return the prepared topology of `block`.

    With `cone`, nodes that cannot reach a read-out in the layers left are not computed. It is exact only where edges alone
    carry information; a global channel that is not a batch statistic still allows the last layer to write read-outs alone.
    """
    steps = steps_to_readout(block.edge_index, block.readout_index, block.num_nodes)
    steps[block.readout_index] = -torch.arange(block.readout_index.numel(), 0, -1, dtype=steps.dtype)  # first, in their order
    order = steps.argsort(stable=True)
    sizes = [block.num_nodes] * (num_layers + 1)
    if cone and not model.global_channel:
        sizes = [int((steps <= num_layers - layer).sum()) for layer in range(num_layers + 1)]
    elif cone and "norm(train)" not in model.global_channel:
        sizes[-1] = block.readout_index.numel()
    op = SharedOperators(block.edge_index, order, sizes, block.x.dtype)
    graph = Data(edge_index=block.edge_index, num_nodes=block.num_nodes)
    return Prepared(op, {name: ENCODINGS[name](graph) for name in model.needs}, block.readout_index.numel())


class TopologyCache:
    """Prepared topologies by their content: tasks may draw the same edges again as a new tensor."""

    def __init__(self, model: Model, num_layers: int, cone: bool) -> None:
        self._model, self._num_layers, self._cone = model, num_layers, cone
        self._known: dict[tuple[bytes, bytes, int], Prepared] = {}

    def __getitem__(self, block: Block) -> Prepared:
        key = (block.edge_index.numpy().tobytes(), block.readout_index.numpy().tobytes(), block.num_nodes)
        if key not in self._known:
            self._known[key] = prepare(block, self._model, self._num_layers, self._cone)
        return self._known[key]

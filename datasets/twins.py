"""Twins of a task for its certificate: the same graphs, the answer or the source put within a small control's sight.

A control that fails a task proves something only if it solves the twin with the same budget. A twin is an ordinary
task, `class TransferWithAnswer(WithAnswer, Transfer)`: its fields, and so its random streams, are the original's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from suite.task import Block, Task


class WithAnswer(Task):
    """Appends columns that say the answer at the read-out nodes (one-hot classes, or targets); 0 at all other nodes."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = _block(super().draw(num_graphs, rng))
        columns = block.x.new_zeros(num_graphs, block.num_nodes, self.out_channels)
        if self.loss == "cross_entropy":
            columns[:, block.readout_index] = F.one_hot(block.y, self.out_channels).to(columns)
        else:
            columns[:, block.readout_index] = block.y.view(num_graphs, -1, self.out_channels)
        return with_columns(block, columns)


class SampledWithAnswer(Task):
    """As `WithAnswer`, for tasks that draw graph by graph."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x = _written(self, graph.x, graph.readout_index, graph.y)
        return graph


def told_elsewhere(task: Task, graph: Data, place: Tensor, told: Tensor) -> Data:
    """Return `graph` asked at its read-out number `place` [1] alone, the answer written at the node `told` [1] instead."""
    y = graph.y[place]
    x = _written(task, graph.x, told, y)
    return Data(x=x, edge_index=graph.edge_index, y=y, readout_index=graph.readout_index[place])


def _written(task: Task, x: Tensor, nodes: Tensor, y: Tensor) -> Tensor:
    """Append columns that say `y` at `nodes` (one-hot classes, or targets); 0 at all other nodes."""
    columns = x.new_zeros(x.size(0), task.out_channels)
    answer = F.one_hot(y, task.out_channels) if task.loss == "cross_entropy" else y.view(-1, task.out_channels)
    columns[nodes] = answer.to(columns)
    return torch.cat([x, columns], dim=1)


class WithSource(Task):
    """Appends a column that marks the source nodes."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = _block(super().draw(num_graphs, rng))
        columns = block.x.new_zeros(num_graphs, block.num_nodes, 1)
        columns[:, block.source_index] = 1
        return with_columns(block, columns)


def _block(drawn: object) -> Block:
    assert isinstance(drawn, Block)  # tasks that do not have `SampledWithAnswer`
    return drawn


def with_columns(block: Block, columns: Tensor) -> Block:
    """Return `block` with more columns of x, [num_graphs, num_nodes, channels]."""
    x = torch.cat([block.x, columns], dim=2)
    return Block(block.edge_index, x, block.y, block.readout_index, block.source_index)

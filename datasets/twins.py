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
        return _with_columns(block, columns)


class SampledWithAnswer(Task):
    """As `WithAnswer`, for tasks that draw graph by graph."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        answer = F.one_hot(graph.y, self.out_channels) if self.loss == "cross_entropy" else graph.y.view(-1, self.out_channels)
        columns = graph.x.new_zeros(graph.x.size(0), self.out_channels)
        columns[graph.readout_index] = answer.to(columns)
        graph.x = torch.cat([graph.x, columns], dim=1)
        return graph


class WithSource(Task):
    """Appends a column that marks the source nodes."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = _block(super().draw(num_graphs, rng))
        columns = block.x.new_zeros(num_graphs, block.num_nodes, 1)
        columns[:, block.source_index] = 1
        return _with_columns(block, columns)


def _block(drawn: object) -> Block:
    assert isinstance(drawn, Block)  # all built-in tasks draw blocks
    return drawn


def _with_columns(block: Block, columns: Tensor) -> Block:
    x = torch.cat([block.x, columns], dim=2)
    return Block(block.edge_index, x, block.y, block.readout_index, block.source_index)

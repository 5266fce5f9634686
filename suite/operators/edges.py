"""Edges one by one, for layers whose messages are more than a fixed matrix: gates, edge states, attention of their own."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch_geometric.utils import scatter, softmax


class EdgeList:
    """The edges into the rows that a layer writes; features are [..., num_edges, channels], in the order of the edges.

    Args:
        row: [num_edges] rows read, the sources.
        col: [num_edges] rows written, the targets.
        num_targets: rows written.
        number: [num_edges] which edge of the topology each is.
        graph: [num_edges] in which graph of the block; 0 for edges among nodes that are alike in all.
        num_graphs: graphs of the block.
    """

    def __init__(self, row: Tensor, col: Tensor, num_targets: int, number: Tensor, graph: Tensor, num_graphs: int = 1) -> None:
        self.row, self.col, self.num_targets = row, col, num_targets
        self.number, self.graph, self.num_graphs = number, graph, num_graphs

    @classmethod
    def of(cls, edge_index: Tensor, num_targets: int) -> EdgeList:
        """Return the edges of one graph, each numbered as it stands."""
        number = torch.arange(edge_index.size(1), device=edge_index.device)
        return cls(edge_index[0], edge_index[1], num_targets, number, torch.zeros_like(number))

    def source(self, h: Tensor) -> Tensor:
        """Return the row of `h`, as the layer reads it, at the source of each edge."""
        return h.index_select(-2, self.row)

    def target(self, h: Tensor) -> Tensor:
        """Return the row of `h`, as the layer writes it (`op.root`), at the target of each edge."""
        return h.index_select(-2, self.col)

    def reduce(self, message: Tensor, how: str = "sum") -> Tensor:
        """Return the sum, mean, min or max of the messages into each row written; 0 where there are none."""
        out: Tensor = scatter(message, self.col, dim=message.dim() - 2, dim_size=self.num_targets, reduce=how)
        return out

    def softmax(self, score: Tensor) -> Tensor:
        """Return scores [..., num_edges, heads] as shares of one among the edges into each row."""
        out: Tensor = softmax(score, self.col, num_nodes=self.num_targets, dim=score.dim() - 2)
        return out

    @cached_property
    def count(self) -> Tensor:
        """How many edges lead into each row written: [num_targets, 1]."""
        return torch.bincount(self.col, minlength=self.num_targets).unsqueeze(1)

    def carry(self, state: Tensor, before: EdgeList) -> Tensor:
        """Bring the state of each edge, as the list `before` of an earlier layer has it, to the edges of this one."""
        if before is self:
            return state
        return state.index_select(-2, before._slots[self.number, self.graph * (before.num_graphs > 1)])

    @cached_property
    def _slots(self) -> Tensor:
        """Where each edge of the topology stands in this list, by graph; an edge among alike nodes at every graph."""
        slots = torch.full((int(self.number.max()) + 1 if len(self.number) else 0, self.num_graphs), -1, device=self.row.device)
        every = torch.arange(len(self.row), device=self.row.device)
        common = torch.bincount(self.number, minlength=len(slots))[self.number] == 1
        slots[self.number[common]] = every[common].unsqueeze(1)
        slots[self.number[~common], self.graph[~common]] = every[~common]
        return slots


def drop_pairs(edge_index: Tensor, p: float) -> Tensor:
    """Return the edges that DropEdge leaves, as they are listed: [2, num_kept], each pair of nodes left out with probability `p`.

    One draw decides on all edges listed between two nodes, in both directions, and one on a node's edges to itself. On
    undirected graphs that is `dropout_edge(..., force_undirected=True)` of PyG, draw by draw; on directed ones, PyG's turns round
    half of what it keeps, drops the other half, and it lists loops twice.
    """
    count, (low, high) = edge_index.size(1), edge_index.aminmax(dim=0)
    if not count:
        return edge_index
    kinds, pair = torch.unique(low * (high.max() + 1) + high, return_inverse=True)
    number = torch.arange(count, device=pair.device)
    ranked = number + count * (edge_index[0] > edge_index[1])  # an edge from the lower node decides, where there is one
    decides = torch.full_like(kinds, 2 * count).scatter_reduce(0, pair, ranked, "amin") % count
    kept = torch.rand(count, device=pair.device) >= p
    return edge_index[:, kept[decides[pair]]]

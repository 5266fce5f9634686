"""Ring, crossed ring, clique path and tree transfer, as published."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from datasets.clique_path import CliquePath
from datasets.crossed_ring import CrossedRing
from datasets.published.base import Published
from datasets.ring import Ring
from datasets.tree import Tree
from datasets.twins import WithAnswer
from suite.task import Block, Task, Topology


class PublishedTransfer(Published):
    """What the published transfer tasks share: a read-out of zeros, a source with a one-hot class, and ones elsewhere."""

    num_classes: ClassVar[int] = 5
    hops: int

    @property
    def topology(self) -> Topology:
        raise NotImplementedError

    def edges(self) -> Tensor:
        """Return the edges as the published code emits them, up to their order: [2, num_edges], some perhaps twice."""
        edge_index: Tensor = self.topology.graph(self.hops).edge_index
        return edge_index

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, labels = self.topology.graph(self.hops), self._labels()
        y = labels[torch.randint(labels.numel(), (num_graphs, 1), generator=rng)]
        x = torch.ones(num_graphs, int(graph.num_nodes or 0), self.num_classes)
        x[:, graph.readout_index] = 0
        x[:, graph.source_index] = torch.eye(self.num_classes)[y]
        varying = torch.zeros(x.size(1), dtype=torch.bool).index_fill(0, graph.source_index, True)
        return Block(self.edges(), x, y, graph.readout_index, graph.source_index, varying)

    def witness(self, block: Block) -> Tensor:
        """Add up all nodes: the source's class is the one column in which it does not differ from the others."""
        return block.x.sum(dim=1, keepdim=True)

    def _labels(self) -> Tensor:
        """Return the class of every graph of the set, in the published order."""
        return torch.arange(self.num_classes).repeat_interleave(1000 if self.split == "train" else 100)


class PublishedRingTransfer(PublishedTransfer):
    """Ring transfer, Di Giovanni et al. (2023), arXiv:2302.02941; `lrnzgiusti/on-oversquashing:data/ring_transfer.py`.

    x = 1 in all columns, 0 at the read-out node, the one-hot class at the source. Training holds 5,000 graphs and the
    test 500, class by class, yet **five distinct inputs** in all: the test was seen in training, and the mean over all
    nodes shows the answer. Model choice on the test set is published practice: validation draws from it.

    Edges that the published code emits twice are there twice, which changes the weights of a GCN: all clique edges of
    the clique path (a clique of `hops - 1` nodes, a path of as many), and the two rungs of the crossed ring that are
    ring edges.
    """

    hops: int = Field(5, ge=2, description="distance; the published depth is as large")
    family: Literal["ring", "crossed_ring", "clique_path"] = Field("ring", description="published topology")

    @property
    def topology(self) -> Topology:
        if self.family == "clique_path":
            if self.hops < 3:
                raise ValueError(f"hops: must be >= 3 on the published clique path, got {self.hops}")
            return CliquePath(clique_size=self.hops - 1)
        return Ring() if self.family == "ring" else CrossedRing()

    @property
    def title(self) -> str:
        return f"{self.family.replace('_', ' ')} transfer (published)"

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"few inputs"} if self.family == "ring" else {"few inputs", "duplicate edges"})

    def edges(self) -> Tensor:
        return _ring_edges(self)

    def answer_twin(self) -> Task:
        return PublishedRingTransferWithAnswer(**dict(self))


class PublishedRingTransferWithAnswer(WithAnswer, PublishedRingTransfer):
    """Published ring transfer, the answer written on the read-out node."""


class PublishedTreeTransfer(PublishedTransfer):
    """Tree transfer, from the same file as ring transfer, arXiv:2302.02941; the two differ in the graph alone.

    A complete tree, asked at its root; the class stands on a leaf, the last one published and here the first, which is the same
    up to the order of the nodes. **Five distinct inputs** in all sets.
    """

    hops: int = Field(5, ge=1, description="depth of the tree")
    arity: int = Field(2, ge=2, description="children of an inner node")

    @property
    def topology(self) -> Topology:
        return Tree(arity=self.arity)

    @property
    def title(self) -> str:
        return "tree transfer (published)"

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"few inputs"})

    def answer_twin(self) -> Task:
        return PublishedTreeTransferWithAnswer(**dict(self))


class PublishedTreeTransferWithAnswer(WithAnswer, PublishedTreeTransfer):
    """Published tree transfer, the answer written on the root."""


@lru_cache(maxsize=256)
def _ring_edges(task: PublishedRingTransfer) -> Tensor:
    edge_index: Tensor = task.topology.graph(task.hops).edge_index
    if task.family == "crossed_ring":
        return crossed_ring_edges(edge_index, task.hops)
    if task.family == "clique_path":
        return torch.cat([edge_index, edge_index[:, (edge_index < task.hops - 1).all(0)]], dim=1)
    return edge_index


def crossed_ring_edges(edge_index: Tensor, hops: int) -> Tensor:
    """Return the edges of a crossed ring, and again its two rungs that are ring edges: published code emits them as both."""
    row, col = edge_index
    rung = row + col == 2 * hops - 1
    twice = rung & ((row - col).abs() % (2 * hops - 2) == 1)
    return torch.cat([edge_index, edge_index[:, twice]], dim=1)

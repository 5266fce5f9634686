"""Published tasks as they were published, flaws included: for reproductions, never pooled with the tasks they inspired.

Both use finite sets. A block draws from its set with replacement; the set itself depends on the task's fields alone.
"""

from __future__ import annotations

import itertools
import math
from functools import cache, lru_cache
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor

from datasets.clique_path import CliquePath
from datasets.crossed_ring import CrossedRing
from datasets.ring import Ring
from datasets.tree import Tree
from datasets.twins import WithAnswer
from suite.rng import stream
from suite.task import Block, Split, Task, Topology


class Published(Task):
    """A task on finite sets: which one a block draws from is a field, set by `at`."""

    hops: int
    split: Split = Field("train", description="set to draw from; set by `at`")

    @property
    def topology(self) -> Topology:
        """The simple graph underneath; the published edges may repeat some of its edges or lead one way."""
        raise NotImplementedError

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"split": split})

    def content_twin(self) -> Task:
        return self  # content-addressed as they stand


class PublishedRingTransfer(Published):
    """Ring transfer, Di Giovanni et al. (2023), arXiv:2302.02941; `lrnzgiusti/on-oversquashing:data/ring_transfer.py`.

    x = 1 in all columns, 0 at the read-out node, the one-hot class at the source. Training holds 5,000 graphs and the
    test 500, class by class, yet **five distinct inputs** in all: the test was seen in training, and the mean over all
    nodes shows the answer. Model choice on the test set is published practice: validation draws from it.

    Edges that the published code emits twice are there twice, which changes the weights of a GCN: all clique edges of
    the clique path (a clique of `hops - 1` nodes, a path of as many), and the two rungs of the crossed ring that are
    ring edges.
    """

    num_classes: ClassVar[int] = 5
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

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, labels = self.topology.graph(self.hops), self._labels()
        y = labels[torch.randint(labels.numel(), (num_graphs, 1), generator=rng)]
        x = torch.ones(num_graphs, int(graph.num_nodes or 0), self.num_classes)
        x[:, graph.readout_index] = 0
        x[:, graph.source_index] = torch.eye(self.num_classes)[y]
        varying = torch.zeros(x.size(1), dtype=torch.bool).index_fill(0, graph.source_index, True)
        return Block(_ring_edges(self), x, y, graph.readout_index, graph.source_index, varying)

    def witness(self, block: Block) -> Tensor:
        """Add up all nodes: the source's class is the one column in which it does not differ from the others."""
        return block.x.sum(dim=1, keepdim=True)

    def answer_twin(self) -> Task:
        return PublishedRingTransferWithAnswer(**dict(self))

    def _labels(self) -> Tensor:
        """Return the class of every graph of the set, in the published order."""
        return torch.arange(self.num_classes).repeat_interleave(1000 if self.split == "train" else 100)


class PublishedRingTransferWithAnswer(WithAnswer, PublishedRingTransfer):
    """Published ring transfer, the answer written on the read-out node."""


@lru_cache(maxsize=256)
def _ring_edges(task: PublishedRingTransfer) -> Tensor:
    """Return the edges as the published code emits them, up to their order: [2, num_edges], some twice."""
    edge_index: Tensor = task.topology.graph(task.hops).edge_index
    row, col = edge_index
    if task.family == "clique_path":
        twice = (row < task.hops - 1) & (col < task.hops - 1)
    elif task.family == "crossed_ring":
        rung = row + col == 2 * task.hops - 1
        twice = rung & ((row - col).abs() % (2 * task.hops - 2) == 1)
    else:
        twice = torch.zeros_like(row, dtype=torch.bool)
    return torch.cat([edge_index, edge_index[:, twice]], dim=1)


class PublishedNeighborsMatch(Published):
    """NeighborsMatch, Alon & Yahav (2021), arXiv:2006.05205; `tech-srl/bottleneck:tasks/dictionary_lookup.py`.

    A complete binary tree, edges from child to parent and self-loops in the data. A node is two integers, (key, value):
    the root (q, 0), the i-th leaf (i, p(i)) for a permutation p of 1 ... 2^hops, inner nodes (0, 0); y = p(q). The
    published model embeds both and adds; here x is the two one-hot vectors side by side, so that a first linear layer
    is that sum (embeddings start from N(0, 1), linear layers do not). Class 0 never occurs, as in the published output
    layer.

    Samples are all queries of a number of permutations: 24 at 2 hops (96 samples), 1,000 at 3, 4 and 5, then 500, 250
    and 125 (32,000 samples from 5 on), split 80 / 20 within each class. There is no validation set, and training is
    stopped and judged by *train* accuracy: validation draws from the training set. A set of nodes without edges solves
    it; distance and load are tied.
    """

    hops: int = Field(3, ge=2, le=8, description="depth of the tree; the published model has one layer more")

    @property
    def topology(self) -> Topology:
        return Tree()

    @property
    def title(self) -> str:
        return "NeighborsMatch (published)"

    @property
    def out_channels(self) -> int:
        return int(2**self.hops) + 1

    @property
    def chance(self) -> float:
        return 2.0**-self.hops

    @property
    def token_channels(self) -> slice:
        return slice(self.out_channels + 1, 2 * self.out_channels)

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"directed", "self-loops"})

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        samples = _samples(self.hops)
        chosen = samples.test if self.split == "test" else samples.train
        permutation, query = chosen[torch.randint(len(chosen), (num_graphs,), generator=rng)].unbind(1)
        values = samples.permutations[permutation]  # [num_graphs, 2^hops]
        empty, edge_index, leaves = _blank_tree(self.hops)
        graph = torch.arange(num_graphs)
        x = empty.repeat(num_graphs, 1, 1)
        x[graph, 0, query + 1] = 1
        x[graph[:, None], leaves, self.out_channels + values] = 1
        root = torch.tensor([0])
        varying = torch.zeros(x.size(1), dtype=torch.bool).index_fill(0, torch.cat([root, leaves]), True)
        return Block(edge_index, x, values.gather(1, query[:, None]), root, leaves, varying)

    def witness(self, block: Block) -> Tensor:
        """Look the root's key up among all other nodes."""
        keys, values = block.x[:, :, : self.out_channels], block.x[:, :, self.out_channels : 2 * self.out_channels]
        same = (keys * keys[:, block.readout_index]).sum(dim=2).index_fill(1, block.readout_index, 0)
        return (same.unsqueeze(2) * values).sum(dim=1, keepdim=True)

    def answer_twin(self) -> Task:
        return PublishedNeighborsMatchWithAnswer(**dict(self))


class PublishedNeighborsMatchWithAnswer(WithAnswer, PublishedNeighborsMatch):
    """Published NeighborsMatch, the answer written on the root."""


@cache
def _blank_tree(hops: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return x without query and values [num_nodes, 2 (2^hops + 1)], the edges, and the leaves from left to right."""
    graph, width = Tree().graph(hops), 2**hops + 1
    num_nodes = int(graph.num_nodes or 0)
    every, leaves = torch.arange(num_nodes), torch.arange(2**hops - 1, num_nodes)
    x = torch.zeros(num_nodes, 2 * width)
    x[every, torch.where(every < leaves[0], 0, every - leaves[0] + 1)] = 1  # keys
    x[: leaves[0], width] = 1  # value 0
    x[0, 0] = 0  # the root's key is the query
    row, col = graph.edge_index
    edge_index = torch.cat([graph.edge_index[:, row > col], torch.stack([every, every])], dim=1)
    return x, edge_index, leaves


class Samples(NamedTuple):
    """The published data set: a sample, a row of `train` or `test`, is the row of a permutation and a query, from 0."""

    permutations: Tensor  # [num_permutations, 2^hops], values from 1
    train: Tensor  # [num_samples, 2]
    test: Tensor


@cache
def _samples(hops: int) -> Samples:
    rng, num_leaves = stream("published NeighborsMatch", hops), 2**hops
    if hops <= 3:
        every = torch.tensor(list(itertools.permutations(range(1, num_leaves + 1))))
        permutations = every[torch.randperm(len(every), generator=rng)[: min(1000, math.factorial(num_leaves))]]
    else:
        permutations = torch.rand(min(1000, 32000 // num_leaves), num_leaves, generator=rng).argsort(dim=1) + 1
    query = permutations.argsort(dim=1)  # [num_permutations, value - 1]: who holds that value
    shuffled = torch.rand(query.shape, generator=rng).argsort(dim=0)  # class by class, an order of the permutations
    samples = torch.stack([shuffled, query.gather(0, shuffled)], dim=2)  # [num_permutations, class, 2]
    cut = len(permutations) * 4 // 5
    return Samples(permutations, samples[:cut].flatten(0, 1), samples[cut:].flatten(0, 1))

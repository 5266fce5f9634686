"""NeighborsMatch on trees, as published."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from datasets.lookup import looked_up
from datasets.published.base import Published
from datasets.tree import Tree
from datasets.twins import WithAnswer
from suite.rng import stream
from suite.task import Block, Task, Topology


class PublishedNeighborsMatch(Published):
    """NeighborsMatch, Alon & Yahav (2021), arXiv:2006.05205; `tech-srl/bottleneck:tasks/dictionary_lookup.py`.

    A complete binary tree, edges from child to parent and self-loops in the data. A node is two integers, (key, value):
    the root (q, 0), the i-th leaf (i, p(i)) for a permutation p of 1 ... 2^hops, inner nodes (0, 0); y = p(q). The
    published model embeds both and adds; here x is the two one-hot vectors side by side, so that a first linear layer
    is that sum (embeddings start from N(0, 1), linear layers do not). Class 0 never occurs, as in the published output
    layer. The public code has had two forms: with `one_hot` keys and values are counted from 0, an inner node is the zero
    vector, and there are 2^hops classes; the first layer is linear. The published numbers come with both; this one is
    fitted in far fewer steps (docs/reproductions.md).

    Samples are all queries of a number of permutations: 24 at 2 hops (96 samples), 1,000 at 3, 4 and 5, then 500, 250
    and 125 (32,000 samples from 5 on), split 80 / 20 within each class. There is no validation set, and training is
    stopped and judged by *train* accuracy: validation draws from the training set. A set of nodes without edges solves
    it; distance and load are tied.
    """

    hops: int = Field(3, ge=2, le=8, description="depth of the tree; the published model has one layer more")
    one_hot: bool = Field(False, description="whether nodes without a key or value are zeros, and no class 0 is kept for them")

    @property
    def topology(self) -> Topology:
        return Tree()

    @property
    def title(self) -> str:
        return f"NeighborsMatch (published{', one-hot' if self.one_hot else ''})"

    @property
    def out_channels(self) -> int:
        return int(2**self.hops) + (not self.one_hot)

    @property
    def chance(self) -> float:
        return 2.0**-self.hops

    @property
    def token_channels(self) -> slice:
        return slice(self.out_channels + (not self.one_hot), 2 * self.out_channels)

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
        x[graph[:, None], leaves, int(2**self.hops) + 1 + values] = 1
        y = values.gather(1, query[:, None])
        if self.one_hot:
            named = torch.arange(x.size(2)) % (2**self.hops + 1) > 0
            x, y = x[:, :, named], y - 1
        root = torch.tensor([0])
        varying = torch.zeros(x.size(1), dtype=torch.bool).index_fill(0, torch.cat([root, leaves]), True)
        return Block(edge_index, x, y, root, leaves, varying)

    def witness(self, block: Block) -> Tensor:
        """Look the root's key up among all other nodes."""
        keys, values = block.x[:, :, : self.out_channels], block.x[:, :, self.out_channels : 2 * self.out_channels]
        return looked_up(keys, values, block.readout_index)

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

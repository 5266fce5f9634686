"""Clique match, as published: which node of the first clique has the label that the last node of the last one shows?"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from datasets.clique_chain import CliqueChain
from datasets.lookup import looked_up
from datasets.published.base import PublishedBlocks
from datasets.twins import WithAnswer
from suite.task import Block, Split, Task, Topology

LABELLED = 9  # nodes of the first clique that have a label: all but its exit


class PublishedCliqueMatch(PublishedBlocks):
    """NeighborsMatch on three cliques of ten in a row, FoSR, arXiv:2210.11790; `kedar2/FoSR:v2/preprocessing/nmatch.py`.

    x = [label, one-hot | none | number of the node, one-hot of all]. Nodes 0 ... 8, five hops from the root, have the labels in
    random order, the root, node 29, shows one of them, all others have none; y = *number* of the node that matches.
    **Nodes are named in their features**, which ties a model to this one graph, and a set of nodes without edges solves it.
    The published run trains on 10,000 graphs and reports its accuracy on the same ones: **every split is that set**.
    """

    sizes: ClassVar[dict[Split, int]] = {"train": 10_000}

    def at(self, split: Split, block: int) -> Self:
        return self

    @property
    def topology(self) -> Topology:
        return CliqueChain(clique_size=LABELLED + 1)

    @property
    def range(self) -> int:
        return 5

    @property
    def title(self) -> str:
        return "clique match (published)"

    @property
    def out_channels(self) -> int:
        return LABELLED

    @property
    def token_channels(self) -> slice:
        return slice(0, LABELLED + 1)

    def make(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, labelled = self.topology.graph(self.range), torch.arange(LABELLED)
        num_nodes, root = int(graph.num_nodes or 0), graph.readout_index
        label = torch.full((num_graphs, num_nodes), LABELLED)
        label[:, labelled] = torch.rand(num_graphs, LABELLED, generator=rng).argsort(1)
        y = torch.randint(LABELLED, (num_graphs, 1), generator=rng)
        label[:, root] = label.gather(1, y)
        x = torch.cat([torch.eye(LABELLED + 1)[label], torch.eye(num_nodes).expand(num_graphs, -1, -1)], dim=2)
        varying = torch.zeros(num_nodes, dtype=torch.bool).index_fill(0, torch.cat([labelled, root]), True)
        return Block(graph.edge_index, x, y, root, labelled, varying)

    def witness(self, block: Block) -> Tensor:
        """The name of the node with the root's label."""
        labels, names = block.x[:, :, : LABELLED + 1], block.x[:, :, LABELLED + 1 : 2 * LABELLED + 1]
        return looked_up(labels, names, block.readout_index)

    def answer_twin(self) -> Task:
        return PublishedCliqueMatchWithAnswer(**dict(self))


class PublishedCliqueMatchWithAnswer(WithAnswer, PublishedCliqueMatch):
    """Published clique match, the answer written on the root."""

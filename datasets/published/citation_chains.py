"""Citation chains, as published: a class written at the head of each chain, asked all along it."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from datasets.published.base import Published
from suite.rng import stream
from suite.task import Block, Split


class PublishedCitationChains(Published):
    """Chains classification, IGNN, arXiv:2009.06211; `SwiftieH/IGNN:load_citation_chain`.

    20 directed chains of `length` nodes for each class; x [100] is 0 but at the first node of a chain, which has its class there;
    every node has the class of its chain. 20 nodes of all chains are for training, 100 for validation, 200 for the test, drawn at
    random: a test node at hop r is asked for what stands r hops away, and **there are as many different chains as classes**.
    """

    fixed: ClassVar[bool] = True
    num_classes: int = Field(2, ge=2, le=100, description="classes")
    length: int = Field(10, ge=9, description="nodes of a chain")

    @property
    def title(self) -> str:
        return f"citation chains of {self.length} (published)"

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"directed", "disconnected"})

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        edge_index, asked = _chains(self.num_classes, self.length)
        chain = torch.arange(20 * self.num_classes * self.length) // self.length
        classes = chain // 20
        x = torch.zeros(1, chain.numel(), 100)
        heads = torch.arange(0, chain.numel(), self.length)
        x[0, heads, classes[heads]] = 1
        return Block(edge_index, x, classes[asked[self.split]][None], asked[self.split])


@lru_cache(maxsize=32)
def _chains(num_classes: int, length: int) -> tuple[Tensor, dict[Split, Tensor]]:
    """Return the edges, along the chains, and the nodes that each split asks."""
    num_nodes = 20 * num_classes * length
    node = torch.arange(num_nodes)
    along = node[node % length < length - 1]
    order = torch.randperm(num_nodes, generator=stream("published citation chains", num_classes, length))
    asked: dict[Split, Tensor] = {"train": order[:20], "validation": order[20:120], "test": order[120:320]}
    return torch.stack([along, along + 1]), asked

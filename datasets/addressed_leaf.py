"""Addressed leaf: NeighborsMatch by position. The root shows a way, left or right at every level; which class stands at its end?

              0  shows: right, left             x of node 2 says that it is a right child, of 5 that it is a left one
            /   \\
          1       2        answer: the class of 5
         / \\     / \\
        3   4   5   6

After arXiv:2006.05205, whose leaves are told by keys, which a set of nodes looks up without edges. Here a leaf is told by the
nodes above it.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from datasets.chance import commonest_share
from datasets.noise import NoiseField, noise_in_title, with_noise
from datasets.tree import Tree
from datasets.twins import WithAnswer, with_columns
from suite.hops import hop_distance
from suite.task import Block, Task, Topology


class AddressedLeaf(Task):
    """x = [class, one-hot | right child, or left | way, at the root: +1 right, -1 left, level by level | read-out flag].

    A binary tree `hops` deep, random classes at all nodes but the root. The way has `max_hops` columns, 0 below the leaves. A set
    of nodes knows the last step of the way, and then the classes of half of the leaves: it guesses the commonest, which is
    `chance`. With `crowding` c of all other leaves c alone carry a class, any of those that are children on the side of the last
    step, so that depth and load are two knobs.

    Raises ValueError for a way longer than its columns, or fewer leaves on a side than are to carry a class.
    """

    version: ClassVar[int] = 2
    hops: int = Field(3, ge=2, le=12, description="depth of the leaves")
    max_hops: int = Field(12, ge=2, le=12, description="columns for the way: one model for all depths up to there")
    num_classes: int = Field(5, ge=2, description="classes of a token")
    crowding: int | None = Field(None, ge=1, description="leaves with a class beside the one that is asked for; none: all")
    noise: NoiseField = 0.0

    @model_validator(mode="after")
    def _way_has_columns(self) -> Self:
        if self.hops > self.max_hops:
            raise ValueError(f"hops: must be <= max_hops = {self.max_hops}, got {self.hops}")
        if self.crowding is not None and self.crowding >= 2 ** (self.hops - 1):
            raise ValueError(
                f"crowding: must be < {2 ** (self.hops - 1)}, the leaves on a side at {self.hops} hops, got {self.crowding}"
            )
        return self

    @property
    def topology(self) -> Topology:
        return Tree()

    @property
    def title(self) -> str:
        crowding = "" if self.crowding is None else f", crowding {self.crowding}"
        return f"addressed leaf{crowding}{noise_in_title(self.noise)}"

    @property
    def chance(self) -> float:
        return commonest_share(2 ** (self.hops - 1) if self.crowding is None else self.crowding + 1, self.num_classes)

    @property
    def near_chance(self) -> float:
        """What lies nearer is independent of the answer, whose classes are alike."""
        return 1 / self.out_channels

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph = self.topology.graph(self.hops)
        num_nodes, first = int(graph.num_nodes or 0), Tree().size(self.hops - 1)
        classes = torch.randint(self.num_classes, (num_graphs, num_nodes), generator=rng)
        right = torch.randint(2, (num_graphs, self.hops), generator=rng)
        side = F.one_hot((torch.arange(num_nodes) + 1) % 2, 2)  # children of i are 2i + 1, left, and 2i + 2
        blank = torch.zeros(num_graphs, num_nodes, self.max_hops + 1)
        x = torch.cat([F.one_hot(classes, self.num_classes), side.expand(num_graphs, -1, -1), blank], dim=2)
        x[:, 0] = 0
        x[:, 0, self._way] = 2.0 * right - 1
        x[:, 0, -1] = 1
        if self.crowding is not None:
            x[:, first:, self.token_channels] *= self._chosen(right, rng).unsqueeze(2)
        x[:, :, self.token_channels] = with_noise(x[:, :, self.token_channels], self.noise, rng)
        leaves = torch.arange(first, num_nodes)
        return Block(graph.edge_index, x, classes.gather(1, self._leaf(right)), graph.readout_index, leaves)

    def witness(self, block: Block) -> Tensor:
        """Go down from the root, at each level to the child of the side that is shown."""
        tokens, sides = block.x[:, :, : self.num_classes], block.x[:, :, self.num_classes : self.num_classes + 2]
        reached = torch.zeros_like(sides[:, :, 0]).index_fill_(1, block.readout_index, 1)
        depth = hop_distance(block.edge_index, block.readout_index, block.num_nodes)[0]
        begin, end = block.edge_index[:, depth[block.edge_index[0]] < depth[block.edge_index[1]]]  # from parent to child
        for step in block.x[:, block.readout_index, self._way].unbind(2):  # [num_graphs, 1] each
            right = step > 0
            wanted = torch.where(right, sides[:, :, 1], sides[:, :, 0])
            reached = torch.zeros_like(reached).index_add_(1, end, reached[:, begin]) * wanted
        return (reached.unsqueeze(2) * tokens).sum(1, keepdim=True)

    @property
    def _way(self) -> slice:
        """The columns of x that the root shows its way in."""
        return slice(self.num_classes + 2, self.num_classes + 2 + self.hops)

    def _leaf(self, right: Tensor) -> Tensor:
        """Return the end of each way of `right` or left turns [num_graphs, hops]: [num_graphs, 1]."""
        return Tree().size(self.hops - 1) + (right * 2 ** torch.arange(self.hops - 1, -1, -1)).sum(1, keepdim=True)

    def _chosen(self, right: Tensor, rng: torch.Generator) -> Tensor:
        """Return which leaves carry a class, the one asked for and `crowding` more of its side: [num_graphs, num_leaves] bool."""
        assert self.crowding is not None  # none: all
        asked = self._leaf(right) - Tree().size(self.hops - 1)
        order = torch.rand(len(right), 2 ** (self.hops - 1), generator=rng).scatter_(1, asked // 2, 2.0)
        several = 2 * order.topk(self.crowding + 1, dim=1).indices + asked % 2  # every other leaf is on that side
        return torch.zeros(len(right), 2**self.hops, dtype=torch.bool).scatter_(1, several, True)

    def answer_twin(self) -> Task:
        return AddressedLeafWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return AddressedLeafMarked(**dict(self))


class AddressedLeafWithAnswer(WithAnswer, AddressedLeaf):
    """Addressed leaf, the answer written on the root."""


class AddressedLeafMarked(AddressedLeaf):
    """Addressed leaf with a column that marks the leaf."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        leaf = self._leaf(block.x[:, 0, self._way] > 0)
        return with_columns(block, torch.zeros(num_graphs, block.num_nodes).scatter_(1, leaf, 1).unsqueeze(2))

"""NeighborsMatch: the read-out shows a key; which class stands at the node `hops` away that carries it?

From Alon & Yahav (2021), arXiv:2006.05205, on trees; on a `clique_chain` it is the clique match of FoSR, arXiv:2210.11790 (there
with node ids for keys, which tie it to one size). Different here: only `crowding + 1` of the leaves carry keys, so that distance
and load are two knobs (there: all 2^hops leaves); keys come from an alphabet larger than those present;
classes are iid (there: a permutation of the keys); all other nodes carry a random class too; edges lead both ways
unless `directed`; samples are fresh. The published form is `datasets.published.PublishedNeighborsMatch`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from datasets.noise import NoiseField, noise_in_title, with_noise
from datasets.places import one_pair, shell
from datasets.topologies import TopologyField
from datasets.tree import Tree
from datasets.twins import WithAnswer
from suite.hops import hop_distance
from suite.task import Block, Task, Topology


class NeighborsMatch(Task):
    """x = [class, one-hot | key, one-hot | read-out flag]; guessing is right once in `num_classes`.

    The marked nodes are spread evenly over those at that distance, the leaves of a tree; every one of them may hold the
    answer, so all are sources. A set of nodes without edges solves it: it measures access under load, not use of
    structure. Raises ValueError where fewer nodes than are to be marked are so far away.
    """

    topology: TopologyField = Tree()
    hops: int = Field(3, description="distance of the nodes that are asked for")
    num_classes: int = Field(5, ge=2, description="classes of a token")
    crowding: int = Field(3, ge=0, description="marked nodes beside the one that is asked for")
    num_keys: int | None = Field(None, ge=1, description="size of the alphabet of keys; none: twice the marked nodes")
    directed: bool = Field(False, description="edges that come nearer to the read-out only, from child to parent")
    noise: NoiseField = 0.0

    @model_validator(mode="after")
    def _leaves_for_all_keys(self) -> Self:
        one_pair(self.topology, self.hops, "NeighborsMatch")
        room = shell(self.topology, self.hops).numel()
        if self.crowding >= room:
            raise ValueError(
                f"crowding: must be < {room}, the nodes {self.hops} hops away on this {self.topology.kind}, got {self.crowding}"
            )
        if self.num_keys is not None and self.num_keys <= self.crowding:
            raise ValueError(f"num_keys: must be > crowding = {self.crowding}, got {self.num_keys}")
        return self

    @property
    def title(self) -> str:
        return f"NeighborsMatch ({self.crowding + 1} keys{', directed' if self.directed else ''}{noise_in_title(self.noise)})"

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes)

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"directed"} if self.directed else ())

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        layout = _layout(self.topology, self.hops, self.crowding + 1, self.directed)
        alphabet, graph = self.num_keys or 2 * (self.crowding + 1), torch.arange(num_graphs).unsqueeze(1)
        classes = torch.randint(self.num_classes, (num_graphs, layout.num_nodes), generator=rng)
        keys = torch.rand(num_graphs, alphabet, generator=rng).argsort(dim=1)[:, : self.crowding + 1]
        asked = torch.randint(self.crowding + 1, (num_graphs, 1), generator=rng)
        x = torch.zeros(num_graphs, layout.num_nodes, self.num_classes + alphabet + 1)
        x.scatter_(2, classes.unsqueeze(2), 1)
        x[:, layout.readout_index] = 0
        x[:, layout.readout_index, -1] = 1
        x[graph, layout.marked, self.num_classes + keys] = 1
        x[graph, layout.readout_index, self.num_classes + keys.gather(1, asked)] = 1
        x[:, :, self.token_channels] = with_noise(x[:, :, self.token_channels], self.noise, rng)
        y = classes.gather(1, layout.marked[asked])
        return Block(layout.edge_index, x, y, layout.readout_index, layout.marked)

    def witness(self, block: Block) -> Tensor:
        """Look the root's key up among all nodes; the root itself carries no class."""
        tokens, keys = block.x[:, :, : self.num_classes], block.x[:, :, self.num_classes : -1]
        same = (keys * keys[:, block.readout_index]).sum(dim=2, keepdim=True)
        return (same * tokens).sum(dim=1, keepdim=True)

    def answer_twin(self) -> Task:
        return NeighborsMatchWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return self


class NeighborsMatchWithAnswer(WithAnswer, NeighborsMatch):
    """NeighborsMatch, the answer written on the root."""


class Layout(NamedTuple):
    """The graph, ready to draw on."""

    edge_index: Tensor
    num_nodes: int
    readout_index: Tensor
    marked: Tensor  # [num_marked] nodes that carry keys


@lru_cache(maxsize=256)
def _layout(topology: Topology, hops: int, num_marked: int, directed: bool) -> Layout:
    graph = topology.graph(hops)
    num_nodes, edge_index = int(graph.num_nodes or 0), graph.edge_index
    leaves = shell(topology, hops)
    marked = leaves[torch.arange(num_marked) * leaves.numel() // num_marked]
    if directed:
        distance = hop_distance(edge_index, graph.readout_index, num_nodes)[0]
        edge_index = edge_index[:, distance[edge_index[0]] > distance[edge_index[1]]]
    return Layout(edge_index, num_nodes, graph.readout_index, marked)

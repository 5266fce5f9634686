"""Ordered path: compose the group elements that stand on the way from the source, in their order.

    7 - 6 - 5 - 0 - 1 - 2 - 3 - 8 - 9     read-out 0, flagged source 3: y = g_3 g_2 g_1

Every node, on the way or not, carries a uniform element. Whoever misses one of the way knows nothing: y is uniform given all
others. Elements of other nodes hide which set it is: without them the parity of all nodes would be the answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache, lru_cache
from math import comb, prod
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.utils import degree

from datasets.noise import NoiseField, noise_in_title, with_noise
from datasets.path import Path
from datasets.places import one_pair, places
from datasets.topologies import TopologyField
from datasets.twins import WithAnswer
from suite.hops import hop_distance
from suite.task import Block, Task, Topology

Group = Literal["parity", "s3"]


class OrderedPath(Task):
    """x = [element, one-hot | source flag | read-out flag]; y = g_r ... g_2 g_1 over the nodes at hops 1 ... r on the way.

    `parity`: bits under exclusive or (order does not matter); `s3`: the six permutations of three things, ab meaning b first
    (order matters). The read-out carries none. `chance` is exact for parity: degrees may show that some nodes are on the way, and
    of classes of degree that stand on it and beside it a set model knows how many ones they hold; for s3 it is what the signs of
    permutations tell in this way, a lower bound.

    One element is the source's own, which its flag shows to a set of nodes: two hops are the least.

    Raises ValueError where there are several shortest ways, or where all nodes of each degree are on the way or beside it.
    """

    topology: TopologyField = Path(tail=8)
    group: Group = "parity"
    hops: int = Field(5, ge=2, description="distance of the source, and how many elements are composed")
    noise: NoiseField = 0.0

    @model_validator(mode="after")
    def _way_is_hidden(self) -> Self:
        if self._leak() == 1:
            raise ValueError(
                f"topology: must have nodes off the way of the same degree as nodes on it, or a set without edges knows it;"
                f" at {self.hops} hops this {self.topology.kind} has none: more hops, or a longer `tail`"
            )
        return self

    @property
    def title(self) -> str:
        return f"ordered path ({self.group}{noise_in_title(self.noise)})"

    @property
    def out_channels(self) -> int:
        return len(_products(self.group))

    @property
    def chance(self) -> float:
        """Accuracy of the best guess that knows elements, flag and degrees but no edges."""
        return (1 + self._leak()) / self.out_channels

    @property
    def near_chance(self) -> float:
        """What lies nearer is independent of the answer, whose classes are alike."""
        return 1 / self.out_channels

    @property
    def token_channels(self) -> slice | None:
        return slice(0, self.out_channels)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, order = self.topology.graph(self.hops), self.out_channels
        elements = torch.randint(order, (num_graphs, int(graph.num_nodes or 0)), generator=rng)
        x = torch.zeros(*elements.shape, order + 2).scatter_(2, elements.unsqueeze(2), 1)
        x[:, graph.readout_index] = 0
        x[:, graph.source_index, order] = 1
        x[:, graph.readout_index, order + 1] = 1
        y = self._composed(x[:, _way(self.topology, self.hops).nodes, :order])
        x[:, :, :order] = with_noise(x[:, :, :order], self.noise, rng)
        return Block(graph.edge_index, x, y.argmax(1, keepdim=True), graph.readout_index, graph.source_index)

    def witness(self, block: Block) -> Tensor:
        """Go from the flagged node to the read-out, always to the neighbour that is nearer to it, and compose."""
        hops = hop_distance(block.edge_index, block.readout_index, block.num_nodes)[0]
        (source,) = set(block.x[:, :, self.out_channels].argmax(1).tolist())
        nodes = _downhill(block.edge_index, hops, source)
        return self._composed(block.x[:, nodes, : self.out_channels].round()).unsqueeze(1)

    def answer_twin(self) -> Task:
        return OrderedPathWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return OrderedPathComposed(**dict(self))

    def bare_lists(self) -> Sequence[Task]:
        """Return the lists of 2 elements and more; on a path, for where their nodes stood makes no difference."""
        return [OrderedTokens(group=self.group, hops=hops, noise=self.noise) for hops in range(2, self.hops + 1)]

    def _leak(self) -> float:
        """Return what the place that tells most tells of the parity of the way."""
        ways = [_way(place, self.hops) for place in places(self.topology)]  # all, before what is dear: a place may have several
        return max(map(_leak, ways))

    def _composed(self, elements: Tensor) -> Tensor:
        """Return the product of one-hot elements [num_graphs, hops, order], the first one applied last: [num_graphs, order]."""
        table, product = _products(self.group).to(elements.dtype), elements[:, 0]
        for place in range(1, elements.size(1)):
            product = torch.einsum("na,nb,abc->nc", product, elements[:, place], table)
        return product


class OrderedPathWithAnswer(WithAnswer, OrderedPath):
    """Ordered path, the answer written on the read-out node."""


class OrderedPathComposed(OrderedPath):
    """Ordered path whose source carries the answer: nothing is left to compose, and a set finds it by the flag."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        block.x[:, block.source_index, : self.out_channels] = F.one_hot(block.y, self.out_channels).to(block.x)
        return block


class OrderedTokens(OrderedPath):
    """The control of optimisation: the elements of the way in their order, side by side on the read-out, and nothing else.

    What cannot be learned of it no graph is to blame for: a certificate of `OrderedPath` asks a recurrent net and an MLP. That
    short lists are few inputs is no matter: whether they can be learned is all that is asked.
    """

    @property
    def range(self) -> int:
        """All is on the read-out itself; `hops` is the length of the list."""
        return 0

    @property
    def title(self) -> str:
        return f"ordered tokens ({self.hops}, {self.group}{noise_in_title(self.noise)})"

    @property
    def chance(self) -> float:
        return 1 / self.out_channels

    @property
    def token_channels(self) -> None:
        """No node has a token of its own."""
        return None

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"few inputs"})

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        way = _way(self.topology, self.hops).nodes
        listed = block.x.new_zeros(num_graphs, block.num_nodes, self.hops * self.out_channels)
        listed[:, block.readout_index] = block.x[:, way, : self.out_channels].flatten(1).unsqueeze(1)
        return Block(block.edge_index, listed, block.y, block.readout_index, block.readout_index)

    def witness(self, block: Block) -> Tensor:
        """Compose what is listed."""
        listed = block.x[:, block.readout_index[0]].view(-1, self.hops, self.out_channels)
        return self._composed(listed.round()).unsqueeze(1)

    def answer_twin(self) -> Task:
        return self

    def content_twin(self) -> Task:
        return self


@cache
def _products(group: Group) -> Tensor:
    """Return T with T[a, b, c] = 1 where a b = c: [order, order, order]."""
    things = range(2 if group == "parity" else 3)
    elements = list(itertools.permutations(things))  # parity is the symmetric group of two things
    table = torch.zeros(len(elements), len(elements), len(elements))
    for (i, a), (j, b) in itertools.product(enumerate(elements), repeat=2):
        table[i, j, elements.index(tuple(a[b[thing]] for thing in things))] = 1
    return table


class _Way(NamedTuple):
    nodes: Tensor  # [hops] from the source to the one beside the read-out
    beside: tuple[tuple[int, int], ...]  # of each degree: how many nodes on the way, but for the source, and how many off it


@lru_cache(maxsize=1024)
def _way(topology: Topology, hops: int) -> _Way:
    one_pair(topology, hops, "ordered path")
    graph = topology.graph(hops)
    num_nodes, source = int(graph.num_nodes or 0), int(graph.source_index)
    distance = hop_distance(graph.edge_index, graph.readout_index, num_nodes)[0]
    try:
        nodes = _downhill(graph.edge_index, distance, source)
    except ValueError:
        raise ValueError(
            f"topology: must have one shortest way to the source, of {hops} hops; this {topology.kind} has several"
        ) from None
    degrees = degree(graph.edge_index[0], num_nodes, torch.long)
    on, off = torch.zeros(num_nodes, dtype=torch.bool), torch.ones(num_nodes, dtype=torch.bool)
    on[nodes[1:]], off[nodes], off[graph.readout_index] = True, False, False
    classes = degrees[on].unique().tolist()
    return _Way(nodes, tuple((int((on & (degrees == d)).sum()), int((off & (degrees == d)).sum())) for d in classes))


def _downhill(edge_index: Tensor, hops: Tensor, start: int) -> Tensor:
    """Return the nodes from `start` to the one before hops 0, each the only neighbour that is nearer: [hops[start]].

    Raises ValueError where there are several.
    """
    nodes = [start]
    while hops[nodes[-1]] > 1:
        beside = edge_index[1, edge_index[0] == nodes[-1]]
        (following,) = beside[hops[beside] == hops[nodes[-1]] - 1].tolist()
        nodes.append(following)
    return torch.tensor(nodes)


def _leak(way: _Way) -> float:
    """Return E |E[(-1)^y | what a set model knows]|: 1 where it knows the parity of the way, 0 where it knows nothing.

    Classes of degree are independent.
    """
    return prod((_leak_of(on, off) for on, off in way.beside), start=1.0)


@cache
def _leak_of(on: int, off: int) -> float:
    """Return the same of the bits of one degree, of which `on` are on the way.

    Of n bits, s of them ones, k are on the way: the mean of (-1)^(their sum) over all choices is the Krawtchouk polynomial
    K_k(s; n) over C(n, k). Signs of uniform permutations are such bits. Whole numbers to the end: of a thousand nodes the counts
    are beyond floats.
    """
    n = on + off
    total = sum(comb(n, s) * abs(sum((-1) ** j * comb(s, j) * comb(n - s, on - j) for j in range(on + 1))) for s in range(n + 1))
    leak: float = total / (comb(n, on) << n)
    return leak

"""Distances: how far is the source, how far is the farthest node, how far apart are the two farthest?

Single-source shortest paths (in hops, or by the cost of the nodes on the way), eccentricity and diameter, after PNA's multitask
benchmark (Corso et al., 2020, arXiv:2004.05718) and ECHO (2025, arXiv:2512.17762). Different here: graphs are long and connected
(an eighth of PNA's as published are not, and unreachable nodes carry the source's own label), the source is not asked for its 0,
each family is a task of its own, and the diameter is asked of every node rather than of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple, Self

import networkx as nx
import numpy as np
import pandas as pd
import torch
from pydantic import Field, model_validator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra, minimum_spanning_tree
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree, to_undirected

from datasets.twins import SampledWithAnswer, told_elsewhere
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Block, Loss, Task

Quantity = Literal["distance", "cost", "eccentricity", "diameter"]
Family = Literal["caterpillar", "chorded_line", "ladder", "lobster", "pruned_grid", "tree"]
UNIT = (
    5.0  # hops, or costs, that are 1 of y: the same for all sizes and families, so that one can be trained on and another asked
)
NUM_SURVEYED = 1000  # graphs that chance and the histogram of a family are estimated from


class Distances(Task):
    """x = [number | source flag, if there is one], y = answer / 5, the answer in hops but for costs.

    Numbers are U(0, 1) and say nothing; for `cost` they are 1/n, 2/n, ... 1 in random order: as a set they say nothing.

    | quantity | asked at | answer |
    |---|---|---|
    | distance | every node but the source | hops to the source |
    | cost | every node but the source | least sum of the numbers on a way from the source, whose own is left out |
    | eccentricity | every node | hops to the farthest node |
    | diameter | every node | the largest eccentricity of the graph |

    Each graph has `min_nodes` ... `max_nodes` nodes, uniformly (a ladder or grid as many as make whole rungs):

    | family | edges |
    |---|---|
    | chorded_line | a path; one node in five has an edge to another 2 ... 6 further on |
    | ladder | two paths and rungs |
    | pruned_grid | a grid 4 wide, without a fifth of its edges, connected |
    | tree | each node joins one of the three before it |
    | caterpillar | a path of half of the nodes, the others hang on it |
    | lobster | a path of half of the nodes; a quarter hang on it, the rest on those |

    Raises ValueError for the diameter of ladders, which the number of nodes gives away, and where max_nodes < min_nodes.
    """

    version: ClassVar[int] = 2
    loss: ClassVar[Loss] = "mse"
    quantity: Quantity = "distance"
    family: Family = "tree"
    min_nodes: int = Field(25, ge=8, description="nodes of the smallest graphs")
    max_nodes: int = Field(35, description="nodes of the largest graphs")

    @model_validator(mode="after")
    def _answer_is_open(self) -> Self:
        if self.max_nodes < self.min_nodes:
            raise ValueError(f"max_nodes: must be >= min_nodes = {self.min_nodes}, got {self.max_nodes}")
        if self.quantity == "diameter" and self.family == "ladder":
            raise ValueError("family: must be one whose number of nodes does not give the diameter away, got 'ladder'")
        return self

    @property
    def title(self) -> str:
        return f"{self.quantity} ({self.family.replace('_', ' ')})"

    @property
    def range(self) -> None:
        """Differs from node to node: see `distance_histogram`."""
        return None

    @property
    def chance(self) -> float:
        """Mean squared error of the best guess from the number of nodes, the own degree and the source's.

        Of a cost the guess knows the node's own besides. Estimated from 1,000 graphs of a stream of its own. The degrees of all
        nodes may tell a set model more: ask for the certificate.
        """
        return self._survey().chance

    def distance_histogram(self) -> Tensor:
        """Return the share of pairs of nodes that are 0, 1, 2, ... hops apart, in graphs as they are drawn: [max_hops + 1]."""
        return self._survey().histogram

    def sample(self, rng: torch.Generator) -> Data:
        asked = _ask(self.quantity, self.family, self.min_nodes, self.max_nodes, rng)
        n = int(asked.edge_index.max()) + 1
        x = torch.rand(n, 1, generator=rng) if asked.cost is None else asked.cost[:, None]
        if asked.source is not None:
            x = torch.cat([x, torch.zeros(n, 1).index_fill_(0, asked.source, 1)], dim=1)
        y = (asked.answer / UNIT).float()
        source = {} if asked.source is None else {"source_index": asked.source}
        return Data(x=x, edge_index=asked.edge_index, y=y, readout_index=asked.readouts, **source)

    def answer_twin(self) -> Task:
        return DistancesWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return DistancesTold(**dict(self))

    def witness(self, block: Block) -> Tensor:
        """Search breadth first from the flagged node, or from every node; for costs as Dijkstra does."""
        if self.quantity == "cost":
            found = [least_cost(block.edge_index, x[:, 0], x[:, 1].argmax(0, keepdim=True)) for x in block.x]
            cost = torch.stack(found)[:, block.readout_index] / UNIT
            return cost.unsqueeze(2).to(block.x.dtype)
        if self.quantity == "distance":
            sources, of_graph = block.x[:, :, 1].argmax(1).unique(return_inverse=True)  # type: ignore[no-untyped-call]
            hops = hop_distance(block.edge_index, sources, block.num_nodes)[of_graph][:, block.readout_index].double()
        else:
            every = torch.arange(block.num_nodes)
            hops = hops_asked(self.quantity, hop_distance(block.edge_index, every, every.numel())[:, block.readout_index])
        return (hops / UNIT).expand(block.num_graphs, -1).unsqueeze(2).to(block.x.dtype)

    def _survey(self) -> _Survey:
        return _survey(self.quantity, self.family, self.min_nodes, self.max_nodes)


class DistancesWithAnswer(SampledWithAnswer, Distances):
    """Distances, the answer written on every node that is asked."""


class DistancesTold(Distances):
    """Distances of which one node is asked, chosen at random, while another, the source if there is one, carries the answer."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        place = torch.randint(graph.readout_index.numel(), (2,), generator=rng)
        return told_elsewhere(self, graph, place[:1], graph.get("source_index", graph.readout_index[place[1:]]))


class _Asked(NamedTuple):
    edge_index: Tensor  # [2, num_edges]
    source: Tensor | None  # [1]
    readouts: Tensor  # [num_readouts]
    answer: Tensor  # [num_readouts] hops, or costs, float64
    cost: Tensor | None = None  # [num_nodes] of passing each node


def _ask(quantity: str, family: str, least: int, most: int, rng: torch.Generator) -> _Asked:
    size = int(torch.randint(least, most + 1, (), generator=rng))
    edge_index = FAMILIES[family](size, rng)
    every = torch.arange(int(edge_index.max()) + 1)
    if quantity in ("distance", "cost"):
        source = torch.randint(every.numel(), (1,), generator=rng)
        readouts = every[every != source]
        if quantity == "cost":
            cost = (1 + torch.randperm(every.numel(), generator=rng)) / every.numel()
            return _Asked(edge_index, source, readouts, least_cost(edge_index, cost, source)[readouts], cost)
        return _Asked(edge_index, source, readouts, hop_distance(edge_index, source, every.numel())[0, readouts].double())
    return _Asked(edge_index, None, every, hops_asked(quantity, hop_distance(edge_index, every, every.numel()))[0])


def hops_asked(quantity: str, distance: Tensor, source: Tensor | None = None) -> Tensor:
    """Return the answers in hops, from all distances [num_nodes, num_readouts]: [1 or num_sources, num_readouts] float64."""
    if source is not None:
        return distance[source].double()
    eccentricity = distance.amax(0, keepdim=True).double()
    return eccentricity if quantity == "eccentricity" else eccentricity.amax().expand_as(eccentricity)


def least_cost(edge_index: Tensor, cost: Tensor, source: Tensor) -> Tensor:
    """Return the least sum of `cost` [num_nodes], above 0, on a way from `source` [1] to each node: [num_nodes] float64.

    The source's own is left out, the node's own is not.
    """
    n, entering = cost.numel(), cost.double()[edge_index[1]].numpy()
    found = dijkstra(coo_array((entering, tuple(edge_index.numpy())), shape=(n, n)).tocsr(), indices=source.numpy())
    return torch.from_numpy(found[0])


class _Survey(NamedTuple):
    chance: float
    histogram: Tensor


@lru_cache(maxsize=64)
def _survey(quantity: str, family: str, least: int, most: int) -> _Survey:
    """Draw graphs from a stream of their own and return what guessing leaves open and the histogram of distances."""
    rng, parts, histogram = stream("distances", quantity, family, least, most), [], torch.zeros(most, dtype=torch.double)
    for _ in range(NUM_SURVEYED):
        asked = _ask(quantity, family, least, most, rng)
        degrees = degree(asked.edge_index[0], dtype=torch.long)
        of_source = torch.zeros(1) if asked.source is None else degrees[asked.source]
        own = torch.zeros(1) if asked.cost is None else asked.cost[asked.readouts]
        columns = [asked.answer, degrees[asked.readouts], of_source, torch.tensor([len(degrees)]), own]
        parts.append(np.stack([column.double().expand(asked.answer.numel()).numpy() for column in columns], axis=1))
        distance = hop_distance(asked.edge_index, torch.arange(len(degrees)), len(degrees)).flatten()
        histogram += torch.bincount(distance, minlength=most).double() / distance.numel() / NUM_SURVEYED
    table = pd.DataFrame(np.concatenate(parts), columns=["answer", "own", "source", "nodes", "cost"])
    table["rest"] = table["answer"] - table["cost"]
    guess = table.groupby(["own", "source", "nodes"])["rest"].transform("mean")
    chance = float((((table["rest"] - guess) / UNIT) ** 2).mean())
    longest = int(histogram.nonzero().max())
    return _Survey(chance, histogram[: longest + 1])


def _chorded_line(size: int, rng: torch.Generator) -> Tensor:
    begin = torch.randperm(size, generator=rng)[: size // 5]
    end = begin + torch.randint(2, 7, (size // 5,), generator=rng)
    chords = torch.stack([begin, end])[:, end < size]
    return _undirected(torch.cat([_path(size), chords], dim=1))


def _ladder(size: int, _rng: torch.Generator) -> Tensor:
    return _undirected(_networkx(nx.ladder_graph(size // 2)))


def _pruned_grid(size: int, rng: torch.Generator) -> Tensor:
    """A random spanning tree stays; of the other edges as many are taken as make a fifth of all, where there are so many."""
    edges = _networkx(nx.convert_node_labels_to_integers(nx.grid_2d_graph(size // 4, 4)))
    weight = 1 + torch.rand(edges.size(1), generator=rng).double()  # a minimum of random weights is a random tree
    nodes = int(edges.max()) + 1
    tree = minimum_spanning_tree(coo_array((weight.numpy(), tuple(edges.numpy())), shape=(nodes, nodes)).tocsr())
    on_tree = torch.isin(weight, torch.from_numpy(tree.data))
    others = edges[:, ~on_tree]
    kept = max(others.size(1) - round(edges.size(1) / 5), 0)
    return _undirected(torch.cat([edges[:, on_tree], others[:, torch.randperm(others.size(1), generator=rng)[:kept]]], dim=1))


def _tree(size: int, rng: torch.Generator) -> Tensor:
    child = torch.arange(1, size)
    back = (torch.rand(size - 1, generator=rng) * child.clamp(max=3)).long()  # 0, 1 or 2 nodes are passed over
    return _undirected(torch.stack([child, child - 1 - back]))


def _caterpillar(size: int, rng: torch.Generator) -> Tensor:
    spine = size // 2
    legs = torch.arange(spine, size)
    return _undirected(torch.cat([_path(spine), _hung(legs, torch.arange(spine), rng)], dim=1))


def _lobster(size: int, rng: torch.Generator) -> Tensor:
    spine, legs = size // 2, size // 4
    on_spine, on_legs = torch.arange(spine, spine + legs), torch.arange(spine + legs, size)
    hung = [_hung(on_spine, torch.arange(spine), rng), _hung(on_legs, on_spine, rng)]
    return _undirected(torch.cat([_path(spine), *hung], dim=1))


FAMILIES: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "caterpillar": _caterpillar,
    "chorded_line": _chorded_line,
    "ladder": _ladder,
    "lobster": _lobster,
    "pruned_grid": _pruned_grid,
    "tree": _tree,
}


def _path(size: int) -> Tensor:
    return torch.stack([torch.arange(size - 1), torch.arange(1, size)])


def _hung(nodes: Tensor, on: Tensor, rng: torch.Generator) -> Tensor:
    """Return one edge from each node to a random one of `on`: [2, len(nodes)]."""
    return torch.stack([nodes, on[torch.randint(on.numel(), nodes.shape, generator=rng)]])


def _networkx(graph: nx.Graph) -> Tensor:
    return torch.tensor(list(graph.edges)).T


def _undirected(edges: Tensor) -> Tensor:
    index: Tensor = to_undirected(edges)
    return index

"""Distances: how far is the source, how far is the farthest node, how far apart are the two farthest?

Single-source shortest paths (in hops, or by the cost of the nodes on the way), eccentricity and diameter, after PNA's multitask
benchmark (Corso et al., 2020, arXiv:2004.05718) and ECHO (2025, arXiv:2512.17762). Different here: graphs are long and connected
(an eighth of PNA's as published are not, and unreachable nodes carry the source's own label), the source is not asked for its 0,
any topology carries the task, and the diameter is asked of every node rather than of the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree

from datasets.chorded_line import ChordedLine
from datasets.network import Network, own_nodes
from datasets.places import has_size
from datasets.sampled import Sampled
from datasets.topologies import TopologyField
from datasets.twins import SampledWithAnswer, told_elsewhere
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Block, Loss, Task, Topology

Quantity = Literal["distance", "cost", "eccentricity", "diameter"]
WHOLE = ("eccentricity", "diameter")  # asked of the graph as it is, without a source
UNIT = (
    5.0  # hops, or costs, that are 1 of y: the same for all sizes and families, so that one can be trained on and another asked
)
NUM_SURVEYED = 1000  # graphs that chance and the histogram are estimated from,
NODES_SURVEYED = 40_000  # or fewer: of not many more nodes in all;
ALL_SURVEYED, SOURCES_SURVEYED = 256, 64  # up to how many nodes all pairs count, and from how many sources beyond
MAX_DEGREE = 15  # degrees from here on are counted as one
FOLDS = 5  # of the graphs surveyed, each guessed by a fit to the others
SAME_HOPS = 1e-6  # difference of hops that is rounding
RANK = 1e-9  # relative singular value from which degrees vary by themselves: those of a tree add up to the same


class Distances(Task):
    """x = [number | source flag, if there is one], y = answer / 5, the answer in hops but for costs.

    Numbers are U(0, 1) and say nothing; for `cost` they are 1/n, 2/n, ... 1 in random order: as a set they say nothing.

    | quantity | asked at | answer |
    |---|---|---|
    | distance | every node but the source | hops to the source |
    | cost | every node but the source | least sum of the numbers on a way from the source, whose own is left out |
    | eccentricity | every node | hops to the farthest node |
    | diameter | every node | the largest eccentricity of the graph |

    Every graph of a random family, a piece of a real network among them, is drawn afresh. Other topologies are one graph, built
    with `size` for its hops, on which sources differ; on a whole real network each split has sources of its own.

    Of eccentricity and diameter a part is in how many nodes have each degree: of the diameter's variance a quarter on random
    trees, near half on Erdős–Rényi graphs. `chance` knows it, so that whoever scores better has not only counted degrees.

    Raises ValueError for eccentricity and diameter on one graph, where a node always has the same answer, and where numbers of
    nodes and of their edges give every answer away, as on a clique; so do degrees the diameter of a random caterpillar, leaves
    and diameter of which make num_nodes + 1.
    """

    version: ClassVar[int] = 3
    loss: ClassVar[Loss] = "mse"
    quantity: Quantity = "distance"
    topology: TopologyField = ChordedLine()
    size: int = Field(12, ge=1, description="the `hops` a topology is built with that is not drawn afresh")

    @model_validator(mode="after")
    def _answer_is_open(self) -> Self:
        if not isinstance(self.topology, Sampled):
            has_size(self.topology, self.size)
            if self.quantity in WHOLE:
                families = "a random family (random_tree, chorded_line, subnetwork, ...)"
                raise ValueError(f"topology: must be {families} for '{self.quantity}', got one graph, a {self.topology.kind}")
        if not _is_open(self.quantity, self.topology.at("test", 0), self.size):
            known = "who knows " + (
                "how many nodes have each degree" if self.quantity in WHOLE else "the number of nodes and of their edges"
            )
            raise ValueError(f"topology: must leave '{self.quantity}' open to {known}, got {self.topology!r}, which tells it")
        return self

    @property
    def title(self) -> str:
        return self.quantity

    @property
    def range(self) -> None:
        """Differs from node to node: see `distance_histogram`."""
        return None

    @property
    def chance(self) -> float:
        """Mean squared error of the best guess without edges, estimated from up to 1,000 graphs of a stream of its own.

        Of distances it knows the number of nodes, the own degree and the source's, of a cost the node's own besides. Of
        eccentricity and diameter it knows how many nodes have each degree, how many edges there are, and the own degree: least
        squares, of each fifth of the graphs by a fit to the others; or the own degree alone where graphs are too few to fit more.
        """
        return self._survey().chance

    @property
    def unit(self) -> str:
        return "costs" if self.quantity == "cost" else "hops"

    def in_unit(self, y: Tensor) -> Tensor:
        return y * UNIT

    def distance_histogram(self) -> Tensor:
        """Return the share of pairs of nodes that are 0, 1, 2, ... hops apart, in graphs as they are drawn: [max_hops + 1]."""
        return self._survey().histogram

    def sample(self, rng: torch.Generator) -> Data:
        asked = _ask(self.quantity, self.topology, self.size, rng)
        n = asked.graph.num_nodes
        x = torch.rand(n, 1, generator=rng) if asked.cost is None else asked.cost[:, None]
        if asked.source is not None:
            x = torch.cat([x, torch.zeros(n, 1).index_fill_(0, asked.source, 1)], dim=1)
        y = (asked.answer / UNIT).float()
        source = {} if asked.source is None else {"source_index": asked.source}
        return Data(x=x, edge_index=asked.graph.edge_index, y=y, readout_index=asked.readouts, **source)

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
        return _survey(self.quantity, self.topology.at("test", 0), self.size)


class DistancesWithAnswer(SampledWithAnswer, Distances):
    """Distances, the answer written on every node that is asked."""


class DistancesTold(Distances):
    """Distances of which one node is asked, chosen at random, while another, the source if there is one, carries the answer."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        place = torch.randint(graph.readout_index.numel(), (2,), generator=rng)
        return told_elsewhere(self, graph, place[:1], graph.get("source_index", graph.readout_index[place[1:]]))


class _Drawn(NamedTuple):
    """A graph, and the hops between all its nodes [num_nodes, num_nodes] where it is one small graph that is asked again."""

    edge_index: Tensor  # [2, num_edges]
    num_nodes: int
    every: Tensor | None = None

    def hops(self, sources: Tensor) -> Tensor:
        """Return the hops from `sources` to all nodes: [num_sources, num_nodes] long."""
        return hop_distance(self.edge_index, sources, self.num_nodes) if self.every is None else self.every[sources]


class _Asked(NamedTuple):
    graph: _Drawn
    source: Tensor | None  # [1]
    readouts: Tensor  # [num_readouts]
    answer: Tensor  # [num_readouts] hops, or costs, float64
    cost: Tensor | None = None  # [num_nodes] of passing each node


def _ask(quantity: str, topology: Topology, size: int, rng: torch.Generator) -> _Asked:
    graph = _Drawn(*topology.afresh(rng)) if isinstance(topology, Sampled) else _the_graph(topology, size)
    every = torch.arange(graph.num_nodes)
    if quantity in ("distance", "cost"):
        sources = own_nodes(topology.name, topology.split) if isinstance(topology, Network) else every
        source = sources[torch.randint(sources.numel(), (1,), generator=rng)]
        readouts = every[every != source]
        if quantity == "cost":
            cost = (1 + torch.randperm(every.numel(), generator=rng)) / every.numel()
            return _Asked(graph, source, readouts, least_cost(graph.edge_index, cost, source)[readouts], cost)
        return _Asked(graph, source, readouts, graph.hops(source)[0, readouts].double())
    return _Asked(graph, None, every, hops_asked(quantity, graph.hops(every))[0])


@lru_cache(maxsize=64)
def _the_graph(topology: Topology, size: int) -> _Drawn:
    """Return a topology that is one graph."""
    graph = topology.graph(size)
    found = _Drawn(graph.edge_index, int(graph.num_nodes or 0))
    return found._replace(every=found.hops(torch.arange(found.num_nodes))) if found.num_nodes <= ALL_SURVEYED else found


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
def _survey(quantity: str, topology: Topology, size: int) -> _Survey:
    """Draw graphs from a stream of their own and return what guessing leaves open and the histogram of distances."""
    tables, counts, rng = [], torch.zeros(1).double(), stream("distances of pairs", repr(topology), size)
    for asked, table in _surveyed(quantity, topology, size):
        tables.append(table)
        n = asked.graph.num_nodes
        sources = torch.randperm(n, generator=rng)[:SOURCES_SURVEYED] if n > ALL_SURVEYED else torch.arange(n)
        distance = asked.graph.hops(sources).flatten()
        found = torch.bincount(distance, minlength=counts.numel()).double() / distance.numel()
        counts = found + F.pad(counts, (0, found.numel() - counts.numel()))
    left = _left_by_counts if quantity in WHOLE else _left_by_kind
    return _Survey(left(tables) / UNIT**2, counts / len(tables))


def _left_by_kind(tables: list[np.ndarray]) -> float:
    """Return the mean squared error of answering the mean of all who know the same."""
    table = pd.DataFrame(np.concatenate(tables), columns=["own", "source", "nodes", "rest"])
    guess = table.groupby(["own", "source", "nodes"])["rest"].transform("mean")
    return float(((table["rest"] - guess) ** 2).mean())


def _left_by_counts(tables: list[np.ndarray]) -> float:
    """Return the mean squared error of least squares on all that is known, or on the own degree where that does better."""
    folds = [_condensed(*tables[fold::FOLDS]) for fold in range(FOLDS)]
    every = folds[0].shape[1] - 1
    return min(_held_out(folds, every), _held_out(folds, MAX_DEGREE)) / sum(map(len, tables))


def _held_out(folds: list[np.ndarray], num_known: int) -> float:
    """Return the sum of squared errors of each fold under a fit of the first columns to the others."""
    error = 0.0
    for fold, held in enumerate(folds):
        fitted = np.concatenate(folds[:fold] + folds[fold + 1 :])
        weight = np.linalg.lstsq(fitted[:, :num_known], fitted[:, -1], rcond=RANK)[0]
        error += float(np.square(held[:, :num_known] @ weight - held[:, -1]).sum())
    return error


def _condensed(*tables: np.ndarray) -> np.ndarray:
    """Return a table of no more rows than columns on which every linear guess has the same sum of squared errors."""
    found: np.ndarray = np.linalg.qr(np.concatenate(tables)).R
    return found


@lru_cache(maxsize=256)
def _is_open(quantity: str, topology: Topology, size: int) -> bool:
    """Return whether a survey finds two answers that a guess cannot tell apart; mostly in its first graphs."""
    tables = (table for _, table in _surveyed(quantity, topology, size))
    return _fits_no_line(tables) if quantity in WHOLE else _differs_alike(tables)


def _fits_no_line(tables: Iterable[np.ndarray]) -> bool:
    seen: list[np.ndarray] = []
    for table in tables:
        seen = [_condensed(*seen, table)]
        known, rest = seen[0][:, :-1], seen[0][:, -1]
        if np.abs(known @ np.linalg.lstsq(known, rest, rcond=RANK)[0] - rest).max() > SAME_HOPS:
            return True
    return False


def _differs_alike(tables: Iterable[np.ndarray]) -> bool:
    rests: dict[tuple[float, ...], float] = {}
    for table in tables:
        for *known, rest in np.unique(table.round(9), axis=0).tolist():
            if rests.setdefault(tuple(known), rest) != rest:
                return True
    return False


def _surveyed(quantity: str, topology: Topology, size: int) -> Iterator[tuple[_Asked, np.ndarray]]:
    """Yield graphs, and of each read-out what a guess knows and, in the last column, the rest, in hops or costs.

    With a source it knows the own degree, the source's, and the number of nodes; the rest is the answer, of costs without the
    node's own. Without one it knows the own degree, one-hot, and of the graph how many nodes have each degree and how many
    ends edges have.
    """
    rng = stream("distances", quantity, repr(topology), size)
    num_nodes = (topology.afresh(rng) if isinstance(topology, Sampled) else _the_graph(topology, size)).num_nodes
    num_graphs = max(32, min(NUM_SURVEYED, NODES_SURVEYED // num_nodes))
    for _ in range(num_graphs):
        asked = _ask(quantity, topology, size, rng)
        degrees = degree(asked.graph.edge_index[0], dtype=torch.long)
        rest = asked.answer if asked.cost is None else asked.answer - asked.cost.double()[asked.readouts]
        if asked.source is None:
            one_hot = F.one_hot(degrees.clamp(max=MAX_DEGREE) - 1, MAX_DEGREE)
            own, of_graph = one_hot[asked.readouts], torch.cat([one_hot.sum(0), degrees.sum()[None]])
        else:
            own, of_graph = degrees[asked.readouts, None], torch.tensor([int(degrees[asked.source]), len(degrees)])
        yield asked, torch.cat([own, of_graph.expand(len(rest), -1), rest[:, None]], dim=1).numpy()

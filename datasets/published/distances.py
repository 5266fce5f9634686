"""Property prediction, as published: distances in random graphs, of which some are in pieces."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import networkx as nx
import torch
from torch import Tensor
from torch_geometric.data import Data

from datasets.distances import hops_asked
from datasets.published.base import Published
from datasets.twins import SampledWithAnswer, told_elsewhere
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Block, Loss, Split, Task

SETS: dict[Split, tuple[int, int]] = {"train": (10, 512), "validation": (5, 128), "test": (5, 256)}  # of 25, 26, ... nodes each
FEWEST_NODES = 25
SHARES = {  # of the families among the graphs
    "erdos_renyi": 0.2,
    "barabasi_albert": 0.2,
    "grid": 0.05,
    "caveman": 0.05,
    "tree": 0.15,
    "ladder": 0.05,
    "line": 0.05,
    "star": 0.05,
    "caterpillar": 0.1,
    "lobster": 0.1,
}
NUM_SURVEYED = 500  # graphs that mean and standard deviation are estimated from


class PublishedDistances(Published):
    """Property prediction, arXiv:2004.05718 and 2210.09789; `lukecavabarrett/pna:multitask_benchmark`.

    x = [source flag | U(0, 1)] on ten families (`family_graph`), some edges taken and others added (`toggled`); graphs with an
    isolated node are drawn again. Asked are the distance to the source, the eccentricity, and the diameter (here of every node,
    there of the graph). **An eighth of the graphs is disconnected, and what no path leads to is 0 hops away, the source's
    own answer**; most graphs are small in diameter. 512 training graphs each of 25 ... 34 nodes; **validation and test have 25 to
    29 nodes alone**, 128 and 256 of each: the published loop takes as many of its sizes as there are batches. The published order
    of the nodes is random, ours the family's. The answer is standardised; published scales differ.
    """

    version: ClassVar[int] = 2
    loss: ClassVar[Loss] = "mse"
    quantity: Literal["distance", "eccentricity", "diameter"] = "distance"

    @property
    def range(self) -> None:
        """Differs from node to node."""
        return None

    @property
    def title(self) -> str:
        return f"{self.quantity}, property prediction (published)"

    @property
    def unit(self) -> str:
        return "hops"

    def in_unit(self, y: Tensor) -> Tensor:
        survey = _survey(self.quantity)
        return y * survey.scale + survey.mean

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected"})

    def sample(self, rng: torch.Generator) -> Data:
        sizes, of_each = SETS[self.split]
        which = int(torch.randint(sizes * of_each, (1,), generator=rng))
        drawn, survey = _drawn(self.split, which), _survey(self.quantity)
        answer = _answer(self.quantity, drawn.distance, drawn.source)
        y = ((answer - survey.mean) / survey.scale).float()
        return Data(x=drawn.x, edge_index=drawn.edge_index, y=y, readout_index=torch.arange(len(y)))

    def witness(self, block: Block) -> Tensor:
        """Search breadth first; what is not reached counts as published, 0."""
        every, survey = torch.arange(block.num_nodes), _survey(self.quantity)
        distance = hop_distance(block.edge_index, every, every.numel()).clamp(min=0)
        answers = torch.stack([_answer(self.quantity, distance, source) for source in block.x[:, :, 0].argmax(1)])
        return ((answers[:, block.readout_index] - survey.mean) / survey.scale).unsqueeze(2).to(block.x.dtype)

    def answer_twin(self) -> Task:
        return PublishedDistancesWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return PublishedDistancesTold(**dict(self))


class PublishedDistancesWithAnswer(SampledWithAnswer, PublishedDistances):
    """Published property prediction, the answer written on every node."""


class PublishedDistancesTold(PublishedDistances):
    """Published property prediction of which one node is asked, while the source carries the answer."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        asked = torch.randint(graph.readout_index.numel(), (1,), generator=rng)
        return told_elsewhere(self, graph, asked, graph.x[:, 0].nonzero()[0])


class _Drawn(NamedTuple):
    edge_index: Tensor
    distance: Tensor  # [num_nodes, num_nodes] hops, 0 where no path leads
    x: Tensor
    source: Tensor  # a node, no axes


def _answer(quantity: str, distance: Tensor, source: Tensor) -> Tensor:
    """Return the answer of every node, in hops: [num_nodes] float64."""
    return hops_asked(quantity, distance, source[None] if quantity == "distance" else None)[0]


@lru_cache(maxsize=8192)
def _drawn(split: Split, which: int) -> _Drawn:
    """Return graph number `which` of a split."""
    rng = stream("published distances", split, which)
    n = FEWEST_NODES + which // SETS[split][1]
    family = list(SHARES)[int(torch.multinomial(torch.tensor(list(SHARES.values())), 1, generator=rng))]
    joined = torch.zeros(n, n, dtype=torch.bool)
    while not bool(joined.any(1).all()):  # a node is isolated
        joined = toggled(family_graph(family, n, rng), rng)
    edge_index, every = joined.nonzero().T.contiguous(), torch.arange(n)
    source = torch.randint(n, (), generator=rng)
    x = torch.cat([(every == source).float()[:, None], torch.rand(n, 1, generator=rng)], dim=1)
    return _Drawn(edge_index, hop_distance(edge_index, every, n).clamp(min=0), x, source)


def family_graph(family: str, n: int, rng: torch.Generator) -> nx.Graph:
    """Return a graph of one of the published families with exactly `n` nodes, before any edge is toggled.

    | family | graph |
    |---|---|
    | erdos_renyi | each edge with probability U(0, 1), the same for all |
    | barabasi_albert | each node joins m others, m uniform in 1 ... n - 1 |
    | grid, caveman | m x n/m, m the largest divisor of n up to its root: a grid; m cliques that no edge joins |
    | tree | degrees by a power law of exponent 3 |
    | ladder | n // 2 rungs; an odd node hangs on the first |
    | line, star | |
    | caterpillar | a path of B nodes, B uniform in 1 ... n - 1; each other node hangs on any of the path |
    | lobster | a path of B nodes as before; a uniform number, at least one, hang on it, and the rest on these |
    """
    seed = int(torch.randint(2**31, (), generator=rng))
    rows = max(m for m in range(1, math.isqrt(n) + 1) if n % m == 0)
    made = {
        "erdos_renyi": lambda: nx.gnp_random_graph(n, float(torch.rand((), generator=rng)), seed=seed),
        "barabasi_albert": lambda: nx.barabasi_albert_graph(n, _between(1, n, rng), seed=seed),
        "grid": lambda: nx.grid_2d_graph(rows, n // rows),
        "caveman": lambda: nx.caveman_graph(rows, n // rows),
        "tree": lambda: nx.random_powerlaw_tree(n, seed=seed, tries=10_000),
        "ladder": lambda: nx.compose(nx.ladder_graph(n // 2), nx.Graph([(0, n - 1)] if n % 2 else [])),
        "line": lambda: nx.path_graph(n),
        "star": lambda: nx.star_graph(n - 1),
        "caterpillar": lambda: _hung(n, _between(1, n, rng), n, rng),
        "lobster": lambda: _hung(n, spine := _between(1, n, rng), _between(spine + 1, n + 1, rng), rng),
    }[family]()
    return made


def toggled(graph: nx.Graph, rng: torch.Generator) -> Tensor:
    """Return which nodes are joined after edges were taken and added, as many of either on average: [n, n] bool, symmetric.

    Of `e` edges and `r` pairs without one a share of .02 of the fewer is changed, and as many of the others. The published code
    means to change a tenth: it compares the sum of two U(0, .5) with .9, or with .1 times a ratio, which that passes one time in
    fifty.
    """
    joined = torch.from_numpy(nx.to_numpy_array(graph)).bool()
    n, edges = graph.number_of_nodes(), graph.number_of_edges()
    missing = n * (n - 1) // 2 - edges
    fewer = min(edges, missing)
    taken, added = (2 * (0.1 * fewer / number) ** 2 if number else 0.0 for number in (edges, missing))
    change = torch.rand(n, n, generator=rng).triu(1) > 1 - torch.where(joined, taken, added)
    changed: Tensor = joined ^ (change | change.T)
    return changed


def _between(first: int, end: int, rng: torch.Generator) -> int:
    return int(torch.randint(first, end, (), generator=rng))


def _hung(n: int, spine: int, legs_end: int, rng: torch.Generator) -> nx.Graph:
    """Return a path of `spine` nodes; those up to `legs_end` hang on it, the others on these, each on any."""
    graph = nx.path_graph(spine)
    graph.add_edges_from((node, _between(0, spine, rng)) for node in range(spine, legs_end))
    graph.add_edges_from((node, _between(spine, legs_end, rng)) for node in range(legs_end, n))
    return graph


class _Survey(NamedTuple):
    mean: float
    scale: float


@lru_cache(maxsize=8)
def _survey(quantity: str) -> _Survey:
    """Return mean and standard deviation of the answer in training graphs."""
    graphs = [_drawn("train", which) for which in range(NUM_SURVEYED)]
    answers = torch.cat([_answer(quantity, graph.distance, graph.source) for graph in graphs])
    return _Survey(float(answers.mean()), float(answers.std(correction=0)))

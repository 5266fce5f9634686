"""Property prediction, as published: distances in random graphs, of which some are in pieces."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import networkx as nx
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx

from datasets.distances import FAMILIES, hops_asked
from datasets.published.base import Published
from datasets.twins import SampledWithAnswer, told_elsewhere
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Block, Loss, Split, Task

SIZES: dict[Split, int] = {"train": 5120, "validation": 640, "test": 1280}
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
TOGGLED = 0.02  # of all edges, as many as the public generator is found to change; it says a tenth
NUM_SURVEYED = 500  # graphs that mean and standard deviation are estimated from


class PublishedDistances(Published):
    """Property prediction, arXiv:2004.05718 and 2210.09789; `lukecavabarrett/pna:multitask_benchmark`.

    x = [source flag | U(0, 1)] on ten families of 25 to 35 nodes with random edges toggled; asked are the distance to the
    source, the eccentricity, and the diameter (here of every node, there of the graph). **A tenth of the graphs is disconnected
    (an eighth of the public generator's), and what no path leads to is 0 hops away, the source's own answer**; most graphs are
    small in diameter. 5,120 graphs for training, 640 and 1,280. The answer is standardised; published scales differ.
    """

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
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected"})

    def sample(self, rng: torch.Generator) -> Data:
        which = int(torch.randint(SIZES[self.split], (1,), generator=rng))
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
    graph = _graph(rng)
    edge_index, n = from_networkx(graph).edge_index, graph.number_of_nodes()
    every = torch.arange(n)
    source = torch.randint(n, (), generator=rng)
    x = torch.cat([(every == source).float()[:, None], torch.rand(n, 1, generator=rng)], dim=1)
    return _Drawn(edge_index, hop_distance(edge_index, every, n).clamp(min=0), x, source)


def _graph(rng: torch.Generator) -> nx.Graph:
    n, seed = int(torch.randint(25, 36, (1,), generator=rng)), int(torch.randint(2**31, (1,), generator=rng))
    families = list(SHARES)
    family = families[int(torch.multinomial(torch.tensor(list(SHARES.values())), 1, generator=rng))]
    side = max(2, round(n**0.5))
    made = {
        "erdos_renyi": lambda: nx.gnp_random_graph(n, float(torch.rand(1, generator=rng)), seed=seed),
        "barabasi_albert": lambda: nx.barabasi_albert_graph(n, 1 + seed % (n - 1), seed=seed),
        "grid": lambda: nx.grid_2d_graph(side, n // side),
        "caveman": lambda: nx.caveman_graph(side, n // side),
        "tree": lambda: nx.random_labeled_tree(n, seed=seed),
        "ladder": lambda: nx.ladder_graph(n // 2),
        "line": lambda: nx.path_graph(n),
        "star": lambda: nx.star_graph(n - 1),
        "caterpillar": lambda: nx.Graph(FAMILIES["caterpillar"](n, rng).T.tolist()),
        "lobster": lambda: nx.Graph(FAMILIES["lobster"](n, rng).T.tolist()),
    }[family]()
    graph = nx.Graph()  # nodes in order: from_networkx numbers them as they come
    numbered = nx.convert_node_labels_to_integers(made)
    graph.add_nodes_from(range(numbered.number_of_nodes()))
    graph.add_edges_from(numbered.edges)
    _toggle(graph, rng)
    return graph


def _toggle(graph: nx.Graph, rng: torch.Generator) -> None:
    """Flip random pairs of nodes: joined where they are not, parted where they are."""
    wanted = TOGGLED * graph.number_of_edges()
    count = int(wanted) + int(torch.rand(1, generator=rng) < wanted % 1)
    for _ in range(count):
        begin, end = torch.randperm(graph.number_of_nodes(), generator=rng)[:2].tolist()
        flip = graph.remove_edge if graph.has_edge(begin, end) else graph.add_edge
        flip(begin, end)


class _Survey(NamedTuple):
    mean: float
    scale: float


@lru_cache(maxsize=8)
def _survey(quantity: str) -> _Survey:
    """Return mean and standard deviation of the answer in training graphs."""
    graphs = [_drawn("train", which) for which in range(NUM_SURVEYED)]
    answers = torch.cat([_answer(quantity, graph.distance, graph.source) for graph in graphs])
    return _Survey(float(answers.mean()), float(answers.std(correction=0)))

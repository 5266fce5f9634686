"""Known range: y_v = sum_u D(v, u) I(x_v, x_u), a kernel D of hop distances on a fixed graph.

After Bamberger et al. (2025), arXiv:2506.05971; besides S^k on a line, ring or grid also a power law, and values that are spins:
`KnownRange(graph="torus", kernel="decay", exponent=2.6, hops=16, interaction="product", values="spin")` is the local energy of
a long-range Ising model, J = r^-(2 + sigma) in hops. Every node is asked, but those whose row of D is 0. D is the whole truth
about the task, so its range, what guessing leaves open and what is open to one who sees r hops are numbers, not estimates.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple, Self

import networkx as nx
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.utils import degree, from_networkx, to_dense_adj

from datasets.twins import WithAnswer
from suite.hops import hop_distance
from suite.task import Block, Loss, Task

MAX_NODES = 1024  # a kernel is dense
NOTHING_OPEN = 1e-9  # mean squared error: rounding


class KnownRange(Task):
    """x = [value], y = sum_u D(v, u) I(x_v, x_u) as it is, so that what is trained on one graph can be asked on another.

    | kernel | D(v, u) |
    |---|---|
    | hop | 1 for the nodes exactly `hops` away, over their number |
    | decay | distance^-`exponent` for 1 ... `hops` hops, over the sum of the row; exponent 0: all of these alike |
    | power | (S^hops)(v, u), S = (d+1)^-1/2 (A + 1) (d+1)^-1/2 |

    I is x_u (`copy`) or x_v x_u (`product`). Raises ValueError where no node has another `hops` away, there are over 1024,
    or no edge is needed, as where each node of a short line averages all others.
    """

    version: ClassVar[int] = 2
    loss: ClassVar[Loss] = "mse"
    graph: Literal["line", "ring", "grid", "torus"] = Field("grid", description="line, cycle, square grid, or periodic grid")
    size: int = Field(16, ge=3, description="nodes of a line or ring; of a side of a grid or torus")
    kernel: Literal["hop", "decay", "power"] = "hop"
    hops: int = Field(5, ge=1, description="the distance (hop), the largest one (decay), the power of S (power)")
    exponent: float = Field(0.0, ge=0, description="how fast `decay` falls; 0 for other kernels")
    interaction: Literal["copy", "product"] = "copy"
    values: Literal["normal", "spin"] = Field("normal", description="N(0, 1), or -1 and 1 alike")

    @model_validator(mode="after")
    def _kernel_can_be_built(self) -> Self:
        if self.exponent and self.kernel != "decay":
            raise ValueError(f"exponent: must be 0 for the kernel '{self.kernel}', only 'decay' has one, got {self.exponent}")
        num_nodes = self.size**2 if self.graph in ("grid", "torus") else self.size
        if num_nodes > MAX_NODES:
            raise ValueError(f"size: must give at most {MAX_NODES} nodes, {self.size} on a {self.graph} gives {num_nodes}")
        farthest = int(_graph(self.graph, self.size).distance.max())
        if self.hops > farthest:
            raise ValueError(f"hops: must be <= {farthest} on a {self.graph} of size {self.size}, got {self.hops}")
        if self.chance < NOTHING_OPEN:
            raise ValueError(
                f"size: must be larger, or hops other, for edges to matter: on a {self.graph} of size {self.size} values and"
                f" degrees give the answers of {self.hops} hops away, got {self.size}"
            )
        return self

    @property
    def title(self) -> str:
        falls = f" {self.exponent:g}" if self.kernel == "decay" else ""
        return f"known range ({self.kernel}{falls}, {self.interaction})"

    @property
    def range(self) -> int | None:
        """`hops` where all that counts is that far away; other kernels have a distribution, see `exact_range`."""
        return self.hops if self.kernel == "hop" else None

    @property
    def chance(self) -> float:
        """Mean squared error of the best guess from the own value and the set of all values and degrees.

        Nodes of one degree can be exchanged: the guess spreads the mean weight that a row of D gives to a degree evenly over its
        nodes, and keeps the mean weight on the node itself.
        """
        kernel = self.weights()
        missed = kernel - _blind(kernel, self.readouts(), _graph(self.graph, self.size).edge_index)
        return float(self._second_moment(missed))

    def readouts(self) -> Tensor:
        """Return the nodes that are asked, those with another one within the kernel: [num_readouts]."""
        return _kernel(self.graph, self.size, self.kernel, self.hops, self.exponent).any(1).nonzero().flatten()

    def weights(self) -> Tensor:
        """Return the rows of D of the nodes that are asked: [num_readouts, num_nodes], float64."""
        return _kernel(self.graph, self.size, self.kernel, self.hops, self.exponent)[self.readouts()]

    def exact_range(self) -> float:
        """Return the mean over nodes of sum_u |D(v, u)| hops(v, u) / sum_u |D(v, u)|: of `copy`, the Jacobian's range."""
        weights, distance = self.weights().abs(), _graph(self.graph, self.size).distance[self.readouts()]
        return float(((weights * distance).sum(1) / weights.sum(1)).mean())

    def oracle(self, radius: int) -> float:
        """Return the mean squared error of the best guess from the graph and all values within `radius` hops, radius >= 0."""
        beyond = _graph(self.graph, self.size).distance[self.readouts()] > radius
        return float((self.weights() * beyond).square().sum(1).mean())

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        shape, asked = (num_graphs, _graph(self.graph, self.size).distance.size(0)), self.readouts()
        x = torch.randn(shape, generator=rng) if self.values == "normal" else 2.0 * torch.randint(2, shape, generator=rng) - 1
        y = self._answers(x.double(), self.weights(), asked).float()
        return Block(_graph(self.graph, self.size).edge_index, x.unsqueeze(2), y, asked, self._sources())

    def witness(self, block: Block) -> Tensor:
        """Find all distances breadth first, weigh the values by them."""
        every = torch.arange(block.num_nodes)
        distance = hop_distance(block.edge_index, every, every.numel())
        kernel = _weights(_Graph(block.edge_index, distance), self.kernel, self.hops, self.exponent).to(block.x.dtype)
        return self._answers(block.x[:, :, 0], kernel[block.readout_index], block.readout_index).unsqueeze(2)

    def answer_twin(self) -> Task:
        return KnownRangeWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return KnownRangeTold(**dict(self))

    def _answers(self, values: Tensor, weights: Tensor, asked: Tensor) -> Tensor:
        """Return y, from values [num_graphs, num_nodes] and the rows of D of the nodes that are asked."""
        answer = values @ weights.T  # [num_graphs, num_readouts]
        if self.interaction == "product":
            answer = answer * values[:, asked]
        return answer

    def _sources(self) -> Tensor | None:
        """Return one of the nodes `hops` away from each read-out node."""
        return self.weights().argmax(1) if self.kernel == "hop" else None

    def _own(self, weights: Tensor) -> Tensor:
        """Return the weight of each node that is asked on itself: [num_readouts]."""
        return weights.gather(1, self.readouts()[:, None])[:, 0]

    def _second_moment(self, weights: Tensor) -> Tensor:
        """Return E (sum_u W(v, u) I(x_v, x_u))^2 over nodes and samples, for iid values of variance 1."""
        own = self._own(weights)
        fourth = 3.0 if self.values == "normal" else 1.0  # E x^4
        extra = (fourth - 1) * own.square() if self.interaction == "product" else torch.zeros(1)
        return (weights.square().sum(1) + extra).mean()


class KnownRangeWithAnswer(WithAnswer, KnownRange):
    """Known range, the answer written on every node that is asked."""


class KnownRangeTold(KnownRange):
    """Known range of which the first node alone is asked, while the other node that counts most for it carries the answer."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        asked, y = block.readout_index[:1], block.y[:, :1]
        told = self.weights()[0].index_fill(0, asked, 0).argmax()[None]
        column = torch.zeros(num_graphs, block.num_nodes).index_copy_(1, told, y)
        return Block(block.edge_index, torch.cat([block.x, column.unsqueeze(2)], 2), y, asked, told)


class _Graph(NamedTuple):
    edge_index: Tensor  # [2, num_edges]
    distance: Tensor  # [num_nodes, num_nodes] hops


@lru_cache(maxsize=16)
def _graph(kind: str, size: int) -> _Graph:
    graphs = {
        "line": lambda: nx.path_graph(size),
        "ring": lambda: nx.cycle_graph(size),
        "grid": lambda: nx.grid_2d_graph(size, size),
        "torus": lambda: nx.grid_2d_graph(size, size, periodic=True),
    }
    edge_index = from_networkx(nx.convert_node_labels_to_integers(graphs[kind]())).edge_index
    num_nodes = int(edge_index.max()) + 1
    return _Graph(edge_index, hop_distance(edge_index, torch.arange(num_nodes), num_nodes))


@lru_cache(maxsize=16)
def _kernel(graph: str, size: int, kernel: str, hops: int, exponent: float) -> Tensor:
    return _weights(_graph(graph, size), kernel, hops, exponent)


def _weights(graph: _Graph, kernel: str, hops: int, exponent: float) -> Tensor:
    """Return D: [num_nodes, num_nodes] float64."""
    edge_index, distance = graph
    if kernel == "power":
        loops = to_dense_adj(edge_index)[0].double() + torch.eye(len(distance))
        root = loops.sum(1).rsqrt()
        power: Tensor = torch.linalg.matrix_power(root[:, None] * loops * root, hops)
        return power
    near = distance.double().clamp(min=1)
    chosen = (distance == hops).double() if kernel == "hop" else near**-exponent * ((distance > 0) & (distance <= hops))
    weights: Tensor = chosen / chosen.sum(1, keepdim=True).clamp(min=torch.finfo(torch.double).tiny)  # a row of zeros stays one
    return weights


def _blind(weights: Tensor, asked: Tensor, edge_index: Tensor) -> Tensor:
    """Return the mean of D's rows over all ways to exchange nodes of one degree: [num_readouts, num_nodes]."""
    degrees = degree(edge_index[0], weights.size(1), torch.long)
    classes = F.one_hot(degrees).double()  # [num_nodes, degrees]
    itself = torch.zeros_like(weights).scatter_(1, asked[:, None], 1)
    others = (weights * (1 - itself)) @ classes  # [num_readouts, degrees] the weight on others of each degree
    alike = (degrees[asked][:, None] == degrees[asked]).double()
    alike = alike / alike.sum(1, keepdim=True)
    own, others = alike @ (weights * itself).sum(1, keepdim=True), alike @ others
    number = (1 - itself) @ classes  # how many others of each degree there are
    guess: Tensor = own * itself + (others / number.clamp(min=1)) @ classes.T * (1 - itself)
    return guess

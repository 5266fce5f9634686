"""Known range: y_v = sum_u D(v, u) I(x_v, x_u), a kernel D of distances on a fixed graph.

After Bamberger et al. (2025), arXiv:2506.05971, on any topology. Different here: rows are means (there sums, which grow with the
graph), a node itself counts in powers alone, and distances of values are not squared. Besides a power law, and values that are
spins: on a torus 16 wide of size 16, kernel `decay` with exponent 2.6 up to 16 hops, interaction `product` and values `spin` are
the local energy of a long-range Ising model, J = r^-(2 + sigma) in hops. Every node is asked, but those whose row of D is 0. D is
the whole truth about the task, so its range, what guessing leaves open and what is open to one who sees r hops are numbers, not
estimates.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.utils import degree, to_dense_adj

from datasets.grid import Grid
from datasets.places import has_size
from datasets.topologies import TopologyField
from datasets.twins import WithAnswer
from suite.hops import hop_distance
from suite.measures import all_resistances
from suite.task import Block, Loss, Split, Task, Topology

MAX_NODES = 1024  # a kernel is dense
MAX_PAIRS = 1 << 20  # held at once
NOTHING_OPEN = 1e-9  # mean squared error: rounding


class KnownRange(Task):
    """x = [value], y = sum_u D(v, u) I(x_v, x_u) as it is, so that what is trained on one graph can be asked on another.

    | kernel | D(v, u), over the sum of the row |
    |---|---|
    | hop | 1 for the nodes exactly `hops` away |
    | decay | distance^-`exponent` for 1 ... `hops` hops; exponent 0: all of these alike, -1: as far as they are |
    | exponential | e^(-`exponent` distance) for 1 ... `hops` hops |
    | resistance | ohms^-`exponent` for 1 ... `hops` hops, ohms the effective resistance with 1 on every edge |
    | power | P^`hops`, or the roots or inverses of its entries that are not 0 |

    P is that of `operator` on A + 1, or without `loops` on A: gcn d^-1/2 A d^-1/2, mean d^-1 A, which is a random walk, sum A, by
    which all walks count alike. Rows of gcn's P^`hops` are left as they are, so that a linear GCN is a witness.

    I is x_u (`copy`), x_v x_u (`product`), |x_v - x_u| (`distance`) or the `cosine` of two values of several `channels`.

    Raises ValueError where no node has another `hops` away, there are over 1024, or no edge is needed, as where each node of a
    short path averages all others.
    """

    version: ClassVar[int] = 3
    loss: ClassVar[Loss] = "mse"
    topology: TopologyField = Grid(width=16, extra=0)
    size: int = Field(30, description="the `hops` the topology is built with: 30 is a grid of 16 by 16")
    kernel: Literal["hop", "decay", "exponential", "resistance", "power"] = "hop"
    hops: int = Field(5, ge=1, description="the distance (hop), the power (power), the largest distance (others)")
    exponent: float = Field(0.0, ge=-4, le=16, description="how fast the kernel falls; 0 for `hop` and `power`, which do not")
    operator: Literal["gcn", "mean", "sum"] = Field("gcn", description="what `power` is a power of")
    loops: bool = Field(True, description="of `power`: each node is its own neighbour")
    entries: Literal["plain", "root", "inverse"] = Field(
        "plain", description="of `power`: as they are, or what far nodes gain by"
    )
    interaction: Literal["copy", "product", "distance", "cosine"] = "copy"
    values: Literal["normal", "spin"] = Field("normal", description="N(0, 1), or -1 and 1 alike")
    channels: int = Field(1, ge=1, le=64, description="numbers of a value; more than 1 for `cosine` alone")

    @model_validator(mode="after")
    def _topology_can_carry_hops(self) -> Self:  # the base's: here the topology is built with `size`
        has_size(self.topology, self.size)
        num_nodes = int(self.topology.graph(self.size).num_nodes or 0)
        if num_nodes > MAX_NODES:
            raise ValueError(
                f"size: must give at most {MAX_NODES} nodes, {self.size} on a {self.topology.kind} gives {num_nodes}"
            )
        return self

    @model_validator(mode="after")
    def _fields_belong_together(self) -> Self:
        if self.exponent and self.kernel in ("hop", "power"):
            raise ValueError(f"exponent: must be 0 for the kernel '{self.kernel}', which does not fall, got {self.exponent}")
        if not self.exponent and self.kernel in ("exponential", "resistance"):
            raise ValueError(f"exponent: must not be 0 for the kernel '{self.kernel}', which is 'decay' then, got 0.0")
        if self.kernel != "power":
            for field in ("operator", "loops", "entries"):
                if getattr(self, field) != type(self).model_fields[field].default:
                    raise ValueError(f"{field}: belongs to the kernel 'power', leave it out; got {getattr(self, field)!r}")
        if self.channels > 1 and self.interaction != "cosine":
            raise ValueError(f"channels: must be 1 for the interaction '{self.interaction}', got {self.channels}")
        if self.values == "spin" and self.interaction == "cosine":
            raise ValueError("values: must be normal for the interaction 'cosine', of spins 'product' is the same; got 'spin'")
        return self

    @model_validator(mode="after")
    def _kernel_can_be_built(self) -> Self:
        farthest = int(_graph(self.topology, self.size).distance.max())
        if self.hops > farthest and self.kernel != "power":
            raise ValueError(f"hops: must be <= {farthest} on a {self.topology.kind} of size {self.size}, got {self.hops}")
        if self.chance < NOTHING_OPEN:
            raise ValueError(
                f"size: must be larger, or hops other, for edges to matter: on a {self.topology.kind} of size {self.size}"
                f" values and degrees give the answers of {self.hops} hops away, got {self.size}"
            )
        return self

    @property
    def title(self) -> str:
        own = {"hop": "", "power": f" of {self.operator}"}.get(self.kernel, f" {self.exponent:g}")
        return f"known range ({self.kernel}{own}, {self.interaction})"

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
        missed = kernel - _blind(kernel, self.readouts(), _graph(self.topology, self.size).edge_index)
        return float(self._second_moment(missed))

    def at(self, split: Split, block: int) -> Self:
        """Return the task itself: of a network too every node is asked, in every split."""
        return self

    def readouts(self) -> Tensor:
        """Return the nodes that are asked, those with another one within the kernel: [num_readouts]."""
        return _kernel(self).any(1).nonzero().flatten()

    def weights(self) -> Tensor:
        """Return the rows of D of the nodes that are asked: [num_readouts, num_nodes], float64."""
        return _kernel(self)[self.readouts()]

    def exact_range(self) -> float:
        """Return the mean over nodes of sum_u D(v, u) hops(v, u) / sum_u D(v, u).

        Of `copy` that is the range of the Jacobian. Of `product` and `distance` it is, at all x, that of the Jacobian without the
        nodes that are asked, on whose own values these answers depend besides, 0 hops away.
        """
        weights, distance = self.weights(), _graph(self.topology, self.size).distance[self.readouts()]
        return float(((weights * distance).sum(1) / weights.sum(1)).mean())

    def oracle(self, radius: int) -> float:
        """Return the mean squared error of the best guess from the graph and all values within `radius` hops, radius >= 0."""
        beyond = _graph(self.topology, self.size).distance[self.readouts()] > radius
        moments = self._moments()
        return float((self.weights() * beyond).square().sum(1).mean()) * (moments.one - moments.two)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        edge_index, distance = _graph(self.topology, self.size)
        shape, asked = (num_graphs, len(distance), self.channels), self.readouts()
        x = torch.randn(shape, generator=rng) if self.values == "normal" else 2.0 * torch.randint(2, shape, generator=rng) - 1
        y = self._answers(x.double(), self.weights(), asked).float()
        return Block(edge_index, x, y, asked, self._sources())

    def witness(self, block: Block) -> Tensor:
        """Find all distances breadth first, weigh the values by them."""
        every = torch.arange(block.num_nodes)
        graph = _Graph(block.edge_index, hop_distance(block.edge_index, every, every.numel()))
        kernel = _weights(graph, self).to(block.x.dtype)
        return self._answers(block.x[:, :, : self.channels], kernel[block.readout_index], block.readout_index).unsqueeze(2)

    def answer_twin(self) -> Task:
        return KnownRangeWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return KnownRangeTold(**dict(self))

    def _answers(self, values: Tensor, weights: Tensor, asked: Tensor) -> Tensor:
        """Return y [num_graphs, num_readouts], from values [num_graphs, num_nodes, channels] and the rows of D that are asked."""
        if self.interaction == "distance":  # a number for each pair of nodes: some graphs at a time
            parts = torch.split(values[:, :, 0], max(1, MAX_PAIRS // weights.numel()))
            return torch.cat([((x[:, asked, None] - x[:, None]).abs() * weights).sum(2) for x in parts])
        if self.interaction == "cosine":
            values = F.normalize(values, dim=2)
        answer = torch.einsum("vu,guc->gvc", weights, values)
        return (answer if self.interaction == "copy" else answer * values[:, asked]).sum(2)

    def _sources(self) -> Tensor | None:
        """Return one of the nodes `hops` away from each read-out node."""
        return self.weights().argmax(1) if self.kernel == "hop" else None

    def _second_moment(self, weights: Tensor) -> Tensor:
        """Return E (sum_u W(v, u) I(x_v, x_u))^2 over nodes and samples."""
        moments, own = self._moments(), weights.gather(1, self.readouts()[:, None])[:, 0]
        others = weights.sum(1) - own
        squares = weights.square().sum(1) - own.square()
        found = (moments.one - moments.two) * squares + moments.two * others.square() + moments.own * own.square()
        return found.mean()

    def _moments(self) -> _Moments:
        """Return those of I; E I(x_v, x_v) I(x_v, x_u) is 0 for all."""
        if self.interaction == "cosine":
            return _Moments(1 / self.channels, 0.0, 1.0)
        if self.interaction == "distance":  # of normal values: x_v - x_u and x_v - x_w are normal, correlated by 1/2
            return _Moments(2.0, 1 / 3 + 2 * math.sqrt(3) / math.pi if self.values == "normal" else 1.0, 0.0)
        fourth = 3.0 if self.values == "normal" else 1.0  # E x^4
        return _Moments(1.0, 0.0, fourth if self.interaction == "product" else 1.0)


class _Moments(NamedTuple):
    one: float  # E I(x_v, x_u)^2, of iid values
    two: float  # E I(x_v, x_u) I(x_v, x_w)
    own: float  # E I(x_v, x_v)^2


class KnownRangeWithAnswer(WithAnswer, KnownRange):
    """Known range, the answer written on every node that is asked."""


class KnownRangeTold(KnownRange):
    """Known range of which the first node alone is asked; the other that counts most for it carries a flag and the answer."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        block = super().draw(num_graphs, rng)
        asked, y = block.readout_index[:1], block.y[:, :1]
        told = self.weights()[0].index_fill(0, asked, 0).argmax()[None]
        columns = torch.zeros(num_graphs, block.num_nodes, 2)
        columns[:, told] = torch.stack([y, torch.ones_like(y)], dim=2)
        return Block(block.edge_index, torch.cat([block.x, columns], 2), y, asked, told)


class _Graph(NamedTuple):
    edge_index: Tensor  # [2, num_edges]
    distance: Tensor  # [num_nodes, num_nodes] hops


@lru_cache(maxsize=16)
def _graph(topology: Topology, size: int) -> _Graph:
    edge_index, num_nodes = topology.graph(size).edge_index, int(topology.graph(size).num_nodes or 0)
    return _Graph(edge_index, hop_distance(edge_index, torch.arange(num_nodes), num_nodes))


@lru_cache(maxsize=16)
def _kernel(task: KnownRange) -> Tensor:
    return _weights(_graph(task.topology, task.size), task)


def _weights(graph: _Graph, task: KnownRange) -> Tensor:
    """Return D: [num_nodes, num_nodes] float64."""
    edge_index, distance = graph
    if task.kernel == "power":
        power = _power(edge_index, len(distance), task)
        if task.entries == "plain" and task.operator == "gcn":
            return power
        weights = {"plain": power, "root": power.sqrt(), "inverse": 1 / power.where(power > 0, torch.inf)}[task.entries]
    elif task.kernel == "hop":
        weights = (distance == task.hops).double()
    else:
        apart = distance.double() if task.kernel != "resistance" else _ohms(edge_index, len(distance))
        apart = apart.where(distance > 0, 1)
        falls = (-task.exponent * apart).exp() if task.kernel == "exponential" else apart**-task.exponent
        weights = falls * ((distance > 0) & (distance <= task.hops))
    return weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(torch.double).tiny)  # a row of zeros stays one


def _power(edge_index: Tensor, num_nodes: int, task: KnownRange) -> Tensor:
    adjacency = to_dense_adj(edge_index, max_num_nodes=num_nodes)[0].double() + task.loops * torch.eye(num_nodes)
    degrees = adjacency.sum(1, keepdim=True)
    scale = {"gcn": (degrees * degrees.T).rsqrt(), "mean": 1 / degrees, "sum": 1 / degrees.max()}[task.operator]
    power: Tensor = torch.linalg.matrix_power(adjacency * scale, task.hops)
    return power


def _ohms(edge_index: Tensor, num_nodes: int) -> Tensor:
    return all_resistances(edge_index, num_nodes, torch.arange(num_nodes))


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

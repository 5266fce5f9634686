"""Rewirings: other edges for the same nodes, made from the graph alone, and the table of all of them.

A rewiring says which pairs of nodes it joins and which it parts; `rewire` does the rest alike for all of them. Every random
choice comes from a stream named by the content of the graph and the settings, so all splits, seeds and models see one graph.

Hop distances on the axes of a report stay those of the task's own graph; `suite.measures.rewiring` says what became of them.
"""

from __future__ import annotations

import hashlib
import math
import time
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, field_validator
from scipy.linalg import eigh, expm
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from torch import Tensor
from torch_geometric.utils import coalesce, contains_self_loops, is_undirected, remove_self_loops, to_undirected

from suite.cell import FactorRef
from suite.curvature import balanced_forman, ollivier_ricci
from suite.hops import hop_distance
from suite.models.factor import Factor, resolve_factor
from suite.rng import stream

ALL_VALUES = 1024  # nodes up to which eigenvectors are found directly
DENSE = 4096  # nodes of a graph whose matrices are held in full
MAX_PAIRS = 1 << 23  # of nodes that one rewiring may join
SAME = 1e-9  # relative difference below which scores are equal, and chance decides


class Graph(NamedTuple):
    """What a rewiring sees: edges that are unique, in canonical order; no features."""

    edge_index: Tensor  # [2, num_edges] long
    num_nodes: int
    readout_index: Tensor | None = None  # [num_readouts] long

    @property
    def pairs(self) -> np.ndarray:
        """The undirected edges, self-loops aside, smaller node first: [num_pairs, 2]."""
        source, target = self.edge_index.numpy()
        ordered = np.stack([np.minimum(source, target), np.maximum(source, target)], 1)
        return np.unique(ordered[source != target], axis=0)

    @property
    def adjacency(self) -> np.ndarray:
        """[num_nodes, num_nodes] bool, symmetric, without self-loops."""
        matrix = np.zeros((self.num_nodes, self.num_nodes), dtype=bool)
        a, b = self.pairs.T
        matrix[a, b] = matrix[b, a] = True
        return matrix


class Change(NamedTuple):
    """Which nodes are joined and parted; new nodes are numbered behind the graph's own. Pairs may stand in either order."""

    joined: np.ndarray  # [num_joined, 2]
    parted: np.ndarray = np.zeros((0, 2), dtype=int)  # [num_parted, 2]
    new_nodes: int = 0


class Rewired(NamedTuple):
    """A rewired graph. Edges that `Graph.edge_index` does not have are new (`edge_types`)."""

    edge_index: Tensor  # [2, num_edges] long, unique, both directions of what was joined
    num_nodes: int
    seconds: float  # that rewiring took


class Rewiring(Factor):
    """Base of the rewirings: fields are settings, `change` is the method.

    What the graph alone decides does not depend on how its nodes are numbered. Where several choices are equally good, or the
    method draws, chance decides, from the stream of the graph's content: numbered otherwise, the graph is drawn another one.

    Attributes:
        channel: what it opens past the task's own edges, a tag of `Model.global_channel`; empty where it only takes away.
        max_nodes: the largest graph that the method can do.
        undirected: whether the method is defined on undirected graphs alone.
        one_readout: whether it starts from the read-out node, and needs exactly one.
    """

    channel: ClassVar[frozenset[str]] = frozenset({"rewiring"})
    max_nodes: ClassVar[int] = 1 << 20
    undirected: ClassVar[bool] = True
    one_readout: ClassVar[bool] = False

    def refusal(self, graph: Graph) -> str | None:
        """Return why `graph` cannot be rewired so, and what would do; None where it can."""
        if graph.num_nodes > self.max_nodes:
            return f"needs a graph of at most {self.max_nodes:,} nodes, whose matrices fit in memory; got {graph.num_nodes:,}"
        if self.undirected and not is_undirected(graph.edge_index, num_nodes=graph.num_nodes):
            return "is defined on undirected graphs; this one has edges in one direction only"
        readouts = 0 if graph.readout_index is None else graph.readout_index.numel()
        if self.one_readout and readouts != 1:
            return f"needs exactly one read-out node, around which it builds; got {readouts}"
        return None

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        """Return which nodes of `graph`, which is not refused, are joined and parted."""
        raise NotImplementedError


class Adding(Rewiring):
    """Base of the methods that add edges one by one, in one measure, so that all can be given as many."""

    share: float = Field(0.25, gt=0, description="edges to add, as a share of those that the graph has")

    def budget(self, graph: Graph) -> int:
        """Return how many undirected edges are added: at least one, at most all that are absent."""
        edges = len(graph.pairs)
        absent = graph.num_nodes * (graph.num_nodes - 1) // 2 - edges
        return min(absent, max(1, math.ceil(self.share * edges)))


def rewire(rewiring: Rewiring, edge_index: Tensor, num_nodes: int, readout_index: Tensor | None = None) -> Rewired:
    """Return the rewired graph, made once for each content of the graph.

    Edges come out unique and in canonical order. What was joined is joined in both directions; edges that stay keep theirs, and
    self-loops stay where the graph has them. Raises ValueError for a graph that the method refuses, with the reason.
    """
    edges = coalesce(edge_index.cpu(), num_nodes=num_nodes)
    readouts = readout_index.cpu().numpy().tobytes() if rewiring.one_readout and readout_index is not None else None
    return _rewired(rewiring, edges.numpy().tobytes(), num_nodes, readouts)


@lru_cache(maxsize=1024)
def _rewired(rewiring: Rewiring, edges: bytes, num_nodes: int, readouts: bytes | None) -> Rewired:
    edge_index = _longs(edges).view(2, -1)
    graph = Graph(edge_index, num_nodes, None if readouts is None else _longs(readouts))
    if reason := rewiring.refusal(graph):
        raise ValueError(f"rewiring '{name_of(rewiring)}' {reason}")
    content = hashlib.blake2b(edges).hexdigest()
    rng = stream("rewiring", name_of(rewiring), rewiring.version, rewiring.model_dump(mode="json"), content, num_nodes)
    start = time.perf_counter()
    change = rewiring.change(graph, rng)
    total = num_nodes + change.new_nodes
    kept = edge_index[:, ~_among(edge_index, change.parted, total)]
    joined = to_undirected(torch.from_numpy(change.joined.T.copy()).long(), num_nodes=total)
    if not contains_self_loops(edge_index):
        joined = remove_self_loops(joined)[0]
    return Rewired(coalesce(torch.cat([kept, joined], 1), num_nodes=total), total, time.perf_counter() - start)


def edge_types(edge_index: Tensor, original_index: Tensor) -> Tensor:
    """Return 0 for the edges of `edge_index` that are among `original_index`, 1 for those that a rewiring added: [num_edges]."""
    size = 1 + max((int(edges.max()) for edges in (edge_index, original_index) if edges.numel()), default=0)
    return (~_among(edge_index, original_index.T.numpy(), size, both=False)).long()


def resolve_rewiring(name: str, settings: dict[str, Any] | None = None) -> FactorRef:
    """Return the reference of rewiring `name` with every setting written out; raises as `resolve_factor`."""
    return resolve_factor("rewiring", REWIRINGS, name, settings)


def load_rewiring(ref: FactorRef) -> Rewiring:
    """Return the rewiring that `ref` names."""
    return REWIRINGS[ref.name].model_validate(ref.settings)


def name_of(rewiring: Rewiring) -> str:
    """Return what the table calls the kind of `rewiring`."""
    return next(name for name, cls in REWIRINGS.items() if cls is type(rewiring))


# nodes between all


class VirtualNodes(Rewiring):
    """New nodes, without features of their own, joined to every node (1704.01212): at the end, numbered behind all others."""

    title: ClassVar[str] = "virtual node in the graph"
    channel: ClassVar[frozenset[str]] = frozenset({"virtual_node"})
    undirected: ClassVar[bool] = False

    num_nodes: int = Field(1, ge=1, description="how many are appended")

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        new = graph.num_nodes + np.arange(self.num_nodes)
        return Change(_every_pair(np.arange(graph.num_nodes), new), new_nodes=self.num_nodes)


# sparse graphs that mix fast, laid over the graph whatever its edges


class Expander(Rewiring):
    """A random regular graph over the nodes, besides the graph's own edges (as in Exphormer, 2303.06147).

    It is connected, and drawn again until it is. A complete graph where there are no more than `degree` + 1 nodes.
    """

    title: ClassVar[str] = "expander"
    undirected: ClassVar[bool] = False

    degree: int = Field(4, ge=3, description="of every node in the random graph; even where a graph's number of nodes is odd")

    def refusal(self, graph: Graph) -> str | None:
        if graph.num_nodes > self.degree + 1 and graph.num_nodes * self.degree % 2:
            return f"needs an even degree on an odd number of nodes, {graph.num_nodes}; got {self.degree}"
        return super().refusal(graph)

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        return Change(random_regular(graph.num_nodes, self.degree, rng))


FEW = 16  # up to so many neighbours a few tries will pair them, whatever the number of nodes


def random_regular(num_nodes: int, degree: int, rng: torch.Generator) -> np.ndarray:
    """Return a connected random regular graph without loops or repeated edges: [num_nodes * degree / 2, 2].

    Half-edges are paired at random, and again those whose pairs are not allowed (Steger and Wormald, 1999): close to uniform.
    Half of all pairs and more are what a sparser such graph leaves out, since hardly any pairing would do; by Dirac's theorem
    they are connected.
    """
    every = np.stack(np.triu_indices(num_nodes, 1), 1)
    if num_nodes <= degree + 1:
        return every
    if degree > FEW and 2 * degree >= num_nodes:
        while (out := _paired(num_nodes, num_nodes - 1 - degree, rng)) is None:
            pass
        return every[~np.isin(every @ (num_nodes, 1), out @ (num_nodes, 1))]
    while True:
        pairs = _paired(num_nodes, degree, rng)
        if pairs is not None and not _pieces(pairs, num_nodes).any():  # all in number 0
            return pairs


def _paired(num_nodes: int, degree: int, rng: torch.Generator) -> np.ndarray | None:
    """Pair all half-edges, or return None where those left over cannot be."""
    left, found = np.repeat(np.arange(num_nodes), degree), set[tuple[int, int]]()
    while left.size:
        left = left[torch.randperm(left.size, generator=rng).numpy()]
        over: list[int] = []
        for a, b in np.sort(left.reshape(-1, 2), axis=1).tolist():
            if a == b or (a, b) in found:
                over += [a, b]
            else:
                found.add((a, b))
        if over and all(a == b or (a, b) in found for a in set(over) for b in set(over) if a <= b):
            return None
        left = np.array(over, dtype=int)
    return np.array(sorted(found))


class Cayley(Rewiring):
    """The Cayley graph of SL(2, Z_n), 4-regular and an expander, laid over the nodes besides the graph's own edges (2210.02997).

    n >= 3 is the smallest for which the group has an element for every node. Elements are taken breadth-first from the identity
    until there are enough, so that what is left stays connected (some degrees are then below 4), and given to nodes at random,
    so that it does not matter how nodes are numbered.
    """

    title: ClassVar[str] = "Cayley graph"
    undirected: ClassVar[bool] = False

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        order = next(n for n in range(3, graph.num_nodes + 4) if cayley_size(n) >= graph.num_nodes)
        place = torch.randperm(graph.num_nodes, generator=rng).numpy()
        return Change(place[cayley_graph(order, graph.num_nodes)])


def cayley_size(n: int) -> int:
    """Return the number of elements of SL(2, Z_n): n^3 times the product of 1 - 1 / p^2 over the primes p that divide n."""
    primes = [p for p in range(2, n + 1) if n % p == 0 and all(p % q for q in range(2, p))]
    return n**3 * math.prod(p * p - 1 for p in primes) // math.prod(p * p for p in primes)


def cayley_graph(n: int, at_most: int) -> np.ndarray:
    """Return the edges among the first `at_most` elements of SL(2, Z_n), breadth-first: [num_edges, 2].

    Edges join g with g s, s one of (1 1; 0 1), (1 0; 1 1) and their inverses.
    """
    identity = (1, 0, 0, 1)
    place, queue = {identity: 0}, [identity]
    edges = []
    for a, b, c, d in queue:
        for other in ((a, a + b, c, c + d), (a, b - a, c, d - c), (a + b, b, c + d, d), (a - b, b, c - d, d)):
            reached = (other[0] % n, other[1] % n, other[2] % n, other[3] % n)
            if reached not in place and len(place) < at_most:
                place[reached] = len(place)
                queue.append(reached)
            if reached in place:
                edges.append((place[a, b, c, d], place[reached]))
    return np.unique(np.sort(np.array(edges), axis=1), axis=0)


# edges from the graph's own


class TwoHop(Rewiring):
    """An edge between any two nodes that have a neighbour in common: distances halve."""

    title: ClassVar[str] = "two-hop edges"

    def refusal(self, graph: Graph) -> str | None:
        degree = np.bincount(graph.edge_index[0].numpy(), minlength=1)
        if (degree**2).sum() > MAX_PAIRS:
            return f"would join more than {MAX_PAIRS:,} pairs: the graph has hubs; largest degree {degree.max():,}"
        return super().refusal(graph)

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        source, target = graph.edge_index.numpy()
        matrix = csr_array((np.ones(source.size), (source, target)), shape=(graph.num_nodes, graph.num_nodes))
        return Change(np.stack((matrix @ matrix).nonzero(), 1))


class LevelPreserving(Rewiring):
    """Complete bipartite edges between consecutive breadth-first levels of the read-out node.

    It opens the graph as wide as can be, and leaves every distance to the read-out node as it is. Since it has to know that
    node it is no method but an intervention: it tells distance from bottleneck.
    """

    title: ClassVar[str] = "wide levels"
    one_readout: ClassVar[bool] = True

    def refusal(self, graph: Graph) -> str | None:
        reason = super().refusal(graph)
        if reason is None and (pairs := sum(a.size * b.size for a, b in self._levels(graph))) > MAX_PAIRS:
            return f"would join {pairs:,} pairs, of at most {MAX_PAIRS:,}: the levels are too wide"
        return reason

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        found = [_every_pair(near, far) for near, far in self._levels(graph)]
        return Change(np.concatenate([np.zeros((0, 2), dtype=int), *found]))

    def _levels(self, graph: Graph) -> list[tuple[np.ndarray, np.ndarray]]:
        assert graph.readout_index is not None
        hops = hop_distance(graph.edge_index, graph.readout_index, graph.num_nodes)[0].numpy()
        levels = [np.flatnonzero(hops == level) for level in range(hops.max() + 1)]
        return list(pairwise(levels))


class GDC(Rewiring):
    """Graph diffusion convolution, DIGL: the edges with the most diffusion between their ends, in place of the graph's own.

    T = D~^-1/2 (A + I) D~^-1/2; personalised PageRank alpha (I - (1 - alpha) T)^-1 or the heat kernel exp(t (T - I)). Kept are
    the `degree` * num_nodes largest entries, loops included, and all that equal the last of them. The weights of the entries,
    which 1911.05485 goes on with, are left behind: here every edge counts alike, in every model.
    """

    title: ClassVar[str] = "GDC"
    max_nodes: ClassVar[int] = DENSE

    kernel: Literal["ppr", "heat"] = Field("ppr", description="personalised PageRank, or heat")
    alpha: float = Field(0.15, gt=0, lt=1, description="of ppr: probability to return")
    time: float = Field(5.0, gt=0, description="of heat: how long it flows")
    degree: int = Field(6, ge=2, description="entries kept for each node on average, its loop included")

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        with_loops = graph.adjacency + np.eye(graph.num_nodes)
        scale = with_loops.sum(1) ** -0.5
        step, eye = scale[:, None] * with_loops * scale, np.eye(graph.num_nodes)
        if self.kernel == "ppr":
            diffused = self.alpha * np.linalg.inv(eye - (1 - self.alpha) * step)
        else:
            diffused = expm(self.time * (step - eye))
        wanted = min(self.degree * graph.num_nodes, diffused.size)
        threshold = np.partition(diffused.ravel(), diffused.size - wanted)[diffused.size - wanted]
        kept = diffused >= threshold * (1 - SAME)
        return _difference(graph.adjacency, (kept | kept.T) & ~eye.astype(bool))


# edges added where they help most


class FoSR(Adding):
    """Edges that widen the spectral gap the most, to first order (2210.11790).

    Each step joins the pair i, j with the smallest x_i x_j / sqrt((1 + d_i) (1 + d_j)), x the eigenvector of the normalised
    adjacency's second largest eigenvalue: the exact one here (of a degenerate one: a random one), where the paper iterates.
    """

    title: ClassVar[str] = "FoSR"
    max_nodes: ClassVar[int] = DENSE

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        matrix, joined = graph.adjacency, []
        for _ in range(self.budget(graph)):
            y = _slow_vector(matrix, rng) / np.sqrt(1 + matrix.sum(1))
            joined.append(_join_best(matrix, -np.outer(y, y), rng))
        return Change(np.array(joined).reshape(-1, 2))


class GTR(Adding):
    """Edges that lower the total effective resistance the most, greedily (2302.06835).

    Joining u and v lowers it by n |L^+ (e_u - e_v)|^2 / (1 + R_uv); the pseudo-inverse L^+ of the Laplacian is then updated.
    Of a graph in pieces it is the sum over pieces that counts, n the nodes of the piece, and no edge leads from one to another:
    it ends early where every piece is complete.
    """

    title: ClassVar[str] = "GTR"
    max_nodes: ClassVar[int] = DENSE

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        matrix, joined = graph.adjacency, []
        inverse = np.linalg.pinv(np.diag(matrix.sum(1)) - matrix.astype(float), hermitian=True)
        piece = _pieces(graph.pairs, graph.num_nodes)
        nodes, closed = np.bincount(piece)[piece], matrix | (piece[:, None] != piece)
        for _ in range(min(self.budget(graph), int(np.triu(~closed, 1).sum()))):
            gain = nodes * _squared_distances(inverse @ inverse) / (1 + _squared_distances(inverse))
            u, v = _join_best(closed, gain, rng)
            joined.append((u, v))
            change = inverse[u] - inverse[v]
            inverse = inverse - np.outer(change, change) / (1 + change[u] - change[v])
        return Change(np.array(joined).reshape(-1, 2))


class SDRF(Adding):
    """Support for the most negatively curved edge, again and again (2111.14522, algorithm 1).

    Each step takes the edge i, j of least balanced Forman curvature and joins a node k of i's closed neighbourhood with a node l
    of j's, drawn by a softmax of temperature tau over how much that raises the edge's curvature; then the edge of the largest
    curvature is parted, where that is above `remove_above`. The curvature is the definition's: the authors' code computes
    another. It ends early where no such pair is left.
    """

    title: ClassVar[str] = "SDRF"
    max_nodes: ClassVar[int] = DENSE

    tau: float = Field(50.0, gt=0, description="inverse temperature: large takes the best, small takes any")
    remove_above: float | None = Field(None, gt=0, description="curvature from which an edge may be parted; none: never")

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        matrix = graph.adjacency
        curvature = {(int(a), int(b)): balanced_forman(matrix, a, b) for a, b in graph.pairs}
        for _ in range(self.budget(graph)):
            worst = _least(curvature, rng)
            pair = self._support(matrix, *worst, curvature[worst], rng)
            if pair is None:
                break
            _toggle(matrix, curvature, pair)
            best = _least({edge: -value for edge, value in curvature.items()}, rng)
            if self.remove_above is not None and curvature[best] > self.remove_above:
                _toggle(matrix, curvature, best)
        return _difference(graph.adjacency, matrix)

    def _support(self, matrix: np.ndarray, i: int, j: int, now: float, rng: torch.Generator) -> tuple[int, int] | None:
        """Draw a pair around the edge i, j to be joined; None where all pairs are."""
        around_i, around_j = (np.append(np.flatnonzero(matrix[node]), node) for node in (i, j))
        pairs = sorted({(int(min(k, l)), int(max(k, l))) for k in around_i for l in around_j if k != l and not matrix[k, l]})  # noqa: E741
        if not pairs:
            return None
        gains = []
        for pair in pairs:
            matrix[pair] = matrix[pair[::-1]] = True
            gains.append(balanced_forman(matrix, i, j) - now)
            matrix[pair] = matrix[pair[::-1]] = False
        chance = torch.softmax(self.tau * torch.tensor(gains, dtype=torch.float64), 0)
        return pairs[int(torch.multinomial(chance, 1, generator=rng))]


class BORF(Adding):
    """Edges across the most negatively curved ones, a batch at a time, by Ollivier-Ricci curvature (2211.15779).

    In each batch, for the edges of least curvature: join the pair that costs most in the optimal transport between the
    neighbours of its ends; and part the edges of largest curvature. `share` is what all batches join together, at most: pairs
    that are joined already are left. On a tree parting would disconnect, so that by default nothing is parted.
    """

    title: ClassVar[str] = "BORF"
    version: ClassVar[int] = 2
    max_nodes: ClassVar[int] = 1024  # a linear program for every edge and batch

    batches: int = Field(3, ge=1, description="how often curvature is computed")
    remove_share: float = Field(0.0, ge=0, description="edges to part in all batches, as a share of those that the graph has")

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        place = torch.randperm(graph.num_nodes, generator=rng).numpy()  # else numbers choose among optimal transports
        matrix = graph.adjacency[np.ix_(place, place)]
        join, part = self.budget(graph), math.floor(self.remove_share * len(graph.pairs))
        for batch in range(self.batches):
            plans = {(int(a), int(b)): ollivier_ricci(matrix, a, b) for a, b in np.argwhere(np.triu(matrix))}
            chance = dict(zip(plans, torch.rand(len(plans), generator=rng).tolist(), strict=True))  # among equals
            order = sorted(plans, key=lambda edge: (round(plans[edge].curvature, 9), chance[edge]))
            num_joined, num_parted = (total // self.batches + (batch < total % self.batches) for total in (join, part))
            for edge in order[len(order) - num_parted :]:
                matrix[edge] = matrix[edge[::-1]] = False
            for edge in order[:num_joined]:
                plan = plans[edge]
                k, l = np.unravel_index(plan.cost.argmax(), plan.cost.shape)  # noqa: E741
                u, v = plan.sources[k], plan.targets[l]
                matrix[u, v] = matrix[v, u] = u != v or matrix[u, v]
        back = place.argsort()
        return _difference(graph.adjacency, matrix[np.ix_(back, back)])


# controls


class RandomEdges(Rewiring):
    """As many edges as another rewiring joins and parts, at random: what it gains, no choice of edges has earned."""

    title: ClassVar[str] = "random edges"
    max_nodes: ClassVar[int] = DENSE

    like: FactorRef = Field(description="the rewiring to be held against: a name, or { name = ..., its settings }")

    @field_validator("like", mode="before")
    @classmethod
    def _resolved(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise ValueError(f"must be the name of a rewiring or a table with a name, got {value!r}")
        if {"settings", "version"} <= set(value):
            return value
        settings = {key: setting for key, setting in value.items() if key != "name"}
        if value["name"] in UNCHOSEN:
            raise ValueError(f"must be a rewiring that chooses edges among the graph's nodes, got '{value['name']}'")
        return resolve_rewiring(value["name"], settings)

    @property
    def one_readout(self) -> bool:  # type: ignore[override]  # a class says it, this one repeats the other's
        return load_rewiring(self.like).one_readout

    def refusal(self, graph: Graph) -> str | None:
        return super().refusal(graph) or load_rewiring(self.like).refusal(graph)

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        other = rewire(load_rewiring(self.like), *graph)
        before, after = graph.adjacency, Graph(other.edge_index, graph.num_nodes).adjacency
        return Change(
            _some(np.argwhere(np.triu(~before, 1)), int(np.triu(after & ~before).sum()), rng),
            _some(graph.pairs, int(np.triu(before & ~after).sum()), rng),
        )


class EdgeFree(Rewiring):
    """No edges at all: the twin of any model whose operator is the identity. Self-loops go, too; operators add their own.

    An encoding still tells of the graph's own edges: a model with one says what the encoding alone can do.
    """

    title: ClassVar[str] = "no edges"
    channel: ClassVar[frozenset[str]] = frozenset()
    undirected: ClassVar[bool] = False

    def change(self, graph: Graph, rng: torch.Generator) -> Change:
        return Change(np.zeros((0, 2), dtype=int), graph.edge_index.T.numpy())


REWIRINGS: dict[str, type[Rewiring]] = {
    "virtual_node": VirtualNodes,
    "expander": Expander,
    "cayley": Cayley,
    "two_hop": TwoHop,
    "gdc": GDC,
    "sdrf": SDRF,
    "fosr": FoSR,
    "borf": BORF,
    "gtr": GTR,
    "level_preserving": LevelPreserving,
    "random_edges": RandomEdges,
    "edge_free": EdgeFree,
}


UNCHOSEN = frozenset({"virtual_node", "random_edges", "edge_free"})  # that have no control of as many edges at random


# parts of the methods


def _longs(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, dtype=np.int64).copy())


def _among(edge_index: Tensor, pairs: np.ndarray, num_nodes: int, both: bool = True) -> Tensor:
    """Return which edges are among `pairs` [num_pairs, 2], in `both` directions or as they stand: [num_edges] bool."""
    source, target = edge_index.numpy()
    numbers = pairs[:, 0] * num_nodes + pairs[:, 1]
    if both:
        numbers = np.concatenate([numbers, pairs[:, 1] * num_nodes + pairs[:, 0]])
    return torch.from_numpy(np.isin(source * num_nodes + target, numbers))


def _some(pairs: np.ndarray, count: int, rng: torch.Generator) -> np.ndarray:
    chosen: np.ndarray = pairs[torch.randperm(len(pairs), generator=rng)[:count].numpy()]
    return chosen


def _every_pair(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(some, others), -1).reshape(-1, 2)


def _difference(before: np.ndarray, after: np.ndarray) -> Change:
    """Return the change from one adjacency matrix to another."""
    return Change(np.argwhere(np.triu(after & ~before)), np.argwhere(np.triu(before & ~after)))


def _pieces(pairs: np.ndarray, num_nodes: int) -> np.ndarray:
    """Return the number of the connected component of each node: [num_nodes]."""
    matrix = csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(num_nodes, num_nodes))
    found: np.ndarray = connected_components(matrix, directed=False)[1]
    return found


def _join_best(matrix: np.ndarray, score: np.ndarray, rng: torch.Generator) -> tuple[int, int]:
    """Join the pair of the highest score in `matrix`, which is written to; among equals chance decides."""
    open_to = np.triu(~matrix, 1)
    highest = score[open_to].max()
    best = np.argwhere(open_to & (score >= highest - SAME * abs(highest)))
    u, v = best[int(torch.randint(len(best), (), generator=rng))].tolist()
    matrix[u, v] = matrix[v, u] = True
    return u, v


def _squared_distances(gram: np.ndarray) -> np.ndarray:
    """Return |a_u - a_v|^2 out of the products a_u a_v: [n, n]."""
    own = np.diagonal(gram)
    squared: np.ndarray = own[:, None] + own - 2 * gram
    return squared


def _slow_vector(matrix: np.ndarray, rng: torch.Generator) -> np.ndarray:
    """Return an eigenvector of D^-1/2 A D^-1/2 for its second largest eigenvalue, a random one where there are several."""
    steady = np.sqrt(matrix.sum(1))  # of the largest, 1, which is moved to -1; a disconnected graph has others
    scale = 1 / np.maximum(steady, 1)
    walk = scale[:, None] * matrix * scale - 2 * np.outer(steady, steady) / (steady @ steady)
    start = torch.randn(len(walk), generator=rng, dtype=torch.float64).numpy()
    if len(walk) > ALL_VALUES:
        try:
            return np.asarray(eigsh(walk, k=1, which="LA", v0=start)[1][:, 0])
        except ArpackNoConvergence:
            raise ArithmeticError("FoSR: no second eigenvector, the spectral gap is too small; try gtr on this graph") from None
    last = len(walk) - 1
    values, vectors = eigh(walk, subset_by_index=(max(0, last - 32), last))  # of more that are equal, a few will do
    slow = vectors[:, values >= values[-1] - SAME]
    return np.asarray(slow @ (slow.T @ start))


def _least(values: dict[tuple[int, int], float], rng: torch.Generator) -> tuple[int, int]:
    """Return the edge of the smallest value; among equals chance decides."""
    lowest = min(values.values())
    least = [edge for edge, value in values.items() if value <= lowest + SAME]
    return least[int(torch.randint(len(least), (), generator=rng))]


def _toggle(matrix: np.ndarray, curvature: dict[tuple[int, int], float], pair: tuple[int, int]) -> None:
    """Join a pair, or part it, and bring up to date the curvature of edges near both of its ends: no other changes."""
    u, v = pair
    matrix[u, v] = matrix[v, u] = not matrix[u, v]
    curvature.pop(pair, None)
    if matrix[u, v]:
        curvature[pair] = 0.0
    near_u, near_v = matrix[u].copy(), matrix[v].copy()
    near_u[[u, v]] = near_v[[u, v]] = True
    for a, b in curvature:
        if (near_u[a] or near_u[b]) and (near_v[a] or near_v[b]):
            curvature[a, b] = balanced_forman(matrix, a, b)

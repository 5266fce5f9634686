"""Encodings of single nodes: columns appended to x, so that they go with every model and every task; the table of all of them.

What the graph's own edges give is found once for each content of the edges; what is arbitrary in it, signs and bases, is drawn
anew for every sample. Encodings of pairs of nodes, which only attention reads, are in `suite.models.encodings`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from einops import rearrange
from pydantic import Field
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.utils import coalesce

from suite.cell import FactorRef
from suite.models.factor import Factor, resolve_factor
from suite.models.fronted import Front
from suite.models.layers import MLP

DENSE = 4096  # nodes of a graph whose spectrum is found in full
WALKED = 20_000  # nodes of a graph whose walks are followed from every node
SAME = 1e-8  # difference below which eigenvalues, all between 0 and 2, are one
CHUNK = 512  # nodes whose walks are followed together


class NodeEncoding(Factor):
    """Base of the encodings of nodes: `draw` gives the columns.

    Attributes:
        redrawn: whether samples of one graph differ.
        of_graph: whether the columns tell anything of the graph's edges.
        max_nodes: the largest graph that can be encoded.
        pe_reach: how many hops away what changes in the graph can change a node's columns, at most; None: anywhere.
        width: how many columns are appended.
    """

    redrawn: ClassVar[bool] = True
    of_graph: ClassVar[bool] = True
    max_nodes: ClassVar[int] = DENSE

    width: int = Field(8, ge=1, description="columns appended to x")

    @property
    def pe_reach(self) -> int | None:
        return None if self.of_graph else 0

    def refusal(self, num_nodes: int) -> str | None:
        """Return why a graph of this size cannot be encoded; None where it can."""
        if num_nodes <= self.max_nodes:
            return None
        return f"needs a graph of at most {self.max_nodes:,} nodes, whose matrices fit in memory; got {num_nodes:,}"

    def draw(self, edge_index: Tensor, num_nodes: int, num_graphs: int, rng: torch.Generator) -> Tensor:
        """Return the columns of `num_graphs` samples of one graph: [num_graphs, num_nodes, width] float64.

        The first axis is 1 where samples do not differ. Graphs that are too large must have been refused.
        """
        raise NotImplementedError

    def front(self) -> Front | None:
        """Return a fresh module that maps the columns [..., width] to what the model reads instead; None: the columns."""
        return None


class Laplacian(NodeEncoding):
    """Eigenvectors of the normalised Laplacian I - D^-1/2 A D^-1/2, smallest eigenvalues first (2003.00982).

    The eigenspace of 0, one dimension a component, tells only of components and degrees and is left out, whole. A simple
    eigenvector is unique but for its sign. Of an eigenvalue that occurs m times any orthogonal basis is as good: the one given
    is drawn from all of them (Haar), for every sample, and where the width cuts it, its first vectors are a random subspace. So
    no sample's columns name a node. Columns that the graph has no eigenvector for are 0.
    """

    title: ClassVar[str] = "LapPE"

    def draw(self, edge_index: Tensor, num_nodes: int, num_graphs: int, rng: torch.Generator) -> Tensor:
        out, at = torch.zeros(num_graphs, num_nodes, self.width, dtype=torch.float64), 0
        for space in _eigenspaces(_content(edge_index, num_nodes), num_nodes):
            count = min(space.size(1), self.width - at)
            out[:, :, at : at + count] = space @ random_frames(num_graphs, space.size(1), count, rng)
            at += count
            if at == self.width:
                break
        return out


class SignNet(Laplacian):
    """Laplacian eigenvectors v read by a network that cannot tell v from -v: rho of all phi(v) + phi(-v) (2202.13013).

    phi and rho are MLPs, node by node. Bases of degenerate eigenvalues, on which its answer would still depend, are drawn for
    every sample as in `laplacian`.
    """

    title: ClassVar[str] = "SignNet"

    hidden: int = Field(16, ge=1, description="width of phi, inside and of its output")
    channels: int = Field(16, ge=1, description="features that the model reads in place of the columns")

    def front(self) -> Front:
        return SignInvariant(self.width, self.hidden, self.channels)


class SignInvariant(Front):
    """rho([phi(v) + phi(-v) for each column v]): columns [..., rows, width] -> [..., rows, channels]."""

    def __init__(self, width: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.phi, self.rho = MLP(1, hidden, hidden), MLP(width * hidden, hidden, channels)

    def forward(self, columns: Tensor) -> Tensor:
        single = rearrange(columns, "... n k -> ... (n k) 1")
        even = self.phi(single) + self.phi(-single)
        out: Tensor = self.rho(rearrange(even, "... (n k) c -> ... n (k c)", k=columns.size(-1)))
        return out


class RandomWalk(NodeEncoding):
    """Probability that a random walk is back after 1, 2, ..., `width` steps: diag P^k, P = D^-1 A (2110.07875).

    A function of the graph: equal at nodes that a symmetry maps to each other, so all equal on a ring; odd columns, k = 1, 3,
    ..., are 0 on bipartite graphs. It sees no farther than half of `width` hops.
    """

    title: ClassVar[str] = "RWSE"
    redrawn: ClassVar[bool] = False
    max_nodes: ClassVar[int] = WALKED

    width: int = Field(16, ge=1, description="steps, each a column appended to x")

    @property
    def pe_reach(self) -> int:
        return self.width // 2  # there and back

    def draw(self, edge_index: Tensor, num_nodes: int, num_graphs: int, rng: torch.Generator) -> Tensor:
        return _returns(_content(edge_index, num_nodes), num_nodes, self.width).unsqueeze(0)


class Random(NodeEncoding):
    """Random orthonormal columns, drawn for every sample: the control of equal width, which knows nothing of the graph."""

    title: ClassVar[str] = "random features"
    of_graph: ClassVar[bool] = False

    def draw(self, edge_index: Tensor, num_nodes: int, num_graphs: int, rng: torch.Generator) -> Tensor:
        out = torch.zeros(num_graphs, num_nodes, self.width, dtype=torch.float64)
        count = min(num_nodes, self.width)
        out[:, :, :count] = random_frames(num_graphs, num_nodes, count, rng)
        return out


NODE_ENCODINGS: dict[str, type[NodeEncoding]] = {
    "laplacian": Laplacian,
    "sign_net": SignNet,
    "random_walk": RandomWalk,
    "random": Random,
}


def resolve_encoding(name: str, settings: dict[str, Any] | None = None) -> FactorRef:
    """Return the reference of encoding `name` with every setting written out; raises as `resolve_factor`."""
    return resolve_factor("encoding of nodes", NODE_ENCODINGS, name, settings)


def load_encoding(ref: FactorRef) -> NodeEncoding:
    """Return the encoding that `ref` names."""
    return NODE_ENCODINGS[ref.name].model_validate(ref.settings)


def random_frames(num_graphs: int, size: int, count: int, rng: torch.Generator) -> Tensor:
    """Return `count` <= `size` random orthonormal vectors for every graph, of Haar's distribution: [num_graphs, size, count]."""
    drawn = torch.randn(num_graphs, size, count, generator=rng, dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    frames: Tensor = q * r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)  # or the distribution would depend on the algorithm
    return frames


def _content(edge_index: Tensor, num_nodes: int) -> bytes:
    """Return what spectra and walks are cached by: the edges, each once, in canonical order."""
    edges: Tensor = coalesce(edge_index.cpu(), num_nodes=num_nodes)
    return edges.numpy().tobytes()


@lru_cache(maxsize=1024)
def _eigenspaces(edges: bytes, num_nodes: int) -> tuple[Tensor, ...]:
    """Return, by eigenvalue and 0 left out, an orthonormal basis [num_nodes, multiplicity] float64 of each eigenspace."""
    matrix = _adjacency(edges, num_nodes)
    matrix = ((matrix + matrix.T) > 0).astype(float)  # edges are read as undirected
    matrix.setdiag(0)
    degree = np.asarray(matrix.sum(1)).ravel()
    scale = np.where(degree > 0, degree, np.inf) ** -0.5
    laplacian = np.diag((degree > 0).astype(float)) - scale[:, None] * matrix.toarray() * scale
    components = connected_components(matrix, directed=False)[0]
    values, vectors = np.linalg.eigh(laplacian)
    values, vectors = values[components:], vectors[:, components:]
    starts = np.flatnonzero(np.diff(values) > SAME) + 1
    return tuple(torch.from_numpy(space.copy()) for space in np.split(vectors, starts, axis=1))


@lru_cache(maxsize=1024)
def _returns(edges: bytes, num_nodes: int, steps: int) -> Tensor:
    matrix = _adjacency(edges, num_nodes)
    degree = np.asarray(matrix.sum(1)).ravel()
    walk = csr_array(matrix.multiply(1 / np.maximum(degree, 1)[:, None]))
    out = np.zeros((num_nodes, steps))
    for first in range(0, num_nodes, CHUNK):
        nodes = np.arange(first, min(first + CHUNK, num_nodes))
        column = np.arange(nodes.size)
        ends = np.zeros((num_nodes, nodes.size))
        ends[nodes, column] = 1
        for step in range(steps):
            ends = walk @ ends
            out[nodes, step] = ends[nodes, column]
    return torch.from_numpy(out)


def _adjacency(edges: bytes, num_nodes: int) -> csr_array:
    source, target = np.frombuffer(edges, dtype=np.int64).reshape(2, -1)
    return csr_array((np.ones(source.size), (source, target)), shape=(num_nodes, num_nodes))

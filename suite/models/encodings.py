"""Transforms of a graph that a model may name in `needs`; computed once a topology and passed by keyword."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import remove_self_loops, to_dense_adj, to_undirected

from suite.hops import hop_distance
from suite.models.expander import drawn_for, with_expander
from suite.task import own_edges


def all_hop_distances(graph: Data) -> Tensor:
    """Return the hop distance between any two nodes, -1 where no path leads: [num_nodes, num_nodes] long."""
    return hop_distance(graph.edge_index, torch.arange(graph.num_nodes), graph.num_nodes)


def random_walks(graph: Data) -> Tensor:
    """Return [P^0, ..., P^16]_vu, P = D^-1 A, of random walks from v to u against the edges: [n, n, 17] (2305.17589)."""
    source, target = graph.edge_index
    step = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    step.index_put_((target, source), torch.ones((), dtype=torch.float64), accumulate=True)
    step /= step.sum(1, keepdim=True).clamp(min=1)
    powers = [torch.eye(graph.num_nodes, dtype=torch.float64)]
    for _ in range(PAIR_CHANNELS["rrwp"] - 1):
        powers.append(powers[-1] @ step)
    return torch.stack(powers, dim=-1)


def resistances(graph: Data) -> Tensor:
    """Return the effective resistance between any two nodes, edges read as undirected, -1 where no path leads: [n, n, 1].

    R_vu = L+_vv + L+_uu - 2 L+_vu, by a dense pseudo-inverse.
    """
    simple = to_undirected(remove_self_loops(graph.edge_index)[0], num_nodes=graph.num_nodes)
    adjacency = to_dense_adj(simple, max_num_nodes=graph.num_nodes)[0].double()
    inverse = torch.linalg.pinv(torch.diag(adjacency.sum(1)) - adjacency, hermitian=True)
    found = inverse.diagonal().unsqueeze(0) + inverse.diagonal().unsqueeze(1) - 2 * inverse
    return torch.where(all_hop_distances(graph) < 0, -1, found).unsqueeze(-1)


def joined(graph: Data) -> Tensor:
    """Return 1 at (v, u) where an edge leads from u to v, 0 elsewhere, -1 for a node and itself without one: [n, n] long."""
    pairs = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.long).fill_diagonal_(-1)
    pairs[graph.edge_index[1], graph.edge_index[0]] = 1
    return pairs


def identifiers(graph: Data) -> Tensor:
    """Return a random orthonormal row for each node, drawn as `with_expander` draws: [n, n] float64 (2207.02505).

    Renumbering nodes renumbers the rows, but among nodes of one colour, where another graph as likely is drawn instead. What is
    drawn for a topology stays: models that could learn it by heart turn it anew at every step.
    """
    order, rng = drawn_for(graph, "identifiers")
    turned, upper = torch.linalg.qr(torch.randn(len(order), len(order), generator=rng, dtype=torch.float64))
    rows = torch.empty_like(turned)
    rows[order] = turned * upper.diagonal().sign()  # QR alone decides on signs; so every rotation is as likely
    return rows


def spectrum(graph: Data) -> Tensor:
    """Return u_k(v) and lambda_k at (v, k), of L u_k = lambda_k u_k, L = I - D^-1/2 A D^-1/2, edges undirected: [n, n, 2].

    L has 0 for a node without edges. Eigenvectors have an arbitrary sign, and any basis of an eigenspace is as good as another:
    a model may read them through functions of the eigenvalue alone.
    """
    simple = to_undirected(remove_self_loops(graph.edge_index)[0], num_nodes=graph.num_nodes)
    adjacency = to_dense_adj(simple, max_num_nodes=graph.num_nodes)[0].double()
    degree = adjacency.sum(1)
    scale = degree.clamp(min=1).rsqrt()
    values, vectors = torch.linalg.eigh(torch.diag((degree > 0).double()) - scale.unsqueeze(1) * adjacency * scale)
    return torch.stack([vectors, values.clamp(min=0).expand_as(vectors)], dim=-1)


ENCODINGS: dict[str, Callable[..., Tensor]] = {  # of a graph, and settings by keyword
    "expander": with_expander,
    "hop_distance": all_hop_distances,
    "identifiers": identifiers,
    "joined": joined,
    "resistance": resistances,
    "rrwp": random_walks,
    "spectrum": spectrum,
}
ALONG = frozenset({"expander", "joined", "spectrum"})  # of these: where layers propagate, so of the edges that a rewiring leaves
PAIRS = frozenset({"hop_distance", "resistance", "rrwp"})  # that tell how far apart two nodes of the task's own graph are
PAIR_CHANNELS = {"resistance": 1, "rrwp": 17}  # of those that are features of a pair


Needs = frozenset[str] | Mapping[str, Mapping[str, Any]]  # names of encodings, or these with settings of theirs


def encoded(needs: Needs, graph: Data) -> dict[str, Tensor]:
    """Return the encodings of a graph by name: of the edges that the task drew, unless they belong to those of a rewiring."""
    settings = needs if isinstance(needs, Mapping) else {name: {} for name in needs}
    return {name: ENCODINGS[name](graph if name in ALONG else _own(graph), **given) for name, given in settings.items()}


def _own(graph: Data) -> Data:
    return Data(edge_index=own_edges(graph), num_nodes=graph.num_nodes)

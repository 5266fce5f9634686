"""Over-smoothing: how alike the nodes' hidden states have become, layer by layer.

Energies must match the operator that smooths. D~^-1/2 A~ D~^-1/2 (gcn) drives rows towards multiples of sqrt(d~), which on
an irregular graph stay different for ever; D~^-1 A~ (mean) drives them towards equality. Each of the two energies calls a
fully collapsed state of the other operator "not smoothed", so the operator is always an argument and never a default.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import add_remaining_self_loops, scatter

from suite.measures.draws import as_json, draw_several
from suite.measures.frozen import Frozen
from suite.measures.ranks import ranks, unit
from suite.measures.similarity import mean_average_distance
from suite.measures.structure import Operator, check_operator
from suite.rng import stream
from suite.task import Task

RAYLEIGH: tuple[Operator, ...] = ("gcn", "mean", "complete")
EDGE_CHUNK = 1 << 22  # differences over edges held at once, in numbers
STACK = 1 << 18  # layers measured together, in numbers: what a processor's cache holds
NUM_PAIRS = 2048  # drawn, whose angles are measured
COLLAPSED = 1e-24  # share of what tells nodes apart in |h|^2, below which float64 rounding makes it up
DENSE_UP_TO = 256  # nodes of a component up to which its Perron vector is found densely


class Energy(NamedTuple):
    """A smoothness energy, and the operator's own norm of the states: [...] float64 each."""

    energy: Tensor
    norm: Tensor


def rayleigh_quotient(h: Tensor, edge_index: Tensor, operator: Operator) -> Tensor:
    """Return the normalised smoothness energy of h [..., num_nodes, channels]: [...] float64.

    With A~ = A + I, D~ its degrees:

        gcn       1/2 sum_ij A~_ij |h_i / sqrt(d~_i) - h_j / sqrt(d~_j)|^2 / |h|^2      in [0, 2)
        mean      1/2 sum_ij A~_ij |h_i - h_j|^2 / sum_i d~_i |h_i|^2                   in [0, 2)
        complete  sum_i |h_i - mean h|^2 / |h|^2                                        in [0, 1]

    Zero: on each connected component h_i is a multiple of sqrt(d~_i) (gcn) or all rows are equal (mean); complete: all rows
    of the graph are equal. Scale-free: unchanged by h -> c h, unlike the raw Dirichlet energy, and by rotations of the
    channels. NaN where h is 0, or not finite.

    Pitfalls: a constant h is not 0 under gcn on an irregular graph, and collapsed networks with biases end there; random
    states on a bipartite graph without self-loops never decay. A directed graph is judged by its undirected form, each
    edge half in either direction. (2303.10993 for energies; matching them to operators is this project's rule.)
    Cost: O(m channels).

    Raises ValueError for any other operator: the sum has no fixed space of its own scale, see `fixed_space_distance`.
    """
    found = _energy(unit(h), edge_index, operator)
    return found.energy / found.norm


def dirichlet_energy(h: Tensor, edge_index: Tensor, operator: Operator) -> Energy:
    """Return the raw smoothness energy of h [..., num_nodes, channels], and the norm that makes a quotient of it: [...] each.

    The numerator and denominator of `rayleigh_quotient`; under "mean" the energy is tr(h^T L h) = sum over edges of |h_i -
    h_j|^2, the Dirichlet energy that most papers print (2303.10993 with another factor). Zero: as `rayleigh_quotient`, or h =
    0. Not scale-free: weights times 2 multiply it by 4 a layer, so a rising energy can hide states that collapse; read it
    beside its norm. Cost: O(m channels). Infinite or 0 where squares over- or underflow, NaN where h is not finite.
    Pitfall: two networks compared by it are compared by the size of their weights first.

    Raises ValueError as `rayleigh_quotient`.
    """
    largest = h.double().abs().amax((-2, -1))
    found = _energy(h.double() / torch.where(largest > 0, largest, 1)[..., None, None], edge_index, operator)
    return Energy(found.energy * largest.square(), found.norm * largest.square())


def _energy(h: Tensor, edge_index: Tensor, operator: Operator) -> Energy:
    check_operator(operator, RAYLEIGH)
    if operator == "complete":
        return Energy((h - h.mean(-2, keepdim=True)).square().sum((-2, -1)), h.square().sum((-2, -1)))
    pairs, weight, degree = _undirected(edge_index, h.size(-2))
    scale = degree.unsqueeze(-1)
    z = h / scale.sqrt() if operator == "gcn" else h
    norm = h.square() if operator == "gcn" else scale * h.square()
    energy = h.new_zeros(h.shape[:-2])
    width = max(1, EDGE_CHUNK // max(1, h.numel() // h.size(-2)))
    for (i, j), w in zip(torch.split(pairs, width, dim=1), torch.split(weight, width), strict=True):
        energy += ((z.index_select(-2, i) - z.index_select(-2, j)).square().sum(-1) * w).sum(-1)
    return Energy(energy, norm.sum((-2, -1)))


def expected_rayleigh_quotient(edge_index: Tensor, num_nodes: int, operator: Operator) -> float:
    """Return the Rayleigh quotient, [], of independent, equally distributed, centred rows: what smoothing is held against.

    Ratio of expectations, tr(I - S) / n, tr(D~ - A~) / tr(D~) or (n - 1) / n. Raises ValueError as `rayleigh_quotient`. Zero:
    no edges (gcn, mean) or one node. Scale-free. Cost: O(m). Pitfall: of expectations, not the expected quotient, which differs
    on small graphs with few channels. (This project's own.)
    """
    check_operator(operator, RAYLEIGH)
    if operator == "complete":
        return (num_nodes - 1) / num_nodes
    pairs, weight, degree = _undirected(edge_index, num_nodes)
    loop = degree - scatter(weight, pairs[0], dim_size=num_nodes) - scatter(weight, pairs[1], dim_size=num_nodes)
    if operator == "gcn":
        return float(1 - (loop / degree).mean())
    return float((degree - loop).sum() / degree.sum())


def fixed_space_distance(h: Tensor, edge_index: Tensor, operator: Operator) -> Tensor:
    """Return |(I - Q Q^T) h| / |h| (Frobenius) of h [..., num_nodes, channels]: [...] in [0, 1] float64.

    Q is an orthonormal basis of the space the operator drives h into, one vector per connected component: sqrt(d~) (gcn),
    constant (mean), Perron vector of A~ (sum); complete: one constant vector for the whole graph. Zero: h lies in that space.
    Scale-free. NaN where h is 0, or not finite. (1905.10947, normalised: the absolute distance also falls when h merely
    shrinks.) Cost: O((n + m) channels), and an eigenvector a component for sum. Pitfall: several components are pooled; see
    `component_distances`.

    Raises ValueError for an unknown operator, and for "none", which has no such space.
    """
    h = unit(h)
    outside, _ = _outside(h, edge_index, operator)
    return outside.square().sum((-2, -1)).sqrt() / h.square().sum((-2, -1)).sqrt()


def component_distances(h: Tensor, edge_index: Tensor, operator: Operator) -> Tensor:
    """Return `fixed_space_distance` of each connected component by itself: [..., num_components] float64, in [0, 1].

    Components are numbered by their first node; "complete" knows one, the whole graph. Zero: that component has collapsed,
    whatever the others do, as when an isolated pair is smooth long before a large part. Scale-free, also component by
    component. NaN where h is 0 on all of a component. Cost: O((n + m) channels). Pitfall: under gcn and mean the component of
    an isolated node always has 0. (1905.10947) Raises ValueError as `fixed_space_distance`.
    """
    h = unit(h)
    outside, component = _outside(h, edge_index, operator)
    sizes = [part.square().sum(-1) for part in (outside, h)]
    zero = h.new_zeros(*h.shape[:-2], int(component.max()) + 1)
    apart, whole = (zero.index_add(-1, component, size) for size in sizes)
    return (apart / whole).sqrt()


def _outside(h: Tensor, edge_index: Tensor, operator: Operator) -> tuple[Tensor, Tensor]:
    """Return (I - Q Q^T) h, and the component of each node [num_nodes]."""
    check_operator(operator, (*RAYLEIGH, "sum"))
    basis, component = fixed_space(edge_index, h.size(-2), operator)
    return h - project(h, basis, component), component


def project(h: Tensor, basis: Tensor, component: Tensor) -> Tensor:
    """Return Q Q^T h of h [..., num_nodes, channels], Q given by `fixed_space`."""
    weighted = basis.unsqueeze(-1) * h
    inside = h.new_zeros(*h.shape[:-2], int(component.max()) + 1, h.size(-1)).index_add_(-2, component, weighted)
    return basis.unsqueeze(-1) * inside.index_select(-2, component)


def signals_as_states(signals: Tensor, edge_index: Tensor, operator: Operator) -> Tensor:
    """Return error signals [..., num_nodes, channels] such that an operator's measures of states are right of them: float64.

    Signals go back through the transposed operator (2505.16736). Those of gcn, of the sum and of complete mixing are their own.
    That of means, A~ D~^-1, drives signals to multiples of d~, which on an irregular graph are not equal: b_i / d~_i then are.
    So hand these to `rayleigh_quotient` and `fixed_space_distance`; angles are the same, and ranks are those of the signals as
    they are. Zero: no signal. Not scale-free: of the signals' scale. Cost: O(m + n channels). Pitfall: a directed graph is judged
    by its undirected form, as its states are. Shape as `signals`.

    Raises ValueError for an unknown operator, and for "none".
    """
    check_operator(operator, (*RAYLEIGH, "sum"))
    signals = signals.double()
    return signals / _undirected(edge_index, signals.size(-2))[2].unsqueeze(-1) if operator == "mean" else signals


def feature_norm(h: Tensor) -> Tensor:
    """Return the Frobenius norm of h [..., num_nodes, channels]: [...] float64.

    Not scale-free, on purpose: shown beside the Rayleigh quotient it tells vanishing or exploding states from smooth ones.
    Zero: dead. Cost: O(n channels). Pitfall: norm layers fix it whatever they are given. (This project's own.)
    """
    largest = h.double().abs().amax((-2, -1))
    return largest * unit(h).square().sum((-2, -1)).sqrt().nan_to_num(nan=0.0)  # 0 of 0; not finite stays NaN


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `smoothing`: means over up to 5 draws, by layer 0..L.

    Keys by layer: `rq_gcn`, `rq_mean`, `rq_complete`; `distance` to the fixed space of the model's own `operator` (None where it
    has none); `effective_rank`, `effective_rank_centred`; `stable_rank`, `numerical_rank` and `rank_residual`, centred;
    `mad_edges` over the ends of edges, `mad_pairs` over 2,048 pairs drawn from all (None where no pair has an angle);
    `zero_rows`, how many nodes of all draws have a state of 0, which has no angle, so that both leave out its pairs;
    `feature_norm`; `undefined`, the draws left out because the state was 0 or not finite. Scalars of reference: `null_rq_*`, and
    under sum `null_distance`, root mean square, of independent rows; `constant_rq_gcn`, the quotient of a constant.
    """
    frozen, rng = Frozen(model), stream(task.config(), seed, "measure", "pairs")
    parts = []
    for graph in draw_several(task, seed, at_most=5, max_nodes=4096):
        groups = together(frozen.run([graph]).hidden)
        pairs = some_pairs(graph, rng)
        states = [describe(group, graph.edge_index, frozen.operator, pairs) for group in groups]
        parts.append({k: torch.cat([s[k] for s in states]) for k in states[0]} | _reference(graph, frozen.operator))
    stacked = {key: torch.stack([part[key] for part in parts]) for key in parts[0]}
    result: dict[str, Any] = {key: value.double().nanmean(0) for key, value in stacked.items()}
    result |= {"undefined": stacked["rq_complete"].isnan().sum(0), "zero_rows": stacked["zero_rows"].sum(0)}
    result.setdefault("distance", [None] * result["undefined"].numel())
    return as_json(result | {"operator": frozen.operator, "num_draws": len(parts)})


def together(states: list[Tensor]) -> list[Tensor]:
    """Return states by layer, each [num_nodes, channels], stacked as many at a time as are best measured together."""
    size = max(1, STACK // states[0].numel()) if all(h.shape == states[0].shape for h in states) else 1
    return [torch.stack(states[i : i + size]) for i in range(0, len(states), size)]


def some_pairs(graph: Data, rng: torch.Generator) -> Tensor:
    """Return up to 2,048 pairs of different nodes, drawn from all by `rng`: [2, num_pairs]."""
    pairs = torch.randint(int(graph.num_nodes or 1), (2, NUM_PAIRS), generator=rng)
    return pairs[:, pairs[0] != pairs[1]]


def describe(h: Tensor, edge_index: Tensor, operator: Any, pairs: Tensor) -> dict[str, Tensor]:
    """Take every smoothing measure of states, or of error signals, h [layers, num_nodes, channels]: each value [layers]."""
    found = {f"rq_{name}": rayleigh_quotient(h, edge_index, name) for name in RAYLEIGH}
    if operator in (*RAYLEIGH, "sum"):
        found["distance"] = fixed_space_distance(h, edge_index, operator)
    found["effective_rank"] = ranks(h).effective
    apart = (found["rq_complete"] > COLLAPSED)[:, None, None]  # else only rounding is left, whose rank is not h's
    centred = ranks((h - h.mean(-2, keepdim=True)) * apart)
    found |= {"effective_rank_centred": centred.effective, "stable_rank": centred.stable}
    found |= {"numerical_rank": centred.numerical, "rank_residual": centred.residual}
    found |= {"mad_edges": mean_average_distance(h, edge_index), "mad_pairs": mean_average_distance(h, pairs)}
    return found | {"zero_rows": (h == 0).all(-1).sum(-1), "feature_norm": feature_norm(h)}


def _reference(graph: Data, operator: Any) -> dict[str, Tensor]:
    num_nodes = int(graph.num_nodes or 0)
    null = {f"null_rq_{name}": expected_rayleigh_quotient(graph.edge_index, num_nodes, name) for name in RAYLEIGH}
    constant = rayleigh_quotient(torch.ones(num_nodes, 1), graph.edge_index, "gcn")
    if operator == "sum":  # of independent rows all directions hold as much
        spaces = 1 + int(fixed_space(graph.edge_index, num_nodes, "mean")[1].max())  # one a component
        null["null_distance"] = (1 - spaces / num_nodes) ** 0.5
    return {key: torch.tensor(value, dtype=torch.float64) for key, value in null.items()} | {"constant_rq_gcn": constant}


def _undirected(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return pairs i < j, their weights in (A + A^T) / 2, and the degrees of that with a self-loop at every node.

    Parallel edges add up; a node's own loop stands in for the one added.
    """
    edges = add_remaining_self_loops(edge_index.cpu(), num_nodes=num_nodes)[0]
    degree = scatter(torch.full((2 * edges.size(1),), 0.5, dtype=torch.float64), edges.flatten(), dim_size=num_nodes)
    low, high = edges[:, edges[0] != edges[1]].sort(dim=0).values
    pair, count = (low * num_nodes + high).unique(return_counts=True)
    return torch.stack([pair // num_nodes, pair % num_nodes]), count.double() / 2, degree


def fixed_space(edge_index: Tensor, num_nodes: int, operator: Operator) -> tuple[Tensor, Tensor]:
    """Return the entries [num_nodes] of the basis vectors, and which component's vector each node belongs to."""
    if operator == "complete":
        return torch.full((num_nodes,), num_nodes**-0.5, dtype=torch.float64), torch.zeros(num_nodes, dtype=torch.long)
    (low, high), weight, degree = _undirected(edge_index, num_nodes)
    upper = coo_array((weight.numpy(), (low.numpy(), high.numpy())), shape=(num_nodes, num_nodes)).tocsr()
    adjacency = upper + upper.T  # without its diagonal
    component = torch.from_numpy(connected_components(adjacency, directed=False)[1]).long()
    if operator == "sum":
        entries = torch.zeros(num_nodes, dtype=torch.float64)
        for index in range(int(component.max()) + 1):
            nodes = (component == index).nonzero().flatten().numpy()
            entries[nodes] = torch.from_numpy(_perron(adjacency[nodes][:, nodes]))
    else:
        entries = degree.sqrt() if operator == "gcn" else torch.ones(num_nodes, dtype=torch.float64)
    length = scatter(entries.square(), component).sqrt()
    return entries / length[component], component


def _perron(adjacency: Any) -> Any:
    """Return the eigenvector of the largest eigenvalue of a connected, symmetric, non-negative matrix."""
    if adjacency.shape[0] <= DENSE_UP_TO:
        return np.abs(np.linalg.eigh(adjacency.toarray())[1][:, -1])
    start = np.ones(adjacency.shape[0])  # fixed: the default start is random
    return np.abs(eigsh(adjacency, k=1, which="LA", v0=start)[1][:, 0])

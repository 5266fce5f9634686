"""What topology alone says: the operators that models propagate with, how much of a source they bring to a read-out, and
how far apart nodes are for a random walk (effective resistance, spectral gap).

Conventions, for every propagation operator here: self-loops are added (A + I, one per node; a node's own loop is kept
instead), parallel edges count as often as they are listed, messages run from row 0 to row 1 of `edge_index`, and degrees are
those of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.csgraph import connected_components, dijkstra, reverse_cuthill_mckee
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, cg, eigsh, splu
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import add_remaining_self_loops, scatter

from suite.measures.draws import as_json, draw_several, hops_of, readouts_of, source_mask, with_readouts
from suite.measures.frozen import Frozen, Pass
from suite.refs import unknown
from suite.rng import stream
from suite.task import Task

MAX_NODES = 1_000_000
MAX_FACTOR = 1 << 27  # entries of a sparse factor: a gigabyte
MAX_WORK = 1 << 37  # multiplications of a banded elimination; in an order of minimum degree it takes seconds
MAX_STEPS = 5_000  # of conjugate gradients, for one system
MAX_STEPS_GAP = 40_000  # of the same, for all systems of a gap
PRECISION = 1e-12  # what conjugate gradients leave of the current, by its norm
HELP = "; the graph has both wide cuts and narrow ones: ask on the parts between the narrow ones"

Solve = Callable[[np.ndarray], np.ndarray]
Operator = Literal["gcn", "mean", "sum", "complete", "none"]


class Matrix(NamedTuple):
    """A sparse operator: entry [target, source] = weight, parallel entries add up."""

    source: Tensor  # [num_entries] long
    target: Tensor  # [num_entries] long
    weight: Tensor  # [num_entries] float64


def propagation_matrix(edge_index: Tensor, num_nodes: int, operator: Operator) -> Matrix:
    """Return the operator called `operator`, with A~ = A + I and D~ its degrees, as entries [num_entries].

    gcn: D~^-1/2 A~ D~^-1/2, what `GCNConv` applies (1609.02907). mean: D~^-1 A~, the mean over neighbours and self.
    sum: A~, what GIN sums at epsilon 0. none: the identity.
    Zero: no edge. Cost: O(m), of any size. Not scale-free: doubling every edge moves weight from the loops to the neighbours.
    Pitfall: parallel edges count as often as they are listed.

    Raises ValueError for an unknown operator, and for "complete", which is not sparse.
    """
    check_operator(operator, ("gcn", "mean", "sum", "none"))
    if operator == "none":
        loop = torch.arange(num_nodes)
        return Matrix(loop, loop, torch.ones(num_nodes, dtype=torch.float64))
    source, target = add_remaining_self_loops(edge_index.cpu(), num_nodes=num_nodes)[0]
    weight = torch.ones(source.numel(), dtype=torch.float64)
    degree = scatter(weight, target, dim_size=num_nodes)  # at least 1: every node has its loop
    if operator == "mean":
        weight = weight / degree[target]
    if operator == "gcn":
        weight = (degree[source] * degree[target]).rsqrt()
    return Matrix(source, target, weight)


def operator_power(edge_index: Tensor, num_nodes: int, operator: Operator, num_layers: int, readout: Tensor) -> Tensor:
    """Return the rows (Op^num_layers)_v of the read-out nodes v: [num_readouts, num_nodes] float64.

    The entry (Op^L)_vu is how much of node u's input L linear layers bring to v: the primary predictor of over-squashing. Zero
    means out of reach in exactly L steps (exact); small means attenuated. Rows of gcn do not sum to 1 on irregular graphs, rows
    of mean do, rows of sum grow like the spectral radius: compare shares of a row. complete: J / n, the mean over all nodes. On
    a bipartite graph the self-loops are what keeps entries of the other parity from vanishing. It knows no weights; gcn and mean
    stay within [0, 1] at any depth (gcn on undirected edges), sum is not scale-free. Cost: O(layers m) for each read-out node,
    and n numbers of each held: 10^5 nodes in a fraction of a second. Pitfall: the operator as run, duplicates, residuals
    (`skipping_power`) and weights included, or it predicts another model. (2302.02941)

    Raises ValueError for an unknown operator.
    """
    check_operator(operator, get_args(Operator))
    rows = torch.zeros(readout.numel(), num_nodes, dtype=torch.float64)
    rows[torch.arange(readout.numel()), readout.cpu()] = 1
    if operator == "complete":
        return torch.full_like(rows, 1 / num_nodes) if num_layers else rows
    source, target, weight = propagation_matrix(edge_index, num_nodes, operator)
    transposed = csr_array((weight.numpy(), (source.numpy(), target.numpy())), shape=(num_nodes, num_nodes))
    return torch.from_numpy(np.ascontiguousarray(applied(transposed, rows.T.numpy(), num_layers).T))


def skipping_power(edge_index: Tensor, num_nodes: int, operator: Operator, scales: list[float | None], readout: Tensor) -> Tensor:
    """Return what `operator_power` does, of layers that add to the state before: [num_readouts, num_nodes] float64.

    `scales` has c = |dH| / |H| of each layer H + dH, or None for a layer that hands nothing past the operator. The product of
    I + c Op over layers is a sum over k of steps, e_k(c) Op^k, where layers share their weights. Each has its own, drawn
    apart: the terms are uncorrelated, and their squares add up instead, to the root of sum_k e_k(c^2) (Op^k)_vu^2, in which e_k
    is the elementary symmetric polynomial. Without a skip it is Op^L exactly. Zero: out of reach in L steps or fewer.

    Not scale-free: compare shares of a row. Cost: that of `operator_power`. Pitfall: c is of states, which include what they have
    in common, and of one input. (This project's own.)

    Raises ValueError for an unknown operator.
    """
    check_operator(operator, get_args(Operator))
    weights = [1.0]  # of the squares of Op^k, k = 0, 1, ...
    for scale in scales:
        stepped = [0.0, *weights] if scale is None else [0.0, *(scale**2 * weight for weight in weights)]
        weights = stepped if scale is None else [a + b for a, b in zip([*weights, 0.0], stepped, strict=True)]
    rows = operator_power(edge_index, num_nodes, operator, 0, readout)
    squares = weights[0] * rows.square()
    if operator == "complete":
        return (squares + sum(weights[1:]) / num_nodes**2).sqrt()  # J / n is its own square
    source, target, weight = propagation_matrix(edge_index, num_nodes, operator)
    transposed = csr_array((weight.numpy(), (source.numpy(), target.numpy())), shape=(num_nodes, num_nodes))
    columns = rows.T.numpy()
    for factor in weights[1:]:
        columns = applied(transposed, columns, 1)
        squares += factor * torch.from_numpy(np.ascontiguousarray(columns.T)).square()
    return squares.sqrt()


def power_as_run(seen: Pass, graph: Data, operator: Operator, readout: Tensor) -> Tensor:
    """Return the rows of the operator as the layers of `seen`, one pass over `graph`, apply it, skips that add included.

    Where `seen.skips` is "other" it is the operator alone: what passes it by is not known.
    """
    num_nodes, num_layers = int(graph.num_nodes or 0), len(seen.hidden) - 1
    if seen.skips != "added":
        return operator_power(graph.edge_index, num_nodes, operator, num_layers, readout)
    scales = [
        float((after - before).norm() / before.norm()) if after.shape == before.shape else None
        for before, after in pairwise(seen.hidden)
    ]
    return skipping_power(graph.edge_index, num_nodes, operator, scales, readout)


def applied(matrix: csr_array, columns: Any, times: int) -> Any:
    """Return matrix^times columns, of columns [num_nodes, count]."""
    for _ in range(times):
        columns = matrix @ columns
    return columns


def check_operator(operator: str, known: tuple[str, ...]) -> None:
    """Raise ValueError unless `operator` is one of `known`."""
    if operator not in known:
        raise ValueError(unknown("operator of this kind", operator, known))


def effective_resistance(edge_index: Tensor, num_nodes: int, pairs: Tensor) -> Tensor:
    """Return the resistance between the nodes of each pair, every edge a resistor of 1 ohm: [num_pairs] float64.

    R_vu = (e_v - e_u)^T L^+ (e_v - e_u), L = D - A; `pairs` is [num_pairs, 2]. The commute time of a random walk is 2 m R_vu,
    m the number of edges (Chandra et al., 1989; Di Giovanni et al., 2302.02941). Parallel edges are parallel resistors,
    self-loops do not matter. On a tree it is the hop distance, on a ring of n it is k (n - k) / n at k hops. Zero: the same node.

    Not scale-free: c parallel copies of every edge divide it by c.

    L without one node's row and column is factored once, and solved once a pair, where a bound of the factor's entries and of
    the work promises seconds: up to 10^5 nodes on paths, trees, grids and planar graphs. Elsewhere (expanders, grids in three
    dimensions) by conjugate gradients, until 10^-12 of the current is left: R is then too small by at most 2 x 10^-24 over the
    smallest positive eigenvalue of L. Cost: one sparse factor, then O(n) a pair, or O(m) for each of the steps, of which an
    expander takes 40 whatever its size. Pitfall: falls with every edge added anywhere, while the share of a source need not rise.

    Raises ValueError unless the graph is undirected, connected and of at most 1,000,000 nodes, and ArithmeticError where no
    factor is sparse and 5,000 steps are not enough.
    """
    solve = laplacian_solver(undirected(edge_index, num_nodes))
    ends = pairs.cpu().numpy()
    found = np.zeros(len(ends))
    for index, (a, b) in enumerate(ends):
        if a != b:
            current = np.zeros(num_nodes)
            current[a], current[b] = 1, -1
            potential = solve(current)
            found[index] = potential[a] - potential[b]
    return torch.from_numpy(found)


def spectral_gap(edge_index: Tensor, num_nodes: int, self_loops: bool = False) -> float:
    """Return the second smallest eigenvalue of the normalised Laplacian I - D^-1/2 A D^-1/2, A + I for A with `self_loops`: [].

    With self-loops it is how much smaller than 1 the second largest eigenvalue of GCN's operator is: small means that a
    walk, and smoothing, mix slowly. It is 1 - cos(2 pi / n) on a ring, n / (n - 1) on a complete graph; h^2 / 2 <= gap <= 2 h,
    h the Cheeger constant (Chung, 1997). Parallel edges count as often as they are listed.

    Up to 256 nodes from all eigenvalues; above from Lanczos on the inverse, by a sparse factor with a shift below the gap of any
    graph of this diameter and number of edges, 1 / (diameter 2m), or, where `effective_resistance` takes them, by conjugate
    gradients. Zero is never reached on a connected graph. Scale-free without self-loops: copies of every edge leave it. Cost:
    O(n^3) up to 256 nodes; above some twenty solves, at 10^5 nodes a second on a path or grid, some on an expander. Pitfall: one
    number of the whole graph: a barbell has a small gap whichever pair is asked.

    Raises ValueError unless the graph is undirected, connected and of 2 to 1,000,000 nodes, and ArithmeticError where no
    factor is sparse and 40,000 steps are not enough.
    """
    return fiedler(edge_index, num_nodes, self_loops)[0]


def fiedler(edge_index: Tensor, num_nodes: int, self_loops: bool = False) -> tuple[float, np.ndarray]:
    """Return `spectral_gap`, and D^-1/2 times its eigenvector [num_nodes], in whose order a narrow cut is found."""
    if num_nodes < 2:
        raise ValueError(f"num_nodes: a gap needs two eigenvalues, got {num_nodes} node")
    adjacency = undirected(edge_index, num_nodes)
    shift = _shift(adjacency, self_loops) if _has_sparse_factor(adjacency) else None
    if self_loops:
        adjacency = csr_array(adjacency + eye_array(num_nodes))
    degree = adjacency.sum(0)
    scale = diags_array(degree**-0.5)
    walk = csr_array(scale @ adjacency @ scale)
    if num_nodes <= 256:
        values, vectors = np.linalg.eigh(walk.toarray())
        return float(1 - values[-2]), vectors[:, -2] / degree**0.5
    slow = _second_vector(walk, degree**0.5, shift) / degree**0.5
    slow -= (degree @ slow) / degree.sum()  # nothing of the eigenvalue 0
    row, col = adjacency.nonzero()
    steps = np.square(slow[row] - slow[col]) @ adjacency.data / 2  # a sum of squares: no digits cancel in a small gap
    return float(steps / (degree @ np.square(slow))), slow


def laplacian_solver(adjacency: csr_array) -> Solve:
    """Return what maps currents [num_nodes], which add up to 0, to potentials: p with L p = current, up to a constant."""
    laplacian = laplacian_of(adjacency)
    return _grounded(laplacian) if _has_sparse_factor(adjacency) else _iterated(laplacian, "effective resistance")


def laplacian_of(adjacency: csr_array) -> csr_array:
    """Return D - A."""
    return csr_array(diags_array(adjacency.sum(0)) - adjacency)


def undirected(edge_index: Tensor, num_nodes: int) -> csr_array:
    """Return the adjacency matrix without self-loops; raises ValueError for what is directed, not connected or too large."""
    if num_nodes > MAX_NODES:
        raise ValueError(f"num_nodes: must be <= {MAX_NODES:,}, got {num_nodes:,}; ask on an induced subgraph")
    row, col = edge_index[:, edge_index[0] != edge_index[1]].cpu().numpy()
    adjacency = csr_array((np.ones(row.size), (row, col)), shape=(num_nodes, num_nodes))
    if abs(adjacency - adjacency.T.tocsr()).max():
        raise ValueError("edge_index: must list every edge in both directions; torch_geometric.utils.to_undirected adds them")
    components, _ = connected_components(adjacency, directed=False)
    if components != 1:
        raise ValueError(
            f"edge_index: the graph must be connected, got {components} components; ask within one"
            " (torch_geometric.transforms.LargestConnectedComponents keeps the largest)"
        )
    return adjacency


def _has_sparse_factor(adjacency: csr_array) -> bool:
    """Return whether elimination surely keeps to a factor that fits in memory, and ends in seconds.

    Nodes of degree 1 and 2 are eliminated without fill, and leave at most two nodes per independent cycle; else the
    factor keeps to the profile of a banded order. Either bounds the work by the squares of the rows' lengths.
    """
    num_nodes = adjacency.shape[0]
    core = min(num_nodes, 2 * (adjacency.nnz // 2 - num_nodes + 1))
    if core**2 <= MAX_FACTOR and core**3 / 3 <= MAX_WORK:
        return True
    order = reverse_cuthill_mckee(adjacency, symmetric_mode=True)
    place = np.argsort(order)
    row, col = adjacency.nonzero()
    first = np.arange(num_nodes)
    np.minimum.at(first, place[row], place[col])
    length = np.arange(num_nodes) - first
    return bool(length.sum() <= MAX_FACTOR and length @ length <= MAX_WORK)


def _factor(matrix: csr_array) -> Solve:
    options = {"SymmetricMode": True}
    factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return cast("Solve", factor.solve)


def _grounded(laplacian: csr_array) -> Solve:
    """Return what maps currents, which add up to 0, to potentials, node 0 at potential 0."""
    if laplacian.shape[0] == 1:
        return np.zeros_like
    solve = _factor(laplacian[1:, 1:])
    return lambda current: np.concatenate([[0], solve(current[1:])])


def _iterated(matrix: csr_array, what: str, precision: float = PRECISION, budget: int | None = None) -> Solve:
    """Return what solves matrix y = b by conjugate gradients, in at most MAX_STEPS steps, and `budget` in all calls together."""
    preconditioner = diags_array(1 / matrix.diagonal())
    taken = 0

    def count(_: np.ndarray) -> None:
        nonlocal taken
        taken += 1

    def solve(current: np.ndarray) -> np.ndarray:
        left = MAX_STEPS if budget is None else min(MAX_STEPS, budget - taken)
        found, failed = cg(matrix, current, rtol=precision, maxiter=left, M=preconditioner, callback=count)
        if failed:
            raise ArithmeticError(f"{what}: no sparse factor, and no convergence in {taken} steps{HELP}")
        return np.asarray(found)

    return solve


def _shift(adjacency: csr_array, self_loops: bool) -> float:
    """Return a positive number below the gap: 1 / (D vol), the diameter D bounded by twice an eccentricity (Chung, 1997)."""
    farthest = dijkstra(adjacency, indices=[0], unweighted=True).max()
    return float(1 / (2 * farthest * (adjacency.sum() + self_loops * adjacency.shape[0])))


def _second_vector(walk: csr_array, fixed: np.ndarray, shift: float | None) -> np.ndarray:
    """Return the eigenvector of the second largest eigenvalue of `walk`, whose largest is 1 and has the eigenvector `fixed`.

    The largest of the inverse of I - walk, `fixed` projected out; without `shift`, by conjugate gradients.
    """
    size = walk.shape[0]
    laplacian = csr_array(eye_array(size) - walk)
    if shift is None:
        solve = _iterated(laplacian, "spectral gap", 1e-10, MAX_STEPS_GAP)
    else:
        solve = _factor(csr_array(laplacian + shift * eye_array(size)))
    fixed = fixed / np.linalg.norm(fixed)

    def apart(x: np.ndarray) -> np.ndarray:
        return np.asarray(x - fixed * (fixed @ x))

    inverse = LinearOperator((size, size), matvec=lambda x: apart(solve(apart(x.ravel()))), dtype=float)
    start = np.random.default_rng(0).standard_normal(size)
    try:
        # An error e of the vector is one of order e^2 of the quotient that the gap is taken from.
        return np.asarray(eigsh(inverse, k=1, which="LA", v0=start, tol=1e-6, maxiter=MAX_STEPS)[1][:, 0])
    except ArpackNoConvergence:
        raise ArithmeticError(f"spectral gap: no convergence in {MAX_STEPS} steps of Lanczos{HELP}") from None


def sum_by_hop(values: Tensor, hops: Tensor, num_hops: int) -> Tensor:
    """Return the sum of `values` [num_readouts, num_nodes] over each shell: [num_readouts, num_hops].

    `hops` has the shape of `values`; -1 (no path) belongs to no shell.
    """
    out = values.new_zeros(values.size(0), num_hops + 1)
    return out.scatter_add_(1, torch.where(hops < 0, num_hops, hops), values)[:, :num_hops]


def log10_mean(values: Tensor) -> float:
    """Return the mean of log10 over the positive ones of `values`: the logarithm of their geometric mean; NaN if none is."""
    positive = values[values > 0]
    return float(positive.log10().mean()) if positive.numel() else float("nan")


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `operator_share`: the declared operator's power at the model's depth, on up to 8 draws.

    A model that declares no operator is compared with gcn, and `declared` is false. Keys: `source` (Op^L)_vu, mean over the
    pairs; `source_share`, its share of v's row; `log10_source_share`, mean over the pairs where it is not 0; `source_hops`,
    mean; `mean_hops`, the mean hop of what the operator brings; by hop: `by_hop`, the shell's sum of entries, and `share`, the
    same of the row shares. `skips`: what passes the operator by; "added" states are part of it (`skipping_power`), "other"
    skips are not, and what is said is of the operator without the skip. The operator is that of the rewired graph, where there
    is one; hops are those of the task's own.
    """
    frozen = Frozen(model)
    graphs = draw_several(task, seed, at_most=8, max_nodes=1 << 15)  # as influence, where that can be afforded
    seen = frozen.run(graphs[:1])
    operator: Any = frozen.operator or "gcn"
    rng = stream(task.config(), seed, "measure", "readouts")
    rows, hops, sources = [], [], []
    for graph in (with_readouts(graph, 32, rng) for graph in graphs):
        readout = readouts_of(graph)
        seen = frozen.run([graph]) if seen.skips == "added" else seen  # the rest needs the number of layers alone
        rows.append(power_as_run(seen, graph, operator, readout))
        hops.append(hops_of(graph))
        sources.append(source_mask(graph))
    result = {"operator": operator, "declared": frozen.declared, "skips": seen.skips}
    result["num_layers"] = len(seen.hidden) - 1
    return as_json(result | _by_hop(rows, hops) | _of_source(rows, hops, sources))


def _by_hop(rows: list[Tensor], hops: list[Tensor]) -> dict[str, Any]:
    num_hops = 1 + max(int(h.max()) for h in hops)
    sums = torch.cat([sum_by_hop(row, h, num_hops) for row, h in zip(rows, hops, strict=True)])
    totals = torch.cat([row.sum(1, keepdim=True) for row in rows])
    far = (sums * torch.arange(num_hops)).sum(1) / sums.sum(1)
    return {"hops": list(range(num_hops)), "by_hop": sums.mean(0), "share": (sums / totals).mean(0), "mean_hops": far.nanmean()}


def _of_source(rows: list[Tensor], hops: list[Tensor], sources: list[Tensor | None]) -> dict[str, Any]:
    found = [(r[m], (r / r.sum(1, keepdim=True))[m], h[m]) for r, h, m in zip(rows, hops, sources, strict=True) if m is not None]
    if not found:
        return dict.fromkeys(("source", "source_share", "log10_source_share", "source_hops"))
    entry, share, distance = (torch.cat(parts) for parts in zip(*found, strict=True))
    return {
        "source": entry.mean(),
        "source_share": share.mean(),
        "log10_source_share": log10_mean(share),
        "source_hops": distance.double().mean(),
    }

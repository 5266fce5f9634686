"""What topology alone says: the operators that models propagate with, and how much of a source they bring to a read-out.

Conventions, for every operator here: self-loops are added (A + I, one per node; a node's own loop is kept instead), parallel
edges count as often as they are listed, messages run from row 0 to row 1 of `edge_index`, and degrees are those of the target.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch_geometric.utils import add_remaining_self_loops, scatter

from suite.hops import hop_distance
from suite.measures.draws import as_json, draw_several, readouts_of, source_mask, with_readouts
from suite.measures.frozen import Frozen
from suite.refs import unknown
from suite.rng import stream
from suite.task import Task

Operator = Literal["gcn", "mean", "sum", "complete", "none"]


class Matrix(NamedTuple):
    """A sparse operator: entry [target, source] = weight, parallel entries add up."""

    source: Tensor  # [num_entries] long
    target: Tensor  # [num_entries] long
    weight: Tensor  # [num_entries] float64


def propagation_matrix(edge_index: Tensor, num_nodes: int, operator: Operator) -> Matrix:
    """Return the operator called `operator`, with A~ = A + I and D~ its degrees.

    gcn: D~^-1/2 A~ D~^-1/2, what `GCNConv` applies (1609.02907). mean: D~^-1 A~, the mean over neighbours and self.
    sum: A~, what GIN sums at epsilon 0. none: the identity.

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

    The entry (Op^L)_vu is how much of node u's input L linear layers bring to v: the primary predictor of over-squashing.
    0 means out of reach in exactly L steps (exact); small means attenuated. Rows of gcn do not sum to 1 on irregular graphs,
    rows of mean do, rows of sum grow like the spectral radius: compare shares of a row. complete: J / n, the mean over all
    nodes. On a bipartite graph the self-loops are what keeps entries of the other parity from vanishing.

    Raises ValueError for an unknown operator.
    """
    check_operator(operator, get_args(Operator))
    rows = torch.zeros(readout.numel(), num_nodes, dtype=torch.float64)
    rows[torch.arange(readout.numel()), readout.cpu()] = 1
    if operator == "complete":
        return torch.full_like(rows, 1 / num_nodes) if num_layers else rows
    source, target, weight = propagation_matrix(edge_index, num_nodes, operator)
    transposed = csr_array((weight.numpy(), (source.numpy(), target.numpy())), shape=(num_nodes, num_nodes))
    columns: Any = rows.T.numpy()
    for _ in range(num_layers):
        columns = transposed @ columns
    return torch.from_numpy(np.ascontiguousarray(columns.T))


def check_operator(operator: str, known: tuple[str, ...]) -> None:
    """Raise ValueError unless `operator` is one of `known`."""
    if operator not in known:
        raise ValueError(unknown("operator of this kind", operator, known))


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
    pairs; `source_share`, its share of v's row; `log10_source_share`, mean over the pairs where it is not 0;
    `source_hops`, mean; by hop: `by_hop`, the shell's sum of entries, and `share`, the same of the row shares.
    """
    frozen = Frozen(model)
    graphs = draw_several(task, seed, at_most=8, max_nodes=1 << 15)  # as influence, where that can be afforded
    num_layers = len(frozen.run(graphs[:1]).hidden) - 1
    operator: Any = frozen.operator or "gcn"
    rng = stream(task.config(), seed, "measure", "readouts")
    rows, hops, sources = [], [], []
    for graph in (with_readouts(graph, 32, rng) for graph in graphs):
        readout, num_nodes = readouts_of(graph), int(graph.num_nodes or 0)
        rows.append(operator_power(graph.edge_index, num_nodes, operator, num_layers, readout))
        hops.append(hop_distance(graph.edge_index, readout, num_nodes))
        sources.append(source_mask(graph))
    result = {"operator": operator, "declared": frozen.operator is not None, "num_layers": num_layers}
    return as_json(result | _by_hop(rows, hops) | _of_source(rows, hops, sources))


def _by_hop(rows: list[Tensor], hops: list[Tensor]) -> dict[str, Any]:
    num_hops = 1 + max(int(h.max()) for h in hops)
    sums = torch.cat([sum_by_hop(row, h, num_hops) for row, h in zip(rows, hops, strict=True)])
    totals = torch.cat([row.sum(1, keepdim=True) for row in rows])
    return {"hops": list(range(num_hops)), "by_hop": sums.mean(0), "share": (sums / totals).mean(0)}


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

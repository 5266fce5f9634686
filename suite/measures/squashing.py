"""Over-squashing: how strongly the output at a read-out node feels the input of every other node, hop by hop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.hops import hop_distance
from suite.measures.draws import as_json, draw, draw_several, readouts_of, source_mask, with_readouts
from suite.measures.frozen import Frozen, Pass
from suite.measures.structure import log10_mean, sum_by_hop
from suite.rng import stream
from suite.task import Task

EXACT_UP_TO = 16  # outputs; wider ones are probed
MAX_DRAWS = 8
MAX_READOUTS = 32
MAX_FORWARD_NODES = 2048  # joined into one forward pass, whose intermediate results are kept for the way back
MAX_BACKWARD_NODES = 100_000  # nodes that all backward passes of one run go through, together


class Influence(NamedTuple):
    """Frobenius norms |J_vu| of d out_v / d x_u and d out_v / d H0_u: each [num_readouts, num_nodes] float64, or None."""

    x: Tensor
    hidden: Tensor | None


class InfluenceByHop(NamedTuple):
    """Influence on a set of read-out nodes by hop k = 0, 1, ..., all [num_hops] but for the scalars.

    Attributes:
        log10_norm: log10 of the geometric mean of |J_vu| over the pairs k apart where it is not 0; NaN where all are 0.
        share: mean over live read-out nodes of the shell's sum of |J_vu| / total_v.
        mean_share: the same per node of the shell, over the read-out nodes that have one.
        pairs: number of pairs k apart, of live read-out nodes.
        zeros: how many of them have |J_vu| exactly 0.
        log10_total: mean over live read-out nodes of log10 total_v, total_v the sum of |J_vw| over all nodes w.
        dead_readouts: read-out nodes whose total is 0: their shares would be 0 / 0, so they are counted here and nowhere else.
    """

    log10_norm: Tensor
    share: Tensor
    mean_share: Tensor
    pairs: Tensor
    zeros: Tensor
    log10_total: float
    dead_readouts: int


def influence(model: nn.Module, graphs: Sequence[Data], rng: torch.Generator | None = None) -> list[Influence]:
    """Return the influence of every node on every read-out node, graph by graph.

    J_vu = d out_v / d x_u [out_channels, in_channels] on the whole graph (a cut-out neighbourhood would change degrees and
    lose attention, virtual nodes and norms), float64, eval mode, encodings held fixed; also d out_v / d H0_u where the model
    has `encode`, since a dead input column hides sensitivity. Up to 16 outputs: exact, one backward pass each. More: 16
    Gaussian probes z, |J_vu|^2 = E |z^T J_vu|^2, unbiased in the square (drawn from `rng`, or a fixed stream).

    Zero: no dependence at all, and exactly 0 beyond the reach of a model that uses edges only. Not scale-free: split it,
    |J_vu| = share x total. J is local: a zero gradient (a dead ReLU) is not yet zero dependence. Not to be confused with
    the L1 influence of PyG's `total_influence`, which cuts a ball and sums shells. (2111.14522, 2302.02941)

    Raises ValueError where a graph has no `readout_index`.
    """
    frozen = Frozen(model)
    rng = rng or stream("influence", "probes")
    return [found for chunk in _chunks(graphs, MAX_FORWARD_NODES) for found in _influence(frozen, chunk, rng)]


def influence_by_hop(model: nn.Module, graph: Data) -> InfluenceByHop:
    """Return `by_hop` of the influence with respect to `x` at the read-out nodes of one graph, distances by BFS."""
    hops = hop_distance(graph.edge_index, readouts_of(graph), int(graph.num_nodes or 0))
    return by_hop([influence(model, [graph])[0].x], [hops])


def by_hop(norms: Sequence[Tensor], hops: Sequence[Tensor]) -> InfluenceByHop:
    """Gather influence by hop distance; `norms` and `hops` [num_readouts, num_nodes], one pair of them per graph.

    Nodes without a path (-1) count in the total, and in no shell: shares add up to 1 where none of them is felt.
    """
    num_hops = 1 + max(int(h.max()) for h in hops)
    totals = [norm.sum(1) for norm in norms]
    live = [(n[t > 0], h[t > 0]) for n, h, t in zip(norms, hops, totals, strict=True)]
    shells = [sum_by_hop(n / n.sum(1, keepdim=True), h, num_hops) for n, h in live]
    share, sizes = torch.cat(shells), torch.cat([sum_by_hop(torch.ones_like(n), h, num_hops) for n, h in live])
    norm, hop = torch.cat([n.flatten() for n, _ in live]), torch.cat([h.flatten() for _, h in live])
    total = torch.cat(totals)
    return InfluenceByHop(
        log10_norm=torch.tensor([log10_mean(norm[hop == k]) for k in range(num_hops)], dtype=torch.float64),
        share=share.mean(0),
        mean_share=(share / sizes).nanmean(0),
        pairs=sizes.sum(0).long(),
        zeros=torch.stack([(norm[hop == k] == 0).sum() for k in range(num_hops)]),
        log10_total=log10_mean(total),
        dead_readouts=int((total == 0).sum()),
    )


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `influence`: up to 8 draws and 32 read-out nodes in all, fewer on large graphs.

    Keys: those of `InfluenceByHop` with respect to `x`, and `hops` [0..H]; of the planted source `source_share` (mean),
    `log10_source_share` (mean over the pairs where it is not 0, None if there is none), `source_zeros`, `source_hops`
    (mean); `num_readouts`; `hidden`: the same with respect to H0, None where the model has no `encode`.
    """
    rng = stream(task.config(), seed, "measure", "readouts")
    num_nodes = int(draw(task, seed, 0)[0].num_nodes or 1)
    per_readout = num_nodes * min(task.out_channels, EXACT_UP_TO)
    num_readouts = max(1, min(MAX_READOUTS, MAX_BACKWARD_NODES // per_readout))
    graphs = draw_several(task, seed, at_most=min(MAX_DRAWS, num_readouts), max_nodes=MAX_BACKWARD_NODES)
    graphs = [with_readouts(graph, -(-num_readouts // len(graphs)), rng) for graph in graphs]
    found = influence(model, graphs, rng)
    hops = [hop_distance(g.edge_index, readouts_of(g), int(g.num_nodes or 0)) for g in graphs]
    sources = [source_mask(graph) for graph in graphs]
    result = _summary([f.x for f in found], hops, sources)
    hidden = [f.hidden for f in found if f.hidden is not None]
    result["hidden"] = _summary(hidden, hops, sources) if hidden else None
    return as_json(result)


def _summary(norms: list[Tensor], hops: list[Tensor], sources: list[Tensor | None]) -> dict[str, Any]:
    found = by_hop(norms, hops)
    num_readouts = sum(norm.size(0) for norm in norms)
    result = {"hops": list(range(found.share.numel())), "num_readouts": num_readouts} | found._asdict()
    return result | _of_source(norms, hops, sources)


def _of_source(norms: list[Tensor], hops: list[Tensor], sources: list[Tensor | None]) -> dict[str, Any]:
    shares, distances = [], []
    for norm, hop, mask in zip(norms, hops, sources, strict=True):
        if mask is not None:
            live = mask & (norm.sum(1, keepdim=True) > 0)
            shares.append((norm / norm.sum(1, keepdim=True))[live])
            distances.append(hop[mask])
    if not shares:
        return dict.fromkeys(("source_share", "log10_source_share", "source_zeros", "source_hops"))
    share = torch.cat(shares)
    return {
        "source_share": share.mean(),
        "log10_source_share": log10_mean(share),
        "source_zeros": (share == 0).sum(),
        "source_hops": torch.cat(distances).double().mean(),
    }


def _chunks(graphs: Sequence[Data], max_nodes: int) -> list[list[Data]]:
    """Cut `graphs` into runs of at most `max_nodes` nodes, or single graphs: what one forward pass keeps for the way back."""
    chunks: list[list[Data]] = []
    room = 0
    for graph in graphs:
        num_nodes = int(graph.num_nodes or 0)
        if num_nodes > room:
            chunks.append([])
            room = max_nodes
        chunks[-1].append(graph)
        room -= num_nodes
    return chunks


def _influence(frozen: Frozen, graphs: list[Data], rng: torch.Generator) -> list[Influence]:
    """Graphs share no path, so one backward pass asks one read-out node of each of them at once."""
    seen = frozen.run(graphs, differentiable=True)
    readouts = [readouts_of(graph) + start for graph, start in zip(graphs, seen.ptr, strict=False)]
    wrt = [seen.x, *seen.hidden[:1]] if frozen.encodes else [seen.x]
    slots = []
    for slot in range(max(readout.numel() for readout in readouts)):
        rows = torch.stack([readout[slot] for readout in readouts if slot < readout.numel()])
        slots.append(_norms(seen, rows, wrt, rng))
    per_graph = [seen.per_graph(torch.stack(norms, dim=1)) for norms in zip(*slots, strict=True)]  # [nodes, slots] each
    cut = [[norm[:, : r.numel()].T for norm, r in zip(norms, readouts, strict=True)] for norms in per_graph]
    return [Influence(parts[0], parts[1] if frozen.encodes else None) for parts in zip(*cut, strict=True)]


def _norms(seen: Pass, rows: Tensor, wrt: list[Tensor], rng: torch.Generator) -> list[Tensor]:
    """Return |d out_rows / d t_u| for every node u and each t of `wrt`: [num_nodes] each."""
    norms = [t.new_zeros(t.size(0)) for t in wrt]
    for direction in _directions(rows.numel(), seen.output.size(1), rng):
        cotangent = torch.zeros_like(seen.output)
        cotangent[rows] = direction
        gradients = torch.autograd.grad(seen.output, wrt, cotangent, retain_graph=True, allow_unused=True, materialize_grads=True)
        norms = [torch.hypot(norm, _row_norm(g)) for norm, g in zip(norms, gradients, strict=True)]
    return norms


def _directions(num_rows: int, out_channels: int, rng: torch.Generator) -> Tensor:
    """Return the vectors z whose |z^T J| add up, in squares, to |J|, exactly or for wide outputs on average.

    [passes, num_rows or 1, out_channels]: every row has probes of its own.
    """
    if out_channels <= EXACT_UP_TO:
        return torch.eye(out_channels, dtype=torch.float64).unsqueeze(1)
    probes = torch.randn(EXACT_UP_TO, num_rows, out_channels, generator=rng, dtype=torch.float64)
    return probes.div(EXACT_UP_TO**0.5)


def _row_norm(rows: Tensor) -> Tensor:
    """Return the norm of each row; rows so small that their squares underflow are rescaled, so that 0 means 0."""
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1)
    small = norm < 1e-140
    if bool(small.any()):
        part = rows[small]
        largest = part.abs().amax(1, keepdim=True)
        norm[small] = torch.where(largest == 0, 0, part / largest).norm(dim=1) * largest.squeeze(1)
    return norm

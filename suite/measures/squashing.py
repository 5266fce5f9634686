"""Over-squashing: how strongly the output at a read-out node feels the input of every other node, hop by hop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.engine.batches import GraphBatch
from suite.measures.colours import Asked, by_colour, colour, sees
from suite.measures.draws import as_json, draw, draw_several, hops_of, readouts_of, source_mask, with_readouts
from suite.measures.frozen import Frozen
from suite.measures.linearised import ByHand, NotNodeWiseError, row_norm
from suite.measures.shares import influence_range
from suite.measures.shares import shares as share_of
from suite.measures.structure import log10_mean, sum_by_hop
from suite.rng import stream
from suite.task import Task

EXACT_UP_TO = 64  # outputs; wider ones are probed
NUM_PROBES = 16
CHUNK_SIZE = 1 << 26  # float64 values: half a gigabyte
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


def influence(
    model: nn.Module, graphs: Sequence[Data], rng: torch.Generator | None = None, chunk_size: int = CHUNK_SIZE
) -> list[Influence]:
    """Return the influence of every node on every read-out node, graph by graph.

    J_vu = d out_v / d x_u [out_channels, in_channels] on the whole graph (a cut-out neighbourhood would change degrees and
    lose attention, virtual nodes and norms), float64, eval mode, encodings held fixed: of x only what the task gave counts
    (`Block.own`), neither the columns of an encoding nor the nodes that a rewiring appended, and paths are those of the rewired
    graph. Also d out_v / d H0_u where the model has `encode`, since a dead input column hides sensitivity. Up to 64 outputs:
    exact. More: 16 Gaussian probes z, |J_vu|^2 = E |z^T J_vu|^2, unbiased in the square (drawn from `rng`, or a fixed stream).

    Two ways, equal but for rounding. Built-in models that only propagate: by hand, all channels at once, rows in reach only
    (`suite.measures.linearised`), where many backward passes would be needed; `chunk_size` bounds the float64 values that
    its Jacobians hold. Any other module: one backward pass per output (or probe), shared by read-out nodes that see no node
    in common, by the model's declared `reach` and `global_channel`, or in different graphs.

    Zero: no dependence at all, and exactly 0 beyond the reach of a model that uses edges only. Not scale-free: split it,
    |J_vu| = share x total. J is local: a zero gradient (a dead ReLU) is not yet zero dependence. Pitfall: not to be confused with
    the L1 influence of PyG's `total_influence`, which cuts a ball, so that degrees at its rim and the outer hop are wrong,
    and sums shells. (2111.14522, 2302.02941)
    Cost: a backward pass an output, shared where read-out nodes see no node in common, or one sparse product a layer by hand.

    Raises ValueError where a graph has no `readout_index`.
    """
    frozen = Frozen(model)
    rng = rng or stream("influence", "probes")
    return [found for chunk in _chunks(graphs, MAX_FORWARD_NODES) for found in _influence(frozen, chunk, rng, chunk_size)]


def influence_by_hop(model: nn.Module, graph: Data) -> InfluenceByHop:
    """Return `by_hop` of the influence with respect to `x` at the read-out nodes of one graph, distances as in `hops_of`.

    Fields are [num_hops]. Zero: nothing at that hop is felt. Shares are scale-free, norms are not. Cost and pitfalls as
    `influence`; besides, a shell's share grows with its size, `mean_share` does not. (2302.02941; shares are this project's
    own.)
    """
    return by_hop([influence(model, [graph])[0].x], [hops_of(graph)])


def by_hop(norms: Sequence[Tensor], hops: Sequence[Tensor]) -> InfluenceByHop:
    """Gather influence by hop distance; `norms` and `hops` [num_readouts, num_nodes], one pair of them per graph.

    Nodes without a path (-1) count in the total, and in no shell: shares add up to 1 where none of them is felt.
    """
    num_hops = 1 + max(int(h.max()) for h in hops)
    totals = [norm.sum(1) for norm in norms]
    live = [(n[t > 0], h[t > 0]) for n, h, t in zip(norms, hops, totals, strict=True)]
    shells = [sum_by_hop(share_of(n), h, num_hops) for n, h in live]
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
    (mean); `mean_hops`, how far away what counts is (`influence_range`), mean over live read-outs; `num_readouts`; `hidden`: the
    same with respect to H0, None where the model has no `encode`. Hops are those of the task's own graph, also where the model
    runs on a rewired one.
    """
    rng = stream(task.config(), seed, "measure", "readouts")
    num_nodes = int(draw(task, seed, 0)[0].num_nodes or 1)
    per_readout = num_nodes * min(task.out_channels, EXACT_UP_TO)
    num_readouts = max(1, min(MAX_READOUTS, MAX_BACKWARD_NODES // per_readout))
    graphs = draw_several(task, seed, at_most=min(MAX_DRAWS, num_readouts), max_nodes=MAX_BACKWARD_NODES)
    graphs = [with_readouts(graph, -(-num_readouts // len(graphs)), rng) for graph in graphs]
    found = influence(model, graphs, rng)
    hops = [hops_of(graph) for graph in graphs]
    sources = [source_mask(graph) for graph in graphs]
    result = _summary([f.x for f in found], hops, sources)
    hidden = [f.hidden for f in found if f.hidden is not None]
    result["hidden"] = _summary(hidden, hops, sources) if hidden else None
    return as_json(result)


def _summary(norms: list[Tensor], hops: list[Tensor], sources: list[Tensor | None]) -> dict[str, Any]:
    found = by_hop(norms, hops)
    num_readouts = sum(norm.size(0) for norm in norms)
    result = {"hops": list(range(found.share.numel())), "num_readouts": num_readouts} | found._asdict()
    ranges = torch.cat([influence_range(norm, hop).normalised for norm, hop in zip(norms, hops, strict=True)])
    return result | {"mean_hops": ranges.nanmean()} | _of_source(norms, hops, sources)


def _of_source(norms: list[Tensor], hops: list[Tensor], sources: list[Tensor | None]) -> dict[str, Any]:
    shares, distances = [], []
    for norm, hop, mask in zip(norms, hops, sources, strict=True):
        if mask is not None:
            live = mask & (norm.sum(1, keepdim=True) > 0)
            shares.append(share_of(norm)[live])
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


def _influence(frozen: Frozen, graphs: list[Data], rng: torch.Generator, chunk_size: int) -> list[Influence]:
    """Ask all read-out nodes of some graphs, joined into one."""
    given = frozen.join(graphs)
    ptr: list[int] = given.graphs.ptr
    counts = [readouts_of(graph).numel() for graph in graphs]
    readouts = torch.cat([readouts_of(graph) + start for graph, start in zip(graphs, ptr, strict=False)])
    seen = sees(readouts, given.graphs.edge_index, given.graphs.batch, frozen.reach)
    num_passes = int(seen.sum(0).max())  # at least: none is shared by read-out nodes that see the same node
    norms = _by_hand(frozen, given, readouts, num_passes, rng, chunk_size)
    if norms is None:
        norms = _backwards(by_colour(frozen, given, readouts, seen, colour(seen)), seen, rng)
    if given.graphs.own is not None:  # nodes that a rewiring appended have states, but no input of the task's
        norms = norms * given.graphs.own.any(1)
    cut = [part[:, :, a:b] for part, (a, b) in zip(torch.split(norms, counts, dim=1), pairwise(ptr), strict=True)]
    return [Influence(x, hidden if frozen.encodes else None) for x, hidden in cut]


def _by_hand(
    frozen: Frozen, given: GraphBatch, readouts: Tensor, num_passes: int, rng: torch.Generator, chunk_size: int
) -> Tensor | None:
    """Return what `_backwards` does, or None where the model cannot be taken apart, or backward passes are few."""
    if frozen.propagating is None:
        return None
    try:
        graphs = given.graphs
        hand = ByHand(frozen.propagating, graphs.x.double(), graphs.edge_index, chunk_size, graphs.own)
        num_directions = hand.out_channels if hand.out_channels <= EXACT_UP_TO else NUM_PROBES
        if num_passes * num_directions <= 2 * hand.width or not hand.fits(readouts):
            return None
        return hand.norms(readouts, _directions(readouts.numel(), hand.out_channels, rng))
    except NotNodeWiseError:
        return None


def _backwards(passes: Iterator[Asked], seen: Tensor, rng: torch.Generator) -> Tensor:
    """Return |d out_v / d x_u| and |d out_v / d H0_u|, one backward pass a colour and direction: [2, num_readouts, num_nodes].

    `seen` [num_readouts, num_nodes] says which node belongs to which of the read-out nodes of a pass.
    """
    out = torch.zeros(2, *seen.shape, dtype=torch.float64)
    for asked in passes:
        norms = torch.zeros(2, seen.size(1), dtype=torch.float64)
        for direction in _directions(asked.rows.numel(), asked.output.size(1), rng).unbind(1):
            cotangent = torch.zeros_like(asked.output).index_put((asked.rows,), direction)
            found = torch.autograd.grad(
                asked.output, [asked.x, asked.first], cotangent, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            norms[:, asked.nodes] = torch.hypot(norms[:, asked.nodes], torch.stack([row_norm(rows) for rows in found]))
        out[:, asked.chosen] = torch.where(seen[asked.chosen], norms.unsqueeze(1), 0)
    return out


def _directions(num_readouts: int, out_channels: int, rng: torch.Generator) -> Tensor:
    """Return the vectors z whose |z^T J| add up, in squares, to |J|, exactly or for wide outputs on average.

    [num_readouts, num_directions, out_channels]: every read-out node has probes of its own.
    """
    if out_channels <= EXACT_UP_TO:
        return torch.eye(out_channels, dtype=torch.float64).expand(num_readouts, -1, -1)
    probes = torch.randn(num_readouts, NUM_PROBES, out_channels, generator=rng, dtype=torch.float64)
    return probes.div(NUM_PROBES**0.5)

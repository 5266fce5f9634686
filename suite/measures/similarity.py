"""Similarity of rows: angles between the states of stated pairs of nodes, and distances between and within classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.hops import hop_distance
from suite.measures.draws import as_json, averaged, draw_several, readouts_of
from suite.measures.frozen import Frozen
from suite.measures.ranks import unit
from suite.task import Task, own_edges

NEAR, FAR = 3, 8  # hops
MAX_NODES = 4096  # of which all distances are held
PAIR_CHUNK = 1 << 24  # numbers of two rows each held at once


def mean_average_distance(h: Tensor, pairs: Tensor) -> Tensor:
    """Return MAD, the mean over pairs of 1 - cos(h_i, h_j), of h [..., num_nodes, channels]: [...] float64, in [0, 2].

    `pairs` is [2, num_pairs] long: say which, edges, all, or a shell, since the value says little without (1909.03211).
    Zero: the rows of every pair are parallel, as in the limit of gcn and of means alike. Scale-free, also row by row. A row of
    zeros has no angle: its pairs are left out, where others call it a right one, and NaN where no pair is left. The entry
    `smoothing` counts such rows beside it (`zero_rows`). Cost: O(pairs channels).

    Pitfalls: blind to length and, with one channel, to everything but sign (there it is 0 or 2). After a ReLU no angle is
    obtuse, so that random states have about .2 to .4 and not 1. Where dead units leave many rows of zeros it tells of the others.
    """
    rows = _directions(h)
    width = max(1, PAIR_CHUNK // max(1, rows.numel() // rows.size(-2)))
    parts = torch.split(pairs, width, dim=1)
    cosines = [(rows.index_select(-2, i) * rows.index_select(-2, j)).sum(-1) for i, j in parts]
    return 1 - torch.cat(cosines, dim=-1).nanmean(-1).clamp(-1, 1)


def _directions(h: Tensor) -> Tensor:
    """Return the rows of h [..., num_nodes, channels] at length 1; NaN where one is 0."""
    h = unit(h).nan_to_num()
    size = h.square().sum(-1, keepdim=True).sqrt()
    return h / torch.where(size > 0, size, torch.nan)


def mean_cosine(h: Tensor, pairs: Tensor) -> Tensor:
    """Return the mean cosine of the rows of h [..., num_nodes, channels] over pairs: [...] float64, in [-1, 1]; 1 - MAD.

    Zero: right angles on average; 1 where all pairs are parallel. Scale-free, NaN, cost, pitfalls and source as
    `mean_average_distance`.
    (1909.03211)
    """
    return 1 - mean_average_distance(h, pairs)


def mad_gap(h: Tensor, hops: Tensor, near: int = NEAR, far: int = FAR) -> Tensor:
    """Return MADGap = MAD of pairs at least `far` hops apart - MAD of different nodes at most `near` apart: [...] float64.

    `h` [..., num_nodes, channels], `hops` [num_nodes, num_nodes] as `hop_distance` returns them for every node. Large: near nodes
    are alike and far ones are not. Zero: distance does not matter to the angle, as when all is collapsed, or all random.
    Scale-free. NaN where no pair is so far apart (a graph of diameter below 8), or has an angle; rows of zeros are left out, as
    in MAD. (1909.03211) (Their divisor leaves out pairs with distance 0.) Cost: O(n^2 channels); of memory beside `hops` 128 MB,
    or a row of n cosines a state: pairs are taken in chunks, and n is limited by `hops` alone. Pitfall: 3 and 8 were set for
    citation graphs.
    """
    rows = _directions(h)
    sums, counts = torch.zeros(2, 2, *h.shape[:-2], dtype=torch.float64).unbind()
    width = max(1, PAIR_CHUNK // max(1, rows.numel() // rows.size(-1)))
    for some, apart in zip(torch.split(rows, width, dim=-2), torch.split(hops, width), strict=True):
        cosine = some @ rows.mT  # pair by pair, wide states take a hundred times as much memory
        for index, chosen in enumerate((apart >= far, (apart >= 1) & (apart <= near))):
            picked = cosine[..., chosen]
            sums[index] += picked.nansum(-1)
            counts[index] += picked.isfinite().sum(-1)
    remote, close = (sums / counts).clamp(-1, 1).unbind()
    return close - remote


def group_distance_ratio(h: Tensor, y: Tensor) -> Tensor:
    """Return how far classes are apart over how far nodes of one class are: [] float64 of h [num_nodes, channels], y [num_nodes].

        1 / (C - 1)^2 sum over classes i != j of the mean |h_a - h_b|, a in i, b in j
        -----------------------------------------------------------------------------
        1 / C sum over classes i of the mean |h_a - h_b|, a and b in i

    (2006.06972.) Zero: classes lie on top of one another; C / (C - 1) when labels say nothing of states. Scale-free. NaN where
    all nodes of each class coincide, or there is one class. Cost: all distances, O(n^2 channels). Pitfalls: a mean over nodes
    with themselves too, so that small classes look tight; a ratio of two vanishing numbers when all is collapsed.

    Raises ValueError for more than 4,096 nodes, of which not all distances are held.
    """
    if h.size(0) > MAX_NODES:
        raise ValueError(f"h: distances of all pairs are held for at most {MAX_NODES:,} nodes, got {h.size(0):,}; take a sample")
    distance = torch.cdist(unit(h), unit(h), compute_mode="donot_use_mm_for_euclid_dist")
    member = torch.nn.functional.one_hot(torch.unique(y, return_inverse=True)[1]).double()
    member = member / member.sum(0)
    between = member.T @ distance @ member  # [C, C]
    num_classes, within = member.size(1), between.diagonal()
    apart = (between.sum() - within.sum()) / (num_classes - 1) ** 2 if num_classes > 1 else within.new_tensor(torch.nan)
    return apart / within.mean() if bool(within.any()) else within.new_tensor(torch.nan)


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The entry `groups` of a diagnosis, by layer 0..L, means over `num_graphs` draws of 4,096 nodes together.

    Keys: `mad_gap` (None where no nodes are 8 hops apart); `group_distance_ratio` of the classes at the read-out nodes, left out
    unless there are two at least. Raises ValueError for more than 4,096 nodes.
    """
    graphs = draw_several(task, seed, at_most=8, max_nodes=MAX_NODES)
    if (num_nodes := int(graphs[0].num_nodes or 0)) > MAX_NODES:
        raise ValueError(f"all pairs of nodes are looked at, of at most {MAX_NODES:,}; the graph has {num_nodes:,}")
    frozen, parts, room = Frozen(model), [], MAX_NODES
    for graph in graphs:
        if (num_nodes := int(graph.num_nodes or 0)) <= room:
            parts.append(_groups(frozen, graph))
            room -= num_nodes
    return as_json(averaged(parts) | {"num_graphs": len(parts)})


def _groups(frozen: Frozen, graph: Data) -> dict[str, Any]:
    hidden, num_nodes = frozen.run([graph]).hidden, int(graph.num_nodes or 0)
    hops = hop_distance(own_edges(graph), torch.arange(num_nodes), num_nodes)
    found: dict[str, Any] = {"mad_gap": [float(mad_gap(h, hops)) for h in hidden]}
    y, asked = graph.get("y"), readouts_of(graph)
    if y is not None and not y.is_floating_point() and y.shape == asked.shape and torch.unique(y).numel() > 1:
        found["group_distance_ratio"] = [float(group_distance_ratio(h[asked], y)) for h in hidden]
    return found

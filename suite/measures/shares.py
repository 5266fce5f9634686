"""What the influence on a read-out node is made of: share and total, near and far, signal and interference.

|J_vu| = share x total is an identity: share_vu = |J_vu| / sum_w |J_vw| is where an output looks, and over-squashing is a
small one; total_v = sum_w |J_vw| is how much it feels at all, and vanishing gradients are a small one. The functions take
norms as `influence` returns them, or L1 norms from `absolute_influence`; both are named apart throughout.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import degree, remove_self_loops

from suite.measures.colours import by_colour, colour, sees
from suite.measures.draws import readouts_of
from suite.measures.frozen import Frozen
from suite.measures.structure import laplacian_of, sum_by_hop, undirected

MAX_DENSE = 4096  # nodes of a graph whose resistances are all found at once


class Range(NamedTuple):
    """How far away what counts is, for each read-out node: [num_readouts] float64 each."""

    normalised: Tensor  # sum_u I_vu dist(v, u) / sum_u I_vu, NaN where nothing is felt
    unnormalised: Tensor  # sum_u I_vu dist(v, u)


def shares(norms: Tensor) -> Tensor:
    """Return norms [num_readouts, num_nodes] over their sum by row: where each output looks, [num_readouts, num_nodes] float64.

    Zero: the node is not felt. NaN in the rows of read-out nodes that feel nothing (dead ReLU): their shares would be 0 / 0.
    Scale-free: twice the weights of a linear net, or of a ReLU net without biases, leave it. Under attention to all n nodes with
    a logit gap g it is at most e^g / (e^g + n - 1), whatever the hops.
    Cost: O(entries). Pitfall: a large share of a tiny total is still a tiny derivative. (This project's own.)
    """
    norms = norms.double()
    return norms / norms.sum(1, keepdim=True)


def routing_gain(norms: Tensor, operator: Tensor) -> Tensor:
    """Return log10 of the share of each node over that of the bare operator: [num_readouts, num_nodes] float64.

    `operator` is (Op^L)_v as `operator_power` returns it, of the operator as run (`skipping_power`, where layers add). log
    share = log topological attenuation + gain: positive after training means that the model learnt to look there. Zero: the
    topology alone explains the share, as in a linear GCN, exactly, and on average in a ReLU-GCN at initialisation. Scale-free.
    NaN where either share is 0 or undefined. Pitfall: against an operator that is not the model's (GAT against gcn) it says as
    much about the operator. Cost: O(entries). (This project's own.)
    """
    gain = (shares(norms) / shares(operator)).log10()
    return gain.where(gain.isfinite(), torch.nan)


def influence_range(influence: Tensor, distance: Tensor) -> Range:
    """Return rho: the mean distance of what counts, weighted by influence [num_readouts, num_nodes] (2506.05971).

    `distance` [num_readouts, num_nodes] is in hops (-1: no path) or ohms (NaN: none), and nodes without one are left out of both
    sums. The paper's influence is the L1 norm (`absolute_influence`); of the Frobenius norm it is the mean hop of shares. Zero:
    each output feels its own node alone. `normalised` is scale-free. sqrt(4 L / (3 pi)) hops nearly for L steps of GCN on a long
    ring; exactly k for a mean over the nodes k hops away. Pitfall: subtract that of the untrained model, or of the bare operator:
    only the difference was learnt.
    Cost: O(entries).
    """
    known = (distance >= 0) & distance.isfinite() if distance.is_floating_point() else distance >= 0
    weight = influence.double().where(known, 0)
    total = (weight * distance.double().where(known, 0)).sum(1)
    return Range(total / weight.sum(1), total)


def all_resistances(edge_index: Tensor, num_nodes: int, nodes: Tensor) -> Tensor:
    """Return the effective resistance between each of `nodes` and every node: [len(nodes), num_nodes] float64.

    The distance for `influence_range` in ohms. Zero: the node itself. Foster: over the edges it adds up to n - 1. Cost: one
    dense inverse, O(n^3). Raises ValueError for more than 4,096 nodes (there `effective_resistance` finds single pairs) and, as
    that does, unless the graph is undirected and connected. Not scale-free: it grows with the graph. It knows no features.
    (Klein and Randic, 1993) Pitfall: smooth in distance; two nodes many hops apart in a dense part are near.
    """
    if num_nodes > MAX_DENSE:
        raise ValueError(f"num_nodes: must be <= {MAX_DENSE:,}, got {num_nodes:,}; effective_resistance finds single pairs")
    laplacian = laplacian_of(undirected(edge_index, num_nodes)).toarray()
    inverse = torch.from_numpy(np.linalg.inv(laplacian + 1 / num_nodes))  # L^+ + J / n, and J / n cancels
    own = inverse.diagonal()
    return (own[nodes].unsqueeze(1) + own - 2 * inverse[nodes]).clamp(min=0)


def absolute_influence(model: nn.Module, graph: Data) -> Tensor:
    """Return I(v, u) = sum_ab |d out_va / d x_ub| of every node on every read-out node: [num_readouts, num_nodes] float64.

    The influence score of 1806.03536; its rows over their sums (`shares`) are the influence distribution, which for ReLU nets
    with random paths is an L-step random walk on average. On the whole graph, float64, eval mode, encodings held fixed. Zero: no
    dependence, exactly. Not scale-free. Cost: a backward pass an output, shared by read-out nodes that see no node in common.
    Pitfalls: not the Frobenius norm that `influence` returns (equal for one input and one output channel). PyG's
    `total_influence` runs on a cut-out ball, so that degrees at its rim are wrong and all that is global is lost.

    Raises ValueError where the graph has no `readout_index`.
    """
    frozen, readouts = Frozen(model), readouts_of(graph)
    num_nodes = int(graph.num_nodes or 0)
    seen = sees(readouts, graph.edge_index, torch.zeros(num_nodes, dtype=torch.long), frozen.reach)
    out = torch.zeros(readouts.numel(), num_nodes, dtype=torch.float64)
    for asked in by_colour(frozen, frozen.join([graph]), readouts, seen, colour(seen)):
        found = torch.zeros(num_nodes, dtype=torch.float64)
        for channel in range(asked.output.size(1)):
            total = asked.output[asked.rows, channel].sum()
            (gradient,) = torch.autograd.grad(total, asked.x, retain_graph=True, allow_unused=True, materialize_grads=True)
            found[asked.nodes] += gradient.abs().sum(1)
        out[asked.chosen] = torch.where(seen[asked.chosen], found, 0)
    return out


def total_influence(influence: Tensor, hops: Tensor) -> Tensor:
    """Return T_h, the influence of a whole shell, mean over read-out nodes: [num_hops] float64 (2503.09008).

    `influence` as `absolute_influence` returns it, `hops` [num_readouts, num_nodes], -1 where no path leads. Usually shown as
    T_h / T_0. Zero: nothing at that distance is felt. Not scale-free. Pitfalls: a sum grows with the shell; divide by
    `shell_sizes` for the influence of one node. A mean of sums, not of ratios: read-out nodes that feel much weigh more.
    Cost: O(entries).
    """
    return sum_by_hop(influence.double(), hops, 1 + int(hops.max())).mean(0)


def signal_to_interference(norms: Tensor, sources: Tensor, variance: Tensor) -> Tensor:
    """Return |J_vu|^2 s_u^2 over the sum of |J_vw|^2 s_w^2 of all other nodes w: [num_readouts] float64.

    `norms` [num_readouts, num_nodes] as from `influence`, `sources` [num_readouts, num_nodes] bool (several add up), `variance`
    [num_nodes] or [num_readouts, num_nodes] that of each node's input over samples. Zero: the source is not felt; infinite:
    nothing else that varies is (constant distractors: pure attenuation); NaN: neither. Scale-free. Pitfall: linear; a model
    can ignore inputs that its derivative at one point shows.
    Cost: O(entries). (This project's own.)
    """
    power = norms.double().square() * variance.double()
    return power.where(sources, 0).sum(1) / power.where(~sources, 0).sum(1)


def obstruction(model: nn.Module, graph: Data, pairs: Tensor) -> Tensor:
    """Return the symmetric Jacobian obstruction of each pair (v, u): [num_pairs] float64 (2302.02941, for its theorem 5.5).

    The sum over layers k = 0..L-1 of the Frobenius norm of

        1/d_v dh_v/dh_v^k - 1/sqrt(d_v d_u) dh_v/dh_u^k + 1/d_u dh_u/dh_u^k - 1/sqrt(d_v d_u) dh_u/dh_v^k

    with h the last hidden state and d degrees without self-loops. Zero: the pair feel each other as themselves; v is u. In the
    paper it lies between multiples of the effective resistance. Not scale-free. Cost: a backward pass a channel of v and of u.
    Pitfalls: it compares self with cross sensitivity, which is not "the source does not arrive". Layers of another width than
    the last cannot be compared and are skipped.

    Raises ValueError for a node without edges, whose degree is 0, and where no layer is as wide as the last.
    """
    seen = Frozen(model).run([graph], differentiable=True)
    edges = remove_self_loops(graph.edge_index)[0]
    degrees = degree(edges[1], int(graph.num_nodes or 0), dtype=torch.float64)
    if not bool((degrees[pairs] > 0).all()):
        raise ValueError("pairs: each node needs an edge, its degree divides")
    last = seen.hidden[-1]
    layers = [state for state in seen.hidden[:-1] if state.shape == last.shape]
    if not layers:
        raise ValueError(f"model: a layer before the last must be as wide as it, {last.size(1)} channels")
    rows = {int(node): _state_jacobian(last[node], layers) for node in torch.unique(pairs)}
    out = []
    for v, u in pairs.tolist():
        dv, du = degrees[v], degrees[u]
        own = rows[v][:, :, v] / dv + rows[u][:, :, u] / du
        cross = (rows[v][:, :, u] + rows[u][:, :, v]) / (dv * du).sqrt()
        out.append((own - cross).flatten(1).norm(dim=1).sum())
    return torch.stack(out)


def _state_jacobian(state: Tensor, layers: list[Tensor]) -> Tensor:
    """Return d state_c / d layer, [num_layers, channels, num_nodes, channels]."""
    found = [
        torch.autograd.grad(value, layers, retain_graph=True, allow_unused=True, materialize_grads=True)
        for value in state.unbind()
    ]
    return torch.stack([torch.stack(list(by_channel)) for by_channel in zip(*found, strict=True)])

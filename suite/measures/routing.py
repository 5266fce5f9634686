"""What a few read-outs feel, beside the influence by hop: L1 norms, ohms, routing, interference and obstruction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import degree, remove_self_loops

from suite.measures.draws import DIAGNOSED, as_json, draw, hops_of, readouts_of, source_mask, with_readouts
from suite.measures.frozen import Frozen
from suite.measures.shares import (
    absolute_influence,
    all_resistances,
    influence_range,
    obstruction,
    routing_gain,
    signal_to_interference,
    total_influence,
)
from suite.measures.squashing import influence
from suite.measures.structure import log10_mean, operator_power
from suite.rng import stream
from suite.task import Task

MAX_OBSTRUCTED = 1 << 26  # float64 values of the Jacobians between states


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The entry `shares` of a diagnosis: the first draw, up to 8 read-out nodes.

    Of L1 norms (`absolute_influence`): `hops` and `total_influence`, T_h by hop; `range_hops` and `range_hops_sum`, rho
    normalised or not, mean over read-outs; `range_ohms`, the same in ohms (None unless the graph is connected and has at most
    4,096 nodes). Of planted sources, by Frobenius norms (`influence`): `source_gain`, mean log10 of what their share is over that
    of the declared operator (gcn where none is declared) at the model's depth; `source_signal`, log10 of the geometric mean of
    `signal_to_interference` where all inputs vary alike. Of each read-out and its source, or else the farthest node:
    `obstruction`, mean (None where no layer is as wide as the last, or all are too large).
    """
    frozen, rng = Frozen(model), stream(task.config(), seed, "measure", "shares")
    graph = with_readouts(draw(task, seed, 0)[0], DIAGNOSED, rng)
    num_nodes, readouts, hops = int(graph.num_nodes or 0), readouts_of(graph), hops_of(graph)
    hidden = frozen.run([graph]).hidden
    felt = absolute_influence(model, graph)
    far = influence_range(felt, hops)
    found: dict[str, Any] = {"hops": list(range(1 + int(hops.max()))), "total_influence": total_influence(felt, hops)}
    found |= {"range_hops": far.normalised.nanmean(), "range_hops_sum": far.unnormalised.mean()}
    try:
        ohms = all_resistances(graph.edge_index, num_nodes, readouts)
        found["range_ohms"] = influence_range(felt, ohms).normalised.nanmean()
    except ValueError:  # too large, directed, or in pieces
        found["range_ohms"] = None
    mask = source_mask(graph)
    if mask is not None:
        operator: Any = frozen.operator or "gcn"
        norms = influence(model, [graph], rng)[0].x
        gain = torch.full_like(norms, torch.nan)
        if operator != "complete":
            gain = routing_gain(norms, operator_power(graph.edge_index, num_nodes, operator, len(hidden) - 1, readouts))
        signal = signal_to_interference(norms, mask, torch.ones(num_nodes))
        found |= {"source_gain": gain[mask].nanmean(), "source_signal": log10_mean(signal[signal.isfinite()])}
    return as_json(found | {"obstruction": _obstruction(model, graph, hidden, hops, mask)})


def _obstruction(model: nn.Module, graph: Data, hidden: list[Tensor], hops: Tensor, sources: Tensor | None) -> Tensor | None:
    """Return the mean over read-outs of the obstruction to their first source, or to the farthest node."""
    *layers, last = hidden
    other = hops.argmax(1) if sources is None else sources.double().argmax(1)
    pairs = torch.stack([readouts_of(graph), other], dim=1)
    lone = degree(remove_self_loops(graph.edge_index)[0][1], int(graph.num_nodes or 0)) == 0
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & ~lone[pairs].any(1)]
    comparable = sum(state.shape == last.shape for state in layers)
    if not comparable or not len(pairs) or last.numel() * last.size(1) * comparable * 2 * len(pairs) > MAX_OBSTRUCTED:
        return None
    return obstruction(model, graph, pairs).mean()

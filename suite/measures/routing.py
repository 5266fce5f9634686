"""What a few read-outs feel, beside the influence by hop: L1 norms, ohms, routing, interference and obstruction."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import degree, remove_self_loops

from suite.measures.draws import as_json, averaged, draw, draw_diagnosed, hops_of, readouts_of, source_mask
from suite.measures.frozen import Frozen, Pass
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
from suite.measures.structure import log10_mean, power_as_run
from suite.measures.twin import aggregation_gain
from suite.rng import stream
from suite.task import Task

MAX_NODES = 4096  # of all graphs together
NUM_SAMPLES, MIN_SAMPLES = 64, 8  # whose inputs vary
MAX_PAIRS = 8  # whose obstruction is found
MAX_OBSTRUCTED = 1 << 26  # float64 values of the Jacobians between states


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The entry `shares` of a diagnosis: `num_graphs` draws, up to 8, and 16 read-out nodes of all.

    By Frobenius norms (`influence`): `aggregation_gain`, mean over read-outs of that measure (None where the graphs have data
    of edges). Of L1 norms (`absolute_influence`): `hops` and `total_influence`, T_h by hop; `range_hops` and `range_hops_sum`,
    rho normalised or not, mean over read-outs; `range_ohms`, the same in ohms (None unless graphs are connected and have at
    most 4,096 nodes). Of planted sources, by Frobenius norms: `source_gain`, mean log10 of what their share is over that of the
    declared operator (gcn where none is declared) at the model's depth, with what layers add to (`skipping_power`; None where
    `skips` is "other"); `source_signal`, log10 of the geometric mean of `signal_to_interference`, and `undisturbed`, at how
    many read-outs it is infinite, as nothing else that varies is felt; `variances` it is taken with: "inputs", each node's over
    64 samples of the graph, or "alike", where there are fewer than 8. Of each read-out and its source, or else the farthest
    node: `obstruction`, mean over `num_obstructed` of them, 8 at most (None where no layer is as wide as the last, or all are
    too large). Derivatives are by x as it was given, `encodings` and edges "held".
    """
    frozen, rng = Frozen(model), stream(task.config(), seed, "measure", "shares")
    graphs = draw_diagnosed(task, seed, MAX_NODES, rng)
    samples = draw(task, seed, 0, NUM_SAMPLES)
    parts, signals, known = [], [], []
    obstructed: list[float] = []
    passes = [frozen.run([graph]) for graph in graphs]
    for graph, seen in zip(graphs, passes, strict=True):
        found, norms = _felt(frozen, seen, model, graph, rng)
        mask = source_mask(graph)
        if norms is not None and mask is not None:
            variance = _variance(graph, samples)
            known.append(variance is not None)
            signals.append(signal_to_interference(norms, mask, torch.ones(norms.size(1)) if variance is None else variance))
        parts.append(found)
        if len(obstructed) < MAX_PAIRS:
            obstructed += _obstruction(seen, model, graph, mask).tolist()[: MAX_PAIRS - len(obstructed)]
    longest = max(len(part["total_influence"]) for part in parts)
    for part in parts:  # beyond the last shell nothing is felt
        part["total_influence"] = torch.nn.functional.pad(part["total_influence"], (0, longest - len(part["total_influence"])))
    result: dict[str, Any] = {"hops": list(range(longest))} | averaged(parts)
    if signals:
        signal = torch.cat(signals)
        result |= {"source_signal": log10_mean(signal[signal.isfinite()]), "undisturbed": signal.isinf().sum()}
        result["variances"] = "inputs" if all(known) else "alike"
    result |= {"obstruction": torch.tensor(obstructed, dtype=torch.float64).mean(), "num_obstructed": len(obstructed)}
    for name in ("range_ohms", "aggregation_gain"):
        result.setdefault(name, None)
    return as_json(result | {"num_graphs": len(graphs), "encodings": "held", "skips": passes[0].skips})


def _felt(
    frozen: Frozen, seen: Pass, model: nn.Module, graph: Data, rng: torch.Generator
) -> tuple[dict[str, Any], Tensor | None]:
    """Return what is said of one graph, and where it has sources the Frobenius norms of `influence`."""
    num_nodes, readouts, hops = int(graph.num_nodes or 0), readouts_of(graph), hops_of(graph)
    mask = source_mask(graph)
    felt = absolute_influence(model, graph)
    far = influence_range(felt, hops)
    found: dict[str, Any] = {"total_influence": total_influence(felt, hops)}
    found |= {"range_hops": far.normalised.nanmean(), "range_hops_sum": far.unnormalised.mean()}
    with suppress(ValueError):  # too large, directed, or in pieces
        found["range_ohms"] = influence_range(felt, all_resistances(graph.edge_index, num_nodes, readouts)).normalised.nanmean()
    with suppress(ValueError, ArithmeticError, RuntimeError):  # edges have data, or a stranger's model cannot do without them
        found["aggregation_gain"] = aggregation_gain(model, graph).nanmean()
    if mask is None:
        return found, None
    operator: Any = frozen.operator or "gcn"
    norms = influence(model, [graph], rng)[0].x
    gain = torch.full_like(norms, torch.nan)
    if operator != "complete" and seen.skips != "other":
        gain = routing_gain(norms, power_as_run(seen, graph, operator, readouts))
    return found | {"source_gain": gain[mask].nanmean()}, norms


def _variance(graph: Data, samples: list[Data]) -> Tensor | None:
    """Return the variance of each node's x over those of `samples` that are the same graph, summed over channels: [num_nodes].

    None where there are fewer than 8 of them: what inputs do is not known.
    """
    alike = [s.x.double() for s in samples if s.x.shape == graph.x.shape and torch.equal(s.edge_index, graph.edge_index)]
    return torch.stack(alike).var(0).sum(1) if len(alike) >= MIN_SAMPLES else None


def _obstruction(seen: Pass, model: nn.Module, graph: Data, sources: Tensor | None) -> Tensor:
    """Return the obstruction of up to 4 read-outs to their first source, or to the farthest node: [num_pairs], maybe none."""
    *layers, last = seen.hidden
    other = hops_of(graph).argmax(1) if sources is None else sources.double().argmax(1)
    pairs = torch.stack([readouts_of(graph), other], dim=1)
    lone = degree(remove_self_loops(graph.edge_index)[0][1], int(graph.num_nodes or 0)) == 0
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & ~lone[pairs].any(1)][: MAX_PAIRS // 2]
    comparable = sum(state.shape == last.shape for state in layers)
    if not comparable or not len(pairs) or last.numel() * last.size(1) * comparable * 2 * len(pairs) > MAX_OBSTRUCTED:
        return torch.zeros(0)
    return obstruction(model, graph, pairs)

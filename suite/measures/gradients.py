"""Vanishing gradients and backward smoothing: what becomes of the error signal on its way back through the layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.measures.draws import as_json, draw_several, readouts_of
from suite.measures.frozen import Frozen
from suite.measures.smoothing import (
    describe,
    fixed_space_distance,
    rayleigh_quotient,
    signals_as_states,
    some_pairs,
    together,
)
from suite.rng import stream
from suite.score import losses
from suite.task import Level, Loss, Task


def backward_states(hidden: list[Tensor], loss: Tensor) -> list[Tensor]:
    """Return d loss / d H^(l) for every state of `hidden`, each of its shape: the error signals on their way back.

    They are mixed by the transposed operator as states are by the operator, and smooth too (2505.16736): hand them to `ranks`,
    `mean_average_distance`, and by way of `signals_as_states` to `rayleigh_quotient` and `fixed_space_distance`, as one would
    a state. Zero: the loss does not feel the node's state. Not scale-free. Cost: one backward
    pass. `hidden` and `loss` must come from one differentiable forward pass. Pitfall: with a loss at a few nodes the last
    signals are 0 elsewhere, which no smoothing did; compare with the layers before.
    Each [num_nodes, channels].

    Raises ValueError for a state that does not depend on the input.
    """
    if not all(state.requires_grad for state in hidden):
        raise ValueError("a hidden state does not depend on x, so that no gradient is kept at it")
    return list(torch.autograd.grad(loss, hidden, retain_graph=True, allow_unused=True, materialize_grads=True))


def gradient_norms(signals: list[Tensor], ptr: list[int]) -> Tensor:
    """Return |d loss / d H^(l)| (Frobenius) of each graph for every layer: [num_layers + 1, num_graphs] float64.

    `signals` as `backward_states` returns them; graph g has the nodes from `ptr[g]` to `ptr[g + 1]`. Zero: the loss does not feel
    the state (dead units, or a loss that is exactly solved). Not scale-free: it grows with the error, so read its ratio between
    layers. Cost: O(n channels). (2502.10818) Pitfall: a ratio of 1 says that signals arrive, not that they say anything.
    """
    sizes = [b - a for a, b in pairwise(ptr)]
    return torch.stack([torch.stack([part.norm() for part in torch.split(g.double(), sizes)]) for g in signals])


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `gradient`: up to 8 draws, the task's own loss at all read-out nodes of each.

    Keys: `norm`, by layer 0..L the mean over draws of |d Loss / d H^(l)|, each draw with its own mean loss; `ratio`, norm at
    layer 0 over norm at layer L (None where that is 0): below 1 the signal vanishes on its way back, above 1 it explodes.
    Backward smoothing, by layer, means over draws (None where all are 0): what `smoothing` says of states, of the error signals
    d Loss / d H^(l), `signal_rq_gcn`, `signal_rq_mean`, `signal_rq_complete`, `signal_distance`, `signal_effective_rank`,
    `signal_effective_rank_centred`, `signal_stable_rank`, `signal_numerical_rank`, `signal_rank_residual`, `signal_mad_edges`,
    `signal_mad_pairs`; under means of `signals_as_states`. `signal_zero_rows`: how many nodes of all draws have a signal of 0,
    and no angle. `signal_undefined`: draws whose signal is 0 or not finite.
    """
    frozen, rng = Frozen(model), stream(task.config(), seed, "measure", "signal pairs")
    graphs = draw_several(task, seed, at_most=8, max_nodes=4096)
    norms, parts = [], []
    for part in frozen.separately(graphs):
        signals, ptr = _signals(frozen, part, task.loss, task.level)
        norms.append(gradient_norms(signals, ptr))
        for graph, (a, b) in zip(part, pairwise(ptr), strict=True):
            parts.append(_smoothed([signal[a:b] for signal in signals], graph, frozen.operator, some_pairs(graph, rng)))
    norm = torch.cat(norms, dim=1).mean(1)
    stacked = {key: torch.stack([part[key] for part in parts]) for key in parts[0]}
    smoothed: dict[str, Any] = {f"signal_{key}": value.double().nanmean(0) for key, value in stacked.items()}
    smoothed["signal_undefined"] = stacked["rq_complete"].isnan().sum(0)
    smoothed["signal_zero_rows"] = stacked["zero_rows"].sum(0)
    smoothed.setdefault("signal_distance", [None] * norm.numel())
    return as_json({"norm": norm, "ratio": norm[0] / norm[-1], "num_draws": len(graphs)} | smoothed)


def _smoothed(signals: list[Tensor], graph: Data, operator: Any, pairs: Tensor) -> dict[str, Tensor]:
    """Return what smoothing measures say of error signals, each [num_nodes, channels], by layer."""
    parts = []
    for group in together(signals):
        found = describe(group, graph.edge_index, operator, pairs)
        del found["feature_norm"]  # which is `norm`
        equal = signals_as_states(group, graph.edge_index, "mean")
        found["rq_mean"] = rayleigh_quotient(equal, graph.edge_index, "mean")
        if operator == "mean":
            found["distance"] = fixed_space_distance(equal, graph.edge_index, "mean")
        parts.append(found)
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _signals(frozen: Frozen, graphs: Sequence[Data], loss: Loss, level: Level) -> tuple[list[Tensor], list[int]]:
    """Return `backward_states` of one forward pass over `graphs`, and where each graph's nodes begin."""
    seen = frozen.run(graphs, differentiable=True)
    by_node = seen.output.size(0) == seen.x.size(0)
    rows = seen.per_graph(seen.output) if by_node else list(torch.split(seen.output, 1))
    total = seen.output.new_zeros(1)
    for graph, output in zip(graphs, rows, strict=True):
        y = graph.y.double() if graph.y.is_floating_point() else graph.y
        asked = output[readouts_of(graph)] if by_node else output
        asked = asked.mean(0, keepdim=True) if level == "graph" else asked
        total = total + losses(asked.unsqueeze(0), y.unsqueeze(0), loss)
    return backward_states(seen.hidden, total), seen.ptr

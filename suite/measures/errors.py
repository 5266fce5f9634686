"""Errors: how wrong answers are, in the units of what is asked for, and how far away what is asked for lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.measures.draws import as_json, draw_several, hops_of, readouts_of, source_mask
from suite.measures.frozen import Frozen
from suite.score import losses
from suite.task import Level, Task

MAX_GRAPHS = 64


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `errors`: up to 64 draws, all read-out nodes of each.

    Keys: `loss`, the task's own; `error`, of classes the share answered wrongly, of numbers the mean absolute error in `unit`,
    the task's (hops, where y is a fifth of them); of numbers besides `mse` and `log10_mse` in `unit` (None where all are exact),
    and `constant`, the error of answering their mean. By hop 0..H from the read-out to the nearest source, or where nothing is
    planted and hops are asked for by the true answer: `error_by_hop`, `constant_by_hop`, None at hops that no read-out has, and
    `answers_by_hop`; empty where answers are at no distance. `num_answers`. Means over answers. NaN and infinity give None.
    """
    frozen, graphs = Frozen(model), draw_several(task, seed, at_most=MAX_GRAPHS, max_nodes=4096)
    out = torch.cat([rows for part in frozen.separately(graphs) for rows in _answers(frozen, part, task.level)])
    y = torch.cat([graph.y for graph in graphs])
    true = task.in_unit(y.double())
    found: dict[str, Any] = {"loss": losses(out[None], y[None], task.loss)[0], "num_answers": len(out), "unit": task.unit}
    if task.loss in ("mse", "mae"):
        missed, from_mean = task.in_unit(out) - true.view_as(out), true - true.mean(0)
        errors = {"error": missed.abs().mean(1), "constant": from_mean.view_as(out).abs().mean(1)}
        mse = missed.square().mean()
        found |= {"mse": mse, "log10_mse": mse.log10()}
    else:
        errors = {"error": _wrong(out, y, task)}
    errors["error"] = errors["error"].where(out.isfinite().all(1), torch.nan)
    found |= {name: each.mean() for name, each in errors.items()}
    return as_json(found | _by_hop(errors, _hops(graphs, task, true)))


def _answers(frozen: Frozen, graphs: Sequence[Data], level: Level) -> list[Tensor]:
    """Return what is answered on each graph, where it is asked as a whole the mean over its nodes: each [answers, channels]."""
    seen = frozen.run(graphs)
    if seen.output.size(0) != seen.x.size(0):  # a row for each graph
        return list(torch.split(seen.output, 1))
    asked = [out[readouts_of(graph)] for out, graph in zip(seen.per_graph(seen.output), graphs, strict=True)]
    return [rows.mean(0, keepdim=True) for rows in asked] if level == "graph" else asked


def _wrong(out: Tensor, y: Tensor, task: Task) -> Tensor:
    """Return which answers are wrong, of several classes the share of them: [answers] float64."""
    if task.loss == "cross_entropy":
        return (out.argmax(1) != y.view(-1)).double()
    return ((out > 0) != (y.view_as(out) > 0)).double().mean(1)


def _hops(graphs: list[Data], task: Task, true: Tensor) -> Tensor | None:
    """Return how far away each answer lies: [answers] long, -1 where no path leads there; None where that is not known.

    `true` are the answers in the unit of the task.
    """
    masks = [source_mask(graph) for graph in graphs]
    if task.level == "node" and all(mask is not None for mask in masks):
        nearest = []
        for graph, mask in zip(graphs, masks, strict=True):
            hops = hops_of(graph)
            far = hops.where(mask & (hops >= 0), int(graph.num_nodes or 0)).amin(1)  # type: ignore[operator]
            nearest.append(far.where(far < int(graph.num_nodes or 0), -1))
        return torch.cat(nearest)
    if task.unit == "hops":
        return true.flatten().round().long()
    return None


def _by_hop(errors: dict[str, Tensor], hops: Tensor | None) -> dict[str, Any]:
    if hops is None or int(hops.amax()) < 0:
        return {f"{name}_by_hop": [] for name in errors} | {"answers_by_hop": []}
    known = hops >= 0
    count = torch.bincount(hops[known])
    sums = {name: torch.bincount(hops[known], weights=each[known]) for name, each in errors.items()}
    return {f"{name}_by_hop": total / count for name, total in sums.items()} | {"answers_by_hop": count}

"""Mixing: how much an output depends on what two nodes hold together, which no sum of what each holds can give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_geometric.data import Data

from suite.measures.draws import as_json, averaged, draw_diagnosed, hops_of, with_readouts
from suite.measures.frozen import Frozen
from suite.rng import stream
from suite.task import Task

MAX_PASSES = 1 << 14
MAX_DIAGNOSED = 1 << 10  # passes of a diagnosis
MAX_NODES = 4096  # of its graphs together
LINEAR = (
    "second derivatives are 0 almost everywhere: the model is piecewise linear in x (ReLU and a linear decoder), and mixes at"
    " its kinks alone. Ask a twin with smooth activations (GELU, tanh)"
)


def mixing(model: nn.Module, graph: Data, pairs: Tensor) -> Tensor:
    """Return the largest |d^2 y / d x_va d x_ub| over outputs y and channels a, b, of each pair (v, u): [num_pairs] float64.

    Outputs are those at the graph's read-out nodes, or all rows where the model has one output a graph; `pairs` is [num_pairs, 2]
    long. Over-squashing of a task that needs the two together is 1 / mixing, and depth and weights must grow with their commute
    time (2306.03589). Float64, eval mode, encodings held fixed. Zero: y is a sum of what depends on v and what depends on u, at
    this input. Not scale-free. Symmetric in v and u. Cost: a second-order pass for each output, channel of v, and v.
    Pitfall: at one input; where a norm divides, it mixes a little of everything.

    Raises ValueError for a model that is piecewise linear in x, whose second derivatives say nothing (dense attention and norms
    are smooth), and where more than 16,384 passes would be needed.
    """
    with sdpa_kernel(SDPBackend.MATH):  # the only kernel with second derivatives
        seen = Frozen(model).run([graph], differentiable=True)
    by_node = "readout_index" in graph and seen.output.size(0) == seen.x.size(0)
    outputs = (seen.output[graph.readout_index] if by_node else seen.output).flatten()
    nodes, place = torch.unique(pairs[:, 0], return_inverse=True)
    if (passes := outputs.numel() * nodes.numel() * seen.x.size(1)) > MAX_PASSES:
        raise ValueError(f"pairs: {passes:,} second-order passes, at most {MAX_PASSES:,}; ask fewer outputs, nodes or channels")
    found, curved = torch.zeros(nodes.numel(), seen.x.size(0), dtype=torch.float64), False
    for value in outputs:
        (slope,) = torch.autograd.grad(value, seen.x, create_graph=True, allow_unused=True, materialize_grads=True)
        if not slope.requires_grad:
            continue
        curved = curved or bool(_second(slope.square().sum(), seen.x).any())
        for row, node in zip(found, nodes, strict=True):
            for entry in slope[node]:
                torch.maximum(row, _second(entry, seen.x).abs().amax(1), out=row)
    if not curved and not bool(found.any()):  # at a slope of 0 the entries alone tell
        raise ValueError(LINEAR)
    return found[place, pairs[:, 1]]


def _second(value: Tensor, x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(value, x, retain_graph=True, allow_unused=True, materialize_grads=True)
    return found.detach()


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The entry `mixing` of a diagnosis: as many of up to 8 draws as 1,024 second-order passes allow, one read-out node of each.

    Keys: `hops` and `mixing`, the largest second derivative of the read-out's outputs (of a model of whole graphs, the graph's)
    by what it and a node that far hold, mean over draws; `num_graphs`. Raises ValueError, with the reason, for piecewise linear
    models and where x is too wide.
    """
    rng = stream(task.config(), seed, "measure", "mixing")
    graphs = draw_diagnosed(task, seed, MAX_NODES, rng)
    outputs = Frozen(model).run(graphs[:1]).output.size(1)
    if (passes := outputs * graphs[0].x.size(1)) > MAX_DIAGNOSED:
        raise ValueError(f"{passes:,} second-order passes, of {MAX_DIAGNOSED:,} that are afforded: x is wide")
    parts = []
    for graph in graphs[: MAX_DIAGNOSED // passes]:
        asked = with_readouts(graph, 1, rng)
        hops = hops_of(asked)[0]
        first = torch.stack([(hops == hop).double().argmax() for hop in range(1 + int(hops.max()))])
        pairs = torch.stack([asked.readout_index[:1].expand(len(first)), first], dim=1)
        parts.append({"mixing": mixing(model, asked, pairs)})
    found = averaged(parts)
    return as_json({"hops": list(range(found["mixing"].numel()))} | found | {"num_graphs": len(parts)})

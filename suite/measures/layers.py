"""What each layer does to small changes: the singular values of its Jacobian, which shrink, keep or stretch them.

A layer that shrinks all of them loses signals and gradients alike, by its aggregation and its weights together: of H' = S H W the
squared singular values are those of S times those of W (2502.10818).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_geometric.data import Data

from suite.measures.draws import as_json, draw_several
from suite.measures.frozen import Frozen
from suite.rng import stream
from suite.task import Task

MAX_ENTRIES = 1 << 22  # of a layer's Jacobian, that all its singular values are found
NUM_PROBES = 4
NUM_STEPS = 8  # of power iteration


class LayerGain(NamedTuple):
    """By layer 1..L, each [num_layers] float64; NaN where a state does not depend on the one before."""

    largest: Tensor  # singular value, from below: power iteration
    rms: Tensor  # root mean square of the singular values, over the entries of the state before


def layer_spectrum(model: nn.Module, graph: Data) -> list[Tensor]:
    """Return all singular values of d vec H^l / d vec H^(l-1), by layer l = 1..L, largest first, each float64.

    Float64, eval mode, encodings held fixed; by what reaches H^l through H^(l-1) alone, an initial residual left out. All 1: the
    layer turns and mirrors, and loses nothing. Zero: a direction in which changes are lost. Not scale-free: twice the weights of
    a linear layer double them. {|lambda_i(S)| sigma_j(W)} for H' = S H W (2502.10818). Cost: n d backward passes, joined, and a
    decomposition, O((n d)^3). Pitfall: at one input; products of layers can do better or worse than their largest values say.
    Each [min of the two sizes]; NaN where a state does not depend on the one before.

    Raises ValueError where a Jacobian has more than 4,194,304 entries; `layer_gain` takes those.
    """
    values = []
    hidden = Frozen(model).run([graph], differentiable=True).hidden
    for before, after in pairwise(hidden):
        if (entries := before.numel() * after.numel()) > MAX_ENTRIES:
            raise ValueError(f"graph: a layer's Jacobian has {entries:,} entries, at most {MAX_ENTRIES:,}; layer_gain probes it")
        if not after.requires_grad:
            values.append(torch.full((min(before.numel(), after.numel()),), torch.nan, dtype=torch.float64))
            continue
        rows = [_pull(after, before, direction.view(after.shape)) for direction in torch.eye(after.numel()).double()]
        values.append(torch.linalg.svdvals(torch.stack([row.flatten() for row in rows])))
    return values


def layer_gain(model: nn.Module, graph: Data, rng: torch.Generator | None = None) -> LayerGain:
    """Return the largest singular value of each layer's Jacobian and their root mean square, [num_layers] each.

    On graphs of any size. Conditions, zero and pitfalls as `layer_spectrum`. `rms` below 1: changes shrink on average, and
    gradients on their way back vanish as the product of it. Estimated from 4 Gaussian probes, unbiased in the square, and 8
    steps of power iteration, which come from below; from `rng`, or a fixed stream. Cost: 28 passes through each layer. Not
    scale-free. (2502.10818)
    """
    rng = rng or stream("layers", "probes")
    with sdpa_kernel(SDPBackend.MATH):  # the only kernel that a forward derivative can be taken of
        hidden = Frozen(model).run([graph], differentiable=True).hidden
    found = [_gain(before, after, rng) for before, after in pairwise(hidden)]
    return LayerGain(*torch.tensor(found, dtype=torch.float64).view(-1, 2).unbind(1))


def _gain(before: Tensor, after: Tensor, rng: torch.Generator) -> tuple[float, float]:
    if not after.requires_grad:
        return float("nan"), float("nan")
    probes = torch.randn(NUM_PROBES, *after.shape, generator=rng, dtype=torch.float64)
    squares = [_pull(after, before, z).square().sum() for z in probes]
    rms = (torch.stack(squares).mean() / before.numel()).sqrt()
    free = torch.zeros_like(after, requires_grad=True)
    back = torch.autograd.grad(after, before, free, create_graph=True, allow_unused=True, materialize_grads=True)[0]
    direction, largest = probes[0], torch.zeros(())
    for _ in range(NUM_STEPS):
        step = _pull(after, before, direction / direction.norm())
        largest = step.norm()
        if not bool(largest > 0) or not back.requires_grad:
            break
        direction = _pull(back, free, step)  # J step: the way back is linear in `free`
    return float(largest), float(rms)


def _pull(after: Tensor, before: Tensor, direction: Tensor) -> Tensor:
    return torch.autograd.grad(after, before, direction, retain_graph=True, allow_unused=True, materialize_grads=True)[0].detach()


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `layers`: means over up to 2 draws, by layer 0..L.

    Keys: `largest`, the largest singular value of each layer's Jacobian, from below, and `rms`, their root mean square; None at
    layer 0, which has no layer before it, and where a state does not depend on the one before.
    """
    graphs = draw_several(task, seed, at_most=2, max_nodes=4096)
    rng = stream(task.config(), seed, "measure", "layers")
    found = [layer_gain(model, graph, rng) for graph in graphs]
    first = torch.full((1,), torch.nan, dtype=torch.float64)
    largest = torch.cat([first, torch.stack([gain.largest for gain in found]).mean(0)])
    rms = torch.cat([first, torch.stack([gain.rms for gain in found]).mean(0)])
    return as_json({"largest": largest, "rms": rms, "num_draws": len(graphs)})

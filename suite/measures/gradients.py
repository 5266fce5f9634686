"""Vanishing gradients: how the size of the error signal changes on its way back through the layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.engine.score import losses
from suite.measures.draws import as_json, draw_several, readouts_of
from suite.measures.frozen import Frozen
from suite.task import Loss, Task


def gradient_norms(hidden: list[Tensor], loss: Tensor, ptr: list[int]) -> Tensor:
    """Return |d loss / d H^(l)| (Frobenius) of each graph for every state of `hidden`: [num_layers + 1, num_graphs] float64.

    Zero: the loss does not feel the state (dead units, or a loss that is exactly solved). Not scale-free: it grows with the
    error, so read its ratio between layers. `hidden` and `loss`, the sum of the graphs' losses, must come from one
    differentiable forward pass; graph g has the nodes from `ptr[g]` to `ptr[g + 1]`. Raises ValueError for a state that does not
    depend on the input.
    """
    if not all(state.requires_grad for state in hidden):
        raise ValueError("a hidden state does not depend on x, so that no gradient is kept at it")
    found = torch.autograd.grad(loss, hidden, retain_graph=True, allow_unused=True, materialize_grads=True)
    sizes = [b - a for a, b in pairwise(ptr)]
    return torch.stack([torch.stack([part.norm() for part in torch.split(g.double(), sizes)]) for g in found])


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `gradient`: up to 8 draws, the task's own loss at all read-out nodes of each.

    Keys: `norm`, by layer 0..L the mean over draws of |d Loss / d H^(l)|, each draw with its own mean loss; `ratio`, norm at
    layer 0 over norm at layer L (None where that is 0): below 1 the signal vanishes on its way back, above 1 it explodes.
    """
    frozen = Frozen(model)
    graphs = draw_several(task, seed, at_most=8, max_nodes=4096)
    norm = torch.cat([_norms(frozen, part, task.loss) for part in frozen.separately(graphs)], dim=1).mean(1)
    return as_json({"norm": norm, "ratio": norm[0] / norm[-1], "num_draws": len(graphs)})


def _norms(frozen: Frozen, graphs: Sequence[Data], loss: Loss) -> Tensor:
    """Return `gradient_norms` of one forward pass over `graphs`: [num_layers + 1, num_graphs]."""
    seen = frozen.run(graphs, differentiable=True)
    total = seen.output.new_zeros(1)
    for graph, output in zip(graphs, seen.per_graph(seen.output), strict=True):
        y = graph.y.double() if loss == "mse" else graph.y
        total = total + losses(output[readouts_of(graph)].unsqueeze(0), y.unsqueeze(0), loss)
    return gradient_norms(seen.hidden, total, seen.ptr)

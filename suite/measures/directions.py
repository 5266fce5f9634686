"""Which directions a layer keeps: all singular values of its Jacobian, on a graph small enough."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import nn

from suite.measures.draws import as_json, draw_several
from suite.measures.frozen import Frozen
from suite.measures.layers import layer_spectrum
from suite.task import Task

MAX_SIDE = 512  # of a layer's Jacobian
KEPT = 0.1  # a direction that is shrunk by more is lost


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The entry `spectrum` of a diagnosis, by layer 0..L, of the smallest of up to 8 draws, of `num_nodes`.

    Keys: `singular_values` {layer: all of them, largest first}; `shrinking`, the share of directions of the state before that the
    layer makes smaller, and `lost`, of those it makes smaller than a tenth; `rms`, the root mean square over the entries of the
    state before, that `layers` estimates; None at layer 0, which has no layer before it. Raises
    ValueError where a layer's Jacobian has more than 512 rows or columns.
    """
    graphs = draw_several(task, seed, at_most=8, max_nodes=4096)
    graph = min(graphs, key=lambda graph: int(graph.num_nodes or 0))
    hidden = Frozen(model).run([graph]).hidden
    side = max(state.numel() for state in hidden)
    if len(hidden) < 2:
        raise ValueError("no layers are known")
    if side > MAX_SIDE:
        raise ValueError(
            f"a layer's Jacobian has {side:,} rows or columns on the smallest graph, at most {MAX_SIDE} are afforded"
        )
    values = layer_spectrum(model, graph)
    widths = [before.numel() for before, _ in pairwise(hidden)]
    below: dict[str, list[float | None]] = {
        name: [None, *(1 - float((v > limit).sum()) / width for v, width in zip(values, widths, strict=True))]
        for name, limit in (("shrinking", 1 - 1e-9), ("lost", KEPT))
    }
    squares = [float(v.square().sum()) / width for v, width in zip(values, widths, strict=True)]
    below["rms"] = [None, *(square**0.5 for square in squares)]
    named = {str(layer): found for layer, found in enumerate(values, start=1)}
    return as_json({"singular_values": named} | below | {"num_nodes": graph.num_nodes})

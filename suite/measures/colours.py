"""Read-out nodes that share a backward pass: those that see no node in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from suite.engine.batches import GraphBatch
from suite.hops import hop_distance
from suite.measures.frozen import Frozen


class Asked(NamedTuple):
    """A differentiable forward pass for some read-out nodes, on the nodes they see or on all.

    Attributes:
        chosen: [num_readouts] bool, which read-out nodes it is for.
        nodes: [num_rows] long, increasing, the nodes it ran on.
        rows: where the chosen read-out nodes are among them.
        x: [num_rows, in_channels], a leaf.
        first: the state before the first layer, or `x` where the model does not tell.
        output: [num_rows, out_channels].
    """

    chosen: Tensor
    nodes: Tensor
    rows: Tensor
    x: Tensor
    first: Tensor
    output: Tensor


def sees(readouts: Tensor, edge_index: Tensor, batch: Tensor, reach: int | None) -> Tensor:
    """Return which nodes a read-out node can depend on: [num_readouts, num_nodes] bool.

    Those at most `reach` hops away, or all of its graph where `reach` is None; `batch` [num_nodes] tells graphs apart.
    """
    if reach is None:
        return batch[readouts].unsqueeze(1) == batch
    hops = hop_distance(edge_index, readouts, batch.numel())
    return (hops >= 0) & (hops <= reach)


def colour(seen: Tensor) -> Tensor:
    """Return a colour for each read-out node, 0, 1, ..., so that no node is seen by two of one colour: [num_readouts] long.

    `seen` [num_readouts, num_nodes] bool. Greedy: the first colour that is free, in the given order.
    """
    clash = (seen.float() @ seen.float().T > 0).numpy()
    colours = np.full(len(clash), -1)
    for index, row in enumerate(clash):
        taken = np.unique(colours[row])
        colours[index] = np.setdiff1d(np.arange(taken.size + 1), taken)[0]
    return torch.from_numpy(colours)


def by_colour(frozen: Frozen, given: GraphBatch, readouts: Tensor, seen: Tensor, colours: Tensor) -> Iterator[Asked]:
    """Yield one forward pass per colour over joined graphs, `readouts` counted through.

    A built-in model runs on what is seen alone, if that is less than half: there its states are those on the whole graph.
    """
    whole, everyone = None, torch.arange(seen.size(1))
    for number in range(1 + int(colours.max())):
        chosen = colours == number
        nodes = seen[chosen].any(0).nonzero().squeeze(1)
        if frozen.propagating is not None and 2 * nodes.numel() < everyone.numel():
            x, first, output = frozen.run_near(given, nodes)
            yield Asked(chosen, nodes, torch.searchsorted(nodes, readouts[chosen]), x, first, output)
            continue
        whole = whole or frozen.run_joined(given, differentiable=True)
        first = whole.hidden[0] if frozen.encodes else whole.x
        yield Asked(chosen, everyone, readouts[chosen], whole.x, first, whole.output)

"""Derivatives by central differences, extrapolated to a step of 0, each entry with the accuracy that it is known to."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.measures.frozen import Frozen

FIRST, SECOND = 2.5e-4, 8e-3  # the largest step, of first and of second differences
NUM_STEPS = 6  # each half of the one before
ROUNDING = 16 * torch.finfo(torch.float64).eps  # of one output, relative to the largest


class Known(NamedTuple):
    """A derivative, and how far it may be from the true one: `value` and `error` of one shape."""

    value: Tensor
    error: Tensor

    def over(self, *dims: int) -> "Known":
        """Frobenius norms over `dims`."""
        return Known(*(part.square().sum(dims).sqrt() for part in self))

    def magnitude(self, *dims: int) -> "Known":
        """Sums of magnitudes over `dims`."""
        return Known(*(part.abs().sum(dims) for part in self))

    def largest(self, *dims: int) -> "Known":
        """Largest magnitudes over `dims`."""
        return Known(*(part.abs().amax(dims) for part in self))

    def at(self, change: Callable[[Tensor], Tensor]) -> "Known":
        """Both, moved about or cut to parts alike."""
        return Known(change(self.value), change(self.error))


def holds(found: Tensor, expected: Known, relative: float = 1e-5) -> None:
    """Assert that each entry of `found` is `expected` to `relative`, or both are 0.

    No entry passes for being small: differences must know each that is not exactly 0 to `relative` themselves, and those that are
    0 must be nothing but their error.
    """
    apart, felt = (found - expected.value).abs(), found != 0
    unknown = felt & (expected.error > relative * expected.value.abs())
    assert not unknown.any(), f"not known to {relative}: {expected.value[unknown]} +- {expected.error[unknown]}"
    assert (apart <= relative * expected.value.abs())[felt].all(), (found[felt], expected.value[felt])
    assert (apart <= expected.error)[~felt].all(), (expected.value[~felt], expected.error[~felt])


def first(model: nn.Module, graph: Data, readouts: Tensor | None = None) -> Known:
    """Return d out_v / d x_u: [num_nodes, in_channels, num_readouts, out_channels]; of every row without `readouts`."""
    moves = [[(node, channel, 1.0)] for node, channel in itertools.product(*map(range, graph.x.shape))]
    both = [[(node, channel, sign * by) for node, channel, by in move] for move in moves for sign in (1, -1)]
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64)
    found = _extrapolated(lambda step: _outputs(model, graph, both, step, readouts), signs, FIRST, 1)
    return found.at(lambda part: part.view(*graph.x.shape, *part.shape[1:]))


def second(model: nn.Module, graph: Data, pairs: Tensor, channels: Sequence[int]) -> Known:
    """Return d^2 out / d x_va d x_ub at the read-out nodes: [num_pairs, channels, channels, num_readouts, out_channels]."""
    signs = list(itertools.product((1, -1), repeat=2))
    moves = [
        [(v, a, float(s)), (u, b, float(t))]
        for v, u in pairs.tolist()
        for a, b in itertools.product(channels, repeat=2)
        for s, t in signs
    ]
    corner = torch.tensor([float(s * t) for s, t in signs], dtype=torch.float64)
    found = _extrapolated(lambda step: _outputs(model, graph, moves, step, graph.readout_index), corner, SECOND, 2)
    return found.at(lambda part: part.view(len(pairs), len(channels), len(channels), *part.shape[1:]))


def _outputs(
    model: nn.Module, graph: Data, moves: list[list[tuple[int, int, float]]], step: float, readouts: Tensor | None
) -> Tensor:
    """Return what the model says of copies of `graph` with entries of x moved: [num_moves, num_readouts, out_channels]."""
    copies = []
    for move in moves:
        copies.append(graph.clone())
        copies[-1].x = graph.x.double().clone()
        for node, channel, by in move:
            copies[-1].x[node, channel] += by * step
    seen = Frozen(model).run(copies)
    outputs = torch.stack(seen.per_graph(seen.output))
    return outputs if readouts is None else outputs[:, readouts]


def _extrapolated(outputs: Callable[[float], Tensor], weights: Tensor, step: float, order: int) -> Known:
    """Extrapolate differences to a step of 0 in even powers of it, and keep for each entry what is known best.

    Ridders' table: an entry's error is how far it lies from the two that it was made of, which were one order worse, and what
    rounding of outputs leaves at its step. A step across a kink shows in the first, and a smaller one is kept.
    """
    rows: list[list[Tensor]] = []
    best = error = torch.empty(0)
    for level in range(NUM_STEPS):
        size = step / 2**level
        seen = outputs(size)
        corners = seen.view(-1, len(weights), *seen.shape[1:])
        row = [torch.einsum("pc...,c->p...", corners, weights) / (2 * size) ** order]
        rounding = ROUNDING * float(seen.abs().max()) * len(weights) / (2 * size) ** order
        for power in range(1, level + 1):
            row.append(row[-1] + (row[-1] - rows[-1][power - 1]) / (4**power - 1))
            left = torch.maximum((row[power] - row[power - 1]).abs(), (row[power] - rows[-1][power - 1]).abs()) + rounding
            best, error = (
                (row[power], left) if not best.numel() else (torch.where(left < error, row[power], best), left.minimum(error))
            )
        rows.append(row)
    return Known(best, error)

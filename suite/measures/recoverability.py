"""Recoverability: can a node's own token still be read off its hidden state, at a given precision?

The over-smoothing measure that the plane shows. Energies say that states have become alike, not that anything was lost: a
linear probe says what is lost. Noise is part of the definition, because propagation is mostly invertible in exact arithmetic.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.measures.draws import as_json, draw
from suite.measures.frozen import Frozen
from suite.rng import stream
from suite.task import Task

EPSILONS = (0.0, 1e-7, 1e-3, 1e-2)  # float64, float32, bfloat16 and coarser
HEADLINE = 1e-3
HALVED, HALVED_TO = (-14.0, 1.0), 0.25  # log10 of the noise that halves recoverability, and how closely it is found
RIDGES = (1e-4, 1e-1, 10.0)
ROWS = (512, 256, 1024)  # to fit on, to choose the ridge on, to score on
SOURCE_PARTS = (4, 1, 2)  # of the graphs whose source is read at the read-out node, in sevenths
SOURCE_NODES = 1 << 14  # of all those graphs together
SOURCE_GRAPHS = (140, 1792)  # of them, at least and at most
PLANTED = 5  # tokens, where the task has none of its own


class Probe(NamedTuple):
    """A fitted classifier: `argmax(h @ weight + bias)`, weight [channels, num_classes], bias [num_classes]."""

    weight: Tensor
    bias: Tensor


def recoverability(
    h: Sequence[Tensor], tokens: Sequence[Tensor], num_classes: int, epsilon: float, rng: torch.Generator
) -> float:
    """Return (accuracy - 1/K) / (1 - 1/K) of a linear probe that reads node tokens off hidden states.

    1: every token is read off; 0: guessing among K = `num_classes` does as well (slightly negative by chance). Scale-free:
    noise of `epsilon` times the root mean square entry of h is added first. `h` and `tokens` hold three parts, to fit on, to
    choose the ridge on and to score on, from different draws: h[i] [rows_i, channels], tokens[i] [rows_i] long. The probe is
    ridge multinomial logistic regression on standardised columns. NaN where h is not finite.

    The tokens may be those of the rows' own nodes (over-smoothing), or of a node r hops from each (reach). Zero: guessing.
    Cost: three regressions on up to 512 rows. Pitfalls: it is a *linear* probe on one node's state, and 512 rows cannot fit wide
    states as well as narrow ones: compare at equal widths, and with layer 0. Tokens must be uniform on the classes for 0 to
    mean guessing. (This project's own.)
    """
    if not all(bool(part.isfinite().all()) for part in h):
        return float("nan")
    every = torch.cat(list(h)).double()
    noise = epsilon * every.square().mean().sqrt() * torch.randn(every.shape, generator=rng)
    fit, validation, score = torch.split(every + noise, [len(part) for part in h])
    probes = fit_probes(fit, tokens[0], num_classes, RIDGES)
    best = max(probes, key=lambda probe: _accuracy(probe, validation, tokens[1]))
    return (_accuracy(best, score, tokens[2]) - 1 / num_classes) / (1 - 1 / num_classes)


def half_epsilon(h: Sequence[Tensor], tokens: Sequence[Tensor], num_classes: int, rng: torch.Generator) -> float:
    """Return the relative noise at which `recoverability` has fallen to one half: [], to a factor of 1.4.

    Arguments, shapes and pitfalls as there. Large: tokens survive coarse arithmetic; below 1e-7 float32 loses them, below 1e-3
    bfloat16. Zero: less than half is read off even without noise; NaN where h is not finite. Scale-free. Cost: seven
    regressions, by halving the interval of its logarithm. (This project's own.)
    """
    clean = recoverability(h, tokens, num_classes, 0.0, rng)
    if not clean >= 0.5:
        return clean if clean != clean else 0.0
    low, high = HALVED
    while high - low > HALVED_TO:
        middle = (low + high) / 2
        above = recoverability(h, tokens, num_classes, 10**middle, rng) >= 0.5
        low, high = (middle, high) if above else (low, middle)
    return float(10 ** ((low + high) / 2))


def fit_probes(
    h: Tensor, tokens: Tensor, num_classes: int, ridges: Sequence[float], max_steps: int = 60, tolerance: float = 0.02
) -> list[Probe]:
    """Fit one ridge multinomial logistic regression per entry of `ridges` to h [rows, channels] and tokens [rows].

    Minimises sum of the cross-entropies + ridge / 2 |weight|^2 over weights on standardised columns (that of scikit-learn's
    `LogisticRegression(C=1/ridge)` after `StandardScaler`), all ridges at once: Nesterov steps in the basis of left singular
    vectors, where Boehning's bound of the Hessian is diagonal, so that ill-conditioned (smoothed) states converge as fast as
    others. Ends where no coefficient moves by `tolerance` (1e-3 in logits), or after `max_steps`; more steps change
    probabilities of separable data, hardly ever the class.
    """
    mean, spread = h.mean(0), h.std(0, correction=0)
    inverse = torch.where(spread > 0, 1 / spread, 0)
    left, singular, right = torch.linalg.svd((h - mean) * inverse, full_matrices=False)
    kept = singular > 1e-12 * singular[0]
    left, singular, right = left[:, kept], singular[kept], right[kept]
    penalty = torch.tensor(ridges, dtype=h.dtype).unsqueeze(1) / singular.square()
    target = F.one_hot(tokens, num_classes).to(h.dtype).T.unsqueeze(1).contiguous()
    coefficients, biases = _minimise(left.T.contiguous(), target, penalty, max_steps, tolerance)
    probes = []
    for beta, bias in zip(coefficients.unbind(1), biases.unbind(1), strict=True):  # [classes, rank] and [classes, 1]
        weight = ((beta / singular) @ right * inverse).T
        probes.append(Probe(weight, bias.squeeze(1) - mean @ weight))
    return probes


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The table entry `recoverability`, of a node's own token, by layer 0..L.

    Keys: `epsilons`; `by_layer` {epsilon: [...]}, where only the headline's epsilon is measured at every layer and the others
    at the last (None elsewhere); `num_classes`; `headline`, epsilon 1e-3 where the output is
    decoded from (the last layer, but for jumping knowledge); `planted`: false where the task's
    own tokens are read, at the nodes that carry one; true where one-hot tokens were written over the first columns of x, at
    every node, the other columns staying as they are. All None where x has a single column. `source` {epsilon: skill}: the
    token of the planted source, read where the output of its read-out node is decoded from; {} where the task has no tokens of
    its own or no single source at a distance, or its graphs are so large that fewer than 140 would be looked at.
    """
    frozen = Frozen(model)
    rng = stream(task.config(), seed, "measure", "tokens")
    parts = _parts(frozen, task, seed, rng)
    num_layers, num_classes = len(parts[0].hidden) - 1, parts[0].num_classes
    by_layer: dict[str, list[float | None]] = {f"{epsilon:g}": [None] * (num_layers + 1) for epsilon in EPSILONS}
    for layer in range(num_layers + 1):
        for epsilon in EPSILONS if layer == num_layers else (HEADLINE,):
            if num_classes > 1:
                h, tokens = [part.hidden[layer] for part in parts], [part.tokens for part in parts]
                by_layer[f"{epsilon:g}"][layer] = recoverability(h, tokens, num_classes, epsilon, rng)
    headline = by_layer[f"{HEADLINE:g}"][-1]
    if num_classes > 1 and parts[0].read is not parts[0].hidden[-1]:
        headline = recoverability([part.read for part in parts], [part.tokens for part in parts], num_classes, HEADLINE, rng)
    source = _source(frozen, task, seed, stream(task.config(), seed, "measure", "source"))
    result = {"epsilons": EPSILONS, "by_layer": by_layer, "headline": headline, "source": source}
    return as_json(result | {"num_classes": num_classes, "planted": task.token_channels is None})


def _source(frozen: Frozen, task: Task, seed: int, rng: torch.Generator) -> dict[str, float]:
    """Return the recoverability of the source's token at the read-out node, by noise."""
    first = draw(task, seed, len(ROWS))[0]
    single = first.get("source_index") is not None and first.source_index.numel() == first.readout_index.numel() == 1
    num_graphs = min(SOURCE_GRAPHS[1], SOURCE_NODES // int(first.num_nodes or 1))
    if task.token_channels is None or not task.range or not single or num_graphs < SOURCE_GRAPHS[0]:
        return {}
    h, tokens = [], []
    for index, sevenths in enumerate(SOURCE_PARTS, start=len(ROWS)):
        graphs = draw(task, seed, index, num_graphs * sevenths // sum(SOURCE_PARTS))
        seen = frozen.run(graphs)
        h.append(torch.stack([rows[int(g.readout_index)] for g, rows in zip(graphs, seen.per_graph(seen.read), strict=True)]))
        tokens.append(torch.stack([g.x[int(g.source_index), task.token_channels].argmax() for g in graphs]))
    num_classes = first.x[:, task.token_channels].size(1)
    return {f"{epsilon:g}": recoverability(h, tokens, num_classes, epsilon, rng) for epsilon in EPSILONS}


class _Part(NamedTuple):
    hidden: list[Tensor]  # by layer: [rows, channels]
    tokens: Tensor  # [rows] long
    num_classes: int
    read: Tensor  # [rows, channels], what the output is decoded from; the last of `hidden` where that is all


def _parts(frozen: Frozen, task: Task, seed: int, rng: torch.Generator) -> list[_Part]:
    """Return hidden states and tokens of the rows to fit, to validate and to score on, each from draws of its own."""
    parts = []
    for index, rows in enumerate(ROWS):
        first = draw(task, seed, index)
        wanted = -(-rows // max(1, int(first[0].num_nodes or 1) - 1))  # -1: a read-out node carries no token
        graphs = draw(task, seed, index, wanted) if wanted > 1 else first
        if task.token_channels is None:
            graphs, tokens, num_classes = plant(graphs, rng)
        else:
            tokens, num_classes = _own_tokens(graphs, task.token_channels)
        carriers = (tokens >= 0).nonzero().flatten()
        kept = carriers[torch.randperm(carriers.numel(), generator=rng)[:rows]]
        seen = frozen.run(graphs)
        hidden = [h[kept] for h in seen.hidden]
        read = hidden[-1] if seen.read is seen.hidden[-1] else seen.read[kept]
        parts.append(_Part(hidden, tokens[kept], num_classes, read))
    return parts


def _own_tokens(graphs: list[Data], channels: slice) -> tuple[Tensor, int]:
    """Return every node's token, -1 where it has none, and the number of classes."""
    marks = torch.cat([graph.x for graph in graphs])[:, channels]
    one_hot = (marks.round() != 0).sum(1) == 1  # noise is less than a half
    return torch.where(one_hot, marks.argmax(1), -1), marks.size(1)


def plant(graphs: list[Data], rng: torch.Generator) -> tuple[list[Data], Tensor, int]:
    """Return copies of `graphs` with a random one-hot token over the first columns of x, the tokens and how many there are."""
    own = torch.cat([graph.own if "own" in graph else torch.ones_like(graph.x, dtype=torch.bool) for graph in graphs])
    num_classes = min(PLANTED, int(own.any(0).sum()))  # an encoding's columns, and nodes that were appended, keep their x
    token = torch.randint(num_classes, (len(own),), generator=rng).where(own.any(1), -1)
    planted = []
    pieces = torch.split(F.one_hot(token + 1, num_classes + 1)[:, 1:], [graph.x.size(0) for graph in graphs])
    for graph, one_hot in zip(graphs, pieces, strict=True):
        planted.append(copy.copy(graph))
        planted[-1].x = torch.cat([one_hot.to(graph.x.dtype), graph.x[:, num_classes:]], dim=1)
    return planted, token, num_classes


def _accuracy(probe: Probe, h: Tensor, tokens: Tensor) -> float:
    return float(((h @ probe.weight + probe.bias).argmax(1) == tokens).double().mean())


def _minimise(basis: Tensor, target: Tensor, penalty: Tensor, max_steps: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return coefficients [classes, ridges, rank] of the rows of `basis` [rank, rows], and biases [classes, ridges, 1].

    `target` is [classes, 1, rows], `penalty` [ridges, rank]. Classes come first: a softmax over the last axis is ten times
    slower.
    """
    sizes, rows, transposed = (target.size(0), penalty.size(0), -1), basis.size(1), basis.T.contiguous()
    step = 1 / (0.5 + penalty)
    weight, bias = basis.new_zeros(*sizes[:2], basis.size(0)), basis.new_zeros(*sizes[:2], 1)
    ahead, ahead_bias, momentum = weight, bias, 1.0
    for count in range(max_steps):
        excess = ((ahead.flatten(0, 1) @ basis).view(sizes).add_(ahead_bias)).softmax(0).sub_(target)
        slope = (excess.flatten(0, 1) @ transposed).view(sizes).add_(penalty * ahead)
        there, there_bias = ahead - step * slope, ahead_bias - 2 / rows * excess.sum(2, keepdim=True)
        moved = there - ahead  # of no size where all rows are equal: there are only biases to find
        if count % 5 == 4 and moved.numel() and float(moved.abs().max()) < tolerance:
            return there, there_bias
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        reach, momentum = 1 + (momentum - 1) / grown, grown
        ahead, ahead_bias = torch.lerp(weight, there, reach), torch.lerp(bias, there_bias, reach)
        weight, bias = there, there_bias
    return weight, bias

"""Tokens from far away: what of a token planted k hops off can be read at a read-out node, and how much noise it stands."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.measures.draws import as_json, draw_several, hops_of, source_mask, with_readouts
from suite.measures.frozen import Frozen
from suite.measures.recoverability import EPSILONS, SOURCE_PARTS, half_epsilon, plant, recoverability
from suite.rng import stream
from suite.task import Task

MAX_NODES = 1 << 16  # of all plantings together
PASS_NODES = 4096  # of those that are run at once
PLANTINGS = (140, 896)  # at least and at most, in sevenths
MAX_HOPS = 6  # distances that are asked


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The entry `far_tokens` of a diagnosis: the smallest of up to 8 draws with the farthest node, one read-out.

    One-hot tokens are written over the first columns of x at every node, again and again, and that of one node at each of up to
    6 distances is read off the state that the read-out's output is decoded from; at a planted source's distance it is the source.
    Keys: `hops` and by hop `by_hop` {epsilon: skill}, `half_epsilon`, the relative noise that leaves half of it; None at
    distances not asked; `num_classes`, `num_plantings`. Raises ValueError where x has a single column to write to, and for graphs
    of more than 468 nodes, which fewer than 140 plantings are afforded of.
    """
    rng = stream(task.config(), seed, "measure", "far tokens")
    graphs = [g for g in draw_several(task, seed, at_most=8, max_nodes=MAX_NODES) if PLANTINGS[0] * len(g.x) <= MAX_NODES]
    if not graphs:
        raise ValueError(f"{PLANTINGS[0]} plantings at least are needed, and afforded up to {MAX_NODES // PLANTINGS[0]} nodes")
    graph = max((with_readouts(graph, 1, rng) for graph in graphs), key=lambda graph: (int(hops_of(graph).max()), -len(graph.x)))
    nodes, hops = _asked(graph)
    state, tokens, num_classes = _planted(Frozen(model), graph, nodes, rng)
    if num_classes < 2:
        raise ValueError("x has a single column that a token could be written to")
    empty: list[float | None] = [None] * (1 + max(hops))
    by_hop, half = {f"{epsilon:g}": list(empty) for epsilon in EPSILONS}, list(empty)
    for place, hop in enumerate(hops):
        own = [part[:, place] for part in tokens]
        for epsilon in EPSILONS:
            by_hop[f"{epsilon:g}"][hop] = recoverability(state, own, num_classes, epsilon, rng)
        half[hop] = half_epsilon(state, own, num_classes, rng)
    found = {"hops": list(range(len(empty))), "by_hop": by_hop, "half_epsilon": half}
    return as_json(found | {"num_classes": num_classes, "num_plantings": sum(map(len, state))})


def _asked(graph: Data) -> tuple[Tensor, list[int]]:
    """Return a node at each of up to 6 distances from the read-out node, and the distances."""
    distance = hops_of(graph)[0]
    sources, own = source_mask(graph), graph.own.any(1) if "own" in graph else torch.ones(len(distance), dtype=torch.bool)
    planted = torch.zeros(len(distance)) if sources is None else sources[0].double()
    there = sorted({int(hop) for hop in distance[own] if hop >= 0})
    wanted = {there[index] for index in torch.linspace(0, len(there) - 1, min(MAX_HOPS, len(there))).round().long().tolist()}
    hops = sorted(wanted | {int(hop) for hop in distance[planted.bool()] if hop >= 0})
    nodes = [int((((distance == hop) & own) * (1 + planted)).argmax()) for hop in hops]
    return torch.tensor(nodes), hops


def _planted(frozen: Frozen, graph: Data, nodes: Tensor, rng: torch.Generator) -> tuple[list[Tensor], list[Tensor], int]:
    """Return the read-out node's state [plantings, channels] and the tokens of `nodes` [plantings, nodes], in three parts."""
    num_nodes, readout = len(graph.x), int(graph.readout_index[0])
    count = min(PLANTINGS[1], MAX_NODES // num_nodes) // sum(SOURCE_PARTS)
    states, tokens, num_classes = [], [], 0
    for sevenths in SOURCE_PARTS:
        graphs, token, num_classes = plant([graph] * (count * sevenths), rng)
        size = max(1, PASS_NODES // num_nodes)
        rows = []
        for start in range(0, len(graphs), size):
            seen = frozen.run(graphs[start : start + size])
            rows += [read[readout] for read in seen.per_graph(seen.read)]
        states.append(torch.stack(rows))
        tokens.append(token.view(-1, num_nodes)[:, nodes])
    return states, tokens, num_classes

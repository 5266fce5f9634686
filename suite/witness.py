"""Witnesses: a task may show that it can be solved from what models see, in the number type that they compute in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from suite.engine.batches import as_drawn
from suite.rng import stream
from suite.samples import graphs_of
from suite.score import scores
from suite.task import Block, Task

NUM_WITNESSED = 256  # test graphs
WITNESSED = 0.999  # skill from which a witness has solved a task
BLOCK = 64


def witness_score(task: Task, dtype: torch.dtype) -> float | None:
    """Return what `task.witness` scores on test graphs with x in `dtype`, on the scale of `task.ceiling`; None without one.

    It is handed graphs without answers and without source, their nodes renumbered: what no model is told, the number of a node,
    is no help to a witness either. Raises ValueError where what it returns has another shape than the
    answers, or another number type.
    """
    out, y = [], []
    for index in range(NUM_WITNESSED // BLOCK):
        seen = task.at("test", index)
        for block in _blocks(task, index):
            answer = seen.witness(_unanswered(block, dtype))
            if answer is None:
                return None
            _check(answer, block, task.out_channels, dtype)
            out.append(answer.flatten(0, 1))
            y.append(block.y.flatten(0, 1))
    return float(scores(torch.cat(out)[None], torch.cat(y)[None], task.metric)[0])


def allowance(task: Task) -> float:
    """Return how far from the ceiling a witness may score; 0 where it is exact, and a skill of `WITNESSED` is asked.

    A ceiling between 0 and 1 is set by noise, and an average over graphs, from which those drawn here differ: four standard
    errors are allowed, of graphs whose answers are all right or all wrong.
    """
    c = task.ceiling
    return 4 * math.sqrt(c * (1 - c) / NUM_WITNESSED) if 0 < c < 1 else 0.0


def at_ceiling(task: Task, score: float) -> bool:
    """Return whether a witness that scores so has solved the task."""
    allowed = allowance(task)
    return abs(task.ceiling - score) <= allowed if allowed else task.skill(score) >= WITNESSED


def offers_witness(task: Task) -> bool:
    """Return whether `task` has a witness, whatever it is worth."""
    return task.at("test", 0).witness(_unanswered(_blocks(task, 0)[0], torch.float64)) is not None


def _blocks(task: Task, index: int) -> list[Block]:
    drawn = as_drawn(task, 0, "test", index, BLOCK)
    if isinstance(drawn, Block):
        return [drawn]
    return [block for graph in graphs_of(drawn) if (block := Block.from_data_list([graph]))]


def _unanswered(block: Block, dtype: torch.dtype) -> Block:
    order = torch.randperm(block.num_nodes, generator=stream("witness", block.num_nodes))
    number = order.argsort()  # of each node, the new one
    x = block.x[:, order].to(dtype)
    return Block(number[block.edge_index], x, torch.zeros_like(block.y), number[block.readout_index])


def _check(answer: Tensor, block: Block, out_channels: int, dtype: torch.dtype) -> None:
    expected = (block.num_graphs, block.readout_index.numel(), out_channels)
    if answer.shape != expected or answer.dtype != dtype:
        raise ValueError(
            f"witness: must return [num_graphs, num_readouts, out_channels] = {expected} in {dtype}, the number type of x;"
            f" got {tuple(answer.shape)} in {answer.dtype}"
        )

"""From a task's draws to what a step reads: features, needs and answers, on the shared or on the general path."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from suite.engine.topology import Prepared, TopologyCache
from suite.models.encodings import ENCODINGS
from suite.rng import stream
from suite.task import Block, Split, Task

Draw = Block | list[Data]


def blocks(task: Task, seed: int, split: Split, num_graphs: int, batch_size: int) -> Iterator[Draw]:
    """Yield the first `num_graphs` graphs of `split` in blocks: the fixed evaluation sets, the same for every model of a seed."""
    if task.fixed:
        yield task.at(split, 0).draw(1, stream(task.config(), seed, split, 0))
        return
    for index, start in enumerate(range(0, num_graphs, batch_size)):
        yield draw(task, seed, split, index, min(batch_size, num_graphs - start))


def draw(task: Task, seed: int, split: Split, index: int, num_graphs: int) -> Draw:
    """Return block number `index` of `split`."""
    return task.at(split, index).draw(num_graphs, stream(task.config(), seed, split, index))


@dataclass
class SharedBatch:
    """A step's input on the shared path: one block per replica, all of one topology."""

    prepared: Prepared
    x: Tensor  # [replicas, nodes, graphs, in_channels]
    y: Tensor  # [replicas, readouts * graphs, ...]

    def forward(self, module: Any) -> Tensor:
        """Return the outputs at the read-outs: [replicas, readouts * graphs, out_channels]."""
        out: Tensor = module.decode(module.states(self.x, self.prepared.op, **self.prepared.needs))
        read: Tensor = rearrange(out[:, : self.prepared.num_readouts], "r n g c -> r (n g) c")
        return read

    def keep(self, index: list[int]) -> SharedBatch:
        return SharedBatch(self.prepared, self.x[index], self.y[index])


@dataclass
class GraphBatch:
    """A step's input on the general path: any graphs, as PyG batches them, for one model."""

    batch: Any
    needs: dict[str, Tensor]
    y: Tensor  # [1, readouts of all graphs, ...]

    def forward(self, module: Any) -> Tensor:
        """Return the outputs at the read-outs: [1, readouts, out_channels]."""
        named = {"batch": self.batch.batch} if takes_batch(module) else {}
        out: Tensor = module(self.batch.x, self.batch.edge_index, **named, **self.needs)
        return out[self.batch.readout_index].unsqueeze(0)

    def keep(self, index: list[int]) -> GraphBatch:
        return self


def takes_batch(module: nn.Module) -> bool:
    """Return whether the module's forward has a parameter `batch`; PyG's third positional one is `edge_weight`."""
    parameters = inspect.signature(module.forward).parameters
    return "batch" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def shared_batch(drawn: Sequence[Block], cache: TopologyCache) -> SharedBatch:
    """Stack one block per replica; they must share topology and read-outs."""
    prepared = cache[drawn[0]]
    x = prepared.features(torch.stack([block.x for block in drawn]))
    y = torch.stack([block.y for block in drawn])
    return SharedBatch(prepared, x, rearrange(y, "r g n ... -> r (n g) ..."))


def graph_batch(drawn: Draw, needs: frozenset[str]) -> GraphBatch:
    """Batch graphs as PyG does; pairwise encodings are padded to the largest graph, -1 where there is no pair."""
    graphs = drawn.to_data_list() if isinstance(drawn, Block) else drawn
    batch = Batch.from_data_list(graphs)
    return GraphBatch(batch, {name: _padded([ENCODINGS[name](g) for g in graphs]) for name in needs}, batch.y.unsqueeze(0))


def _padded(pairs: list[Tensor]) -> Tensor:
    size = max(p.size(0) for p in pairs)
    out = torch.full((len(pairs), size, size), -1, dtype=pairs[0].dtype)
    for row, p in zip(out, pairs, strict=True):
        row[: p.size(0), : p.size(1)] = p
    return out


def same_topology(drawn: Sequence[Draw]) -> bool:
    """Return whether all draws are blocks of one topology with the same read-outs."""
    first = drawn[0]
    return isinstance(first, Block) and all(
        isinstance(d, Block)
        and d.num_nodes == first.num_nodes
        and torch.equal(d.edge_index, first.edge_index)
        and torch.equal(d.readout_index, first.readout_index)
        for d in drawn[1:]
    )

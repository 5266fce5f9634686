"""From a task's draws to what a step reads: features, needs and answers, on the shared or on the general path.

On the shared path all graphs of a step have one topology, and what they have in common is computed once: nodes whose input is
the same in all of them (`alike_nodes`), graphs that are equal (`equal_inputs`). Both are looked for when training begins, and
held against every block that follows.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch_geometric.nn import global_mean_pool

from suite.engine.topology import Prepared, coupling, encodings, sizes_of
from suite.models.base import Model
from suite.models.encodings import Needs, encoded
from suite.models.fronted import FrontedModule
from suite.operators import SharedOperators
from suite.rng import stream
from suite.samples import Drawn, distinct, linear_hash
from suite.task import Block, Packed, Split, Task, own_edges

WORTHWHILE = 0.25  # of the nodes must be alike, that telling them apart pays


def blocks(task: Task, seed: int, split: Split, num_graphs: int, batch_size: int) -> Iterator[Block | Packed]:
    """Yield the first `num_graphs` graphs of `split` in blocks: the fixed evaluation sets, the same for every model of a seed.

    Of a given collection it is all graphs of the split, in one block.
    """
    if (given := task.given(split)) is not None:
        yield draw(task, seed, split, 0, given)
        return
    for index, start in enumerate(range(0, num_graphs, batch_size)):
        yield draw(task, seed, split, index, min(batch_size, num_graphs - start))


def as_drawn(task: Task, seed: int, split: Split, index: int, num_graphs: int) -> Drawn:
    """Return block number `index` of `split`, as the task gives it."""
    return task.at(split, index).draw(num_graphs, stream(task.config(), seed, split, index))


def draw(task: Task, seed: int, split: Split, index: int, num_graphs: int) -> Block | Packed:
    """Return block number `index` of `split` in the form the engine computes with."""
    return packed(as_drawn(task, seed, split, index, num_graphs))


def packed(drawn: Drawn) -> Block | Packed:
    """Return what was drawn in the form the engine computes with."""
    return drawn if isinstance(drawn, Block) else Packed.of(drawn)


@dataclass
class SharedBatch:
    """A step's input on the shared path: one block per replica, all of one topology."""

    prepared: Prepared
    x: Tensor  # [replicas, rows, in_channels], as the operators enter it; where `frozen`, the last state
    y: Tensor  # [replicas, readouts * graphs, ...]
    counts: Tensor | None  # [replicas, graphs] how many equal graphs each stands for; None: one
    frozen: bool = False

    @property
    def weight(self) -> Tensor | None:
        """How many answers each row of `y` stands for: [replicas, readouts * graphs], None: one."""
        return None if self.counts is None else self.counts.repeat(1, len(self.prepared.readouts))

    @property
    def num_answers(self) -> int:
        """Of each replica."""
        return self.y.size(1) if self.counts is None else int(self.counts[0].sum()) * len(self.prepared.readouts)

    def forward(self, module: Any) -> Tensor:
        """Return the outputs at the read-outs: [replicas, readouts * graphs, out_channels]."""
        prepared = self.prepared
        prepared.op.counts = self.counts
        hidden = [self.x] if self.frozen else module.run(self.x, prepared.op, **prepared.needs)
        out: Tensor = module.decode(hidden)
        return prepared.op.read(out, prepared.readouts, self.y.size(1) // len(prepared.readouts))

    def keep(self, index: list[int]) -> SharedBatch:
        counts = None if self.counts is None else self.counts[index]
        return SharedBatch(self.prepared, self.x[index], self.y[index], counts, self.frozen)


@dataclass
class GraphBatch:
    """A step's input on the general path: any graphs, for one model."""

    graphs: Packed
    needs: dict[str, Tensor]
    weight: None = None

    @property
    def num_answers(self) -> int:
        return self.graphs.y.size(0)

    @property
    def y(self) -> Tensor:
        """The answers: [1, readouts of all graphs, ...]."""
        return self.graphs.y.unsqueeze(0)

    def forward(self, module: Any) -> Tensor:
        """Return the outputs at the read-outs: [1, readouts, out_channels].

        Where whole graphs are asked, a model that gives a row for every node has its outputs averaged over each graph; one that
        pools itself gives a row for every graph.
        """
        graphs = self.graphs
        named = {"batch": graphs.batch} if takes_batch(module) else {}
        out: Tensor = module(graphs.x, graphs.edge_index, **named, **self.needs)
        if graphs.readout_index is not None:
            return out[graphs.readout_index].unsqueeze(0)
        pooled = out if out.size(0) == len(graphs) else global_mean_pool(out, graphs.batch, len(graphs))
        return pooled.unsqueeze(0)

    def keep(self, index: list[int]) -> GraphBatch:
        return self


def takes_batch(module: nn.Module) -> bool:
    """Return whether the module's forward has a parameter `batch`; PyG's third positional one is `edge_weight`."""
    if isinstance(module, FrontedModule):
        return takes_batch(module.inner)
    parameters = inspect.signature(module.forward).parameters
    return "batch" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def graph_batch(drawn: Drawn, needs: Needs) -> GraphBatch:
    """Batch graphs for the general path; pairwise encodings are padded to the largest graph, -1 where there is no pair."""
    graphs = Packed.of(drawn.to_data_list() if isinstance(drawn, Block) else drawn)
    found = [encoded(needs, graph) for graph in graphs] if needs else []
    return GraphBatch(graphs, {name: _padded([one[name] for one in found]) for name in needs})


def _padded(pairs: list[Tensor]) -> Tensor:
    size = max(p.size(0) for p in pairs)
    out = torch.full((len(pairs), size, size, *pairs[0].shape[2:]), -1, dtype=pairs[0].dtype)
    for row, p in zip(out, pairs, strict=True):
        row[: p.size(0), : p.size(1)] = p
    return out


class Sharing:
    """Brings blocks of one topology, one per replica, into batches of the shared path, and remembers what was prepared.

    Args:
        model: one of the replicas.
        num_layers: its depth.
        shortcuts: those allowed; what the model makes inexact is not taken. `alike_nodes` needs edges to be the only channel
            (statistics of the batch aside, which weigh rows), and neither it, `equal_inputs` nor `frozen_states` goes with
            random layers.
        first: the first training block of each replica, which decides whether there is anything to look for.
    """

    def __init__(self, model: Model, num_layers: int, shortcuts: frozenset[str], first: Sequence[Block]) -> None:
        self.model, self.num_layers, self.shortcuts = model, num_layers, shortcuts
        self._known: dict[Any, Prepared] = {}
        self._ops: dict[Any, SharedOperators] = {}  # several read-outs may do with one
        self._needs: dict[Any, dict[str, Tensor]] = {}
        self.equal_inputs = "equal_inputs" in shortcuts and not model.random and _repeats(first)
        self.frozen = "frozen_states" in shortcuts and model.frozen and not model.random
        alike = "alike_nodes" in shortcuts and not model.random and not coupling(model, training=False)
        varying = _varying(first) if alike else torch.ones(first[0].num_nodes, dtype=torch.bool)
        self._varying = varying | (varying.double().mean() > 1 - WORTHWHILE)

    def batch(self, drawn: Sequence[Block], training: bool) -> SharedBatch:
        """Return the blocks, which must share topology and read-outs, as one batch."""
        x: Sequence[Tensor] = [block.x for block in drawn]
        y: Sequence[Tensor] = [block.y for block in drawn]
        counts = None
        if self.equal_inputs:
            x, y, counts = _once(torch.stack(list(x)), torch.stack(list(y)))
        num_nodes = drawn[0].num_nodes
        varying = self._varying if num_nodes == self._varying.numel() else torch.ones(num_nodes, dtype=torch.bool)
        if not bool(varying.all()):
            self._varying = varying = varying | _varying(drawn)  # what has varied once may vary again
        prepared = self._prepared(drawn[0], training, varying)
        answers = torch.stack([rearrange(one, "g n ... -> (n g) ...") for one in y])
        if self.frozen:
            return SharedBatch(prepared, self._last(x, counts, prepared), answers, counts, frozen=True)
        return SharedBatch(prepared, prepared.op.enter(x), answers, counts)

    def _last(self, x: Sequence[Tensor], counts: Tensor | None, prepared: Prepared) -> Tensor:
        """Return the last state of a frozen model; replicas with the same x, as of a task with one graph, have it in common."""
        same = counts is None and all(torch.equal(x[0], other) for other in x[1:])
        prepared.op.counts = counts
        last = self.model.last_state(prepared.op.enter(x[:1] if same else x), prepared.op, **prepared.needs)
        return last.expand(len(x), -1, -1)

    def num_rows(self, block: Block) -> int:
        """Return the largest number of rows that a layer has for a training block such as `block`."""
        batch = self.batch([block], training=True)
        graphs = batch.y.size(1) // len(batch.prepared.readouts)
        return max(len(rows.alike) + graphs * len(rows.varying) for rows in batch.prepared.op.rows)

    def _prepared(self, block: Block, training: bool, varying: Tensor) -> Prepared:
        """Look topologies up by their content: tasks may draw the same edges again as a new tensor."""
        training = training and "norm(train)" in self.model.global_channel
        original = None if block.original_index is None else block.original_index.numpy().tobytes()
        edges = (block.edge_index.numpy().tobytes(), block.num_nodes, original)
        asked = (*edges, block.readout_index.numpy().tobytes(), varying.numpy().tobytes(), training)
        if asked not in self._known:
            if edges not in self._needs:
                self._needs[edges] = encodings(block, self.model)
            order, sizes = sizes_of(block, self.model, self.num_layers, self.shortcuts, training)
            ordered = (*edges, order.numpy().tobytes(), tuple(sizes), varying.numpy().tobytes(), block.x.dtype)
            if ordered not in self._ops:
                self._ops[ordered] = SharedOperators(
                    block.edge_index, order, sizes, block.x.dtype, varying, self.model.layer_hops
                )
            readouts = order.argsort()[block.readout_index].tolist()
            self._known[asked] = Prepared(self._ops[ordered], self._needs[edges], readouts)
        return self._known[asked]


def _varying(drawn: Sequence[Block]) -> Tensor:
    """Return which nodes do not have the same features in all graphs of a replica, as the blocks say or x shows: [nodes] bool."""
    found = [(block.x != block.x[:1]).any(2).any(0) if block.varying is None else block.varying for block in drawn]
    return torch.stack(found).any(0)


def _numbers(x: Tensor, y: Tensor) -> Tensor:
    """Return a number per graph, equal for graphs that are equal in features and answers: [replicas, graphs]."""
    nodes = linear_hash(x)
    answers = linear_hash(y.flatten(2).float())
    return linear_hash(torch.cat([nodes, answers.unsqueeze(2)], dim=2).view(torch.int32).float())


def _repeats(drawn: Sequence[Block]) -> bool:
    """Return whether graphs repeat themselves so much that looking for it in every block pays."""
    return all(torch.unique(_numbers(b.x[None], b.y[None])).numel() <= b.num_graphs // 2 for b in drawn)


def _once(x: Tensor, y: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor | None]:
    """Return each distinct graph of every replica once, and how often it occurs; equal shapes come from graphs of count 0."""
    numbers = _numbers(x, y)
    place, counts = distinct(numbers, max(torch.unique(row).numel() for row in numbers))
    replica = torch.arange(len(x)).unsqueeze(1)
    once_x, once_y = x[replica, place], y[replica, place]
    slot = (numbers.unsqueeze(2) == numbers.gather(1, place).unsqueeze(1)).int().argmax(2)
    if not (torch.equal(once_x[replica, slot], x) and torch.equal(once_y[replica, slot], y)):
        return list(x), list(y), None  # two different graphs met in one number
    return list(once_x), list(once_y), counts.to(x.dtype)


def same_topology(drawn: Sequence[Drawn]) -> bool:
    """Return whether all draws are blocks of one topology with the same read-outs."""
    first = drawn[0]
    return isinstance(first, Block) and all(
        isinstance(d, Block)
        and d.num_nodes == first.num_nodes
        and torch.equal(d.edge_index, first.edge_index)
        and torch.equal(d.readout_index, first.readout_index)
        and torch.equal(own_edges(d), own_edges(first))
        for d in drawn[1:]
    )

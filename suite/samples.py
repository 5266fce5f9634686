"""What was drawn: samples told apart up to node order, and graphs held against what their task promises.

Two inputs count as one where 1-WL cannot tell them apart: colours start from the rows of `x` and the read-out marks, each
round replaces a node's colour by a hash of itself and of what its edges bring, and rounds go on until no class of the whole
collection splits any more. 1-WL may merge inputs that differ; it never parts inputs that are equal up to node order.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, contains_self_loops, is_undirected, scatter

from suite.hops import hop_distance
from suite.rng import global_seed
from suite.task import Block, Packed

UP_TO_ORDER = 256  # nodes; larger graphs are compared in their canonical order: WL rounds are dear, mirror images rare there

Drawn = Block | Sequence[Data]


def graphs_of(drawn: Drawn) -> list[Data]:
    """Return what was drawn as PyG `Data`, one by one."""
    return drawn.to_data_list() if isinstance(drawn, Block) else list(drawn)


class Hashes(NamedTuple):
    """One 64-bit number per graph, equal where nothing tells the graphs apart: each [num_graphs] long."""

    inputs: Tensor  # edges, x and read-out marks
    structures: Tensor  # edges alone
    features: Tensor  # the multiset of the rows of x alone


def hashes(drawn: Iterable[Drawn]) -> Hashes:
    """Hash every graph of `drawn`, all blocks together: the numbers may be compared across blocks, not across calls."""
    parts: list[_Flat] = []
    firsts: list[_Flat] = []
    copies: list[int] = []
    for block in drawn:
        parts.append(_flatten(block))
        if isinstance(block, Block):  # the edges of one graph are those of all
            firsts.append(_flatten(block.take(torch.tensor([0]))))
            copies.append(block.num_graphs)
        else:
            firsts.append(parts[-1])
            copies += [1] * len(block)
    flat, bare = _join(parts), _join(firsts)
    inputs = _per_graph(_refine(flat.colour, flat.edge_index), flat.graph)
    structures = _per_graph(_refine(torch.zeros_like(bare.colour), bare.edge_index), bare.graph)
    structures = _mix(structures + bare.shape).repeat_interleave(torch.tensor(copies))
    return Hashes(_mix(inputs + flat.shape), structures, _per_graph(flat.rows, flat.graph))


def asked_colours(drawn: Iterable[Drawn]) -> Tensor:
    """Return the 1-WL colour of the node that each answer is read at, graph by graph: [num_answers] long.

    Colours start from x alone, for that is what a model sees, and are those of all graphs together: where two are equal, no
    message passing net gives two outputs, however deep (1810.00826). Graphs of any size are refined, a batch of them in one.
    """
    parts, asked, start = [], [], 0
    for block in drawn:
        flat = _flatten(block, sys.maxsize)
        asked.append(start + _asked(block))
        start += flat.rows.numel()
        parts.append(flat)
    flat = _join(parts)
    return _refine(flat.rows, flat.edge_index)[torch.cat(asked)]


def _asked(drawn: Drawn) -> Tensor:
    """Return the read-out nodes of all graphs, counted through."""
    if isinstance(drawn, Block):
        return (torch.arange(drawn.num_graphs).unsqueeze(1) * drawn.num_nodes + drawn.readout_index).flatten()
    asked = Packed.of(drawn).readout_index
    assert asked is not None  # of tasks at nodes
    return asked


def tokens_read(drawn: Drawn, channels: slice | None) -> Drawn:
    """Return what was drawn with the tokens in these columns of x rid of noise, which is less than a half."""
    if channels is None:
        return drawn
    if isinstance(drawn, Block):
        drawn = drawn.take(torch.arange(drawn.num_graphs))  # a copy
        drawn.x[..., channels] = drawn.x[..., channels].round()
        return drawn
    packed = Packed.of(drawn)
    packed = packed.take(torch.arange(len(packed)))
    packed.x[:, channels] = packed.x[:, channels].round()
    return packed


def structural_colours(edge_index: Tensor, start: Tensor) -> Tensor:
    """Return the 1-WL colours that edges give to nodes which start with the colours `start` [num_nodes]: [num_nodes] long.

    Numbers from 0. Rounds as of `hashes`, but only of nodes that hear something new, and a class that splits leaves its largest
    part its colour: a node is renamed at most log2 n times, so that long graphs, of as many rounds as nodes, take
    O((n + m) log n) steps and not their product. (Cardon and Crochemore, 1982; 1509.08251)
    """
    num_nodes = start.numel()
    order = edge_index[0].argsort(stable=True)
    starts = [0, *torch.bincount(edge_index[0], minlength=num_nodes).cumsum(0).tolist()]
    targets = edge_index[1][order].tolist()
    colour: list[int] = torch.unique(start, return_inverse=True)[1].tolist()
    members: dict[int, set[int]] = {}
    for node, name in enumerate(colour):
        members.setdefault(name, set()).add(node)
    renamed: Sequence[int] = range(num_nodes)
    while renamed:
        heard: dict[int, list[int]] = {}
        for node in renamed:
            for other in targets[starts[node] : starts[node + 1]]:
                heard.setdefault(other, []).append(colour[node])
        parts: dict[int, dict[tuple[int, ...], list[int]]] = {}
        for node, names in heard.items():
            parts.setdefault(colour[node], {}).setdefault(tuple(sorted(names)), []).append(node)
        renamed = []
        for name, part in parts.items():
            groups, everyone = sorted(part.values(), key=len), members[name]
            silent = len(everyone) - sum(map(len, groups))
            if silent < len(groups[-1]):
                kept = set(groups.pop())
                groups += [list(everyone.difference(kept, *groups))] if silent else []
            for group in groups:
                everyone.difference_update(group)
                new = len(members)
                members[new] = set(group)
                for node in group:
                    colour[node] = new
                renamed += group
    return torch.tensor(colour)


def content(drawn: Drawn) -> str:
    """Return a digest of every byte of what was drawn, dtypes and shapes included."""
    found = hashlib.blake2b()
    for part in [vars(drawn)] if isinstance(drawn, Block) else [graph.to_dict() for graph in drawn]:
        for name in sorted(part):
            value = part[name]
            if isinstance(value, Tensor):
                found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
            else:
                found.update(f"{name} {value!r}".encode())
    return found.hexdigest()


def randomness_faults(draw: Callable[[], Drawn]) -> list[str]:
    """Return what is wrong with `draw`, which must give the same bytes at every call: one sentence each.

    The same in this process, with another number of threads, and with another global random state, which it must not change.
    """
    first, faults = content(draw()), []
    before = _global_states()
    if content(draw()) != first:
        faults.append("two draws from one stream differ: use the generator handed down for every random number")
    changed = [name for name, state in _global_states().items() if state != before[name]]
    if changed:
        faults.append(f"drawing changes the global random state of {' and '.join(changed)}: use the generator handed down")
    with global_seed(torch.initial_seed() % 2**31 + 1):  # another one, whatever it was
        if not faults and content(draw()) != first:
            faults.append("drawing depends on the global random state: use the generator handed down")
    with _other_threads():
        if not faults and content(draw()) != first:
            faults.append("draws differ with the number of threads")
    return faults


def _global_states() -> dict[str, str]:
    return {"torch": str(torch.get_rng_state().tolist()), "numpy": str(np.random.get_state()), "random": str(random.getstate())}


@contextmanager
def _other_threads() -> Iterator[None]:
    kept = torch.get_num_threads()
    torch.set_num_threads(1 if kept > 1 else 2)
    try:
        yield
    finally:
        torch.set_num_threads(kept)


def graph_faults(graph: Data, hops: int | None) -> dict[str, str]:
    """Return what a graph is not that graphs should be, by name, each with one sentence.

    Names: "directed", "duplicate edges", "self-loops", "disconnected", and "hops" where a source is not `hops` edges from its
    read-out node by breadth-first search. `hops` None, or a graph without `source_index`: distances are not checked.
    """
    found, edge_index, num_nodes = {}, graph.edge_index, int(graph.num_nodes)
    simple = coalesce(edge_index, num_nodes=num_nodes)
    if not is_undirected(simple, num_nodes=num_nodes):
        found["directed"] = "an edge is present in one direction only"
    if simple.size(1) < edge_index.size(1):
        found["duplicate edges"] = f"{edge_index.size(1) - simple.size(1)} of {edge_index.size(1)} edges are repeated"
    if contains_self_loops(simple):
        found["self-loops"] = "a node is joined to itself; operators add the loops they want"
    unreached = int((hop_distance(edge_index, torch.zeros(1, dtype=torch.long), num_nodes) < 0).sum())
    if unreached:
        found["disconnected"] = f"no path leads from node 0 to {unreached} of {num_nodes} nodes"
    if hops is not None and "source_index" in graph:
        planted = _planted_distances(graph)
        if bool((planted != hops).any()):
            found["hops"] = f"the source is {_some(planted)} hops from the read-out node by BFS, the task says {hops}"
    return found


def _planted_distances(graph: Data) -> Tensor:
    """Return the distance of each source to its read-out node, or to the nearest where they do not come in pairs."""
    every = hop_distance(graph.edge_index, graph.readout_index, int(graph.num_nodes))
    planted = every[:, graph.source_index]
    return planted.diagonal() if planted.size(0) == planted.size(1) else planted.min(dim=0).values


def _some(values: Tensor) -> str:
    return " or ".join(str(value) for value in torch.unique(values).tolist()[:3])


class _Flat(NamedTuple):
    """Many graphs as one. A graph compared in canonical order is a single node, its edges hashed into `shape`."""

    rows: Tensor  # [num_nodes] hash of the row of x
    colour: Tensor  # [num_nodes] colour at the start
    edge_index: Tensor  # [2, num_edges]
    graph: Tensor  # [num_nodes] the graph each node belongs to
    shape: Tensor  # [num_graphs] hash of the edges in order, or 0


def _flatten(drawn: Drawn, up_to_order: int = UP_TO_ORDER) -> _Flat:
    """Hash the rows of x at once: a node is then two numbers, however wide x is."""
    if isinstance(drawn, Block):
        num_nodes, num_graphs, x = drawn.num_nodes, drawn.num_graphs, drawn.x.flatten(0, 1)
        graph = torch.arange(num_graphs).repeat_interleave(num_nodes)
        place = torch.arange(num_nodes).repeat(num_graphs)
        marked = torch.zeros(num_nodes, dtype=torch.long).index_fill(0, drawn.readout_index, 1).repeat(num_graphs)
        shifts = torch.arange(num_graphs if num_nodes <= up_to_order else 1) * num_nodes
        edge_index = (drawn.edge_index[:, None] + shifts[:, None]).flatten(1)  # [2, copies * num_edges]
    else:
        packed = Packed.of(drawn)
        x, edge_index, graph, num_graphs = packed.x, packed.edge_index, packed.batch, len(packed)
        place = torch.arange(graph.numel()) - torch.tensor(packed.ptr)[graph]
        num_nodes, marked = int(place.max()) + 1, torch.zeros_like(graph)
        if packed.readout_index is not None:
            marked[packed.readout_index] = 1
    rows = _mix(linear_hash(x))
    if num_nodes <= up_to_order:
        return _Flat(rows, _mix(rows + marked), edge_index, graph, graph.new_zeros(num_graphs))
    edges = _mix(_mix(place[edge_index[0]]) + place[edge_index[1]])
    shape = _per_graph(edges, graph[edge_index[0]], 1 if isinstance(drawn, Block) else num_graphs).expand(num_graphs)
    colour = _per_graph(_mix(rows + 2 * place + marked), graph)
    return _Flat(_per_graph(rows, graph), colour, edge_index[:, :0], torch.arange(num_graphs), shape)


def linear_hash(x: Tensor) -> Tensor:
    """Return one 64-bit number per row of x [..., channels], equal for equal rows: bits times odd factors, added up."""
    bits = (x.float() + 0.0).view(torch.int32)  # + 0.0: minus zero is zero
    total = torch.zeros(x.shape[:-1], dtype=torch.long)
    for column, factor in enumerate((_mix(torch.arange(x.size(-1))) | 1).tolist()):
        total.add_(bits[..., column], alpha=factor)  # in 64 bits, wrapping around
    return total


def distinct(numbers: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """Return where one of each distinct number of a row stands, and how often it occurs: [rows, room] long and float.

    What is left of `room` has the count 0. Raises ValueError where a row has more than `room` distinct numbers.
    """
    values, order = numbers.sort(dim=1)
    first = torch.ones_like(values, dtype=torch.bool)
    first[:, 1:] = values[:, 1:] != values[:, :-1]
    slot = first.cumsum(1) - 1
    if int(slot.max()) >= room:
        raise ValueError(f"max_rows: must be >= {int(slot.max()) + 1}, the distinct nodes of one graph, got {room}")
    row, rank = first.nonzero(as_tuple=True)
    place = order.new_zeros(len(numbers), room)
    place[row, slot[row, rank]] = order[row, rank]
    count = torch.zeros(len(numbers), room).scatter_add_(1, slot, torch.ones(slot.shape))
    return place, count


def _join(parts: list[_Flat]) -> _Flat:
    edges, graphs, num_nodes, num_graphs = [], [], 0, 0
    for part in parts:
        edges.append(part.edge_index + num_nodes)
        graphs.append(part.graph + num_graphs)
        num_nodes, num_graphs = num_nodes + part.rows.numel(), num_graphs + part.shape.numel()
    rows, colour, shape = (torch.cat([getattr(part, name) for part in parts]) for name in ("rows", "colour", "shape"))
    return _Flat(rows, colour, torch.cat(edges, dim=1), torch.cat(graphs), shape)


def _per_graph(values: Tensor, graph: Tensor, num_graphs: int | None = None) -> Tensor:
    """Return a hash of the multiset of `values` of each graph."""
    return _mix(scatter(_mix(values), graph, dim_size=num_graphs, reduce="sum"))


def _refine(colour: Tensor, edge_index: Tensor) -> Tensor:
    classes, before = torch.unique(colour).numel(), 0
    while classes > before:
        heard = torch.zeros_like(colour).index_add_(0, edge_index[1], _mix(colour)[edge_index[0]])
        colour = _mix(3 * _mix(colour) + heard)
        before, classes = classes, torch.unique(colour).numel()
    return colour


def _mix(value: Tensor) -> Tensor:
    """Scramble 64-bit integers one to one (the finaliser of SplitMix64; products wrap around)."""
    value = value + -7046029254386353131
    value = (value ^ _shift(value, 30)) * -4658895280553007687
    value = (value ^ _shift(value, 27)) * -7723592293110705685
    return value ^ _shift(value, 31)


def _shift(value: Tensor, by: int) -> Tensor:
    """Shift right without dragging the sign along."""
    return (value >> by) & ((1 << (64 - by)) - 1)

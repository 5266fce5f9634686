"""Controls: small models that are shown a task without what it claims to need, and what they can score.

They see it through a view (`suite.views`), so that they are trained by the same engine as everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import degree, is_undirected

from suite.cell import Cell, ModelRef, Protocol, TaskRef
from suite.engine import Trained, blocks, train
from suite.hops import hop_distance, nearest_distance
from suite.models import resolve
from suite.models.base import Model
from suite.models.layers import MLP, Linear, per_replica
from suite.operators import Operators
from suite.refs import ref_of
from suite.samples import distinct, graphs_of, linear_hash
from suite.task import Block, Packed, Split, Task
from suite.views import View, task_ref

BUDGET = Protocol(lr=3e-3, batch_size=64, max_steps=600, num_validation=512, num_test=2048, solved_at=0.98)
SLOW_BUDGET = BUDGET.model_copy(update={"batch_size": 32, "max_steps": 300, "num_test": 1024})  # where drawing is what costs
LIST_BUDGET = BUDGET.model_copy(update={"lr": 1e-2})  # of 20 permutations of three things, with room
BLIND_BUDGET = BUDGET.model_copy(update={"max_steps": 200})  # there is one node to look at
HIDDEN_CHANNELS = 64
SEEDS = (0, 1, 2)
SOLVED = 0.9  # skill from which a control has solved a task
POOL = 4096  # answers that training graphs of a control hold where drawing is what costs; it sees up to 9,600 graphs
LEAST_POOL = 1024  # training graphs
LEAST_TESTS = 1024  # test graphs, where they are small: answers of one graph may all be the same
LEAST_CLASSES, LEAST_ERRORS = 32, 512  # where they are large; errors of a graph vary together, and the best of 3 seeds is taken
PROBED = 128  # graphs looked at to learn how large they are
MAX_DEGREE = 15  # degrees from here on are one class to a control
MAX_ROWS = 128  # nodes a set model reads one by one; of more it reads the distinct ones and how often each occurs
MAX_ANSWERS = 8  # of one graph that a set model is asked for: to all who ask the set is the same
ROUNDS = 3  # of messages along the edges of a ball, at most
MAX_HOPS = 15  # distances from here on are one class to a control, where the task is at none in particular


class Described(View):
    """A view of what nodes carry and, of the edges, the degree of each alone: of directed ones how many come and how many go."""

    def _rows(self, block: Block, nodes: Tensor) -> Tensor:
        """Return x of `nodes` of each graph and what they are told besides: [graphs, nodes] -> [graphs, nodes, channels]."""
        x = block.x[torch.arange(block.num_graphs).unsqueeze(1), nodes]
        return torch.cat([x, self._told(block)[nodes]], dim=2)

    def _told(self, block: Block) -> Tensor:
        """Return degrees and the logarithm of the number of nodes: [num_nodes, channels]."""
        leave, come = (degree(end, block.num_nodes) for end in block.edge_index)
        told = [
            F.one_hot(come.long().clamp(max=MAX_DEGREE), MAX_DEGREE + 1).float(),
            torch.full_like(come, block.num_nodes).log()[:, None],
        ]
        if "directed" in self.irregular:
            told.append(leave.log1p()[:, None])  # one column, for attention has to tell keys apart among all
        return torch.cat(told, dim=1)


class Blind(Described):
    """The read-out nodes alone: their own x, degree, and the number of nodes."""

    def show(self, block: Block, rng: torch.Generator) -> Block:
        nodes = block.readout_index.expand(block.num_graphs, -1)
        return _edgeless(self._rows(block, nodes), block.y, nodes.size(1))


class Whole(Described):
    """Whole graphs as sets: x and degree of each node, and their number; no edges."""

    def show(self, block: Block, rng: torch.Generator) -> Block:
        return _edgeless(self._rows(block, torch.arange(block.num_nodes).expand(block.num_graphs, -1)), block.y, 0)


class Unordered(Described):
    """All nodes as a set: x and degree of each, no edges; the read-out nodes come first.

    Where there are more than `MAX_ANSWERS` read-out nodes, so many of them are asked, drawn for each graph; the others are
    nodes of the set. With `max_rows` the set is given as its distinct rows, up to that many, and how often each occurs: the
    same information, exactly, in fewer rows.
    """

    max_rows: int | None = None

    def show(self, block: Block, rng: torch.Generator) -> Block:
        graph, asked, (first, other) = _asked_first(block, rng)
        y = block.y[graph, asked]
        if self.max_rows is None:
            return _edgeless(self._rows(block, torch.cat([first, other], dim=1)), y, first.size(1))
        number = linear_hash(block.x) + linear_hash(F.pad(self._told(block), (block.x.size(2), 0)))  # of a node's row
        place, count = distinct(number.gather(1, other), self.max_rows)
        return _edgeless(_counted(self._rows(block, first), self._rows(block, other.gather(1, place)), count), y, first.size(1))


class Shells(Described):
    """All nodes as a set, each with its distance from the read-out node: all that edges say about distance, and nothing else.

    One of the read-out nodes answers, drawn for each graph; it comes first. Nodes farther away than `radius` are not shown. With
    `permuted` the distances are those after all edges were drawn anew, for each graph, with every degree kept. `max_rows` as
    `Unordered` has it.
    """

    radius: int | None = None
    permuted: bool = False
    max_rows: int | None = None
    _farthest: int = PrivateAttr(MAX_HOPS)

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        self._farthest = MAX_HOPS if self._task.range is None else self._task.range + 1

    def show(self, block: Block, rng: torch.Generator) -> Block:
        x, y, _ = self._seen(block, rng)
        if self.max_rows is not None:
            first, others = x[:, :1], x[:, 1:]
            place, count = distinct(linear_hash(others), self.max_rows)
            x = _counted(first, others[torch.arange(len(x)).unsqueeze(1), place], count)
        return _edgeless(x, y, 1)

    def _seen(self, block: Block, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return x and y of the graphs that are shown, and which nodes of the block they hold: [num_graphs, rows], -1: none."""
        graph, far = torch.arange(block.num_graphs), block.num_nodes + self._farthest  # farther than any path leads
        asked = torch.randint(block.readout_index.numel(), (block.num_graphs,), generator=rng)
        readout = block.readout_index[asked]
        if self.permuted:
            hops = _permuted_hops(block, readout, rng)
        elif block.num_graphs > 1:
            hops = _known_hops(block)[asked]
        else:
            hops = hop_distance(block.edge_index, readout, block.num_nodes)
        hops, radius, rows = hops.masked_fill(hops < 0, far), far if self.radius is None else self.radius, block.num_nodes
        if self.radius is not None:  # as many for every read-out node: those of the largest ball
            known = _known_hops(block)
            rows = int(((known >= 0) & (known <= radius)).sum(dim=1).max())
        nodes = hops.argsort(dim=1, stable=True)[:, :rows]
        hops = hops.gather(1, nodes)
        told = F.one_hot(hops.clamp(max=self._farthest), self._farthest + 1).float()
        x = torch.cat([block.x[graph.unsqueeze(1), nodes], self._told(block)[nodes], told], dim=2)
        shown = hops <= radius
        return x * shown.unsqueeze(2), block.y[graph, asked].unsqueeze(1), nodes.masked_fill(~shown, -1)


class Ball(Shells):
    """The same nodes, their distances, and the edges among those shown."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | Sequence[Data]:
        drawn = self._task.draw(num_graphs, rng)
        every = [drawn] if isinstance(drawn, Block) else [block for one in drawn if (block := Block.from_data_list([one]))]
        graphs = [graph for block in every for graph in self._balls(block, rng)]
        return Block.from_data_list(graphs) or graphs

    def _balls(self, block: Block, rng: torch.Generator) -> list[Data]:
        x, y, nodes = self._seen(block, rng)
        edges: dict[int, Tensor] = {}  # by the node that is asked: what else is shown follows from it
        for asked, own in zip(nodes[:, 0].tolist(), nodes, strict=True):
            if asked not in edges:
                place = own.new_full((block.num_nodes + 1,), -1)
                place[own] = torch.arange(len(own))
                place[-1] = -1
                ends = place[block.edge_index]
                edges[asked] = ends[:, (ends >= 0).all(dim=0)]
        first = torch.tensor([0])
        return [
            Data(x=x[i], edge_index=edges[asked], y=y[i], readout_index=first) for i, asked in enumerate(nodes[:, 0].tolist())
        ]


def _known_hops(block: Block) -> Tensor:
    """Return how far every node is from each of the read-out nodes: [num_readouts, num_nodes]."""
    return _hops(block.edge_index.numpy().tobytes(), block.readout_index.numpy().tobytes(), block.num_nodes)


@lru_cache(maxsize=8)  # most blocks have the topology of the one before them
def _hops(edge_index: bytes, readout_index: bytes, num_nodes: int) -> Tensor:
    edges, readout = (torch.from_numpy(np.frombuffer(part, np.int64).copy()) for part in (edge_index, readout_index))
    return hop_distance(edges.view(2, -1), readout, num_nodes)


def _permuted_hops(block: Block, readout: Tensor, rng: torch.Generator) -> Tensor:
    """Return how far every node is from `readout` [num_graphs] once each graph's edges are permuted: [num_graphs, num_nodes]."""
    starts = torch.arange(block.num_graphs) * block.num_nodes
    edges = permuted_edges(block.edge_index, block.num_graphs, rng) + starts[:, None, None]  # [num_graphs, 2, num_edges]
    every = edges.transpose(0, 1).flatten(1)
    return nearest_distance(every, readout + starts, block.num_graphs * block.num_nodes).view(block.num_graphs, -1)


def permuted_edges(edge_index: Tensor, num_graphs: int, rng: torch.Generator) -> Tensor:
    """Return the edges drawn anew with every degree kept, for each graph: [num_graphs, 2, num_edges].

    The configuration model: ends of edges are paired at random, so that an edge may come out a loop (which counts twice) or
    twice. Directed edges keep their source, and targets are dealt out again.
    """
    once = edge_index[:, edge_index[0] <= edge_index[1]]
    if is_undirected(edge_index):
        order = torch.rand(num_graphs, once.numel(), generator=rng).argsort(dim=1)
        ends = once.flatten()[order].view(num_graphs, 2, -1)
        return torch.cat([ends, ends.flip(1)], dim=2)
    order = torch.rand(num_graphs, edge_index.size(1), generator=rng).argsort(dim=1)
    return torch.stack([edge_index[0].expand(num_graphs, -1), edge_index[1][order]], dim=1)


class Shuffled(View):
    """The task with its answers dealt out again among the graphs that are drawn together: nothing is left to learn.

    Graphs of one topology exchange all that they are asked; of others each answer goes to any node that is asked.
    """

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | Sequence[Data]:
        drawn = self._task.draw(num_graphs, rng)
        if isinstance(drawn, Block):
            y = drawn.y[torch.randperm(drawn.num_graphs, generator=rng)]
            return Block(drawn.edge_index, drawn.x, y, drawn.readout_index, drawn.source_index, drawn.varying)
        every = torch.cat([graph.y for graph in drawn])
        dealt = torch.split(every[torch.randperm(len(every), generator=rng)], [len(graph.y) for graph in drawn])
        return [graph.clone().update({"y": y}) for graph, y in zip(drawn, dealt, strict=True)]


class BareList(View):
    """What the task composes, its list alone (`Task.bare_lists`); training goes through all lengths, one a block.

    Shorter lists end in empty elements. Without them no net that was tried learns the parity of 6 elements, whose first gradient
    is nearly nothing.
    """

    _lists: Sequence[Task] = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        self._lists = self.seen.load().bare_lists()
        self._task = self._lists[-1]

    def at(self, split: Split, block: int) -> Self:
        view = self.model_copy()
        view._task = self._lists[block % len(self._lists) if split == "train" else -1].at(split, block)
        return view

    def show(self, block: Block, rng: torch.Generator) -> Block:
        listed = block.x[:, block.readout_index]
        missing = listed.size(2) // self._length(self._task) * (self.length - self._length(self._task))
        return _edgeless(F.pad(listed, (0, missing)), block.y, block.readout_index.numel())

    @property
    def length(self) -> int:
        """How many elements the longest has."""
        return self._length(self._lists[-1])

    @staticmethod
    def _length(task: Task) -> int:
        return int(task.hops)  # type: ignore[attr-defined]  # `bare_lists` promises it


class Pooled(View):
    """The first graphs of each split, drawn once; a draw takes any of them: for tasks whose graphs are dear to draw."""

    sizes: dict[Split, int]
    _split: Split = PrivateAttr("train")

    def at(self, split: Split, block: int) -> Self:
        view = self.model_copy()
        view._split = split
        return view

    def given(self, split: Split) -> int | None:
        return None

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | Packed:
        pool = self._pool(_shown)
        size = pool.num_graphs if isinstance(pool, Block) else len(pool)
        return pool.take(torch.randint(size, (num_graphs,), generator=rng))

    def _pool(self, drawn: Callable[[str, Split, int], Block | Packed]) -> Block | Packed:
        return drawn(self.seen.model_dump_json(), self._split, self.sizes[self._split])


class Kept(Pooled):
    """The first graphs of each split, drawn once and given as they are, so that all controls of a task see the same."""

    def given(self, split: Split) -> int:
        return self.sizes[split]

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | Packed:
        return self._pool(_kept)


@lru_cache(maxsize=6)  # of a task and one of its twins, each split
def _kept(seen: str, split: Split, size: int) -> Packed:
    return Packed.of(_first(seen, split, size))


@lru_cache(maxsize=3)  # each split, as the control that is being trained sees it
def _shown(seen: str, split: Split, size: int) -> Block | Packed:
    """Sets of as many nodes are a block: without edges they share one topology, and the models of all seeds are stacked."""
    graphs = _first(seen, split, size)
    return Block.from_data_list(graphs) or Packed.of(graphs)


def _first(seen: str, split: Split, size: int) -> list[Data]:
    drawn = blocks(TaskRef.model_validate_json(seen).load(), 0, split, size, BUDGET.batch_size)
    return [graph for block in drawn for graph in graphs_of(block)]


def _counted(first: Tensor, rows: Tensor, count: Tensor) -> Tensor:
    """Return rows that are asked, then others and how often each occurs: [graphs, rows, channels + 1]; one that does not is 0."""
    rows = torch.cat([rows * (count > 0).unsqueeze(2), count.log1p().unsqueeze(2)], dim=2)
    return torch.cat([F.pad(first, (0, 1)), rows], dim=1)


def _asked_first(block: Block, rng: torch.Generator) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the graphs [num_graphs, 1], which of the read-out nodes are asked in each, and these nodes and all others."""
    graph, count = torch.arange(block.num_graphs).unsqueeze(1), block.readout_index.numel()
    asked = torch.arange(count).expand(block.num_graphs, -1)
    if count > MAX_ANSWERS:
        asked = torch.rand(block.num_graphs, count, generator=rng).argsort(dim=1)[:, :MAX_ANSWERS]
    place = torch.ones(block.num_graphs, block.num_nodes, dtype=torch.long)
    place[graph, block.readout_index[asked]] = torch.arange(asked.size(1)) - asked.size(1)
    nodes = place.argsort(dim=1, stable=True)
    return graph, asked, [nodes[:, : asked.size(1)], nodes[:, asked.size(1) :]]


def _edgeless(x: Tensor, y: Tensor, num_readouts: int) -> Block:
    return Block(torch.empty(2, 0, dtype=torch.long), x, y, torch.arange(num_readouts))


class SetReader(Model):
    """Reads the whole set at once, then answers: MLP([x_v | pool of the others and v itself]).

    `mean` is DeepSets (1703.06114): the mean of a two-layer map of each node. `attention` is one head in which queries and
    keys are one linear map, drawn large: equal keys attract from the start, so that looking a key up is learned in some
    hundred steps. With separate maps, as in the set transformer, it was not in 2,000 (16 keys, three learning rates).
    """

    operator, reach, reads_edges = "complete", None, False

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        pool: Literal["attention", "mean"] = "attention",
    ) -> None:
        super().__init__()
        self.global_channel = frozenset({"attention" if pool == "attention" else "pooling"})
        self.value: nn.Module
        self.match: Linear | None = None
        if pool == "attention":
            self.value = Linear(in_channels, hidden_channels)
            self.match = Linear(in_channels, hidden_channels, bias=False)
            nn.init.xavier_uniform_(self.match.weight, gain=4.0)
        else:
            self.value = MLP(in_channels, hidden_channels, hidden_channels)
        self.decoder = MLP(in_channels + hidden_channels, hidden_channels, out_channels)

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        layer = op.layer(0)
        root = layer.root(x)
        if self.match is None:
            read = layer.to_nodes(layer.global_mean(self.value(x).relu()), root)
        else:
            key = self.match(x)
            read = layer.attend_all(layer.root(key), key, self.value(x), 1, None)
        return [x, torch.cat([root, read], dim=-1)]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.decoder(hidden[-1])
        return out


class EdgeReader(Model):
    """Messages along edges, as GIN's (1810.00826), in all but the last layer; then the set of what nodes heard, by its mean."""

    operator, reach, global_channel = "sum", None, frozenset({"pooling"})

    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__()
        widths = [in_channels, *[hidden_channels] * (num_layers - 1)]
        self.rounds = nn.ModuleList(MLP(width, hidden_channels, hidden_channels) for width in widths[:-1])
        self.value = MLP(sum(widths), hidden_channels, hidden_channels)
        self.decoder = MLP(sum(widths) + hidden_channels, hidden_channels, out_channels)

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        heard = [x]
        for index, mlp in enumerate(self.rounds):
            layer, h = op.layer(index), heard[-1]
            heard = [layer.root(one) for one in heard]
            heard.append(mlp(layer.root(h) + layer.sum(h)).relu())
        layer, every = op.layer(len(self.rounds)), torch.cat(heard, dim=-1)
        root = layer.root(every)
        read = layer.to_nodes(layer.global_mean(self.value(every).relu()), root)
        return [x, torch.cat([root, read], dim=-1)]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.decoder(hidden[-1])
        return out


class ListReader(Model):
    """Reads x as a list of `steps` elements, one after another: h <- h + sum_c element_c A_c h, scaled to sqrt(d); then answers.

    Transitions that are dense and depend on the input are what state-space models lack to keep track of a state (2404.08819):
    they can be permutations of as many states as a finite group has elements. A GRU, whose gates act channel by channel, did not
    learn to compose 5 permutations of three things. An empty element leaves h as it is.
    """

    reads_edges = False

    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int, *, steps: int) -> None:
        super().__init__()
        self.steps, self.width = steps, in_channels // steps
        self.start = nn.Parameter(torch.randn(hidden_channels))
        self.maps = Linear(hidden_channels, self.width * hidden_channels, bias=False)
        self.decoder = Linear(hidden_channels, out_channels)

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        root = op.layer(0).root(x)
        h = per_replica(self.start, 1, root).expand(*root.shape[:-1], -1)
        for element in torch.split(root, self.width, dim=-1):
            moved = rearrange(self.maps(h), "... (c d) -> ... c d", c=self.width)
            h = h + (element.unsqueeze(-1) * moved).sum(dim=-2)
            h = F.normalize(h, dim=-1) * h.size(-1) ** 0.5
        return [x, h]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.decoder(hidden[-1])
        return out


EDGE_CONTROLS = {"GIN": ModelRef(ref=ref_of(EdgeReader), settings={}, version=EdgeReader.version)}
SET_CONTROLS = {
    title: ModelRef(ref=ref_of(SetReader), settings={"pool": pool}, version=SetReader.version)
    for title, pool in (("one attention layer", "attention"), ("DeepSets", "mean"))
}


@dataclass(frozen=True)
class Outcome:
    """The best score of some controls over all seeds, and by which of them."""

    score: float
    skill: float
    title: str

    @property
    def solved(self) -> bool:
        return self.skill >= SOLVED


def graph_blind(task: Task) -> Outcome:
    """Return what an MLP on the read-out node's own features, degree and the number of nodes scores; one seed."""
    view = Blind(seen=task_ref(task))
    extent = _extent(view)
    budget = _sized(BLIND_BUDGET, task, extent)
    return _best(_affordable(view, extent, budget), {"MLP": resolve("mlp")}, budget, SEEDS[:1])


def edge_free(task: Task, *, twin: bool = False) -> Outcome:
    """Return what one attention layer, and DeepSets where that does not solve it, score on the set of nodes; three seeds each.

    Sets of more than `MAX_ROWS` nodes are given by their distinct rows where that makes them smaller; else batches shrink.
    Where drawing is what costs (sets given so, graphs drawn one by one) there are fewer and smaller steps, on a pool of graphs.
    Of whole graphs the models answer as all models do, by the mean over nodes. `twin`: whether it is solved is all that is asked.
    """
    if task.level == "graph":
        return _best(Whole(seen=task_ref(task)), SET_CONTROLS, SLOW_BUDGET, SEEDS)
    view = Unordered(seen=task_ref(task))
    return _best_of_sets(view, task, _extent(view), SEEDS, twin)


def of_list(task: Task) -> dict[str, Outcome]:
    """Return what nets score on the bare list that the task composes, by their title: one that reads it in steps, and an MLP."""
    view = BareList(seen=task_ref(task))
    recurrent = ModelRef(ref=ref_of(ListReader), settings={"steps": view.length}, version=ListReader.version)
    nets = {"a recurrent net": recurrent, "an MLP": resolve("mlp")}
    return {title: _best(view, {title: model}, LIST_BUDGET, SEEDS) for title, model in nets.items()}


def by_distance(
    task: Task, radius: int | None = None, *, permuted: bool = False, seeds: Sequence[int] = SEEDS, twin: bool = False
) -> Outcome:
    """Return what the set models of `edge_free` score who are told every node's distance from the read-out node.

    `radius`: of nodes up to there, a ball; `permuted`: the distance along edges drawn anew with degrees kept. True edges say more
    than distances do, so where those do not suffice a net that reads the edges among the nodes tries too. Permuted ones say
    nothing of the answer that x and degrees do not.
    """
    view = Shells(seen=task_ref(task), radius=radius, permuted=permuted)
    extent = _extent(view)
    found = _best_of_sets(view, task, extent, seeds, twin)
    if permuted or radius == 0 or found.solved:
        return found
    ball = Ball(seen=view.seen, radius=radius)
    rounds = ROUNDS if radius is None else min(ROUNDS, radius)
    budget = _sized(SLOW_BUDGET, task, extent)
    read = _best(_affordable(ball, extent, budget), EDGE_CONTROLS, budget, seeds, num_layers=rounds + 1, twin=twin)
    return max(found, read, key=lambda outcome: outcome.skill)


def _best_of_sets(view: Unordered | Shells, task: Task, extent: _Extent, seeds: Sequence[int], twin: bool) -> Outcome:
    """Return what set models score on `view`, of large sets on their distinct rows where these are fewer."""
    rows = 2 * extent.distinct  # room for samples more varied than those looked at
    if extent.nodes > MAX_ROWS and extent.answers + rows < extent.nodes:
        short = type(view)(**{**dict(view), "max_rows": rows})
        return _best(_pooled(short, extent, SLOW_BUDGET), SET_CONTROLS, SLOW_BUDGET, seeds, twin=twin)
    budget = _sized(BUDGET if extent.shared else SLOW_BUDGET, task, extent)
    return _best(_affordable(view, extent, budget), SET_CONTROLS, budget, seeds, twin=twin)


def _affordable(view: View, extent: _Extent, budget: Protocol) -> View:
    """Return `view`, on a pool of graphs where they are drawn one by one."""
    return view if extent.shared else _pooled(view, extent, budget)


def _pooled(view: View, extent: _Extent, budget: Protocol) -> Pooled:
    """Return `view` on a pool of graphs, which all controls see that see them in this way."""
    train = max(LEAST_POOL, min(POOL // extent.answers, budget.batch_size * budget.max_steps // 2))
    sizes: dict[Split, int] = {"train": train, "validation": budget.num_validation, "test": budget.num_test}
    if not extent.shared:
        view = type(view)(**{**dict(view), "seen": task_ref(Kept(seen=view.seen, sizes=sizes))})
    return Pooled(seen=task_ref(view), sizes=sizes)


def _sized(budget: Protocol, task: Task, extent: _Extent) -> Protocol:
    """Return `budget` for graphs as large as the view shows them: as many answers, within bounds."""
    rows, answers = extent.nodes, extent.answers
    share = min(1.0, MAX_ROWS / rows)
    of_large = LEAST_CLASSES if task.loss == "cross_entropy" else LEAST_ERRORS
    least = LEAST_TESTS if rows <= MAX_ROWS else of_large
    tests = budget.num_test if task.loss == "cross_entropy" else 4 * budget.num_test  # squared errors vary more
    sizes = {
        "batch_size": min(budget.batch_size, max(8, int(budget.batch_size * share))),
        "num_validation": max(32, min(budget.num_validation // answers, int(budget.num_validation * share))),
        "num_test": max(least, min(tests // answers, max(512, int(tests * share)))),
    }
    return budget.model_copy(update=sizes)


class _Extent(NamedTuple):
    """The largest numbers among a few graphs of each split."""

    nodes: int
    distinct: int  # rows of x
    answers: int
    shared: bool  # one topology, of the task itself


def _extent(view: View) -> _Extent:
    drawn = [block for split in get_args(Split) for block in blocks(view, 0, split, PROBED, PROBED // 4)]
    graphs = [graph for block in drawn for graph in graphs_of(block)]
    rows = [linear_hash(graph.x) for graph in graphs]
    return _Extent(
        nodes=max(numbers.numel() for numbers in rows),
        distinct=max(torch.unique(numbers).numel() for numbers in rows),
        answers=max(graph.readout_index.numel() for graph in graphs),
        shared=all(isinstance(block, Block) for split in get_args(Split) for block in blocks(view._task, 0, split, 2, 2)),
    )


def _best(
    view: View, models: dict[str, ModelRef], protocol: Protocol, seeds: Sequence[int], *, num_layers: int = 1, twin: bool = False
) -> Outcome:
    """Train the models until one solves the task: one after another, all seeds of each together; of a twin, seed by seed.

    Of a twin only that matters, and mostly the first seed of one of the models does it.
    """
    found: list[Outcome] = []
    for part in [[seed] for seed in seeds] if twin else [list(seeds)]:
        for title, model in models.items():
            settings: dict[str, Any] = {"num_layers": num_layers, "hidden_channels": HIDDEN_CHANNELS, "protocol": protocol}
            cells = [Cell(task=task_ref(view), model=model, seed=seed, **settings) for seed in part]
            trained: list[Trained] = []
            train(cells, trained.append)
            scores = [one.metrics["test"]["score"] for one in trained]
            found += [Outcome(score, view.skill(score), title) for score in scores if score is not None]
            if any(outcome.solved for outcome in found):
                return max(found, key=lambda outcome: outcome.skill)
    return max(found, key=lambda outcome: outcome.skill)

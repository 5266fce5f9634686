"""Transfer: the class planted on the source is asked for at the read-out node.

After the ring transfer of Di Giovanni et al. (2023), arXiv:2302.02941. Different here: every other node carries a
random class too (there: ones, so that the mean of all nodes already shows the answer), samples are fresh (there: five
distinct inputs), topology and distance are two knobs, and the source can be addressed by its position alone, which no
set of nodes without edges can resolve. The published form is `datasets.published.PublishedRingTransfer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.utils import degree

from datasets.chance import commonest_share
from datasets.noise import NoiseField, noise_in_title, with_noise
from datasets.places import one_pair, places
from datasets.ring import Ring
from datasets.topologies import TopologyField
from datasets.twins import WithAnswer, WithSource
from suite.hops import hop_distance
from suite.task import Block, Task, Topology


class Transfer(Task):
    """x = [class, one-hot | address | read-out flag]; the read-out node carries no class, all other nodes one each.

    Addressing by `content`: the source carries a flag; with `crowding` c it carries the key that the read-out node
    shows, and c other nodes, drawn afresh, carry other keys. It measures access: a set of nodes without edges solves
    it.

    Addressing by `position`: the source is what stands `hops` away. `crowding` decoys of the source's degree, drawn
    afresh, carry the same flag at other distances, one at least nearer. Where the graph has room beyond the source,
    decoys there complete the flagged classes to equal counts, and without edges the answer cannot be guessed better
    than 1 / num_classes. Where it has none, classes are iid and `chance` is the share of the commonest. Where the
    source is the only node at its distance no flag is needed: all nodes are decoys.

    `noise` changes neither what can be known nor what can be guessed: less than a half, it leaves a token the one column above a
    half. What it hides are tokens that were averaged with others.
    """

    topology: TopologyField = Ring()
    addressing: Literal["content", "position"] = Field("content", description="how the source is told from other nodes")
    hops: int = Field(5, description="distance from the source to the read-out node")
    num_classes: int = Field(5, ge=2, description="classes of a token")
    crowding: int | None = Field(None, ge=0, description="decoys; none: 0 by content, else as many as balance needs")
    num_keys: int | None = Field(None, ge=2, description="by content: columns of keys; none: as many as are carried")
    flags: bool | None = Field(None, description="by position: flag source and decoys; none: where it is ambiguous")
    noise: NoiseField = 0.0

    @model_validator(mode="after")
    def _fits_its_topology(self) -> Self:
        _layout(self)
        return self

    @property
    def title(self) -> str:
        crowding = "" if self.crowding is None else f", crowding {self.crowding}"
        return f"transfer ({self.addressing}{crowding}{noise_in_title(self.noise)})"

    @property
    def chance(self) -> float:
        """Accuracy of the best guess that knows classes, flags and degrees but no edges (by content: 1 / classes)."""
        if self.addressing == "content" or _layout(self).plan.balanced:
            return 1 / self.num_classes
        return commonest_share(_layout(self).plan.num_alike, self.num_classes)

    @property
    def near_chance(self) -> float:
        """What lies nearer is independent of the answer, whose classes are alike."""
        return 1 / self.out_channels

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        layout = _layout(self)
        plan = layout.plan
        readout, source = layout.readout_index, layout.source_index
        classes = torch.randint(self.num_classes, (num_graphs, layout.num_nodes), generator=rng)
        decoys = [_pick(pool, count, num_graphs, rng) for pool, count in layout.decoys]
        marked = torch.cat([source.expand(num_graphs, 1), *decoys], dim=1)  # [num_graphs, 1 + decoys]
        if plan.balanced:
            _balance(classes, marked, plan.nearer + 1, self.num_classes)
        x = torch.zeros(num_graphs, layout.num_nodes, self.num_classes + plan.num_keys + 1)
        x.scatter_(2, classes.unsqueeze(2), 1)
        x[:, readout, : self.num_classes] = 0  # the node that answers must not know anything
        x[:, :, : self.num_classes] = with_noise(x[:, :, : self.num_classes], self.noise, rng)
        x[:, readout, -1] = 1
        if plan.num_keys:
            keys = torch.rand(num_graphs, plan.num_keys, generator=rng).argsort(dim=1)[:, : marked.size(1)]
            graph = torch.arange(num_graphs).unsqueeze(1)
            x[graph, marked, self.num_classes + keys.expand_as(marked)] = 1
            if plan.num_keys > 1:  # the read-out node shows the key it wants
                x[graph, readout, self.num_classes + keys[:, :1]] = 1
        return Block(layout.edge_index, x, classes[:, source], readout, source)

    def witness(self, block: Block) -> Tensor:
        """Breadth-first search, by position; by content, the token whose key is wanted."""
        num_keys = _layout(self).plan.num_keys
        tokens, keys = block.x[:, :, : self.num_classes], block.x[:, :, self.num_classes : self.num_classes + num_keys]
        if self.addressing == "content":
            wanted = keys[:, block.readout_index] if num_keys > 1 else torch.ones_like(keys[:, :1])
            chosen = (keys * wanted).sum(dim=2)
        else:
            at_hops = hop_distance(block.edge_index, block.readout_index, block.num_nodes) == self.hops  # [1, num_nodes]
            chosen = at_hops * keys[:, :, 0] if num_keys else at_hops.to(tokens.dtype)
        return (chosen.unsqueeze(2) * tokens.round()).sum(dim=1, keepdim=True)

    def answer_twin(self) -> Task:
        return TransferWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        return self if self.addressing == "content" else TransferWithSource(**dict(self))


class TransferWithAnswer(WithAnswer, Transfer):
    """Transfer, the answer written on the read-out node."""


class TransferWithSource(WithSource, Transfer):
    """Transfer, the source marked whatever the addressing."""


class Plan(NamedTuple):
    """What every place of a topology has in common: how many decoys stand where, and what they give away."""

    elsewhere: int  # decoys at any distance (content)
    nearer: int  # decoys nearer than the source, and farther (position)
    farther: int
    balanced: bool  # whether the farther ones complete the classes to equal counts
    num_alike: int  # tokens that classes, flags and degrees do not tell from the source's, its own included
    num_keys: int  # columns of the address


@dataclass(frozen=True)
class Layout:
    """One place of a topology, ready to draw on."""

    plan: Plan
    edge_index: Tensor
    num_nodes: int
    readout_index: Tensor
    source_index: Tensor
    decoys: list[tuple[Tensor, int]]  # nodes to choose from, and how many


class Peers(NamedTuple):
    """Nodes other than the read-out and its source."""

    all: Tensor
    nearer: Tensor  # of the source's degree, nearer to the read-out
    farther: Tensor  # of the source's degree, farther away, the nearest first
    at_hops: int  # how many share the source's distance
    same_degree: int


@lru_cache(maxsize=1024)
def _layout(task: Transfer) -> Layout:
    plan, graph, peers = _plan(task), task.topology.graph(task.hops), _peers(task.topology, task.hops)
    # Only the nearest of the farther nodes: a model that looks beyond `hops` is to see them.
    pools = (peers.all, plan.elsewhere), (peers.nearer, plan.nearer), (peers.farther[: 2 * plan.farther], plan.farther)
    decoys = [(pool, count) for pool, count in pools if count]
    return Layout(plan, graph.edge_index, int(graph.num_nodes or 0), graph.readout_index, graph.source_index, decoys)


@lru_cache(maxsize=1024)
def _peers(topology: Topology, hops: int) -> Peers:
    one_pair(topology, hops, "transfer")
    graph = topology.graph(hops)
    num_nodes, readout, source = int(graph.num_nodes or 0), int(graph.readout_index), int(graph.source_index)
    degrees = degree(graph.edge_index[0], num_nodes)
    distance = hop_distance(graph.edge_index, graph.readout_index, num_nodes)[0]
    other = torch.ones(num_nodes, dtype=torch.bool)
    other[[readout, source]] = False
    alike = other & (degrees == degrees[source])
    farther = (alike & (distance > hops)).nonzero().flatten()
    return Peers(
        all=other.nonzero().flatten(),
        nearer=(alike & (distance < hops)).nonzero().flatten(),
        farther=farther[distance[farther].argsort(stable=True)],
        at_hops=int((other & (distance == hops)).sum()),
        same_degree=int(alike.sum()),
    )


def _plan(task: Transfer) -> Plan:
    """Decide where decoys stand, the same for every place; raises ValueError where the topology has no room."""
    peers = [_peers(topology, task.hops) for topology in places(task.topology)]
    if task.addressing == "content":
        return _by_content(task, peers)
    if task.num_keys is not None:
        raise ValueError(f"num_keys: belongs to addressing by content; by position leave it out, got {task.num_keys}")
    flags = any(p.at_hops for p in peers) if task.flags is None else task.flags
    return _by_flag(task, peers) if flags else _by_distance(task, peers)


def _by_content(task: Transfer, peers: list[Peers]) -> Plan:
    room, crowding = min(p.all.numel() for p in peers), task.crowding or 0
    if crowding > room:
        raise ValueError(f"crowding: must be <= {room}, the nodes beside read-out and source, got {crowding}")
    if task.flags is not None:
        raise ValueError(f"flags: belongs to addressing by position; by content leave it out, got {task.flags}")
    if task.num_keys is not None and task.num_keys <= crowding:
        raise ValueError(f"num_keys: must be > crowding = {crowding}, got {task.num_keys}")
    return Plan(elsewhere=crowding, nearer=0, farther=0, balanced=False, num_alike=1, num_keys=task.num_keys or crowding + 1)


def _by_distance(task: Transfer, peers: list[Peers]) -> Plan:
    several, alike = max(p.at_hops for p in peers), min(p.same_degree for p in peers)
    if several:
        raise ValueError(f"flags: must be true where {several + 1} nodes are {task.hops} hops away, got false")
    if task.crowding is not None:
        raise ValueError(f"crowding: without flags every node is a decoy, leave it out; got {task.crowding}")
    if not alike:
        raise ValueError(_degree_leak(task))
    return Plan(elsewhere=0, nearer=0, farther=0, balanced=False, num_alike=alike + 1, num_keys=0)


def _by_flag(task: Transfer, peers: list[Peers]) -> Plan:
    near, far = min(p.nearer.numel() for p in peers), min(p.farther.numel() for p in peers)
    if not near:
        raise ValueError(_degree_leak(task))
    num_classes = task.num_classes
    # Balance: b nearer decoys and the source are iid, (num_classes - 1)(b + 1) farther ones complete b + 1 of each.
    # Without `crowding` b is 1; without room for balance there are as many decoys, or as many as there are nodes for.
    default = 2 * num_classes - 1 if far >= 2 * (num_classes - 1) else min(2 * num_classes - 1, near + far)
    crowding = default if task.crowding is None else task.crowding
    each, rest = divmod(crowding + 1, num_classes)
    if not rest and 2 <= each <= near + 1 and far >= (num_classes - 1) * each:
        return Plan(0, each - 1, (num_classes - 1) * each, balanced=True, num_alike=crowding + 1, num_keys=1)
    nearer = min(near, crowding - min(far, crowding // 2))
    if not 1 <= nearer <= crowding <= nearer + far:
        room = f"{near} nodes of the source's degree are nearer, {far} farther"
        raise ValueError(f"crowding: must be between 1 and {near + far} ({room}), got {crowding}")
    return Plan(0, nearer, crowding - nearer, balanced=False, num_alike=crowding + 1, num_keys=1)


def _degree_leak(task: Transfer) -> str:
    return (
        f"addressing: by position the source must not be known by its degree, and {task.hops} hops away on a "
        f"{task.topology.kind} it is, since no nearer node has it too; hang pendant nodes on some that are nearer, "
        f"topology = {{ kind = 'decoyed', topology = '{task.topology.kind}' }}, ask farther away, by content, or where the "
        "graph goes on behind the source (`extra` of tree and clique_path), got 'position'"
    )


def _pick(pool: Tensor, count: int, num_graphs: int, rng: torch.Generator) -> Tensor:
    """Draw `count` different nodes of `pool` for each graph, in random order: [num_graphs, count]."""
    return pool[torch.rand(num_graphs, pool.numel(), generator=rng).topk(count, dim=1).indices]


def _balance(classes: Tensor, marked: Tensor, num_free: int, num_classes: int) -> None:
    """Give `marked[:, num_free:]` the classes that make each class occur `num_free` times among all of `marked`."""
    free = classes.gather(1, marked[:, :num_free])
    missing = num_free - F.one_hot(free, num_classes).sum(dim=1)  # [num_graphs, num_classes]
    every = torch.arange(num_classes).repeat(len(free))
    rest = every.repeat_interleave(missing.flatten()).view(len(free), -1)  # sorted; the nodes are in random order
    classes.scatter_(1, marked[:, num_free:], rest)

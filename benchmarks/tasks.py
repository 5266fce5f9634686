"""Tasks that only the benchmarks need: graphs that all differ, and a ring whose size is not tied to the distance."""

from __future__ import annotations

from functools import cache
from typing import Literal

import networkx as nx
import torch
import torch.nn.functional as F
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx, to_undirected

from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Packed, Task, Topology


class SmallWorlds(Task):
    """Transfer on a fixed pool of Watts-Strogatz graphs of 16 to 47 nodes: no two steps see the same mixture.

    Node 0 is asked for the class of a flagged node `hops` away, or as far as the graph goes.
    """

    hops: int = Field(3, ge=1, description="distance to the flagged node at most")
    num_classes: int = Field(5, ge=2)
    pool: int = Field(512, ge=1, description="graphs in all, drawn with replacement")

    @property
    def range(self) -> None:
        return None

    def draw(self, num_graphs: int, rng: torch.Generator) -> Packed:
        return _pool(self).take(torch.randint(self.pool, (num_graphs,), generator=rng))


@cache
def _pool(task: SmallWorlds) -> Packed:
    rng = stream(task.config(), "pool")
    return Packed.of([_small_world(task, 16 + i % 32, i, rng) for i in range(task.pool)])


def _small_world(task: SmallWorlds, num_nodes: int, seed: int, rng: torch.Generator) -> Data:
    edge_index = from_networkx(nx.connected_watts_strogatz_graph(num_nodes, 4, 0.2, seed=seed)).edge_index
    readout = torch.tensor([0])
    hops = hop_distance(edge_index, readout, num_nodes)[0]
    source = (hops == min(task.hops, int(hops.max()))).nonzero()[0]
    classes = torch.randint(task.num_classes, (num_nodes,), generator=rng)
    x = torch.zeros(num_nodes, task.num_classes + 2)
    x[:, : task.num_classes] = F.one_hot(classes, task.num_classes)
    x[readout, : task.num_classes] = 0
    x[source, -2] = x[readout, -1] = 1
    return Data(x=x, edge_index=edge_index, y=classes[source], readout_index=readout, source_index=source)


class Circle(Topology):
    """A cycle of `size` nodes, the source `hops` along it: the graph grows and the distance stays."""

    kind: Literal["circle"] = "circle"
    size: int = Field(64, ge=4)

    def build(self, hops: int) -> Data:
        node = torch.arange(self.size)
        edge_index = to_undirected(torch.stack([node, node.roll(-1)]))  # [2, 2 * size]
        readout, source = torch.tensor([0]), torch.tensor([hops])
        return Data(edge_index=edge_index, num_nodes=self.size, readout_index=readout, source_index=source)

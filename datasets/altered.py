"""Another topology, altered so that no distance from the read-out changes: with more nodes, or with noise edges.

`Padded` makes rings, trees and clique paths of one distance as large as each other, in nodes and in edges; `Noisy` asks whether a
finding lives on one regular graph; `Decoyed` hides a source that its degree would give away.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import BeforeValidator, Field, PlainSerializer
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree, to_undirected

from datasets.ring import Ring
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Split, Topology


def _read(value: Any) -> Topology:
    from datasets.topologies import read_topology  # here: the table names these as well

    return read_topology(value)


def _write(topology: Topology) -> dict[str, Any]:
    from datasets.topologies import write_topology

    return write_topology(topology)


OtherTopology = Annotated[Topology, BeforeValidator(_read), PlainSerializer(_write)]  # a field of a topology made of another


class Altered(Topology):
    """Base: a topology with one more field, the one that is altered."""

    topology: OtherTopology = Ring()

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"topology": self.topology.at(split, block)})


class Padded(Altered):
    """`topology` with a path behind its read-out, so that there are `num_nodes` nodes; degrees but the read-out's stay.

    With `num_edges` the path's nodes are joined to one another besides, those two apart first, from its far end on, so that there
    are as many edges in all: a path alone leaves a ring, a tree and a clique path of one size with unlike numbers of them.

    Raises ValueError where the topology has more nodes already, or not so many edges can be had.
    """

    kind: Literal["padded"] = "padded"
    num_nodes: int = Field(64, ge=1, description="nodes in all")
    num_edges: int | None = Field(None, ge=0, description="edges in all; none: as many as a path makes")

    def build(self, hops: int) -> Data:
        graph = self.topology.graph(hops)
        size = int(graph.num_nodes or 0)
        if self.num_nodes < size:
            raise ValueError(
                f"num_nodes: must be >= {size}, what this {self.topology.kind} has at {hops} hops, got {self.num_nodes}"
            )
        path = torch.cat([graph.readout_index[:1], torch.arange(size, self.num_nodes)])
        edges = torch.stack([path[:-1], path[1:]])
        least, behind = graph.num_edges // 2 + edges.size(1), path[1:]
        chords = [torch.stack([behind[:-gap], behind[gap:]]).flip(1) for gap in range(2, behind.numel())]
        chord = torch.cat([*chords, edges[:, :0]], dim=1)
        if self.num_edges is not None and not least <= self.num_edges <= least + chord.size(1):
            raise ValueError(
                f"num_edges: must be >= {least} and <= {least + chord.size(1)}, what a path of {behind.numel()} nodes behind this"
                f" {self.topology.kind} can have at {hops} hops, got {self.num_edges}"
            )
        more = 0 if self.num_edges is None else self.num_edges - least
        return _joined(graph, torch.cat([edges, chord[:, :more]], dim=1), self.num_nodes)


class Noisy(Altered):
    """`topology` with `num_edges` more edges, between nodes whose distances to the read-out differ by one at most.

    Raises ValueError where there are several read-outs, or not as many pairs that could be joined.
    """

    kind: Literal["noisy"] = "noisy"
    num_edges: int = Field(4, ge=0, description="edges that are added")
    seed: int = Field(0, ge=0, description="which of the pairs are joined")

    def build(self, hops: int) -> Data:
        graph, size = self.topology.graph(hops), _size_of_one_pair(self.topology, hops)
        distance = hop_distance(graph.edge_index, graph.readout_index, size)[0]
        near = (distance[:, None] - distance).abs() <= 1
        near[graph.edge_index[0], graph.edge_index[1]] = False
        pairs = near.triu(1).nonzero()
        if len(pairs) < self.num_edges:
            raise ValueError(
                f"num_edges: must be <= {len(pairs)}, the pairs of this {self.topology.kind} at {hops} hops that leave distances"
                f" as they are, got {self.num_edges}"
            )
        chosen = torch.randperm(len(pairs), generator=stream("noise", self.seed, size))[: self.num_edges]
        return _joined(graph, pairs[chosen].T, size)


class Decoyed(Altered):
    """`topology` with pendant nodes, so that `decoys` nodes at each distance before the source, or all there, have its degree.

    Of a theta, a layered graph or a crossed ring the source has a degree of its own, by which a set of nodes without edges knows
    it. A pendant node raises one degree by one and leads nowhere: distances, cuts and resistances between nodes of `topology`
    stay. The degree is the least that does, and the source has pendants too where it is larger than its own.

    Raises ValueError where there are several read-outs.
    """

    kind: Literal["decoyed"] = "decoyed"
    min_hops: ClassVar[int] = 2  # one hop away there is nobody nearer
    decoys: int = Field(2, ge=1, description="nodes at each distance before the source that have its degree, or all there are")

    def build(self, hops: int) -> Data:
        graph, size = self.topology.graph(hops), _size_of_one_pair(self.topology, hops)
        degrees = degree(graph.edge_index[0], size, torch.long)
        distance = hop_distance(graph.edge_index, graph.readout_index, size)[0]
        levels = [(distance == hop).nonzero().flatten() for hop in range(1, hops)]
        reached = [degrees[level].sort().values[: self.decoys][-1] for level in levels]
        shared = torch.stack([*reached, degrees[graph.source_index[0]]]).max()
        alike = [level[degrees[level] <= shared] for level in levels]
        raised = [level[degrees[level].argsort(descending=True, stable=True)][: self.decoys] for level in alike]
        nodes = torch.cat([*raised, graph.source_index])
        holders = nodes.repeat_interleave(shared - degrees[nodes])  # once for each pendant
        pendants = torch.arange(size, size + holders.numel())
        return _joined(graph, torch.stack([holders, pendants]), size + holders.numel())


def _size_of_one_pair(topology: Topology, hops: int) -> int:
    """Return the number of nodes; raises ValueError where there are several read-outs."""
    graph = topology.graph(hops)
    if graph.readout_index.numel() != 1:
        raise ValueError(f"topology: must have one read-out, this {topology.kind} has {graph.readout_index.numel()}")
    return int(graph.num_nodes or 0)


def _joined(graph: Data, edges: Tensor, num_nodes: int) -> Data:
    """Return `graph` with `num_nodes` nodes and more edges [2, num_edges], each listed one way."""
    edge_index = to_undirected(torch.cat([graph.edge_index, edges], dim=1))
    places = {"readout_index": graph.readout_index, "source_index": graph.source_index}
    return Data(edge_index=edge_index, num_nodes=num_nodes, **places)

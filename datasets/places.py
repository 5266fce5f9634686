"""Where a topology asks: what tasks that stand on any topology have in common."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from suite.hops import hop_distance
from suite.task import Split, Topology


def places(topology: Topology) -> list[Topology]:
    """Return the topology as blocks see it: once for a synthetic family, place by place for a network."""
    return list(dict.fromkeys(topology.at(split, block) for split in get_args(Split) for block in range(16)))


def one_pair(topology: Topology, hops: int, task: str) -> None:
    """Raise ValueError where `topology` asks at several nodes."""
    count = topology.graph(hops).readout_index.numel()
    if count != 1:
        raise ValueError(f"topology: {task} asks at one node, this {topology.kind} has {count}")


def has_size(topology: Topology, size: int) -> None:
    """Raise ValueError where a topology cannot be built with `size` for its hops, for tasks that are at no distance."""
    try:
        topology.graph(size)
    except ValueError as error:
        raise ValueError(f"size: taken as the topology's hops; {error}") from None


def shell(topology: Topology, hops: int) -> Tensor:
    """Return the nodes `hops` away from the read-out, in order: [num]."""
    graph = topology.graph(hops)
    return (hop_distance(graph.edge_index, graph.readout_index, int(graph.num_nodes or 0))[0] == hops).nonzero().flatten()

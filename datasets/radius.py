"""Graphs of few hops and large load: labelled nodes, centres that all labels pass, and nodes that ask.

A - c - B     load 3, one centre c: A 0 ... 2, c 3, B 4 ... 6; at one hop the centre asks, and there are no B
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import to_undirected


class RadiusGraph(NamedTuple):
    """`load` labelled nodes, then the centres, then what stands on private paths, then those who ask."""

    edge_index: Tensor  # [2, num_edges]
    num_nodes: int
    labelled: Tensor  # [load]
    asked: Tensor  # [load], or [1] at one hop


@lru_cache(maxsize=256)
def radius_edges(hops: int, load: int, centres: int, private: bool = False) -> RadiusGraph:
    """Return the graph; `private` puts a node between the i-th labelled and the i-th asking one, beside the centres.

    Raises ValueError for another number of centres than 1, or private paths, at one hop.
    """
    if hops == 1 and (centres != 1 or private):
        raise ValueError(f"centres: must be 1 at one hop, without private paths; got {centres}")
    labelled, centre = torch.arange(load), load + torch.arange(centres)
    start = load + centres
    if hops == 1:
        return RadiusGraph(to_undirected(torch.stack([labelled, centre.expand(load)])), start, labelled, centre)
    between = start + labelled[: load * private]
    asked = start + between.numel() + labelled
    ways = [torch.cartesian_prod(nodes, centre).T for nodes in (labelled, asked)]
    ways += [torch.stack([nodes[: between.numel()], between]) for nodes in (labelled, asked)]
    return RadiusGraph(to_undirected(torch.cat(ways, dim=1)), int(asked[-1]) + 1, labelled, asked)

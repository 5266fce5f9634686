"""Local eccentricity: how far, along the edges, is the farthest node within so many hops? On real networks, in equal classes.

After City-Networks (Liang et al., 2025, arXiv:2503.09008), whose cities `LabelledGraph` reads where they are to be had. Different
here: roads, power lines and water pipes that are in the package; an edge is as long as its ends are apart; equal lengths are one
class, which may so be larger than another; half of the nodes train, where there a tenth does.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from datasets.network import adjacency, distances, known_network, own_nodes, positions
from suite.task import Block, Split, Task

DIGITS = 9  # of a length over the mean length of an edge: sums along two ways differ by rounding


class LocalEccentricity(Task):
    """x = [position, 2 | mean length of the node's edges], y = the class of its eccentricity, of `num_classes` quantiles.

    The eccentricity of a node is the length of the shortest way to the farthest node within `hops`, on ways that do not leave
    these. One graph whose splits are nodes: half of all for training, a quarter each for the others. Positions are centred and
    have variance 1, lengths are over their mean. Classes of near nodes are much alike, so that a position says a lot.

    Raises ValueError where equal eccentricities leave a class empty.
    """

    fixed: ClassVar[bool] = True
    name: str = Field("minnesota_road", description="as of the topology `network`")
    hops: int = Field(16, ge=1, le=256, description="how far away nodes count")
    num_classes: int = Field(10, ge=2, le=100, description="quantiles")
    split: Split = Field("train", description="whose nodes are asked; set by `at`")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return known_network(name)

    @model_validator(mode="after")
    def _every_class_occurs(self) -> Self:
        found = int((self._classes().bincount() > 0).sum())
        if found < self.num_classes:
            raise ValueError(f"num_classes: must be fewer on {self.name}, {found} of {self.num_classes} quantiles differ")
        return self

    @property
    def title(self) -> str:
        return f"local eccentricity ({self.name}, {self.hops} hops)"

    @property
    def range(self) -> None:
        """The farthest node is up to `hops` away, another number of them for each node."""
        return None

    @property
    def chance(self) -> float:
        """The share of the largest class."""
        return float(self._classes().bincount().max()) / len(self._classes())

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"split": split})

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        """Return the graph, the same at every draw."""
        asked = own_nodes(self.name, self.split).sort().values
        graph = _graph(self.name)
        y = self._classes()[asked]
        return Block(graph.edge_index, graph.x.expand(num_graphs, -1, -1), y.expand(num_graphs, -1), asked)

    def _classes(self) -> Tensor:
        """Return the class of every node: [num_nodes] long."""
        value = eccentricities(self.name, self.hops)
        bounds = np.quantile(value, np.arange(1, self.num_classes) / self.num_classes, method="higher")
        return torch.from_numpy(np.searchsorted(bounds, value, side="right"))


class _Graph(NamedTuple):
    edge_index: Tensor  # [2, num_edges]
    x: Tensor  # [num_nodes, 3]
    length: NDArray[np.float64]  # [num_edges] over their mean


@cache
def _graph(name: str) -> _Graph:
    place, edges = positions(name), adjacency(name).tocoo()
    length = np.linalg.norm(place[edges.row] - place[edges.col], axis=1)
    length /= length.mean()
    own = np.bincount(edges.row, length) / np.bincount(edges.row)
    centred = place - place.mean(0)
    x = np.concatenate([centred / np.sqrt(np.square(centred).mean()), own[:, None]], axis=1)
    edge_index = np.stack([edges.row, edges.col]).astype(np.int64)
    return _Graph(torch.from_numpy(edge_index), torch.from_numpy(x).float(), length)


@lru_cache(maxsize=32)
def eccentricities(name: str, hops: int) -> NDArray[np.float64]:
    """Return each node's largest distance to a node within `hops`, on the graph of these: [num_nodes], 1 = the mean edge."""
    weighted = adjacency(name).tocsr(copy=True)
    weighted.data = _graph(name).length  # in the order of its own edges; an edge of length 0 stays one
    found = np.zeros(weighted.shape[0])
    for node, row in enumerate(distances(name)):
        within = np.flatnonzero(row <= hops)
        found[node] = dijkstra(weighted[within][:, within], indices=np.searchsorted(within, [node])).max()
    return found.round(DIGITS)

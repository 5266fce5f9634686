"""Real networks: roads, power grids, water pipes. Long shortest paths, bridges, and a tiny spectral gap.

                o   o - o
                |   |
    read-out  v - o - o - o - u  source
              |       |
              o - o   o - o

Only the topology is real. Each block of samples asks at one *place*: a read-out node with a source exactly `hops` away.
Places lie far apart, and training, validation and test have places of their own on the one graph (transductive: tokens
are fresh, the graph is not). Files and licences: `networks/README.md`.
"""

from functools import cache
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, shortest_path
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import from_scipy_sparse_matrix

from suite.refs import unknown
from suite.rng import stream
from suite.task import Split, Topology

FOLDER = Path(__file__).parent / "networks"
NETWORKS = ("ieee_lv_feeder", "ky10_water", "ky4_water", "minnesota_road", "pegase2869_grid", "schutterwald_lv_grid")
PLACES: tuple[Split, ...] = ("train", "test", "train", "validation")  # whose turn it is, place by place
GEOGRAPHIC = ("minnesota_road", "schutterwald_lv_grid")  # positions are degrees of longitude and latitude
MAX_PLACES = 32
MIN_PLACES = 8  # taken even where their balls overlap


class Network(Topology):
    """The largest component of a real network, whole; the number of nodes does not depend on `hops`.

    A read-out node has two nodes at least at `hops`; its source is the first of them with the network's commonest
    degree, so that decoys of the same degree can be found; one such node at least is nearer. There are 8 to 32 places,
    as many as keep balls of radius `hops` disjoint; where not even 8 balls fit, their centres are as far apart as a
    greedy search makes them.
    """

    kind: Literal["network"] = "network"
    name: str = Field("minnesota_road", description=", ".join(NETWORKS))
    split: Split = Field("train", description="whose places to ask at; set by `at`")
    block: int = Field(0, ge=0, description="which of the places; set by `at`")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return known_network(name)

    def at(self, split: Split, block: int) -> Self:
        turns = MAX_PLACES // len(PLACES) * PLACES.count(split)
        return self.model_copy(update={"split": split, "block": block % turns})

    def build(self, hops: int) -> Data:
        mine = [place for i, place in enumerate(_places(self.name, hops)) if PLACES[i % len(PLACES)] == self.split]
        readout, source = mine[self.block % len(mine)]
        edge_index, num_nodes = _edges(self.name)
        return Data(
            edge_index=edge_index,
            num_nodes=num_nodes,
            readout_index=torch.tensor([readout]),
            source_index=torch.tensor([source]),
        )


def known_network(name: str) -> str:
    """Return `name`; raises ValueError where no network has it."""
    if name not in NETWORKS:
        raise ValueError(unknown("network", name, NETWORKS))
    return name


@cache
def own_nodes(name: str, split: Split) -> Tensor:
    """Return the nodes of a split, half of all for training and a quarter each for the others, in random order: [num]."""
    order = torch.randperm(adjacency(name).shape[0], generator=stream("nodes", name))
    return order[[PLACES[i % len(PLACES)] == split for i in range(len(order))]]


@cache
def adjacency(name: str) -> csr_array:
    """Return the adjacency matrix of the largest component, its nodes in the order of the file."""
    return _largest_component(name)[1]


@cache
def positions(name: str) -> NDArray[np.float64]:
    """Return where the nodes of the largest component are, in a plane, in a unit of the file's own: [num_nodes, 2]."""
    place = np.genfromtxt(FOLDER / name / "nodes.csv", delimiter=",", skip_header=1)[_largest_component(name)[0], 1:]
    if name in GEOGRAPHIC:
        place[:, 0] *= np.cos(np.radians(place[:, 1].mean()))  # meridians come together towards the poles
    return place


@cache
def _largest_component(name: str) -> tuple[NDArray[np.int64], csr_array]:
    """Return the numbers of its nodes in the file, in order, and its adjacency matrix."""
    pairs = np.loadtxt(FOLDER / name / "edges.csv", delimiter=",", skiprows=1, dtype=np.int64)
    num_nodes = len((FOLDER / name / "nodes.csv").read_text().splitlines()) - 1
    directed = coo_array((np.ones(len(pairs)), pairs.T), shape=(num_nodes, num_nodes)).tocsr()
    component = connected_components(directed, directed=False)[1]
    kept = np.flatnonzero(component == np.bincount(component).argmax())
    return kept, csr_array(((directed + directed.T) > 0)[kept][:, kept].astype(float))


@cache
def _edges(name: str) -> tuple[Tensor, int]:
    matrix = adjacency(name)
    return from_scipy_sparse_matrix(matrix)[0], matrix.shape[0]


@cache
def distances(name: str) -> NDArray[np.int16]:
    """Return the hops between all pairs of nodes: a second for the largest network, 16 MB."""
    found: NDArray[np.int16] = shortest_path(adjacency(name), method="D", unweighted=True).astype(np.int16)
    return found


@cache
def _places(name: str, hops: int) -> tuple[tuple[int, int], ...]:
    """Return (read-out, source) of every place, those of one split at every `len(PLACES)`-th or second position."""
    can_ask, source = _candidates(name, hops)
    if can_ask.sum() < MIN_PLACES:
        offered = [h for h in range(1, int(distances(name).max()) + 1) if _candidates(name, h)[0].sum() >= MIN_PLACES]
        raise ValueError(f"hops: {name} has too few places to ask {hops} hops away; it offers {_ranges(offered)}")
    order = torch.randperm(can_ask.size, generator=stream("places", name)).numpy()
    order = order[can_ask[order]]
    for apart in range(2 * hops + 1, 0, -1):  # 2 * hops + 1: the balls do not even touch
        chosen = _far_apart(distances(name), order, apart)
        if len(chosen) >= MIN_PLACES:
            break
    return tuple((v, int(source[v])) for v in chosen)


def _candidates(name: str, hops: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which nodes can be asked at, and the source each would have: [num_nodes] both."""
    distance = distances(name)
    degree = np.diff(adjacency(name).indptr)
    common = degree == np.bincount(degree).argmax()
    shell = distance == hops
    can_ask = (shell.sum(axis=1) >= 2) & (shell & common).any(axis=1)
    if hops > 1:
        can_ask &= ((distance > 0) & (distance < hops) & common).any(axis=1)
    return can_ask, (shell & common).argmax(axis=1)


def _far_apart(distance: NDArray[np.int16], order: NDArray[np.int64], apart: int) -> list[int]:
    """Take nodes in `order`, each at least `apart` hops from all taken before, until there are `MAX_PLACES`."""
    chosen: list[int] = []
    free = np.ones(len(distance), dtype=bool)
    for node in order.tolist():
        if free[node] and len(chosen) < MAX_PLACES:
            chosen.append(node)
            free &= distance[node] >= apart
    return chosen


def _ranges(numbers: list[int]) -> str:
    """Write [1, 2, 3, 7] as '1 to 3, 7'."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs)

"""Pieces of real networks: what lies around a random node, so many nodes of it."""

from typing import Literal, Self, get_args

import networkx as nx
import torch
from pydantic import Field, model_validator
from torch_geometric.data import Data

from datasets.network import adjacency, distances, known_network, own_nodes
from datasets.sampled import Sampled
from suite.task import Split


class Subnetwork(Sampled):
    """The `num_nodes` nodes nearest to a random node of a real network, with the edges among them.

    Training, validation and test have centres of their own; pieces around near centres overlap: another network in the test, as
    of `Extrapolated`, holds the structure out. Raises ValueError for networks that have fewer nodes.
    """

    kind: Literal["subnetwork"] = "subnetwork"
    name: str = Field("minnesota_road", description="as of `network`")
    num_nodes: int = Field(64, ge=8)
    split: Split = Field("train", description="whose centres; set by `at`")

    @model_validator(mode="after")
    def _network_is_large_enough(self) -> Self:
        size = adjacency(known_network(self.name)).shape[0]
        if self.num_nodes > size:
            raise ValueError(f"num_nodes: must be <= {size} on {self.name}, got {self.num_nodes}")
        return self

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"split": split})

    def build(self, hops: int) -> Data:
        of_splits = {split: self.at(split, 0) for split in get_args(Split)}
        built = {split: super(Subnetwork, piece).build(hops) for split, piece in of_splits.items()}  # what one lacks all refuse
        return built[self.split]

    def sampled(self) -> nx.Graph:
        centres = own_nodes(self.name, self.split)
        centre = int(centres[torch.randint(centres.numel(), (), generator=self.rng())])
        kept = distances(self.name)[centre].argsort(kind="stable")[: self.num_nodes]  # with each a nearer neighbour
        return nx.from_scipy_sparse_array(adjacency(self.name)[kept][:, kept])

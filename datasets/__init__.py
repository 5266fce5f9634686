"""Graphs and questions: topologies and tasks (one a file), published tasks as they were published, real networks.

Adding one: its module, its entry below (a topology's in `datasets/topologies.py`), its test of facts worked out by
hand.
Someone else's needs no entry: `path/to/file.py:Name` or `package.module:Name` names it.
"""

from datasets.cycles import CycleOrTwo, SameCycle
from datasets.distances import Distances
from datasets.known_range import KnownRange
from datasets.mean_exchange import MeanExchange
from datasets.neighbors_match import NeighborsMatch
from datasets.own_token import OwnToken
from datasets.planetoid import Planetoid
from datasets.published import PublishedNeighborsMatch, PublishedRingTransfer
from datasets.topologies import TOPOLOGIES
from datasets.transfer import Transfer
from suite.task import Task

TASKS: dict[str, type[Task]] = {
    "cycle_or_two": CycleOrTwo,
    "distances": Distances,
    "known_range": KnownRange,
    "mean_exchange": MeanExchange,
    "neighbors_match": NeighborsMatch,
    "own_token": OwnToken,
    "planetoid": Planetoid,
    "published_neighbors_match": PublishedNeighborsMatch,
    "published_ring_transfer": PublishedRingTransfer,
    "same_cycle": SameCycle,
    "transfer": Transfer,
}

__all__ = ["TASKS", "TOPOLOGIES"]

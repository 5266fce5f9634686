"""Graphs and questions: topologies and tasks (one a file), published tasks as they were published, real networks.

Adding one: its module, its entry below (a topology's in `datasets/topologies.py`), its test of facts worked out by
hand.
Someone else's needs no entry: `path/to/file.py:Name` or `package.module:Name` names it.
"""

from datasets.addressed_leaf import AddressedLeaf
from datasets.colour_islands import ColourIslands
from datasets.contextual_sbm import ContextualSBM
from datasets.cycles import CycleOrTwo, SameCycle
from datasets.decoy_chains import DecoyChains
from datasets.distances import Distances
from datasets.graph_transfer import GraphTransfer
from datasets.known_range import KnownRange
from datasets.labelled import LabelledGraph
from datasets.labelled_graphs import GraphClasses, Molecules, Peptides
from datasets.local_eccentricity import LocalEccentricity
from datasets.mean_exchange import MeanExchange
from datasets.mixed_transfer import MixedTransfer
from datasets.neighbors_match import NeighborsMatch
from datasets.ordered_path import OrderedPath, OrderedTokens
from datasets.own_token import OwnToken
from datasets.pair_mixing import PairMixing
from datasets.planetoid import Planetoid
from datasets.proximity import Proximity
from datasets.published import (
    PublishedCitationChains,
    PublishedCliqueMatch,
    PublishedDecoyChains,
    PublishedDistances,
    PublishedGraphTransfer,
    PublishedMeanExchange,
    PublishedNeighborsMatch,
    PublishedPairMixing,
    PublishedRingLookup,
    PublishedRingTransfer,
    PublishedTreeTransfer,
    PublishedTwoRadius,
)
from datasets.signals import Signals
from datasets.topologies import TOPOLOGIES
from datasets.transfer import Transfer
from datasets.two_radius import TwoRadius
from suite.task import Task

TASKS: dict[str, type[Task]] = {
    "addressed_leaf": AddressedLeaf,
    "colour_islands": ColourIslands,
    "contextual_sbm": ContextualSBM,
    "cycle_or_two": CycleOrTwo,
    "decoy_chains": DecoyChains,
    "distances": Distances,
    "graph_classes": GraphClasses,
    "graph_transfer": GraphTransfer,
    "known_range": KnownRange,
    "labelled_graph": LabelledGraph,
    "local_eccentricity": LocalEccentricity,
    "mean_exchange": MeanExchange,
    "mixed_transfer": MixedTransfer,
    "neighbors_match": NeighborsMatch,
    "ordered_path": OrderedPath,
    "ordered_tokens": OrderedTokens,
    "own_token": OwnToken,
    "pair_mixing": PairMixing,
    "peptides": Peptides,
    "molecules": Molecules,
    "planetoid": Planetoid,
    "proximity": Proximity,
    "published_citation_chains": PublishedCitationChains,
    "published_clique_match": PublishedCliqueMatch,
    "published_decoy_chains": PublishedDecoyChains,
    "published_distances": PublishedDistances,
    "published_graph_transfer": PublishedGraphTransfer,
    "published_mean_exchange": PublishedMeanExchange,
    "published_neighbors_match": PublishedNeighborsMatch,
    "published_pair_mixing": PublishedPairMixing,
    "published_ring_lookup": PublishedRingLookup,
    "published_ring_transfer": PublishedRingTransfer,
    "published_tree_transfer": PublishedTreeTransfer,
    "published_two_radius": PublishedTwoRadius,
    "same_cycle": SameCycle,
    "signals": Signals,
    "transfer": Transfer,
    "two_radius": TwoRadius,
}

__all__ = ["TASKS", "TOPOLOGIES"]

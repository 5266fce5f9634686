"""Published tasks as they were published, flaws included: for reproductions, never pooled with the tasks they inspired.

All use finite sets. A block draws from its set with replacement; the set itself depends on the task's fields alone.
"""

from datasets.published.base import Published
from datasets.published.citation_chains import PublishedCitationChains
from datasets.published.clique_match import PublishedCliqueMatch
from datasets.published.decoy_chains import PublishedDecoyChains
from datasets.published.distances import PublishedDistances
from datasets.published.graph_transfer import PublishedGraphTransfer
from datasets.published.mean_exchange import PublishedMeanExchange
from datasets.published.neighbors_match import PublishedNeighborsMatch
from datasets.published.pair_mixing import PublishedPairMixing
from datasets.published.ring_lookup import PublishedRingLookup
from datasets.published.ring_transfer import PublishedRingTransfer, PublishedTreeTransfer
from datasets.published.two_radius import PublishedTwoRadius

__all__ = [
    "Published",
    "PublishedCitationChains",
    "PublishedCliqueMatch",
    "PublishedDecoyChains",
    "PublishedDistances",
    "PublishedGraphTransfer",
    "PublishedMeanExchange",
    "PublishedNeighborsMatch",
    "PublishedPairMixing",
    "PublishedRingLookup",
    "PublishedRingTransfer",
    "PublishedTreeTransfer",
    "PublishedTwoRadius",
]

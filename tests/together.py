"""What goes with what: models, tasks, mitigations, encodings and rewirings, and a pairwise covering array of them."""

from functools import cache
from itertools import combinations, product
from typing import Any

import networkx as nx
import torch
from covertable import make
from test_measures_contract import OneGraph, Strange
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from datasets.addressed_leaf import AddressedLeaf
from datasets.barbell import Barbell
from datasets.clique import Clique
from datasets.clique_path import CliquePath
from datasets.colour_islands import ColourIslands
from datasets.contextual_sbm import ContextualSBM
from datasets.crossed_ring import CrossedRing
from datasets.cycles import CycleOrTwo, SameCycle
from datasets.decoy_chains import DecoyChains
from datasets.distances import Distances
from datasets.graph_transfer import GraphTransfer
from datasets.known_range import KnownRange
from datasets.labelled_graphs import GraphClasses, Molecules, Peptides
from datasets.mean_exchange import MeanExchange
from datasets.mixed_transfer import MixedTransfer
from datasets.neighbors_match import NeighborsMatch
from datasets.network import Network
from datasets.ordered_path import OrderedPath, OrderedTokens
from datasets.own_token import OwnToken
from datasets.pair_mixing import PairMixing
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
from datasets.random_tree import RandomTree
from datasets.ring import Ring
from datasets.signals import Signals
from datasets.theta import Theta
from datasets.torus import Torus
from datasets.transfer import Transfer
from datasets.tree import Tree
from datasets.two_radius import TwoRadius
from suite.factors import combine, refusal
from suite.models import MODELS, build, resolve
from suite.models.attentions import PAIR_BIASES
from suite.models.node_encodings import NODE_ENCODINGS
from suite.models.rewirings import REWIRINGS
from suite.rng import stream
from suite.task import Packed, Split, Task


class MadeUpClasses(GraphClasses):
    """Classes of whole graphs that no file holds."""

    def _graphs(self, split: Split) -> Packed:
        return Packed.of([Data(y=torch.tensor([i % self.out_channels]), **one) for i, one in enumerate(_made_up(split))])


class MadeUpPeptides(Peptides):
    """Several answers about whole graphs that no file holds."""

    def _graphs(self, split: Split) -> Packed:
        rng = stream("answers", split)
        answers = torch.rand(NUM_MADE_UP, 1, self.out_channels, generator=rng)
        answers = (answers < 0.5).float() if self.target == "func" else answers
        return Packed.of([Data(y=y, **one) for y, one in zip(answers, _made_up(split), strict=True)])


class MadeUpMolecules(Molecules):
    """A number about whole graphs that no file holds."""

    def _graphs(self, split: Split) -> Packed:
        answers = torch.rand(NUM_MADE_UP, 1, generator=stream("answers", split))
        return Packed.of([Data(y=y, **one) for y, one in zip(answers, _made_up(split), strict=True)])


NUM_MADE_UP = 20


def _made_up(split: Split) -> list[dict[str, Any]]:
    """Return connected graphs of 5 to 9 nodes: a tree and an edge."""
    rng, found = stream("made up", split), []
    for seed in range(NUM_MADE_UP):
        size = 5 + seed % 5
        tree = nx.random_labeled_tree(size, seed=seed)
        tree.add_edge(*torch.randperm(size, generator=rng)[:2].tolist())
        edges = to_undirected(torch.tensor(list(tree.edges)).T)
        found.append({"x": torch.randn(size, 6, generator=rng), "edge_index": edges})
    return found


TASKS: dict[str, Task] = {
    **{f"transfer on a {kind.__name__}": Transfer(topology=kind(), hops=3) for kind in (Ring, CrossedRing, CliquePath, Tree)},
    "transfer on a theta, one path open": Transfer(topology=Theta(paths=3, open_paths=1), hops=4),
    "transfer by position": Transfer(topology=Barbell(), hops=4, addressing="position"),
    "transfer on a network": Transfer(topology=Network(name="ieee_lv_feeder"), hops=3),
    "mixed transfer": MixedTransfer(hops=3, size=4),
    "own token": OwnToken(topology=Clique(), size=1),
    "mean exchange": MeanExchange(hops=3),
    "published mean exchange": PublishedMeanExchange(size=4),
    "pair mixing": PairMixing(hops=3),
    "published pair mixing": PublishedPairMixing(hops=3),
    "addressed leaf": AddressedLeaf(hops=2),
    "NeighborsMatch": NeighborsMatch(hops=2),
    "published NeighborsMatch": PublishedNeighborsMatch(hops=2),
    "published ring transfer": PublishedRingTransfer(hops=3),
    "published tree transfer": PublishedTreeTransfer(hops=2),
    "published clique match": PublishedCliqueMatch(),
    "published ring lookup": PublishedRingLookup(radius=3),
    "ordered path": OrderedPath(hops=3),
    "ordered tokens": OrderedTokens(hops=2),
    "proximity": Proximity(hops=2),
    "directed decoy chains": DecoyChains(hops=2, directed=True),
    "two-radius by path": TwoRadius(matched_by="path", load=4),
    "published two-radius": PublishedTwoRadius(load=4),
    "known range": KnownRange(topology=Ring(), size=6, hops=3),
    "distances": Distances(topology=RandomTree(num_nodes=10)),
    "distances by cost": Distances(quantity="cost", topology=RandomTree(num_nodes=10)),
    "published decoy chains": PublishedDecoyChains(depth=3),
    "published distances": PublishedDistances(),
    "graph transfer": GraphTransfer(hops=3),
    "published graph transfer": PublishedGraphTransfer(family="crossed_ring", distance=3),
    "same cycle": SameCycle(hops=3),
    "cycle or two": CycleOrTwo(),
    "colour islands": ColourIslands(topology=Torus(), size=3, num_red=4),
    "contextual blockmodel": ContextualSBM(block_size=8),
    "published citation chains": PublishedCitationChains(),
    "several signals": Signals(num_nodes=12),
    "graph classes": MadeUpClasses(),
    "peptides, functions": MadeUpPeptides(target="func"),
    "peptides, shape": MadeUpPeptides(target="struct"),
    "molecules": MadeUpMolecules(),
    "graphs that differ": Strange(),
    "one graph": OneGraph(),
}
MITIGATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "residual": {"skip": "residual"},
    "initial residual": {"skip": "initial"},
    "dense": {"skip": "dense"},
    "gradient gating": {"skip": "gated"},
    **{f"jumping knowledge by {how}": {"readout": how} for how in ("concat", "max", "lstm")},
    "DropEdge": {"drop_edge": 0.5},
    "DropNode": {"drop_node": 0.5},
    **{f"norm: {norm}": {"norm": norm} for norm in ("layer", "batch", "pair", "graph", "mean", "diff_group")},
    "orthogonal": {"init": "orthogonal"},
    "weights scaled": {"weight_scale": 2.0},
    "virtual node": {"virtual_node": True},
    "fully adjacent last layer": {"fully_adjacent_last": True},
}
FACTORS = {
    "model": list(MODELS),
    "task": list(TASKS),
    "mitigation": list(MITIGATIONS),
    "encoding": ["none", *NODE_ENCODINGS, *PAIR_BIASES],
    "rewiring": ["none", *REWIRINGS],
}
SETTINGS: dict[str, dict[str, Any]] = {"random_edges": {"like": {"name": "fosr"}}}  # of factors that cannot do without


def asked(factor: str) -> tuple[str, dict[str, Any]] | None:
    return None if factor == "none" else (factor, SETTINGS.get(factor, {}))


@cache
def why_not(*pair: tuple[str, str]) -> str | None:
    """Return the reason for which the suite refuses two values of two factors, or None."""
    given = dict(pair)
    model, task, settings = given.get("model"), given.get("task"), MITIGATIONS[given.get("mitigation", "none")]
    encoding, rewiring = (asked(given.get(one, "none")) for one in ("encoding", "rewiring"))
    try:
        if model:
            build(resolve(model, settings | combine(model, settings, encoding, rewiring).settings), 4, 8, 3, 2)
        elif task:
            found = combine("gps", {}, encoding, rewiring)
            return refusal(TASKS[task], stream("smoke"), found.encoding, found.rewiring)
    except ValueError as error:
        return str(error)
    return None


def legal(one: str, other: str) -> dict[str, Any]:
    """Return the constraint that the values of two factors go together."""
    allows = lambda row: why_not((one, row[one]), (other, row[other])) is None  # noqa: E731
    return {"operator": "fn", "requires": [one, other], "evaluate": allows}


def go_together(pair: dict[str, str]) -> bool:
    """Return whether some model and task take two values, with nothing else asked."""
    rest = [{"none"} & set(FACTORS[factor]) or FACTORS[factor] for factor in FACTORS.keys() - pair]
    rows = (pair | dict(zip(FACTORS.keys() - pair, values, strict=True)) for values in product(*rest))
    return any(all(why_not(*two) is None for two in combinations(sorted(row.items()), 2)) for row in rows)


@cache
def covering_array() -> list[dict[str, str]]:
    constraints = [legal("model", other) for other in ("mitigation", "encoding", "rewiring")]
    constraints += [legal("task", other) for other in ("encoding", "rewiring")]
    rows: list[dict[str, str]] = make(FACTORS, constraints=constraints)
    return rows

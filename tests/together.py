"""What goes with what: models, tasks, mitigations, encodings and rewirings, and a pairwise covering array of them."""

from functools import cache
from itertools import combinations, product
from typing import Any

from covertable import make
from test_measures_contract import OneGraph, Strange

from datasets.barbell import Barbell
from datasets.clique import Clique
from datasets.clique_path import CliquePath
from datasets.crossed_ring import CrossedRing
from datasets.decoy_chains import DecoyChains
from datasets.distances import Distances
from datasets.graph_transfer import GraphTransfer
from datasets.known_range import KnownRange
from datasets.mean_exchange import MeanExchange
from datasets.neighbors_match import NeighborsMatch
from datasets.network import Network
from datasets.ordered_path import OrderedPath
from datasets.own_token import OwnToken
from datasets.published import PublishedNeighborsMatch, PublishedRingTransfer
from datasets.ring import Ring
from datasets.transfer import Transfer
from datasets.tree import Tree
from datasets.two_radius import TwoRadius
from suite.factors import combine, refusal
from suite.models import MODELS, build, resolve
from suite.models.attentions import PAIR_BIASES
from suite.models.node_encodings import NODE_ENCODINGS
from suite.models.rewirings import REWIRINGS
from suite.rng import stream
from suite.task import Task

TASKS: dict[str, Task] = {
    **{f"transfer on a {kind.__name__}": Transfer(topology=kind(), hops=3) for kind in (Ring, CrossedRing, CliquePath, Tree)},
    "transfer by position": Transfer(topology=Barbell(), hops=4, addressing="position"),
    "transfer on a network": Transfer(topology=Network(name="ieee_lv_feeder"), hops=3),
    "own token": OwnToken(topology=Clique(), size=1),
    "mean exchange": MeanExchange(hops=3),
    "NeighborsMatch": NeighborsMatch(hops=2),
    "published NeighborsMatch": PublishedNeighborsMatch(hops=2),
    "published ring transfer": PublishedRingTransfer(hops=3),
    "ordered path": OrderedPath(hops=3),
    "directed decoy chains": DecoyChains(hops=2, directed=True),
    "two-radius by path": TwoRadius(matched_by="path", load=4),
    "known range": KnownRange(graph="ring", size=12, hops=3),
    "distances": Distances(min_nodes=8, max_nodes=12),
    "graph transfer": GraphTransfer(hops=3),
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

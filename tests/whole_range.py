"""Hypothesis strategies over the whole range of every topology, with a distance that it has, and of every task."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isqrt
from statistics import median_low
from typing import Any, get_args

import networkx as nx
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch_geometric.utils import to_networkx

from datasets.barabasi_albert import BarabasiAlbert
from datasets.distances import Quantity
from datasets.network import NETWORKS
from datasets.of_diameter import OfDiameter
from datasets.ordered_path import Group
from datasets.places import shell
from datasets.sampled import Sampled
from datasets.topologies import TOPOLOGIES, read_topology
from suite.rng import stream
from suite.task import Split, Topology

Fields = dict[str, Any]
Place = tuple[Fields, int]  # a topology's fields, `kind` among them, and a distance that it has

ALTERED, REAL = ("decoyed", "noisy", "padded"), ("network",)
PLAIN = tuple(sorted(TOPOLOGIES.keys() - {*ALTERED, *REAL}))
SYNTHETIC = (*PLAIN, *ALTERED)
TAILED = ("caterpillar", "grid", "path", "tree")  # that go on behind the source, wherever it is


def up_to(draw: DrawFn, least: int, most: int) -> int:
    return draw(st.integers(least, max(least, most)))


# One function a kind: fields and a distance, of graphs of about `most` nodes or fewer.


def barbell(draw: DrawFn, most: int) -> Place:
    size = up_to(draw, 2, most // 4)
    bridges = up_to(draw, 1, size - 1)
    return {"clique_size": size, "bridges": bridges}, 3 + up_to(draw, 0, (most - 2 * size) // bridges)


def caterpillar(draw: DrawFn, most: int) -> Place:
    legs, joints = up_to(draw, 1, min(16, most // 8)), up_to(draw, 1, 4)
    spine = max(2, most // (1 + legs * joints))
    hops = up_to(draw, 1, spine - 1)
    return {"legs": legs, "joints": joints, "tail": up_to(draw, 0, (spine - 1 - hops) // 2)}, hops


def clique_chain(draw: DrawFn, most: int) -> Place:
    size = up_to(draw, 2, most // 3)
    return {"clique_size": size}, 2 * up_to(draw, 2, most // size) - 1


def clique_path(draw: DrawFn, most: int) -> Place:
    size = up_to(draw, 2, most // 3)
    hops = up_to(draw, 2, most - size + 1)
    return {"clique_size": size, "extra": up_to(draw, 0, most - size - hops + 1)}, hops


def grid(draw: DrawFn, most: int) -> Place:
    width = up_to(draw, 1, min(64, isqrt(2 * most)))
    hops = up_to(draw, 1, most // width)
    return {"width": width, "extra": up_to(draw, 0, min(64, most // width - hops))}, hops


def layered(draw: DrawFn, most: int) -> Place:
    width = up_to(draw, 1, most // 4)
    return {"width": width}, up_to(draw, 2, most // width)


def path(draw: DrawFn, most: int) -> Place:
    hops = up_to(draw, 1, most // 2)
    return {"tail": up_to(draw, 0, (most - hops) // 2)}, hops


def theta(draw: DrawFn, most: int) -> Place:
    paths = up_to(draw, 1, most // 4)
    hops = up_to(draw, 2, most // paths)
    return {"paths": paths, "open_paths": draw(st.none() | st.integers(1, paths))}, hops


def torus(draw: DrawFn, most: int) -> Place:
    width = up_to(draw, 3, min(64, most // 4))
    if draw(st.booleans()):
        return {"width": width, "columns": None}, width // 2 + up_to(draw, 2, most // (2 * width))
    columns = up_to(draw, 3, most // width)
    return {"width": width, "columns": columns}, up_to(draw, 1, width // 2 + columns // 2)


def tree(draw: DrawFn, most: int) -> Place:
    arity = up_to(draw, 2, isqrt(most))
    depth = next(d for d in range(1, most) if (arity ** (d + 2) - 1) // (arity - 1) > most)
    hops = up_to(draw, 1, depth)
    return {"arity": arity, "extra": up_to(draw, 0, depth - hops)}, hops


def barabasi_albert(draw: DrawFn, most: int) -> Place:
    fields = {"num_nodes": up_to(draw, 20, most), "attached": up_to(draw, 1, 16)}
    return somewhere(draw, BarabasiAlbert, fields)


def attachment_tree(draw: DrawFn, most: int) -> Place:
    return somewhere(draw, "attachment_tree", {"num_nodes": up_to(draw, 8, most), "exponent": draw(st.floats(0, 16))})


def erdos_renyi(draw: DrawFn, most: int) -> Place:
    size = up_to(draw, 8, most)
    return somewhere(draw, "erdos_renyi", {"num_nodes": size, "mean_degree": draw(st.floats(1.1, min(64, size - 1)))})


def expander(draw: DrawFn, most: int) -> Place:
    degree = up_to(draw, 3, 16)
    size = up_to(draw, max(8, degree + 1), most)
    return somewhere(draw, "expander", {"degree": degree, "num_nodes": size + degree * size % 2})


def random_geometric(draw: DrawFn, most: int) -> Place:
    fields = {"num_nodes": up_to(draw, 8, most), "radius": draw(st.floats(0.1, 1.5))}
    return somewhere(draw, "random_geometric", fields)


def subnetwork(draw: DrawFn, most: int) -> Place:
    fields = {"name": draw(st.sampled_from(NETWORKS)), "num_nodes": up_to(draw, 8, most)}
    return somewhere(draw, "subnetwork", fields | {"split": draw(st.sampled_from(get_args(Split)))})


def stochastic_blockmodel(draw: DrawFn, most: int) -> Place:
    size = up_to(draw, 2, min(256, most // 2))
    fields = {"block_size": size, "num_blocks": up_to(draw, 2, min(64, most // size))}
    chances = {"inside": draw(st.floats(0.1, 1)), "outside": draw(st.floats(0.001, 1))}
    return somewhere(draw, "stochastic_blockmodel", fields | chances)


def somewhere(draw: DrawFn, kind: str | type[Sampled], fields: Fields) -> Place:
    """Any seed of a random family, and any distance up to the diameter of that graph, by NetworkX."""
    cls = TOPOLOGIES[kind] if isinstance(kind, str) else kind
    fields |= {"seed": up_to(draw, 0, 99)}
    try:
        seen = [cls(**fields).at(split, 0).graph(1) for split in get_args(Split)]
    except ValueError as error:
        assert "joins no two nodes" in str(error)  # noqa: PT017 - the one reason there is to refuse these fields
        assume(False)
    return fields, up_to(draw, 1, min(nx.diameter(to_networkx(graph, to_undirected=True)) for graph in seen))


def network(draw: DrawFn, most: int) -> Place:  # noqa: ARG001 - real ones are as large as they are
    """Distances that every network offers; `split` and `block` are set by `at`."""
    places = {"split": draw(st.sampled_from(["train", "validation", "test"])), "block": up_to(draw, 0, 20)}
    return {"name": draw(st.sampled_from(NETWORKS)), **places}, up_to(draw, 1, 16)


def padded(draw: DrawFn, most: int) -> Place:
    fields, hops = draw(places(PLAIN, most))
    graph, more = read_topology(fields).graph(hops), up_to(draw, 0, most // 2)
    edges = graph.num_edges // 2 + more
    num_edges = draw(st.none() | st.integers(edges, edges + max(0, (more - 1) * (more - 2) // 2)))
    return {"topology": fields, "num_nodes": int(graph.num_nodes or 0) + more, "num_edges": num_edges}, hops


def decoyed(draw: DrawFn, most: int) -> Place:
    fields, hops = draw(places(PLAIN, most))
    assume(hops > 1)  # nobody is nearer
    return {"topology": fields, "decoys": up_to(draw, 1, 5)}, hops


def noisy(draw: DrawFn, most: int) -> Place:
    fields, hops = draw(places(PLAIN, most))
    graph = to_networkx(read_topology(fields).graph(hops), to_undirected=True)
    readout = int(read_topology(fields).graph(hops).readout_index)
    levels = [len(level) for level in nx.bfs_layers(graph, readout)]
    room = sum(a * (a - 1) // 2 for a in levels) + sum(a * b for a, b in pairwise(levels))
    return {"topology": fields, "num_edges": up_to(draw, 0, room - graph.number_of_edges()), "seed": up_to(draw, 0, 99)}, hops


def of_diameter(draw: DrawFn, most: int) -> Place:
    """A family with a bin around a diameter that it has, by NetworkX."""
    inner, _ = draw(places(tuple(kind for kind in DRAWN if kind != "of_diameter"), most))
    rng, family = stream("test", "diameters"), read_topology(inner)
    assert isinstance(family, Sampled)
    try:
        found = [nx.diameter(nx.Graph(family.afresh(rng).edge_index.T.tolist())) for _ in range(9)]
        fields = {"topology": inner, "least": up_to(draw, 1, median_low(found)), "most": median_low(found) + up_to(draw, 0, 5)}
        OfDiameter(**fields)
    except ValueError as error:
        assert "joins no two nodes" in str(error) or "a tenth" in str(error)  # noqa: PT017 - the reasons there are
        assume(False)
    return fields | {"seed": up_to(draw, 0, 99)}, up_to(draw, 1, fields["least"])


PLACES: dict[str, Callable[[DrawFn, int], Place]] = {
    "attachment_tree": attachment_tree,
    "barabasi_albert": barabasi_albert,
    "barbell": barbell,
    "caterpillar": caterpillar,
    "circular_ladder": lambda draw, most: ({}, up_to(draw, 2, most // 4)),
    "chorded_line": lambda draw, most: somewhere(draw, "chorded_line", {"num_nodes": up_to(draw, 8, most)}),
    "clique": lambda draw, most: ({"clique_size": up_to(draw, 1, most // 2)}, 1),
    "clique_chain": clique_chain,
    "clique_path": clique_path,
    "crossed_ring": lambda draw, most: ({}, up_to(draw, 2, most // 2)),
    "decoyed": decoyed,
    "erdos_renyi": erdos_renyi,
    "expander": expander,
    "grid": grid,
    "layered": layered,
    "network": network,
    "noisy": noisy,
    "of_diameter": of_diameter,
    "padded": padded,
    "path": path,
    "pruned_grid": lambda draw, most: somewhere(draw, "pruned_grid", {"num_nodes": 4 * up_to(draw, 2, most // 4)}),
    "random_caterpillar": lambda draw, most: somewhere(
        draw, "random_caterpillar", {"num_nodes": up_to(draw, 8, most), "joints": up_to(draw, 1, 2)}
    ),
    "random_geometric": random_geometric,
    "random_tree": lambda draw, most: somewhere(draw, "random_tree", {"num_nodes": up_to(draw, 8, most)}),
    "ring": lambda draw, most: ({}, up_to(draw, 2, most // 2)),
    "stochastic_blockmodel": stochastic_blockmodel,
    "subnetwork": subnetwork,
    "theta": theta,
    "torus": torus,
    "tree": tree,
}


@st.composite
def places(draw: DrawFn, kinds: Sequence[str] = SYNTHETIC, most: int = 40) -> Place:
    """One of `kinds`, any of its fields, and a distance that it has."""
    kind = draw(st.sampled_from(kinds))
    fields, hops = PLACES[kind](draw, most)
    return {"kind": kind} | fields, hops


def built(fields: Fields, hops: int) -> tuple[Topology, int]:
    """Return the topology and its number of nodes."""
    topology = read_topology(fields)
    return topology, int(topology.graph(hops).num_nodes or 0)


# One function a task: every field of it.


def classes(draw: DrawFn) -> int:
    return up_to(draw, 2, 7)


def noise(draw: DrawFn) -> float:
    return draw(st.sampled_from([0.0, 0.45]) | st.floats(0, 0.45))


def colour_islands(draw: DrawFn) -> Fields:
    fields, size = draw(places(("caterpillar", "circular_ladder", "grid", "path", "random_geometric", "ring", "torus", "tree")))
    return {"topology": fields, "size": size, "num_red": 2 * up_to(draw, 1, built(fields, size)[1] // 8)}


def contextual_sbm(draw: DrawFn) -> Fields:
    chances = {"inside": draw(st.floats(0.05, 1)), "outside": draw(st.floats(0, 1))}
    return {"block_size": up_to(draw, 8, 20), "signal": draw(st.floats(0.1, 2)), **chances}


def cycle_or_two(draw: DrawFn) -> Fields:
    least = up_to(draw, 6, 12)
    return {"min_nodes": least, "max_nodes": least + up_to(draw, 0, 8)}


def known_range(draw: DrawFn) -> Fields:
    """Kernels that fall mostly up to half of the way: of far ones the mean of all others is left, which needs no edges."""
    fields, size = draw(places())
    kernel = draw(st.sampled_from(["power", "power", "power", "hop", "decay", "exponential", "resistance"]))
    interaction = draw(st.sampled_from(["cosine", "cosine", "copy", "product", "distance"]))
    falls, steps = kernel in ("decay", "exponential", "resistance"), kernel == "power"
    farthest = nx.diameter(to_networkx(read_topology(fields).graph(size), to_undirected=True))
    return {
        "topology": fields,
        "size": size,
        "kernel": kernel,
        "hops": up_to(draw, 1, min(farthest, 1 + farthest // 2)),
        "exponent": draw(st.floats(-4, -0.1) | st.floats(0.1, 4)) if falls else 0.0,
        "operator": draw(st.sampled_from(["gcn", "mean", "sum"])) if steps else "gcn",
        "loops": draw(st.booleans()) if steps else True,
        "entries": draw(st.sampled_from(["plain", "root", "inverse"])) if steps else "plain",
        "interaction": interaction,
        "values": "normal" if interaction == "cosine" else draw(st.sampled_from(["normal", "spin"])),
        "channels": up_to(draw, 1, 8) if interaction == "cosine" else 1,
    }


def local_eccentricity(draw: DrawFn) -> Fields:
    """Of the largest network all pairs of nodes are dear."""
    smaller = [name for name in NETWORKS if name != "pegase2869_grid"]
    return {"name": draw(st.sampled_from(smaller)), "hops": up_to(draw, 1, 30), "num_classes": up_to(draw, 2, 12)}


def mean_exchange(draw: DrawFn) -> Fields:
    fields, hops = draw(places(("barbell", "clique"), 30))
    told = fields["kind"] == "clique" or fields["clique_size"] < fields["bridges"] + 2
    return {"topology": fields, "hops": hops, "side": told or draw(st.booleans())}


def mixed_transfer(draw: DrawFn) -> Fields:
    fields, size = draw(places(("caterpillar", "circular_ladder", "grid", "noisy", "path", "ring", "torus", "tree")))
    hops = up_to(draw, 2, size - draw(st.sampled_from([0, 1, 1])))  # at the end there often is none of that degree
    distances = {"least": up_to(draw, 1, hops - 1), "hops": hops, "max_hops": hops + up_to(draw, 0, 5)}
    asked = {"asked": draw(st.none() | st.integers(distances["least"], hops)), "num_classes": classes(draw), "noise": noise(draw)}
    return {"topology": fields, "size": size, "addressing": draw(st.sampled_from(["position", "content"])), **asked, **distances}


def neighbors_match(draw: DrawFn) -> Fields:
    fields, hops = draw(places())
    crowding = up_to(draw, 0, shell(read_topology(fields), hops).numel() - 1)
    keys = draw(st.none() | st.integers(crowding + 1, crowding + 9))
    asked = {"crowding": crowding, "num_keys": keys, "num_classes": classes(draw), "directed": draw(st.booleans())}
    return {"topology": fields, "hops": hops, "noise": noise(draw), **asked}


def behind(draw: DrawFn) -> Place:
    """A place with something behind the source."""
    fields, hops = draw(places(TAILED, 30))
    longer = "extra" if "extra" in fields else "tail"
    return fields | {longer: fields[longer] + up_to(draw, 1, 2 if fields["kind"] == "tree" else 8)}, hops


def ordered_path(draw: DrawFn) -> Fields:
    fields, hops = draw(places(("theta",))) if draw(st.integers(0, 3)) == 0 else behind(draw)
    assume(hops > 1)  # the least that is composed
    if fields["kind"] == "theta":
        fields["open_paths"] = 1
    if fields["kind"] == "grid":  # several shortest ways, unless it is a path
        fields["width"] = 1
    return {"topology": fields, "hops": hops, "group": draw(st.sampled_from(get_args(Group))), "noise": noise(draw)}


def proximity(draw: DrawFn) -> Fields:
    fields, hops = behind(draw)
    asked = {"num_near": up_to(draw, 0, hops - 1), "num_colours": classes(draw), "noise": noise(draw)}
    return {"topology": fields, "hops": hops, **asked}


def signals(draw: DrawFn) -> Fields:
    number = up_to(draw, 2, 16)
    size = up_to(draw, number + 1, 60)
    return {"num_signals": number, "num_nodes": size, "density": draw(st.floats(0.2, 1)), "seed": up_to(draw, 0, 99)}


def transfer(draw: DrawFn) -> Fields:
    """By position mostly where the graph has room for decoys: other families refuse most of their fields."""
    addressing = draw(st.sampled_from(["content", "position"]))
    roomy = ("caterpillar", "circular_ladder", "decoyed", "expander", "grid", "noisy", "path", "ring", "torus", "tree")
    fields, hops = draw(places(SYNTHETIC if addressing == "content" else roomy))
    asked = {"topology": fields, "hops": hops, "num_classes": classes(draw), "addressing": addressing, "noise": noise(draw)}
    if addressing == "content":
        crowding = draw(st.none() | st.integers(0, max(0, built(fields, hops)[1] - 2)))
        keys = draw(st.none() | st.integers(max(2, (crowding or 0) + 1), (crowding or 0) + 9))
        return asked | {"crowding": crowding, "num_keys": keys, "flags": None}
    flags = draw(st.sampled_from([True, None, False]))
    crowding = draw(st.none() | st.integers(1, 4)) if flags else None
    return asked | {"crowding": crowding, "num_keys": None, "flags": flags}


def two_radius(draw: DrawFn) -> Fields:
    hops = draw(st.sampled_from([1, 2, 2]))
    matched_by = draw(st.sampled_from(["id", "path"])) if hops == 2 else "id"
    sizes = {"load": up_to(draw, 2, 16), "centres": up_to(draw, 1, 4) if hops == 2 else 1}
    asked = {"matched_by": matched_by, "id_width": up_to(draw, 1, 12), "num_classes": classes(draw), "noise": noise(draw)}
    return {"hops": hops, **asked, **sizes}


def published_two_radius(draw: DrawFn) -> Fields:
    hops = draw(st.sampled_from([1, 2, 2]))
    return {"hops": hops, "load": up_to(draw, 2, 20), "centres": up_to(draw, 0, 4) if hops == 2 else 1}


DRAWN = tuple(sorted(kind for kind, cls in TOPOLOGIES.items() if issubclass(cls, Sampled)))


def distances(draw: DrawFn) -> Fields:
    """Of where nodes are and how far on any topology; of the whole graph where that is drawn afresh."""
    quantity = draw(st.sampled_from(get_args(Quantity)))
    fields, size = draw(places((*SYNTHETIC, *REAL) if quantity in ("distance", "cost") else DRAWN))
    return {"quantity": quantity, "topology": fields, "size": size}


def on_a_place(draw: DrawFn) -> Fields:
    fields, hops = draw(places())
    return {"topology": fields, "hops": hops}


def own_token(draw: DrawFn) -> Fields:
    fields, size = draw(places())
    return {"topology": fields, "size": size, "num_classes": classes(draw), "noise": noise(draw)}


TASK_FIELDS: dict[str, Callable[[DrawFn], Fields]] = {
    "addressed_leaf": lambda draw: {
        "hops": (hops := up_to(draw, 2, 6)),
        "max_hops": up_to(draw, hops, 12),
        "crowding": draw(st.none() | st.integers(1, 2 ** (hops - 1) - 1)),
        "num_classes": classes(draw),
        "noise": noise(draw),
    },
    "colour_islands": colour_islands,
    "contextual_sbm": contextual_sbm,
    "cycle_or_two": cycle_or_two,
    "decoy_chains": lambda draw: {
        "hops": up_to(draw, 1, 9),
        "num_chains": up_to(draw, 1, 6),
        "hole": draw(st.sampled_from(["far", "anywhere"])),
        "directed": draw(st.booleans()),
        "tail": up_to(draw, 2, 20),
    },
    "distances": distances,
    "graph_transfer": on_a_place,
    "known_range": known_range,
    "local_eccentricity": local_eccentricity,
    "mean_exchange": mean_exchange,
    "mixed_transfer": mixed_transfer,
    "neighbors_match": neighbors_match,
    "ordered_path": ordered_path,
    "ordered_tokens": ordered_path,
    "own_token": own_token,
    "pair_mixing": lambda draw: on_a_place(draw) | {"mixing": draw(st.sampled_from(["product", "sum"]))},
    "proximity": proximity,
    "published_citation_chains": lambda draw: {"num_classes": up_to(draw, 2, 20), "length": up_to(draw, 9, 20)},
    "published_clique_match": lambda draw: {},  # noqa: ARG005 - one graph, one set
    "published_decoy_chains": lambda draw: {"depth": up_to(draw, 3, 15)},
    "published_distances": lambda draw: {"quantity": draw(st.sampled_from(["distance", "eccentricity", "diameter"]))},
    "published_graph_transfer": lambda draw: {
        "family": draw(st.sampled_from(["line", "ring", "crossed_ring"])),
        "distance": up_to(draw, 3, 20),
    },
    "published_mean_exchange": lambda draw: {"size": up_to(draw, 3, 20)},
    "published_neighbors_match": lambda draw: {"hops": up_to(draw, 2, 4), "one_hot": draw(st.booleans())},
    "published_pair_mixing": lambda draw: {"hops": up_to(draw, 2, 8), "commute": draw(st.none() | st.floats(0.1, 1))},
    "published_ring_transfer": lambda draw: {
        "family": draw(st.sampled_from(["ring", "crossed_ring", "clique_path"])),
        "hops": up_to(draw, 3, 12),
    },
    "published_ring_lookup": lambda draw: {"radius": up_to(draw, 2, 12)},
    "published_tree_transfer": lambda draw: {"hops": up_to(draw, 1, 4), "arity": up_to(draw, 2, 4)},
    "published_two_radius": published_two_radius,
    "same_cycle": lambda draw: {
        "hops": (hops := up_to(draw, 2, 12)),
        "num_tokens": classes(draw),
        "num_nodes": draw(st.none() | st.integers(2 * hops + 3, 60)),
    },
    "signals": signals,
    "transfer": transfer,
    "two_radius": two_radius,
}


@st.composite
def fields_of(draw: DrawFn, task: str) -> Fields:
    """Every field of a task of the table."""
    return TASK_FIELDS[task](draw)


def places_of(kind: str, most: int) -> SearchStrategy[Place]:
    return places((kind,), most)

"""Over the whole range of its fields every topology is the graph of its name, of its formula's size, its source where asked for.

Graphs by their names are NetworkX's, as are distances; sizes are the formulas of docs/topologies.md.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import networkx as nx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx
from whole_range import PLACES, Fields, Place, places_of

from datasets.topologies import TOPOLOGIES, read_topology

Case = dict[str, Any]  # fields of a topology, and `hops`


def is_isomorphic(one: nx.Graph, other: nx.Graph) -> bool:
    """By NetworkX, faster for being told that nodes of unlike neighbourhoods are unlike."""
    for graph in (one, other):
        nx.set_node_attributes(graph, dict(graph.degree), "degree")
        colours = nx.weisfeiler_lehman_subgraph_hashes(graph, node_attr="degree", iterations=3)
        nx.set_node_attributes(graph, {node: hashes[-1] for node, hashes in colours.items()}, "colour")
    return bool(nx.vf2pp_is_isomorphic(one, other, node_label="colour"))


def chained(cliques: list[nx.Graph], ways: list[list[int]]) -> nx.Graph:
    """Return the cliques side by side, numbered through, with `ways` between them."""
    graph = nx.disjoint_union_all(cliques)
    for way in ways:
        nx.add_path(graph, way)
    return graph


def barbell(clique_size: int, bridges: int, hops: int) -> nx.Graph:
    """The one of NetworkX, with more bridges: each is a path of its own between two nodes that hold no other."""
    if bridges == 1:
        return nx.barbell_graph(clique_size, hops - 3)
    inner = [[("bridge", which, i) for i in range(hops - 3)] for which in range(bridges)]
    ways = [[which, *inner[which], clique_size + which] for which in range(bridges)]
    return chained([nx.complete_graph(clique_size)] * 2, ways)  # type: ignore[arg-type]


def caterpillar(legs: int, joints: int, tail: int, hops: int) -> nx.Graph:
    """The rooted product of a path and a spider: every node of the spine is the body of one."""
    spider = nx.Graph()
    for leg in range(legs):
        nx.add_path(spider, ["body", *((leg, joint) for joint in range(joints))])
    return nx.rooted_product(nx.path_graph(hops + 2 * tail + 1), spider, "body")


def clique_chain(clique_size: int, hops: int) -> nx.Graph:
    count = (hops + 1) // 2
    return chained([nx.complete_graph(clique_size)] * count, [[i * clique_size - 1, i * clique_size] for i in range(1, count)])


def crossed_ring(hops: int) -> nx.Graph:
    n = 2 * hops
    graph = nx.cycle_graph(n)
    graph.add_edges_from((i, n - 1 - i) for i in range(n // 2))
    graph.add_edges_from((i, n + 1 - i) for i in range(2, n // 2))
    return graph


def layered(width: int, hops: int) -> nx.Graph:
    """A path whose inner nodes are each replaced by `width` nodes that are not joined."""
    graph = nx.lexicographic_product(nx.path_graph(hops + 1), nx.empty_graph(width))
    graph.remove_nodes_from([(end, copy) for end in (0, hops) for copy in range(1, width)])
    return graph


def theta(paths: int, open_paths: int | None, hops: int) -> nx.Graph:
    """Paths glued at their ends; the closed ones lack the edge after their middle."""
    graph = nx.Graph()
    for path in range(paths):
        way = ["readout", *((path, i) for i in range(1, hops)), "source"]
        nx.add_path(graph, way)
        if path >= (open_paths or paths):
            graph.remove_edge(way[hops // 2], way[hops // 2 + 1])
    return graph


def columns(width: int, extra: int, hops: int) -> int:
    """Of a grid: the source is as far down as across, where there are rows enough."""
    return hops - min(width - 1, hops // 2) + 1 + extra


NAMED: dict[str, Callable[..., nx.Graph]] = {
    "barbell": barbell,
    "caterpillar": caterpillar,
    "circular_ladder": lambda hops: nx.circular_ladder_graph(2 * hops),
    "clique": lambda clique_size, **_: nx.complete_graph(2 * clique_size),
    "clique_chain": clique_chain,
    "clique_path": lambda clique_size, extra, hops: nx.lollipop_graph(clique_size, hops - 1 + extra),
    "crossed_ring": crossed_ring,
    "grid": lambda width, extra, hops: nx.grid_2d_graph(width, columns(width, extra, hops)),
    "layered": layered,
    "path": lambda tail, hops: nx.path_graph(hops + 2 * tail + 1),
    "ring": lambda hops: nx.cycle_graph(2 * hops),
    "theta": theta,
    "torus": lambda width, columns, hops: nx.grid_2d_graph(width, columns or 2 * (hops - width // 2), periodic=True),
    "tree": lambda arity, extra, hops: nx.balanced_tree(arity, hops + extra),
}


def bridged(clique_size: int, bridges: int, hops: int) -> tuple[int, int]:
    return 2 * clique_size + bridges * (hops - 3), clique_size * (clique_size - 1) + bridges * (hops - 2)


def of_tree(num_nodes: int) -> tuple[int, int]:
    return num_nodes, num_nodes - 1


def of_grid(width: int, extra: int, hops: int) -> tuple[int, int]:
    c = columns(width, extra, hops)
    return width * c, width * (c - 1) + c * (width - 1)


COUNTS: dict[str, Callable[..., tuple[int, int]]] = {  # nodes and edges
    "attachment_tree": lambda num_nodes, **_: of_tree(num_nodes),
    "barabasi_albert": lambda num_nodes, attached, **_: (num_nodes, attached * (num_nodes - attached)),
    "barbell": bridged,
    "caterpillar": lambda legs, joints, tail, hops: of_tree((hops + 2 * tail + 1) * (1 + legs * joints)),
    "circular_ladder": lambda hops: (4 * hops, 6 * hops),
    "clique": lambda clique_size, **_: (2 * clique_size, clique_size * (2 * clique_size - 1)),
    "clique_chain": lambda clique_size, hops: (
        (k := (hops + 1) // 2) * clique_size,
        k * clique_size * (clique_size - 1) // 2 + k - 1,
    ),
    "clique_path": lambda clique_size, extra, hops: (
        clique_size + (tail := hops - 1 + extra),
        clique_size * (clique_size - 1) // 2 + tail,
    ),
    "crossed_ring": lambda hops: (2 * hops, 4 * hops - 4),
    "expander": lambda degree, num_nodes, **_: (num_nodes, degree * num_nodes // 2),
    "grid": of_grid,
    "layered": lambda width, hops: (2 + width * (hops - 1), 2 * width + (hops - 2) * width**2),
    "path": lambda tail, hops: of_tree(hops + 2 * tail + 1),
    "random_caterpillar": lambda num_nodes, **_: of_tree(num_nodes),
    "random_tree": lambda num_nodes, **_: of_tree(num_nodes),
    "ring": lambda hops: (2 * hops, 2 * hops),
    "theta": lambda paths, open_paths, hops: (2 + paths * (hops - 1), paths * hops - (paths - (open_paths or paths))),
    "torus": lambda width, columns, hops: ((n := width * (columns or 2 * (hops - width // 2))), 2 * n),
    "tree": lambda arity, extra, hops: of_tree((arity ** (hops + extra + 1) - 1) // (arity - 1)),
}


def is_expander(graph: nx.Graph, case: Case) -> None:
    assert {degree for _, degree in graph.degree} == {case["degree"]}


def is_attachment_tree(graph: nx.Graph, case: Case) -> None:
    assert nx.is_tree(graph)
    assert all(sum(other < node for other in graph[node]) == 1 for node in range(1, case["num_nodes"]))  # it joined one


def is_barabasi_albert(graph: nx.Graph, case: Case) -> None:
    assert nx.is_tree(graph) == (case["attached"] == 1)
    assert sum(degree < case["attached"] for _, degree in graph.degree) <= case["attached"]  # but for the first ones


def is_component(graph: nx.Graph, case: Case) -> None:
    assert 2 <= len(graph) <= case.get("num_nodes", case.get("num_blocks", 0) * case.get("block_size", 0))


def is_network(graph: nx.Graph, case: Case) -> None:
    """As many nodes as the page of the networks says that its largest component has."""
    largest = {"ieee_lv_feeder": 907, "ky10_water": 935, "ky4_water": 964}
    largest |= {"minnesota_road": 2640, "pegase2869_grid": 2869, "schutterwald_lv_grid": 335}
    assert len(graph) == largest[case["name"]]


def within(case: Case) -> tuple[nx.Graph, dict[int, int]]:
    """Return the topology that is altered, and its distances from the read-out."""
    data = read_topology(case["topology"]).graph(case["hops"])
    graph = to_networkx(data, to_undirected=True)
    return graph, nx.single_source_shortest_path_length(graph, int(data.readout_index))


def is_noisy(graph: nx.Graph, case: Case) -> None:
    inner, distance = within(case)
    assert (len(graph), graph.size()) == (len(inner), inner.size() + case["num_edges"])
    assert set(inner.edges) <= set(graph.edges)
    data = read_topology(case["topology"]).graph(case["hops"])
    assert nx.single_source_shortest_path_length(graph, int(data.readout_index)) == distance


def is_padded(graph: nx.Graph, case: Case) -> None:
    inner, distance = within(case)
    assert len(graph) == case["num_nodes"]
    assert graph.size() == (case["num_edges"] or inner.size() + len(graph) - len(inner))
    assert nx.utils.edges_equal(graph.subgraph(inner).edges, inner.edges)
    data = read_topology(case["topology"]).graph(case["hops"])
    found = nx.single_source_shortest_path_length(graph, int(data.readout_index))
    assert {node: found[node] for node in inner} == distance


def is_decoyed(graph: nx.Graph, case: Case) -> None:
    """Only leaves are added; of all nodes between, as many as asked, or all there are, have the source's degree."""
    inner, distance = within(case)
    data = read_topology(case["topology"]).graph(case["hops"])
    assert nx.utils.edges_equal(graph.subgraph(inner).edges, inner.edges)
    assert all(graph.degree[node] == 1 for node in graph if node not in inner)
    found = nx.single_source_shortest_path_length(graph, int(data.readout_index))
    assert {node: found[node] for node in inner} == distance
    for hop in range(1, case["hops"]):
        level = [node for node in inner if distance[node] == hop]
        alike = [node for node in level if graph.degree[node] == graph.degree[int(data.source_index)]]
        assert len(alike) >= min(case["decoys"], len(level))


def is_of_diameter(graph: nx.Graph, case: Case) -> None:
    assert case["least"] <= nx.diameter(graph) <= case["most"]


def is_caterpillar(graph: nx.Graph, case: Case) -> None:
    """Without its leaves, as often as legs have joints, a path."""
    for _ in range(case["joints"]):
        graph = graph.subgraph([node for node in graph if graph.degree[node] > 1])
    assert max(dict(graph.degree).values(), default=0) <= 2


def is_chorded_line(graph: nx.Graph, case: Case) -> None:
    spans = Counter(abs(a - b) for a, b in graph.edges)
    assert len(graph) == case["num_nodes"]
    assert spans.pop(1) == len(graph) - 1
    assert spans.keys() <= {2, 3, 4, 5, 6}
    assert spans.total() <= len(graph) // 5


def is_pruned_grid(graph: nx.Graph, case: Case) -> None:
    whole = nx.convert_node_labels_to_integers(nx.grid_2d_graph(case["num_nodes"] // 4, 4))
    assert set(graph.edges) <= set(whole.edges)
    assert graph.size() == max(whole.size() - round(whole.size() / 5), len(whole) - 1)


def is_random_tree(graph: nx.Graph, case: Case) -> None:
    assert len(graph) == case["num_nodes"]
    assert all(sum(u < v for u in graph[v]) == 1 and min(graph[v]) >= v - 3 for v in graph if v)


def is_subnetwork(graph: nx.Graph, case: Case) -> None:
    """So many nodes, joined as nowhere more closely than in a network whose pieces they are: by its largest degree."""
    whole = to_networkx(read_topology({"kind": "network", "name": case["name"]}).graph(8), to_undirected=True)
    assert len(graph) == case["num_nodes"]
    assert nx.is_tree(graph) or not nx.is_tree(whole)
    assert max(dict(graph.degree).values()) <= max(dict(whole.degree).values())


HOLDS: dict[str, Callable[[nx.Graph, Case], None]] = {
    "attachment_tree": is_attachment_tree,
    "barabasi_albert": is_barabasi_albert,
    "decoyed": is_decoyed,
    "chorded_line": is_chorded_line,
    "erdos_renyi": is_component,
    "expander": is_expander,
    "network": is_network,
    "noisy": is_noisy,
    "of_diameter": is_of_diameter,
    "padded": is_padded,
    "pruned_grid": is_pruned_grid,
    "random_caterpillar": is_caterpillar,
    "random_geometric": is_component,
    "random_tree": is_random_tree,
    "stochastic_blockmodel": is_component,
    "subnetwork": is_subnetwork,
}


def checked(fields: Fields, hops: int) -> tuple[nx.Graph, Data]:
    """Return the graph once it is simple, undirected, connected, and its source `hops` from the read-out."""
    data = read_topology(fields).build(hops)
    edges = Counter(map(tuple, data.edge_index.t().tolist()))
    assert max(edges.values()) == 1
    assert all(a != b and (b, a) in edges for a, b in edges)
    graph = to_networkx(data, to_undirected=True)
    assert nx.is_connected(graph)
    assert nx.shortest_path_length(graph, int(data.readout_index), int(data.source_index)) == hops
    return graph, data


def all_over(kind: str, num_examples: int, most: int) -> None:
    seen: defaultdict[str, set[str]] = defaultdict(set)

    @settings(max_examples=num_examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(places_of(kind, most))
    def holds(place: Place) -> None:
        fields, hops = place
        assert fields.keys() == TOPOLOGIES[kind].model_fields.keys()
        graph, data = checked(fields, hops)
        again = read_topology(fields).build(hops)
        assert torch.equal(again.edge_index, data.edge_index)
        case = {name: field for name, field in fields.items() if name != "kind"} | {"hops": hops}
        if kind in COUNTS:
            assert (graph.number_of_nodes(), graph.number_of_edges()) == COUNTS[kind](**case)
        if kind in NAMED:
            assert is_isomorphic(graph, NAMED[kind](**case))
        if kind in HOLDS:
            HOLDS[kind](graph, case)
        for name, field in case.items():
            seen[name].add(str(field))

    holds()
    assert [name for name, values in seen.items() if len(values) < 2] == (["hops"] if kind == "clique" else [])


def test_every_topology_has_a_range_and_facts() -> None:
    assert PLACES.keys() == TOPOLOGIES.keys()
    assert NAMED.keys() | HOLDS.keys() == TOPOLOGIES.keys()
    assert NAMED.keys() <= COUNTS.keys()


@pytest.mark.parametrize("kind", sorted(TOPOLOGIES))
def test_a_topology_is_the_graph_of_its_name_all_over_its_range(kind: str) -> None:
    all_over(kind, 10, 50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", sorted(TOPOLOGIES))
def test_a_topology_is_the_graph_of_its_name_all_over_its_range_at_length(kind: str) -> None:
    all_over(kind, 100, 80)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(hops=st.integers(2, 40))
def test_a_grid_of_width_two_is_a_ladder(hops: int) -> None:
    graph, _ = checked({"kind": "grid", "width": 2, "extra": 0}, hops)
    assert is_isomorphic(graph, nx.ladder_graph(hops))

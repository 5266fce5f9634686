"""Facts about the real networks: the published sizes, and places that keep training and test apart."""

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.utils import to_networkx

from datasets.network import FOLDER, NETWORKS, Network
from suite.hops import hop_distance
from suite.task import Split

SIZES = {  # nodes, edges, diameter of the largest component, share of bridges
    "ieee_lv_feeder": (907, 906, 165, 1.0),
    "schutterwald_lv_grid": (2940, 2927, 45, 0.998),
    "pegase2869_grid": (2869, 3968, 55, 0.22),
    "minnesota_road": (2642, 3303, 99, 0.04),
    "ky4_water": (964, 1137, 61, 0.33),
    "ky10_water": (935, 1059, 89, 0.46),
}
COMPONENT = dict(zip(SIZES, (907, 335, 2869, 2640, 964, 935), strict=True))
ASKABLE = {  # share of nodes with two nodes at least at hop 8, 16, 32, 64; digits as published
    "ieee_lv_feeder": (0.79, 0.84, 1.0, 1.0),
    "schutterwald_lv_grid": (0.98, 0.98, 0.52, 0.0),
    "pegase2869_grid": (1.0, 1.0, 0.91, 0.0),
    "minnesota_road": (1.0, 1.0, 1.0, 0.70),
    "ky4_water": (0.997, 1.0, 0.997, 0.0),
    "ky10_water": (0.99, 0.98, 1.0, 0.67),
}
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def whole(name: str) -> nx.Graph:
    """The network of the files, read by NetworkX alone."""
    graph = nx.read_edgelist(FOLDER / name / "edges.csv", delimiter=",", nodetype=int, comments="s")
    graph.add_nodes_from(range(len((FOLDER / name / "nodes.csv").read_text().splitlines()) - 1))
    return graph


def places(name: str, hops: int, split: Split) -> dict[int, int]:
    """Read-out node -> source of every place of a split."""
    found = {}
    for block in range(16):
        graph = Network(name=name).at(split, block).graph(hops)
        found[int(graph.readout_index)] = int(graph.source_index)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_files_hold_what_their_table_says(name: str) -> None:
    graph = whole(name)
    nodes, edges, _, bridges = SIZES[name]
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (nodes, edges)
    assert sum(1 for _ in nx.bridges(graph)) / edges == pytest.approx(bridges, abs=0.005)
    assert nx.number_of_selfloops(graph) == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_the_topology_is_the_largest_component(name: str) -> None:
    graph = whole(name)
    component = graph.subgraph(max(nx.connected_components(graph), key=len))
    data = Network(name=name).graph(4)
    found = to_networkx(data, to_undirected=True)
    assert found.number_of_nodes() == component.number_of_nodes() == COMPONENT[name]
    in_order = nx.relabel_nodes(component, {v: i for i, v in enumerate(sorted(component))})
    assert nx.utils.edges_equal(found.edges, in_order.edges)
    every = hop_distance(data.edge_index, torch.arange(COMPONENT[name]), COMPONENT[name])
    assert int(every.max()) == SIZES[name][2]
    shares = [float(((every == hop).sum(1) >= 2).double().mean()) for hop in (8, 16, 32, 64)]
    assert shares == pytest.approx(ASKABLE[name], abs=0.006)


@pytest.mark.parametrize(("name", "hops"), [("ieee_lv_feeder", 16), ("minnesota_road", 8), ("ky4_water", 5)])
def test_every_place_has_its_source_at_the_distance_and_another_node_there(name: str, hops: int) -> None:
    network = to_networkx(Network(name=name).graph(hops), to_undirected=True)
    degrees = np.bincount([d for _, d in network.degree])
    for split in SPLITS:
        for readout, source in places(name, hops, split).items():
            distance = nx.single_source_shortest_path_length(network, readout)
            assert distance[source] == hops
            assert sum(d == hops for d in distance.values()) >= 2
            assert network.degree[source] == degrees.argmax()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("hops", [2, 4, 16])
def test_splits_ask_at_places_of_their_own_half_of_them_for_training(name: str, hops: int) -> None:
    train, validation, test = (set(places(name, hops, split)) for split in SPLITS)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert abs(len(train) - len(validation) - len(test)) <= 1
    assert len(train | validation | test) >= 8


@pytest.mark.parametrize(("name", "hops"), [("minnesota_road", 4), ("pegase2869_grid", 3), ("ieee_lv_feeder", 8)])
def test_balls_are_disjoint_where_the_network_is_large_enough(name: str, hops: int) -> None:
    centres = torch.tensor(sorted(v for split in SPLITS for v in places(name, hops, split)))
    data = Network(name=name).graph(hops)
    between = hop_distance(data.edge_index, centres, data.num_nodes)[:, centres]
    between.fill_diagonal_(2 * hops + 1)
    assert between.min() > 2 * hops


def test_blocks_go_round_the_places_and_share_one_graph() -> None:
    first, again = (Network(name="ky4_water").at("test", block) for block in (1, 9))
    assert first == again
    assert first.graph(4) is again.graph(4)
    assert Network(name="ky4_water").at("train", 0).graph(4).edge_index is first.graph(4).edge_index


def test_distances_that_do_not_occur_are_refused_by_saying_which_do() -> None:
    with pytest.raises(ValueError, match=r"hops: .* too few places to ask 46 hops away; it offers 1 to \d+"):
        Network(name="schutterwald_lv_grid").graph(46)


def test_an_unknown_network_is_refused_by_naming_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no network is called 'minnesota'.*Known: ieee_lv_feeder, ky10_water"):
        Network(name="minnesota")


def test_every_network_comes_with_its_licence() -> None:
    table = (FOLDER / "README.md").read_text()
    for name in NETWORKS:
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}`")]
        assert any(file.name in row and file.stat().st_size > 300 for file in (FOLDER / "LICENSES").iterdir())

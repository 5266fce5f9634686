"""Facts about local eccentricity: lengths by NetworkX from the files, classes that are quantiles, splits that are nodes."""

import math
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch

from datasets.local_eccentricity import LocalEccentricity, eccentricities
from datasets.network import FOLDER, adjacency, own_nodes, positions
from suite.rng import stream
from suite.testing import check_task


def web_of(name: str) -> nx.Graph:
    """The largest component from the files, edges as long as positions say, over their mean."""
    place = np.loadtxt(FOLDER / name / "nodes.csv", delimiter=",", skiprows=1)[:, 1:]
    web: nx.Graph = nx.Graph(np.loadtxt(FOLDER / name / "edges.csv", delimiter=",", skiprows=1, dtype=int).tolist())
    web = web.subgraph(max(nx.connected_components(web), key=len)).copy()
    for one, other in web.edges:
        web.edges[one, other]["length"] = math.dist(place[one], place[other])
    mean = sum(web.edges[edge]["length"] for edge in web.edges) / web.number_of_edges()
    for edge in web.edges:
        web.edges[edge]["length"] /= mean
    return web


@pytest.mark.parametrize("name", ["ky4_water", "ieee_lv_feeder", "pegase2869_grid"])  # the second has edges of length 0
@pytest.mark.parametrize("hops", [1, 4, 16])
def test_an_eccentricity_is_that_of_the_ego_graph_by_networkx(name: str, hops: int) -> None:
    web = web_of(name)
    nodes, found = sorted(web), eccentricities(name, hops)
    for place in torch.randperm(len(nodes), generator=stream("test", name, hops))[:20].tolist():
        ego = nx.ego_graph(web, nodes[place], radius=hops)
        assert found[place] == pytest.approx(nx.eccentricity(ego, nodes[place], weight="length"), abs=1e-8)


def test_within_one_hop_it_is_the_longest_edge_and_within_all_it_is_that_of_the_whole_network() -> None:
    """Straight edges: no way round is shorter."""
    web = web_of("ky10_water")
    nodes = sorted(web)
    longest = [max(length for _, _, length in web.edges(node, data="length")) for node in nodes]
    assert eccentricities("ky10_water", 1) == pytest.approx(longest, abs=1e-8)
    whole = nx.eccentricity(web, nodes[:30], weight="length")
    assert eccentricities("ky10_water", 256)[:30] == pytest.approx([whole[node] for node in nodes[:30]], abs=1e-8)


def test_degrees_of_longitude_and_latitude_are_one_length_on_the_ground() -> None:
    """Great circles, to the few percent by which meridians come together within Minnesota."""
    degrees = np.radians(np.loadtxt(FOLDER / "minnesota_road" / "nodes.csv", delimiter=",", skiprows=1)[:, 1:])
    kept = sorted(web_of("minnesota_road"))
    (lon, lat), place, edges = degrees[kept].T, positions("minnesota_road"), adjacency("minnesota_road").tocoo()
    one, other = edges.row, edges.col
    chord = np.sin((lat[one] - lat[other]) / 2) ** 2
    chord += np.cos(lat[one]) * np.cos(lat[other]) * np.sin((lon[one] - lon[other]) / 2) ** 2
    ground = 2 * np.degrees(np.arcsin(np.sqrt(chord)))
    flat = np.linalg.norm(place[one] - place[other], axis=1)
    assert flat == pytest.approx(ground, rel=0.08, abs=1e-6)


@pytest.mark.parametrize("fields", [{"name": "ky4_water"}, {"name": "ieee_lv_feeder", "hops": 8, "num_classes": 5}])
def test_classes_are_quantiles_and_equal_eccentricities_are_of_one(fields: dict[str, Any]) -> None:
    task = LocalEccentricity(**fields)
    value = eccentricities(task.name, task.hops)
    y = torch.full((len(value),), -1)
    for split in ("train", "validation", "test"):
        block = task.at(split, 0).draw(1, stream(split))  # type: ignore[arg-type]
        assert (y[block.readout_index] == -1).all()  # no node is asked twice
        assert sorted(block.readout_index.tolist()) == sorted(own_nodes(task.name, split).tolist())  # type: ignore[arg-type]
        y[block.readout_index] = block.y[0]
    order = np.argsort(value, kind="stable")
    ranked, sizes = y[order], y.bincount(minlength=task.num_classes)
    assert (ranked.diff() >= 0).all()
    assert not (np.diff(value[order])[ranked.diff().numpy() > 0] == 0).any()
    assert float(sizes.max()) / len(y) == task.chance
    largest_tie = np.unique(value, return_counts=True)[1].max()
    assert (sizes - len(y) / task.num_classes).abs().max() <= largest_tie


def test_x_says_where_nodes_are_and_how_long_their_edges() -> None:
    block = LocalEccentricity(name="ky4_water").draw(2, stream("test"))
    web, (x, same) = web_of("ky4_water"), block.x
    assert torch.equal(x, same)
    assert x[:, :2].mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert float(x[:, :2].square().mean()) == pytest.approx(1, rel=1e-5)
    mean = [np.mean([length for _, _, length in web.edges(node, data="length")]) for node in sorted(web)]
    assert x[:, 2].tolist() == pytest.approx(mean, rel=1e-4, abs=1e-6)
    source, target = block.edge_index
    apart = (x[source, :2] - x[target, :2]).norm(dim=1)
    lengths = [web.edges[a, b]["length"] for a, b in block.edge_index.T.tolist()]  # all nodes are in the component
    assert (apart / apart.mean()).tolist() == pytest.approx(lengths, abs=1e-3)
    assert block.edge_index.size(1) == 2 * web.number_of_edges()  # each of them is one, above


@pytest.mark.parametrize("name", ["ky10_water", "schutterwald_lv_grid"])
def test_it_keeps_the_contract(name: str) -> None:
    check_task(LocalEccentricity(name=name))


def test_more_classes_than_eccentricities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_classes: must be fewer on ieee_lv_feeder, \d+ of 100 quantiles differ"):
        LocalEccentricity(name="ieee_lv_feeder", hops=1, num_classes=100)
    with pytest.raises(ValueError, match="no network is called 'ky5_water'"):
        LocalEccentricity(name="ky5_water")

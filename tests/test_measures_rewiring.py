"""What a rewiring does to a way, by closed forms and NetworkX."""

import networkx as nx
import pytest
import torch
from test_factors import seen
from torch_geometric.utils import to_undirected

from datasets import OwnToken, Transfer
from datasets.barbell import Barbell
from datasets.ring import Ring
from suite.measures.rewiring import run, way
from suite.models import build, resolve

RING = Transfer(topology=Ring(), hops=6)


def gcn(num_layers: int) -> torch.nn.Module:
    return build(resolve("gcn", {"norm": "none"}), RING.draw(1, torch.Generator()).x.size(2), 4, num_layers, 5)


@pytest.mark.parametrize(
    ("graph", "pair"),
    [(nx.cycle_graph(9), (0, 4)), (nx.barbell_graph(4, 2), (0, 9)), (nx.complete_graph(5), (0, 1)), (nx.ladder_graph(5), (0, 9))],
)
def test_a_way_is_what_networkx_says(graph: nx.Graph, pair: tuple[int, int]) -> None:
    edges = to_undirected(torch.tensor(list(graph.edges)).T)
    found = way(edges, len(graph), torch.tensor([pair]), "mean", 3)
    assert found["hops"].item() == nx.shortest_path_length(graph, *pair)
    assert found["cut"].item() == nx.edge_connectivity(graph, *pair)
    assert found["resistance"].item() == pytest.approx(nx.resistance_distance(graph, *pair))


def test_ways_that_are_not_there_are_nan() -> None:
    apart = way(torch.tensor([[0, 1], [1, 0]]), 3, torch.tensor([[0, 2]]), "gcn", 4)
    assert apart["hops"].isnan().all()
    assert apart["resistance"].isnan().all()
    assert apart["cut"].item() == apart["power"].item() == 0


def test_of_a_task_that_is_not_rewired_nothing_changes() -> None:
    found = run(gcn(6), RING, 0)
    assert found["before"] == found["after"]
    assert found["before"]["hops"] == 6
    assert found["before"]["resistance"] == pytest.approx(3)  # two ways of six edges
    assert found["before"]["cut"] == 2
    assert 10 ** found["before"]["log10_power"] == pytest.approx(2 / 3**6)
    assert (found["num_nodes"], found["num_edges"], found["added_edges"], found["removed_edges"]) == (12, 12, 0, 0)
    assert found["seconds"] is None


def test_levels_of_a_ring_made_wide() -> None:
    """Level-preserving: two nodes a level, two ways become 2 + 4 (r - 2) + 2 edges; the distance stays."""
    found = run(gcn(6), seen(RING, None, "level_preserving"), 0)
    assert found["before"]["hops"] == found["after"]["hops"] == 6
    assert found["num_edges"] + found["added_edges"] == 2 * 2 + 4 * 4
    assert found["after"]["resistance"] == pytest.approx(2 / 2 + 4 / 4)  # layered(r, w): 2 / w + (r - 2) / w^2
    assert 10 ** found["after"]["log10_power"] == pytest.approx(2**5 / (3 * 4**2 * 5**3))
    assert found["after"]["cut"] == 2
    assert found["seconds"] > 0


def test_a_virtual_node_is_counted_as_new_and_makes_two_hops() -> None:
    found = run(gcn(6), seen(RING, None, "virtual_node"), 0)
    assert (found["num_nodes"], found["new_nodes"], found["added_edges"], found["removed_edges"]) == (12, 1, 12, 0)
    assert (found["before"]["hops"], found["after"]["hops"]) == (6, 2)
    assert found["after"]["cut"] == 3


def test_without_edges_there_is_no_way() -> None:
    found = run(gcn(6), seen(RING, None, "edge_free"), 0)
    assert (found["added_edges"], found["removed_edges"]) == (0, 12)
    assert found["after"] == {"hops": None, "resistance": None, "cut": 0, "log10_power": None}


def test_tasks_without_sources_have_counts_alone() -> None:
    task = seen(OwnToken(topology=Barbell(clique_size=4), size=3), None, "fosr")
    model = build(resolve("gcn"), task.draw(1, torch.Generator()).x.size(2), 4, 2, task.out_channels)
    found = run(model, task, 0)
    assert found["added_edges"] > 0

"""DRew and its shells, against shortest paths of networkx and loops over nodes written from the paper."""

from itertools import product

import networkx as nx
import pytest
import torch
from oracles import GRAPHS, operators, same, with_random_biases
from test_engine import PATHS, TASKS, assert_equal_on_a_path, rows_of
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from datasets import PublishedRingTransfer
from suite.measures.squashing import influence
from suite.models import build, resolve
from suite.models.stack import Stack
from suite.operators import SharedOperators
from suite.testing import check_model

NAMES = pytest.mark.parametrize("name", ["drew", "drew_delay"])


def shell(edge_index: Tensor, num_nodes: int, hops: int) -> Tensor:
    """Row v holds the nodes u from which a shortest path of `hops` edges leads to v, weighed by the sizes of both shells."""
    graph = nx.DiGraph(edge_index.T.tolist())
    graph.add_nodes_from(range(num_nodes))
    linked = torch.zeros(num_nodes, num_nodes, dtype=torch.float64)
    for u, found in nx.all_pairs_shortest_path_length(graph):
        for v, length in found.items():
            linked[v, u] = length == hops
    return (linked / (linked.sum(1, keepdim=True) * linked.sum(0)).sqrt()).nan_to_num(0)


@GRAPHS
def test_shells_are_those_of_shortest_paths(graph: tuple[Tensor, int]) -> None:
    op, every = operators(graph), torch.eye(graph[1], dtype=torch.float64)
    found = [op.shell(every, hops) for hops in (3, 1, 2, 9)]
    torch.testing.assert_close(found, [shell(*graph, hops) for hops in (3, 1, 2, 9)])
    assert found[1].any()
    assert not found[3].any()


@pytest.mark.parametrize("varying", [range(8), [5], [2, 7], []])
def test_shells_on_the_shared_path_reach_past_rows_that_are_not_computed(varying: list[int]) -> None:
    edge_index = to_undirected(torch.tensor([[0, 1, 2, 3, 4, 5, 1], [1, 2, 3, 4, 5, 6, 7]]))  # a path with a leaf
    torch.manual_seed(0)
    x = torch.randn(1, 8, 3, dtype=torch.float64).repeat(4, 1, 1)
    x[:, list(varying)] += torch.randn(4, len(varying), 3, dtype=torch.float64)
    varies = torch.zeros(8, dtype=torch.bool).index_fill(0, torch.tensor(list(varying), dtype=torch.long), True)
    order = torch.tensor([0, 1, 2, 7, 3, 4, 5, 6])  # by distance to node 0, which is read
    op = SharedOperators(edge_index, order, [7, 5, 1], torch.float64, varies, hops=[2, 3])
    first, second = op.layer(0), op.layer(1)
    middle = first.shell(op.enter([x]), 2)
    found = op.read(second.shell(middle, 3) + second.shell(middle, 1), [0], 4)
    expected = (shell(edge_index, 8, 3) + shell(edge_index, 8, 1)) @ shell(edge_index, 8, 2) @ x
    torch.testing.assert_close(found[0], expected[:, 0])


@NAMES
@GRAPHS
def test_states_equal_loops_over_nodes(name: str, graph: tuple[Tensor, int]) -> None:
    """Equations 5 and 6 of 2305.08018 with GCN's aggregation: tau(k) = max(0, k - nu), nu infinite or 1."""
    torch.manual_seed(1)
    model = with_random_biases(Stack(6, 5, 4, 2, conv=name, skip="residual"))
    x = torch.randn(graph[1], 6, dtype=torch.float64, requires_grad=True)
    states = [model.encoder(x)]
    for index, conv in enumerate(model.convs):
        received = [conv.lins[0].bias for _ in range(graph[1])]
        for hops in range(1, index + 2):
            weight, links = conv.lins[hops - 1].weight, shell(*graph, hops)
            read = states[index - max(0, hops - 1)] if name == "drew_delay" else states[index]
            for v, u in product(range(graph[1]), repeat=2):  # 0 for most: where no shell is, weights have a gradient of 0
                received[v] = received[v] + links[v, u] * (weight @ read[u])
        assert len(conv.lins) == index + 1
        states.append(states[index] + torch.stack(received).relu())
    for found, expected in zip(model.encode(x, graph[0]), states, strict=True):
        same(found, expected, x)
    same(model(x, graph[0]), model.decoder(states[-1]), x, model)


@pytest.mark.parametrize(("name", "reach"), [("drew", 6), ("drew_delay", 3)])
def test_three_layers_reach_one_and_two_and_three_hops_or_one_hop_a_layer(name: str, reach: int) -> None:
    torch.manual_seed(2)
    model = build(resolve(name), 4, 16, 3, 5).eval()
    path = to_undirected(torch.stack([torch.arange(9), torch.arange(1, 10)]))
    found = influence(model, [Data(x=torch.randn(10, 4), edge_index=path, readout_index=torch.tensor([0]))])[0]
    assert model.reach == reach
    assert (found.x[0] > 0).nonzero().flatten().tolist() == list(range(reach + 1))


@pytest.mark.parametrize("task", TASKS)
@NAMES
def test_with_every_shortcut_it_is_the_plain_model(name: str, task: str) -> None:
    assert_equal_on_a_path(name, {"norm": "none"}, TASKS[task](4), 4, 5, set(PATHS))


@NAMES
def test_alike_nodes_are_told_apart_as_far_as_layers_read(name: str) -> None:
    model = build(resolve(name, {"norm": "none"}), 5, 8, 2, 5)
    # a ring of twelve; layers read one and two hops: the cone is 7, 5 and 1 nodes, without the source six hops off
    assert rows_of(model, PublishedRingTransfer(hops=6), 2) == [(7, 0), (5, 0), (1, 0)]
    three = build(resolve(name, {"norm": "none"}), 5, 8, 3, 5)
    assert rows_of(three, PublishedRingTransfer(hops=6), 3) == [(11, 1), (9, 2), (5, 2), (0, 1)]  # 3 hops from both ends: 2


@NAMES
def test_as_a_local_channel_it_keeps_the_contract(name: str) -> None:
    check_model(resolve("gps", {"conv": name}))
    assert_equal_on_a_path("gps", {"conv": name}, TASKS["ring"](3), 3, 4, set(PATHS))


def test_delay_needs_states_that_are_alike() -> None:
    with pytest.raises(ValueError, match="encoder: must not be none with conv = drew_delay"):
        Stack(6, 5, 4, 2, conv="drew_delay", encoder="none")

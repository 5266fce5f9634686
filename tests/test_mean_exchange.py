"""Facts about mean exchange: whose mean it is, its scale, and what is left open without edges."""

import itertools
from typing import Any

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.barbell import Barbell
from datasets.clique import Clique
from datasets.mean_exchange import MeanExchange
from suite.rng import stream
from suite.study import StudyError
from suite.task import Block
from suite.tasks import make_task

ARMS = [
    MeanExchange(topology=Barbell(clique_size=6)),
    MeanExchange(topology=Barbell(clique_size=6, bridges=2), hops=5),
    MeanExchange(topology=Clique(clique_size=6), hops=1),
    MeanExchange(topology=Barbell(clique_size=6), side=False),
]


def drawn(task: MeanExchange, num_graphs: int = 50) -> Block:
    return task.draw(num_graphs, stream("test"))


def network(block: Block) -> nx.Graph:
    return to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)


@pytest.mark.parametrize("task", ARMS, ids=lambda task: f"{task.title} {task.topology.kind} {task.hops}")
def test_the_answer_is_the_mean_of_the_other_cliques_far_nodes_in_units_of_its_sd(task: MeanExchange) -> None:
    block = drawn(task)
    if isinstance(task.topology, Clique):
        other = list(range(6, 12))
    else:
        cliques = [c for c in nx.find_cliques(network(block)) if len(c) == 6]
        (other,) = [c for c in cliques if int(block.readout_index) not in c]
    distance = nx.single_source_shortest_path_length(network(block), int(block.readout_index))
    far = sorted(v for v in other if distance[v] == task.hops)
    assert len(far) == 6 - getattr(task.topology, "bridges", 0)
    mean = block.x[:, far, 0].mean(1)
    assert torch.allclose(block.y[:, 0], mean * len(far) ** 0.5, atol=1e-6)
    if task.side:
        assert block.x[0, :, 2].nonzero().flatten().tolist() == far
    assert block.x.size(2) == (3 if task.side else 2)
    assert block.x[:, :, 1].nonzero()[:, 1].eq(block.readout_index).all()
    assert sorted(block.source_index.tolist()) == far


def test_without_inner_bridge_nodes_barbell_and_clique_differ_in_their_edges_and_the_holder_of_the_bridge_only() -> None:
    barbell, clique = drawn(ARMS[0]), drawn(ARMS[2])
    assert torch.equal(barbell.x[:, :, :2], clique.x[:, :, :2])
    assert (barbell.x != clique.x).any(2).any(0).nonzero().flatten().tolist() == [6]
    assert torch.allclose(barbell.y * 5**0.5 + clique.x[:, 6:7, 0], clique.y * 6**0.5, atol=1e-5)


def test_targets_have_unit_variance() -> None:
    y = drawn(ARMS[0], 40_000).y
    assert float(y.square().mean()) == pytest.approx(1, abs=0.03)  # 4 standard errors
    assert ARMS[0].chance == 1


@pytest.mark.parametrize(("size", "bridges", "hops"), [(3, 1, 3), (4, 2, 3), (4, 1, 3), (3, 1, 4)])
def test_without_sides_chance_is_what_the_mean_over_all_sidings_leaves_open(size: int, bridges: int, hops: int) -> None:
    """The best guess from values and degrees averages the answer over all ways to exchange nodes of equal degree."""
    task = MeanExchange(topology=Barbell(clique_size=size, bridges=bridges), hops=hops, side=False)
    graph = network(drawn(task, 1))
    n = graph.number_of_nodes()
    groups = [[v for v in range(1, n) if graph.degree[v] == d] for d in {graph.degree[v] for v in range(1, n)}]
    weight = torch.zeros(n, dtype=torch.double)
    sidings = list(itertools.product(*(itertools.permutations(group) for group in groups)))
    for siding in sidings:
        moved = {v: w for group, image in zip(groups, siding, strict=True) for v, w in zip(group, image, strict=True)}
        for v in range(n - size + bridges, n):
            weight[moved[v]] += 1 / (size - bridges) / len(sidings)
    explained = weight.square().sum()  # variance of the guess; that of the answer is 1 / (size - bridges)
    assert task.chance == pytest.approx(float(1 - explained * (size - bridges)), abs=1e-9)


def test_without_sides_about_half_is_left_open() -> None:
    for k in (6, 20):
        task = MeanExchange(topology=Barbell(clique_size=k), side=False)
        assert task.chance == pytest.approx((k - 2) / (2 * k - 3))


@pytest.mark.parametrize("task", ARMS)
def test_what_lies_nearer_than_the_answer_leaves_it_open(task: MeanExchange) -> None:
    """Values and answer are jointly normal, so that the best guess from near values is a linear one."""
    block = drawn(task, 20_000)
    near = [node for node, far in nx.single_source_shortest_path_length(network(block), 0).items() if far < task.hops]
    values, y = block.x[:, near, 0].double(), block.y.double()
    left = (y - values @ torch.linalg.lstsq(values, y).solution).square()
    assert task.near_chance == pytest.approx(float(left.mean()), abs=4 * float(left.std()) / 20_000**0.5)


def test_twins_tell_the_answer_or_the_side() -> None:
    task = ARMS[3]
    told = task.answer_twin().draw(50, stream("test"))
    assert torch.equal(told.x[:, told.readout_index, -1], told.y)
    assert (told.x[:, 1:, -1] == 0).all()
    twin = task.content_twin()
    assert isinstance(twin, MeanExchange)
    assert twin.side


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"topology": "clique", "hops": 1, "side": False}, "side: must be true on a clique"),
        ({"topology": Barbell(clique_size=3, bridges=2), "side": False}, "side: must be true where one node alone is asked for"),
        ({"topology": "clique"}, "hops: must be 1 on a clique, got 3"),
        ({"hops": 2}, "hops: must be >= 3 on a barbell, got 2"),
    ],
)
def test_what_cannot_be_asked_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MeanExchange(**fields)


@pytest.mark.parametrize("topology", ["ring", {"kind": "tree", "extra": 1}])
def test_graphs_that_are_no_two_cliques_are_refused_by_name(topology: Any) -> None:
    kind = topology if isinstance(topology, str) else topology["kind"]
    with pytest.raises(StudyError) as error:
        make_task(MeanExchange, {"topology": topology})
    assert str(error.value) == f"topology: must be a barbell or a clique, got {kind}"

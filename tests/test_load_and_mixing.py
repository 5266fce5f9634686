"""Facts about two-radius, graph transfer, pair mixing, decoy chains and colour islands, by NetworkX and by enumeration.

The verdicts of tasks whose own test files certify nothing are here too.
"""

import itertools
from typing import Any

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.colour_islands import ColourIslands
from datasets.contextual_sbm import ContextualSBM
from datasets.cycles import SameCycle
from datasets.decoy_chains import DecoyChains
from datasets.distances import Distances
from datasets.graph_transfer import GraphTransfer
from datasets.grid import Grid
from datasets.mean_exchange import MeanExchange
from datasets.neighbors_match import NeighborsMatch
from datasets.pair_mixing import PairMixing
from datasets.path import Path
from datasets.tree import Tree
from datasets.two_radius import TwoRadius
from suite.certify import CERTIFIED, CONTENT, LOCAL, certify
from suite.rng import stream
from suite.task import Block, Task


def drawn(task: Task, num_graphs: int) -> Block:
    block = task.draw(num_graphs, stream("test"))
    assert isinstance(block, Block)
    return block


def network(graph: Data | Block) -> nx.Graph:
    return to_networkx(Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes), to_undirected=True)


@pytest.mark.parametrize(("load", "centres"), [(4, 1), (5, 3)])
def test_by_path_the_only_labelled_node_of_a_private_way_is_the_answer(load: int, centres: int) -> None:
    block = drawn(TwoRadius(matched_by="path", load=load, centres=centres), 10)
    web, num_classes = network(block), 10
    core = [n for n in web if web.degree[n] == 2 * load]
    assert len(core) == centres
    for x, y in zip(block.x, block.y, strict=True):
        for place, asked in enumerate(block.readout_index.tolist()):
            (between,) = [n for n in web[asked] if n not in core]
            (match,) = [n for n in web[between] if n != asked]
            assert x[match, :num_classes].argmax() == y[place]
            assert x[between].sum() == 0
            assert nx.shortest_path_length(web, asked, match) == 2


@pytest.mark.parametrize(("hops", "load"), [(1, 6), (2, 6)])
def test_by_id_the_label_of_the_nearest_id_is_the_answer(hops: int, load: int) -> None:
    task = TwoRadius(hops=hops, load=load, id_width=5)
    block = drawn(task, 20)
    for x, y in zip(block.x, block.y, strict=True):
        apart = torch.cdist(x[block.readout_index, -5:], x[block.source_index, -5:])
        found = x[block.source_index[apart.argmin(1)], :10].argmax(1)
        assert torch.equal(found, y)
    assert task.content_twin() == task


def test_several_centres_or_private_ways_at_one_hop_are_refused() -> None:
    for fields in ({"centres": 2}, {"matched_by": "path"}):
        with pytest.raises(ValueError, match="centres: must be 1 at one hop"):
            TwoRadius(hops=1, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("topology", [Path(tail=1), Tree(), "ring"], ids=str)
def test_two_flagged_nodes_want_each_others_value(topology: Any) -> None:
    block = drawn(GraphTransfer(topology=topology, hops=4), 50)
    web, ends = network(block), block.readout_index.tolist()
    assert nx.shortest_path_length(web, *ends) == 4
    assert torch.equal(block.x[:, ends[::-1], 0], block.y)
    assert torch.equal(block.x[:, :, 1].nonzero()[:, 1].view(50, 2), torch.tensor(sorted(ends)).expand(50, 2))


@pytest.mark.parametrize(("mixing", "mix"), [("product", lambda a, b: a * b), ("sum", lambda a, b: a + b)])
def test_the_mixed_pair_has_variance_1_and_its_own_value_explains_what_an_integral_says(mixing: Any, mix: Any) -> None:
    task = PairMixing(mixing=mixing)
    block = drawn(task, 100_000)
    own, source = (block.x[:, node, 0] for node in (block.readout_index[0], block.source_index[0]))
    scale = (mix(own, source).tanh() / block.y[:, 0]).median()
    assert torch.allclose(block.y[:, 0] * scale, mix(own, source).tanh(), atol=1e-5)
    assert float(block.y.var()) == pytest.approx(1, abs=0.02)
    steps = torch.linspace(-6, 6, 241, dtype=torch.double)
    weight = torch.exp(-steps.square() / 2)
    weight = weight / weight.sum()
    given = (mix(steps[:, None], steps).tanh() * weight).sum(1)
    assert task.chance == pytest.approx(1 - float((given.square() * weight).sum()) / float(scale) ** 2, abs=1e-3)
    squared = ((mix(steps[:, None], steps).tanh().square() * weight).sum(1) * weight).sum()
    assert float(scale) ** 2 == pytest.approx(float(squared), rel=1e-3)


@pytest.mark.parametrize(("hops", "num_chains", "hole"), [(2, 1, "far"), (4, 3, "far"), (4, 2, "anywhere")])
def test_a_way_without_holes_is_there_where_the_answer_says_so(hops: int, num_chains: int, hole: Any) -> None:
    block = drawn(DecoyChains(hops=hops, num_chains=num_chains, hole=hole), 60)
    web = network(block)
    for x, y in zip(block.x, block.y[:, 0].tolist(), strict=True):
        holes = x[:, 1].nonzero().flatten().tolist()
        source = int(x[:, 2].argmax())
        assert nx.shortest_path_length(web, 0, source) == hops + 1
        assert nx.has_path(nx.restricted_view(web, holes, []), 0, source) == bool(y)
        assert len(holes) == num_chains + 1
        assert {web.degree[node] for node in holes} == {2}
    assert 15 < int(block.y.sum()) < 45


@pytest.mark.parametrize("directed", [False, True])
def test_a_tail_hangs_behind_the_source(directed: bool) -> None:
    block = drawn(DecoyChains(hops=3, num_chains=2, tail=7, directed=directed), 60)
    web, source = network(block), int(block.x[0, :, 2].argmax())
    behind = set(nx.descendants(nx.restricted_view(web, block.source_index.tolist(), []), source))
    assert len(behind) == 7
    assert block.num_nodes == 1 + 3 * 3 + 1 + 7
    assert nx.is_isomorphic(web.subgraph(behind | {source}), nx.path_graph(8))
    holes = block.x[:, :, 1].nonzero()[:, 1]
    assert behind & set(holes.tolist()) == {node for node in web[source] if node in behind}  # the first, of two edges


def test_far_holes_leave_the_smaller_ball_alike_under_both_answers() -> None:
    block = drawn(DecoyChains(hops=4, num_chains=2), 60)
    near = [node for node, far in nx.single_source_shortest_path_length(network(block), 0).items() if far < 4]
    assert block.x[:, near, 1:].unique(dim=0).size(0) == 1  # but for fills, which are N(0, 1) for all


@pytest.mark.parametrize(("hops", "num_chains"), [(2, 1), (3, 2), (2, 3)])
@pytest.mark.parametrize("hole", ["far", "anywhere"])
def test_the_best_score_by_radius_is_that_of_all_places_of_holes_enumerated(hops: int, num_chains: int, hole: Any) -> None:
    """Of all graphs that look alike within the radius the commoner answer is right."""
    task, ways = DecoyChains(hops=hops, num_chains=num_chains, hole=hole), num_chains + 1
    first = hops if hole == "far" else 1
    for radius in range(hops + 2):
        looks: dict[tuple[int, ...], list[float]] = {}
        for places in itertools.product(range(first, hops + 1), repeat=ways):
            for free in [None, *range(ways)]:  # no way, or one of them, as often in all
                look = tuple(place if place <= radius and way != free else 0 for way, place in enumerate(places))
                weight = 1.0 if free is None else 1 / ways
                looks.setdefault(look, [0.0, 0.0])[free is not None] += weight
        total = sum(map(sum, looks.values()))
        assert task.oracle(radius) == pytest.approx(sum(map(max, looks.values())) / total)


def test_directed_chains_lead_to_the_read_out_only() -> None:
    block = drawn(DecoyChains(directed=True), 1)
    web = nx.DiGraph(block.edge_index.T.tolist())
    assert nx.is_directed_acyclic_graph(web)
    assert web.out_degree[0] == 0
    assert web.in_degree[0] == 4
    assert nx.has_path(web, int(block.x[0, :, 2].argmax()), 0)


@pytest.mark.parametrize("topology", ["grid", "torus", {"kind": "network", "name": "ky4_water"}], ids=str)
def test_red_nodes_are_as_many_islands_as_the_answer_says(topology: Any) -> None:
    task, rng, answers = ColourIslands(topology=topology, num_red=10), stream("test"), []
    for _ in range(40):
        graph = task.sample(rng)
        red = graph.x[:, 0].nonzero().flatten().tolist()
        islands = nx.number_connected_components(network(graph).subgraph(red))
        assert graph.y.tolist() == [int(islands == 1)] * int(graph.num_nodes)
        assert islands in (1, 2)
        assert len(red) == 10
        answers.append(islands)
    assert 8 < answers.count(1) < 32


def test_islands_without_room_are_refused() -> None:
    with pytest.raises(ValueError, match="num_red: two islands must find room on a grid of"):
        ColourIslands(topology=Grid(), num_red=80)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "verdict"),
    [
        (TwoRadius(), CONTENT),
        (TwoRadius(matched_by="path"), CERTIFIED),
        (GraphTransfer(), CONTENT),
        (PairMixing(), CONTENT),
        *((DecoyChains(hops=hops), CERTIFIED) for hops in (3, 5, 8)),
        (DecoyChains(tail=20), CERTIFIED),
        (DecoyChains(hops=4, hole="anywhere"), LOCAL),  # .658 at best one hop before the end
        (ColourIslands(), CERTIFIED),
        (SameCycle(), CERTIFIED),
        (SameCycle(num_nodes=50), CERTIFIED),
        (Distances(quantity="eccentricity"), CERTIFIED),
        (Distances(quantity="diameter"), CERTIFIED),
        (ContextualSBM(), CERTIFIED),
        (NeighborsMatch(), CONTENT),
        (MeanExchange(), CONTENT),
        (MeanExchange(side=False), CERTIFIED),
    ],
    ids=lambda value: f"{value.title} {getattr(value, 'hops', '')}" if isinstance(value, Task) else None,
)
def test_certificates_are_as_designed(task: Task, verdict: str) -> None:
    found = certify(task)
    assert found["verdict"] == verdict, found["checks"]

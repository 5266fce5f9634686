"""Facts about further published tasks: the flaw each was published with is there, and its certificate names it."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch_geometric.data import Data
from torch_geometric.utils import degree, to_networkx

from datasets.cycles import CycleOrTwo
from datasets.published import (
    PublishedCitationChains,
    PublishedCliqueMatch,
    PublishedDecoyChains,
    PublishedDistances,
    PublishedGraphTransfer,
    PublishedMeanExchange,
    PublishedPairMixing,
    PublishedRingLookup,
    PublishedRingTransfer,
    PublishedTreeTransfer,
    PublishedTwoRadius,
)
from datasets.published.distances import SHARES, family_graph, toggled
from suite.certify import BROKEN, CERTIFIED, CONTENT, LEAK, LOCAL, MEMORISABLE, UNIDENTIFIABLE, certify
from suite.rng import stream
from suite.task import Block, Split, Task

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def drawn(task: Task, num_graphs: int, split: Split = "train") -> Block:
    block = task.at(split, 0).draw(num_graphs, stream("test", split))
    assert isinstance(block, Block)
    return block


def network(graph: Data) -> nx.Graph:
    return to_networkx(graph, to_undirected=True)


@pytest.mark.parametrize(("family", "nodes", "hops"), [("line", 6, 5), ("ring", 12, 6), ("crossed_ring", 12, 6)])
def test_two_nodes_of_the_graph_transfer_exchange_values_and_all_else_is_copied(family: str, nodes: int, hops: int) -> None:
    block = drawn(PublishedGraphTransfer(family=family, distance=6), 20)
    (target,) = set((block.x[:, :, 0] == 0).nonzero()[:, 1].tolist())
    (source,) = set((block.x[:, :, 0] == 1).nonzero()[:, 1].tolist())
    graph = nx.Graph(block.edge_index.T.tolist())
    assert block.num_nodes == nodes
    assert nx.shortest_path_length(graph, source, target) == hops
    swapped = block.x[:, :, 0].clone()
    swapped[:, [source, target]] = swapped[:, [target, source]]
    assert torch.equal(block.y, swapped)
    assert nx.number_of_selfloops(graph) == (nodes if family == "line" else 0)


def test_validation_of_the_graph_transfer_is_its_test() -> None:
    task = PublishedGraphTransfer()
    test, validation, train = (drawn(task, 32, split) for split in ("test", "validation", "train"))
    assert torch.equal(test.x, validation.x)
    assert not torch.equal(test.x, train.x)


def test_a_constant_in_the_graph_transfer_scores_the_variance_that_is_declared() -> None:
    task = PublishedGraphTransfer(distance=10)
    y = drawn(task, 1000).y
    assert float((y - 0.5).square().mean()) == pytest.approx(task.chance, rel=0.03)


@pytest.mark.parametrize(("hops", "load", "centres"), [(1, 5, 1), (2, 5, 1), (2, 4, 3), (2, 4, 0)])
def test_every_centre_of_the_radius_tasks_is_joined_to_all_labels_and_all_who_ask(hops: int, load: int, centres: int) -> None:
    block = drawn(PublishedTwoRadius(hops=hops, load=load, centres=centres), 30)
    graph = nx.empty_graph(block.num_nodes)
    graph.add_edges_from(block.edge_index.T.tolist())
    expected = nx.star_graph(load) if hops == 1 else nx.complete_bipartite_graph(2 * load, centres)
    assert nx.is_isomorphic(graph, expected)
    ids = load + centres
    for x, y in zip(block.x, block.y, strict=True):
        labels = {int(x[node, :load].argmax()): int(x[node, ids : ids + 10].argmax()) for node in block.source_index}
        assert [labels[int(x[node, :load].argmax())] for node in block.readout_index] == y.tolist()
        assert sorted(labels) == list(range(load))


@pytest.mark.parametrize(("load", "centres"), [(6, 1), (5, 3), (6, 0)])
def test_who_has_no_label_in_the_published_two_radius_carries_class_9_and_centres_have_ids(load: int, centres: int) -> None:
    block = drawn(PublishedTwoRadius(load=load, centres=centres), 200)
    ids = load + centres
    assert block.x.shape == (200, 2 * load + centres, ids + 10)  # no column says that a label is wanting
    assert (block.x[:, :, :ids].sum(2) == 1).all()
    assert (block.x[:, :, ids:].sum(2) == 1).all()
    centre = torch.arange(load, load + centres)
    assert torch.equal(block.x[:, centre, :ids].argmax(2), centre.expand(200, -1))
    assert (block.x[:, torch.cat([centre, block.readout_index])][:, :, -1] == 1).all()
    assert 0 < block.x[:, block.source_index, -1].mean() < 0.2
    assert set(block.y.flatten().tolist()) == set(range(10))  # class 9 is asked for as well


def test_the_centre_that_asks_in_the_published_one_radius_has_an_11th_class() -> None:
    block = drawn(PublishedTwoRadius(hops=1, load=6), 50)
    assert block.x.shape == (50, 7, 6 + 1 + 11)  # published ids begin at 1, so that one column stays empty
    assert not block.x[:, :, 6].any()
    assert (block.x[:, block.readout_index, -1] == 1).all()
    assert not block.x[:, block.source_index, -1].any()
    assert (block.x.sum(2) == 2).all()


@pytest.mark.parametrize("size", [5, 20])
def test_means_and_moments_of_the_published_exchange(size: int) -> None:
    """Means of the cliques are at -+ sqrt(3n), the variance of a mean is 1, and 0 for everybody scores 3n + 1."""
    block = drawn(PublishedMeanExchange(size=size), 4000)
    left, right = block.x[:, :size, 0], block.x[:, size:, 0]
    assert left.max() <= 0 <= right.min()
    assert torch.allclose(block.y[:, :size], right.mean(1, keepdim=True).expand(-1, size), atol=1e-4)
    assert float(right.mean()) == pytest.approx((3 * size) ** 0.5, rel=0.02)
    assert float(block.y.square().mean()) == pytest.approx(3 * size + 1, rel=0.02)
    blind = (3 * size) ** 0.5 * -block.x[:, :, 0].sign()  # the mean over the other clique is known but for its variance
    assert float((block.y - blind).square().mean()) == pytest.approx(1, abs=0.06)  # of about 630 different graphs of 1,000


def test_a_chain_of_citations_has_its_class_at_its_head_alone() -> None:
    task = PublishedCitationChains(num_classes=3, length=10)
    block = drawn(task, 1)
    graph = nx.DiGraph(block.edge_index.T.tolist())
    assert nx.number_weakly_connected_components(graph) == 60
    assert block.x[0].sum() == 60
    asked = {split: drawn(task, 1, split) for split in ("train", "validation", "test")}
    assert [part.readout_index.numel() for part in asked.values()] == [20, 100, 200]
    for part in asked.values():
        for node, y in zip(part.readout_index.tolist(), part.y[0].tolist(), strict=True):
            (head,) = [n for n in {node, *nx.ancestors(graph, node)} if not graph.in_degree(n)]
            assert part.x[0, head].argmax() == y


@pytest.mark.parametrize("hops", [2, 5, 8])
def test_the_pair_to_be_mixed_is_so_far_apart_on_a_molecule(hops: int) -> None:
    for _ in range(5):
        graph = PublishedPairMixing(hops=hops).sample(stream("test", hops))
        web = network(graph)
        first, second = graph.x[:, 0].nonzero().flatten().tolist()
        assert nx.is_connected(web)
        assert max(dict(web.degree).values()) <= 4
        assert nx.shortest_path_length(web, first, second) == hops
        assert torch.allclose(graph.y, graph.x.sum().tanh())


@pytest.mark.parametrize("commute", [0.1, 0.5, 0.9, 1.0])
def test_the_pair_to_be_mixed_is_at_a_quantile_of_commute_times(commute: float) -> None:
    """Commute times are 2 |E| times the resistance, Chandra et al. (1996); NetworkX adds up the spectrum of the Laplacian."""
    rng = stream("test", "commute")
    for _ in range(5):
        graph = PublishedPairMixing(commute=commute).sample(rng)
        web = network(graph)
        first, second = graph.x[:, 0].nonzero().flatten().tolist()
        ohms = nx.resistance_distance(web)
        times = {pair: 2 * web.number_of_edges() * ohms[pair[0]][pair[1]] for pair in itertools.product(web, web)}
        at = np.quantile(list(times.values()), commute, method="nearest")
        assert times[first, second] == pytest.approx(at, rel=1e-6)
        assert torch.allclose(graph.y, graph.x.sum().tanh())


def test_pairs_by_commute_time_are_on_a_thousand_test_graphs() -> None:
    task, rng = PublishedPairMixing(commute=0.7, split="test"), stream("test", "set")
    values = {tuple(task.sample(rng).x.flatten().sort(descending=True).values[:2].tolist()) for _ in range(3000)}
    assert len(values) == pytest.approx(1000 * (1 - math.exp(-3)), abs=4 * math.sqrt(1000 * math.exp(-3)))  # e^-3 are not drawn


def test_chance_of_the_published_pair_is_the_variance_of_its_answers() -> None:
    drawn_answers = (torch.rand(200_000, 2, generator=stream("pairs"), dtype=torch.double)).sum(1).tanh()
    assert PublishedPairMixing().chance == pytest.approx(float(drawn_answers.var()), rel=0.02)


def hole_free_way(graph: Data) -> bool:
    """Return whether some way from the source to the target, over all nodes of each, has no hole."""
    web = to_networkx(graph)
    source, target = int(graph.source_index), int(graph.readout_index)
    ways = nx.all_simple_paths(web, source, target)
    return any(bool((graph.x[way[1:], 1] == 1).all()) for way in ways)


@pytest.mark.parametrize("depth", [3, 4, 7, 15])
def test_published_decoy_chains_are_a_dag_whose_answer_is_a_way_without_a_hole(depth: int) -> None:
    task, answers = PublishedDecoyChains(depth=depth), set[int]()
    rng = stream("test", depth)
    for _ in range(40):
        graph = task.sample(rng)
        web = to_networkx(graph)
        source, target = int(graph.source_index), int(graph.readout_index)
        longest = nx.dag_longest_path_length(web)  # refuses what is no DAG
        assert nx.is_weakly_connected(web)
        assert [node for node, degree in web.in_degree if not degree] == [source]
        assert [node for node, degree in web.out_degree if not degree] == [target]
        assert longest >= 2 * depth // 3
        assert 5 <= web.number_of_edges() - len(web) + 1 <= 10  # each chain is one edge more than its nodes
        assert hole_free_way(graph) == bool(graph.y)
        answers.add(int(graph.y))
    assert answers == {0, 1}


def test_features_of_the_published_decoy_chains_are_a_source_fills_and_holes() -> None:
    task, rng, drawn_fills = PublishedDecoyChains(depth=12), stream("test"), list[int]()
    for _ in range(60):
        graph = task.sample(rng)
        source = graph.x[:, 0] == 1
        assert source.nonzero().flatten().tolist() == graph.source_index.tolist()
        assert set(graph.x[~source, 1].tolist()) == {0, 1}
        free = torch.cat([graph.x[source, 1], graph.x[~source, 0]]).double() * 100
        assert (free - free.round()).abs().max() < 1e-3
        drawn_fills += free.round().long().tolist()
        assert graph.x[graph.readout_index, 1] == 1
        chains = graph.num_edges - len(graph.x) + 1
        assert int((graph.x[:, 1] == 0).sum()) in (chains + 2, chains + 3)
    assert set(drawn_fills) <= set(range(-700, -200)) | set(range(300, 800))
    below = sum(fill < 0 for fill in drawn_fills) / len(drawn_fills)
    assert below == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(drawn_fills)))


def every_graph(depth: int, split: Split) -> list[Data]:
    """Return all graphs of a set of published decoy chains: draws until none is new to a thousand of them."""
    task, rng, since = PublishedDecoyChains(depth=depth, split=split), stream("test", split), 0
    seen: dict[bytes, Data] = {}
    while since < 1000:
        graph = task.sample(rng)
        since = 0 if seen.setdefault(graph.x.numpy().tobytes(), graph) is graph else since + 1
    return list(seen.values())


def test_test_sets_of_the_published_decoy_chains_are_200_graphs_half_of_them_free() -> None:
    graphs = {split: every_graph(4, split) for split in ("validation", "test")}
    assert {split: len(found) for split, found in graphs.items()} == {"validation": 200, "test": 200}
    assert all(sum(int(graph.y) for graph in found) == 100 for found in graphs.values())
    inputs = [{graph.x.numpy().tobytes() for graph in found} for found in graphs.values()]
    assert not inputs[0] & inputs[1]


def test_holes_are_as_many_in_both_published_answers_and_have_more_edges_where_there_is_no_way() -> None:
    """The flaw: where y = 0 one hole is on the main path, where most chains branch off; where y = 1 none is."""
    task, rng = PublishedDecoyChains(depth=8), stream("test", "flaw")
    number: tuple[list[float], list[float]] = ([], [])
    edges: tuple[list[float], list[float]] = ([], [])
    for _ in range(1500):
        graph = task.sample(rng)
        web, holes = to_networkx(graph), (graph.x[:, 1] == 0).nonzero().flatten().tolist()
        number[int(graph.y)].append(len(holes))
        edges[int(graph.y)].append(sum(web.degree[hole] for hole in holes) / len(holes))
    assert abs(standard_errors(*number)) < 4
    assert standard_errors(*edges) > 4


def standard_errors(one: list[float], other: list[float]) -> float:
    """Return by how many standard errors the mean of `one` is above that of `other`."""
    first, second = (torch.tensor(part, dtype=torch.double) for part in (one, other))
    error = (first.var() / len(first) + second.var() / len(second)).sqrt()
    return float((first.mean() - second.mean()) / error)


def holes_by_edges(depth: int, split: Split, num_graphs: int) -> tuple[list[list[int]], list[int]]:
    """Return of each graph how many nodes and holes have 1, 2, ... 6 edges, and the answer."""
    task, rng, counts, answers = PublishedDecoyChains(depth=depth, split=split), stream("test", split), [], []
    for _ in range(num_graphs):
        graph = task.sample(rng)
        edges = degree(graph.edge_index.flatten(), graph.num_nodes, dtype=torch.long).clamp(max=6)
        known = torch.cat([torch.bincount(part, minlength=7) for part in (edges, edges[graph.x[:, 1] == 0])])
        counts.append(known.tolist())
        answers.append(int(graph.y))
    return counts, answers


@pytest.mark.slow
@pytest.mark.parametrize("depth", [5, 10])
def test_holes_by_their_edges_tell_a_part_that_the_controls_of_the_published_decoy_chains_do_not_find(depth: int) -> None:
    counts = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(*holes_by_edges(depth, "train", 4000))
    told = counts.score(*holes_by_edges(depth, "test", 1000))
    found = certify(PublishedDecoyChains(depth=depth))
    (set_model,) = [entry for entry in found["checks"] if entry["id"] == "K5"]
    assert told > PublishedDecoyChains().chance + LEAK  # what would make a task content-addressed
    assert set_model["value"] <= PublishedDecoyChains().chance + LEAK
    assert found["verdict"] == CERTIFIED


@pytest.mark.parametrize("quantity", ["distance", "eccentricity", "diameter"])
def test_what_no_path_leads_to_is_0_hops_away_in_the_published_properties(quantity: str) -> None:
    task, rng, known = PublishedDistances(quantity=quantity), stream("test"), []
    for _ in range(60):
        graph = task.sample(rng)
        web, source = network(graph), int(graph.x[:, 0].argmax())
        far = [nx.single_source_shortest_path_length(web, node) for node in web]
        answers = {
            "distance": [far[source].get(node, 0) for node in web],
            "eccentricity": [max(there.values()) for there in far],
            "diameter": [max(max(there.values()) for there in far)] * len(far),
        }[quantity]
        assert 25 <= len(web) <= 34
        known.append((torch.tensor(answers, dtype=torch.double), graph.y.double()))
    hops, y = (torch.cat(parts) for parts in zip(*known, strict=True))
    slope = ((hops - hops.mean()) * (y - y.mean())).sum() / (y - y.mean()).square().sum()
    assert torch.allclose(y * slope, hops - (hops - y * slope).mean(), atol=1e-4)  # one shift and one scale make y hops


PLAIN = {
    "grid": lambda n, m: nx.grid_2d_graph(m, n // m),
    "caveman": lambda n, m: nx.disjoint_union_all([nx.complete_graph(n // m)] * m),
    "line": lambda n, _: nx.path_graph(n),
    "star": lambda n, _: nx.star_graph(n - 1),
}


@pytest.mark.parametrize("n", range(25, 35))
def test_families_without_chance_have_all_nodes_and_are_what_they_are_called(n: int) -> None:
    rows = max(m for m in range(1, n) if n % m == 0 and m * m <= n)
    for family, plain in PLAIN.items():
        assert nx.is_isomorphic(family_graph(family, n, stream("test")), plain(n, rows)), family
    ladder = family_graph("ladder", n, stream("test"))
    assert len(ladder) == n
    assert nx.is_isomorphic(ladder.subgraph(range(2 * (n // 2))), nx.ladder_graph(n // 2))
    if n % 2:  # the odd node hangs on a corner, which makes that one of degree 3
        (odd,) = [node for node, degree in ladder.degree if degree == 1]
        (corner,) = ladder[odd]
        assert ladder.degree[corner] == 3
        assert sorted(ladder.degree[node] for node in ladder[corner]) in ([1, 2, 3], [1, 3, 3])


def without_leaves(graph: nx.Graph) -> nx.Graph:
    return graph.subgraph([node for node, degree in graph.degree if degree > 1])


@pytest.mark.parametrize(("family", "stripped"), [("tree", 0), ("caterpillar", 1), ("lobster", 2)])
def test_families_of_trees_are_trees_and_without_their_legs_a_path(family: str, stripped: int) -> None:
    rng = stream("test", family)
    for n in range(25, 35):
        graph = family_graph(family, n, rng)
        assert nx.is_tree(graph)
        assert len(graph) == n
        for _ in range(stripped):
            graph = without_leaves(graph)
        assert not stripped or not len(graph) or (nx.is_tree(graph) and max(degree for _, degree in graph.degree) <= 2)


@pytest.mark.parametrize(("family", "longer"), [("caterpillar", 1), ("lobster", 3)])
def test_a_backbone_is_as_often_short_as_long(family: str, longer: int) -> None:
    """A backbone of B nodes, B uniform in 1 ... 29, leaves a diameter of B - 1 to B + `longer`."""
    rng, n, draws = stream("test", family), 30, 600
    found = torch.tensor([nx.diameter(family_graph(family, n, rng)) for _ in range(draws)])
    error = 4 * 0.5 / math.sqrt(draws)
    for limit in (8, 15, 22):
        share = float((found <= limit).double().mean())
        assert (limit - longer) / (n - 1) - error <= share <= (limit + 1) / (n - 1) + error


def test_a_published_tree_has_the_degrees_of_a_power_law() -> None:
    """P(degree 1) of round(x), x with the density 2 x^-3 from 1 on, is 1 - 1.5^-2 = .56; a uniform tree has 1/e = .37."""
    rng = stream("test", "tree")
    degrees = torch.tensor([degree for _ in range(200) for _, degree in family_graph("tree", 30, rng).degree])
    assert float((degrees == 1).double().mean()) > 0.5


@pytest.mark.parametrize("graph", [nx.path_graph(30), nx.complete_graph(20), nx.gnp_random_graph(30, 0.7, seed=1)], ids=len)
def test_as_many_edges_are_added_as_taken_and_one_in_fifty_of_the_fewer(graph: nx.Graph) -> None:
    """Taken and added in the mean: 2 (.1 f)^2 / e and 2 (.1 f)^2 / r of e edges and r pairs without, f the fewer of them."""
    rng, draws, n, edges = stream("test", "toggle"), 2000, len(graph), graph.number_of_edges()
    missing, before = n * (n - 1) // 2 - edges, torch.from_numpy(nx.to_numpy_array(graph)).bool()
    taken = added = 0
    for _ in range(draws):
        after = toggled(graph, rng)
        assert torch.equal(after, after.T)
        assert not after.diagonal().any()
        taken, added = taken + int((before & ~after).sum()) // 2, added + int((after & ~before).sum()) // 2
    for changed, number in ((taken, edges), (added, missing)):
        mean = 2 * (0.1 * min(edges, missing)) ** 2 / number * draws if number else 0
        assert changed == pytest.approx(mean, abs=4 * math.sqrt(mean))


@pytest.mark.parametrize(
    ("family", "share"),  # in 2,000 graphs each of the published generator itself, 25 ... 34 nodes
    [
        ("line", 0.40),
        ("lobster", 0.26),
        ("caterpillar", 0.24),
        ("tree", 0.20),
        ("caveman", 0.55),
        ("grid", 0.08),
        ("ladder", 0.0),
    ],
)
def test_as_many_graphs_are_in_pieces_as_of_the_published_generator(family: str, share: float) -> None:
    rng, kept = stream("test", "pieces", family), []
    while len(kept) < 400:
        graph = nx.from_numpy_array(toggled(family_graph(family, 25 + len(kept) % 10, rng), rng).numpy())
        if min(degree for _, degree in graph.degree):
            kept.append(not nx.is_connected(graph))
    assert sum(kept) / 400 == pytest.approx(share, abs=4 * math.sqrt(max(share, 0.01) * (1 - share) / 400))


def test_no_node_of_a_published_graph_is_isolated_and_an_eighth_of_them_is_in_pieces() -> None:
    rng, task = stream("test", "pieces"), PublishedDistances()
    graphs = [network(task.sample(rng)) for _ in range(600)]
    assert not any(nx.number_of_isolates(graph) for graph in graphs)
    assert sum(SHARES.values()) == pytest.approx(1)
    assert sum(not nx.is_connected(graph) for graph in graphs) / 600 == pytest.approx(0.13, abs=4 * math.sqrt(0.13 * 0.87 / 600))


def test_published_sets_apart_from_training_have_the_small_graphs_alone() -> None:
    rng = stream("test", "sizes")
    found = {
        split: {network(PublishedDistances(split=split).sample(rng)).number_of_nodes() for _ in range(100)} for split in SPLITS
    }
    assert found == {"train": set(range(25, 35)), "validation": set(range(25, 30)), "test": set(range(25, 30))}


# what certificates say of them


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "tags", "check", "said"),
    [
        (PublishedRingTransfer(hops=5), {CONTENT, MEMORISABLE}, "K2", "share of 2000 test inputs"),
        (PublishedTreeTransfer(hops=4), {CONTENT, MEMORISABLE}, "K2", "share of 2000 test inputs"),
        (PublishedCliqueMatch(), {CONTENT, MEMORISABLE}, "K5", "on the set of nodes"),
        (PublishedRingLookup(), {CONTENT}, "K5", "on the set of nodes"),
        (PublishedGraphTransfer(distance=10), {LOCAL}, "K2", "validation and test are the same samples by declaration"),
        (PublishedTwoRadius(), {CONTENT}, "K5", "on the set of nodes"),
        (PublishedTwoRadius(hops=1), {CONTENT}, "K5", "on the set of nodes"),
        (PublishedTwoRadius(centres=0), {CONTENT}, "K11", "disconnected by declaration"),
        (PublishedMeanExchange(), {CONTENT}, "K5", "on the set of nodes"),
        (PublishedPairMixing(), {CONTENT}, "K5", "on the set of nodes"),
        (PublishedPairMixing(commute=0.7), {CONTENT}, "K5", "on the set of nodes"),
        (PublishedDistances(), {LOCAL}, "K11", "disconnected by declaration"),
        (CycleOrTwo(), {UNIDENTIFIABLE, MEMORISABLE}, "K9", "no message passing net scores better than"),
    ],
    ids=lambda value: value.title if isinstance(value, Task) else None,
)
def test_a_published_flaw_is_named(task: Task, tags: set[str], check: str, said: str) -> None:
    found = certify(task)
    (line,) = [entry for entry in found["checks"] if entry["id"] == check]
    assert tags <= set(found["tags"])
    assert BROKEN not in found["tags"]
    assert said in line["detail"]

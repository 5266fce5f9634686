"""Facts about the published tasks: their samples, their edges and their flaws, as in the published code."""

import math

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets.published import (
    PublishedCliqueMatch,
    PublishedGraphTransfer,
    PublishedNeighborsMatch,
    PublishedRingLookup,
    PublishedRingTransfer,
    PublishedTreeTransfer,
)
from suite.rng import stream
from suite.task import Block, Split, Task

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FAMILIES = ["ring", "crossed_ring", "clique_path"]


def drawn(task: Task, num_graphs: int, split: Split = "train", seed: int = 0) -> Block:
    block = task.at(split, seed).draw(num_graphs, stream("test", split, seed))
    assert isinstance(block, Block)
    return block


def published_ring_edges(nodes: int, crosses: bool) -> list[tuple[int, int]]:
    """The edges of `generate_ring_transfer_graph`, one direction each, in its words."""
    edges = []
    for i in range(nodes - 1):
        edges.append((i, i + 1))
        if crosses and i < nodes // 2:
            edges.append((i, nodes - 1 - i))
            if nodes + 1 - i < nodes:
                edges.append((i, nodes + 1 - i))
    return [*edges, (0, nodes - 1)]


def published_lollipop_edges(nodes: int) -> list[tuple[int, int]]:
    """The edges of `generate_lollipop_transfer_graph`, one direction each: every pair of the clique comes up twice."""
    half = nodes // 2
    clique = [(i, j) for i in range(half) for j in range(half) if i != j]
    return clique + [(i, i + 1) for i in range(half - 1, nodes - 1)]


@pytest.mark.parametrize("family", FAMILIES)
def test_ring_transfer_has_five_distinct_inputs_in_all_splits(family: str) -> None:
    task = PublishedRingTransfer(family=family, hops=4)
    distinct = {split: drawn(task, 500, split).x.unique(dim=0) for split in ("train", "validation", "test")}
    assert len(distinct["train"]) == 5
    assert torch.equal(distinct["train"], distinct["test"])
    assert torch.equal(distinct["train"], distinct["validation"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("hops", [3, 4, 9])
def test_ring_transfer_repeats_the_edges_that_the_published_code_repeats(family: str, hops: int) -> None:
    block = drawn(PublishedRingTransfer(family=family, hops=hops), 2)
    if family == "clique_path":
        published = published_lollipop_edges(2 * (hops - 1))
    else:
        published = published_ring_edges(2 * hops, crosses=family == "crossed_ring")
    both = published + [(j, i) for i, j in published]
    assert sorted(map(tuple, block.edge_index.t().tolist())) == sorted(both)


@pytest.mark.parametrize(("hops", "arity"), [(1, 2), (3, 2), (2, 4)])
def test_tree_transfer_asks_the_root_of_a_complete_tree_for_the_class_of_a_leaf(hops: int, arity: int) -> None:
    block = drawn(PublishedTreeTransfer(hops=hops, arity=arity), 500)
    graph = nx.Graph(block.edge_index.T.tolist())
    assert nx.is_isomorphic(graph, nx.balanced_tree(arity, hops))
    assert block.edge_index.size(1) == 2 * graph.number_of_edges()  # each once either way
    (root,), (leaf,) = block.readout_index.tolist(), block.source_index.tolist()
    assert graph.degree[root] == arity
    assert graph.degree[leaf] == 1
    assert nx.shortest_path_length(graph, root, leaf) == hops
    assert torch.equal(block.x[:, leaf], torch.eye(5)[block.y[:, 0]])
    assert not block.x[:, root].any()
    assert (block.x.sum((1, 2)) == 5 * (len(graph) - 2) + 1).all()
    assert len(block.x.unique(dim=0)) == 5


def test_the_ring_lookup_has_each_key_on_its_own_node_and_asks_at_all_distances() -> None:
    block = drawn(PublishedRingLookup(radius=4), 400)
    graph = nx.Graph(block.edge_index.T.tolist())
    assert nx.is_isomorphic(graph, nx.cycle_graph(8))
    keys, values = block.x[:, :, :7], block.x[:, :, 7:]
    assert torch.equal(keys[:, 1:], torch.eye(7).expand(400, -1, -1))
    assert (values[:, 1:].sum(1) == 1).all()  # each value once
    assert not values[:, 0].any()
    far = set()
    for x, y in zip(block.x, block.y[:, 0].tolist(), strict=True):
        (holder,) = [node for node in range(1, 8) if torch.equal(x[node, :7], x[0, :7])]
        assert x[holder, 7:].argmax() == y
        far.add(nx.shortest_path_length(graph, 0, holder))
    assert far == {1, 2, 3, 4}


def test_the_clique_match_names_its_nodes_and_every_split_is_the_training_set() -> None:
    """Of a path of three cliques of ten, as NetworkX makes it; the root is the last node, five hops from the nine labelled."""
    block = drawn(PublishedCliqueMatch(), 400)
    graph = nx.disjoint_union_all([nx.complete_graph(10)] * 3)
    graph.add_edges_from([(9, 10), (19, 20)])
    assert nx.utils.edges_equal(nx.Graph(block.edge_index.T.tolist()).edges, graph.edges)
    far = nx.single_source_shortest_path_length(graph, int(block.readout_index))
    assert sorted(node for node, hops in far.items() if hops == 5) == list(range(9)) == block.source_index.tolist()
    labels, names = block.x[:, :, :10], block.x[:, :, 10:]
    assert torch.equal(names, torch.eye(30).expand(400, -1, -1))
    assert (labels[:, :9, :9].sum(1) == 1).all()  # each label once
    assert (labels[:, 9:29, 9] == 1).all()
    assert torch.equal(labels[torch.arange(400), block.y[:, 0]], labels[:, 29])
    one_set = {split: {x.numpy().tobytes() for x in drawn(PublishedCliqueMatch().at(split, 0), 3000).x} for split in SPLITS}
    assert len(set.union(*one_set.values())) <= 10_000 < 9 * math.factorial(9)


@pytest.mark.parametrize("family", ["ring", "crossed_ring"])
@pytest.mark.parametrize("distance", [3, 4, 9])
def test_graph_transfer_repeats_them_too(family: str, distance: int) -> None:
    """Both repositories build their rings by the same lines."""
    block = drawn(PublishedGraphTransfer(family=family, distance=distance), 2)
    published = published_ring_edges(2 * distance, crosses=family == "crossed_ring")
    assert sorted(map(tuple, block.edge_index.t().tolist())) == sorted(published + [(j, i) for i, j in published])


@pytest.mark.parametrize("family", FAMILIES)
def test_ring_transfer_shows_ones_everywhere_but_at_read_out_and_source(family: str) -> None:
    task = PublishedRingTransfer(family=family, hops=5)
    block = drawn(task, 20)
    assert not block.x[:, 0].any()
    assert torch.equal(block.x[:, block.source_index].argmax(2), block.y)
    assert (block.x[:, block.source_index].sum(2) == 1).all()
    rest = [v for v in range(block.num_nodes) if v not in (0, int(block.source_index))]
    assert (block.x[:, rest] == 1).all()
    graph = to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)
    assert nx.shortest_path_length(graph, 0, int(block.source_index)) == 5
    last = block.num_nodes - 1 if family == "clique_path" else block.num_nodes // 2
    assert int(block.source_index) == last


def test_a_clique_path_of_two_hops_was_not_published() -> None:
    with pytest.raises(ValueError, match="hops: must be >= 3 on the published clique path, got 2"):
        PublishedRingTransfer(family="clique_path", hops=2)


def samples_of(task: Task, split: Split, enough: int) -> set[tuple[int, ...]]:
    """All samples of a set: (query, values of the leaves), each."""
    block = drawn(task, enough, split)
    width = task.out_channels
    query = block.x[:, 0, :width].argmax(1, keepdim=True)
    values = block.x[:, block.source_index, width:].argmax(2)
    return set(map(tuple, torch.cat([query, values], dim=1).tolist()))


def test_neighbors_match_of_two_hops_has_all_96_questions_split_76_to_20() -> None:
    task = PublishedNeighborsMatch(hops=2)
    train, test = samples_of(task, "train", 3000), samples_of(task, "test", 3000)
    assert len(train) == 76
    assert len(test) == 20
    assert not train & test
    assert len({values for _, *rest in train | test for values in [tuple(rest)]}) == 24
    assert samples_of(task, "validation", 3000) == train  # judged by train accuracy


@pytest.mark.parametrize(
    ("hops", "permutations", "samples"),
    [(2, 24, 96), (3, 1000, 8000), (4, 1000, 16000), (5, 1000, 32000), (6, 500, 32000), (8, 125, 32000)],
)
def test_neighbors_match_has_the_published_number_of_samples(hops: int, permutations: int, samples: int) -> None:
    from datasets.published.neighbors_match import _samples

    found = _samples(hops)
    both = torch.cat([found.train, found.test])
    assert len(both) == len(both.unique(dim=0)) == samples
    assert len(found.permutations.unique(dim=0)) == len(found.permutations) == permutations
    assert torch.equal(found.permutations.sort(1).values, torch.arange(1, 2**hops + 1).expand(permutations, -1))
    for part, share in ((found.train, 0.8), (found.test, 0.2)):
        answers = found.permutations[part[:, 0], part[:, 1]].bincount(minlength=2**hops + 1)
        assert answers[0] == 0
        assert (answers[1:] == answers[1]).all()  # stratified
        assert len(part) == pytest.approx(share * samples, abs=2**hops)


@pytest.mark.parametrize("hops", [2, 3, 4])
def test_neighbors_match_is_a_directed_tree_of_integers_with_self_loops(hops: int) -> None:
    block = drawn(PublishedNeighborsMatch(hops=hops), 30)
    n, width = 2 ** (hops + 1) - 1, 2**hops + 1
    edges = [(i, j) for i, j in block.edge_index.t().tolist() if i != j]
    assert block.edge_index.size(1) == len(edges) + n
    tree = nx.DiGraph(edges)
    assert nx.is_isomorphic(tree.to_undirected(), nx.balanced_tree(2, hops))
    assert nx.ancestors(tree, 0) == set(range(1, n))
    leaves = [v for v in tree if tree.in_degree(v) == 0]
    assert sorted(leaves) == block.source_index.tolist()
    keys, values = block.x[:, :, :width], block.x[:, :, width:]
    assert (keys.sum(2) == 1).all()
    assert (values.sum(2) == 1).all()
    assert torch.equal(keys[:, sorted(leaves)].argmax(2), torch.arange(1, width).expand(30, -1))
    inner = [v for v in tree if v not in leaves]
    assert (values[:, inner].argmax(2) == 0).all()
    assert (keys[:, [v for v in inner if v]].argmax(2) == 0).all()
    query = keys[:, 0].argmax(1)
    asked = values[torch.arange(30), torch.tensor(sorted(leaves))[query - 1]].argmax(1)
    assert torch.equal(asked, block.y[:, 0])


@pytest.mark.parametrize("hops", [2, 4])
def test_one_hot_neighbors_match_is_the_same_samples_without_the_columns_and_the_class_of_nothing(hops: int) -> None:
    integers, one_hot = (PublishedNeighborsMatch(hops=hops, one_hot=form) for form in (False, True))
    first, second = drawn(integers, 30), drawn(one_hot, 30)
    width = 2**hops
    assert (one_hot.out_channels, one_hot.chance, second.x.size(2)) == (width, integers.chance, 2 * width)
    assert torch.equal(second.edge_index, first.edge_index)
    inner = torch.arange(1, width - 1)  # below the root
    assert not second.x[:, inner].any()
    leaves = second.x[:, width - 1 :]
    assert torch.equal(leaves[:, :, :width], torch.eye(width).expand(30, -1, -1))  # keys
    assert torch.equal(leaves[:, :, width:].sum((1, 2)), torch.full((30,), float(width)))
    query, nothing = second.x[:, 0, :width].argmax(1), second.x[:, 0, width:]
    assert not nothing.any()
    assert torch.equal(leaves[torch.arange(30), query, width:].argmax(1), second.y[:, 0])
    assert torch.equal(one_hot.witness(second).argmax(-1), second.y)


def test_a_linear_layer_on_the_integers_is_a_sum_of_embeddings() -> None:
    block = drawn(PublishedNeighborsMatch(hops=3), 4)
    keys, values = torch.nn.Embedding(9, 32), torch.nn.Embedding(9, 32)
    x = block.x.view(4, 15, 2, 9).argmax(3)
    summed = keys(x[:, :, 0]) + values(x[:, :, 1])
    weight = torch.cat([keys.weight, values.weight])
    assert torch.allclose(block.x @ weight, summed, atol=1e-6)


def test_chance_is_one_leaf_in_all() -> None:
    assert [PublishedNeighborsMatch(hops=r).chance for r in (2, 3, 5)] == [1 / 4, 1 / 8, 1 / 32]
    assert PublishedRingTransfer().chance == pytest.approx(0.2)


@pytest.mark.parametrize(
    "task", [PublishedRingTransfer(), PublishedNeighborsMatch(), PublishedRingLookup()], ids=lambda task: task.title
)
def test_a_stream_gives_the_same_graphs_again_and_leaves_global_randomness_alone(task: Task) -> None:
    before = torch.get_rng_state()
    first, again, other = drawn(task, 50), drawn(task, 50), drawn(task, 50, seed=1)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    assert torch.equal(before, torch.get_rng_state())

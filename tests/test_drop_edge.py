"""DropEdge: which edges are left, against counting, probability and PyG; and that every path of the engine drops the same."""

from collections import Counter

import pytest
import torch
from torch import Tensor
from torch_geometric.utils import dropout_edge, is_undirected, sort_edge_index

from suite.operators import GraphOperators, SharedOperators
from suite.operators.edges import drop_pairs

# An edge up, one down, both ways, both ways with one listed twice, a loop, a loop listed twice.
MIXED = torch.tensor([[0, 3, 1, 2, 4, 5, 4, 2, 0, 0], [1, 2, 2, 1, 5, 4, 5, 2, 0, 0]])
TREE = torch.tensor([[1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 2]])  # directed, from leaves to root
DRAWS = 4000


def listed(edge_index: Tensor) -> Counter[tuple[int, int]]:
    return Counter((int(u), int(v)) for u, v in edge_index.T)


def unordered(edge_index: Tensor) -> set[frozenset[int]]:
    return {frozenset((int(u), int(v))) for u, v in edge_index.T}


@pytest.mark.parametrize("edge_index", [MIXED, TREE])
def test_all_edges_listed_between_two_nodes_stay_as_they_are_or_go(edge_index: Tensor) -> None:
    torch.manual_seed(0)
    seen = Counter()
    for _ in range(DRAWS):
        kept = drop_pairs(edge_index, 0.3)
        pairs = unordered(kept)
        assert listed(kept) == Counter({e: n for e, n in listed(edge_index).items() if frozenset(e) in pairs})
        seen[frozenset(pairs)] += 1
    of = unordered(edge_index)
    for pair in of:  # within four standard errors of what a fair draw gives
        rate = sum(count for pairs, count in seen.items() if pair in pairs) / DRAWS
        assert rate == pytest.approx(0.7, abs=4 * (0.21 / DRAWS) ** 0.5)
    assert seen[frozenset(of)] / DRAWS == pytest.approx(0.7 ** len(of), abs=4 * (0.25 / DRAWS) ** 0.5)  # draws are independent


def test_order_and_extremes() -> None:
    assert torch.equal(drop_pairs(MIXED, 0.0), MIXED)
    assert drop_pairs(MIXED, 1.0).shape == (2, 0)
    assert drop_pairs(MIXED[:, :0], 0.5).shape == (2, 0)
    torch.manual_seed(1)
    kept = drop_pairs(TREE, 0.5)
    assert kept.T.tolist() == [edge for edge in TREE.T.tolist() if edge in kept.T.tolist()]


@pytest.mark.parametrize("seed", range(5))
def test_on_undirected_graphs_it_is_that_of_pyg(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    upper = torch.triu(torch.rand(12, 12, generator=rng) < 0.4, 1)
    edge_index = (upper | upper.T).nonzero().T
    torch.manual_seed(seed)
    ours = drop_pairs(edge_index, 0.4)
    torch.manual_seed(seed)
    theirs = dropout_edge(edge_index, 0.4, force_undirected=True)[0]
    assert is_undirected(ours, num_nodes=12)
    assert 0 < ours.size(1) < edge_index.size(1)
    assert torch.equal(sort_edge_index(ours), sort_edge_index(theirs))


def test_graphs_of_a_batch_are_drawn_apart_and_stay_apart() -> None:
    edge_index, batch = torch.cat([TREE, TREE + 7], 1), torch.arange(2).repeat_interleave(7)
    eye, differs = torch.eye(14, dtype=torch.float64), 0
    for seed in range(20):
        torch.manual_seed(seed)
        found = GraphOperators(edge_index, 14, torch.float64, batch).drop_edges(0.5).sum(eye)
        assert not found[:7, 7:].any()
        assert not found[7:, :7].any()
        differs += not torch.equal(found[:7, :7], found[7:, 7:])
    assert differs > 10  # each time with probability 1 - (1/2)^6


@pytest.mark.parametrize("edge_index", [MIXED, TREE])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("sizes", [[7, 7, 7], [7, 3, 1]])
def test_graphs_of_one_topology_lose_the_edges_that_one_graph_loses(edge_index: Tensor, alike: bool, sizes: list[int]) -> None:
    """Two layers of sums at the leading rows, with and without a cone, and with nodes that are alike in both graphs."""
    order = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    if sizes[-1] == 7:
        order = order.flip(0)
    varying = torch.tensor([True, False] * 3 + [True]) if alike else None
    whole = SharedOperators(edge_index, order, sizes, torch.float64, varying)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    if varying is not None:
        x[1, ~varying] = x[0, ~varying]
    for seed in range(10):
        torch.manual_seed(seed)
        op = whole.drop_edges(0.4)
        h = op.enter([x])
        for index in range(2):
            h = op.layer(index).sum(h)
        found = op.read(h, [0], 2)[0]
        torch.manual_seed(seed)
        plain = GraphOperators(edge_index, 7, torch.float64).drop_edges(0.4)
        expected = torch.stack([plain.sum(plain.sum(one))[order[0]] for one in x])
        torch.testing.assert_close(found, expected)


def test_edge_states_go_with_their_edges() -> None:
    """What a layer computes for each edge is of an edge that the graph has."""
    torch.manual_seed(3)
    dropped = GraphOperators(MIXED, 6, torch.float64).drop_edges(0.5)
    edges = dropped.edges(torch.eye(6, dtype=torch.float64))
    assert 0 < len(edges.row) < MIXED.size(1)
    assert not listed(torch.stack([edges.row, edges.col])) - listed(MIXED)
    assert edges.number.tolist() == list(range(len(edges.row)))

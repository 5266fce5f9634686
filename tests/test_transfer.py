"""Facts about transfer: who carries what, where decoys stand, and what can be guessed without edges."""

from collections import Counter
from fractions import Fraction
from math import comb
from typing import Any

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree, to_networkx

from datasets.altered import Decoyed
from datasets.barbell import Barbell
from datasets.chance import commonest_share
from datasets.clique_path import CliquePath
from datasets.crossed_ring import CrossedRing
from datasets.grid import Grid
from datasets.layered import Layered
from datasets.network import Network
from datasets.own_token import OwnToken
from datasets.ring import Ring
from datasets.theta import Theta
from datasets.transfer import Transfer, TransferWithAnswer, TransferWithSource
from datasets.tree import Tree
from suite.cell import TaskRef
from suite.measures.recoverability import _own_tokens
from suite.refs import ref_of
from suite.rng import stream
from suite.task import Block, Topology

K = 5
BY_FLAG: list[tuple[Topology, int, int, int, int]] = [  # topology, hops, decoys nearer, farther, flagged of each class
    (Tree(extra=2), 2, 1, 8, 2),
    (Tree(arity=3, extra=2), 3, 1, 8, 2),
    (Network(name="ky4_water"), 6, 1, 8, 2),
    (Network(name="schutterwald_lv_grid"), 8, 1, 8, 2),
    (Tree(extra=1), 3, 6, 0, 0),  # leaves alone are farther, and they have another degree
    (Barbell(clique_size=8), 5, 6, 0, 0),  # six others in the read-out's clique hold no bridge
]


def drawn(task: Transfer, num_graphs: int = 200, seed: int = 0) -> Block:
    return task.draw(num_graphs, torch.Generator().manual_seed(seed))


def hops_from(block: Block) -> dict[int, int]:
    graph = Data(edge_index=block.edge_index, num_nodes=block.num_nodes)
    return nx.single_source_shortest_path_length(to_networkx(graph, to_undirected=True), int(block.readout_index))


def test_by_content_the_answer_is_planted_hops_away_from_a_node_that_knows_nothing() -> None:
    block = drawn(Transfer(hops=4, num_classes=3))
    source, readout = int(block.source_index), int(block.readout_index)
    assert hops_from(block)[source] == 4
    assert torch.equal(block.x[:, source, :3].argmax(1), block.y[:, 0])
    assert not block.x[:, readout, :3].any()
    others = torch.arange(block.num_nodes) != readout
    assert (block.x[:, others, :3].sum(2) == 1).all()
    assert block.x[0, :, 3:].nonzero().tolist() == [[readout, 1], [source, 0]]  # one flag each
    assert (block.x[:, :, 3:] == block.x[0, :, 3:]).all()


@pytest.mark.parametrize("crowding", [1, 4])
def test_by_key_one_node_alone_carries_what_the_read_out_shows(crowding: int) -> None:
    block = drawn(Transfer(hops=4, crowding=crowding))
    keys = block.x[:, :, K:-1]
    assert keys.size(2) == crowding + 1
    wanted = keys[:, block.readout_index]  # [graphs, 1, keys]
    assert (wanted.sum(2) == 1).all()
    carries = (keys * wanted).sum(2).bool()
    carries[:, block.readout_index] = False
    assert torch.equal(carries.nonzero()[:, 1], block.source_index.expand(block.num_graphs))
    at_others = keys.sum(1) - wanted[:, 0]
    assert (at_others == 1).all()  # each key stands once beside the read-out's
    assert torch.equal(block.x[:, block.source_index, :K].argmax(2), block.y)


def test_keys_and_their_carriers_differ_between_samples() -> None:
    keys = drawn(Transfer(hops=4, crowding=1)).x[:, :, K:-1]
    assert len({tuple(k.flatten().tolist()) for k in keys}) > 10


@pytest.mark.parametrize(("topology", "hops", "nearer", "farther", "each"), BY_FLAG, ids=str)
def test_by_position_one_flag_stands_hops_away_and_the_others_elsewhere_with_its_degree(
    topology: Topology, hops: int, nearer: int, farther: int, each: int
) -> None:
    task = Transfer(topology=topology, addressing="position", hops=hops)
    for block in (drawn(task, 50), drawn(task.at("test", 1), 50)):
        distance, degrees = hops_from(block), degree(block.edge_index[0], block.num_nodes)
        for x, y in zip(block.x, block.y, strict=True):
            flagged = x[:, K].nonzero().flatten()
            counts = Counter((distance[v] > hops) - (distance[v] < hops) for v in flagged.tolist())
            assert counts == Counter({-1: nearer, 0: 1, 1: farther})
            assert (degrees[flagged] == degrees[block.source_index]).all()
            assert x[block.source_index, K] == 1
            assert x[block.source_index, :K].argmax() == y
            if each:
                assert x[flagged, :K].sum(0).tolist() == [each] * K


def test_crowding_balances_where_it_can_be_divided_and_the_graph_has_room() -> None:
    task = Transfer(topology=Tree(arity=3, extra=2), addressing="position", hops=3, num_classes=3, crowding=8)
    block = drawn(task)
    flagged = block.x[:, :, 3].bool()
    assert task.chance == pytest.approx(1 / 3)
    assert (block.x[:, :, :3] * flagged.unsqueeze(2)).sum(1).eq(3).all()  # 9 flags, 3 of each class
    uneven = task.model_copy(update={"crowding": 4})
    assert uneven.chance == pytest.approx(commonest_share(5, 3))


def test_under_balance_the_source_is_uniform_and_independent_of_the_nearer_decoy() -> None:
    topology, samples = Tree(extra=2), 20_000
    block = drawn(Transfer(topology=topology, addressing="position", hops=2), samples)
    distance = torch.tensor([d for _, d in sorted(hops_from(block).items())])
    near = (block.x[:, :, K] * (distance < 2)).argmax(1)
    token = block.x[torch.arange(samples), near, :K].argmax(1)
    counts = torch.bincount(token * K + block.y[:, 0], minlength=K * K)
    expected = samples / K**2
    assert (counts - expected).abs().max() < 5 * expected**0.5


def test_where_the_source_is_alone_at_its_distance_all_nodes_are_decoys() -> None:
    block = drawn(Transfer(addressing="position", hops=6))
    assert block.x.size(2) == K + 1
    assert block.x[:, :, K].nonzero()[:, 1].eq(block.readout_index).all()
    assert block.x[:, :, :K].sum(2).sum(1).eq(2 * 6 - 1).all()


DEGREE_OF_ITS_OWN = (  # of the source, by the arguments of each family
    st.builds(Theta, paths=st.integers(3, 8)),
    st.builds(Layered, width=st.integers(1, 8)),
    st.just(CrossedRing()),
)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(inner=st.one_of(DEGREE_OF_ITS_OWN), hops=st.integers(2, 9), decoys=st.integers(1, 4))
def test_pendant_decoys_leave_the_position_as_all_that_tells_the_source(inner: Topology, hops: int, decoys: int) -> None:
    task = Transfer(topology=Decoyed(topology=inner, decoys=decoys), addressing="position", hops=hops)
    block = drawn(task, 20)
    distance, degrees = hops_from(block), degree(block.edge_index[0], block.num_nodes)
    source, readout = int(block.source_index), int(block.readout_index)
    assert distance[source] == hops
    flagged = block.x[:, :, K] == 1 if block.x.size(2) == K + 2 else torch.arange(block.num_nodes) != readout
    alike = flagged.expand(block.num_graphs, -1) & (degrees == degrees[source])
    assert alike[:, source].all()
    nearer = torch.tensor([distance[node] < hops for node in range(block.num_nodes)])
    assert (alike & nearer).any(1).all()
    assert not any(distance[v] == hops for row in alike for v in row.nonzero().flatten().tolist() if v != source)
    # What a set of nodes sees of the source, but for its class, which is iid, it sees of `decoys + 1` nodes or more.
    seen = [torch.cat([block.x[:, v, K:], degrees[v].expand(block.num_graphs, 1)], dim=1) for v in range(block.num_nodes)]
    same = torch.stack([(one == seen[source]).all(1) for one in seen], dim=1)
    assert torch.equal(same, alike)
    assert task.chance == pytest.approx(commonest_share(int(same[0].sum()), K))


def test_pendant_decoys_give_theta_and_crossed_ring_the_chance_of_a_ring() -> None:
    for inner in (Theta(paths=4), CrossedRing()):  # two nodes a level, as a ring has
        fields = {"addressing": "position", "hops": 5, "crowding": 8 if isinstance(inner, Theta) else None}
        task = Transfer(topology=Decoyed(topology=inner), **fields)
        assert task.chance == pytest.approx(Transfer(addressing="position", hops=5).chance)


TABLE = {  # of `num_tokens` tokens of `num_classes`, from the task catalogue; one entry there is cut, not rounded
    (5, 2): 0.687, (9, 2): 0.637, (10, 2): 0.623, (19, 2): 0.593, (39, 2): 0.564, (99, 2): 0.540,
    (5, 5): 0.457, (9, 5): 0.386, (10, 5): 0.376, (19, 5): 0.325, (20, 5): 0.322, (39, 5): 0.286, (99, 5): 0.253,
    (5, 10): 0.358, (9, 10): 0.286, (19, 10): 0.224, (39, 10): 0.184, (99, 10): 0.152,
}  # fmt: skip


@pytest.mark.parametrize(("num_tokens", "num_classes"), TABLE)
def test_share_of_the_commonest_class_has_the_tabulated_values(num_tokens: int, num_classes: int) -> None:
    assert commonest_share(num_tokens, num_classes) == pytest.approx(TABLE[num_tokens, num_classes], abs=6e-4)


@given(st.integers(1, 30), st.integers(2, 8))
@settings(deadline=None)
def test_share_of_the_commonest_class_is_the_one_counted_in_integers(num_tokens: int, num_classes: int) -> None:
    outcomes, expected = num_classes**num_tokens, Fraction(0)
    for bound in range(num_tokens):  # E[max] is the sum over t of P(max > t)
        ways = [int(m <= bound) for m in range(num_tokens + 1)]  # of m tokens, no class more than `bound` times
        for _ in range(num_classes - 1):
            ways = [sum(comb(m, j) * ways[m - j] for j in range(min(bound, m) + 1)) for m in range(num_tokens + 1)]
        expected += 1 - Fraction(ways[num_tokens], outcomes)
    assert commonest_share(num_tokens, num_classes) == pytest.approx(float(expected / num_tokens), rel=1e-11)


def commonest_guess(block: Block, alike: Tensor) -> float:
    """Accuracy of guessing the commonest class among the nodes `alike` [num_nodes]."""
    guess = block.x[:, alike, :K].sum(1).argmax(1)
    return float((guess == block.y[:, 0]).double().mean())


def test_chance_is_what_guessing_the_commonest_class_scores() -> None:
    samples = 40_000
    ring = Transfer(addressing="position", hops=5)
    block = drawn(ring, samples)
    alike = torch.arange(block.num_nodes) != block.readout_index
    assert commonest_guess(block, alike) == pytest.approx(ring.chance, abs=0.01)  # 4 standard errors
    assert ring.chance == pytest.approx(commonest_share(9, K))

    lollipop = Transfer(topology=CliquePath(extra=2), addressing="position", hops=5)
    block = drawn(lollipop, samples)
    alike = degree(block.edge_index[0], block.num_nodes) == 2  # the source's degree
    assert commonest_guess(block, alike) == pytest.approx(lollipop.chance, abs=0.01)
    assert lollipop.chance == pytest.approx(commonest_share(5, K))  # hops + extra - 2 nodes


@pytest.mark.parametrize(
    "task",
    [
        Transfer(),
        Transfer(crowding=3),
        Transfer(addressing="position"),
        Transfer(addressing="position", topology=Tree(extra=2), hops=2),
        Transfer(topology=Network(name="ky10_water"), addressing="position", hops=4),
    ],
    ids=lambda task: f"{task.title} {task.topology.kind}",
)
def test_a_stream_gives_the_same_graphs_again_and_leaves_global_randomness_alone(task: Transfer) -> None:
    before = torch.get_rng_state()
    first, again, other = (task.draw(20, stream("test", i)) for i in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.y, again.y)
    assert not torch.equal(first.x, other.x)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hops": 0}, "hops: must be >= 2 on a ring, got 0"),
        ({"hops": 1}, "hops: must be >= 2 on a ring, got 1"),
        ({"hops": "far"}, "hops"),
        ({"topology": "rings"}, "Did you mean 'ring'"),
        ({"distance": 3}, "distance"),
        ({"crowding": 9}, "crowding: must be <= 8, .* got 9"),
        ({"flags": True}, "flags: .* by content leave it out, got True"),
        (
            {"addressing": "position", "topology": CrossedRing()},
            "known by its degree.*kind = 'decoyed', topology = 'crossed_ring'",
        ),
        ({"addressing": "position", "topology": Theta()}, "known by its degree.*kind = 'decoyed', topology = 'theta'"),
        ({"addressing": "position", "topology": Layered()}, "known by its degree.*kind = 'decoyed', topology = 'layered'"),
        ({"addressing": "position", "topology": Tree(), "hops": 3}, "known by its degree.*tree"),
        ({"addressing": "position", "topology": CliquePath()}, "known by its degree.*clique_path"),
        ({"addressing": "position", "crowding": 2}, "crowding: without flags .* got 2"),
        ({"addressing": "position", "topology": Barbell(), "flags": False}, "flags: must be true where 7 nodes"),
        ({"addressing": "position", "topology": Barbell(), "crowding": 7}, "crowding: must be between 1 and 6"),
        ({"addressing": "position", "topology": Barbell(), "crowding": 0}, "crowding: must be between 1 and 6"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_place_allowed_and_given(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Transfer(**fields)


class TwoPlaces(Topology):
    """A ring that asks at two nodes at once."""

    kind: str = "two_places"

    def build(self, hops: int) -> Data:
        graph = Ring().build(hops)
        graph.readout_index = torch.tensor([0, 1])
        graph.source_index = torch.tensor([hops, hops + 1])
        return graph


def test_one_question_a_graph() -> None:
    with pytest.raises(ValueError, match="asks at one node, this two_places has 2"):
        Transfer(topology=TwoPlaces())


@pytest.mark.parametrize("addressing", ["content", "position"])
def test_twins_are_the_same_draws_with_the_answer_or_the_source_in_sight(addressing: str) -> None:
    task = Transfer(addressing=addressing, hops=3)
    block, told = drawn(task), drawn(task.answer_twin())
    assert torch.equal(told.x[:, :, : block.x.size(2)], block.x)
    said = told.x[:, :, block.x.size(2) :]
    assert torch.equal(said[:, block.readout_index].argmax(2), block.y)
    assert said.sum() == block.num_graphs  # nowhere else
    marked = drawn(TransferWithSource(**dict(task)))
    assert marked.x[:, :, -1].nonzero()[:, 1].eq(block.source_index).all()
    twin = task.content_twin()
    assert isinstance(twin, TransferWithSource if addressing == "position" else Transfer)
    assert TaskRef(ref=ref_of(TransferWithAnswer), params=task.config(), version=1).load() == task.answer_twin()


def test_validation_and_test_of_a_network_ask_at_other_places() -> None:
    task = Transfer(topology=Network(name="ky4_water"), hops=4)
    asked = {s: {int(task.at(s, b).draw(1, stream(0)).readout_index) for b in range(8)} for s in ("train", "test")}
    assert len(asked["train"]) > 1
    assert not asked["train"] & asked["test"]


@pytest.mark.parametrize(
    "fields", [{"addressing": "content", "crowding": 2}, {"addressing": "position", "topology": Grid(width=4)}]
)
def test_noise_is_on_tokens_alone_and_leaves_each_the_one_column_above_a_half(fields: dict[str, Any]) -> None:
    task = Transfer(hops=4, num_classes=3, noise=0.45, **fields)
    block = task.draw(500, stream("test"))
    tokens, address = block.x[:, :, :3], block.x[:, :, 3:]
    assert set(address.unique().tolist()) == {0, 1}
    assert not tokens[:, block.readout_index].any()
    others = torch.ones(block.num_nodes, dtype=torch.bool).index_fill(0, block.readout_index, False)
    assert ((tokens[:, others] > 0.5).sum(2) == 1).all()
    assert block.source_index is not None
    assert torch.equal(tokens[:, block.source_index].argmax(2), block.y)
    off = tokens[:, others] - (tokens[:, others] > 0.5).float()
    assert float(off.std()) == pytest.approx(0.45 / 3**0.5, rel=0.02)  # U(-a, a)
    assert float(off.abs().max()) <= 0.45
    assert task.chance == Transfer(hops=4, num_classes=3, **fields).chance


def test_tokens_of_half_noise_are_told_apart_from_nodes_that_have_none() -> None:
    """And what is recovered of them at depth 0 is all of it."""
    task = OwnToken(topology=Ring(), size=6, num_classes=3, noise=0.4)
    block = task.draw(50, stream("test"))
    tokens, num_classes = _own_tokens(block.to_data_list(), slice(0, 3))
    assert num_classes == 3
    assert torch.equal(tokens.view(50, -1), block.y)
    carried, _ = _own_tokens(Transfer(hops=4, num_classes=3, noise=0.4).draw(50, stream("test")).to_data_list(), slice(0, 3))
    assert ((carried.view(50, -1) == -1).sum(1) == 1).all()  # the read-out

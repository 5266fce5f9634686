"""Facts about proximity: what is counted, what decides, and that nothing nearer tells."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.grid import Grid
from datasets.path import Path
from datasets.proximity import Proximity
from datasets.ring import Ring
from datasets.tree import Tree
from suite.certify import CERTIFIED, certify
from suite.hops import hop_distance
from suite.rng import stream
from suite.task import Block
from suite.witness import witness_score

TOPOLOGIES = [Path(tail=16), Grid(width=4, extra=6), Tree(extra=2)]


def drawn(task: Proximity, count: int = 200) -> tuple[Block, torch.Tensor]:
    """Return a block and the hops of every node from the read-out."""
    block = task.draw(count, stream("test"))
    return block, hop_distance(block.edge_index, block.readout_index, block.num_nodes)[0]


@settings(max_examples=20, deadline=None)
@given(topology=st.sampled_from(TOPOLOGIES), hops=st.integers(1, 4), num_near=st.integers(0, 1))
def test_the_answer_is_whether_the_ball_holds_more_blue_nodes(topology: object, hops: int, num_near: int) -> None:
    task = Proximity(topology=topology, hops=hops, num_near=num_near)  # type: ignore[arg-type]
    block, far = drawn(task)
    blue = block.x[:, :, 0] == 1
    inside = (blue & (far <= hops)).sum(1)
    assert torch.equal((inside > num_near).long(), block.y[:, 0])
    assert set(inside.tolist()) == {num_near, num_near + 1}
    assert blue.sum(1).unique().tolist() == [num_near + 1]  # as many in all, whatever the answer
    assert not blue[:, block.readout_index].any()
    assert witness_score(task, torch.float32) == 1


def test_the_ball_of_one_hop_less_looks_alike_under_both_answers() -> None:
    task = Proximity(topology=Path(tail=6), hops=3, num_near=1)
    block, far = drawn(task, 40_000)
    seen = (block.x[:, :, 0] * (far < 3)).argmax(1) * (block.x[:, :, 0] * (far < 3)).any(1)
    shares = []
    for answer in (0, 1):
        of_answer = seen[block.y[:, 0] == answer]
        counts = Counter(of_answer.tolist())
        shares.append({node: count / of_answer.numel() for node, count in counts.items()})
    assert shares[0].keys() == shares[1].keys()
    for node, share in shares[0].items():
        assert share == pytest.approx(shares[1][node], abs=0.015)  # 4 standard deviations of 20,000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topology": Ring()}, "topology: must go on beyond 5 hops"),
        ({"topology": Path(tail=9), "hops": 2, "num_near": 4}, "num_near: must be < 4, the nodes within 2 hops"),
    ],
)
def test_what_leaves_no_room_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Proximity(**fields)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("hops", [3, 5])
def test_its_certificate_says_certified(hops: int) -> None:
    assert certify(Proximity(hops=hops))["verdict"] == CERTIFIED

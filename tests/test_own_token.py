"""Facts about own token: every node is asked for what it carries."""

import pytest
import torch

from datasets.barbell import Barbell
from datasets.own_token import OwnToken
from suite.rng import stream


@pytest.mark.parametrize("topology", ["ring", "tree", Barbell(clique_size=4)], ids=str)
def test_every_node_is_asked_for_its_own_class(topology: object) -> None:
    task = OwnToken(topology=topology, size=4, num_classes=3)
    block = task.draw(300, stream("test"))
    assert torch.equal(block.x.argmax(2), block.y)
    assert (block.x.sum(2) == 1).all()
    assert block.readout_index.tolist() == list(range(block.num_nodes)) == block.source_index.tolist()
    assert block.y.flatten().bincount(minlength=3).min() > 0.3 * block.y.numel()
    assert torch.equal(block.edge_index, task.topology.build(4).edge_index)


def test_the_answer_lies_at_no_distance_whatever_the_size() -> None:
    assert OwnToken(size=7).range == 0
    assert OwnToken().chance == pytest.approx(1 / 5)


def test_a_size_the_topology_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"size: .* must be >= 2 on a ring, got 1"):
        OwnToken(size=1)

"""What a training step takes: counts worked out by hand, and two ways to write one model that must count alike."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.engine.batches import draw
from suite.engine.flops import flops_per_step
from suite.models import build, resolve
from suite.task import Task

RING = Transfer(topology=Ring(), hops=4)  # 8 nodes, 7 features, 5 classes
NODES, EDGES, IN, WIDTH, OUT = 8, 16, 7, 6, 5


def linear(rows: int, a: int, b: int, first: bool = False) -> int:
    """Forward, then by weight and by input; the first map of a model has no use for the last."""
    return 2 * rows * a * b * (2 if first else 3)


class PlainGCN(nn.Module):
    """PyG's way to write `gcn` without norm."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(IN, WIDTH), nn.Linear(WIDTH, OUT)
        self.convs = nn.ModuleList(GCNConv(WIDTH, WIDTH) for _ in range(num_layers))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.first(x).relu()
        for conv in self.convs:
            h = conv(h, edge_index).relu()
        return self.last(h)


def test_a_gcn_takes_its_linear_maps_and_two_sparse_products_a_layer() -> None:
    model = build(resolve("gcn", {"norm": "none", "encoder": "linear"}), IN, WIDTH, 3, OUT)
    sparse = 2 * (EDGES + NODES) * WIDTH  # with self-loops
    graph = linear(NODES, IN, WIDTH, first=True) + 3 * (linear(NODES, WIDTH, WIDTH) + 2 * sparse) + linear(NODES, WIDTH, OUT)
    assert flops_per_step(model, draw(RING, 0, "train", 0, 10)) == 10 * graph
    assert flops_per_step(PlainGCN(3), draw(RING, 0, "train", 0, 10)) == 10 * graph


@pytest.mark.parametrize("nodes", [8, 300])  # of so many, attention is fused
def test_attention_takes_four_maps_and_two_products_of_all_pairs_three_times(nodes: int) -> None:
    ref = resolve("set_transformer", {"heads": 1, "mlp_channels": 10, "norm": "none"})
    model = build(ref, IN, WIDTH, 1, OUT)
    maps = 4 * linear(nodes, WIDTH, WIDTH) + linear(nodes, WIDTH, 10) + linear(nodes, 10, WIDTH)
    encoder = linear(nodes, IN, WIDTH, first=True) + linear(nodes, WIDTH, WIDTH)
    pairs = 2 * linear(nodes, WIDTH, nodes)  # queries by keys, weights by values
    drawn = draw(Transfer(topology=Ring(), hops=nodes // 2), 0, "train", 0, 3)
    assert flops_per_step(model, drawn) == 3 * (encoder + maps + pairs + linear(nodes, WIDTH, OUT))


def test_a_constant_takes_none_and_depth_without_weights_only_what_reaches_a_weight() -> None:
    drawn = draw(RING, 0, "train", 0, 4)
    assert flops_per_step(build(resolve("constant"), IN, 1, 5, OUT), drawn) == 0
    bare = build(resolve("propagation"), IN, 1, 3, OUT)  # no derivative by x is taken
    assert flops_per_step(bare, drawn) == 4 * (3 * 2 * (EDGES + NODES) * IN + linear(NODES, IN, OUT, first=True))


class TwoSizes(Task):
    """Every other graph is twice as long."""

    num_classes: int = 2

    def draw(self, num_graphs: int, rng: torch.Generator) -> list[Data]:
        return [self._path(3 if index % 2 else 6) for index in range(num_graphs)]

    def _path(self, num_nodes: int) -> Data:
        edge_index = torch.stack([torch.arange(num_nodes - 1), torch.arange(1, num_nodes)])
        first = torch.zeros(1, dtype=torch.long)
        return Data(x=torch.ones(num_nodes, IN), edge_index=edge_index, y=first, readout_index=first)


def test_graphs_that_differ_count_by_their_mean() -> None:
    model = build(resolve("mlp", {"norm": "none", "encoder": "linear"}), IN, WIDTH, 0, OUT)
    each = [linear(rows, IN, WIDTH, first=True) + linear(rows, WIDTH, OUT) for rows in (3, 6)]
    assert flops_per_step(model, draw(TwoSizes(), 0, "train", 0, 20)) == 10 * sum(each)


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.5, "drop_edge": 0.5}])
def test_counting_changes_neither_the_model_nor_random_numbers(settings: dict[str, float]) -> None:
    model = build(resolve("gcn", settings), IN, WIDTH, 2, OUT).eval()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    flops_per_step(model, draw(RING, 0, "train", 0, 4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training

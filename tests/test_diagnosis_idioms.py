"""Modules as strangers write them: what they return, how they are called, what they are wrapped in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles import Means
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import GCN, GCNConv, global_mean_pool
from torch_geometric.utils import to_undirected

import suite
from suite.diagnosis.given import by_node, unwrapped
from suite.measures.frozen import Frozen


def ring(num_nodes: int = 7, seed: int = 0) -> Data:
    node = torch.arange(num_nodes)
    x = torch.randn(num_nodes, 3, generator=torch.Generator().manual_seed(seed))
    return Data(x=x, edge_index=to_undirected(torch.stack([node, node.roll(-1)])))


@dataclass
class Answer:
    logits: Tensor
    loss: float = 0.0


class Returning(nn.Module):
    """Two means over neighbours and self, returned in some form."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.net, self.form = Means(2), form

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        h = self.net(x, edge_index)
        forms = {
            "alone": h,
            "dictionary": {"loss": h.sum(), "logits": h, "which": torch.arange(len(h))},
            "dataclass": Answer(h),
            "data": Data(x=h, edge_index=edge_index),
            "first": ({"logits": h}, "weights"),
            "two": {"logits": h, "hidden": h, "loss": h.sum()},
            "none": {"loss": 1.0, "names": "abc"},
            "several of the graph": {"mean": h.mean(0), "sum": h.sum(0)},
            "whole": {"score": h.sum((0, 1)).reshape(1), "which": torch.arange(len(h))},
        }
        return forms[self.form]


@pytest.mark.parametrize(
    ("form", "name"), [("dictionary", "logits"), ("dataclass", "logits"), ("data", "x"), ("first", "logits")]
)
def test_of_outputs_by_name_the_one_with_a_row_per_node_counts(form: str, name: str) -> None:
    plain, seen = (Frozen(by_node(Returning(each))).run([ring()]) for each in ("alone", form))
    assert torch.equal(seen.output, plain.output)
    assert len(seen.hidden) == 3
    assert (plain.counts, seen.counts) == ("", name)


def test_which_output_counts_is_said_and_an_output_of_the_graph_by_name_is_one() -> None:
    assert "Of its outputs 'logits' counts." in suite.diagnose(Returning("dictionary"), ring()).sentences["Looked at"]
    whole = suite.diagnose(Returning("whole"), ring())
    assert "stands in for the output" in whole.sentences["Looked at"]
    assert whole.num_layers == 2


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("two", "what it returns has a row per node under 'logits' and 'hidden'."),
        ("none", "what it returns has 'loss' and 'names', none of them the one tensor of numbers."),
        ("several of the graph", "what it returns has 'mean' and 'sum', none of them the one tensor of numbers."),
    ],
)
def test_where_no_output_is_the_one_meant_it_is_refused_by_their_names(form: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        suite.diagnose(Returning(form), ring())
    assert "first in a tuple, would do" in str(caught.value)


class OfData(nn.Module):
    """As PyG's introduction by example writes it: a whole Data, and log_softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = GCNConv(3, 4), nn.BatchNorm1d(4), GCNConv(4, 3)

    def forward(self, data: Data) -> Tensor:
        x, edge_index = data.x, data.edge_index
        h = F.dropout(self.norm(self.one(x, edge_index)).relu(), training=self.training)
        return F.log_softmax(self.two(h, edge_index), dim=1)


class OfParts(OfData):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(Data(x=x, edge_index=edge_index))


class Pooling(nn.Module):
    """Asks for all that a batch has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(3, 4)

    def forward(self, batch: Any) -> Tensor:
        h = self.conv(batch.x, batch.edge_index, batch.edge_weight)
        pooled = global_mean_pool(h, batch.batch)
        assert pooled.size(0) == batch.num_graphs == len(batch.ptr) - 1
        return pooled


def made(cls: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls()


def test_a_forward_of_a_whole_data_is_that_of_its_parts() -> None:
    graphs = [ring(), ring(8, seed=1)]
    for graph in graphs:
        graph.y = torch.arange(graph.num_nodes) % 3
    whole, parts = (suite.diagnose(made(cls), graphs) for cls in (OfData, OfParts))
    assert whole.measures == parts.measures
    assert whole.num_layers == 2
    assert whole.initial == parts.initial


def test_the_gradient_through_log_softmax_is_that_of_the_negative_log_likelihood() -> None:
    graph, model = ring(), made(OfParts).eval()
    graph.y = torch.arange(7) % 3
    x = graph.x.double().requires_grad_()
    loss = F.nll_loss(made(OfParts).eval().double()(x, graph.edge_index), graph.y)
    expected = float(torch.autograd.grad(loss, x)[0].norm())
    assert suite.diagnose(model, graph).measures["gradient"]["norm"][0] == pytest.approx(expected, rel=1e-9)


def test_a_whole_data_has_its_batch_and_its_weights() -> None:
    graph = ring()
    graph.edge_weight = torch.rand(graph.num_edges, generator=torch.Generator().manual_seed(0))
    found = suite.diagnose(made(Pooling), graph)
    assert "Passed besides, and held: edge_weight." in found.sentences["Looked at"]
    assert "stands in for the output" in found.sentences["Looked at"]


def test_what_is_wrapped_is_taken_out() -> None:
    inner = made(OfParts).double().train()
    parallel = nn.DataParallel(inner)
    compiled = torch.compile(inner)
    for wrapped in (parallel, compiled, nn.DataParallel(compiled)):  # type: ignore[arg-type]
        assert unwrapped(wrapped) is inner  # type: ignore[arg-type]
    assert suite.diagnose(parallel, ring()).measures == suite.diagnose(inner, ring()).measures
    assert inner.training
    assert next(inner.parameters()).dtype == torch.float64


def test_a_forward_of_something_else_is_refused_and_graphs_of_several_kinds_are() -> None:
    class OfMatrix(nn.Module):
        def forward(self, x: Tensor, adj: Tensor) -> Tensor:
            return adj @ x

    said = r"OfMatrix: forward must take \(x, edge_index\), and may take batch, or \(data\); it takes \(x, adj\)"
    with pytest.raises(ValueError, match=said):
        suite.diagnose(OfMatrix(), ring())
    with pytest.raises(TypeError, match=r"got HeteroData; its to_homogeneous\(\) is one"):
        suite.diagnose(GCN(3, 4, 2, 2), HeteroData())

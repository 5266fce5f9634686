"""Models that begin with an embedding: measured by what it makes of x, as the rest of the model is by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN
from torch_geometric.utils import to_undirected

import suite
from suite.diagnosis.embedded import embedding_of
from suite.diagnosis.given import by_node
from suite.measures.frozen import Frozen

N, KINDS, C = 7, 5, 4


def ring(x: Tensor, num_nodes: int = N) -> Data:
    node = torch.arange(num_nodes)
    return Data(x=x, edge_index=to_undirected(torch.stack([node, node.roll(-1)])))


IDS = torch.tensor([0, 3, 1, 4, 2, 0, 1])


class Embedding(nn.Module):
    """A GCN behind an embedding, or several whose sum it reads, as molecules have them."""

    def __init__(self, columns: int = 1) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(KINDS, C) for _ in range(columns))
        self.net = GCN(C, 8, 2, 3, act="tanh")

    def looked_up(self, x: Tensor) -> Tensor:
        columns = x.reshape(len(x), -1).T
        return torch.stack([found(column) for found, column in zip(self.embeddings, columns, strict=True)]).sum(0)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = self.net(self.looked_up(x), edge_index)
        return out


class Besides(Embedding):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index) * x.view(-1, 1)


class OfData(Embedding):
    def forward(self, data: Data) -> Tensor:  # type: ignore[override]
        return super().forward(data.x, data.edge_index)


class OfEdges(Embedding):
    """Kinds of edges are looked up too: as many as there are nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.Embedding(2, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        kind = (edge_index[0] < edge_index[1]).long()[:N]
        return super().forward(x, edge_index) + self.kinds(kind)


def made(cls: type[nn.Module], *args: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(*args)


def output(model: nn.Module, graph: Data) -> Tensor:
    return Frozen(by_node(model)).run([graph]).output


@pytest.mark.parametrize("x", [IDS, IDS.unsqueeze(1), IDS.int()], ids=["flat", "column", "int32"])
def test_what_is_measured_is_the_rest_of_the_model_on_the_rows_of_its_embedding(x: Tensor) -> None:
    model = made(Embedding)
    found = suite.diagnose(model, ring(x))
    rest = suite.diagnose(model.net, ring(model.embeddings[0].weight.detach()[IDS].double()))
    assert found.measures == rest.measures
    assert "What its embedding makes of x stands in for x" in found.sentences["Looked at"]
    assert "stands in for x" not in rest.sentences["Looked at"]
    assert type(model) is Embedding  # untouched


def test_of_several_columns_each_embedding_is_felt_and_none_that_is_not_of_x() -> None:
    x = torch.stack([IDS, IDS.flip(0), torch.zeros_like(IDS)], dim=1)
    model = made(Embedding, 3)
    embedding, (graph,) = embedding_of(model, [ring(x)], output) or pytest.fail("nothing was looked up")
    assert embedding.by_x == [True, True, False]  # all zeros, and held
    rows = torch.cat([part.weight[column] for part, column in zip(model.embeddings, x.T[:2], strict=False)], dim=1)
    torch.testing.assert_close(graph.x, rows.detach().double())
    torch.testing.assert_close(output(embedding.replaced(model), graph), model.double()(x, graph.edge_index).detach())
    model = made(OfEdges)
    embedding, _ = embedding_of(model, [ring(IDS)], output) or pytest.fail("nothing was looked up")
    assert embedding.by_x == [True, False]


def test_nodes_of_one_kind_and_whole_data_are_taken_too() -> None:
    model = made(OfData)
    embedding, graphs = embedding_of(model, [ring(torch.zeros(N).long()), ring(IDS)], output) or pytest.fail("nothing")
    torch.testing.assert_close(graphs[0].x, model.embeddings[0].weight[:1].expand(N, -1).detach().double())
    torch.testing.assert_close(output(embedding.replaced(model), graphs[1]), model.double()(ring(IDS)).detach())


def test_whole_numbers_that_are_read_otherwise_too_are_refused_and_ids_out_of_range_say_so() -> None:
    with pytest.raises(ValueError, match="Besides: must read x, whole numbers, through its embedding alone"):
        suite.diagnose(made(Besides), ring(IDS))
    with pytest.raises(IndexError, match="index out of range"):
        suite.diagnose(made(Embedding), ring(IDS + 3))


def test_whole_numbers_without_an_embedding_are_numbers() -> None:
    model, x = made(GCN, 3, 4, 2, 2), torch.randint(4, (N, 3))
    assert embedding_of(model, [ring(x)], output) is None
    assert suite.diagnose(model, ring(x)).measures == suite.diagnose(model, ring(x.float())).measures

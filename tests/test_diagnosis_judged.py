"""The operator a model is judged by: its own word, that of its layers, or the one under which it looks smoothest; said once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
import torch_geometric.nn as pyg
from oracles import Means
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import attention
from torch_geometric.utils import from_networkx

import suite
from suite.diagnosis.judged import READ

GRAPH = nx.lollipop_graph(4, 4)  # irregular, not bipartite
C = 4


def graph_of(graph: nx.Graph, channels: int = C) -> Data:
    data = from_networkx(graph)
    x = torch.randn(len(graph), channels, generator=torch.Generator().manual_seed(0))
    return Data(x=x, edge_index=data.edge_index)


class Layers(nn.Module):
    """Some layers, one after another."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, x, edge_index) if isinstance(layer, pyg.GCN2Conv) else layer(x, edge_index)
        return x


KNOWN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "GCNConv": (lambda: pyg.GCNConv(C, C), "gcn"),
    "GCNConv of sums": (lambda: pyg.GCNConv(C, C, normalize=False), "sum"),
    "GCN2Conv": (lambda: pyg.GCN2Conv(C, 0.1), "gcn"),
    "SGConv": (lambda: pyg.SGConv(C, C), "gcn"),
    "GATConv": (lambda: pyg.GATConv(C, C), "mean"),
    "GATv2Conv": (lambda: pyg.GATv2Conv(C, C), "mean"),
    "SuperGATConv": (lambda: pyg.SuperGATConv(C, C), "mean"),
    "TransformerConv": (lambda: pyg.TransformerConv(C, C), "mean"),
    "AGNNConv": (lambda: pyg.AGNNConv(), "mean"),
    "PNAConv": (lambda: pyg.PNAConv(C, C, ["mean"], ["identity"], torch.ones(5, dtype=torch.long)), "mean"),
    "SAGEConv": (lambda: pyg.SAGEConv(C, C), "mean"),
    "SAGEConv of sums": (lambda: pyg.SAGEConv(C, C, aggr="add"), "sum"),
    "SAGEConv with an aggregation": (lambda: pyg.SAGEConv(C, C, aggr=pyg.MeanAggregation()), "mean"),
    "GraphConv": (lambda: pyg.GraphConv(C, C), "sum"),
    "SimpleConv": (lambda: pyg.SimpleConv("mean"), "mean"),
    "GINConv": (lambda: pyg.GINConv(nn.Linear(C, C, bias=False)), "sum"),
    "GENConv": (lambda: pyg.GENConv(C, C), "mean"),
    "FeaStConv": (lambda: pyg.FeaStConv(C, C), "mean"),
    "FiLMConv": (lambda: pyg.FiLMConv(C, C), "mean"),
    "GPSConv": (lambda: pyg.GPSConv(C, None, heads=1, norm=None), "complete"),
}


def limit_of(operator: str, graph: Data) -> Tensor:
    """The direction over nodes that the operator drives features into."""
    n = graph.x.size(0)
    adjacency = np.eye(n)
    adjacency[tuple(graph.edge_index.numpy())] += 1
    if operator == "sum":
        return torch.from_numpy(np.abs(np.linalg.eigh(adjacency)[1][:, -1]))
    return torch.from_numpy(adjacency.sum(1) ** 0.5 if operator == "gcn" else np.ones(n))


@pytest.mark.parametrize("name", KNOWN)
def test_the_operator_is_read_off_a_layer_that_keeps_states_in_its_limit(name: str, only: Callable[..., None]) -> None:
    only("operator_share", "smoothing")
    make, operator = KNOWN[name]
    torch.manual_seed(0)
    layer, graph = make().double().eval(), graph_of(GRAPH)
    direction = limit_of(operator, graph).unsqueeze(1)
    for parameter, value in layer.named_parameters():
        value.data *= "bias" not in parameter  # they are no part of the propagation
    out = Layers(layer)(direction * torch.tensor([[0.5, 1.0, -0.7, 0.3]]).double(), graph.edge_index)
    torch.testing.assert_close(out / direction, (out / direction)[:1].expand(len(out), -1), atol=1e-6, rtol=1e-6)
    found = suite.diagnose(Layers(layer), graph)
    assert found.measures["operator_share"]["operator"] == found.measures["smoothing"]["operator"] == operator
    assert not found.measures["operator_share"]["declared"]
    assert f"is that of its {name.split()[0]}: it declares none." in found.sentences["Looked at"]


def test_every_class_that_is_read_is_tested() -> None:
    tested = {type(make()) for make, _ in KNOWN.values()}
    twins = {pyg.FusedGATConv, pyg.GINEConv}  # GAT's and GIN's on other inputs
    over_all = {attention.PerformerAttention, attention.SGFormerAttention, attention.PolynormerAttention}  # as GPSConv's
    assert tested | twins | over_all == set(READ)


class Attending(Layers):
    """Attention over all nodes behind each layer."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.all = attention.SGFormerAttention(C, 1, C)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = super().forward(x, edge_index)
        return x + self.all(x.unsqueeze(0), torch.ones(1, len(x), dtype=torch.bool))[0]


def test_attention_over_all_nodes_is_it_whatever_is_beside(only: Callable[..., None]) -> None:
    only("smoothing")
    found = suite.diagnose(Attending(pyg.GCNConv(C, C)), graph_of(GRAPH))
    assert found.measures["smoothing"]["operator"] == "complete"
    assert "Judged by all pairs of nodes, which is that of its SGFormerAttention" in found.sentences["Looked at"]


class Steps(nn.Module):
    """A stranger's own propagation, which tells its states: a matrix of each kind applied often."""

    def __init__(self, kind: str, times: int = 12) -> None:
        super().__init__()
        self.kind, self.times = kind, times

    def encode(self, x: Tensor, edge_index: Tensor) -> list[Tensor]:
        matrix = torch.eye(len(x), dtype=x.dtype).index_put(tuple(edge_index), x.new_ones(()), accumulate=True)
        degree = matrix.sum(1)
        matrix = matrix / (degree.outer(degree).sqrt() if self.kind == "gcn" else degree[:, None])
        states = [x]
        for _ in range(self.times):
            states.append(matrix @ states[-1])
        return states

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1]

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.decode(self.encode(x, edge_index))


@pytest.mark.parametrize("kind", ["gcn", "mean"])
def test_a_star_that_collapsed_under_an_operator_that_nobody_tells_is_never_called_rough(
    kind: str, only: Callable[..., None]
) -> None:
    """Equal rows are rough under gcn's operator, and those of GCN's limit under the mean, for a star's degrees differ."""
    only("smoothing")
    found = suite.diagnose(Steps(kind, 40), graph_of(nx.star_graph(6)))
    assert found.findings["Over-smoothing"].short == "states are alike"
    assert found.measures["smoothing"]["operator"] == kind
    other = {"gcn": "mean", "mean": "gcn"}[kind]
    assert found.measures["smoothing"][f"rq_{other}"][-1] > 0.01
    assert f"Judged by the {kind} operator, under which its last state is smoothest: it declares none." in " ".join(
        str(found).split()
    )


@pytest.mark.parametrize(
    "layers",
    [
        lambda: (pyg.GCNConv(C, C), pyg.SAGEConv(C, C)),  # which do not agree
        lambda: (pyg.EdgeConv(nn.Linear(2 * C, C)),),
        lambda: (pyg.SAGEConv(C, C, aggr="max"),),
        lambda: (pyg.GCNConv(C, C, improved=True),),
        lambda: (pyg.GCNConv(C, C, add_self_loops=False),),
        lambda: (pyg.SGConv(C, C, K=3),),
        lambda: (pyg.SAGEConv(C, C, aggr=["mean", "max"]),),
    ],
)
def test_of_layers_that_are_no_step_of_one_operator_none_is_read(
    layers: Callable[[], tuple[nn.Module, ...]], only: Callable[..., None]
) -> None:
    only("smoothing")
    torch.manual_seed(0)
    made = layers()
    found = suite.diagnose(Layers(*made), graph_of(GRAPH))
    names = " and ".join(type(layer).__name__ for layer in made)
    assert f"smoothest: it declares none, and none is read off {names}." in found.sentences["Looked at"]
    smoothing = found.measures["smoothing"]
    ratios = {name: smoothing[f"rq_{name}"][-1] / smoothing[f"null_rq_{name}"] for name in ("gcn", "mean")}
    assert smoothing["operator"] == min(ratios, key=lambda name: ratios[name])


@pytest.mark.parametrize("operator", ["gcn", "mean", "sum", "complete", "none"])
def test_what_a_model_declares_stands_and_every_sentence_and_the_figure_name_it(operator: str) -> None:
    model = Means(3)
    model.operator = operator  # type: ignore[assignment]
    graph = graph_of(GRAPH)
    found = suite.diagnose(model, graph)
    assert found.measures["operator_share"]["declared"]
    assert found.sentences["Looked at"].count("Judged by") == 1
    assert ", as it declares." in found.sentences["Looked at"]
    text = " ".join(finding.text for finding in found.findings.values())
    named = set(re.findall(r"\b(gcn|mean|sum|complete) operator", text))
    assert named <= {operator}
    titles = [ax.get_title(loc="left") for ax in found.plot().axes]
    judged = {"complete": "all pairs", "none": "all pairs"}.get(operator, operator)
    assert ("Outside the limit of sums, log₁₀" if operator == "sum" else f"Rayleigh quotient ({judged}), log₁₀") in titles
    legend = [text.get_text() for text in found.plot().axes[0].get_legend().get_texts()]
    assert f"bare {operator}" in legend


def test_of_sums_what_is_outside_their_limit_is_said(only: Callable[..., None]) -> None:
    only("smoothing")
    graph = graph_of(GRAPH)
    model = Layers(*(pyg.SimpleConv("sum", combine_root="self_loop") for _ in range(3)))
    found = suite.diagnose(model, graph)
    adjacency = nx.to_numpy_array(GRAPH) + np.eye(8)
    perron = np.linalg.eigh(adjacency)[1][:, -1]
    h = np.linalg.matrix_power(adjacency, 3) @ graph.x.double().numpy()
    outside = 1 - np.sum((perron @ h) ** 2) / np.sum(h**2)
    said: Any = re.search(
        r"outside the limit of sums goes from \S+ at layer 0 to (\S+) at layer 3; random rows have (\S+),",
        str(found.findings["Over-smoothing"].text),
    )
    assert float(said[1].replace("−", "-")) == pytest.approx(outside, rel=0.01)
    assert float(said[2]) == pytest.approx(7 / 8, rel=0.01)


def test_a_module_that_is_called_operator_is_no_word_and_is_left_alone(only: Callable[..., None]) -> None:
    only("smoothing")

    class Owning(Steps):
        def __init__(self) -> None:
            super().__init__("mean", 2)
            self.operator = nn.Identity()

        def decode(self, hidden: list[Tensor]) -> Tensor:
            out: Tensor = self.operator(hidden[-1])
            return out

    model = Owning()
    found = suite.diagnose(model, graph_of(GRAPH))
    assert isinstance(model.operator, nn.Identity)
    assert found.measures["smoothing"]["operator"] in ("gcn", "mean")


def test_a_module_without_layers_is_told_once_what_would_tell_them() -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return x.index_add(0, edge_index[1], x[edge_index[0]])

    found = suite.diagnose(Plain(), graph_of(GRAPH))
    text = " ".join(str(found).split())
    assert text.count("encode(x, edge_index)") == text.count("decode(hidden)") == 1
    assert "Judged by" not in text

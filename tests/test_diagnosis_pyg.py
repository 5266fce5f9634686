"""Every class of torch_geometric.nn.models that takes (x, edge_index) is diagnosed as it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_geometric.nn.models as pyg
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv, LayerNorm
from torch_geometric.utils import degree

import suite
from suite.diagnosis.given import by_node
from suite.measures.frozen import Frozen

IN, HIDDEN, OUT, LAYERS = 6, 8, 3, 2


def kite() -> Data:
    """A triangle with a tail of five: irregular, not bipartite, up to six hops."""
    one_way = torch.tensor([[0, 1, 2, 2, 3, 4, 5, 6], [1, 2, 0, 3, 4, 5, 6, 7]])
    x = torch.randn(8, IN, generator=torch.Generator().manual_seed(0))
    return Data(x=x, edge_index=torch.cat([one_way, one_way.flip(0)], dim=1), y=torch.arange(8) % OUT)


def bonded() -> Data:
    """The same with attributes of edges."""
    graph = kite()
    graph.edge_attr = torch.randn(graph.num_edges, 2, generator=torch.Generator().manual_seed(1))
    return graph


def test_a_class_that_needs_attributes_of_edges_says_so() -> None:
    with pytest.raises(ValueError, match=r"AttentiveFP: forward needs 'edge_attr' besides .*, which the graphs have not"):
        suite.diagnose(made(MAKE["AttentiveFP"]), kite())


class Update(nn.Module):
    """A node model of MetaLayer: the sum over neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(IN, OUT)

    def forward(self, x: Tensor, edge_index: Tensor, *_: Any) -> Tensor:
        row, col = edge_index
        return self.lin(torch.zeros_like(x).index_add_(0, col, x[row]))


class Variational(nn.Module):
    """The encoder of PyG's example of VGAE: two heads on one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mean, self.spread = GCNConv(IN, HIDDEN), GCNConv(HIDDEN, OUT), GCNConv(HIDDEN, OUT)

    def forward(self, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        h = self.first(x, edge_index).relu()
        return self.mean(h, edge_index), self.spread(h, edge_index)


def shuffled(x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
    """The corruption of PyG's example of DeepGraphInfomax."""
    return x[torch.randperm(x.size(0))], edge_index


def infomax(encoder: nn.Module) -> nn.Module:
    return pyg.DeepGraphInfomax(OUT, encoder, lambda z, *_: z.mean(0), shuffled)


SIZES = (IN, HIDDEN, LAYERS, OUT)
MAKE: dict[str, Callable[[], nn.Module]] = {
    "GCN": lambda: pyg.GCN(*SIZES),
    "GraphSAGE": lambda: pyg.GraphSAGE(*SIZES),
    "GIN": lambda: pyg.GIN(*SIZES),
    "GAT": lambda: pyg.GAT(*SIZES, heads=2),
    "PNA": lambda: pyg.PNA(
        *SIZES, aggregators=["mean", "max"], scalers=["identity"], deg=degree(kite().edge_index[1], dtype=torch.long).bincount()
    ),
    "EdgeCNN": lambda: pyg.EdgeCNN(*SIZES),
    "MetaLayer": lambda: pyg.MetaLayer(node_model=Update()),
    "GraphUNet": lambda: pyg.GraphUNet(IN, HIDDEN, OUT, depth=2),
    "DeepGCNLayer": lambda: pyg.DeepGCNLayer(GCNConv(IN, IN), LayerNorm(IN), nn.ReLU()),
    "RECT_L": lambda: pyg.RECT_L(IN, HIDDEN),
    "LINKX": lambda: pyg.LINKX(8, IN, HIDDEN, OUT, LAYERS),
    "GroupAddRev": lambda: pyg.GroupAddRev(GCNConv(IN // 2, IN // 2), num_groups=2),
    "PMLP": lambda: pyg.PMLP(IN, HIDDEN, OUT, LAYERS),
    "NeuralFingerprint": lambda: pyg.NeuralFingerprint(IN, HIDDEN, OUT, LAYERS),
    "SGFormer": lambda: pyg.SGFormer(IN, HIDDEN, OUT),
    "Polynormer": lambda: pyg.Polynormer(IN, HIDDEN, OUT, local_layers=2, global_layers=1),
    "GAE": lambda: pyg.GAE(pyg.GCN(*SIZES)),
    "VGAE": lambda: pyg.VGAE(pyg.GCN(*SIZES)),
    "ARGA": lambda: pyg.ARGA(pyg.GCN(*SIZES), nn.Linear(OUT, 1)),
    "ARGVA": lambda: pyg.ARGVA(pyg.GCN(*SIZES), nn.Linear(OUT, 1)),
    "DeepGraphInfomax": lambda: infomax(pyg.GCN(*SIZES)),
    "AttentiveFP": lambda: pyg.AttentiveFP(IN, HIDDEN, OUT, 2, LAYERS, 2),
}

# Those that take x and edge_index, and cannot be diagnosed as they are: how they are made, and what diagnose says.
CANNOT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "LPFormer": (lambda: pyg.LPFormer(IN, HIDDEN), r"forward must take \(x, edge_index\).*it takes \(batch, x, edge_index"),
    "ARLinkPredictor": (lambda: pyg.ARLinkPredictor(IN, HIDDEN), "a row per node is needed"),  # it scores edges
}


# Modules that are not called with x and edge_index, and what they take instead.
LEFT_OUT: dict[str, str] = {
    **dict.fromkeys(("DimeNet", "DimeNetPlusPlus", "GNNFF", "SchNet", "ViSNet"), "atoms and their positions: they make edges"),
    **dict.fromkeys(("Node2Vec", "MetaPath2Vec"), "numbers of nodes: embeddings of one graph, without features"),
    "LightGCN": "edges alone: an embedding for every node",
    **dict.fromkeys(("LabelPropagation", "CorrectAndSmooth", "MaskLabel"), "labels"),
    **dict.fromkeys(("MLP", "GPSENodeEncoder"), "x alone"),
    **dict.fromkeys(("JumpingKnowledge", "HeteroJumpingKnowledge"), "states of a net's layers"),
    "InnerProductDecoder": "states of an autoencoder, and pairs to score",
    "SignedGCN": "positive edges and negative ones",
    "GPSE": "random states that it draws for a whole Data",
    "RENet": "events in time",
    "TGNMemory": "events in time",
}


def takes_x_and_edges(cls: Any) -> bool:
    """Whether forward has parameters of these names, or takes whatever comes first."""
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        return False
    _, *parameters = inspect.signature(cls.forward).parameters.values()
    return {"x", "edge_index"} <= {p.name for p in parameters} or parameters[0].kind is inspect.Parameter.VAR_POSITIONAL


def test_all_classes_that_take_x_and_edges_are_looked_at() -> None:
    taking = {name for name, cls in vars(pyg).items() if takes_x_and_edges(cls)}
    assert taking == {*MAKE, *CANNOT}
    modules = {name for name, cls in vars(pyg).items() if inspect.isclass(cls) and issubclass(cls, nn.Module)}
    assert modules - taking == set(LEFT_OUT)


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", MAKE)
def test_a_class_of_pyg_is_diagnosed_as_it_is(name: str) -> None:
    model = made(MAKE[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = suite.diagnose(model, bonded() if name == "AttentiveFP" else kite())
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert {"smoothing", "influence", "recoverability", "operator_share"} <= set(found.measures)
    assert set(found.absent) - {"mixing", "spectrum"} == (
        {"gradient"} if name in ("LINKX", "NeuralFingerprint", "AttentiveFP") else set()
    )
    assert ("spectrum" in found.absent) == (found.num_layers == 0)
    assert "piecewise linear" in found.absent.get("mixing", "piecewise linear")  # of ReLU nets there is no second derivative
    assert "mixing" in found.measures or name not in ("GAT", "SGFormer", "Polynormer", "NeuralFingerprint")  # softmax is smooth
    assert (found.num_layers == 0) == (name == "MetaLayer")  # which has no convolution, but whatever it is given
    assert found.findings["Reach"].short in str(found)


@pytest.mark.parametrize("name", CANNOT)
def test_a_class_of_pyg_that_needs_more_or_gives_no_rows_is_refused_with_the_reason(name: str) -> None:
    make, reason = CANNOT[name]
    with pytest.raises(ValueError, match=reason):
        suite.diagnose(made(make), kite())


# What PyG says each does, so that reach is known: layers of one hop each, and nothing past the edges.
EDGES_ONLY = {"GCN": 2, "GraphSAGE": 2, "GIN": 2, "GAT": 2, "PNA": 2, "EdgeCNN": 2, "RECT_L": 1, "MetaLayer": 1, "LINKX": 0}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(("name", "reach"), EDGES_ONLY.items())
def test_reach_is_the_number_of_layers_where_edges_alone_carry_information(
    name: str, reach: int, only: Callable[..., None]
) -> None:
    only("influence")
    influence = suite.diagnose(made(MAKE[name]), kite()).measures["influence"]
    felt = [count > zeros for count, zeros in zip(influence["pairs"], influence["zeros"], strict=True)]
    assert [hop for hop, any_felt in enumerate(felt) if any_felt][-1] == reach


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", ["SGFormer", "DeepGCNLayer"])
def test_attention_and_a_norm_over_the_graph_are_seen_to_reach_everywhere(name: str, only: Callable[..., None]) -> None:
    only("influence")
    found = suite.diagnose(made(MAKE[name]), kite())
    assert found.findings["Reach"].short == "feels as far as 6 hops"
    assert "past the edges" in found.findings["Reach"].text


def test_of_a_contrastive_model_its_encoder_is_diagnosed() -> None:
    encoder = made(lambda: pyg.GCN(*SIZES))
    alone, found = (suite.diagnose(model, kite()) for model in (encoder, infomax(encoder)))
    assert found.num_layers == alone.num_layers == LAYERS
    assert found.measures == alone.measures
    assert "2 results of convolutions beside that line left out." in found.sentences["Looked at"]
    assert "beside that line" not in alone.sentences["Looked at"]


@pytest.mark.parametrize("wrapper", [pyg.VGAE, lambda encoder: pyg.ARGVA(encoder, nn.Linear(OUT, 1))])
def test_a_head_beside_the_output_is_no_layer(wrapper: Callable[[nn.Module], nn.Module], only: Callable[..., None]) -> None:
    only("influence")
    model = made(lambda: wrapper(Variational()))
    found = suite.diagnose(model, kite())
    assert found.num_layers == 2
    influence = found.measures["influence"]
    felt = [hop for hop, (count, zeros) in enumerate(zip(influence["pairs"], influence["zeros"], strict=True)) if count > zeros]
    assert felt == [0, 1, 2]
    hidden = Frozen(by_node(model)).run([kite()]).hidden
    torch.testing.assert_close(hidden[-1], Frozen(by_node(model)).run([kite()]).output)  # the mean, not the spread


class Towers(nn.Module):
    """A net that does not mind the sign of x: the same layers over x and over -x."""

    def __init__(self) -> None:
        super().__init__()
        self.net = pyg.GCN(*SIZES)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.net(x, edge_index) + self.net(-x, edge_index)


class Branching(nn.Module):
    """Two kinds of convolution beside each other in every layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.ModuleList(GCNConv(IN, IN) for _ in range(3))
        self.other = nn.ModuleList(GATConv(IN, IN) for _ in range(3))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for one, other in zip(self.one, self.other, strict=True):
            x = one(x, edge_index) + other(x, edge_index)
        return x


@pytest.mark.parametrize(("model", "num_layers"), [(Towers, LAYERS), (Branching, 3)])
def test_of_branches_one_counts(model: type[nn.Module], num_layers: int, only: Callable[..., None]) -> None:
    only("smoothing")
    found = suite.diagnose(made(model), kite())
    assert found.num_layers == num_layers
    assert f"{num_layers} results of convolutions beside that line" in found.sentences["Looked at"]


def test_layers_are_told_where_steps_are_forgotten_and_made_again(only: Callable[..., None]) -> None:
    only("smoothing")

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(GCNConv(IN, IN) for _ in range(3))

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            for conv in self.convs:
                x = checkpoint(conv, x, edge_index, use_reentrant=False)
            return x

    assert suite.diagnose(made(Checkpointed), kite()).num_layers == 3

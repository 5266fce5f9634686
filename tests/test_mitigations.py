"""What goes with every model: edges and nodes left out of training steps are a smaller input, and first weights are as asked."""

from typing import Any

import pytest
import torch
from test_engine import make_cells, trained
from together import MITIGATIONS, why_not
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GAT, GCNConv
from torch_geometric.utils import barabasi_albert_graph, to_undirected

from datasets import Transfer
from datasets.ring import Ring
from suite.engine.batches import graph_batch
from suite.models import MODELS, build, resolve
from suite.models.layers import dropout
from suite.models.mitigations import NAMES
from suite.models.node_encodings import resolve_encoding
from suite.operators import drop_pairs
from suite.testing import IN_CHANNELS

EDGES, NUM_NODES = to_undirected(barabasi_albert_graph(30, 2)), 30
X = torch.randn(NUM_NODES, IN_CHANNELS, generator=torch.Generator().manual_seed(0))
PYGS = "torch_geometric.nn.models:GAT"


def made(name: str, settings: dict[str, Any], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(resolve(name, settings), IN_CHANNELS, 8, 3, 5)


def outputs(model: nn.Module, x: Tensor = X, edges: Tensor = EDGES) -> Tensor:
    needs = getattr(model, "needs", frozenset())  # encodings tell of the task's own graph
    graph = Data(
        x=x, edge_index=edges, original_index=EDGES, num_nodes=NUM_NODES, y=torch.zeros(NUM_NODES), readout_index=torch.arange(30)
    )
    return graph_batch([graph], needs).forward(model)[0]


def taking(mitigation: str) -> list[str]:
    return [*(name for name in MODELS if why_not(("model", name), ("mitigation", mitigation)) is None), PYGS]


@pytest.mark.parametrize("name", taking("DropEdge"))
def test_a_training_step_under_drop_edge_is_one_on_the_edges_that_are_left(name: str) -> None:
    model, twin = made(name, {"drop_edge": 0.5}), made(name, {})
    torch.manual_seed(1)
    found = outputs(model.train())
    torch.manual_seed(1)
    kept = drop_pairs(EDGES, 0.5)
    assert 0 < kept.size(1) < EDGES.size(1)
    torch.testing.assert_close(found, outputs(twin.train(), edges=kept))
    torch.testing.assert_close(outputs(model.eval()), outputs(twin.eval()))
    assert model.random


@pytest.mark.parametrize("name", taking("DropNode"))
def test_a_training_step_under_drop_node_is_one_on_the_inputs_that_are_left(name: str) -> None:
    model, twin = made(name, {"drop_node": 0.25}), made(name, {})
    torch.manual_seed(1)
    found = outputs(model.train())
    torch.manual_seed(1)
    left = X * dropout(torch.ones(NUM_NODES, 1), 0.25)
    assert 0 < int((left == 0).all(1).sum()) < NUM_NODES
    torch.testing.assert_close(found, outputs(twin.train(), x=left))
    torch.testing.assert_close(outputs(model.eval()), outputs(twin.eval()))
    assert model.random


@pytest.mark.parametrize("name", ["gcn", PYGS])
def test_dropped_nodes_are_as_many_as_asked_and_the_others_are_scaled(name: str) -> None:
    x, none = torch.ones(4000, IN_CHANNELS), torch.empty(2, 0).long()
    model = made(name, {"drop_node": 0.25}).train()
    seen: list[Tensor] = []
    first = model.encoder if name == "gcn" else model.convs[0]
    first.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    model(x, none)
    dropped = (seen[0] == 0).all(1)
    assert float(dropped.double().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)
    torch.testing.assert_close(seen[0][~dropped], torch.full_like(seen[0][~dropped], 4 / 3), rtol=1e-4, atol=0)


def test_both_drop_behind_an_encoding_with_weights() -> None:
    encoding = resolve_encoding("sign_net", {"width": 2})
    for name in ("gat", PYGS):
        torch.manual_seed(0)
        model = build(resolve(name, {"drop_edge": 0.5, "drop_node": 0.5}), IN_CHANNELS, 8, 3, 5, encoding).train()
        first, second = outputs(model), outputs(model)
        assert model.random
        assert not torch.equal(first, second)
        assert torch.equal(outputs(model.eval()), outputs(model))


# first weights


@pytest.mark.parametrize("skip", ["none", "gated"])
def test_first_weights_are_orthogonal_and_scaled_in_the_blocks_alone(skip: str) -> None:
    model = build(resolve("gcn", {"init": "orthogonal", "weight_scale": 3.0, "skip": skip}), 8, 8, 2, 3)
    blocks = [*model.convs, *(gate.conv for gate in model.gates)]
    assert len(blocks) == (2 if skip == "none" else 4)
    for conv in blocks:
        torch.testing.assert_close(conv.lin.weight @ conv.lin.weight.T, 9 * torch.eye(8), rtol=1e-4, atol=1e-4)
    encoder = model.encoder.first.weight
    assert not torch.allclose(encoder @ encoder.T / (encoder[0] @ encoder[0]), torch.eye(8), atol=1e-2)


@pytest.mark.parametrize("name", taking("orthogonal"))
def test_first_weights_of_layers_have_singular_values_of_one(name: str) -> None:
    plain, model = made(name, {}), made(name, {"init": "orthogonal"})
    before = dict(plain.named_parameters())
    changed = {key: value for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert changed
    for key, value in changed.items():
        assert value.dim() == 2
        torch.testing.assert_close(torch.linalg.svdvals(value), torch.ones(min(value.shape)), rtol=1e-4, atol=1e-4)
        assert not {"encoder", "decoder"} & set(key.split(".")[:1])


@pytest.mark.parametrize("name", taking("weights scaled"))
def test_scaled_weights_are_so_many_times_the_models_own(name: str) -> None:
    before = dict(made(name, {}).named_parameters())
    scaled = {key for key, value in made(name, {"weight_scale": 2.0}).named_parameters() if not torch.equal(value, before[key])}
    for key, value in made(name, {"weight_scale": 2.0}).named_parameters():
        torch.testing.assert_close(value, (2 if key in scaled else 1) * before[key], rtol=0, atol=0)
    assert scaled
    assert not any(key.endswith("bias") for key in scaled)


class Tutorial(nn.Module):
    """As PyG's first tutorial has it: two convolutions with names of their own, no list."""

    def __init__(
        self, in_channels: int, hidden_channels: int, _num_layers: int, out_channels: int, init: str = "its own"
    ) -> None:
        super().__init__()
        self.conv1, self.conv2 = GCNConv(in_channels, hidden_channels), GCNConv(hidden_channels, out_channels)
        self.said = init

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index)


def test_convolutions_outside_of_lists_are_layers_too_and_a_classs_own_setting_is_its_own() -> None:
    name = f"{__name__}:Tutorial"
    before, after = (made(name, settings) for settings in ({}, {"weight_scale": 3.0, "init": "else"}))
    assert after.said == "else"
    for one, other in zip((before.conv1, before.conv2), (after.conv1, after.conv2), strict=True):
        torch.testing.assert_close(other.lin.weight, 3 * one.lin.weight)


# names, keys, refusals


@pytest.mark.parametrize("name", ["gcn", "gps", PYGS])
def test_one_thing_has_one_key(name: str) -> None:
    neutral = {"drop_edge": 0, "drop_node": 0.0, "init": "glorot", "weight_scale": 1}
    assert resolve(name, neutral).model_dump_json() == resolve(name).model_dump_json()
    (changed,) = {resolve(name, {"weight_scale": value}).model_dump_json() for value in (2, 2.0)}
    assert changed != resolve(name).model_dump_json()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"drop_edge": 1.0}, "drop_edge: must be less than 1, got 1.0"),
        ({"drop_node": -0.1}, "drop_node: must be greater than or equal to 0, got -0.1"),
        ({"init": "ortogonal"}, "init: must be 'glorot' or 'orthogonal', got 'ortogonal'"),
        ({"weight_scale": 0}, "weight_scale: must be greater than 0, got 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    for name in ("gcn", "gps", PYGS):
        with pytest.raises(ValueError, match=said):
            resolve(name, settings)


def test_what_would_change_nothing_is_refused_with_the_reason() -> None:
    said = {
        ("appnp", "init", "orthogonal"): "init: is of linear maps inside layers, and this APPNP has none",
        ("propagation", "weight_scale", 2.0): "weight_scale: is of linear maps inside layers, and this Propagation has none",
        ("exphormer", "drop_edge", 0.5): "drop_edge: must be 0 for this Transformer, which reads edges from 'expander'",
        ("specformer", "drop_edge", 0.5): "drop_edge: must be 0 for this Specformer, which reads edges from 'spectrum'",
        ("mlp", "drop_edge", 0.5): r"drop_edge: must be 0 for this Stack, which reads no edges; got 0\.5",
        ("constant", "drop_node", 0.5): r"drop_node: must be 0 for this Constant, which reads no node's features; got 0\.5",
        ("spd_transformer", "drop_edge", 0.5): r"drop_edge: must be 0 for this Transformer, which reads no edges; got 0\.5",
    }
    for (name, setting, value), reason in said.items():
        with pytest.raises(ValueError, match=reason):
            made(name, {setting: value})


def test_edges_are_dropped_where_a_gate_reads_them() -> None:
    assert made("mlp", {"drop_edge": 0.5, "skip": "gated"}).random


def test_every_setting_stands_in_the_covering_array() -> None:
    assert set().union(*MITIGATIONS.values()) >= NAMES - {"alpha", "gate_power"}  # which say how much of two that do


@pytest.mark.parametrize("name", ["gps", PYGS])
def test_cells_train_with_them_and_their_steps_do_not_share_draws(name: str) -> None:
    settings = {"drop_edge": 0.5, "drop_node": 0.2, "init": "orthogonal"}
    cells = make_cells(
        Transfer(topology=Ring(), hops=3), "gcn", 3, range(2), max_steps=4, eval_every=2, num_validation=8, num_test=8
    )
    together = trained([cell.model_copy(update={"model": resolve(name, settings)}) for cell in cells])
    alone = trained([cells[1].model_copy(update={"model": resolve(name, settings)})])
    assert [done.status for done in together] == ["ok", "ok"]
    assert together[1].curve == alone[0].curve
    assert isinstance(together[0].trained, GAT) == (name == PYGS)

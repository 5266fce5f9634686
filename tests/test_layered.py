"""What stands between layers, around models of every kind: against loops written from its equations, PyG's own, and facts."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import gcn_propagated, same, with_random_biases
from test_engine import PATHS, TASKS, assert_equal_on_a_path, make_cells, trained
from together import MITIGATIONS, why_not
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import APPNP, JumpingKnowledge, PairNorm, SGConv
from torch_geometric.utils import erdos_renyi_graph

from datasets import Transfer
from datasets.ring import Ring
from suite.budget import Sizes, sized
from suite.diagnosis.untrained import untrained
from suite.models import MODELS, build, resolve
from suite.models.encodings import encoded
from suite.models.layered import Layered
from suite.models.mitigations import FOR_ALL
from suite.models.stack import Stack
from suite.operators import GraphOperators

NUM_NODES, NUM_LAYERS = 9, 3
torch.manual_seed(5)
EDGES = erdos_renyi_graph(NUM_NODES, 0.35)
COMPLETE = torch.cartesian_prod(torch.arange(NUM_NODES), torch.arange(NUM_NODES)).T
COMPLETE = COMPLETE[:, COMPLETE[0] != COMPLETE[1]]
OWN_LOOPS = [name for name, entry in MODELS.items() if issubclass(entry.cls, Layered) and entry.cls is not Stack]
WITHOUT_NORM = [name for name in OWN_LOOPS if "norm" not in resolve(name).settings]
BETWEEN = [name for name, asked in MITIGATIONS.items() if asked and not FOR_ALL & asked.keys()]


def going(mitigations: list[str]) -> list[tuple[str, str]]:
    pairs = [(model, asked) for model in OWN_LOOPS for asked in mitigations]
    return [(model, asked) for model, asked in pairs if why_not(("model", model), ("mitigation", asked)) is None]


def made(name: str, overrides: dict[str, Any]) -> Any:
    torch.manual_seed(1)
    return with_random_biases(build(resolve(name, overrides), 6, 8, NUM_LAYERS, 3)).eval()


def features() -> Tensor:
    return torch.randn(NUM_NODES, 6, dtype=torch.float64, requires_grad=True)


def gates(conv: nn.Module, h: Tensor) -> Tensor:
    """tau_v = tanh of the mean over neighbours u of |g_v - g_u|^2, g = ReLU(S h W + b), node by node (2210.00513)."""
    g, found = (gcn_propagated(h, EDGES) @ conv.lin.weight.T + conv.lin.bias).relu(), []
    for node in range(NUM_NODES):
        differences = [(g[node] - g[other]).abs() ** 2 for other in EDGES[0, EDGES[1] == node].tolist()]
        found.append((sum(differences, torch.zeros_like(g[0])) / max(len(differences), 1)).tanh())
    return torch.stack(found)


def by_hand(model: Any, x: Tensor, asked: dict[str, Any]) -> Tensor:
    """The output by the equations: layers are the model's, and all that stands between them is written here."""
    needs = {name: one.unsqueeze(0) for name, one in encoded(model.needs, Data(edge_index=EDGES, num_nodes=NUM_NODES)).items()}
    op, complete = (GraphOperators(edges, NUM_NODES, torch.float64) for edges in (EDGES, COMPLETE))
    first, memory = model.enter(x, op, **needs)
    states = [first]
    for index in range(NUM_LAYERS):
        h, last = states[-1], index == NUM_LAYERS - 1
        if asked.get("skip") == "dense" and index:
            h = torch.cat(states, dim=1) @ model.mixes[index - 1].weight.T
        if "virtual_node" in asked:
            h = h + model.virtual[index](h.mean(0, keepdim=True))
        seen = complete if last and "fully_adjacent_last" in asked else op
        out = model.layer(index, h, [seen] * model.num_windows, memory)
        if asked.get("norm") == "mean":
            out = out - out.mean(0)
        if asked.get("norm") == "pair":
            out = out - out.mean(0)
            out = out / (1e-5 + out.square().sum(1).mean()).sqrt()
        if asked.get("skip") == "residual":
            out = h + out
        if asked.get("skip") == "initial":
            out = 0.9 * out + 0.1 * first
        if asked.get("skip") == "gated":
            tau = gates(model.gates[index].conv, h)
            out = (1 - tau) * h + tau * out
        model.written(out, [op], memory)
        states.append(out)
    states = model.leave(states, op, op, memory)
    read = [model.part(state) for state in states]
    jump = {"concat": lambda: torch.cat(read, dim=1), "max": lambda: torch.stack(read).max(0).values}
    if "readout" not in asked:
        out: Tensor = model.decode(states)
        return out
    return finish(model, jump[asked["readout"]]())


def finish(model: Any, read: Tensor) -> Tensor:
    out: Tensor = model.decoder(read / read.norm(dim=1, keepdim=True) if getattr(model, "rescale", False) else read)
    return out


EQUATIONS = [
    "residual",
    "initial residual",
    "dense",
    "gradient gating",
    "jumping knowledge by concat",
    "jumping knowledge by max",
    "norm: mean",
    "norm: pair",
    "virtual node",
    "fully adjacent last layer",
]


@pytest.mark.parametrize(
    ("name", "asked"), [(name, asked) for name, asked in going(EQUATIONS) if "norm" not in asked or name in WITHOUT_NORM]
)
def test_what_stands_between_layers_equals_its_equation(name: str, asked: str) -> None:
    model, x = made(name, MITIGATIONS[asked]), features()
    needs = {
        one: values.unsqueeze(0) for one, values in encoded(model.needs, Data(edge_index=EDGES, num_nodes=NUM_NODES)).items()
    }
    same(model(x, EDGES, **needs), by_hand(model, x, MITIGATIONS[asked]), x, model)


def test_sgc_with_an_initial_residual_is_appnp_of_what_it_is_given() -> None:
    model, x = made("sgc", {"skip": "initial", "alpha": 0.3}), features()
    same(model(x, EDGES), model.decoder(APPNP(NUM_LAYERS, 0.3)(x, EDGES)), x, model)


def test_sgc_under_pair_norm_is_that_of_its_paper() -> None:
    model, x = made("sgc", {"norm": "pair"}), features()
    h = x
    for _ in range(NUM_LAYERS):
        step = SGConv(6, 6, K=1, bias=False).double()
        step.lin.weight.data = torch.eye(6, dtype=torch.float64)
        h = PairNorm(scale=1)(step(h, EDGES))
    same(model(x, EDGES), model.decoder(h), x, model)


def test_a_residual_around_steps_of_propagation_is_a_binomial_of_its_powers() -> None:
    model, x = made("sgc", {"skip": "residual"}), features()
    powers = [x]
    for _ in range(NUM_LAYERS):
        powers.append(gcn_propagated(powers[-1], EDGES))
    expected = sum((math.comb(NUM_LAYERS, k) * power for k, power in enumerate(powers)), torch.zeros_like(x))
    same(model(x, EDGES), model.decoder(expected), x, model)


def test_attention_over_layers_is_the_layer_of_pyg() -> None:
    model, x = made("adgn", {"readout": "lstm"}), features()
    twin = JumpingKnowledge("lstm", 8, 2).double()  # 2 * 8 / 2 channels a direction
    ours = model.attention
    for way, suffix in ((ours.forwards, ""), (ours.backwards, "_reverse")):
        for name, tensor in (
            ("weight_ih", way.lin_input.weight),
            ("weight_hh", way.lin_state.weight),
            ("bias_ih", way.lin_input.bias),
        ):
            getattr(twin.lstm, f"{name}_l0{suffix}").data = tensor.data
        getattr(twin.lstm, f"bias_hh_l0{suffix}").data.zero_()
    twin.att.weight.data, twin.att.bias.data = ours.lin.weight.data, torch.zeros(1, dtype=torch.float64)
    hidden = model.encode(x, EDGES)
    same(model(x, EDGES), model.decoder(twin(hidden)), x, model.encoder)


@settings(max_examples=60, deadline=None)
@given(
    pair=st.sampled_from(going(BETWEEN)),
    task=st.sampled_from(sorted(TASKS)),
    num_layers=st.integers(1, 4),
    shortcuts=st.sets(st.sampled_from(PATHS)),
)
def test_every_path_of_the_engine_computes_the_same(
    pair: tuple[str, str], task: str, num_layers: int, shortcuts: set[str]
) -> None:
    name, asked = pair
    assert_equal_on_a_path(name, MITIGATIONS[asked], TASKS[task](3), num_layers, 6, shortcuts)


@pytest.mark.parametrize("conv", ["drew_delay", "ggnn", "gcnii"])
@pytest.mark.parametrize("skip", ["dense", "gated"])
@pytest.mark.parametrize("task", ["tree", "published clique path"])
def test_layers_of_equal_widths_and_of_delays_do_so_too(conv: str, skip: str, task: str) -> None:
    assert_equal_on_a_path("gcn", {"conv": conv, "skip": skip, "norm": "none"}, TASKS[task](3), 3, 6, {*PATHS})


@pytest.mark.parametrize("name", ["appnp", "adgn", "phdgn", "cognn", "graph_transformer", "polynormer"])
def test_gates_have_a_cone_of_their_own(name: str) -> None:
    assert_equal_on_a_path(name, {"skip": "gated"}, TASKS["ring"](4), 1 if name == "phdgn" else 2, 6, {*PATHS})


def test_what_gates_read_is_declared() -> None:
    for name, hops in (("appnp", 2), ("adgn", 2), ("phdgn", 4), ("cognn", 2), ("graph_transformer", 2)):
        assert made(name, {"skip": "gated"}).reach == NUM_LAYERS * hops
    assert made("set_transformer", {"skip": "gated"}).reads_edges  # differences between neighbours


def test_what_is_opened_is_declared() -> None:
    assert made("adgn", {"fully_adjacent_last": True}).global_channel == {"rewiring"}
    assert made("gps", {"virtual_node": True}).global_channel == {"attention", "virtual_node"}
    assert made("appnp", {"norm": "pair"}).global_channel == {"norm"}
    assert made("appnp", {"norm": "pair"}).reach is None
    assert made("sgc", {"skip": "residual"}).skips == "added"
    assert made("sgc", {"skip": "residual"}).frozen
    assert not made("sgc", {"readout": "concat"}).frozen


def test_settings_at_their_defaults_are_no_part_of_a_key() -> None:
    neutral = {"skip": "none", "alpha": 0.1, "readout": "last", "fully_adjacent_last": False, "virtual_node": False}
    assert resolve("gps", neutral).model_dump_json() == resolve("gps").model_dump_json()
    assert "skip" in resolve("gps", {"skip": "initial"}).settings


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        (
            "gps",
            {"skip": "residual"},
            "skip: must not be residual for this Transformer, whose layers have a residual of their own",
        ),
        ("appnp", {"skip": "initial"}, "skip: must not be initial for this APPNP, which has an initial residual of its own"),
        ("sgc", {"skip": "dense"}, "for this Propagation, which has no weights between its steps"),
        ("constant", {"readout": "max"}, "readout: must be last for this Constant, which has no layers"),
        ("grit", {"fully_adjacent_last": True}, "for this GRIT, whose blocks read pairs of nodes, and no edges"),
        ("san", {"fully_adjacent_last": True}, "whose layers read edges from 'joined', made once of a whole graph"),
        ("adgn", {"fully_adjacent_last": True, "skip": "gated"}, "whose gates would all be 0, by GCN on the complete graph"),
        ("gps", {"conv": "gated_gcn", "fully_adjacent_last": True}, "with conv = gated_gcn: new edges do not have its states"),
        ("gps", {"alpha": 0.3}, r"alpha: must be 0\.1 unless skip = initial"),
        ("gps", {"gate_power": 3.0}, r"gate_power: must be 2\.0 unless skip = gated"),
        ("gps", {"skip": "post_norm"}, "skip: must be 'none', 'residual', .*, got 'post_norm'"),
        ("adgn", {"norm": "pairr"}, "norm: must be one of batch, .*; got 'pairr'"),
        ("torch_geometric.nn.models:GAT", {"skip": "initial"}, "or none that the suite knows of"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(name: str, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(resolve(name, asked), 6, 8, 3, 3)


def test_an_untrained_twin_has_the_same_between_its_layers() -> None:
    model = made("adgn", {"skip": "gated", "readout": "concat"})
    twin = untrained(model, 0)
    assert {name: p.shape for name, p in twin.named_parameters()} == {name: p.shape for name, p in model.named_parameters()}


def test_weights_between_layers_count_for_a_budget() -> None:
    sizes = {}
    for readout in ("last", "concat"):
        ref = resolve("adgn", {"readout": readout})
        sizes[readout] = sized(ref, 4000, Sizes(6, 8, 3))
    assert sizes["concat"].hidden_channels < sizes["last"].hidden_channels
    assert all(abs(found.gap(4000)) < 0.05 for found in sizes.values())


def test_a_cell_trains_with_them_and_starts_from_its_seed() -> None:
    (cell,) = make_cells(Transfer(topology=Ring(), hops=2), "adgn", 2, range(1), max_steps=4, eval_every=2)
    changed = cell.model_copy(update={"model": resolve("adgn", {"skip": "dense", "readout": "lstm"})})
    (one,), (again,) = trained([changed]), trained([changed])
    assert one.status == "ok"
    assert one.curve == again.curve

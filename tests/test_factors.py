"""Encodings and rewirings with every model and task: what is drawn, trained and measured, and what a study makes of them."""

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import PATHS, TASKS, Strange, assert_equal_on_a_path, make_cells, trained
from test_study import GRID, expanded, problems
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from datasets import OwnToken, Transfer
from datasets.barbell import Barbell
from datasets.ring import Ring
from suite.budget import Sizes, num_parameters
from suite.cell import Cell, FactorRef
from suite.controls import task_ref
from suite.engine import initial_model
from suite.engine.batches import Sharing, draw, graph_batch, packed
from suite.factors import Factored, family_of, redrawn, refusal, task_of
from suite.hops import hop_distance
from suite.measures import MEASURES, draws, measure
from suite.measures.frozen import Frozen
from suite.measures.linearised import ByHand
from suite.measures.profile import influence_profile
from suite.measures.recoverability import plant
from suite.measures.squashing import influence, influence_by_hop
from suite.models import MODELS, build, resolve
from suite.models.encodings import ENCODINGS
from suite.models.node_encodings import NODE_ENCODINGS, resolve_encoding
from suite.models.rewirings import REWIRINGS, resolve_rewiring
from suite.rng import stream
from suite.task import Block, Packed, Task

RING = Transfer(topology=Ring(), hops=4)
BATCH = ["norm(train)"]
CHANNELS = RING.draw(1, stream("test")).x.size(2)


def seen(task: Task, encoding: str | None = None, rewiring: str | None = None, **settings: Any) -> Factored:
    return Factored(
        seen=task_ref(task),
        encoding=encoding and resolve_encoding(encoding),
        rewiring=rewiring and resolve_rewiring(rewiring, settings),
    )


def cells_with(model: str, encoding: str | None, rewiring: str | None, num_layers: int = 4, **protocol: object) -> list[Cell]:
    factors = {"encoding": encoding and resolve_encoding(encoding), "rewiring": rewiring and resolve_rewiring(rewiring)}
    return [cell.model_copy(update=factors) for cell in make_cells(RING, model, num_layers, range(2), **protocol)]


# keys


def test_a_cell_without_factors_and_its_own_decay_has_the_key_that_it_had_before_there_were_any() -> None:
    (cell,) = make_cells(RING, "gcn", 4, range(1))
    old = {
        "task": {"ref": "datasets.transfer:Transfer", "params": RING.config(), "version": RING.version, "sha256": None},
        "model": {"ref": "suite.models.stack:Stack", "settings": cell.model.settings, "version": 1, "sha256": None},
        "num_layers": 4,
        "hidden_channels": 8,
        "seed": 0,
        "protocol": cell.protocol.model_dump(exclude={"conv_weight_decay"}),
        "purpose": "report",
        "schema_version": 1,
        "trainer_version": 1,
    }
    text = json.dumps(old, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert cell.key == hashlib.sha256(text.encode()).hexdigest()


def test_every_setting_of_a_factor_is_part_of_the_key() -> None:
    (cell, _) = cells_with("gcn", "laplacian", "expander")
    others = [
        cell.model_copy(update={"encoding": None}),
        cell.model_copy(update={"rewiring": None}),
        cell.model_copy(update={"encoding": resolve_encoding("laplacian", {"width": 9})}),
        cell.model_copy(update={"rewiring": resolve_rewiring("expander", {"degree": 6})}),
        cell.model_copy(update={"rewiring": cell.rewiring.model_copy(update={"version": 2})}),
    ]
    assert len({one.key for one in [cell, *others]}) == 6
    assert len({one.stack for one in [cell, *others]}) == 6
    assert Cell.model_validate_json(cell.model_dump_json()).key == cell.key


# what is drawn


@pytest.mark.parametrize("encoding", NODE_ENCODINGS)
def test_columns_are_appended_and_the_task_draws_what_it_drew(encoding: str) -> None:
    plain, block = (draw(task, 3, "train", 0, 5) for task in (RING, seen(RING, encoding)))
    assert torch.equal(block.x[:, :, :CHANNELS], plain.x)
    assert torch.equal(block.y, plain.y)
    assert torch.equal(block.edge_index, plain.edge_index)
    assert block.original_index is None
    width = NODE_ENCODINGS[encoding]().width
    assert block.x.size(2) == CHANNELS + width
    assert block.own.tolist() == [[True] * CHANNELS + [False] * width] * plain.num_nodes


@pytest.mark.parametrize("encoding", ["laplacian", "random"])
def test_signs_and_bases_are_drawn_for_every_sample_of_every_block_seed_and_split(encoding: str) -> None:
    task = seen(RING, encoding)
    again = [draw(task, 0, "train", 0, 4).x for _ in range(2)]
    assert torch.equal(*again)  # and so every model of a seed sees the same
    asked = [(0, "train", 0), (0, "train", 1), (1, "train", 0), (0, "test", 0)]
    columns = torch.cat([draw(task, seed, split, index, 4).x[:, :, CHANNELS:] for seed, split, index in asked])
    assert len(torch.unique(columns.flatten(1), dim=0)) == 16


def test_encodings_are_of_the_tasks_own_graph_whatever_the_rewiring() -> None:
    plain, both = (draw(seen(RING, "random_walk", rewiring), 0, "train", 0, 2) for rewiring in (None, "virtual_node"))
    assert torch.equal(both.x[:, :-1], plain.x)
    assert not both.x[:, -1].any()
    assert not both.own[-1].any()


@pytest.mark.parametrize("rewiring", sorted(set(REWIRINGS) - {"random_edges"}))
def test_all_splits_and_seeds_are_rewired_alike(rewiring: str) -> None:
    task = seen(RING, None, rewiring)
    edges = [draw(task, seed, split, 0, 3) for seed in range(2) for split in ("train", "validation", "test")]
    assert all(torch.equal(block.edge_index, edges[0].edge_index) for block in edges)
    assert all(torch.equal(block.original_index, RING.topology.graph(4).edge_index) for block in edges)
    assert torch.equal(edges[0].x[:, : edges[0].num_nodes], draw(RING, 0, "train", 0, 3).x) or rewiring == "virtual_node"


class Paths(Task):
    """Graphs that differ: paths of 4 to 7 nodes, asked at an end."""

    loss: ClassVar = "mse"
    hops: int = 3

    def sample(self, rng: torch.Generator) -> Data:
        size = 4 + int(torch.randint(4, (), generator=rng))
        edges = to_undirected(torch.stack([torch.arange(size - 1), torch.arange(1, size)]))
        x = torch.randn(size, 3, generator=rng)
        ends = {"readout_index": torch.tensor([0]), "source_index": torch.tensor([3])}
        return Data(x=x, edge_index=edges, y=x[3:4, :1], **ends)


@pytest.mark.parametrize("encoding", [None, *NODE_ENCODINGS])
@pytest.mark.parametrize("rewiring", [None, "virtual_node", "two_hop", "edge_free", "fosr"])
def test_graphs_that_differ_are_changed_one_by_one(encoding: str | None, rewiring: str | None) -> None:
    drawn = draw(seen(Paths(), encoding, rewiring), 0, "train", 0, 6)
    plain = draw(Paths(), 0, "train", 0, 6)
    assert isinstance(drawn, Packed)
    for one, before in zip(drawn, plain, strict=True):
        assert torch.equal(one.x[: before.num_nodes, :3], before.x)
        assert torch.equal(one.get("original_index", one.edge_index), before.edge_index)
        assert one.num_nodes == before.num_nodes + (rewiring == "virtual_node")
        assert rewiring != "edge_free" or one.edge_index.numel() == 0


class Fixed(Task):
    """One labelled graph, as Cora is."""

    fixed: ClassVar[bool] = True
    num_classes: int = 2

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        edges = RING.topology.graph(4).edge_index
        x = torch.eye(8).unsqueeze(0)
        return Block(edges, x, (torch.arange(4) % 2).unsqueeze(0), torch.arange(4))


def test_a_fixed_graph_has_other_signs_at_every_step() -> None:
    cells = make_cells(Fixed(), "gcn", 2, range(1))
    given = {name: cells[0].model_copy(update={"encoding": resolve_encoding(name)}) for name in ("laplacian", "random_walk")}
    assert redrawn(given["laplacian"])
    assert not redrawn(given["random_walk"])
    assert not redrawn(cells[0])
    task = task_of(given["laplacian"])
    first, second = (draw(task, 0, "train", index, 1).x for index in range(2))
    assert torch.equal(first[:, :, :8], second[:, :, :8])
    assert not torch.equal(first, second)
    for cell in given.values():
        assert trained([cell])[0].status == "ok"


# every path of the engine


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(sorted(MODELS)),
    task=st.sampled_from(sorted(set(TASKS) - {"published tree"})),  # directed
    encoding=st.sampled_from([None, *NODE_ENCODINGS]),
    rewiring=st.sampled_from([None, "virtual_node", "expander", "two_hop", "gdc", "fosr", "edge_free"]),
    num_layers=st.integers(1, 4),
    num_graphs=st.integers(2, 6),
    shortcuts=st.sets(st.sampled_from(PATHS)),
)
def test_loss_and_gradients_on_every_path_equal_the_plain_models(
    model: str,
    task: str,
    encoding: str | None,
    rewiring: str | None,
    num_layers: int,
    num_graphs: int,
    shortcuts: set[str],
) -> None:
    asked = seen(TASKS[task](3), encoding, rewiring)
    assert_equal_on_a_path(model, {}, asked, num_layers, num_graphs, shortcuts, asked.encoding)


@pytest.mark.parametrize("encoding", [None, *NODE_ENCODINGS])
@pytest.mark.parametrize("rewiring", [None, "virtual_node", "level_preserving", "edge_free"])
def test_cells_are_trained_and_measured(encoding: str | None, rewiring: str | None) -> None:
    cells = cells_with("gcn", encoding, rewiring, max_steps=4, eval_every=2)
    done = trained(cells)
    task = task_of(cells[0])
    for found in done:
        assert found.status == "ok"
        width = NODE_ENCODINGS[encoding]().width if encoding else 0
        assert packed(draw(task, 0, "train", 0, 2)).x.size(-1) == CHANNELS + width
    for name in MEASURES:
        result = measure(name, task, 0, initial_model(cells[0]), done[0].trained)
        json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("encoding", [None, *NODE_ENCODINGS])
def test_a_strangers_module_takes_factors_too(encoding: str | None) -> None:
    cells = cells_with("gcn", encoding, "virtual_node", max_steps=4, eval_every=2)
    cells = [cell.model_copy(update={"model": resolve("test_engine:Strange")}) for cell in cells]
    done = trained(cells[:1])
    inner = getattr(done[0].trained, "inner", done[0].trained)
    assert isinstance(inner, Strange) or type(inner).__name__ == "Strange"
    hidden = Frozen(done[0].trained).run(draws.draw(task_of(cells[0]), 0, 0)).hidden
    assert len(hidden) == 1 + 4  # the input and each convolution, found by hooks


def test_a_model_without_edges_is_an_mlp() -> None:
    """S = I: the twin has the values of the same maps, node by node."""
    task = seen(RING, None, "edge_free")
    gcn, mlp = (
        build(resolve("gcn", {"norm": "layer", "conv": conv}), CHANNELS, 8, 3, 5).double() for conv in ("gcn", "node_wise")
    )
    mlp.load_state_dict(gcn.state_dict())
    graphs = graph_batch(draw(task, 0, "train", 0, 3), frozenset())
    graphs.graphs.x = graphs.graphs.x.double()
    assert torch.allclose(graphs.forward(gcn), graphs.forward(mlp), atol=1e-12)


def test_attention_reads_distances_of_the_tasks_own_graph() -> None:
    task = seen(RING, None, "edge_free")
    hops = ENCODINGS["hop_distance"](RING.topology.graph(4))
    assert torch.equal(graph_batch(draw(task, 0, "train", 0, 2), frozenset({"hop_distance"})).needs["hop_distance"][1], hops)
    with_node = graph_batch(draw(seen(RING, None, "virtual_node"), 0, "train", 0, 1), frozenset({"hop_distance"}))
    assert with_node.needs["hop_distance"][0, 8].tolist() == [-1] * 8 + [0]
    along = graph_batch(draw(task, 0, "train", 0, 1), frozenset({"expander"})).needs["expander"]
    assert not (along == 1).any()  # where attention runs along edges, there are none


def test_two_originals_that_become_one_graph_are_not_mixed_up() -> None:
    """Without edges all graphs of a size are one; what a model is told of the originals must stay theirs."""
    ring, barbell = (seen(t, None, "edge_free") for t in (Transfer(hops=5), Transfer(topology=Barbell(clique_size=4), hops=5)))
    blocks = [draw(task, 0, "train", 0, 2) for task in (ring, barbell)]
    assert [block.num_nodes for block in blocks] == [10, 10]
    blocks[1].x, blocks[1].readout_index = blocks[0].x, blocks[0].readout_index
    model = build(resolve("spd_transformer"), blocks[0].x.size(2), 8, 2, 5)
    sharing = Sharing(model, 2, frozenset({"shared_topology"}), [blocks[0]])
    needs = [sharing.batch([block], training=True).prepared.needs["hop_distance"] for block in blocks]
    assert not torch.equal(*needs)


# what is measured


def _task_of_a_draw(task: Task) -> Data:
    return draws.draw(task, 0, 0)[0]


@pytest.mark.parametrize("rewiring", [None, "virtual_node", "two_hop"])
@pytest.mark.parametrize("encoding", ["laplacian", "sign_net"])
@pytest.mark.parametrize("model", ["gcn", "gps", "gat"])
def test_influence_is_by_the_tasks_own_features(model: str, encoding: str, rewiring: str | None) -> None:
    task = seen(RING, encoding, rewiring)
    graph = _task_of_a_draw(task)
    torch.manual_seed(0)
    made = build(resolve(model), graph.x.size(1), 8, 3, 5, task.encoding).double().eval()

    def outputs(x: Tensor) -> Tensor:
        full = torch.cat([torch.cat([x, graph.x[:8, CHANNELS:].double()], 1), graph.x[8:].double()])
        return made(full, graph.edge_index, batch=torch.zeros(len(full), dtype=torch.long))[graph.readout_index]

    expected = jacobian(outputs, graph.x[:8, :CHANNELS].double()).square().sum((1, 3)).sqrt()
    (found,) = influence(made, [graph])
    torch.testing.assert_close(found.x[:, :8], expected)
    assert not found.x[:, 8:].any()
    assert not found.hidden[:, 8:].any()
    exact = influence_profile(made, graph)
    hops = hop_distance(RING.topology.graph(4).edge_index, graph.readout_index, 8)
    shells = torch.stack([expected.square()[hops == k].sum() for k in range(exact.squares.size(1))])
    torch.testing.assert_close(exact.squares[0], shells)


def test_both_ways_of_influence_agree_with_an_encoding() -> None:
    graph = _task_of_a_draw(seen(RING, "laplacian", "two_hop"))
    made = build(resolve("gcn", {"norm": "none"}), graph.x.size(1), 8, 2, 5).double().eval()
    hand = ByHand(made, graph.x.double(), graph.edge_index, 1 << 20, graph.own)
    eye = torch.eye(5, dtype=torch.float64).expand(1, -1, -1)
    torch.testing.assert_close(hand.norms(graph.readout_index, eye)[0], influence(made, [graph])[0].x)


def test_hops_are_those_of_the_tasks_own_graph() -> None:
    """Two layers on two-hop edges bring what is four hops away; without a rewiring nothing beyond two."""
    torch.manual_seed(1)
    made = build(resolve("gcn", {"norm": "none"}), CHANNELS, 16, 2, 5).double().eval()
    plain, wide = (influence_by_hop(made, _task_of_a_draw(task)) for task in (RING, seen(RING, None, "two_hop")))
    assert plain.zeros.tolist() == [0, 0, 0, 2, 1]
    assert wide.zeros.tolist() == [0, 0, 0, 0, 0]
    assert wide.pairs.tolist() == [1, 2, 2, 2, 1]


def test_the_operator_share_is_that_of_the_rewired_graph() -> None:
    made = build(resolve("gcn", {"norm": "none"}), CHANNELS, 8, 4, 5)
    tasks = (RING, seen(RING, None, "edge_free"))
    shares = [measure("operator_share", task, 0, made, made)["initial"]["source_share"] for task in tasks]
    assert shares[0] == pytest.approx(2 / 3**4)  # S has rows that sum to 1 on a ring
    assert shares[1] == 0


def test_planted_tokens_leave_encodings_and_appended_nodes_alone() -> None:
    task = seen(Paths(), "random", "virtual_node")
    graphs = draws.draw(task, 0, 0, 4)
    planted, token, num_classes = plant(graphs, stream("test"))
    assert num_classes == 3
    ends = torch.cat([graph.own.any(1) for graph in graphs])
    assert (token[ends] >= 0).all()
    assert (token[~ends] == -1).all()
    for graph, before in zip(planted, graphs, strict=True):
        assert torch.equal(graph.x[:, 3:], before.x[:, 3:])
        assert not graph.x[-1].any()


# studies


def one(tmp_path: Path, *models: Any, **grid: Any) -> list[Any]:
    given = GRID | {"models": list(models), "hops": [3], "num_layers": ["hops"], "num_seeds": 1} | grid
    return list(expanded(tmp_path, given).entries)


@pytest.mark.parametrize(
    ("model", "title", "channel", "family"),
    [
        ({"name": "gcn", "encoding": "random_walk"}, "GCN + RWSE", BATCH, "MPNN"),
        ({"name": "gcn", "encoding": {"name": "laplacian", "width": 4}}, "GCN + LapPE", BATCH, "MPNN"),
        ({"name": "sage", "encoding": "sign_net"}, "GraphSAGE + SignNet", BATCH, "MPNN"),
        (
            {"name": "gcn", "rewiring": {"name": "expander", "degree": 6}},
            "GCN + expander",
            [*BATCH, "rewiring"],
            "Rewired",
        ),
        (
            {"name": "gat", "rewiring": "virtual_node"},
            "GAT + virtual node in the graph",
            [*BATCH, "virtual_node"],
            "Rewired",
        ),
        (
            {"name": "gcn", "rewiring": "edge_free", "encoding": "random"},
            "GCN + random features + no edges",
            BATCH,
            "Control",
        ),
        ({"name": "gps", "encoding": "rrwp"}, "GPS + RRWP", ["attention"], "Transformer"),
        ({"name": "set_transformer", "encoding": "spd"}, "Set transformer + SPD", ["attention"], "Transformer"),
    ],
)
def test_titles_channels_and_families(tmp_path: Path, model: dict[str, Any], title: str, channel: list[str], family: str) -> None:
    (entry,) = one(tmp_path, model)
    line = entry.line()
    assert (line["title"], line["global_channel"], line["family"]) == (title, channel, family)


NO_EDGES = {"rewiring": "edge_free"}


@pytest.mark.parametrize(
    ("model", "told", "family"),
    [
        # told nothing of the graph, whatever they are called
        ({"name": "mlp"}, "nothing", "Control"),
        ({"name": "constant"}, "nothing", "Control"),
        ({"name": "deep_sets"}, "nothing", "Control"),
        ({"name": "set_transformer"}, "nothing", "Control"),
        ({"name": "set_transformer", "encoding": "random"}, "nothing", "Control"),
        ({"name": "gcn", "conv": "node_wise"}, "nothing", "Control"),
        ({"name": "sgformer", "conv": "node_wise"}, "nothing", "Control"),
        ({"name": "spd_transformer", "pair_bias": "none"}, "nothing", "Control"),
        ({"name": "gcn"} | NO_EDGES, "nothing", "Control"),
        ({"name": "exphormer"} | NO_EDGES, "nothing", "Control"),  # its expander is of the nodes alone
        ({"name": "san", "encoding": "random"} | NO_EDGES, "nothing", "Control"),
        # told by an encoding alone
        ({"name": "set_transformer", "encoding": "spd"}, "encoding", "Transformer"),
        ({"name": "set_transformer", "pair_bias": "rrwp"}, "encoding", "Transformer"),
        ({"name": "set_transformer", "encoding": "laplacian"}, "encoding", "Transformer"),
        ({"name": "spd_transformer"}, "encoding", "Transformer"),
        ({"name": "deep_sets", "encoding": "sign_net"}, "encoding", "Rewired"),
        ({"name": "mlp", "encoding": "random_walk"}, "encoding", "MPNN"),
        ({"name": "gcn", "encoding": "laplacian"} | NO_EDGES, "encoding", "Rewired"),
        ({"name": "graphormer"} | NO_EDGES, "encoding", "Rewired"),
        # told by its edges
        ({"name": "set_transformer", "conv": "gcn"}, "edges", "Transformer"),
        ({"name": "set_transformer", "attention": "nodeformer"}, "edges", "Transformer"),
        ({"name": "set_transformer", "degree_buckets": 4}, "edges", "Transformer"),
        ({"name": "mlp", "conv": "gcn"}, "edges", "MPNN"),
        ({"name": "mlp", "skip": "gated"}, "edges", "MPNN"),  # gates are differences between neighbours
        ({"name": "deep_sets", "conv": "gin"}, "edges", "Rewired"),
        ({"name": "propagation"}, "edges", "Control"),
        ({"name": "gcn", "encoding": "random"}, "edges", "MPNN"),
        ({"name": "specformer"}, "edges", "Transformer"),
    ],
    ids=lambda given: "-".join(map(str, given.values())) if isinstance(given, dict) else None,
)
def test_a_control_without_edges_is_what_is_built_to_be_one(
    tmp_path: Path, model: dict[str, Any], told: str, family: str
) -> None:
    (entry,) = one(tmp_path, model)
    line = entry.line()
    assert (line["told"], line["family"]) == (told, family)
    assert ("no edges" in line["title"]) == (told == "nothing" or model.get("rewiring") == "edge_free")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"name": "gcn"}, 0),
        ({"name": "gcn", "encoding": "random"}, 0),
        ({"name": "gcn", "encoding": {"name": "random_walk", "width": 6}}, 3),
        ({"name": "gcn", "encoding": "laplacian"}, None),
        ({"name": "graphormer"}, 37),  # 40 buckets: 0 to 37 hops, more, no path
        ({"name": "set_transformer", "encoding": "spd", "distance_buckets": 10}, 7),
        ({"name": "gps", "encoding": "rrwp"}, 16),
        ({"name": "grit", "encoding": "random_walk"}, 16),
        ({"name": "grit", "encoding": "sign_net"}, None),
        ({"name": "set_transformer", "encoding": "resistance"}, None),
    ],
    ids=lambda given: "-".join(map(str, given.values())) if isinstance(given, dict) else None,
)
def test_how_far_encodings_tell_of_the_graph_stands_in_the_listing(
    tmp_path: Path, model: dict[str, Any], expected: int | None
) -> None:
    (entry,) = one(tmp_path, model)
    assert entry.line()["pe_reach"] == expected


def test_the_list_of_models_says_which_are_controls() -> None:
    controls = {name for name in MODELS if family_of(name) == "Control"}
    assert controls == {"mlp", "deep_sets", "set_transformer", "constant", "propagation"}


@pytest.mark.parametrize(
    "model",
    [
        *({"name": name} for name in ("mlp", "constant", "set_transformer", "deep_sets", "spd_transformer")),
        {"name": "gcn", "conv": "node_wise"},
        {"name": "set_transformer", "encoding": "spd"},
        {"name": "set_transformer", "heads": 3, "encoding": "laplacian"},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
@pytest.mark.parametrize("rewiring", sorted(REWIRINGS))
def test_a_model_that_reads_no_edges_has_none_rewired(tmp_path: Path, model: dict[str, Any], rewiring: str) -> None:
    asked = {"name": rewiring} | ({"like": {"name": "fosr"}} if rewiring == "random_edges" else {})
    grid = GRID | {"hops": [3], "num_layers": ["hops"], "hidden_channels": 12, "models": [model | {"rewiring": asked}]}
    (problem,) = problems(tmp_path, grid)
    assert f"rewiring '{rewiring}' changes edges, and {model['name']} reads none" in problem


@pytest.mark.parametrize("model", ["graphormer", "gps", "san", "exphormer", "specformer", "tokengt", "grit", "nodeformer"])
def test_a_transformer_that_reads_edges_may_have_them_rewired(tmp_path: Path, model: str) -> None:
    (entry,) = one(tmp_path, {"name": model, "rewiring": "two_hop"})
    assert entry.line()["family"] == "Rewired"


def test_an_encoding_of_pairs_is_a_setting_of_the_model(tmp_path: Path) -> None:
    encoded, named = one(tmp_path, {"name": "set_transformer", "encoding": "spd", "title": "a"}, "spd_transformer")
    assert encoded.cell.key == named.cell.key
    assert encoded.cell.encoding is None


def test_labels_say_what_makes_it_another_model(tmp_path: Path) -> None:
    entries = one(
        tmp_path,
        {"name": "gcn", "norm": "none", "encoding": {"name": "laplacian", "width": 4}},
        {"name": "gcn", "rewiring": {"name": "random_edges", "like": {"name": "fosr", "share": 0.5}}},
    )
    assert [e.model for e in entries] == [
        "gcn(encoding=laplacian(width=4), norm=none)",
        "gcn(rewiring=random_edges(like=fosr(share=0.5)))",
    ]
    assert entries[0].title == "GCN(norm=none) + LapPE"


def test_what_does_not_go_together_is_refused_with_the_reason(tmp_path: Path) -> None:
    grid = GRID | {"hops": [3], "num_layers": ["hops"]}

    def said(**model: Any) -> str:
        return "\n".join(problems(tmp_path, grid | {"models": [model]}))

    assert "only attention among all nodes reads pairs: gcn has no setting 'pair_bias'" in said(name="gcn", encoding="rrwp")
    assert "encode nodes: laplacian, sign_net, random_walk, random" in said(name="gcn", encoding="spd")
    assert "pair_bias: must be none unless attention is softmax" in said(name="gps_performer", encoding="rrwp")
    assert "no encoding is called 'laplac'. Did you mean 'laplacian'?" in said(name="gcn", encoding="laplac")
    assert "no rewiring is called 'expandr'. Did you mean 'expander'?" in said(name="gcn", rewiring="expandr")
    assert "rewiring.degree: must be greater than or equal to 3, got 2" in said(
        name="gcn", rewiring={"name": "expander", "degree": 2}
    )
    assert "rewiring.degre: no setting is called 'degre'. Did you mean 'degree'?" in said(
        name="gcn", rewiring={"name": "expander", "degre": 4}
    )
    assert "rewiring.like: is missing" in said(name="gcn", rewiring="random_edges")
    asked = grid | {"tasks": {"kind": "own_token", "topology": "ring"}, "num_layers": [2]}
    told = problems(tmp_path, asked | {"models": [{"name": "gcn", "rewiring": "level_preserving"}]})
    assert "rewiring 'level_preserving' needs exactly one read-out node, around which it builds; got" in told[0]


def test_graphs_too_large_are_refused_before_anything_runs() -> None:
    large = OwnToken(topology=Ring(), size=2500)
    reason = refusal(large, stream("test"), resolve_encoding("laplacian"), None)
    assert reason is not None
    assert reason.startswith("encoding 'laplacian' needs a graph of at most 4,096 nodes")
    assert refusal(large, stream("test"), resolve_encoding("random_walk"), resolve_rewiring("expander")) is None


@pytest.mark.parametrize("encoding", ["laplacian", "sign_net"])
def test_a_budget_counts_the_columns_and_the_weights_of_an_encoding(tmp_path: Path, encoding: str) -> None:
    (entry,) = one(tmp_path, {"name": "gcn", "encoding": encoding}, parameters=4000)
    model = initial_model(entry.cell)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert entry.budget.got == count
    assert abs(count / 4000 - 1) < 0.05
    sizes = Sizes(CHANNELS + 8, 3, 5, entry.cell.encoding)
    assert num_parameters(entry.cell.model, entry.cell.hidden_channels, sizes) == count


def test_certificates_are_of_the_task_alone(tmp_path: Path) -> None:
    plain, encoded = one(tmp_path, "gcn", {"name": "gcn", "encoding": "laplacian", "rewiring": "two_hop"})
    assert plain.cell.task.key == encoded.cell.task.key
    assert plain.cell.key != encoded.cell.key


def test_a_module_with_weights_of_its_own_is_part_of_the_model() -> None:
    ref: FactorRef = resolve_encoding("sign_net", {"width": 4, "channels": 6})
    torch.manual_seed(0)
    made = build(resolve("gcn_virtual_node"), 3 + 4, 8, 2, 5, ref)
    assert made.inner.encoder.first.weight.shape == (8, 3 + 6)
    assert made.global_channel == made.inner.global_channel == {"virtual_node", "norm(train)"}
    assert isinstance(made, nn.Module)
    x, edges = torch.randn(8, 7), RING.topology.graph(4).edge_index
    made.eval()
    flipped = torch.cat([x[:, :3], -x[:, 3:]], 1)
    assert torch.allclose(made(x, edges), made(flipped, edges))

"""Facts about collections of labelled graphs: sizes, folds, pooled answers, their scores, and data that are not there."""

import itertools
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
import torch
from data_copy import COPY, needs_copy
from made_up_molecules import NUM_MOLECULES, read_chain, write_molecules
from made_up_peptides import SIZES, write_peptides
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch_geometric import datasets as pyg
from torch_geometric.data import Data
from torch_geometric.datasets import molecule_net
from torch_geometric.nn import global_mean_pool
from torch_geometric.utils import to_undirected

from datasets import labelled_graphs
from datasets.labelled_graphs import ATOMS, CLASSES, FOLDS, GraphClasses, Molecules, Peptides
from datasets.stored import DATA_ROOT, stored
from suite.cell import Cell, Protocol
from suite.certify import CONTENT, UNCONTROLLED, certify
from suite.engine import Trained, blocks, train
from suite.engine.batches import GraphBatch, graph_batch
from suite.factors import Factored, combine
from suite.measures import MEASURES, measure
from suite.models import build, resolve
from suite.rng import stream
from suite.score import guess, losses, scores
from suite.task import DataUnavailable, Level, Packed, Split, Task
from suite.testing import check_task
from suite.views import task_ref

SPLITS: tuple[Split, ...] = get_args(Split)


@pytest.fixture(autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with made-up peptides and, where there is a copy, the TU collection; a cache of this test alone."""
    root = tmp_path_factory.mktemp("data")
    write_peptides(root)
    if COPY.is_dir():
        (root / "tu").symlink_to(COPY / "tu")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv(DATA_ROOT, str(root))
    for kept in (labelled_graphs._tu, labelled_graphs._fold, labelled_graphs._molecules, labelled_graphs._peptides):
        kept.cache_clear()
    return root


def asked(task: GraphClasses | Molecules | Peptides, split: Split) -> Packed:
    (drawn,) = blocks(task, 0, split, 1, 1)
    assert isinstance(drawn, Packed)
    return drawn


@needs_copy
@pytest.mark.parametrize(
    ("name", "graphs", "nodes", "columns", "features"),
    [("MUTAG", 188, 3371, 7442, 7), ("ENZYMES", 600, 19_580, 74_564, 21), ("PROTEINS", 1113, 43_471, 162_088, 3)],
)
def test_each_split_is_asked_whole_and_together_they_are_the_published_collection(
    name: Any, graphs: int, nodes: int, columns: int, features: int
) -> None:
    task = GraphClasses(name=name)
    found = [asked(task, split) for split in SPLITS]
    assert [len(part) for part in found] == [task.given(split) for split in SPLITS]
    assert sum(len(part) for part in found) == graphs
    assert sum(part.x.size(0) for part in found) == nodes
    assert sum(part.edge_index.size(1) for part in found) == columns
    assert {part.x.size(1) for part in found} == {features}
    classes = torch.cat([part.y for part in found]).bincount(minlength=task.out_channels)
    assert len(classes) == CLASSES[name][0]
    assert float(classes.max() / classes.sum()) == pytest.approx(task.chance)
    for part in found:  # stratified
        shares = part.y.bincount(minlength=len(classes)) / len(part)
        assert torch.allclose(shares, classes / classes.sum(), atol=1 / len(part))


@needs_copy
def test_every_graph_is_in_the_test_of_one_fold_and_in_the_validation_of_another() -> None:
    root = labelled_graphs.data_root()
    for split in ("test", "validation"):
        parts = [labelled_graphs._fold("MUTAG", root, fold, split) for fold in range(FOLDS)]  # type: ignore[arg-type]
        assert torch.cat(parts).sort().values.tolist() == list(range(188))
    for fold in range(FOLDS):
        every = torch.cat([labelled_graphs._fold("MUTAG", root, fold, split) for split in SPLITS])
        assert every.sort().values.tolist() == list(range(188))


@needs_copy
def test_training_draws_no_graph_twice_and_no_other_than_its_own() -> None:
    task = GraphClasses(name="MUTAG")
    own = {graph.x.numpy().tobytes() + graph.edge_index.numpy().tobytes() for graph in asked(task, "train")}
    block = task.at("train", 3).draw(64, stream("test"))
    assert len(block) == 64
    assert {graph.x.numpy().tobytes() + graph.edge_index.numpy().tobytes() for graph in block} <= own
    every = task.at("train", 0).draw(10_000, stream("test"))
    assert len(every) == task.given("train")


def test_outputs_are_averaged_over_each_graph_as_pyg_does() -> None:
    graphs = asked(Peptides(), "test")
    model = build(resolve("gcn"), graphs.x.size(1), 16, 2, 10).eval()
    batch = graph_batch(graphs, frozenset())
    states = model.encode(graphs.x, graphs.edge_index, graphs.batch)
    pooled = [global_mean_pool(state, graphs.batch) for state in states]
    assert torch.allclose(batch.forward(model)[0], model.decode(pooled), atol=1e-6)  # its decoder is linear
    assert batch.y.shape == (1, SIZES["test"], 10)


class PoolsItself(nn.Module):
    """A module that gives a row for every graph, as PyG's examples for graphs do."""

    def __init__(self, in_channels: int, _hidden: int, _layers: int, out_channels: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return global_mean_pool(self.lin(x) + 0 * edge_index.sum(), batch)


def test_a_module_that_pools_itself_is_taken_as_it_is() -> None:
    graphs = asked(Peptides(), "test")
    model = PoolsItself(graphs.x.size(1), 0, 0, 10)
    batch = GraphBatch(graphs, {})
    assert torch.equal(batch.forward(model)[0], model(graphs.x, graphs.edge_index, graphs.batch))


@pytest.mark.parametrize(("target", "width"), [("func", 10), ("struct", 11)])
def test_peptides_come_in_the_published_split_with_one_hot_atoms(target: Any, width: int, data: Path) -> None:
    task = Peptides(target=target)
    for split, published in zip(SPLITS, ("train", "val", "test"), strict=True):
        found, raw = asked(task, split), torch.load(data / f"lrgb/peptides-{target}/raw/{published}.pt")
        assert len(found) == SIZES[published]
        assert torch.equal(found.y, torch.cat([graph[3] for graph in raw]))
        assert found.x.sum(1).unique().tolist() == [len(ATOMS)]
        starts = [sum(ATOMS[:k]) for k in range(len(ATOMS))]
        read = torch.stack([part.argmax(1) for part in found.x.split(ATOMS, dim=1)], dim=1)
        assert found.x.size(1) == starts[-1] + ATOMS[-1]
        assert torch.equal(read, torch.cat([graph[0] for graph in raw]))
        assert found.y.size(1) == width == task.out_channels


def test_average_precision_is_that_of_scikit_learn_over_the_answers_somebody_has() -> None:
    rng = stream("ap")
    out, y = torch.randn(2, 40, 6, generator=rng), (torch.rand(2, 40, 6, generator=rng) < 0.3).float()
    y[:, :, 2] = 0  # that nobody has
    kept = [k for k in range(6) if k != 2]
    expected = [np.mean([average_precision_score(b[:, k], a[:, k]) for k in kept]) for a, b in zip(out, y, strict=True)]
    assert scores(out, y, "average_precision").tolist() == pytest.approx(expected)
    assert scores(y, y, "average_precision").tolist() == [1.0, 1.0]


def test_no_constant_has_a_smaller_loss_than_the_guess() -> None:
    rng = stream("guess")
    for loss in ("mse", "mae"):
        y = torch.rand(51, 3, generator=rng).double() ** 3
        best = guess(y, loss, 3)  # type: ignore[arg-type]
        told = [losses((best + step).expand(1, 51, 3), y[None], loss) for step in (0.0, 0.02, -0.02)]  # type: ignore[arg-type]
        assert told[0] < min(told[1:])
    assert int(guess(torch.tensor([2, 0, 2, 1]), "cross_entropy", 4).argmax()) == 2


def test_chance_of_peptides_is_what_a_constant_scores() -> None:
    func, struct = Peptides(target="func"), Peptides(target="struct")
    held = asked(func, "test").y
    assert func.chance == pytest.approx(float(held[:, (held > 0).any(0)].mean()))  # a constant ranks nothing: prevalence
    median, y = asked(struct, "train").y.median(0).values, asked(struct, "test").y
    assert struct.chance == pytest.approx(float((y - median).abs().mean()))
    assert (func.ceiling, struct.ceiling) == (1.0, 0.0)


def test_molecules_are_those_of_the_file_each_in_one_split(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_molecules(data)
    monkeypatch.setattr(molecule_net, "_from_smiles", read_chain)
    task, found = Molecules(fold=3), []
    for split in SPLITS:
        graphs = asked(task, split)
        assert len(graphs) == task.given(split) == NUM_MOLECULES * (8 if split == "train" else 1) // 10
        assert graphs.y.shape == (len(graphs),)
        assert (graphs.x.size(1), task.out_channels) == (177, 1)
        for graph in graphs:
            formula = "".join({6: "C", 7: "N", 8: "O"}[element] for element in graph.x[:, :119].argmax(1).tolist())
            assert graph.edge_index.size(1) == 2 * (len(formula) - 1)
            found.append((round(float(graph.y), 3), formula))
    assert sorted(found) == sorted(rows)
    train, test = asked(task, "train").y, asked(task, "test").y
    assert task.chance == pytest.approx(float((test - train.mean()).square().mean()))
    folds = [labelled_graphs._fold("ESOL", data, fold, "test").tolist() for fold in range(FOLDS)]
    assert sorted(itertools.chain(*folds)) == list(range(NUM_MOLECULES))


def test_molecules_whose_formulas_cannot_be_read_are_not_to_be_had(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(_: str) -> Data:
        raise ModuleNotFoundError("No module named 'rdkit'")

    write_molecules(data)
    monkeypatch.setattr(molecule_net, "_from_smiles", unread)
    with pytest.raises(DataUnavailable, match=r"ESOL: .*cannot be processed .*No module named 'rdkit'"):
        asked(Molecules(), "train")


@pytest.mark.parametrize("target", ["func", "struct"])
@pytest.mark.parametrize("name", ["gcn", "gps", "graphormer"])
def test_models_train_on_whole_graphs_and_are_measured(name: str, target: Any) -> None:
    task = Peptides(target=target)
    protocol = Protocol(lr=0.01, max_steps=60, eval_every=20, batch_size=8, solved_at=None)
    cell = Cell(task=task_ref(task), model=resolve(name), num_layers=2, hidden_channels=16, seed=0, protocol=protocol)
    found: list[Trained] = []
    train([cell], found.append)
    curve = found[0].curve["train_loss"]
    assert curve[-1] < curve[0]
    for measured, entry in MEASURES.items():
        if not entry.rewired:
            assert measure(measured, task, 0, found[0].initial, found[0].trained)["trained"]


@pytest.mark.parametrize("factor", ["encoding", "rewiring"])
def test_factors_go_with_whole_graphs(factor: str) -> None:
    (name, settings) = ("random_walk", {}) if factor == "encoding" else ("two_hop", {})
    ref = getattr(combine("gcn", {}, **{"encoding": None, "rewiring": None} | {factor: (name, settings)}), factor)
    task = Factored(seen=task_ref(Peptides()), **{factor: ref})  # type: ignore[arg-type]
    seen, bare = asked(task, "test"), asked(Peptides(), "test")  # type: ignore[arg-type]
    assert seen.readout_index is None
    assert torch.equal(seen.y, bare.y)
    assert (seen.x.size(1) > bare.x.size(1)) == (factor == "encoding")
    assert (seen.edge_index.size(1) > bare.edge_index.size(1)) == (factor == "rewiring")


@needs_copy
def test_a_certificate_says_what_a_set_model_scores_and_that_constants_only_guess() -> None:
    found = certify(GraphClasses(name="MUTAG"))
    checks = {check["id"]: check for check in found["checks"]}
    assert checks["K3"]["value"] == pytest.approx(13 / 19)  # of 19 test graphs
    assert checks["K3"]["passed"]
    assert 0.5 <= checks["K5"]["value"] <= 1
    assert checks["K11"]["passed"]
    assert {checks[name]["value"] for name in ("K4", "K6", "K7", "K8", "K9")} == {None}
    assert UNCONTROLLED in found["tags"]


def test_data_that_are_not_there_are_named_with_the_place_to_put_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setenv(DATA_ROOT, str(tmp_path / "nothing"))
    monkeypatch.setattr(pyg.LRGBDataset, "download", offline)
    with pytest.raises(DataUnavailable, match=r"Peptides-func: no lrgb/peptides-func/raw under .*no route.*--data-root DIR"):
        asked(Peptides(), "train")


def test_a_copy_that_cannot_be_processed_is_not_called_missing(tmp_path: Path) -> None:
    def process(root: str) -> None:
        raise ValueError(f"line 3 of {Path(root, 'raw', 'file').name} has 2 columns")

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file").write_text("torn")
    with pytest.raises(DataUnavailable) as found:
        stored("name", tmp_path, ["missing", "set"], "raw", process)
    message = str(found.value)
    assert message == f"name: {tmp_path / 'set'} is there, but cannot be processed (ValueError: line 3 of file has 2 columns)"
    assert isinstance(found.value.__cause__, ValueError)


def test_a_copy_is_processed_once_and_another_copy_anew(tmp_path: Path) -> None:
    calls: list[str] = []

    def process(root: str) -> None:
        calls.append(root)
        (Path(root) / "processed").write_text(Path(root, "raw", "file").read_text())

    for text in ("one", "one", "other"):
        raw = tmp_path / "set"
        raw.mkdir(exist_ok=True)
        (raw / "file").write_text(text)
        kept = stored("name", tmp_path, ["missing", "set"], "raw", process)
        assert Path(kept, "processed").read_text() == text
    assert len(calls) == 2


class CycleOrPath(Task):
    """Someone's question about whole graphs, drawn one by one: is the graph closed? Noise on nodes, and size, say nothing."""

    level: ClassVar[Level] = "graph"
    num_classes: ClassVar[int] = 2

    def sample(self, rng: torch.Generator) -> Data:
        size, closed = int(torch.randint(5, 9, (), generator=rng)), int(torch.randint(2, (1,), generator=rng))
        node = torch.arange(size)
        edges = torch.stack([node, node.roll(-1)])[:, : size - 1 + closed]
        x = torch.randn(size, 2, generator=rng)
        return Data(x=x, edge_index=to_undirected(edges), y=torch.tensor([closed]))


def test_someones_question_about_whole_graphs_keeps_the_contract_and_is_learned() -> None:
    task = CycleOrPath()
    check_task(task)
    protocol = Protocol(lr=0.01, max_steps=200, eval_every=50, batch_size=32, num_validation=64, num_test=256)
    cell = Cell(task=task_ref(task), model=resolve("gin"), num_layers=2, hidden_channels=16, seed=0, protocol=protocol)
    found: list[Trained] = []
    train([cell], found.append)
    assert found[0].metrics["test"]["score"] > 0.95  # degrees tell, and the mean over nodes keeps them


@pytest.mark.slow
def test_the_certificate_of_whole_graphs_says_what_sets_know() -> None:
    found = certify(CycleOrPath())
    checks = {check["id"]: check for check in found["checks"]}
    assert found["tags"] == [CONTENT, UNCONTROLLED]
    assert checks["K5"]["value"] > 0.9  # a set model is told degrees, and the ends of a path have degree 1
    assert checks["K3"]["passed"]

"""The common contract of tasks, for every task of the table on every topology that can carry it."""

from pathlib import Path
from typing import Any

import pytest
from data_copy import COPY, NO_COPY
from made_up_molecules import read_chain, write_molecules
from made_up_peptides import write_peptides
from pydantic import ValidationError
from torch_geometric.datasets import molecule_net

from datasets import TASKS, TOPOLOGIES
from datasets.labelled import LabelledGraph
from datasets.labelled_graphs import GraphClasses, Molecules
from datasets.planetoid import Planetoid
from datasets.stored import DATA_ROOT
from suite.task import Task
from suite.testing import TASK_CHECKS, check_fresh_process

VALUES: dict[str, list[dict[str, Any]]] = {  # values of a topology to put tasks on, beside the default one
    "tree": [{"extra": 1}],
    "clique_path": [{"extra": 1}],
    "barbell": [{"bridges": 2}],
    "decoyed": [{"topology": "layered"}],
    "network": [{"name": "ky4_water"}],
}
FIELDS: dict[str, list[dict[str, Any]]] = {  # fields that make a task another question
    "transfer": [{"addressing": "content", "crowding": 3, "num_keys": 6}, {"addressing": "position"}],
    "mean_exchange": [{"side": True}, {"side": False}],
    "distances": [{"quantity": "distance"}, {"quantity": "cost"}, {"quantity": "diameter"}],
    "known_range": [
        {"kernel": "hop"},
        {"kernel": "decay", "exponent": 1.5, "interaction": "product", "values": "spin"},
        {"kernel": "power"},
        {"kernel": "exponential", "exponent": 1.0, "interaction": "distance"},
        {"kernel": "resistance", "exponent": -1.0, "interaction": "cosine", "channels": 3},
    ],
    "mixed_transfer": [{}, {"least": 2}, {"addressing": "content"}],
    "proximity": [{}, {"num_near": 0}],
    "ordered_path": [{"group": "parity"}, {"group": "s3"}],
    "ordered_tokens": [{"group": "parity"}, {"group": "s3"}],
    "neighbors_match": [{}, {"directed": True}],
    "published_ring_transfer": [{"family": family} for family in ("ring", "crossed_ring", "clique_path")],
    "two_radius": [{}, {"hops": 1}, {"matched_by": "path", "centres": 2}],
    "pair_mixing": [{"mixing": "product"}, {"mixing": "sum"}],
    "decoy_chains": [{}, {"directed": True, "hole": "anywhere"}],
    "published_graph_transfer": [{"family": family} for family in ("line", "ring", "crossed_ring")],
    "published_two_radius": [{}, {"load": 4, "centres": 3}, {"load": 4, "centres": 0}],
    "published_distances": [{"quantity": "distance"}, {"quantity": "diameter"}],
    "labelled_graph": [{"name": "Minesweeper"}, {"name": "Wisconsin", "fold": 3}],
    "graph_classes": [{"name": "MUTAG"}, {"name": "ENZYMES", "fold": 2}],
    "peptides": [{"target": "func"}, {"target": "struct"}],
    "molecules": [{}],
    "planetoid": [{"name": "Cora"}, {"name": "CiteSeer"}],
}
PUBLISHED = (Planetoid, LabelledGraph, GraphClasses)
EVERYWHERE = {"transfer"}  # stands on every topology; other tasks on a few, unlike each other
A_FEW = ("barbell", "caterpillar", "clique", "clique_chain", "network", "random_tree", "ring", "torus", "tree")
HOPS = (5, 3, 2, 1)  # the first that is accepted


def _combinations() -> tuple[dict[str, Task], dict[str, ValidationError]]:
    """Return every combination that can be made, and why the others cannot at the last distance tried."""
    made, refused = {}, {}
    for name, cls in TASKS.items():
        topologies: list[Any] = [{}]
        if "topology" in cls.model_fields:
            kinds = TOPOLOGIES if name in EVERYWHERE else A_FEW
            topologies = [{"topology": {"kind": kind, **value}} for kind in kinds for value in VALUES.get(kind, [{}])]
        for topology in topologies:
            for fields in FIELDS.get(name, [{}]):
                label = f"{name} {' '.join(map(str, [*topology.get('topology', {}).values(), *fields.values()]))}".strip()
                found = _first_accepted(cls, topology | fields)
                if isinstance(found, Task):
                    made[label] = found
                else:
                    refused[label] = found
    return made, refused


def _first_accepted(cls: type[Task], fields: dict[str, Any]) -> Task | ValidationError:
    name = next((name for name in ("hops", "size") if name in cls.model_fields), None)
    tries = [{name: hops} for hops in HOPS] if name else [{}]
    for distance in tries:
        try:
            return cls(**fields | distance)
        except ValidationError as error:
            found = error
    return found


MADE, REFUSED = _combinations()


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, root: Path) -> None:
    monkeypatch.setenv(DATA_ROOT, str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(molecule_net, "_from_smiles", read_chain)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with made-up peptides and molecules beside what the copy has."""
    root = tmp_path_factory.mktemp("data")
    write_peptides(root)
    write_molecules(root)
    for folder in COPY.iterdir() if COPY.is_dir() else []:
        (root / folder.name).symlink_to(folder)
    return root


def needs_data(task: Task) -> None:
    if isinstance(task, PUBLISHED) and not COPY.is_dir():
        pytest.skip(NO_COPY)


@pytest.mark.parametrize("check", TASK_CHECKS)
@pytest.mark.parametrize("label", MADE)
def test_every_task_keeps_the_contract_on_every_topology(label: str, check: str) -> None:
    needs_data(MADE[label])
    assert not list(TASK_CHECKS[check](MADE[label]))


def test_another_process_draws_the_same_bytes_of_every_task() -> None:
    assert Molecules().given("test")  # read here, where their formulas can be read
    check_fresh_process([task for task in MADE.values() if not isinstance(task, PUBLISHED) or COPY.is_dir()])


def test_every_task_and_every_topology_takes_part() -> None:
    assert {label.split()[0] for label in MADE} == set(TASKS)
    kinds = {task.topology.kind for task in MADE.values() if hasattr(task, "topology")}
    assert kinds == set(TOPOLOGIES)


@pytest.mark.parametrize("label", REFUSED)
def test_a_combination_that_cannot_be_made_is_refused_by_naming_the_field(label: str) -> None:
    error = REFUSED[label].errors()[0]
    named = str(error["loc"][0]) if error["loc"] else error["msg"].removeprefix("Value error, ").partition(":")[0]
    assert named in TASKS[label.split()[0]].model_fields

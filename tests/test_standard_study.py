"""The standard study asks sound questions: each task is certified at each distance, or declared for what it is. That of widths
changes width alone, that of diameters has every family in every bin.
"""

from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from torch_geometric.utils import to_networkx

from datasets import TASKS
from datasets.distances import Distances
from datasets.of_diameter import OfDiameter
from datasets.planetoid import Planetoid
from datasets.published import Published
from datasets.theta import Theta
from datasets.transfer import Transfer
from suite.certify import CERTIFIED, CONTENT, certify
from suite.expansion import expand
from suite.facts import facts_of
from suite.refs import ref_of
from suite.rng import stream
from suite.study import load_study
from suite.task import Task

STUDIES = Path(__file__).parent.parent / "studies"


def tasks(study: str = "standard") -> list[Task]:
    found = expand(load_study(STUDIES / f"{study}.toml"), {name: ref_of(cls) for name, cls in TASKS.items()}).tasks
    return [task for _, task in found.values() if not isinstance(task, Planetoid)]


def label(task: Task) -> str:
    topology = getattr(task, "topology", None)
    return f"{task.title}, {topology.kind if topology is not None else 'own graph'}, {task.range} hops"


def test_the_standard_study_asks_by_position_on_paths_and_for_distances() -> None:
    classes = {type(task).__name__ for task in tasks()}
    assert {"Transfer", "OrderedPath", "KnownRange", "Distances", "DecoyChains", "TwoRadius"} <= classes
    assert any(isinstance(task, Transfer) and task.addressing == "position" for task in tasks())


def test_the_study_of_widths_lets_resistance_fall_at_one_distance_and_one_commute_time() -> None:
    """Of p ways of r edges in parallel the resistance is r / p, and the commute time 2 m r / p = 2 r^2."""
    ways: dict[int, dict[int, dict[str, Any]]] = {}
    for task in tasks("width"):
        assert isinstance(task, Transfer)
        facts = facts_of(task)
        assert facts["pair_hops"] == task.hops
        if isinstance(task.topology, Theta):
            assert facts["resistance"] == pytest.approx(task.hops / task.topology.paths)
            assert 2 * facts["num_edges"] * facts["resistance"] == pytest.approx(2 * task.hops**2)
            ways.setdefault(task.hops, {})[task.topology.paths] = facts
    assert set(ways) == {4, 6, 8, 10, 12}
    for hops, found in ways.items():
        assert set(found) == {1, 2, 4, 8}
        between = [paths * 3.0 ** -(hops - 1) / (paths + 1) for paths in found]  # p walks; poles of degree p, the others of 2
        assert [facts["operator_gcn"] for facts in found.values()] == pytest.approx(between)
        assert found[8]["operator_gcn"] / found[1]["operator_gcn"] == pytest.approx(16 / 9)  # and not 8


def test_the_study_of_diameters_has_graphs_of_each_family_in_each_bin() -> None:
    bins: dict[str, set[tuple[int, int]]] = {}
    for task in tasks("diameters"):
        assert isinstance(task, Distances)
        asked = task.topology
        assert isinstance(asked, OfDiameter)
        bins.setdefault(asked.topology.kind, set()).add((asked.least, asked.most))
        rng = stream("test", "diameters")
        for graph in (task.sample(rng) for _ in range(4)):
            assert asked.least <= nx.diameter(to_networkx(graph, to_undirected=True)) <= asked.most
    assert bins == {family: {(14, 16), (17, 19)} for family in ("chorded_line", "random_tree", "random_caterpillar")}


@pytest.mark.slow
@pytest.mark.parametrize("task", tasks(), ids=label)
def test_every_task_is_certified_or_declared(task: Task) -> None:
    found = certify(task)
    if isinstance(task, Published):
        assert found["verdict"] != CERTIFIED  # the report shows it beside the task that repairs it
    elif isinstance(task, Transfer) and task.addressing == "content":
        assert found["verdict"] == CONTENT, found["checks"]  # measures access
    else:
        assert found["verdict"] == CERTIFIED, found["checks"]
        for check in (check for check in found["checks"] if check["id"] in ("K4", "K5")):  # graph-blind, edge-free
            above = (check["value"] - task.chance) * (1 if task.ceiling > task.chance else -1 / task.chance)
            assert above <= 0.05, check
            assert check["passed"], check
            assert "on the twin that shows it the answer" in check["detail"]  # and solved, or it would not have passed

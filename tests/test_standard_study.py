"""The standard study asks sound questions: each task is certified at each distance, or declared for what it is."""

from pathlib import Path

import pytest

from datasets import TASKS
from datasets.planetoid import Planetoid
from datasets.published import Published
from datasets.transfer import Transfer
from suite.certify import CERTIFIED, CONTENT, certify
from suite.expansion import expand
from suite.refs import ref_of
from suite.study import load_study
from suite.task import Task

STUDY = Path(__file__).parent.parent / "studies" / "standard.toml"


def tasks() -> list[Task]:
    found = expand(load_study(STUDY), {name: ref_of(cls) for name, cls in TASKS.items()}).tasks
    return [task for _, task in found.values() if not isinstance(task, Planetoid)]


def label(task: Task) -> str:
    topology = getattr(task, "topology", None)
    return f"{task.title}, {topology.kind if topology is not None else 'own graph'}, {task.range} hops"


def test_the_standard_study_asks_by_position_on_paths_and_for_distances() -> None:
    classes = {type(task).__name__ for task in tasks()}
    assert {"Transfer", "OrderedPath", "KnownRange", "Distances", "DecoyChains", "TwoRadius"} <= classes
    assert any(isinstance(task, Transfer) and task.addressing == "position" for task in tasks())


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

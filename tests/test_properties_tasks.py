"""Over the whole range of its fields every task keeps its promises: distance by BFS, a connected simple graph, its answers."""

from collections import defaultdict
from collections.abc import Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError
from torch import Tensor
from whole_range import TASK_FIELDS, Fields, fields_of

from datasets import TASKS
from suite.engine.batches import as_drawn
from suite.metrics import ERRORS
from suite.samples import graphs_of
from suite.task import Task
from suite.testing import TASK_CHECKS

PROMISES = ("fields", "shapes", "tokens", "structure", "varying", "witness")
DATA = {"planetoid", "labelled_graph", "graph_classes", "peptides", "molecules"}  # read from files: nothing but names
AT = {"split", "block"}  # of published sets, set by `at` and not by who asks
USUAL = 8, 100  # examples, in the default tests and in the slow ones
EXAMPLES = {
    "distances": (1, 12),  # graphs that are drawn one by one, and surveyed
    "published_distances": (1, 3),
    "published_pair_mixing": (1, 7),
    "contextual_sbm": (4, 50),
    "known_range": (14, 100),  # many fields of few values
    "mixed_transfer": (20, 100),
    "ordered_path": (20, 100),
    "ordered_tokens": (20, 100),
    "transfer": (20, 100),
}
NUM_CHECKED, NUM_DRAWN = 2, 128  # blocks, and graphs of each, that guesses are counted on
FAR = 5  # standard errors: one in a million, for many checks


def made(cls: type[Task], fields: Fields) -> Task | None:
    """Return the task, or None where it refuses the fields, saying which one."""
    try:
        return cls(**fields)
    except ValidationError as error:
        said = error.errors()[0]
        named = str(said["loc"][0]) if said["loc"] else said["msg"].removeprefix("Value error, ").partition(":")[0]
        topology = fields.get("topology")
        assert named in cls.model_fields.keys() | (topology.keys() if isinstance(topology, dict) else set()), said["msg"]
        return None


def by_guessing(task: Task) -> tuple[float, float]:
    """Return the score of the best constant on a sample of the test, and its standard error from graph to graph.

    Of errors the constant is the mean, of classes the commonest one, of average precision any: the share of ones. Of a single
    graph the nodes that are asked are the sample.
    """
    drawn = [
        as_drawn(task, 0, "test", index, 1 if task.fixed else NUM_DRAWN) for index in range(1 if task.fixed else NUM_CHECKED)
    ]
    answers: Sequence[Tensor] = [graph.y.double() for block in drawn for graph in graphs_of(block)]
    if task.fixed:
        answers = answers[0].split(1)
    if task.metric in ERRORS:
        mean = torch.cat(answers).mean()
        of_graphs = torch.stack([(y - mean).square().mean() for y in answers])[:, None]
    elif task.metric == "accuracy":
        of_graphs = torch.stack([torch.bincount(y.long(), minlength=task.out_channels) / len(y) for y in answers]).double()
    else:
        of_graphs = torch.stack([y.mean() for y in answers])[:, None]
    best = int(of_graphs.mean(0).argmax())
    return float(of_graphs[:, best].mean()), float(of_graphs[:, best].std()) / len(answers) ** 0.5


def kept_promises(name: str, num_examples: int) -> None:
    """Check so many tasks; raise AssertionError where one breaks a promise, most are refused, or a field stays as it is."""
    cls, drawn, seen = TASKS[name], 0, defaultdict[str, set[str]](set)

    @settings(max_examples=num_examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(fields_of(name))
    def holds(fields: Fields) -> None:
        nonlocal drawn
        assert fields.keys() == cls.model_fields.keys() - AT
        drawn += 1
        task = made(cls, fields)
        if task is None:
            return
        faults = [fault for promise in PROMISES for fault in TASK_CHECKS[promise](task)]
        assert not faults, (task, faults)
        score, error = by_guessing(task)
        edge = task.chance - score if task.metric in ERRORS else score - task.chance
        assert edge <= FAR * error + 1e-9, (task, score, error, task.chance)
        seen["accepted"].add(str(len(seen["accepted"])))
        for field, value in fields.items():
            seen[field].add(str(value))

    holds()
    accepted = len(seen.pop("accepted", ()))
    assert accepted >= drawn / 2, f"{accepted} of {drawn} accepted"
    if num_examples > 2:
        assert not [field for field, values in seen.items() if len(values) < 2]


def test_every_task_has_a_range_or_is_read_from_a_file() -> None:
    assert set(TASK_FIELDS) | DATA == set(TASKS)


@pytest.mark.parametrize("name", sorted(TASK_FIELDS))
def test_a_task_keeps_its_promises_and_its_chance_all_over_its_range(name: str) -> None:
    kept_promises(name, EXAMPLES.get(name, USUAL)[0])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(TASK_FIELDS))
def test_a_task_keeps_its_promises_and_its_chance_all_over_its_range_at_length(name: str) -> None:
    kept_promises(name, EXAMPLES.get(name, USUAL)[1])

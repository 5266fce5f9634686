"""Over the whole range of its fields every task keeps its promises: distance by BFS, a connected simple graph, its answers."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import ValidationError

from datasets import TASKS
from datasets.distances import Family
from suite.task import Task
from suite.testing import TASK_CHECKS

PROMISES = ("fields", "shapes", "tokens", "structure", "varying", "witness")
CLASSES, TOPOLOGY = st.integers(2, 7), st.sampled_from(["ring", "tree", "caterpillar", "theta", "grid", "circular_ladder"])
ONE_ROUTE = {"kind": "theta", "open_paths": 1}
TAILED = st.sampled_from(
    [{"kind": "path", "tail": 5}, {"kind": "caterpillar", "tail": 3}, {"kind": "tree", "extra": 1}, ONE_ROUTE]
)
FAMILIES = st.sampled_from(["caterpillar", "chorded_line", "lobster", "pruned_grid", "tree"])

RANGES: dict[str, dict[str, SearchStrategy[Any]]] = {
    "addressed_leaf": {"hops": st.integers(2, 6), "num_classes": CLASSES},
    "colour_islands": {"size": st.integers(5, 8), "num_red": st.sampled_from([4, 8, 12])},
    "contextual_sbm": {"block_size": st.integers(8, 20), "inside": st.floats(0.2, 0.9), "signal": st.floats(0.1, 2)},
    "cycle_or_two": {"min_nodes": st.integers(6, 9), "max_nodes": st.integers(9, 20)},
    "decoy_chains": {
        "hops": st.integers(1, 9),
        "num_chains": st.integers(1, 6),
        "hole": st.sampled_from(["far", "anywhere"]),
        "directed": st.booleans(),
    },
    "distances": {"family": FAMILIES, "quantity": st.sampled_from(["distance", "cost", "eccentricity", "diameter"])},
    "graph_transfer": {"topology": TOPOLOGY, "hops": st.integers(2, 7)},
    "known_range": {
        "graph": st.sampled_from(["line", "ring", "grid", "torus"]),
        "size": st.integers(9, 12),
        "hops": st.integers(1, 4),
        "kernel": st.sampled_from(["hop", "decay", "power"]),
        "interaction": st.sampled_from(["copy", "product"]),
    },
    "mean_exchange": {
        "topology": st.builds(lambda k: {"kind": "barbell", "clique_size": k}, st.integers(3, 8)),
        "hops": st.integers(3, 7),
        "side": st.booleans(),
    },
    "mixed_transfer": {
        "topology": st.sampled_from(["ring", "tree", {"kind": "path", "tail": 0}]),
        "least": st.integers(1, 3),
        "hops": st.integers(4, 7),
        "size": st.just(7),
    },
    "neighbors_match": {
        "hops": st.integers(2, 5),
        "crowding": st.integers(0, 3),
        "num_classes": CLASSES,
        "directed": st.booleans(),
    },
    "ordered_path": {"topology": TAILED, "hops": st.integers(2, 8), "group": st.sampled_from(["parity", "s3"])},
    "own_token": {"topology": TOPOLOGY, "size": st.integers(2, 7), "num_classes": CLASSES},
    "pair_mixing": {"topology": TOPOLOGY, "hops": st.integers(2, 7), "mixing": st.sampled_from(["product", "sum"])},
    "proximity": {"topology": TAILED, "hops": st.integers(2, 6), "num_near": st.integers(0, 4), "num_colours": CLASSES},
    "published_graph_transfer": {
        "family": st.sampled_from(["line", "ring", "crossed_ring"]),
        "distance": st.integers(3, 20),
    },
    "published_mean_exchange": {"size": st.integers(3, 20)},
    "published_neighbors_match": {"hops": st.integers(2, 4)},
    "published_pair_mixing": {"hops": st.integers(2, 8)},
    "published_ring_transfer": {
        "family": st.sampled_from(["ring", "crossed_ring", "clique_path"]),
        "hops": st.integers(3, 12),
    },
    "published_tree_transfer": {"hops": st.integers(1, 6), "arity": st.integers(2, 3)},
    "published_ring_lookup": {"radius": st.integers(2, 12)},
    "published_two_radius": {"load": st.integers(2, 20), "centres": st.integers(0, 4), "hops": st.just(2)},
    "same_cycle": {"hops": st.integers(2, 12), "num_tokens": CLASSES},
    "signals": {"num_nodes": st.integers(8, 40)},
    "transfer": {
        "topology": TOPOLOGY,
        "hops": st.integers(2, 8),
        "num_classes": CLASSES,
        "addressing": st.sampled_from(["content", "position"]),
    },
    "two_radius": {
        "load": st.integers(2, 16),
        "centres": st.integers(1, 4),
        "num_classes": CLASSES,
        "matched_by": st.sampled_from(["id", "path"]),
    },
}
DEAR = {"distances", "published_pair_mixing"}  # graphs that are drawn one by one
DATA = {"planetoid", "labelled_graph", "graph_classes", "peptides"}
NO_RANGE = DATA | {"published_citation_chains", "published_distances"}  # nothing but a name


def made(cls: type[Task], fields: dict[str, Any]) -> Task | None:
    """Return the task, or None where it refuses the fields, saying which one."""
    try:
        return cls(**fields)
    except ValidationError as error:
        said = error.errors()[0]
        named = str(said["loc"][0]) if said["loc"] else said["msg"].removeprefix("Value error, ").partition(":")[0]
        assert named in cls.model_fields
        return None


def test_every_task_has_a_range_or_needs_none() -> None:
    assert set(RANGES) | NO_RANGE == set(TASKS)
    assert set(FAMILIES.elements) < set(Family.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_task_keeps_its_promises_all_over_its_range(name: str) -> None:
    kept = 0

    @settings(max_examples=2 if name in DEAR else 6, deadline=None, derandomize=True, database=None)
    @given(st.fixed_dictionaries(RANGES[name]))
    def holds(fields: dict[str, Any]) -> None:
        nonlocal kept
        task = made(TASKS[name], fields)
        if task is not None:
            faults = [fault for promise in PROMISES for fault in TASK_CHECKS[promise](task)]
            assert not faults, (task, faults)
            kept += 1

    holds()
    assert kept

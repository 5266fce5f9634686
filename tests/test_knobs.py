"""The table of knobs on the page of tasks: each moves what its column says, and nothing that is not said to be tied to it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from datasets import TASKS
from datasets.topologies import TOPOLOGIES
from suite.rng import stream
from suite.samples import graphs_of
from suite.task import Task

PAGE = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
COLUMNS = ("hops", "crowding", "width", "size", "classes", "noise", "decoys")
ROWS = {
    row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in re.findall(r"^\| (\w+) " + r"\| (.*?) " * 7 + r"\|$", PAGE, re.M)
}
ROWS.pop("task")
Fields = dict[str, Any]


def padded(topology: Fields | str, num_nodes: int = 48) -> Fields:
    return {"kind": "padded", "topology": topology, "num_nodes": num_nodes}


def theta(paths: int = 2) -> Fields:
    return padded({"kind": "theta", "paths": paths})


def barbell(far: int = 4, bridges: int = 2) -> Fields:
    return {"kind": "barbell", "clique_size": far + bridges, "bridges": bridges}


BY_POSITION = {"topology": "torus", "addressing": "position"}
MIXED = {"topology": padded("path"), "asked": 2, "hops": 6}
LEAF = {"hops": 4, "crowding": 3}
TREE = {"topology": padded("tree")}
FEW, CLASSES = st.integers(1, 5), st.integers(2, 7)
NOISE, HOPS, SIZES = st.floats(0.05, 0.45), st.integers(2, 8), st.integers(40, 60)

# For each knob the values that it is given, and the fields that should have what its column counts at that value.
CASES: dict[tuple[str, str], tuple[st.SearchStrategy[Any], Callable[[Any], Fields]]] = {
    ("transfer", "hops"): (HOPS, lambda v: {"topology": theta(), "hops": v}),
    ("transfer", "crowding"): (FEW, lambda v: {"topology": theta(), "crowding": v, "num_keys": 9}),
    ("transfer", "width"): (FEW, lambda v: {"topology": theta(v), "hops": 5}),
    ("transfer", "size"): (SIZES, lambda v: {"topology": padded("ring", v)}),
    ("transfer", "classes"): (CLASSES, lambda v: {"num_classes": v}),
    ("transfer", "noise"): (NOISE, lambda v: {"noise": v}),
    ("transfer", "decoys"): (FEW, lambda v: BY_POSITION | {"crowding": v}),
    ("mixed_transfer", "hops"): (st.integers(1, 6), lambda v: MIXED | {"asked": v}),
    ("mixed_transfer", "crowding"): (FEW, lambda v: MIXED | {"hops": 1 + v, "addressing": "content", "asked": 2}),
    ("mixed_transfer", "size"): (SIZES, lambda v: MIXED | {"topology": padded("path", v)}),
    ("mixed_transfer", "classes"): (CLASSES, lambda v: MIXED | {"num_classes": v}),
    ("mixed_transfer", "noise"): (NOISE, lambda v: MIXED | {"noise": v}),
    ("mixed_transfer", "decoys"): (FEW, lambda v: MIXED | {"hops": 1 + v}),
    ("ordered_path", "hops"): (HOPS, lambda v: {"topology": padded({"kind": "path", "tail": 8}), "hops": v}),
    ("ordered_path", "size"): (SIZES, lambda v: {"topology": padded({"kind": "path", "tail": 8}, v)}),
    ("ordered_path", "classes"): (st.sampled_from([2, 6]), lambda v: {"group": "parity" if v == 2 else "s3"}),
    ("ordered_path", "noise"): (NOISE, lambda v: {"noise": v}),
    ("own_token", "size"): (SIZES, lambda v: {"topology": padded("ring", v)}),
    ("own_token", "classes"): (CLASSES, lambda v: {"num_classes": v}),
    ("own_token", "noise"): (NOISE, lambda v: {"noise": v}),
    ("neighbors_match", "hops"): (st.integers(2, 4), lambda v: TREE | {"hops": v, "crowding": 3}),
    ("neighbors_match", "crowding"): (FEW, lambda v: TREE | {"crowding": v, "num_keys": 9}),
    ("neighbors_match", "width"): (FEW, lambda v: {"topology": theta(v), "hops": 5, "crowding": 0}),
    ("neighbors_match", "size"): (SIZES, lambda v: {"topology": padded("tree", v)}),
    ("neighbors_match", "classes"): (CLASSES, lambda v: {"num_classes": v}),
    ("neighbors_match", "noise"): (NOISE, lambda v: {"noise": v}),
    ("addressed_leaf", "hops"): (st.integers(3, 7), lambda v: LEAF | {"hops": v}),
    ("addressed_leaf", "crowding"): (FEW, lambda v: LEAF | {"crowding": v}),
    ("addressed_leaf", "classes"): (CLASSES, lambda v: LEAF | {"num_classes": v}),
    ("addressed_leaf", "noise"): (NOISE, lambda v: LEAF | {"noise": v}),
    ("two_radius", "hops"): (st.integers(1, 2), lambda v: {"hops": v}),
    ("two_radius", "crowding"): (FEW, lambda v: {"load": 1 + v}),
    ("two_radius", "width"): (FEW, lambda v: {"centres": v}),
    ("two_radius", "classes"): (CLASSES, lambda v: {"num_classes": v}),
    ("two_radius", "noise"): (NOISE, lambda v: {"noise": v}),
    ("mean_exchange", "hops"): (st.integers(3, 8), lambda v: {"topology": barbell(), "hops": v}),
    ("mean_exchange", "crowding"): (st.integers(2, 9), lambda v: {"topology": barbell(far=v)}),
    ("mean_exchange", "width"): (st.integers(1, 4), lambda v: {"topology": barbell(bridges=v)}),
    ("graph_transfer", "hops"): (HOPS, lambda v: {"topology": theta(), "hops": v}),
    ("graph_transfer", "width"): (FEW, lambda v: {"topology": theta(v)}),
    ("graph_transfer", "size"): (SIZES, lambda v: {"topology": padded("ring", v)}),
    ("pair_mixing", "hops"): (HOPS, lambda v: {"topology": theta(), "hops": v}),
    ("pair_mixing", "width"): (FEW, lambda v: {"topology": theta(v)}),
    ("pair_mixing", "size"): (SIZES, lambda v: {"topology": padded("ring", v)}),
    ("known_range", "hops"): (st.integers(1, 6), lambda v: {"topology": "ring", "size": 8, "hops": v}),
    ("known_range", "size"): (SIZES, lambda v: {"topology": padded("ring", v), "size": 8}),
    ("distances", "size"): (SIZES, lambda v: {"topology": padded("ring", v), "size": 6}),
    ("decoy_chains", "hops"): (st.integers(1, 6), lambda v: {"hops": v, "tail": 30 - 4 * v}),  # four ways
    ("decoy_chains", "crowding"): (FEW, lambda v: {"num_chains": v, "tail": 40 - 5 * v}),
    ("decoy_chains", "size"): (SIZES, lambda v: {"tail": v - 2 - 4 * 5}),
    ("local_eccentricity", "classes"): (CLASSES, lambda v: {"name": "ky4_water", "num_classes": v}),
    ("same_cycle", "hops"): (HOPS, lambda v: {"hops": v, "num_nodes": 40}),
    ("same_cycle", "size"): (SIZES, lambda v: {"num_nodes": v}),
    ("cycle_or_two", "size"): (SIZES, lambda v: {"min_nodes": v, "max_nodes": v}),
    ("colour_islands", "crowding"): (st.sampled_from([2, 4, 8]), lambda v: {"num_red": v}),
    ("colour_islands", "size"): (st.integers(110, 130), lambda v: {"topology": padded("torus", v)}),
    ("proximity", "hops"): (HOPS, lambda v: {"topology": padded({"kind": "path", "tail": 16}), "hops": v, "num_near": 1}),
    ("proximity", "crowding"): (st.integers(0, 4), lambda v: {"num_near": v}),
    ("proximity", "size"): (SIZES, lambda v: {"topology": padded({"kind": "path", "tail": 16}, v)}),
    ("proximity", "noise"): (NOISE, lambda v: {"noise": v}),
    ("contextual_sbm", "size"): (st.sampled_from([20, 40]), lambda v: {"block_size": v // 2}),
    ("signals", "size"): (SIZES, lambda v: {"num_nodes": v}),
    ("signals", "classes"): (CLASSES, lambda v: {"num_signals": v}),
}


def competitors(name: str, task: Task, graph: Data) -> int | None:
    """How many nodes, or ways, beside the one that is asked for a reader of marks has to tell it from; None: no such thing."""
    x, readout = graph.x.round(), int(graph.readout_index[0])
    classes = task.out_channels
    marked = x[:, classes : x.size(1) - 1].any(1)
    if name in ("transfer", "mixed_transfer", "neighbors_match"):
        return int(marked.index_fill(0, torch.tensor(readout), False).sum()) - 1
    if name == "addressed_leaf":
        return int(x[graph.source_index, :classes].any(1).sum()) - 1
    if name == "two_radius":
        return int(x[:, :classes].any(1).sum()) - 1
    if name == "mean_exchange":
        return int(x[:, 2].sum())
    if name == "decoy_chains":
        return int((graph.edge_index[0] == readout).sum()) - 1
    if name == "colour_islands":
        return int((graph.x[:, 0] == 1).sum())
    if name == "proximity":
        return int(x[:, 0].sum()) - 1
    return None


def profile(name: str, fields: Fields) -> dict[str, Any]:
    """What each column counts, on a graph that was drawn: distances and cuts by NetworkX."""
    task = TASKS[name](**fields)
    graphs = graphs_of(task.draw(8, stream("knobs", name)))
    graph = graphs[0]
    web = to_networkx(Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes), to_undirected=True)
    (size,) = {int(one.num_nodes or 0) for one in graphs}
    (crowding,) = {competitors(name, task, one) for one in graphs}
    hops: Any = None
    width = None
    if name == "known_range":
        hops = round(task.exact_range() or 0, 9)
    elif "source_index" in graph and task.range is not None:
        v, u = graph.readout_index.tolist(), graph.source_index.tolist()
        pairs = list(zip(v, u, strict=True)) if len(v) == len(u) else [(one, other) for one in v for other in u]
        (hops,) = {nx.shortest_path_length(web, one, other) for one, other in pairs}
        width = nx.edge_connectivity(web, v[0], u[0]) if hops else None
    tokens = task.token_channels
    off = torch.stack([(one.x[:, tokens] - one.x[:, tokens].round()).abs().max() for one in graphs]).max() if tokens else 0.0
    counts = {"hops": hops, "crowding": crowding, "width": width, "size": size, "classes": task.out_channels}
    return counts | {"noise": float(off)}


def cells() -> list[tuple[str, str, str]]:
    return [(name, column, cell) for name, row in ROWS.items() for column, cell in row.items()]


def test_the_table_has_all_core_tasks_of_ours() -> None:
    given_data = {"planetoid", "labelled_graph", "graph_classes", "peptides", "molecules"}
    ours = {name for name in TASKS if not name.startswith("published_")} - given_data
    assert set(ROWS) == ours - {"ordered_tokens"}  # a control, not a family


@pytest.mark.parametrize(("name", "column", "cell"), cells())
def test_every_knob_that_the_table_names_is_a_field(name: str, column: str, cell: str) -> None:
    fields = TASKS[name].model_fields
    for named in re.findall(r"`([\w.]+)`", cell):
        own, _, inner = named.partition(".")
        assert own in fields, (name, column, named)
        assert not inner or any(inner in topology.model_fields for topology in TOPOLOGIES.values())


def test_every_knob_of_the_table_is_turned_here() -> None:
    assert {(name, column) for name, column, cell in cells() if cell.startswith("`")} == set(CASES)


@pytest.mark.parametrize(("name", "column"), sorted(CASES))
def test_a_knob_moves_its_own_count_and_no_other_one(name: str, column: str) -> None:
    values, fields = CASES[name, column]
    counted = "crowding" if column == "decoys" else column
    tied = {other for other, cell in ROWS[name].items() if cell.startswith("tied to") and column in cell.split(":")[0]}

    @settings(max_examples=6, deadline=None, derandomize=True, database=None)
    @given(values, values)
    def holds(one: Any, other: Any) -> None:
        found = profile(name, fields(one)), profile(name, fields(other))
        for value, counts in zip((one, other), found, strict=True):
            assert counts[counted] == (pytest.approx(value, rel=0.1) if column == "noise" else value)
            assert column != "noise" or counts["noise"] <= value + 1e-6
        moved = {of for of in found[0] if found[0][of] != found[1][of]}
        assert moved <= {counted} | tied

    holds()

"""A study says what it means, in one file, and refuses the rest in words."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from datasets import TASKS
from datasets.altered import Decoyed, Padded
from datasets.barbell import Barbell
from datasets.ring import Ring
from datasets.theta import Theta
from datasets.transfer import Transfer
from suite import factors
from suite.entries import topology_label
from suite.expansion import Expansion, expand
from suite.factors import task_of
from suite.refs import ref_of, unknown
from suite.rng import stream
from suite.samples import graphs_of
from suite.study import Depth, StudyError, load_study
from suite.tasks import num_nodes_of

ROOT = Path(__file__).resolve().parents[1]
REFS = {name: ref_of(cls) for name, cls in TASKS.items()}
GRID: dict[str, Any] = {
    "section": "hops",
    "tasks": {"kind": "transfer", "topology": "ring"},
    "hops": [3, 5],
    "models": ["gcn", "mlp"],
    "num_layers": ["hops", "2*hops"],
    "num_seeds": 3,
}


def toml(value: Any) -> str:
    """Write a JSON value as TOML does inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def study_file(folder: Path, *grids: dict[str, Any], title: str = "Trial", head: str = "") -> Path:
    blocks = ["\n".join(f"{key} = {toml(value)}" for key, value in grid.items()) for grid in grids]
    path = folder / "trial.toml"
    path.write_text(f'title = "{title}"\n{head}\n' + "\n".join(f"[[grid]]\n{block}\n" for block in blocks))
    return path


def expanded(folder: Path, *grids: dict[str, Any], only: tuple[str, ...] = ()) -> Expansion:
    return expand(load_study(study_file(folder, *grids)), REFS, only)


def problems(folder: Path, *grids: dict[str, Any], only: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(StudyError) as caught:
        expanded(folder, *grids, only=only)
    return str(caught.value).splitlines()


def own_task(folder: Path, body: str = "return Data()", fields: str = "") -> Path:
    """Write a stranger's task."""
    code = f"""
        import torch
        from torch_geometric.data import Data
        from suite.task import Task

        class Mine(Task):
            {fields}
            def sample(self, rng):
                {body}
        """
    path = folder / "mine.py"
    path.write_text(textwrap.dedent(code))
    return path


PATH_GRAPH = (
    "return Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), y=torch.tensor([0]), "
    "readout_index=torch.tensor([0]))"
)


# depth rules


@pytest.mark.parametrize(
    ("rule", "layers"), [("hops", 4), ("2*hops", 8), ("hops+1", 5), ("3*hops+2", 14), ("2 * hops + 1", 9), (16, 16), (0, 0)]
)
def test_a_depth_is_a_number_or_a_rule_in_hops(rule: Any, layers: int) -> None:
    assert Depth.model_validate(rule).at(TASKS["transfer"](hops=4)) == layers


@pytest.mark.parametrize(
    ("rewiring", "left"), [(None, 8), ("two_hop", 4), ("virtual_node", 2), ("level_preserving", 8), ("expander", None)]
)
def test_depth_beyond_the_distance_is_equal_where_a_rewiring_shortens_it(
    tmp_path: Path, rewiring: str | None, left: int | None
) -> None:
    model = {"name": "gcn"} | ({} if rewiring is None else {"rewiring": rewiring})
    grid = GRID | {"hops": 8, "models": [model], "num_layers": ["rewired_hops", "2*rewired_hops+3"], "num_seeds": 1}
    cells = [entry.cell for entry in expanded(tmp_path, grid).entries]
    if left is None:  # whatever edges were drawn: as NetworkX finds it on what the cell trains on
        graph = graphs_of(task_of(cells[0]).draw(1, stream("any")))[0]
        edges = nx.Graph(graph.edge_index.T.tolist())
        left = nx.shortest_path_length(edges, graph.readout_index.item(), graph.source_index.item())
    assert [cell.num_layers for cell in cells] == [left, 2 * left + 3]


def test_graphs_are_rewired_once_for_all_rules_and_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    found = factors.rewired_hops
    monkeypatch.setattr(factors, "rewired_hops", lambda task, *rest: asked.append(task.range) or found(task, *rest))
    models = [{"name": name, "rewiring": "two_hop"} for name in ("gcn", "gin")]
    grid = GRID | {"hops": [4, 8], "models": models, "num_layers": ["rewired_hops", "2*rewired_hops"], "num_seeds": 1}
    depths = [(entry.task.range, entry.cell.num_layers) for entry in expanded(tmp_path, grid).entries]
    assert sorted(depths) == sorted([(4, 2), (4, 4), (8, 4), (8, 8)] * 2)
    assert asked == [4, 8]


def test_a_rewiring_that_leaves_no_distance_is_told(tmp_path: Path) -> None:
    grid = GRID | {"models": [{"name": "gcn", "rewiring": "edge_free"}], "num_layers": ["rewired_hops"]}
    assert "rewiring 'edge_free' leaves no path between read-outs and sources" in problems(tmp_path, grid)[0]


@pytest.mark.parametrize("rule", ["hops*2", "depth", "hops-1", "2hops", "__import__('os')", "", -1, 2.5, True])
def test_any_other_depth_is_refused_with_what_was_given(tmp_path: Path, rule: Any) -> None:
    (problem,) = problems(tmp_path, GRID | {"num_layers": ["hops", rule]})
    assert "grid[0].num_layers[1]: must be a number >= 0 or a rule" in problem
    assert repr(rule) in problem


def test_a_rule_needs_a_task_at_one_distance(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GRID | {"tasks": {"kind": "planetoid"}, "num_layers": "hops"})
    assert "grid[0].tasks[0]: num_layers: the rule" in problem
    assert "Cora has none" in problem


# the grid


def test_a_block_is_the_product_of_its_axes(tmp_path: Path) -> None:
    expansion = expanded(tmp_path, GRID)
    seen = {(e.task.range, e.model, e.depth, e.cell.num_layers, e.cell.seed) for e in expansion.entries}
    wanted = {
        (hops, model, rule, factor * hops, seed)
        for hops in (3, 5)
        for model in ("gcn", "mlp")
        for rule, factor in (("hops", 1), ("2*hops", 2))
        for seed in range(3)
    }
    assert seen == wanted
    assert len(expansion.entries) == len(wanted)


def test_cells_of_a_condition_are_one_batch_ordered_by_seed(tmp_path: Path) -> None:
    batches = expanded(tmp_path, GRID).batches
    assert len(batches) == 2 * 2 * 2
    assert all([cell.seed for cell in batch] == [0, 1, 2] for batch in batches)
    assert all(len({cell.condition for cell in batch}) == 1 for batch in batches)


def test_a_condition_spread_over_blocks_is_one_batch(tmp_path: Path) -> None:
    late = {key: value for key, value in GRID.items() if key != "num_seeds"} | {"seeds": [7, 3, 1]}
    assert [[c.seed for c in batch] for batch in expanded(tmp_path, late, GRID).batches] == [[0, 1, 2, 3, 7]] * 8


def test_equal_cells_are_trained_once_and_shown_in_every_section(tmp_path: Path) -> None:
    once, twice = expanded(tmp_path, GRID), expanded(tmp_path, GRID, GRID, GRID | {"section": "depth"})
    assert once.batches == twice.batches
    assert [entry.section for entry in twice.entries] == ["hops"] * 24 + ["depth"] * 24


def test_keys_do_not_depend_on_how_the_study_is_written(tmp_path: Path) -> None:
    rng = random.Random(0)
    protocol = {"lr": 1.0, "max_steps": 50, "clip": 2.0}
    keys = {frozenset(expanded(tmp_path, GRID | {"protocol": protocol}).first)}
    for _ in range(5):
        items = list((GRID | {"protocol": {"clip": 2, "max_steps": 50, "lr": 1}, "models": ["mlp", "gcn"]}).items())
        rng.shuffle(items)
        keys.add(frozenset(expanded(tmp_path, dict(items)).first))
    assert len(keys) == 1


def test_a_written_out_default_is_the_same_cell_and_another_setting_is_not(tmp_path: Path) -> None:
    plain = expanded(tmp_path, GRID)
    same = {"kind": "transfer", "topology": {"kind": "ring"}, "num_classes": 5, "addressing": "content"}
    assert plain.first.keys() == expanded(tmp_path, GRID | {"tasks": same}).first.keys()
    other = expanded(tmp_path, GRID | {"tasks": same | {"num_classes": 4}})
    assert not plain.first.keys() & other.first.keys()


def test_hops_of_a_task_go_before_hops_of_the_block(tmp_path: Path) -> None:
    tasks = [{"kind": "transfer", "hops": 7}, {"kind": "transfer", "topology": "clique_path"}, {"kind": "own_token", "size": 4}]
    expansion = expanded(tmp_path, GRID | {"tasks": tasks, "num_layers": 2})
    seen = {(task.title, getattr(task, "hops", None)) for _, task in expansion.tasks.values()}
    content = "transfer (content)"
    assert seen == {(content, 7), (content, 3), (content, 5), ("own token", None)}


def test_settings_make_another_model_with_a_name_and_title_of_its_own(tmp_path: Path) -> None:
    models = ["gcn", {"name": "gcn", "norm": "none"}, {"name": "gcn", "norm": "none", "skip": "residual", "title": "Mine"}]
    entries = expanded(tmp_path, GRID | {"models": models}).entries
    names = list(dict.fromkeys((entry.model, entry.title) for entry in entries))
    assert names == [
        ("gcn", "GCN"),
        ("gcn(norm=none)", "GCN(norm=none)"),
        ("gcn(norm=none, skip=residual)", "Mine"),
    ]
    assert len({entry.cell.model.model_dump_json() for entry in entries}) == 3


def test_the_number_of_seeds_can_be_set_for_all_blocks(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path, GRID)).with_seeds(5)
    assert [len(batch) for batch in expand(study, REFS).batches] == [5] * 8


def test_the_listing_says_of_every_cell_what_reports_group_by(tmp_path: Path) -> None:
    listing = expanded(tmp_path, GRID | {"models": "gcn", "hops": 5, "num_layers": "2*hops"}).listing("../store")
    assert listing["study"].keys() == {"name", "title", "question", "file_sha256"}
    assert (listing["store"], len(listing["cells"]), len(listing["tasks"])) == ("../store", 3, 1)
    said = {key: value for key, value in listing["cells"][1].items() if key not in ("key", "condition", "task_key")}
    assert said == {
        "section": "hops",
        "task": "transfer (content)",
        "topology": "ring",
        "hops": 5,
        "model": "gcn",
        "title": "GCN",
        "family": "MPNN",
        "told": "edges",
        "global_channel": listing["cells"][0]["global_channel"],
        "pe_reach": 0,
        "num_layers": 10,
        "depth": "2*hops",
        "hidden_channels": 64,
        "budget": None,
        "seed": 1,
        "purpose": "report",
        "chance": 0.2,
        "ceiling": 1.0,
        "metric": "accuracy",
    }
    assert listing["cells"][1]["task_key"] == listing["tasks"][0]["task_key"]
    assert json.loads(json.dumps(listing)) == listing


def test_networks_are_labelled_by_name_and_topologies_by_what_they_change(tmp_path: Path) -> None:
    topologies = [{"kind": "network", "name": "ky4_water"}, {"kind": "barbell", "clique_size": 5}, "barbell"]
    tasks = [{"kind": "transfer", "topology": topology} for topology in topologies]
    listing = expanded(tmp_path, GRID | {"tasks": tasks, "hops": 4}).listing("")
    assert [task["topology"] for task in listing["tasks"]] == ["ky4_water", "barbell (clique_size=5)", "barbell"]


# budgets


def test_models_of_a_budget_are_as_wide_as_it_allows_and_their_keys_are_those_of_that_width(tmp_path: Path) -> None:
    grid = GRID | {"models": [{"name": "gcn", "norm": "none", "encoder": "linear"}], "num_layers": 3, "hops": 4}
    listing = expanded(tmp_path, grid | {"parameters": 2000}).listing("")

    def count(width: int) -> int:  # x of transfer: 5 classes, marks of read-out and source
        return (7 * width + width) + (width * width + width) * 3 + (width * 5 + 5)

    nearest = min(range(1, 50), key=lambda width: abs(count(width) - 2000))
    assert {line["hidden_channels"] for line in listing["cells"]} == {nearest}
    assert listing["cells"][0]["budget"] == {"asked": 2000, "got": count(nearest), "exempt": False}
    plain = expanded(tmp_path, grid | {"hidden_channels": nearest}).listing("")
    assert [line["key"] for line in listing["cells"]] == [line["key"] for line in plain["cells"]]


def test_models_without_a_width_are_exempt_and_say_so(tmp_path: Path) -> None:
    entries = expanded(tmp_path, GRID | {"models": ["propagation", "gcn"], "parameters": 20000}).entries
    budgets = {entry.model: entry.budget for entry in entries if entry.budget}
    assert budgets["propagation"].exempt
    assert budgets["propagation"].got == 7 * 5 + 5
    assert not budgets["gcn"].exempt


def test_a_budget_that_no_width_keeps_is_named_with_what_there_is(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GRID | {"models": "gps", "parameters": 50, "num_layers": 2, "hops": 4})
    assert "grid[0].models: gps with 2 layers on transfer (content): parameters: no width comes within 5% of 50; near" in problem
    assert re.search(r"nearest are [\d,]+ at width 4 and [\d,]+ at width 8$", problem)


# what is wrong with it


def test_broken_toml_is_one_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text('title = "x"\nquestion "y"\n')
    with pytest.raises(StudyError, match=r"^broken\.toml: not valid TOML: .*line 2, column \d+\)$"):
        load_study(path)


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"^nowhere\.toml: No such file or directory$"):
        load_study(tmp_path / "nowhere.toml")


def test_all_problems_of_the_form_are_told_at_once(tmp_path: Path) -> None:
    wrong = {"hopps": 3, "models": [], "num_layers": "deep", "num_seeds": 0, "protocol": {"lr": -1, "max_step": 5}}
    found = problems(tmp_path, GRID | wrong, GRID | {"seeds": [1]})
    assert [line.split(": ")[1] for line in found] == [
        "grid[0].models",
        "grid[0].num_layers[0]",
        "grid[0].num_seeds",
        "grid[0].protocol.lr",
        "grid[0].protocol.max_step",
        "grid[0].hopps",
        "grid[1]",
    ]
    assert found[3].endswith("grid[0].protocol.lr: must be greater than 0, got -1")
    assert found[6].endswith("grid[1]: give one of num_seeds and seeds")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hopps": 3}, "grid[0].hopps: no setting is called 'hopps'. Did you mean 'hops'? Known: hidden_channels,"),
        ({"protocol": {"max_step": 5}}, "grid[0].protocol.max_step: no setting is called 'max_step'. Did you mean 'max_steps'?"),
        ({"tasks": {"kind": "tranfser"}}, "grid[0].tasks[0].kind: no task is called 'tranfser'. Did you mean 'transfer'?"),
        ({"tasks": {"topology": "ring"}}, "grid[0].tasks[0].kind: is missing"),
        ({"models": ["gcn", "saga"]}, "grid[0].models[1]: no model is called 'saga'. Did you mean 'sage'?"),
        ({"models": []}, "grid[0].models: must have at least one entry"),
        ({"models": {"name": "gcn", "nrom": "none"}}, "grid[0].models[0]: model 'gcn' has no setting 'nrom'"),
        ({"models": {"name": "gcn", "norm": "big"}}, "grid[0].models: gcn(norm=big)"),
        ({"hops": ["3"]}, "grid[0].hops[0]: must be a valid integer, got '3'"),
        ({"hops": 2.5}, "grid[0].hops[0]: must be a valid integer, got 2.5"),
        ({"num_seeds": True}, "grid[0].num_seeds: must be a valid integer, got True"),
        ({"seeds": [0, -1]}, "grid[0].seeds[1]: must be greater than or equal to 0, got -1"),
        (
            {"protocol": {"conv_weight_decay": 0.1}, "models": ["gcn", "appnp"]},
            "appnp with 3 layers: protocol.conv_weight_decay: must be none for a model without `convs`",
        ),
        ({"hidden_channels": 8, "parameters": 100}, "grid[0]: give one of hidden_channels and parameters"),
        ({"hidden_channels": 0}, "grid[0].hidden_channels: must be greater than or equal to 1, got 0"),
        ({"tasks": {"kind": "json:JSONDecoder"}}, "'json:JSONDecoder' is no task"),
        ({"tasks": {"kind": "nowhere.py:Mine"}}, "grid[0].tasks[0].kind: no such file: "),
    ],
)
def test_a_problem_names_place_allowed_and_given(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in problems(tmp_path, GRID | change)[0]


def test_fields_that_a_task_refuses_are_named_by_their_path(tmp_path: Path) -> None:
    tasks = [{"kind": "transfer"}, {"kind": "transfer", "topology": "rings", "num_clases": 3}]
    found = problems(tmp_path, GRID | {"tasks": tasks, "hops": 4})
    assert sorted(line.partition(" Known")[0] for line in found) == [
        "trial.toml: grid[0].tasks[1].num_clases: no setting is called 'num_clases'. Did you mean 'num_classes'?",
        "trial.toml: grid[0].tasks[1].topology: no topology is called 'rings'. Did you mean 'ring'?",
    ]


@pytest.mark.parametrize("hops", [0, 1])
def test_a_ring_refuses_a_distance_it_cannot_have(tmp_path: Path, hops: int) -> None:
    tasks = [{"kind": "transfer", "topology": "clique_path", "hops": 4}, {"kind": "transfer", "topology": "ring"}]
    found = problems(tmp_path, GRID | {"tasks": tasks, "hops": [5, hops]})
    assert found == [f"trial.toml: grid[0].tasks[1].hops: must be >= 2 on a ring, got {hops}"]


def test_a_question_about_names_lists_them() -> None:
    assert unknown("topology", "rings", ["tree", "ring"]) == (
        "no topology is called 'rings'. Did you mean 'ring'? Known: ring, tree"
    )


# tasks of one's own


def test_a_task_from_a_file_has_the_same_key_wherever_the_file_lies(tmp_path: Path) -> None:
    keys = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        own_task(tmp_path / name, PATH_GRAPH)
        grid = GRID | {"tasks": {"kind": "mine.py:Mine"}, "num_layers": 2}  # beside the study
        expansion = expanded(tmp_path / name, grid)
        keys.append(list(expansion.first))
        assert str(tmp_path) not in json.dumps(expansion.listing(""))
        assert [num_nodes_of(ref) for ref, _ in expansion.tasks.values()] == [3]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 6


def test_a_topology_from_a_file_lies_beside_the_study_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sticks.py").write_text("from datasets.path import Path\n\nclass Stick(Path):\n    pass\n")
    stick = {"kind": "padded", "num_nodes": 20, "topology": "sticks.py:Stick"}
    asked = [
        {"kind": "transfer", "topology": {"kind": "sticks.py:Stick"}},
        {"kind": "transfer", "topology": "ring", "train": {"topology": stick}},
    ]
    monkeypatch.chdir("/")
    tasks = expanded(tmp_path, GRID | {"tasks": asked, "hops": 3, "num_layers": 2}).tasks.values()
    assert [num_nodes_of(ref) for ref, _ in tasks] == [6, 20]


def test_a_file_that_changed_after_expansion_is_refused(tmp_path: Path) -> None:
    path = own_task(tmp_path, PATH_GRAPH, "changes: bool = True")
    ((ref, _),) = expanded(tmp_path, GRID | {"tasks": {"kind": "mine.py:Mine"}, "num_layers": 2}).tasks.values()
    path.write_text(path.read_text() + "\n# edited\n")
    with pytest.raises(StudyError, match="changed since the study was expanded"):
        num_nodes_of(ref)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero (mine.py, line 9)"),
        ("return 5", "sample: what it returns must be a torch_geometric.data.Data; is int"),
    ],
)
def test_a_task_that_cannot_draw_is_named_with_its_line(tmp_path: Path, body: str, said: str) -> None:
    own_task(tmp_path, body)
    ((ref, _),) = expanded(tmp_path, GRID | {"tasks": {"kind": "mine.py:Mine"}, "num_layers": 2}).tasks.values()
    with pytest.raises(StudyError, match=re.escape(f"task mine.py:Mine: drawing a graph failed: {said}")):
        num_nodes_of(ref)


def test_a_file_that_does_not_run_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\ny = x / 0\n")
    (problem,) = problems(tmp_path, GRID | {"tasks": {"kind": "mine.py:Mine"}})
    assert problem == "trial.toml: grid[0].tasks[0].kind: ZeroDivisionError: division by zero (mine.py, line 2)"


def test_a_class_that_is_not_in_the_file_is_answered_with_those_that_are(tmp_path: Path) -> None:
    own_task(tmp_path)
    (problem,) = problems(tmp_path, GRID | {"tasks": {"kind": "mine.py:Yours"}})
    assert "has no 'Yours'; it has: Mine" in problem


# only some tasks


def test_a_study_can_be_restricted_to_tasks_it_has(tmp_path: Path) -> None:
    other = GRID | {"tasks": {"kind": "own_token"}, "num_layers": 2, "section": "depth"}
    expansion = expanded(tmp_path, GRID, other, only=("own_token",))
    assert {entry.section for entry in expansion.entries} == {"depth"}
    assert expansion.batches == expanded(tmp_path, other).batches


def test_a_task_that_the_study_lacks_is_asked_in_the_first_block_that_suits_it(tmp_path: Path) -> None:
    path = own_task(tmp_path, PATH_GRAPH)  # without a distance: rules in hops do not suit it
    numbers = GRID | {"section": "depth", "num_layers": [2, 8]}
    expansion = expanded(tmp_path, GRID, numbers, only=(f"{path}:Mine",))
    assert {(entry.section, entry.cell.num_layers) for entry in expansion.entries} == {("depth", 2), ("depth", 8)}
    problem, _ = problems(tmp_path, GRID, only=(f"{path}:Mine",))
    assert "needs a task at one distance, Mine has none" in problem


def test_an_unknown_task_to_restrict_to_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GRID, only=("own_tokens",))
    assert problem.startswith("--task: no task is called 'own_tokens'. Did you mean 'own_token'? Known: ")


# the studies of the project


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "studies").glob("*.toml")))
def test_every_study_of_the_project_expands(name: str) -> None:
    study = load_study(ROOT / "studies" / f"{name}.toml")
    assert study.name == name
    assert study.question
    listing = expand(study, REFS).listing("../store")
    assert listing["cells"]


def test_reading_a_study_needs_no_torch(tmp_path: Path) -> None:
    shutil.copy(study_file(tmp_path, GRID), tmp_path / "copy.toml")
    code = "import sys; from pathlib import Path; from suite.study import load_study; load_study(Path(sys.argv[1])); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "copy.toml")], cwd=ROOT).returncode == 0


def test_a_graph_made_of_another_is_called_by_both_and_what_differs_from_the_defaults() -> None:
    assert topology_label(Transfer(topology=Ring())) == "ring"
    assert topology_label(Transfer(topology=Barbell(clique_size=4))) == "barbell (clique_size=4)"
    decoyed = Transfer(topology=Decoyed(topology=Theta(paths=8)), addressing="position")
    assert topology_label(Transfer(topology=Padded(num_nodes=20))) == "padded (topology=ring, num_nodes=20)"  # its default
    assert topology_label(decoyed) == "decoyed (topology=theta (paths=8))"

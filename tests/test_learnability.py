"""The default block learns what it is there to carry. Minutes long: `python -m pytest -m slow`."""

import os
from pathlib import Path

import pytest
from data_copy import COPY

from datasets import TASKS
from suite.engine import Trained, train
from suite.expansion import expand
from suite.refs import ref_of
from suite.study import load_study

REFS = {name: ref_of(task) for name, task in TASKS.items()}
STUDIES = Path(__file__).resolve().parent.parent / "studies"

LEARNABLE = """
title = "Learnability"
question = "Does the default block learn ring transfer with distractors?"
[[grid]]
section = "hops"
tasks = [{ kind = "transfer", topology = "ring" }]
hops = [5]
models = ["gcn"]
num_layers = ["hops", "2*hops"]
num_seeds = 5
protocol = { max_steps = 1000 }
"""


def run_study(path: Path) -> list[Trained]:
    done: list[Trained] = []
    for batch in expand(load_study(path), REFS).batches:
        train(batch, done.append)
    return done


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_default_gcn_solves_five_hops_on_every_seed_within_a_thousand_steps(tmp_path: Path) -> None:
    (tmp_path / "learnable.toml").write_text(LEARNABLE)
    done = run_study(tmp_path / "learnable.toml")
    assert len(done) == 10
    assert min(t.metrics["test"]["score"] for t in done) >= 0.99
    assert max(t.metrics["steps"] for t in done) <= 1000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_published_neighbors_match_is_fitted_at_depth_two_and_three() -> None:
    done: list[Trained] = []
    for batch in expand(load_study(STUDIES / "reproduce_tree.toml"), REFS).batches:
        if batch[0].task.params["hops"] <= 3:  # at 4 a run takes an hour or more
            train(batch, done.append)
    assert len(done) == 20
    assert min(t.metrics["train"]["score"] for t in done) >= 0.99


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_layer_gcn_and_sixteen_weightless_steps_reach_their_known_scores_on_cora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not COPY.exists() and "HOPSCOPE_DATA_ROOT" not in os.environ:
        pytest.skip("no copy of Cora: set HOPSCOPE_DATA_ROOT to a folder that holds planetoid/Cora/raw")
    monkeypatch.setenv("HOPSCOPE_DATA_ROOT", os.environ.get("HOPSCOPE_DATA_ROOT", str(COPY)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expansion = expand(load_study(STUDIES / "cora_depth.toml"), REFS)
    found = {}
    for batch in expansion.batches:
        about = expansion.first[batch[0].key].title, batch[0].num_layers
        if about in {("GCN", 2), ("Propagation only", 16)}:
            done: list[Trained] = []
            train(batch[:5], done.append)
            found[about] = sum(t.metrics["test"]["score"] for t in done) / len(done)
    assert found["GCN", 2] == pytest.approx(0.814, abs=0.010)
    assert found["Propagation only", 16] >= 0.79

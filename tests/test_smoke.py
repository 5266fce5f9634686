"""Every model with every task, mitigation, encoding and rewiring: each combination of a pairwise covering array trains.

In the default run: that the array meets every legal pair, and a sample of it. All of it: `pytest -m slow tests/test_smoke.py`.
"""

import json
import math
from itertools import combinations

import pytest
from test_engine import make_cells, trained
from test_measures_contract import numbers
from together import FACTORS, MITIGATIONS, TASKS, asked, covering_array, go_together

from suite.engine import initial_model
from suite.factors import combine, task_of
from suite.measures import MEASURES, measure
from suite.models import resolve

EVERY = 40  # combinations from one in the sample to the next


def check(row: dict[str, str]) -> None:
    """Train a combination for five steps and take every measure of it, before and after."""
    task, settings = TASKS[row["task"]], MITIGATIONS[row["mitigation"]]
    found = combine(row["model"], settings, asked(row["encoding"]), asked(row["rewiring"]))
    (cell,) = make_cells(task, row["model"], 3, range(1), max_steps=5, eval_every=5)
    ref = resolve(row["model"], settings | found.settings)
    cell = cell.model_copy(update={"model": ref, "encoding": found.encoding, "rewiring": found.rewiring})
    (done,) = trained([cell])
    assert done.status == "ok", done
    assert all(map(math.isfinite, done.curve["train_loss"]))
    for name, entry in MEASURES.items():
        if cell.rewiring is not None or not entry.rewired:
            result = measure(name, task_of(cell), 0, initial_model(cell), done.trained)
            assert json.loads(json.dumps(result, allow_nan=False)) == result
            assert all(map(math.isfinite, numbers(result)))


@pytest.mark.parametrize("pair", list(combinations(FACTORS, 2)), ids="-".join)
def test_the_array_meets_every_pair_that_goes_together_and_no_other(pair: tuple[str, str]) -> None:
    one, other = pair
    met = {(row[one], row[other]) for row in covering_array()}
    assert met == {(a, b) for a in FACTORS[one] for b in FACTORS[other] if go_together({one: a, other: b})}


@pytest.mark.parametrize("row", covering_array()[::EVERY], ids=lambda row: "-".join(row.values()))
def test_a_sample_trains_and_is_measured(row: dict[str, str]) -> None:
    check(row)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # attention among 907 nodes
@pytest.mark.parametrize("row", covering_array(), ids=lambda row: "-".join(row.values()))
def test_every_combination_trains_and_is_measured(row: dict[str, str]) -> None:
    check(row)

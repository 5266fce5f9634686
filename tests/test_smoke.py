"""Every model with every task, mitigation, encoding and rewiring: each combination of a pairwise covering array trains.

In the default run: what is refused, that the array meets every other pair, and a sample of it that meets every model, task and
factor. All of it, over 1,600 combinations: `pytest -m slow tests/test_smoke.py`.
"""

import json
import math
from itertools import combinations, product

import pytest
from test_engine import make_cells, trained
from test_measures_contract import numbers
from together import FACTORS, MITIGATIONS, TASKS, asked, covering_array, go_together, why_not

import datasets
from suite.engine import initial_model
from suite.factors import combine, task_of
from suite.measures import MEASURES, measure
from suite.models import MODELS, resolve
from suite.models.attentions import PAIR_BIASES
from suite.models.rewirings import REWIRINGS

NORMS = {name for name in MITIGATIONS if name.startswith("norm: ")}
SKIPS = {"residual", "initial residual", "dense", "gradient gating"}
JUMPS = {name for name in MITIGATIONS if name.startswith("jumping knowledge")}
OTHERS = {"virtual node", "fully adjacent last layer"}
UNWEIGHED = {"sgc", "propagation"}  # no weights between their steps
WITH_WEIGHTS = {f"norm: {norm}" for norm in ("layer", "batch", "graph", "diff_group")}
ADDS = {  # to the state before, in each layer
    *("spd_transformer", "graph_transformer", "graphormer", "gps", "gps_performer", "exphormer", "nodeformer", "san"),
    *("set_transformer", "grit", "tokengt", "specformer", "cognn", "adgn", "graphcon", "swan", "phdgn"),
}
READS_PAIRS = {"spd_transformer", "graphormer", "gps", "set_transformer"}  # attention that has logits for all pairs
OTHER_ATTENTION = {"graph_transformer", "gps_performer", "exphormer", "nodeformer", "san"}
READS_NO_EDGES = {"mlp", "deep_sets", "set_transformer", "spd_transformer", "constant"}
DIRECTED = {
    "published NeighborsMatch",
    "directed decoy chains",
    "published citation chains",
    "several signals",
    "published decoy chains",
}
ON_UNDIRECTED = {"two_hop", "gdc", "sdrf", "fosr", "borf", "gtr", "level_preserving", "random_edges"}
ASKED_AT_SEVERAL = {
    "own token",
    "published mean exchange",
    "published pair mixing",
    "two-radius by path",
    "published two-radius",
    "known range",
    "distances",
    "distances by cost",
    "published distances",
    "graph transfer",
    "published graph transfer",
    "cycle or two",
    "colour islands",
    "contextual blockmodel",
    "graphs that differ",
    "one graph",
}
MANY_GRAPHS = {"distances", "distances by cost", "published distances", "published pair mixing"}
WHOLE_GRAPHS = {"graph classes", "peptides, functions", "peptides, shape", "molecules"}

REFUSED = [  # all that the suite refuses: models or tasks, what they are combined with, and what is said
    ({"constant"}, SKIPS | JUMPS | NORMS | OTHERS, "for this Constant, which has no layers"),
    (ADDS, {"residual"}, "whose layers have a residual of their own"),
    ({"sgformer"}, {"residual"}, "whose branches have a residual of their own"),
    ({"appnp", "sgformer"}, {"initial residual"}, "initial residual of its own"),
    ({"sgformer"}, {"dense", "gradient gating", "virtual node"}, "whose states are mixtures that no layer reads"),
    (UNWEIGHED, {"dense", "gradient gating", "virtual node", *WITH_WEIGHTS}, "which has no weights between its steps"),
    ({"gcn_adjacent"}, {"gradient gating"}, "on the complete graph GCN makes all gates 0"),
    ({"spd_transformer", "set_transformer", "graphormer"}, {"fully adjacent last layer"}, "whose blocks read no neighbours"),
    ({"grit"}, {"fully adjacent last layer"}, "whose blocks read pairs of nodes, and no edges"),
    ({"exphormer", "san", "tokengt", "specformer"}, {"fully adjacent last layer"}, "made once of a whole graph"),
    ({"gated_gcn"}, {"fully adjacent last layer"}, "new edges do not have its states on edges"),
    ({"drew", "drew_delay"}, {"fully adjacent last layer"}, "all other nodes are at its first distance then"),
    ({"gcn_adjacent"}, {"norm: mean", "norm: pair"}, "the last states are alike, and the norm 0"),
    ({"mlp", "deep_sets"}, {"fully adjacent last layer"}, "reads no neighbours"),
    (READS_NO_EDGES, {"DropEdge"}, "reads no edges"),
    ({"constant"}, {"DropNode"}, "reads no node's features"),
    ({"exphormer", "san", "tokengt", "specformer"}, {"DropEdge"}, "made once of a whole graph"),
    ({"sgc", "appnp", "propagation", "constant"}, {"orthogonal", "weights scaled"}, "is of linear maps inside layers"),
    (READS_NO_EDGES, set(REWIRINGS), "changes edges, and"),
    (set(MODELS) - READS_PAIRS - OTHER_ATTENTION, set(PAIR_BIASES), "only attention among all nodes reads pairs"),
    (OTHER_ATTENTION, set(PAIR_BIASES), "must be none unless attention is softmax"),
    (DIRECTED, ON_UNDIRECTED, "is defined on undirected graphs"),
    (ASKED_AT_SEVERAL, {"level_preserving"}, "needs exactly one read-out node"),
    (WHOLE_GRAPHS, {"level_preserving"}, "needs exactly one read-out node, around which it builds; got 0"),
]


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


def test_every_task_that_needs_no_data_is_in_the_array() -> None:
    missing = {name for name, cls in datasets.TASKS.items() if not any(isinstance(task, cls) for task in TASKS.values())}
    assert missing == {"labelled_graph", "local_eccentricity", "planetoid"}  # one given graph each; `OneGraph` has their shape


def test_what_is_refused_is_refused_for_these_reasons_and_nothing_else_is() -> None:
    found = {}
    for one, others in (("model", ("mitigation", "encoding", "rewiring")), ("task", ("encoding", "rewiring"))):
        for other in others:
            for a, b in product(FACTORS[one], FACTORS[other]):
                if (reason := why_not((one, a), (other, b))) is not None:
                    found[a, b] = reason
    expected = {pair: said for left, right, said in REFUSED for pair in product(left, right)}
    assert found.keys() == expected.keys()
    assert not {pair: reason for pair, reason in found.items() if expected[pair] not in reason}


@pytest.mark.parametrize("pair", list(combinations(FACTORS, 2)), ids="-".join)
def test_the_array_meets_every_pair_that_goes_together_and_no_other(pair: tuple[str, str]) -> None:
    one, other = pair
    met = {(row[one], row[other]) for row in covering_array()}
    assert met == {(a, b) for a in FACTORS[one] for b in FACTORS[other] if go_together({one: a, other: b})}


def sample() -> list[dict[str, str]]:
    """Return combinations that each have something that none before them has, those with the most news first.

    What takes minutes is left to the slow tests: measures on the network of 907 nodes, a linear program for every edge of BORF
    where every graph is another.
    """
    met: set[tuple[str, str]] = set()
    found, rows = [], [row for row in covering_array() if row["task"] != "transfer on a network"]
    rows = [row for row in rows if row["rewiring"] != "borf" or row["task"] not in MANY_GRAPHS]
    for news in range(len(FACTORS), 0, -1):
        for row in rows:
            if len(row.items() - met) >= news:
                met |= row.items()
                found.append(row)
    return found


@pytest.mark.parametrize("row", sample(), ids=lambda row: "-".join(row.values()))
def test_a_sample_trains_and_is_measured(row: dict[str, str]) -> None:
    check(row)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # attention among 907 nodes
@pytest.mark.parametrize("row", covering_array(), ids=lambda row: "-".join(row.values()))
def test_every_combination_trains_and_is_measured(row: dict[str, str]) -> None:
    check(row)

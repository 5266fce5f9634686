"""Certificates: what a task really needs, found out before any deep model is trained on it.

A certificate is a list of checks and one verdict. Small controls that cannot see what the task claims to need are trained on
it; one that beats guessing shows that the task does not need it. A control that stays at chance proves something only if it
could have won: the same budget must solve the task's twin, where the answer lies within its sight.

The tier `quick` trains the dearer controls once; `full` three times, and adds what controls score radius by radius, on the true
edges and on shuffled answers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from suite.cell import TaskRef
from suite.controls import SEEDS, SOLVED, Outcome, Shuffled, by_distance, edge_free, graph_blind, of_list
from suite.engine import blocks
from suite.engine.batches import as_drawn
from suite.entries import topology_label
from suite.facts import facts_of
from suite.form import SPLITS, form_faults
from suite.models.node_encodings import NODE_ENCODINGS, NodeEncoding
from suite.refs import reason_of
from suite.samples import UP_TO_ORDER, Drawn, Hashes, asked_colours, graph_faults, hashes, randomness_faults, tokens_read
from suite.score import guess, scores
from suite.store import Tier
from suite.task import Block, DataUnavailable, Packed, Split, Task
from suite.verdicts import (
    BROKEN,
    CERTIFIED,
    CONTENT,
    EDGE_FREE,
    LOCAL,
    MEMORISABLE,
    PRECISION,
    TAGS,
    UNCONTROLLED,
    UNDERTRAINED,
    UNIDENTIFIABLE,
    UNLEARNED,
    UNSOLVED,
)
from suite.views import task_ref
from suite.witness import NUM_WITNESSED, WITNESSED, allowance, at_ceiling, witness_score

VERSION = 12  # raise it when the same task would get another certificate
NUM_SAMPLES = 2000
BLOCK = 64  # graphs drawn together, as in training by default
SEEN = 0.05  # share of test inputs that as many training inputs may have shown
IDENTIFIED = 0.9  # skill that 1-WL colours must allow
MAX_REFINED = 1 << 17  # nodes whose colours are refined together
ROUNDED = 5  # decimals of an encoding that tell nodes apart: sums of floats depend on their order
SIZED = ("x", "edge_index", "y", "readout_index")  # what colours need of many graphs
LEAK = 0.05  # how far above chance a control may come: accuracy, or share of the variance explained

NUM_SEEDS: dict[Tier, int] = {"quick": 1, "full": len(SEEDS)}  # of the controls of K6 and K7
NO_SAMPLE = "not applicable: one labelled graph, or a question about whole graphs"

WORDS = {  # how K10 calls the facts of `suite.facts`
    "num_nodes": "nodes",
    "num_edges": "edges",
    "repeated_edges": "further copies of edges",
    "self_loops": "self-loops",
    "orbits_at_least": "orbits at least",
    "pair_hops": "hops to the source",
    "operator_gcn": "(S^r)_vu by GCN",
    "share_gcn": "its share of the row",
    "operator_mean": "(S^r)_vu by the mean",
    "share_mean": "its share of the row",
    "resistance": "resistance to the source",
    "cut": "cut",
    "like_source": "other nodes like the source",
}

UNTOLD = ("tag", "solved")  # fields of a check that the certificate says in other words
Found = TypeVar("Found")  # by a look at a task


@dataclass(frozen=True)
class Check:
    """One line of a certificate. `passed` None: nothing to pass, or not applicable; `tag`: what the line says of the task.

    `solved`: a model trained for it solved the task itself, not a twin.
    """

    id: str
    name: str
    value: float | str | None
    limit: str
    passed: bool | None
    detail: str
    tag: str | None = None
    solved: bool = False


class MalformedError(ValueError):
    """What a task draws cannot be read: one line for each fault."""


def certify(task: Task, tier: Tier = "quick", pool: Executor | None = None) -> dict[str, Any]:
    """Return the certificate of `task` as JSON values: its checks, the tags they give, and the first of them as verdict.

    `pool`: processes in which controls are trained side by side; None: here, one after another.

    K1 distinct inputs, K2 inputs seen in training, K3 constant predictor, K4 graph-blind MLP, K5 edge-free set model, K6 ball
    nearer than the answer, K7 permuted edges, K8 solvability witness, K9 1-WL colours, K10 facts of the graph, K11 distances and
    structure, K12 determinism; K13 shuffled answers in the `full` tier; K14 the bare list, of tasks that compose one.

    Raises MalformedError where what the task draws has not the form of graphs and answers.
    """
    start = time.perf_counter()
    _must_be_readable(task)
    begin = partial(_begin, pool, task)
    begun = begin(_graph_blind)
    survey, blind = _survey(task), begun.result()
    begun, ball = begin(_edge_free, blind), begin(_ball, blind, tier)
    permuted = _begin(None if _no_sample(task) or blind.solved else pool, task, _on_permuted, tier)
    last = [begin(_shuffled)] if tier == "full" else []
    last += [begin(_listed)] if task.bare_lists() else []
    facts, witnessed, identified, determinism = facts_of(task), _witnessed(task), _identified(task), _determinism(task)
    unordered = begun.result()
    on_edges = _permuted(task, unordered, permuted, tier, witnessed is not None)
    trained = [blind, unordered, ball.result(), on_edges]
    checks = [_distinct(task, survey), _seen(task, survey), _constant(task, survey), *trained]
    checks += [witnessed or _solved_by(task, trained), identified, _described(facts), _structure(task, survey), determinism]
    checks += [check.result() for check in last]
    tags = [tag for tag in TAGS if any(check.tag == tag for check in checks)]
    ref = task_ref(task)
    return {
        "schema": 1,
        "version": VERSION,
        "tier": tier,
        "task_key": ref.key,
        "task": ref.model_dump(mode="json"),
        "title": task.title,
        "topology": topology_label(task),
        "hops": task.range,
        "verdict": tags[0] if tags else CERTIFIED,
        "tags": tags,
        "facts": facts,
        "checks": [{key: value for key, value in asdict(check).items() if key not in UNTOLD} for check in checks],
        "seconds": round(time.perf_counter() - start, 2),
    }


def _must_be_readable(task: Task) -> None:
    try:
        faults = form_faults(task, lambda split: as_drawn(task, 0, split, 0, 1 if task.fixed else BLOCK))
    except DataUnavailable:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise MalformedError(f"drawing graphs failed: {reason_of(error)}") from error
    if faults:
        raise MalformedError("\n".join(faults))


def _no_sample(task: Task) -> bool:
    """Return whether there are no read-out nodes of many graphs for a control to learn from: one graph, or whole graphs."""
    return task.fixed or task.level == "graph"


@dataclass(frozen=True)
class _Later(Generic[Found]):
    """What is looked for in this process, when it is asked for."""

    result: Callable[[], Found]

    def cancel(self) -> None:
        """Nothing has begun."""


def _begin(pool: Executor | None, task: Task, look: Callable[..., Found], *given: Any) -> Future[Found] | _Later[Found]:
    """Begin to look at `task` in another process, or put it off."""
    return pool.submit(_look, task_ref(task), look, *given) if pool else _Later(partial(look, task, *given))


def _look(ref: TaskRef, look: Callable[..., Found], *given: Any) -> Found:
    return look(ref.load(), *given)


@dataclass
class _Survey:
    """What the first `NUM_SAMPLES` graphs of each split are, the graphs themselves forgotten."""

    hashes: dict[Split, Hashes] = field(default_factory=dict)
    answers: dict[Split, Tensor] = field(default_factory=dict)  # [answers, ...]
    asked: dict[Split, set[int]] = field(default_factory=dict)  # read-out nodes
    faults: Counter[str] = field(default_factory=Counter)  # graphs with a fault, by its name
    example: dict[str, str] = field(default_factory=dict)  # one sentence for each
    largest: int = 0  # nodes of a graph

    @property
    def compared(self) -> str:
        """How inputs are told apart: of large graphs two that differ in the order of their nodes alone count as two."""
        if self.largest <= UP_TO_ORDER:
            return "up to node order"
        return f"nodes in the order they are drawn in, since graphs have up to {self.largest:,}, over {UP_TO_ORDER}"


def _survey(task: Task) -> _Survey:
    survey, answers, sizes = _Survey(), {split: [] for split in SPLITS}, Counter[Split]()  # type: ignore[var-annotated]
    survey.asked = {split: set() for split in SPLITS}
    known: dict[tuple[bytes, ...], dict[str, str]] = {}

    def watched() -> Iterator[Drawn]:
        for split in SPLITS:
            for drawn in blocks(task, 0, split, NUM_SAMPLES, BLOCK):
                for graph, copies, y in _graphs(drawn):
                    survey.largest = max(survey.largest, int(graph.num_nodes or 0))
                    answers[split].append(y)
                    sizes[split] += copies
                    survey.asked[split].update(graph.readout_index.tolist() if "readout_index" in graph else [])
                    key = tuple(graph[name].numpy().tobytes() for name in sorted(graph.keys()) if name != "num_nodes")
                    if key not in known:
                        known[key] = graph_faults(graph, task.at(split, 0).range)
                    survey.faults.update(dict.fromkeys(known[key], copies))
                    survey.example |= known[key]
                yield tokens_read(drawn, task.token_channels)  # noise makes no new input: what is learned by heart stays so

    parts = [torch.split(part, [sizes[split] for split in SPLITS]) for part in hashes(watched())]
    survey.hashes = {split: Hashes(*(part[i] for part in parts)) for i, split in enumerate(SPLITS)}
    survey.answers = {split: torch.cat(answers[split]) for split in SPLITS}
    return survey


def _graphs(drawn: Drawn) -> Iterator[tuple[Data, int, Tensor]]:
    """Yield each topology without x, how many graphs have it, and their answers [answers, ...]."""
    names = ("edge_index", "readout_index", "source_index")
    if isinstance(drawn, Block):
        fields = {name: getattr(drawn, name) for name in names if getattr(drawn, name) is not None}
        yield Data(**fields, num_nodes=drawn.num_nodes), drawn.num_graphs, drawn.y.flatten(0, 1)
        return
    for graph in drawn:
        yield Data(**{name: graph[name] for name in names if name in graph}, num_nodes=graph.num_nodes), 1, graph.y


def _distinct(task: Task, survey: _Survey) -> Check:
    if task.fixed:
        return Check("K1", "distinct inputs", None, "published", None, "not applicable: one labelled graph")
    train = survey.hashes["train"]
    inputs, structures, features = (torch.unique(part).numel() for part in train)
    total = train.inputs.numel()
    detail = f"{inputs} of {total}, {survey.compared}; distinct structures: {structures}; multisets of features: {features}"
    return Check("K1", "distinct inputs", inputs / total, "published", None, detail)


def _seen(task: Task, survey: _Survey) -> Check:
    name, limit = "test inputs seen in training", f"<= {SEEN}"
    if task.fixed:
        asked = survey.asked
        share = len(asked["test"] & asked["train"]) / len(asked["test"])
        detail = "share of test nodes that are training nodes; the graph itself is the same"
        return Check("K2", name, share, limit, share <= SEEN, detail, None if share <= SEEN else MEMORISABLE)
    same = [(a, b) for i, a in enumerate(SPLITS) for b in SPLITS[i + 1 :] if _equal(survey.hashes[a], survey.hashes[b])]
    share = float(torch.isin(survey.hashes["test"].inputs, survey.hashes["train"].inputs).double().mean())
    if same == [("validation", "test")] and "validation is test" in task.irregular:
        detail = "share of test inputs; validation and test are the same samples by declaration: the test chooses the model"
        return Check("K2", name, share, limit, False, detail, None if share <= SEEN else MEMORISABLE)
    if same:
        pairs = ", ".join(f"{a} and {b}" for a, b in same)
        detail = f"{pairs} are the same samples in the same order: draw from the generator handed down, which differs by split"
        return Check("K2", name, share, limit, False, detail, BROKEN)
    total = survey.hashes["train"].inputs.numel()
    detail = (
        f"share of {survey.hashes['test'].inputs.numel()} test inputs that {total} training inputs contain, {survey.compared}"
    )
    return Check("K2", name, share, limit, share <= SEEN, detail, None if share <= SEEN else MEMORISABLE)


def _equal(one: Hashes, other: Hashes) -> bool:
    return torch.equal(one.inputs, other.inputs)


def _constant(task: Task, survey: _Survey) -> Check:
    train, test = survey.answers["train"], survey.answers["test"]
    constant = guess(train, task.loss, task.out_channels)
    score = float(scores(constant.expand(1, len(test), -1), test[None], task.metric))
    said = {"cross_entropy": f"class {int(constant.argmax())}", "mae": "the median"}
    what = f"always answering {said.get(task.loss, 'the mean')}"
    broken = _leaks(task, score) and not task.fixed
    detail = f"{what} scores {score:.3f}; the task declares chance {task.chance:.3f}"
    return Check("K3", "constant predictor", score, _limit(task), not broken, detail, BROKEN if broken else None)


def _graph_blind(task: Task) -> Check:
    """K4. Asking for a node's own token (range 0) is local by declaration; real labelled graphs have nothing to pass."""
    if task.level == "graph":
        return Check("K4", "graph-blind MLP", None, _limit(task, task.near_chance), None, "not applicable: no node is asked")
    found = graph_blind(task)
    scored = f"an MLP on the read-out node's own features scores {found.score:.3f}, guessing {task.near_chance:.3f}"
    leaks = _leaks(task, found.score, task.near_chance)
    if task.range == 0:
        tag = LOCAL if found.solved else UNDERTRAINED
        detail = f"{scored}; local by design"
        return Check("K4", "graph-blind MLP", found.score, "at the ceiling", found.solved, detail, tag, found.solved)
    if task.fixed:
        detail = f"{scored}; the graph adds what a model scores above it"
        return Check("K4", "graph-blind MLP", found.score, "published", None, detail, LOCAL if leaks else None)
    if leaks:
        return Check("K4", "graph-blind MLP", found.score, _limit(task, task.near_chance), False, scored, LOCAL, found.solved)
    return _at_chance("K4", "graph-blind MLP", task, found, task.answer_twin(), graph_blind, chance=task.near_chance)


def _edge_free(task: Task, blind: Check) -> Check:
    """K5. Where one node alone solves the task, a set has nothing to add."""
    name = "edge-free set model"
    if task.fixed:
        return Check("K5", name, None, _limit(task), None, "not applicable: one labelled graph is no sample of sets")
    if task.level == "graph":
        found = edge_free(task)
        detail = f"{found.title} on the set of nodes scores {found.score:.3f}, guessing {task.chance:.3f}; edges add the rest"
        return Check("K5", name, found.score, "published", None, detail, CONTENT if _leaks(task, found.score) else None)
    if blind.solved:
        return Check("K5", name, None, _limit(task), None, "not applicable: a graph-blind model solves the task")
    found = edge_free(task)
    if _leaks(task, found.score):
        detail = f"{found.title} on the set of nodes scores {found.score:.3f}, guessing {task.chance:.3f}"
        return Check("K5", name, found.score, _limit(task), False, detail, CONTENT, found.solved)
    return _at_chance("K5", name, task, found, task.content_twin(), partial(edge_free, twin=True))


def _ball(task: Task, blind: Check, tier: Tier) -> Check:
    """K6. Controls that know all distances and edges see what lies nearer than the answer; twins, the source marked.

    Where they tell a part of it `hops` is not the range that is needed, solved or not: who scores better than chance need not
    have reached that far.
    """
    name, hops = "nearer than the answer", task.range
    if _no_sample(task) or not hops:
        return Check("K6", name, None, _limit(task, task.near_chance), None, "not applicable: the task is not at one distance")
    if hops == 1 or blind.solved:
        reason = "a graph-blind model solves the task" if blind.solved else "nearer than one hop is the read-out node, K4"
        return Check("K6", name, None, _limit(task, task.near_chance), None, f"not applicable: {reason}")
    seeds = SEEDS[: NUM_SEEDS[tier]]
    found = by_distance(task, hops - 1, seeds=seeds)
    curve = f"; {_curve(task, hops, found)}" if tier == "full" else ""
    if _leaks(task, found.score, task.near_chance):
        detail = (
            f"{found.title} on the ball of radius {hops - 1} scores {found.score:.3f}, guessing {task.near_chance:.3f}{curve}"
        )
        return Check("K6", name, found.score, _limit(task, task.near_chance), False, detail, LOCAL, found.solved)
    control = partial(by_distance, radius=hops, seeds=seeds, twin=True)
    return _at_chance("K6", name, task, found, task.content_twin() or task, control, curve, task.near_chance)


def _curve(task: Task, hops: int, last: Outcome) -> str:
    """Say what the control scores by radius; radius hops - 1 is known, `last`."""
    radii = [*range(hops - 1), hops]
    found = {radius: by_distance(task, radius, seeds=SEEDS[:1]).score for radius in radii} | {hops - 1: last.score}
    return "by radius " + ", ".join(f"{radius}: {score:.3f}" for radius, score in sorted(found.items()))


def _permuted(task: Task, unordered: Check, permuted: Future[Outcome] | _Later[Outcome], tier: Tier, witnessed: bool) -> Check:
    """K7. The same control on edges drawn anew with degrees kept, which is trained beside K5 and of no use where that leaks.

    On the true ones, which are the dearest to read, it is trained where that is asked (`full`), or where nothing else shows that
    the task can be solved or the control can win.
    """
    name = "permuted edges"
    if _no_sample(task):
        return Check("K7", name, None, _limit(task), None, NO_SAMPLE, None if task.range == 0 else UNCONTROLLED)
    if unordered.tag == CONTENT or not isinstance(unordered.value, float):
        permuted.cancel()
        return Check("K7", name, None, _limit(task), None, "not applicable: K4 or K5 shows already that edges are not needed")
    twin, on_true = task.content_twin(), partial(by_distance, seeds=SEEDS[: NUM_SEEDS[tier]])
    true = [on_true(task)] if tier == "full" or not witnessed or twin is None else []
    found = permuted.result()
    leaks = _leaks(task, found.score)
    if not leaks and not any(one.solved for one in true):
        check = _at_chance("K7", name, task, found, twin, partial(_on_permuted, tier=tier, twin=True), _on_true(true))
        if check.passed or true or not (solved := on_true(task)).solved:
            return check
        true = [solved]
    scored = f"{found.title} scores {found.score:.3f} with all distances permuted"
    detail = f"{scored}, guessing {task.chance:.3f}{_on_true(true)}"
    tag, solved_by = EDGE_FREE if leaks else None, any(one.solved for one in (found, *true))
    return Check("K7", name, found.score, _limit(task), not leaks, detail, tag, solved_by)


def _on_permuted(task: Task, tier: Tier, twin: bool = False) -> Outcome:
    return by_distance(task, permuted=True, seeds=SEEDS[: NUM_SEEDS[tier]], twin=twin)


def _on_true(found: list[Outcome]) -> str:
    return "".join(f"; on the true edges {one.score:.3f} ({one.title})" for one in found)


def _witnessed(task: Task) -> Check | None:
    """K8. An algorithm of the task's own must answer at the ceiling, in single precision as in double; None: it offers none."""
    name, limit = "solvability witness", f"skill >= {WITNESSED}"
    if _no_sample(task):
        return Check("K8", name, None, limit, None, NO_SAMPLE)
    double = witness_score(task, torch.float64)
    single = witness_score(task, torch.float32)
    if double is None or single is None:
        return None
    detail = f"scores {single:.4g} in float32 and {double:.4g} in float64 on {NUM_WITNESSED} test graphs"
    if allowed := allowance(task):
        limit = f"within {allowed:.3f} of {task.ceiling:.3f}"
    passed = [at_ceiling(task, score) for score in (double, single)]
    if not passed[0]:
        return Check("K8", name, double, limit, False, f"{detail}: the witness or the task is wrong", BROKEN)
    return Check("K8", name, single, limit, passed[1], detail, None if passed[1] else PRECISION)


def _solved_by(task: Task, trained: list[Check]) -> Check:
    """K8 of a task without a witness: a control must have solved it, for a failure at what cannot be solved says nothing.

    `trained` is K4 to K7. Where K7 had no need of the true edges, since K5 leaks, a control reads them now.
    """
    name, limit, permuted = "solvability witness", f"skill >= {WITNESSED}, or a control's >= {SOLVED}", trained[-1]
    solved = [check.id for check in trained if check.solved]
    if not solved and permuted.value is None and by_distance(task, seeds=SEEDS[:1]).solved:
        solved = ["a control that reads all edges"]
    if solved:
        return Check("K8", name, None, limit, True, f"the task offers none; solved by a control: {', '.join(solved)}")
    detail = "the task offers none, and no control solves it, not on the true edges either: give it a `witness`"
    return Check("K8", name, None, limit, None, detail, UNSOLVED)


def _identified(task: Task) -> Check:
    """K9. What the best function of 1-WL colours scores on samples: a bound on every net that only passes messages.

    Where x does not suffice the same is said of what encodings of nodes add to it. Those that are drawn anew for every sample
    bound nothing: they give each node a colour of its own.
    """
    name = "1-WL colours"
    limit = f"{'>=' if task.ceiling > task.chance else '<='} {task.chance + IDENTIFIED * (task.ceiling - task.chance):.3f}"
    if _no_sample(task):
        return Check("K9", name, None, limit, None, NO_SAMPLE)
    drawn = list(_up_to(MAX_REFINED, blocks(task, 0, "train", NUM_SAMPLES, BLOCK)))
    score, shared, number = _by_colours(task, drawn)
    passed = task.skill(score) >= IDENTIFIED
    detail = f"no message passing net scores better than {score:.3f} on {number} answers; {shared:.0%} share their colour"
    if not passed:
        for encoding in (cls() for cls in NODE_ENCODINGS.values() if cls.of_graph and not cls.redrawn):
            encoded = [_encoded(block, encoding) for block in drawn]
            detail += f"; with {encoding.title} ({encoding.width} columns) {_by_colours(task, encoded)[0]:.3f}"
    return Check("K9", name, score, limit, passed, detail, None if passed else UNIDENTIFIABLE)


def _by_colours(task: Task, drawn: list[Block | Packed]) -> tuple[float, float, int]:
    """Return what the best function of 1-WL colours scores, the share of answers that share their colour, and their number."""
    y = torch.cat([block.y.flatten(0, 1) if isinstance(block, Block) else block.y for block in drawn])
    _, colour, size = torch.unique(asked_colours(drawn), return_inverse=True, return_counts=True)
    score = _best_by(colour, y) if task.loss == "cross_entropy" else _least_error_by(colour, y)
    return score, float((size[colour] > 1).double().mean()), len(y)


def _encoded(drawn: Block | Packed, encoding: NodeEncoding) -> Block | Packed:
    """Append to x what `encoding`, which draws nothing, tells of the edges, rounded: equal nodes have equal columns."""
    rng = torch.Generator()
    if isinstance(drawn, Block):
        told = encoding.draw(drawn.edge_index, drawn.num_nodes, 1, rng).float().round(decimals=ROUNDED)
        x = torch.cat([drawn.x, told.expand(drawn.num_graphs, -1, -1)], dim=2)
        return Block(drawn.edge_index, x, drawn.y, drawn.readout_index)
    graphs = list(drawn)
    told = torch.cat([encoding.draw(graph.edge_index, int(graph.num_nodes or 0), 1, rng)[0] for graph in graphs])
    x = torch.cat([drawn.x, told.float().round(decimals=ROUNDED)], dim=1)
    return Packed(x, drawn.edge_index, drawn.y, drawn.readout_index, sizes={n: drawn.sizes[n] for n in SIZED})


def _up_to(num_nodes: int, drawn: Iterator[Block | Packed]) -> Iterator[Block | Packed]:
    """Yield blocks until they have that many nodes."""
    for block in drawn:
        yield block
        num_nodes -= block.x.shape[:-1].numel()
        if num_nodes <= 0:
            return


def _best_by(colour: Tensor, y: Tensor) -> float:
    """Return the accuracy of answering the commonest class of each colour."""
    num_classes = int(y.max()) + 1
    counts = torch.bincount(colour * num_classes + y, minlength=num_classes * (int(colour.max()) + 1))
    return float(counts.view(-1, num_classes).max(dim=1).values.sum() / len(y))


def _least_error_by(colour: Tensor, y: Tensor) -> float:
    """Return the mean squared error of answering the mean of each colour."""
    targets = y.double().view(len(y), -1)
    return float((targets - scatter(targets, colour, reduce="mean")[colour]).square().mean())


def _described(facts: dict[str, Any]) -> Check:
    """K10. Published: what a walk, a flow and a symmetry make of the graph, and the exact range where the task knows it."""
    spread, count, own = facts.get("spread", {}), facts["num_graphs"], ("num_graphs", "spread", "exact_range", "oracle")
    said = []
    for name, value in facts.items():
        if name not in own:
            between = f" ({' – '.join(map(_said, spread[name]))})" if name in spread else ""
            said.append(f"{WORDS.get(name, name)} {_said(value)}{between}")
    detail = f"of {'one graph' if count == 1 else f'{count} graphs, medians (least – largest)'}: {', '.join(said)}"
    if "exact_range" in facts:
        detail += f"; the answer depends on nodes {_said(facts['exact_range'])} hops away on average, exactly"
    if "oracle" in facts:
        curve = ", ".join(f"{radius}: {score:.3f}" for radius, score in enumerate(facts["oracle"]))
        detail += f"; the best score of one who sees so many hops: {curve}"
    return Check("K10", "(S^r)_vu, resistance, cut, range", facts.get("operator_gcn"), "published", None, detail)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shuffled(task: Task) -> Check:
    """K13. With answers dealt out again nothing may score: what does would be a fault of the trainer or the splits."""
    name = "shuffled answers"
    if _no_sample(task):
        return Check("K13", name, None, _limit(task), None, NO_SAMPLE)
    found = edge_free(Shuffled(seen=task_ref(task)))
    broken = _leaks(task, found.score)
    detail = f"{found.title} scores {found.score:.3f}, guessing {task.chance:.3f}"
    return Check("K13", name, found.score, _limit(task), not broken, detail, BROKEN if broken else None)


def _listed(task: Task) -> Check:
    """K14. What a task composes in an order must be learnable without its graph, or a failure on it says nothing of distance."""
    found = of_list(task)
    best = max(found.values(), key=lambda outcome: outcome.skill)
    scored, chance = ", ".join(f"{title} {outcome.score:.3f}" for title, outcome in found.items()), task.bare_lists()[-1].chance
    said = "the sequence itself is learnable" if best.solved else "it is not learnable, so that the graph is not to blame"
    detail = f"given the elements alone, in their order, score: {scored}, guessing {chance:.3f}; in this budget {said}"
    return Check("K14", "bare list", best.score, f"skill >= {SOLVED}", best.solved, detail, None if best.solved else UNLEARNED)


def _at_chance(
    id_: str,
    name: str,
    task: Task,
    found: Outcome,
    twin: Task | None,
    control: Callable[[Task], Outcome],
    more: str = "",
    chance: float | None = None,
) -> Check:
    """Return what it means that a control guesses: a pass where it solves the twin, else nothing. `more` is said besides.

    `chance` is the task's, where no other is given.
    """
    chance = task.chance if chance is None else chance
    detail = f"{found.title} scores {found.score:.3f}, guessing {chance:.3f}{more}"
    if twin is None:
        offer = "answer_twin" if id_ == "K4" else "content_twin"
        detail += f"; the task has no twin, so that nothing shows that the control could win: write `{offer}`"
        return _unanswered(id_, name, detail, found)
    could = control(twin)
    detail += f"; on the twin that shows it the answer {could.score:.3f} ({could.title})"
    if not could.solved:
        return _unanswered(id_, name, f"{detail}, not solved: it needs a larger budget", found)
    return Check(id_, name, found.score, _limit(task, chance), True, detail)


def _unanswered(id_: str, name: str, detail: str, found: Outcome | None = None) -> Check:
    return Check(id_, name, found.score if found else None, "a control that can win", None, detail, UNDERTRAINED)


def _leaks(task: Task, score: float, chance: float | None = None) -> bool:
    """Return whether it is no guessing: who solves the task does not guess, however near the ceiling is to chance."""
    threshold = _threshold(task, chance)
    above = score > threshold if task.ceiling > task.chance else score < threshold
    return above or task.skill(score) >= SOLVED


def _threshold(task: Task, chance: float | None = None) -> float:
    chance = task.chance if chance is None else chance
    return chance + LEAK * (task.ceiling - chance if task.ceiling < chance else 1)


def _limit(task: Task, chance: float | None = None) -> str:
    return f"{'<=' if task.ceiling > task.chance else '>='} {_threshold(task, chance):.3f}"


def _structure(task: Task, survey: _Survey) -> Check:
    """K11. Faults that the task declares (`Task.irregular`) are told, and held against nobody."""
    total = sum(hashes.inputs.numel() for hashes in survey.hashes.values())
    faults = {name: count for name, count in survey.faults.items() if name not in task.irregular}
    said = [f"{count} of {total} graphs: {survey.example[name]}" for name, count in faults.items()]
    declared = [
        f"{name} by declaration, {survey.faults[name]} of {total}" for name in sorted(set(survey.faults) & task.irregular)
    ]
    if not faults:
        what = ", hops by BFS" if declared else ": hops by BFS; connected, simple, undirected"
        said = [f"{total} graphs as declared{what}"]
    detail = "; ".join([*said, *declared])
    value, tag = "no" if faults else "yes", BROKEN if faults else None
    return Check("K11", "distance and structure", value, "as declared", not faults, detail, tag)


def _determinism(task: Task) -> Check:
    """K12. Another process is tried by the contract kit, `suite.testing.check_task`, only: it takes seconds to start."""
    faults = randomness_faults(lambda: as_drawn(task, 0, "train", 0, 1 if task.fixed else BLOCK))
    detail = "; ".join(faults) or "equal bytes again, with another number of threads, and under another global random state"
    return Check("K12", "determinism", "no" if faults else "yes", "equal bytes", not faults, detail, BROKEN if faults else None)

"""The contract kit: does a task, or a model, keep what `docs/architecture.md` promises for it?

    from suite.testing import check_model, check_task

    def test_my_task_keeps_its_contract():
        check_task(MyTask(hops=4))

Both raise `ContractError`, an AssertionError with one line per fault, each saying what to change. `TASK_CHECKS` and
`MODEL_CHECKS` hold the single checks, for tests that go through them one by one; each yields a sentence per fault.
"""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import networkx as nx
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_weights
from safetensors.torch import save as save_weights
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.cell import FactorRef, ModelRef, TaskRef
from suite.engine.batches import as_drawn, graph_batch
from suite.form import SPLITS, form_faults
from suite.hops import hop_distance
from suite.metrics import ERRORS
from suite.models import build, resolve
from suite.models.base import Model
from suite.models.encodings import ENCODINGS, PAIRS, encoded
from suite.models.rewirings import load_rewiring, rewire
from suite.refs import reason_of
from suite.samples import Drawn, content, graph_faults, graphs_of, hashes, randomness_faults
from suite.task import Block, Split, Task
from suite.views import task_ref
from suite.witness import at_ceiling, offers_witness, witness_score

NUM_GRAPHS = 64
RAISED = "raised "  # how a fault begins that is an exception of what is checked
MAX_COMPARED = 8  # pairs of graphs that look alike and are answered differently, compared in full
FEW_INPUTS = 10  # distinct inputs per class below which a task can be known by heart
CHANNELS = {"norm", "norm(train)", "virtual_node", "rewiring", "attention", "pooling"}
SKIPS = {"none", "added", "other"}
OPERATORS = {"gcn", "mean", "sum", "complete", "none"}
IN_CHANNELS, HIDDEN_CHANNELS, NUM_LAYERS, OUT_CHANNELS = 5, 16, 3, 4
FEW_CHANNELS = 8  # where a derivative is taken of each


class ContractError(AssertionError):
    """What a task or a model promises and does not keep: one line per fault."""


def check_task(task: Task) -> None:
    """Raise ContractError unless `task` keeps the contract of tasks, in this process and in a fresh one (some seconds)."""
    found = {check: _caught(run, task) for check, run in TASK_CHECKS.items()}
    malformed = bool(found["shapes"])  # what other checks raise then follows from that, and says no more
    faults = [
        f"{check}: {fault}"
        for check, faults in found.items()
        for fault in faults
        if check == "shapes" or not (malformed and fault.startswith(RAISED))
    ]
    _raise(type(task).__name__, faults)
    check_fresh_process([task])


def check_model(model: str | ModelRef, encoding: FactorRef | None = None, rewiring: FactorRef | None = None) -> None:
    """Raise ContractError unless the model keeps the contract of models.

    `model` is a name of the table, `module:Name`, `file.py:Name`, or a reference with settings of its own. With an `encoding` of
    nodes, of width 4 or less, it is checked as it stands behind that one. With a `rewiring`, `REWIRED_CHECKS` are made on rewired
    graphs, and reach counts in their hops; the others are of the model alone.
    """
    made = Made(resolve(model) if isinstance(model, str) else model, encoding, rewiring)
    faults = [f"{check}: {fault}" for check, run in MODEL_CHECKS.items() for fault in _caught(run, made)]
    _raise(str(model) if isinstance(model, str) else made.ref.ref, faults)


def check_fresh_process(tasks: Sequence[Task]) -> None:
    """Raise ContractError unless another process, with another hash seed, draws the same bytes of every task."""
    refs = [task_ref(task) for task in tasks]
    environment = os.environ | {"PYTHONHASHSEED": "4321", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "import suite.testing; suite.testing.answer_digests()"]
    asked = json.dumps([ref.model_dump(mode="json") for ref in refs])
    child = subprocess.run(command, input=asked, capture_output=True, text=True, env=environment, check=False)
    if child.returncode:
        raise RuntimeError(f"the fresh process failed:\n{child.stderr}")
    faults = []
    for task, ref, there in zip(tasks, refs, json.loads(child.stdout.splitlines()[-1]), strict=True):
        if "error" in there:
            faults.append(f"{task!r} cannot be made in another process ({there['error']}): define it in a module or a file")
        elif there["digest"] != digest_of(ref):
            faults.append(
                f"{task!r} draws other samples in another process: hash() of strings and the order of sets differ there; "
                "use suite.rng and sorted lists"
            )
    _raise("fresh process", faults)


def answer_digests() -> None:
    """Read task references from standard input, write a digest of what each draws to standard output (the fresh process)."""
    found: list[dict[str, str]] = []
    for ref in json.loads(sys.stdin.read()):
        try:
            found.append({"digest": digest_of(TaskRef(**ref))})
        except Exception as error:  # told to the parent, which names the task
            found.append({"error": f"{type(error).__name__}: {error}"})
    print(json.dumps(found))


def digest_of(ref: TaskRef) -> str:
    """Return a digest of the first block of every split."""
    task: Task = ref.load()
    return " ".join(content(_afresh(task, split)) for split in SPLITS)


def _raise(name: str, faults: list[str]) -> None:
    if faults:
        raise ContractError("\n".join([f"{name} breaks its contract:", *(f"  {fault}" for fault in faults)]))


def _caught(run: Callable[[Any], Iterator[str]], subject: Any) -> list[str]:
    """Run one check; what the subject raises is a fault too, and does not hide those of other checks."""
    try:
        return list(run(subject))
    except Exception as error:
        return [f"{RAISED}{reason_of(error)}"]


class _Kept:
    """What was drawn of the task asked for last, by split and index: most checks look at the same draws."""

    task: ClassVar[Task | None] = None
    drawn: ClassVar[dict[tuple[Split, int], Drawn]] = {}


def _draw(task: Task, split: Split, index: int = 0) -> Drawn:
    if _Kept.task is not task:
        _Kept.task, _Kept.drawn = task, {}
    if (split, index) not in _Kept.drawn:
        _Kept.drawn[split, index] = _afresh(task, split, index)
    return _Kept.drawn[split, index]


def _afresh(task: Task, split: Split, index: int = 0) -> Drawn:
    return as_drawn(task, 0, split, index, 1 if task.fixed else NUM_GRAPHS)


# tasks


def _fields(task: Task) -> Iterator[str]:
    """Fields, written as JSON and read again, give the same task; scores are declared in their order."""
    if task_ref(task).load() != task:
        yield "its fields, written as JSON and read again, give another task: use fields that pydantic can read back"
    if (task.ceiling > task.chance) != (task.metric not in ERRORS):
        yield f"chance {task.chance} and ceiling {task.ceiling} are in the wrong order for {task.metric}"
    if abs(task.ceiling - task.near_chance) < abs(task.ceiling - task.chance):
        yield f"near_chance {task.near_chance} is better than chance {task.chance}: who sees all nodes sees the near ones too"


def _shapes(task: Task) -> Iterator[str]:
    """Names, shapes, dtypes and ranges of what is drawn."""
    yield from form_faults(task, partial(_draw, task))


def _tokens(task: Task) -> Iterator[str]:
    """`token_channels` hold one-hot rows, with noise of less than a half or without, or zeros."""
    if task.token_channels is None:
        return
    drawn = torch.cat([graph.x[:, task.token_channels] for graph in graphs_of(_draw(task, "train"))])
    tokens = drawn.round()
    one, none = ((tokens == 0) | (tokens == 1)).all(1) & (tokens.sum(1) == 1), (drawn == 0).all(1)
    if not bool((one | none).all()):
        yield (
            f"token_channels {task.token_channels} must be one-hot, give or take less than a half, or zero where a node has no"
            " token"
        )


def _structure(task: Task) -> Iterator[str]:
    """Distances by BFS; edges both ways, once, no self-loops; connected; unless `irregular` says so."""
    found: dict[str, str] = {}
    for split in SPLITS:
        block = _draw(task, split)
        graphs = graphs_of(block)
        for graph in graphs[:1] if isinstance(block, Block) else graphs:
            found |= graph_faults(graph, task.at(split, 0).range)
            if task.range and "source_index" not in graph:
                found["source"] = (
                    f"hops = {task.range}, but no source_index says which node is so far away: give Data one, or let the task's"
                    " property `range` be None"
                )
    for name, said in found.items():
        if name == "source":
            yield said
        elif name == "hops":
            yield f"{said}: plant it there, let source_index name the node that counts, or `range` say how far"
        elif name not in task.irregular:
            yield f"{said}; where that is meant, name '{name}' in the task's property `irregular`"


def _randomness(task: Task) -> Iterator[str]:
    """The generator handed down decides everything, and nothing else does."""
    yield from randomness_faults(lambda: _afresh(task, "train"))


def _variety(task: Task) -> Iterator[str]:
    """There are enough inputs, and enough answers, to learn from."""
    if task.fixed:
        return
    drawn = [_draw(task, "train", index) for index in range(8)]
    inputs, total = torch.unique(hashes(drawn).inputs).numel(), 8 * NUM_GRAPHS
    least = min(FEW_INPUTS * task.out_channels, total // 2)
    if inputs < least and "few inputs" not in task.irregular:
        yield (
            f"{inputs} distinct inputs among {total}, up to node order: a model can know them by heart; let more of the features "
            "be random, or name 'few inputs' in the task's property `irregular`"
        )
    answers = torch.cat([graph.y for block in drawn for graph in graphs_of(block)])
    if torch.equal(answers, answers[:1].expand_as(answers)):
        yield f"all {len(answers)} answers are the same"


def _splits(task: Task) -> Iterator[str]:
    """Splits draw different samples; of a fixed graph, they ask at different nodes."""
    drawn = {split: _draw(task, split) for split in SPLITS}
    every = torch.split(hashes(drawn.values()).inputs, [len(graphs_of(block)) for block in drawn.values()])
    for i, one in enumerate(SPLITS):
        for j, other in enumerate(SPLITS[i + 1 :], i + 1):
            named = "validation is test" if one == "validation" else "training is test"
            declared = {named, "training is test"} & task.irregular
            if torch.equal(every[i], every[j]) and not declared:
                yield f"{one} and {other} draw the same samples: derive everything from the generator, which differs by split"


def _order(task: Task) -> Iterator[str]:
    """Samples of one graph share one node order, so that they can be computed together."""
    drawn = [_draw(task, "train", index) for index in range(2)]
    structures = torch.unique(hashes(drawn).structures).numel()
    advice = "keep one canonical order, and let x and y say what varies"
    orders = [[graph.edge_index for graph in graphs_of(block)] for block in drawn]
    if structures == 1 and any(not torch.equal(edges, order[0]) for order in orders for edges in order):
        yield f"all samples are one graph, in different node orders: {advice}"
        return
    alike = structures == 1 and not task.fixed and task.at("train", 0) == task.at("train", 1)
    if alike and not torch.equal(orders[0][0], orders[1][0]):
        yield f"two blocks hold one graph in different node orders: {advice}"


def _numbers(task: Task) -> Iterator[str]:
    """Answers do not depend on how nodes are numbered, which no model is told: equal graphs have equal answers.

    Where features never repeat no two graphs are equal. Then either those features do not count, and graphs equal but for them
    have equal answers too, or a witness shows, on renumbered graphs, how they count. (Whole graphs have no witnesses.)
    """
    if task.fixed or task.ceiling not in (0.0, 1.0):  # a ceiling below 1: noise in the answers is part of the task
        return
    drawn = [_draw(task, "train", index) for index in range(8)]
    graphs = [graph for block in drawn for graph in graphs_of(block)]
    if _answered_unlike(graphs):
        yield "graphs that are the same but for the numbers of their nodes have different answers: make y of x and edges alone"
        return
    columns = [] if task.level == "graph" or offers_witness(task) else _never_repeated(graphs)
    if columns and _answered_unlike([_without(graph, columns) for graph in graphs]):
        yield (
            f"graphs that are the same but for the numbers of their nodes and x[:, {columns}], which never repeats, have"
            " different answers: make y of x and edges alone; if that is what those columns are for, show it by a `witness`"
        )


def _answered_unlike(graphs: list[Data]) -> bool:
    """Return whether two graphs that are the same up to node order have different answers."""
    first = dict[int, Data]()
    pairs = [(first.setdefault(key, graph), graph) for key, graph in zip(hashes([graphs]).inputs.tolist(), graphs, strict=True)]
    unlike = [pair for pair in pairs if not torch.equal(*(graph.y.sort(0).values for graph in pair))]
    return any(nx.is_isomorphic(*(_marked(graph) for graph in pair), node_match=operator.eq) for pair in unlike[:MAX_COMPARED])


def _never_repeated(graphs: list[Data]) -> list[int]:
    """Return the columns of x in which most graphs have a value that no other graph has."""
    found, graph = [], torch.arange(len(graphs)).repeat_interleave(torch.tensor([len(graph.x) for graph in graphs]))
    for column, values in enumerate(torch.cat([graph.x for graph in graphs]).T):
        value = torch.unique(values, return_inverse=True)[1]
        held = torch.unique(value * len(graphs) + graph)  # a value and a graph that has it
        alone = torch.bincount(held // len(graphs)) == 1
        if torch.unique((held % len(graphs))[alone[held // len(graphs)]]).numel() > len(graphs) / 2:
            found.append(column)
    return found


def _without(graph: Data, columns: list[int]) -> Data:
    bare: Data = graph.clone()
    bare.x[:, columns] = 0
    return bare


def _marked(graph: Data) -> nx.MultiDiGraph:
    """Return the graph with all that a model is told of a node on it."""
    made, asked = nx.MultiDiGraph(), set(graph.readout_index.tolist() if "readout_index" in graph else [])
    made.add_nodes_from((node, {"told": (tuple(row), node in asked)}) for node, row in enumerate(graph.x.tolist()))
    made.add_edges_from(graph.edge_index.t().tolist())
    return made


def _varying(task: Task) -> Iterator[str]:
    """A block that says which nodes vary tells the truth: the engine computes the others once."""
    for split in SPLITS:
        block = _draw(task, split)
        if isinstance(block, Block) and block.varying is not None:
            wrong = ((block.x != block.x[:1]).any(2).any(0) & ~block.varying).nonzero().flatten().tolist()
            if wrong:
                yield f"Block.varying says that x of node {wrong[0]} is the same in all graphs, and it is not"
                return


def _twins(task: Task) -> Iterator[str]:
    """Twins ask the same kind of question, and their draws keep the contract."""
    for name in ("answer_twin", "content_twin"):
        twin: Task | None = getattr(task, name)()
        if twin is None or twin == task:
            continue
        if (twin.loss, twin.out_channels, twin.level) != (task.loss, task.out_channels, task.level):
            yield f"{name}() asks another kind of question: {twin.loss} with {twin.out_channels} outputs"
        yield from (f"{name}(): {fault}" for check in (_fields, _shapes) for fault in check(twin))


def _witness(task: Task) -> Iterator[str]:
    """An algorithm that the task offers as its witness answers at the ceiling."""
    score = None if task.fixed or task.level == "graph" else witness_score(task, torch.float64)
    if score is not None and not at_ceiling(task, score):
        yield (
            f"its witness scores {score:.4g} on graphs whose nodes are renumbered, and the ceiling is {task.ceiling:.4g}:"
            " the witness is wrong or reads node numbers, or the task does"
        )


TASK_CHECKS: dict[str, Callable[[Task], Iterator[str]]] = {
    "fields": _fields,
    "shapes": _shapes,
    "tokens": _tokens,
    "structure": _structure,
    "randomness": _randomness,
    "variety": _variety,
    "splits": _splits,
    "node order": _order,
    "node numbers": _numbers,
    "varying": _varying,
    "twins": _twins,
    "witness": _witness,
}


# models


class Made(NamedTuple):
    """What `MODEL_CHECKS` take: a model, if any the encoding of nodes that x ends with, and the rewiring of what it runs on."""

    ref: ModelRef
    encoding: FactorRef | None = None
    rewiring: FactorRef | None = None


def _fresh(made: Made, seed: int = 0, num_layers: int = NUM_LAYERS, hidden_channels: int = HIDDEN_CHANNELS) -> nn.Module:
    """Return the model in float64 and eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(made.ref, IN_CHANNELS, hidden_channels, num_layers, OUT_CHANNELS, made.encoding).double().eval()


def _graph(num_nodes: int, seed: int) -> Data:
    """A path with a triangle at one end and a leaf on its second node: connected, irregular, not bipartite, long."""
    path = torch.stack([torch.arange(num_nodes - 2), torch.arange(1, num_nodes - 1)])
    extra = torch.tensor([[0, 1], [2, num_nodes - 1]])
    x = torch.randn(num_nodes, IN_CHANNELS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    every = torch.arange(num_nodes)
    edge_index = to_undirected(torch.cat([path, extra], dim=1), num_nodes=num_nodes)
    return Data(x=x, edge_index=edge_index, y=torch.zeros(num_nodes), readout_index=every)


def _rewired(made: Made, graph: Data) -> Data:
    """Return the graph as the rewiring of `made`, if any, leaves it: new nodes at the end, x = 0, nothing asked there."""
    if made.rewiring is None:
        return graph
    num_nodes, edges = graph.num_nodes, graph.edge_index
    found = rewire(load_rewiring(made.rewiring), edges, num_nodes, graph.readout_index[:1])
    x = F.pad(graph.x, (0, 0, 0, found.num_nodes - num_nodes))
    return Data(x=x, edge_index=found.edge_index, y=graph.y, readout_index=graph.readout_index, original_index=edges)


def _output(model: nn.Module, *graphs: Data) -> Tensor:
    """Return the output at all nodes of the graphs, batched: [num_nodes, out_channels]."""
    out: Tensor = graph_batch(list(graphs), getattr(model, "needs", frozenset())).forward(model)[0]
    return out


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-8, atol=1e-10)


def _declarations(made: Made) -> Iterator[str]:
    """The class attributes are there and say known things."""
    model = _fresh(made)
    for name in ("needs", "global_channel", "operator", "reach"):
        if not hasattr(model, name):
            yield f"declares no `{name}`; docs/architecture.md lists what a model declares"
    if unknown := sorted(set(getattr(model, "needs", ())) - set(ENCODINGS)):
        yield f"needs '{unknown[0]}', which is no encoding; known: {', '.join(sorted(ENCODINGS))}"
    if unknown := sorted(set(getattr(model, "global_channel", ())) - CHANNELS):
        yield f"global_channel has '{unknown[0]}'; known: {', '.join(sorted(CHANNELS))}"
    if getattr(model, "operator", "none") not in OPERATORS:
        yield f"operator is '{model.operator}'; known: {', '.join(sorted(OPERATORS))}"


def _states(made: Made) -> Iterator[str]:
    """encode gives [H0, ..., HL], a row per node; decode of it is forward."""
    for num_layers in (1, NUM_LAYERS):
        model, graph = _fresh(made, num_layers=num_layers), _graph(9, 0)
        named = {name: one.unsqueeze(0) for name, one in encoded(getattr(model, "needs", frozenset()), graph).items()}
        out = model(graph.x, graph.edge_index, **named)
        if tuple(out.shape) != (9, OUT_CHANNELS) or not bool(out.isfinite().all()):
            yield f"forward must give finite [num_nodes, out_channels] = (9, {OUT_CHANNELS}); gives {tuple(out.shape)}"
        hidden = model.encode(graph.x, graph.edge_index, **named)  # type: ignore[operator]
        if len(hidden) != num_layers + 1:
            yield f"encode must give num_layers + 1 = {num_layers + 1} states; gives {len(hidden)}"
        if not all(state.dim() == 2 and state.size(0) == 9 for state in hidden):
            yield f"each state must be [num_nodes, channels]; they are {[tuple(state.shape) for state in hidden]}"
        if not torch.equal(model.decode(hidden), out):  # type: ignore[operator]
            yield "decode(encode(x, edge_index)) is not forward(x, edge_index)"


def _equivariance(made: Made) -> Iterator[str]:
    """Renumbering nodes renumbers the output: in eval, and in training, unless dropout there tells places apart."""
    model, graph = _fresh(made), _rewired(made, _graph(9, 0))
    if made.rewiring is not None and "expander" in getattr(model, "needs", ()):
        return  # which tells nodes of one colour apart by number, and a rewiring may make nodes alike
    order = torch.cat([torch.randperm(9, generator=torch.Generator().manual_seed(3)), torch.arange(9, graph.num_nodes)])
    edges = {name: order.argsort()[graph[name]] for name in ("edge_index", "original_index") if name in graph}
    renumbered = Data(x=graph.x[order], y=graph.y, readout_index=graph.readout_index, **edges)
    for mode in ("eval mode",) if getattr(model, "random", False) else ("eval mode", "training"):
        model.train(mode == "training")
        if not _same(_output(model, renumbered), _output(model, graph)[order[:9]]):
            yield f"in {mode}, renumbering the nodes changes the output: nothing may depend on a node's place"


def _batching(made: Made) -> Iterator[str]:
    """A graph's output does not depend on the others of its batch; in training it may under norm(train) alone."""
    one, other, third = (_rewired(made, graph) for graph in (_graph(9, 0), _graph(6, 1), _graph(12, 2)))
    model = _fresh(made)
    if not _same(_output(model, one, other, third), torch.cat([_output(model, graph) for graph in (one, other, third)])):
        yield "in eval mode the other graphs of a batch change a graph's output: use `batch`, or node-wise norms"
    declared = "norm(train)" in getattr(model, "global_channel", frozenset())
    if getattr(model, "random", False):
        return
    model.train()
    if not declared and not _same(_output(model, one, other)[:9], _output(model, one)):
        yield "in training the graphs of a batch are coupled: declare 'norm(train)' in global_channel"


def _gradients(made: Made) -> Iterator[str]:
    """Every parameter moves the output, in eval and in training: with one of a few initialisations and draws of dropout.

    A maximum, a ReLU or an edge that is dropped may leave one out by chance.
    """
    for mode in ("eval mode", "training"):
        first = _moves(_fresh(made).train(mode == "training"), 0)
        still = {name for name, moves in first.items() if moves is False}
        for seed in (1, 2):
            if still:
                moves = _moves(_fresh(made, seed).train(mode == "training"), seed)
                still = {name for name in still if not moves[name]}
        for name, used in first.items():
            if used is None:
                yield f"in {mode}, parameter {name} is not used"
            elif name in still:
                yield f"in {mode}, the gradient of parameter {name} is 0 everywhere"


def _moves(model: nn.Module, seed: int) -> dict[str, bool | None]:
    """Return whether the gradient of each parameter is somewhere not 0; None where autograd knows of no use of it."""
    with torch.random.fork_rng(devices=[]):  # dropout, while training
        torch.default_generator.manual_seed(seed)
        out = _output(model, _graph(9, 0), _graph(12, 2))
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(4), dtype=out.dtype)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad((out * weight).sum(), list(parameters.values()), allow_unused=True)
    return {name: None if g is None else bool(g.any()) for name, g in zip(parameters, gradients, strict=True)}


def _reach(made: Made) -> Iterator[str]:
    """What the output depends on is what `reach` and `global_channel` declare, exactly: derivatives beyond are 0.

    A few initialisations may be tried, for a ReLU or an action may shut the farthest way by chance.
    """
    model = _fresh(made)
    channel = set(getattr(model, "global_channel", ())) - {"norm(train)"}
    reach = getattr(model, "reach", None)
    graph = _rewired(made, _graph(max(12, 8 + (reach or 0)), 0))  # its farthest nodes are out of reach, unless it is rewired
    found, farthest = _structural_reach(model, graph)
    expected = farthest if reach is None else min(reach, farthest)
    for seed in (1, 2):
        if found < expected:
            found = max(found, _structural_reach(_fresh(made, seed), graph)[0])
    if channel and reach is not None:
        yield f"reach must be None with global_channel {sorted(channel)}, is {reach}"
    elif not channel and reach is None:
        yield "reach must be a number of hops where global_channel is empty (norm(train) aside), is None"
    if reach is None and found < farthest:
        yield f"declares a channel to every node, yet no output depends on what is more than {found} hops away"
    if reach is not None and found != expected:
        yield f"declares reach {reach}, yet outputs depend on nodes up to {found} hops away (of {farthest} in the graph)"


def _structural_reach(model: nn.Module, graph: Data) -> tuple[int, int]:
    """Return the largest distance at which any derivative is not 0 (0 for a constant), and the largest distance there is."""
    x = graph.x.clone().requires_grad_()
    seen = graph.clone()
    seen.x = x
    out = _output(model, seen)
    rows = [torch.autograd.grad(row.sum(), x, retain_graph=True, allow_unused=True)[0] for row in out]
    felt = torch.stack([torch.zeros(len(x)) if row is None else row.abs().sum(1) for row in rows]) != 0
    hops = hop_distance(graph.edge_index, graph.readout_index, graph.num_nodes)
    return int(hops[felt].max()) if bool(felt.any()) else 0, int(hops.max())


def _edges(made: Made) -> Iterator[str]:
    """Whether the edges that it runs on change anything is what `reads_edges` declares; encodings of the task's graph stay."""
    model, graph, rng = _fresh(made), _graph(9, 0), torch.Generator().manual_seed(5)
    for parameter in model.parameters():  # what is 0 at first may read edges all the same
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
    without = Data(
        x=graph.x,
        edge_index=graph.edge_index[:, :0],
        y=graph.y,
        readout_index=graph.readout_index,
        original_index=graph.edge_index,
    )
    declared, changed = getattr(model, "reads_edges", True), not _same(_output(model, without), _output(model, graph))
    if changed and not declared:
        yield "declares reads_edges = False, yet taking the edges away changes the output"
    elif declared and not changed:
        yield "taking all edges away changes no output: declare reads_edges = False, or it counts as a model that sees the graph"


def _skips(made: Made) -> Iterator[str]:
    """What `skips` says passes the operator by is what the Jacobians of layers show.

    At none and added, nodes that the operator does not join are not felt, but by a norm over the graph that is declared; with
    all weights of layers 0 nothing is left of the state before, or, added, the state itself; and under a mean over all nodes
    a node feels itself as it feels the others. `other` promises nothing.
    """
    model, graph = _fresh(made, hidden_channels=FEW_CHANNELS), _graph(5, 0)
    declared, operator = getattr(model, "skips", "other"), getattr(model, "operator", "none")
    if declared not in SKIPS:
        yield f"skips is '{declared}'; known: {', '.join(sorted(SKIPS))}"
    if declared not in ("none", "added"):
        return
    size, advice = graph.x.size(0), "declare skips = 'other'"
    joined = torch.eye(size, dtype=torch.bool)
    if operator != "none":
        joined[graph.edge_index[1], graph.edge_index[0]] = True
    jacobians = _layer_jacobians(model, graph)
    if operator == "complete":
        felt = [jacobian.sum(1) for jacobian in jacobians]  # [nodes, nodes before, channels before]
        if declared == "none" and not all(_same(block, block[:, :1].expand_as(block)) for block in felt):
            yield f"declares skips 'none', yet a node feels itself otherwise than by the mean over all: {advice}"
    elif "norm" not in getattr(model, "global_channel", ()) and any(
        bool((j != 0).any(3).any(1)[~joined].any()) for j in jacobians
    ):
        yield f"declares skips '{declared}', yet a layer feels nodes that the operator '{operator}' does not join: {advice}"
    weights = [weight for part in getattr(model, "trunk", ()) for weight in part.parameters()]
    for weight in weights:
        weight.data.zero_()
    for jacobian in _layer_jacobians(model, graph) if weights else ():
        square = jacobian.flatten(2).flatten(0, 1)
        kept = torch.eye(len(square)) if declared == "added" and square.size(0) == square.size(1) else torch.zeros(())
        if not _same(square, kept.to(square).expand_as(square)):
            yield f"declares skips '{declared}', yet with weights of 0 its layers hand on something else: {advice}, or what is"
            return


def _layer_jacobians(model: Any, graph: Data) -> list[Tensor]:
    """Return d H^l / d H^(l-1) by layer: [num_nodes, channels, num_nodes, channels before]."""
    named = {name: one.unsqueeze(0) for name, one in encoded(getattr(model, "needs", frozenset()), graph).items()}
    found = []
    for before, after in pairwise(model.encode(graph.x.clone().requires_grad_(), graph.edge_index, **named)):
        rows = [
            torch.autograd.grad(value, before, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for value in after.flatten()
        ]
        found.append(torch.stack(rows).view(*after.shape, *before.shape))
    return found


def _pe_reach(made: Made) -> Iterator[str]:
    """Pairs farther apart than `pe_reach` are alike to encodings of pairs, and one hop less they are not; on a path."""
    model, rng = _fresh(made), torch.Generator().manual_seed(6)
    declared: int | None = getattr(model, "pe_reach", 0)
    if not PAIRS.intersection(getattr(model, "needs", ())):
        if declared != 0:
            yield f"pe_reach must be 0 without an encoding of pairs among its needs, is {declared}"
        return
    for parameter in model.parameters():  # biases that are 0 at first tell nothing yet
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
    size = 4 + (20 if declared is None else declared)
    node = torch.arange(size)
    edge_index = to_undirected(torch.stack([node[:-1], node[1:]]))
    graph = Data(x=torch.randn(size, IN_CHANNELS, generator=rng, dtype=torch.float64), edge_index=edge_index, num_nodes=size)
    encodings, hops = encoded(model.needs, graph), (node.unsqueeze(1) - node).abs()  # type: ignore[arg-type]

    def output(seen: int) -> Tensor:
        """What pairs more than `seen` hops apart are said to be is what the first at `seen` + 1 hops is."""
        found = {name: pairs.clone() for name, pairs in encodings.items()}
        for name in PAIRS & found.keys():
            found[name][hops > seen] = encodings[name][0, seen + 1]
        out: Tensor = model(graph.x, edge_index, **{name: pairs.unsqueeze(0) for name, pairs in found.items()})
        return out

    if declared is None or declared > 0:
        nearer = size - 3 if declared is None else declared - 1
        if torch.equal(output(nearer), output(nearer + 1)):
            yield f"declares pe_reach {declared}, yet pairs {nearer + 1} hops apart are as those farther away to it"
    if declared is not None and not torch.equal(output(declared), output(size - 2)):
        yield f"declares pe_reach {declared}, yet encodings tell it farther distances from each other"


def _saving(made: Made) -> Iterator[str]:
    """Weights written to safetensors and read into a model made from another seed give the same output."""
    graph, model, other = _graph(9, 0), _fresh(made, seed=0), _fresh(made, seed=1)
    other.load_state_dict(load_weights(save_weights(model.state_dict())))
    if not torch.equal(_output(other, graph), _output(model, graph)):
        yield "loading its weights into a new model changes the output: keep every number in parameters or buffers"


def _model_determinism(made: Made) -> Iterator[str]:
    """One seed, one model and, in training, one output; in eval mode one input, one output, and no random numbers."""
    graph, model = _graph(9, 0), _fresh(made)
    if any(not torch.equal(a, b) for a, b in zip(model.parameters(), _fresh(made).parameters(), strict=True)):
        yield "the same seed gives other weights: draw them from torch's global generator"
    state, out = torch.get_rng_state(), _output(model, graph)
    if not torch.equal(_output(model, graph), out):
        yield "in eval mode the same input gives another output"
    if not torch.equal(torch.get_rng_state(), state):
        yield "in eval mode random numbers are drawn"
    with torch.random.fork_rng(devices=[]):
        trained = []
        for _ in range(2):
            model = _fresh(made).train()
            torch.default_generator.manual_seed(7)
            state = torch.get_rng_state()
            trained.append(_output(model, graph))
        drawn = not torch.equal(torch.get_rng_state(), state)
    if not torch.equal(*trained):
        yield "in training the same seed gives another output: draw random numbers from torch's global generator"
    if drawn and isinstance(model, Model) and not model.random:
        yield "in training random numbers are drawn: declare random = True, or seeds that train together share them"


MODEL_CHECKS: dict[str, Callable[[Made], Iterator[str]]] = {
    "declarations": _declarations,
    "hidden states": _states,
    "equivariance": _equivariance,
    "batching": _batching,
    "gradients": _gradients,
    "reach": _reach,
    "edges": _edges,
    "skips": _skips,
    "pe_reach": _pe_reach,
    "saving": _saving,
    "determinism": _model_determinism,
}
REWIRED_CHECKS = ("equivariance", "batching", "reach")

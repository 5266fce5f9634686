"""Diagnosis: every measure that applies to one model and some graphs, in sentences, as a table and as a figure.

`suite.diagnose(model, data)` takes any module that is called as PyG's are. Nothing is trained, and the model, its mode, its
gradients and global random state stay as they were.
"""

from __future__ import annotations

import base64
import html
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import is_undirected

from suite.diagnosis import picture
from suite.diagnosis.embedded import embedding_of
from suite.diagnosis.given import (
    ByNode,
    LastState,
    NoRowPerNodeError,
    by_node,
    edge_data_in,
    given,
    graphs_in,
    loss_of,
    of_numbers,
    unwrapped,
    without,
)
from suite.diagnosis.judged import Judged, judged, judged_by
from suite.diagnosis.untrained import NotKnownError, untrained
from suite.diagnosis.words import Finding, findings, plural
from suite.measures import FURTHER, MEASURES, Measure
from suite.measures.draws import draw
from suite.measures.frozen import EDGE_DATA, Frozen, Pass, edge_data_taken
from suite.refs import load
from suite.task import Level, Task, own_edges

if TYPE_CHECKING:
    from suite.diagnosis.shown import Shown

__all__ = ["Diagnosis", "diagnose"]

WIDTH, INDENT = 80, 16  # columns of the printed summary, and of its topics
LOSSES = {
    "cross_entropy": "cross-entropy",
    "binary_cross_entropy": "binary cross-entropy",
    "mse": "squared error",
    "mae": "absolute error",
}
AXES = ("hops", "epsilons")  # lists that say where values are, and are none
EMBEDDED = "What its embedding makes of x stands in for x, also of the model untrained: x are whole numbers."
NO_LAYERS = (
    "The model tells no hidden states and has no PyG convolutions: nothing can be said by layer. Methods encode(x, edge_index),"
    " which returns the list of its states [H0, ..., HL], and decode(hidden), which makes the output of them, would tell."
)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What the measures say of a model on some graphs; prints as its summary, and shows itself in a notebook.

    Attributes:
        model: the name of its class.
        data: what it was looked at on.
        num_parameters: of the model.
        num_layers: hidden states after the first: the model's own, or those that its PyG convolutions return.
        measures: results by the name of the measure, as the table `MEASURES` documents them; JSON values.
        absent: why a measure was not taken, by its name.
        remarks: what has to be known of how it was looked at.
        initial: what the measures that depend on weights say of the same model untrained; {} where that is not known.
    """

    model: str
    data: str
    num_parameters: int
    num_layers: int
    measures: dict[str, dict[str, Any]]
    absent: dict[str, str]
    remarks: tuple[str, ...] = ()
    initial: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def findings(self) -> dict[str, Finding]:
        """What there is to say, by topic: in a few words (`short`) and in sentences (`text`)."""
        return findings(self.measures, self.num_layers)

    @property
    def sentences(self) -> dict[str, str]:
        """The whole summary, by topic: what was looked at, in short, each finding, and what was not measured and why."""
        found = self.findings
        size = f"{plural(self.num_parameters, 'parameter')}, {plural(self.num_layers, 'layer')}"
        said = {"Model": f"{self.model} ({size}).", "Looked at": " ".join([f"{self.data}.", *self.remarks])}
        said |= {"In short": "; ".join(finding.short for finding in found.values() if finding.short) + "."} if found else {}
        said |= {topic: finding.text for topic, finding in found.items()}
        before = [finding.short for finding in findings(self.initial, self.num_layers).values() if finding.short]
        said |= {"Untrained": f"With weights drawn anew: {'; '.join(before)}."} if before else {}
        missing = "; ".join(f"{name}: {reason}" for name, reason in self.absent.items())
        return said | ({"Not measured": f"{missing.removesuffix('.')}."} if missing else {})

    def __repr__(self) -> str:
        lines = [
            textwrap.fill(
                text, WIDTH, initial_indent=f"{topic:<{INDENT}}", subsequent_indent=" " * INDENT, break_on_hyphens=False
            )
            for topic, text in self.sentences.items()
        ]
        return "\n".join(lines)

    def to_frame(self) -> pd.DataFrame:
        """Return every number of the measures, a row each.

        Columns: `measure`, `quantity`, `axis` ("layer", "hop", "index" or ""), `at` (the place on that axis), `value` and
        `initial`, that of the same model untrained; NaN where a value is not defined. Names, which are no numbers, are left out.
        """
        before = {(name, *row[:3]): row[3] for name, found in self.initial.items() for row in _numbers(found, self.num_layers)}
        rows = [
            (name, *row, before.get((name, *row[:3])))
            for name, found in self.measures.items()
            for row in _numbers(found, self.num_layers)
        ]
        frame = pd.DataFrame(rows, columns=["measure", "quantity", "axis", "at", "value", "initial"])
        return frame.astype({"at": "Int64", "value": "float64", "initial": "float64"})

    @property
    def numbers(self) -> dict[str, Any]:
        """What `suite.diagnosis.picture.draw` draws from."""
        return {"measures": self.measures, "initial": self.initial, "num_layers": self.num_layers}

    def plot(self) -> Shown:
        """Return a matplotlib figure: influence by hop; Rayleigh quotient, rank, own tokens and gradients by layer.

        A notebook shows it where it ends a cell.

        Raises ModuleNotFoundError where matplotlib is not installed, which the package `suite` itself does without.
        """
        return picture.draw(self.numbers)

    def to_pdf(self, path: str | Path) -> Path:
        """Write the page that `run_all.py diagnose` writes, sentences and figure, to `path`, and return it.

        The same diagnosis gives the same bytes. Raises ModuleNotFoundError outside a checkout of the project: pages are made by
        `reports`, which the package `suite` itself does without; and OSError where nothing can be written to `path`.
        """
        try:
            write = load("reports.diagnosis:write_diagnosis")
        except ImportError as error:
            raise ModuleNotFoundError(
                "to_pdf: pages are made by the folder reports/ of a checkout and what requirements.txt lists for it;"
                f" plot().savefig(path) writes the figure alone ({error})"
            ) from error
        return Path(write(self, Path(path)))

    def _repr_html_(self) -> str:
        """Return the summary and, where matplotlib is installed, the figure, as notebooks show it."""
        rows = "".join(f"<dt><b>{html.escape(t)}</b></dt><dd>{html.escape(s)}</dd>" for t, s in self.sentences.items())
        try:
            figure = self.plot()
        except ModuleNotFoundError:
            return f"<dl>{rows}</dl>"
        encoded = base64.b64encode(figure._repr_png_()).decode()
        alt = "Influence by hop; Rayleigh quotient, effective rank, own tokens and gradients by layer"
        return f'<dl>{rows}</dl><img alt="{alt}" style="max-width: 45em; width: 100%" src="data:image/png;base64,{encoded}">'


def diagnose(model: nn.Module, data: Data | Sequence[Data] | Task, seed: int = 0) -> Diagnosis:
    """Take every measure that applies to `model` on `data`.

    The model is any module with `forward(x, edge_index)`, and `batch` where it looks past the edges, or with `forward(data)`; one
    in the wrapper of `torch.compile` or of data parallelism is that module itself. Hidden states are its own
    (`encode` and `decode`, as the suite's models have them) or what its PyG convolutions return. `data` is a graph, several, of
    which 8 are looked at, or a task of the suite. A graph may have `readout_index` (else up to 32 of all nodes are asked),
    `source_index`, and `y`, by which gradients are measured: classes or numbers at these nodes, or of the whole graph where
    that is what the model gives. `edge_weight` and `edge_attr` are passed where all graphs have them and the model has
    parameters of these names; the summary says so.

    The same model untrained is measured beside it (`Diagnosis.initial`): made again where it is of the suite, else a copy after
    `reset_parameters`.

    Where x are whole numbers that the model looks up in an embedding, what that makes of them stands in for x.

    Float64, on a copy in eval mode; the same arguments give the same numbers. Random parts (read-out nodes, planted tokens)
    come from streams of `seed`.

    Raises ValueError where the model is not called like that, has parameters that no call has given a size yet, or returns
    neither a row per node nor has PyG convolutions that do; for data without finite features or edges, and for whole numbers
    that it does not read through an embedding alone. TypeError for a model that is no module. What the model itself raises on
    the first graph comes through.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: must be a torch.nn.Module, made and not its class or name, got {model!r:.60}")
    model = unwrapped(model)
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        raise ValueError(f"{type(model).__name__}: has lazy parameters; call it once on your data, so that they get their size")
    graphs = draw(data, seed, 0) if isinstance(data, Task) else graphs_in(data)
    embedding = None
    if not any(graph.x.is_floating_point() for graph in graphs):
        embedding, graphs = embedding_of(model, graphs, _output) or (None, graphs)
    own = model if embedding is None else embedding.replaced(model)
    graphs, seen, first, edges = _with_edge_data(own, of_numbers(graphs))
    operator = judged(model, first, graphs[0])
    seen = judged_by(seen, operator)
    tasks, unanswered = _tasks(data, graphs, seen, first.output.size(1))
    rewired = any("original_index" in graph for graph in graphs)
    absent = {"gradient": unanswered} if unanswered else {}
    known = {name: entry for name, entry in (MEASURES | FURTHER).items() if not entry.cells and (rewired or not entry.rewired)}
    wanted = {name: entry for name, entry in known.items() if name not in absent}
    measures, failed = _measured(wanted, seen, tasks, seed)
    absent |= failed
    before: dict[str, dict[str, Any]] = {}
    unknown: tuple[str, ...] = ()
    try:
        if (fresh := untrained(model, seed)) is not None:
            fresh = fresh if embedding is None else embedding.replaced(fresh)
            again = LastState(fresh) if isinstance(seen, LastState) else by_node(fresh, edge_data_in(graphs))
            again = judged_by(again, operator)
            before, _ = _measured({n: wanted[n] for n in measures if wanted[n].weights}, again, tasks, seed)
    except NotKnownError as error:
        unknown = (f"What it was untrained is not known: {error}.",)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    about, remarks = _about(data, graphs, measures), _remarks(seen, first, operator)
    if not all(is_undirected(own_edges(graph), num_nodes=graph.num_nodes) for graph in graphs):
        remarks += ("Some edges go one way: hops, paths and cuts take them both ways.",)
    if "gradient" in measures:
        remarks += (f"Gradients are those of the {LOSSES[tasks.get('gradient', tasks['']).loss]} against y.",)
    remarks += () if embedding is None else (EMBEDDED,)
    remarks += (*edges, "Derivatives are by x, with encodings and edges held as they are.", *unknown)
    return Diagnosis(type(model).__name__, about, num_parameters, len(first.hidden) - 1, measures, absent, remarks, before)


def _measured(
    wanted: dict[str, Measure], seen: nn.Module, tasks: dict[str, Task], seed: int
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return what the measures say, and of those that cannot be taken why."""
    measures, absent = {}, {}
    for name, measure in wanted.items():
        try:
            asked = seen.by_graph if measure.whole and isinstance(seen, LastState) else seen
            measures[name] = measure.run(asked, tasks.get(name, tasks[""]), seed)
        except (ValueError, ArithmeticError, RuntimeError) as error:  # said in the summary, and others are still measured
            absent[name] = str(error).partition("\n")[0]
    return measures, absent


def _with_edge_data(model: nn.Module, graphs: list[Data]) -> tuple[list[Data], nn.Module, Pass, tuple[str, ...]]:
    """Run the model first with all data of edges that it has parameters for, and return the graphs with what it took.

    A model that has such a parameter may yet refuse it (PyG's PNA made without `edge_dim`): then it goes without, as it was
    trained. Returns also the model as measures take it, what it gave on the first graph, and what there is to say.
    """
    there = edge_data_in(graphs)
    seen = by_node(model, there)
    taken = [name for name in there if name in edge_data_taken(seen)]
    graphs, refused = without(graphs, {*EDGE_DATA} - {*taken}), ""
    try:
        seen, first = _first_pass(seen, graphs[0])
    except Exception as error:
        if not taken:
            raise
        bare = without(graphs, taken)
        try:
            seen, first = _first_pass(by_node(model), bare[0])
        except Exception:  # it is not for the data of edges
            raise error from None
        graphs, refused = bare, f" ({type(model).__name__} refuses it: {type(error).__name__})"
    passed = [] if refused else taken
    left = [name for name in there if name not in passed]
    said = (f"Passed besides, and held: {' and '.join(passed)}.",) if passed else ()
    return graphs, seen, first, said + ((f"Not passed: {' and '.join(left)}{refused}.",) if left else ())


def _output(model: nn.Module, graph: Data) -> Tensor:
    """Return what measures take for the output of `model` on a graph."""
    return _with_edge_data(model, [graph])[2].output


def _first_pass(seen: nn.Module, graph: Data) -> tuple[nn.Module, Pass]:
    """Run the model as the measures will, and return it in the form they can take; what it raises says on what."""
    try:
        return seen, Frozen(seen).run([graph])
    except NoRowPerNodeError:
        last = LastState(seen.module)  # type: ignore[arg-type]  # ByNode alone raises it
        return last, Frozen(last).run([graph])
    except Exception as error:
        error.add_note(f"while running the model on x {list(graph.x.shape)}, in float64 and eval mode")
        raise


def _tasks(data: Any, graphs: Sequence[Data], seen: nn.Module, width: int) -> tuple[dict[str, Task], str]:
    """Return the task that a measure draws from, by its name, that of all others called "", and why there is no loss, if so."""
    by_graph = seen.by_graph if isinstance(seen, LastState) else None
    if isinstance(data, Task):
        fits = by_graph is None or data.level == "graph"
        return {"": data}, "" if fits else "the output has no row per node to hold against y"
    level: Level = "node" if by_graph is None else "graph"
    answers = width if by_graph is None else Frozen(by_graph).run(graphs[:1]).output.size(1)
    loss = loss_of(graphs, answers, level)
    tasks: dict[str, Task] = {"": given(graphs, width, None), "recoverability": given(graphs, width, None, repeated=True)}
    tasks["gradient"] = given(graphs, answers, loss, level)
    where = "at the read-out nodes that fits outputs" if by_graph is None else "of the graph that fits an output"
    return tasks, "" if loss else f"no y of classes or numbers {where} of width {answers}"


def _about(data: Any, graphs: Sequence[Data], measures: dict[str, dict[str, Any]]) -> str:
    """Say what was looked at: the graphs, their sizes, and at how many nodes they were asked."""
    sizes = sorted(int(graph.num_nodes or 0) for graph in graphs)
    nodes = plural(sizes[0], "node") if sizes[0] == sizes[-1] else f"{sizes[0]} to {plural(sizes[-1], 'node')}"
    what = plural(len(graphs), "graph")
    if isinstance(data, Task):
        what = f"Draws of {data.title}" + ("" if data.range is None else f" over {plural(data.range, 'hop')}")
    elif not isinstance(data, Data) and len(data) > len(graphs):
        what = f"{len(graphs)} of {plural(len(data), 'graph')}"
    asked = measures.get("influence", {}).get("num_readouts")
    return f"{what} of {nodes}" + ("" if asked is None else f", asked at {plural(asked, 'read-out node')}")


def _remarks(seen: nn.Module, first: Pass, operator: Judged) -> tuple[str, ...]:
    """Say what of the model was looked at, where that is not what it gives itself."""
    stand_in = (
        "The last hidden state stands in for the output, which has no row per node; mixing and gradients alone are its own."
    )
    remarks = [stand_in] if isinstance(seen, LastState) else []
    if isinstance(seen, ByNode):
        told = "its layers are what its PyG convolutions return"
        remarks.append(f"The model does not tell its hidden states: {told}." if len(first.hidden) > 1 else NO_LAYERS)
        if first.beside:
            remarks.append(f"{plural(first.beside, 'result')} of convolutions beside that line left out.")
    remarks += [f"Of its outputs '{first.counts}' counts."] if first.counts else []
    return (*remarks, operator.text) if len(first.hidden) > 1 else tuple(remarks)


def _numbers(
    found: dict[str, Any], num_layers: int, prefix: str = "", hops: list[int] | None = None
) -> Iterator[tuple[str, str, int | None, float | None]]:
    """Yield quantity, axis, place and value of every number of a measure's result; `hops` are those of the result it is in."""
    hops = found.get("hops", hops)
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _numbers(value, num_layers, f"{prefix}{name}.", hops)
        elif isinstance(value, list):
            on_hops = hops is not None and len(value) == len(hops)
            axis = "hop" if on_hops else "layer" if len(value) == num_layers + 1 else "index"
            yield from ((f"{prefix}{name}", axis, at, item) for at, item in enumerate(value) if name not in AXES)
        elif value is None or isinstance(value, int | float):
            yield f"{prefix}{name}", "", None, value

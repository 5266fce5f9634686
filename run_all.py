"""hopscope: how far does information travel in a graph model, and what stops it?

    python run_all.py                              the standard study
    python run_all.py --study quick                a first look in minutes
    python run_all.py --task path/to/file.py:Name  your own task
    python run_all.py --model path/to/file.py:Name your own model, beside all others
    python run_all.py certify transfer hops=5      what a task needs
    python run_all.py diagnose file.py:Name        what a model does to information
    python run_all.py new-task path_parity         a task of your own to begin with
    python run_all.py run --help                   all options of a run

Without a command: run. Exit codes: 0 done, 2 usage, 3 failed cells, 130 stopped.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Literal, get_args

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, UseAppendAction, arg

from suite.costs import Costs
from suite.expansion import Expansion, expand
from suite.progress import Lines, Screen, asked, at_hops, duration, place
from suite.provenance import arguments, public
from suite.refs import reason_of, unknown
from suite.runner import Planner, Runner, give_up, processes, time_steps, warm_up
from suite.store import Store, StoreError, Tier
from suite.study import Study, StudyError, load_study
from suite.survey import State, all_lines, left_out, survey
from suite.tasks import find_task, make_task, num_nodes_of
from suite.tuning import Outcomes
from suite.worker import Job

ROOT = Path(__file__).resolve().parent
DONE, USAGE, FAILED, INTERRUPTED = 0, 2, 3, 130

StudyName = Annotated[str, arg(metavar="NAME|FILE")]
ModelName = Annotated[str, arg(metavar="NAME|FILE:NAME")]
Graphs = Annotated[
    tuple[str, ...], arg(metavar="FILE.pt|TASK [FIELD=VALUE]", help_behavior_hint="(default: a small standard set)")
]
Weights = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: freshly drawn)")]
TaskName = Annotated[str, arg(metavar="NAME|FILE:NAME")]
Names = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME|FILE:NAME", help_behavior_hint="")]
Fields = Annotated[tuple[str, ...], arg(metavar="FIELD=VALUE", help_behavior_hint="")]
Seeds = Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the study's)")]
Workers = Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: number of cores)")]
Folder = Annotated[Path, arg(metavar="DIR")]
DataRoot = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")]
Retry = Annotated[Literal["error", "oom", "timeout", "all"] | None, arg(metavar="error|oom|timeout|all", help_behavior_hint="")]

console = Console(highlight=False)


class UsageError(ValueError):
    """What was asked for cannot be done; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["run", *argv]
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the cores belong to the workers
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    commands: dict[str, Callable[..., int]] = {
        "run": run,
        "status": status,
        "report": report,
        "list": list_,
        "certify": certify,
        "diagnose": diagnose,
        "new-task": new_task,
    }
    try:
        code: int = tyro.extras.subcommand_cli_from_dict(commands, prog="run_all.py", description=__doc__, args=argv)
        return code
    except (UsageError, StudyError, StoreError) as error:
        print(f"--out: {error}" if isinstance(error, StoreError) else error, file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        return INTERRUPTED


def run(
    *,
    study: StudyName = "standard",
    task: Names = (),
    model: Names = (),
    seeds: Seeds = None,
    out: Folder = Path("results"),
    data_root: DataRoot = None,
    workers: Workers = None,
    retry: Retry = None,
) -> int:
    """Train what is missing of a study, measure it, and write the report.

    Args:
        study: One of those that `list` shows, or your own TOML file.
        task: Ask only this task: of the study, or yours, file.py:Name or module:Name; may be repeated.
        model: Put this model into every part of the study: one of the list, file.py:Name or module:Name; may be repeated.
        seeds: Training runs per condition.
        out: Where records and reports go.
        data_root: Folder with copies of published data sets, for machines without network.
        workers: Processes that train at the same time.
        retry: Failures of earlier runs to try again although nothing has changed.
    """
    for name, value in (("seeds", seeds), ("workers", workers)):
        if value is not None and value < 1:
            raise UsageError(f"--{name}: must be >= 1, got {value}")
    if data_root is not None:
        if not data_root.is_dir():
            raise UsageError(f"--data-root: no folder at {data_root}")
        os.environ["HOPSCOPE_DATA_ROOT"] = str(data_root.resolve())  # tasks read it, here and in every worker
    grid = load_study(_study_file(study))
    store, folder = Store(out / "store"), out / grid.name
    store.prepare()
    if not (folder / "cells.json").exists():  # there is something to do: workers import while we do
        warm_up()
    grid = grid.with_models(model) if model else grid
    grid = grid if seeds is None else grid.with_seeds(seeds)
    about = {"study": grid.name, "study_sha256": grid.file_sha256, "argv": arguments(sys.argv[1:])}
    again = ("error", "oom", "timeout") if retry == "all" else (retry,) if retry else ()
    planner = Planner(store, retry=frozenset(again), run=about)
    listing = _run_to_the_end(grid, task, planner, folder, workers or _cores())
    found = survey(listing, store)
    print(f"{grid.name}: " + ", ".join(f"{count} {state}" for state, count in found.counts.most_common()))
    _say_problems(found.problems, listing)
    print(_write_report(folder, store))
    return FAILED if found.failed else DONE


def status(*, study: StudyName = "standard", out: Folder = Path("results")) -> int:
    """Say what of a study is done, failed and missing.

    Args:
        study: A study that was run before.
        out: Where its records and reports are.
    """
    listing, _, store = _ran_before(study, out)
    found = survey(listing, store)
    groups: dict[tuple[str, str], set[str]] = {}
    for line in all_lines(listing):
        groups.setdefault((asked(line), line["title"]), set()).add(line["key"])
    states = [state for state in get_args(State) if state == "done" or found.counts[state]]
    table = Table("task", "model", box=None, pad_edge=False)
    for state in states:
        table.add_column(state, justify="right")
    for (task, model), keys in groups.items():
        counts = Counter(found.states[key] for key in keys)
        table.add_row(task, model, *(str(counts[state] or "") for state in states))
    console.print(table)
    more = [f"{listing['waiting']} more after tuning"] if listing.get("waiting") else []
    print(f"{listing['study']['name']}: " + ", ".join([*(f"{found.counts[state]} {state}" for state in states), *more]))
    _say_problems(found.problems, listing)
    return FAILED if found.failed else DONE


def report(*, study: StudyName = "standard", out: Folder = Path("results")) -> int:
    """Write the report of what is there, without training anything.

    Args:
        study: A study that was run before.
        out: Where its records and reports are.
    """
    _, folder, store = _ran_before(study, out)
    print(_write_report(folder, store))
    return DONE


def list_() -> int:
    """List studies, tasks, topologies, models, encodings, rewirings, mitigations and measures."""
    with console.status("Loading ..."):
        from datasets import TASKS, TOPOLOGIES
        from suite.factors import PAIR_TITLES, family_of
        from suite.measures import FURTHER, MEASURES
        from suite.models import MODELS, layered, stack
        from suite.models.layers import NORMS
        from suite.models.mitigations import FOR_ALL, Mitigations
        from suite.models.node_encodings import NODE_ENCODINGS
        from suite.models.rewirings import REWIRINGS

    of_pairs = {name: f"{title}, of pairs of nodes: for attention among all nodes." for name, title in PAIR_TITLES.items()}
    kinds = {
        "studies": {path.stem: load_study(path).title for path in sorted((ROOT / "studies").glob("*.toml"))},
        "tasks": {name: _about(cls, TASKS.values()) for name, cls in TASKS.items()},
        "topologies": {name: _about(cls, TOPOLOGIES.values()) for name, cls in TOPOLOGIES.items()},
        "models": {
            name: _about_model(f"{entry.title} ({family_of(name)})", entry.own_settings) for name, entry in MODELS.items()
        },
        "encodings": {name: _first_line(cls) for name, cls in NODE_ENCODINGS.items()} | of_pairs,
        "rewirings": {name: _first_line(cls) for name, cls in REWIRINGS.items()},
        "mitigations": {name: Mitigations.model_fields[name].description or "" for name in sorted(FOR_ALL)},
        "mitigations between layers": layered.MITIGATIONS | {"skip=post_norm": stack.POST_NORM},
        "norms of layers": {f"norm={name}": _first_line(norm) for name, norm in NORMS.items()},
        "measures": {name: _first_line(sys.modules[measure.run.__module__]) for name, measure in MEASURES.items()},
        "measures of diagnose": {name: _first_line(sys.modules[entry.run.__module__]) for name, entry in FURTHER.items()},
    }
    for kind, entries in kinds.items():
        table = Table(kind, "", box=None, pad_edge=False, title_justify="left")
        for name, about in entries.items():
            table.add_row(name, about)
        console.print(table, "", markup=False)
    return DONE


def certify(
    task: Positional[TaskName],
    fields: Positional[Fields] = (),
    *,
    tier: Tier = "quick",
    out: Folder = Path("results"),
) -> int:
    """Find out what a task needs, before any deep model is trained on it.

    Args:
        task: A task by name, or file.py:Name for your own.
        fields: Fields that differ from the defaults of the task, e.g. topology=barbell hops=5.
        tier: quick, or full: more seeds, what controls score radius by radius and on the true edges, shuffled answers.
        out: Where certificates are kept.
    """
    store = Store(out / "store")
    with console.status("Certifying ..."):
        try:
            ref, made = make_task(find_task(task, _task_refs()), dict(map(_field, fields)))
        except ValueError as error:
            raise StudyError(f"certify {task}", str(error).splitlines()) from error
        from suite import certify as certificates
        from suite.task import DataUnavailable

        try:
            num_nodes_of(ref)
            store.prepare()
            if certificates.VERSION not in store.certified(ref.key, tier):
                with processes(cores) if (cores := _cores()) > 1 else nullcontext() as pool:
                    found = public(certificates.certify(made, tier, pool))
                store.commit_certificate(ref.key, certificates.VERSION, found, tier)
        except DataUnavailable as error:
            raise UsageError(f"certify {task}: {error}") from error
        except certificates.MalformedError as error:
            raise StudyError(f"certify {task}", str(error).splitlines()) from error
    _say_certificate(store.certificate(ref.key) or {})
    return DONE


def diagnose(
    model: Positional[ModelName],
    *,
    data: Graphs = (),
    weights: Weights = None,
    hidden_channels: int = 64,
    num_layers: int = 8,
    seed: int = 0,
    out: Folder = Path("results"),
) -> int:
    """Measure what a model does to information on some graphs, without training anything.

    Args:
        model: A model by name, or file.py:Name of your own: a class, or a module that is made there.
        data: A .pt file with a Data or a list of them, or a task and its fields, e.g. transfer hops=5.
        weights: State dict of a trained model, .pt or .safetensors.
        hidden_channels: Width of a model that is made here.
        num_layers: Depth of a model that is made here.
        seed: Draws initial weights, graphs of a task, and what measures ask.
        out: Where the page goes.
    """
    for name, value in (("hidden-channels", hidden_channels), ("num-layers", num_layers)):
        if value < 1:
            raise UsageError(f"--{name}: must be >= 1, got {value}")
    with console.status("Measuring ..."):
        from suite import diagnose as measure
        from suite.diagnosis.named import named_model
        from suite.models import MODELS

        graphs = _graphs(data)
        try:
            made = named_model(model, _sizes(graphs, hidden_channels, num_layers), seed, weights)
            found = measure(made, graphs, seed)
            found = replace(found, model=MODELS[model].title) if model in MODELS else found
        except Exception as error:  # a stranger's code may raise anything
            raise UsageError(f"diagnose {model}: {reason_of(error)}") from error
    print(found)
    with console.status("Writing the page ..."):
        path = out / "diagnose" / f"{model.rpartition(':')[2]}.pdf"
        try:
            print(found.to_pdf(path))
        except OSError as error:
            raise UsageError(f"--out: cannot write to {path.parent}: {error.strerror}") from error
    return DONE


def new_task(name: Positional[Annotated[str, arg(metavar="NAME")]], *, folder: Folder = Path()) -> int:
    """Write a small task of your own and its test, to be changed into the one you want.

    Args:
        name: The module's name, e.g. path_parity; its class is then PathParity.
        folder: Where the two files go.
    """
    from suite.new_task import class_name, write_task

    try:
        module, test = write_task(name, folder)
    except (ValueError, OSError) as error:
        raise UsageError(f"new-task: {error}") from error
    print(f"{module}: the task; python run_all.py certify {module}:{class_name(name)} says what it needs")
    print(f"{test}: its test; python -m pytest {test}")
    return DONE


# steps of a run


def _run_to_the_end(grid: Study, only: Sequence[str], planner: Planner, folder: Path, workers: int) -> dict[str, Any]:
    """Train a study, in rounds as long as a condition waits for its tuning, and return it as `cells.json` then lists it.

    Raises KeyboardInterrupt where the user interrupted.
    """
    outcomes = Outcomes(planner.store)
    while True:
        with console.status("Reading the study ..."):
            expansion = expand(grid, _task_refs(), only, outcomes)
        if not outcomes.tried:
            _say_budgets(expansion)
        listing = expansion.listing(os.path.relpath(planner.store.root, folder))
        jobs, costs = _prepare(expansion, planner, outcomes.tried)
        _write_listing(folder, listing)
        if not _train(listing, jobs, costs, planner.store, workers):
            raise KeyboardInterrupt
        if not expansion.waiting:
            return listing
        outcomes.tried |= expansion.first.keys()


def _prepare(expansion: Expansion, planner: Planner, tried: Set[str]) -> tuple[list[Job], Costs]:
    """Return the jobs to run, the longest first; of the cells in `tried`, and of certificates then, none a second time.

    Every task they need draws a graph, so that a broken one stops us here.
    """
    with console.status("Looking for what is missing ..."):
        batches = [batch for batch in expansion.batches if not {cell.key for cell in batch} <= tried]
        plan = planner.plan(batches, [] if tried else [ref for ref, _ in expansion.tasks.values()])
        num_nodes, unavailable = _probe(plan.jobs, expansion)
    jobs = [job for job in plan.jobs if job.task_key not in unavailable]
    for key, reason in unavailable.items():
        without = [job for job in plan.jobs if job.task_key == key]
        give_up(planner.store, without, reason)
        print(f"{expansion.tasks[key][1].title} is left out: {reason}")
    if plan.given_up:
        how = ", ".join(f"{count} by {status}" for status, count in Counter(f["status"] for f in plan.given_up).items())
        print(f"{len(plan.given_up)} results failed before ({how}) and nothing has changed since; --retry tries again.")
    fixed = {key for key, (_, task) in expansion.tasks.items() if task.fixed}
    costs = Costs(planner.store, [entry.cell for entry in expansion.first.values()], num_nodes, fixed)
    batches, limit = costs.to_be_timed(jobs)
    if limit:
        with console.status("Timing a few steps ..."):
            costs.learn(*time_steps(batches, limit, planner.parts))
    return sorted(map(costs.with_time, jobs), key=costs.seconds, reverse=True), costs


def _probe(jobs: Iterable[Job], expansion: Expansion) -> tuple[dict[str, int], dict[str, str]]:
    """Draw a graph of every task of `jobs`; return the numbers of nodes, and why data cannot be had, by task key."""
    from suite.task import DataUnavailable

    num_nodes: dict[str, int] = {}
    unavailable: dict[str, str] = {}
    for key in dict.fromkeys(job.task_key for job in jobs):
        try:
            num_nodes[key] = num_nodes_of(expansion.tasks[key][0])
        except DataUnavailable as error:
            unavailable[key] = str(error)
    return num_nodes, unavailable


def _train(listing: dict[str, Any], jobs: list[Job], costs: Costs, store: Store, workers: int) -> bool:
    """Run `jobs` under the eyes of the user; return False where they interrupted."""
    cells = {line["key"] for line in all_lines(listing)}
    training = {piece.key for job in jobs for piece in job.pieces if piece.stage == "train"}
    certificates = sum(job.task is not None for job in jobs)
    done = sum(map(store.has, cells))
    unavailable = len(left_out(listing, store, (piece for job in jobs for piece in job.pieces)))
    without = f", {unavailable} unavailable" if unavailable else ""
    name = listing["study"]["name"]
    more = f", {listing['waiting']} more cells after tuning" if listing["waiting"] else ""
    certify = f"{certificates} {'task' if certificates == 1 else 'tasks'} to certify"
    print(f"{name}: {len(cells)} cells, {done} done, {len(training)} to train, {certify}{without}{more}")
    if not jobs:
        return True
    seconds = sum(map(costs.seconds, jobs)) / workers
    print(f"Roughly {duration(seconds)} on {workers} workers, were every run to use its whole budget of steps.")
    show = Screen if console.is_terminal else Lines
    with show(console, store, listing, jobs, costs.seconds, workers) as progress:
        return Runner(store, workers, progress).run(jobs)


def _say_budgets(expansion: Expansion) -> None:
    """Say how near the models come to the parameters that were asked of them, and which have no width to change."""
    budgets: dict[int, dict[str, float | None]] = {}
    for entry in expansion.every:
        if (budget := entry.budget) is not None:
            place = f"{entry.title} (L = {entry.cell.num_layers})"
            budgets.setdefault(budget.asked, {})[place] = None if budget.exempt else budget.got / budget.asked - 1
    for parameters, gaps in budgets.items():
        known = {place: gap for place, gap in gaps.items() if gap is not None}
        print(f"{parameters:,} parameters were asked of every model.", end="")
        if known:
            farthest = max(known, key=lambda place: abs(known[place] or 0))
            print(f" Farthest off: {farthest}, {known[farthest]:+.1%}.", end="")
        exempt = sorted({place.rpartition(" (L")[0] for place in gaps.keys() - known.keys()})
        print(f" Without a width, and so exempt: {', '.join(exempt)}." if exempt else "")


def _write_listing(folder: Path, listing: dict[str, Any]) -> None:
    """Write `cells.json` at once: a reader finds the old grid or the new one, whole."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".cells.json").write_text(json.dumps(listing, indent=1, ensure_ascii=False), encoding="utf-8")
        (folder / ".cells.json").replace(folder / "cells.json")
    except OSError as error:
        raise UsageError(f"--out: cannot write to {folder}: {error.strerror}") from error


def _write_report(folder: Path, store: Store) -> Path:
    with console.status("Writing the report ..."):
        from reports import build_report

        path: Path = build_report(folder, store.root)
    return path


def _say_problems(problems: Sequence[dict[str, Any]], listing: dict[str, Any]) -> None:
    """Name what failed, failures of one cause together."""
    lines = {line["key"]: f"{line['title']}, {asked(line)}, {place(line)}" for line in all_lines(listing)}
    lines |= {task["task_key"]: f"certificate of {at_hops(task)}" for task in listing["tasks"]}
    causes: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for problem in problems:
        causes.setdefault((problem["status"], problem["message"]), []).append(problem)
    for (status, message), alike in causes.items():
        cells = [problem for problem in alike if problem["stage"] != "certify"]
        alike = cells if cells and status == "unavailable" else alike  # without its data there is no certificate either
        first = alike[0]
        stage = "" if first["stage"] in ("train", "certify") else f"{first['stage']} of "
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        log = f" (store/{first['log']})" if first["log"] and status != "unavailable" else ""
        print(f"{status}: {stage}{lines[first['key']]}{more}: {message}{log}")


def _say_certificate(found: dict[str, Any]) -> None:
    """Print each check, what it found below it, and last the verdict with whatever else holds of the task."""
    for check in found["checks"]:
        value = f"{check['value']:.4g}" if isinstance(check["value"], float) else check["value"] or "-"
        passed = {True: "passed", False: "not passed", None: "-"}[check["passed"]]
        print(f"{check['id']:<4} {check['name']:<32} {value:>9}   {passed}")
        limited = check["limit"] != "published" and not check["detail"].startswith("not applicable")
        detail = f"asked: {check['limit']}; {check['detail']}" if limited else check["detail"]
        print(fill(detail, console.width, initial_indent=" " * 5, subsequent_indent=" " * 5))
    more = [tag for tag in found["tags"] if tag != found["verdict"]]
    print(f"{found['title']}: {', '.join([found['verdict'], *more])}")


# what is diagnosed


def _graphs(data: Sequence[str]) -> Any:
    """Return what `--data` names: a task, or a list of graphs; the standard set is transfer on four topologies, near and far."""
    from suite.diagnosis.named import read_graphs
    from suite.measures.draws import draw

    if not data:
        kinds = [{"topology": kind, "hops": hops} for kind in ("ring", "tree", "barbell", "clique_path") for hops in (3, 6)]
        transfer = find_task("transfer", _task_refs())
        return [graph for fields in kinds for graph in draw(make_task(transfer, fields)[1], 0, 0)]
    name, *fields = data
    try:
        if name.endswith(".pt"):
            return read_graphs(Path(name))
        return make_task(find_task(name, _task_refs()), dict(map(_field, fields)))[1]
    except (ValueError, OSError) as error:
        raise UsageError(f"--data: {reason_of(error)}") from error


def _sizes(graphs: Any, hidden_channels: int, num_layers: int) -> tuple[int, int, int, int]:
    """Return the sizes of a model that fits the graphs: one output for each class, or target, that they have."""
    from suite.diagnosis.given import graphs_in, num_outputs
    from suite.measures.draws import draw
    from suite.task import Task

    if isinstance(graphs, Task):
        return draw(graphs, 0, 0)[0].x.size(1), hidden_channels, num_layers, graphs.out_channels
    some = graphs_in(graphs)
    in_channels = some[0].x.size(1) if some[0].x.dim() == 2 else 1 + max(int(graph.x.max()) for graph in some)
    return in_channels, hidden_channels, num_layers, max(map(num_outputs, some))


# names


def _task_refs() -> dict[str, str]:
    """Return the reference of every built-in task: `suite` gets to know them the way it gets to know a stranger's."""
    from datasets import TASKS
    from suite.refs import ref_of

    return {name: ref_of(cls) for name, cls in TASKS.items()}


def _study_file(name: str) -> Path:
    path = Path(name)
    if path.suffix == ".toml":
        return path
    found = {path.stem: path for path in (ROOT / "studies").glob("*.toml")}
    if name not in found:
        raise UsageError(f"--study: {unknown('study', name, found)}; or a TOML file")
    return found[name]


def _ran_before(study: str, out: Path) -> tuple[dict[str, Any], Path, Store]:
    """Return what `cells.json` says of a study that was run, its folder and its store."""
    folder = out / Path(study).stem
    try:
        listing = json.loads((folder / "cells.json").read_text(encoding="utf-8"))
    except OSError:
        ran = [path.parent.name for path in out.glob("*/cells.json")]
        raise UsageError(f"nothing of study '{study}' under {out}; run there: {', '.join(sorted(ran)) or 'none'}") from None
    return listing, folder, Store(folder / listing["store"])


def _field(text: str) -> tuple[str, Any]:
    """Read `name=value`, as TOML writes values; what is no number, list, table or truth value is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"expected FIELD=VALUE, got '{text}'")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        if value.startswith(("{", "[")):
            like = f'{name}={{ kind = "tree", extra = 1 }}' if value.startswith("{") else f"{name}=[1, 2]"
            raise ValueError(f"{name}: expected a table or a list as in a study, '{like}', got '{value}' ({error})") from None
        return name, value


def _about(cls: type, table: Iterable[type]) -> str:
    """Return what a class is in one line: of its module where it is the only entry there, else its own."""
    alone = sum(other.__module__ == cls.__module__ for other in table) == 1
    return _first_line(sys.modules[cls.__module__] if alone else cls)


def _about_model(title: str, settings: dict[str, Any]) -> str:
    """Return how a model of the table is called, and the settings of its class that make it so."""
    return f"{title}: {', '.join(f'{name}={value}' for name, value in settings.items())}" if settings else title


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())

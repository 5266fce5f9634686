"""A study: a question and the grid of cells that answers it, read from TOML.

    title = "A first look"
    question = "How far does information travel?"

    [[grid]]
    section = "hops"                                    # where the report shows the block
    tasks = [{ kind = "transfer", topology = "ring" }]  # a name, module:Name or file.py:Name, and the task's own fields
    hops = [3, 5, 8]                                    # for every task of the block that has the field
                                                        # ({ kind = ..., train = { hops = 3 } }: trained at these fields instead)
    models = ["gcn", { name = "gcn", norm = "none", title = "GCN without norm" },
              { name = "gcn", encoding = "laplacian", rewiring = { name = "expander", degree = 6 } }]  # suite.factors
    num_layers = ["hops", "2*hops", 16]                 # numbers, or rules [k*]hops[+c]
    parameters = 20000                                  # of every model, by its width; or hidden_channels = 64
    num_seeds = 5                                       # or seeds = [0, 1, 2]
    protocol = { max_steps = 1000, clip = "none" }      # see suite.cell.Protocol; other fields keep their defaults
    tune = { trials = 8, lr = [1e-4, 1e-2] }            # on validation, before: see suite.tuning

`load_study` checks the form and needs no torch; `expand` looks up tasks and models and gives the cells. Both collect every
problem before they raise.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import re
import tomllib
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError, model_validator

from suite.cell import Cell, FactorRef, Frozen, ModelRef, Protocol, Purpose, TaskRef
from suite.provenance import public
from suite.refs import file_sha256, load, ref_of, said, unknown
from suite.rng import digest, stream
from suite.tuning import FIRST_SEED, Choice, Range, Tune, ask, best

if TYPE_CHECKING:
    from suite.factors import Declared, Factors, Told
    from suite.task import Task

SCHEMA = 2
TOP = {"title", "question", "grid"}
RULE = re.compile(r"(?:(\d+)\*)?hops(?:\+(\d+))?")


class StudyError(ValueError):
    """What is wrong with a study: one line per problem, each naming its place."""

    def __init__(self, place: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{place}: {problem}" if place else problem for problem in problems))
        self.problems = list(problems)


# the form of the file


def _listed(value: Any) -> Any:
    """A single value stands for a list of one."""
    return value if value is None or isinstance(value, list | tuple) else [value]


def _with_none(value: Any) -> Any:
    """TOML has no word for None: "none" says it."""
    return {key: None if item == "none" else item for key, item in value.items()} if isinstance(value, dict) else value


class Depth(Frozen):
    """A number of layers, or a rule that gives it from the distance of the task."""

    rule: str
    per_hop: int
    offset: int

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return {"rule": str(value), "per_hop": 0, "offset": value}
        match = RULE.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"must be a number >= 0 or a rule such as 'hops', '2*hops', 'hops+1'; got {value!r}")
        return {"rule": match.group(), "per_hop": int(match.group(1) or 1), "offset": int(match.group(2) or 0)}

    def at(self, task: Task) -> int:
        """Return the number of layers for `task`; raises ValueError where the rule needs a distance the task does not have."""
        if not self.per_hop:
            return self.offset
        if task.range is None:
            raise ValueError(f"num_layers: the rule '{self.rule}' needs a task at one distance, {task.title} has none")
        return self.per_hop * task.range + self.offset


class Open(BaseModel):
    """A name and, beside it, settings that only what is named can judge."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class TaskSpec(Open):
    """A task as the file names it: `kind`, fields of its own, and those that differ in training."""

    kind: StrictStr
    train: dict[str, Any] | None = None


class Named(Open):
    """A name, bare or with settings beside it."""

    name: StrictStr

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def short(self) -> str:
        """The name, of a stranger's file without its folder."""
        return self.name.rpartition("/")[2]

    @property
    def label(self) -> str:
        """The name, with the settings that make it another one: `gcn(norm=none)`."""
        return _with_settings(self.short, self.settings)


def _with_settings(name: str, settings: dict[str, Any]) -> str:
    def said(value: Any) -> Any:
        named = isinstance(value, dict) and "name" in value
        return _with_settings(value["name"], {key: own for key, own in value.items() if key != "name"}) if named else value

    written = ", ".join(f"{key}={said(value)}" for key, value in sorted(settings.items()))
    return f"{name}({written})" if written else name


class ModelSpec(Named):
    """A model as the file names it: `name`, settings of its own, factors, and how figures call it."""

    title: StrictStr | None = None
    encoding: Named | None = None
    rewiring: Named | None = None

    @property
    def alone(self) -> str:
        """The label without factors."""
        return super().label

    @property
    def label(self) -> str:
        """The model's, and its factors': `gcn(encoding=laplacian, norm=none)`."""
        factors = {"encoding": self.encoding, "rewiring": self.rewiring}
        given = {name: factor.label for name, factor in factors.items() if factor is not None}
        return _with_settings(self.short, self.settings | given)


class Grid(Frozen):
    """A block of the study: every task x hops x model x depth x seed."""

    section: StrictStr = Field(min_length=1)
    tasks: Annotated[tuple[TaskSpec, ...], BeforeValidator(_listed), Field(min_length=1)]
    hops: Annotated[tuple[StrictInt, ...] | None, BeforeValidator(_listed)] = None
    models: Annotated[tuple[ModelSpec, ...], BeforeValidator(_listed), Field(min_length=1)]
    num_layers: Annotated[tuple[Depth, ...], BeforeValidator(_listed), Field(min_length=1)]
    hidden_channels: StrictInt = Field(64, ge=1)
    parameters: StrictInt | None = Field(None, ge=1)
    num_seeds: StrictInt | None = Field(None, ge=1)
    seeds: Annotated[tuple[Annotated[StrictInt, Field(ge=0)], ...] | None, BeforeValidator(_listed)] = None
    protocol: Annotated[Protocol, BeforeValidator(_with_none)] = Protocol()
    tune: Tune | None = None

    @model_validator(mode="after")
    def _seeds_are_given_once(self) -> Grid:
        if (self.num_seeds is None) == (self.seeds is None):
            raise ValueError("give one of num_seeds and seeds")
        if max(self.all_seeds, default=0) >= FIRST_SEED:
            raise ValueError(f"seeds: must be below {FIRST_SEED}, those from there on are for tuning; got {max(self.all_seeds)}")
        return self

    @model_validator(mode="after")
    def _width_is_given_once(self) -> Grid:
        if self.parameters is not None and "hidden_channels" in self.model_fields_set:
            raise ValueError("give one of hidden_channels and parameters")
        return self

    @property
    def all_seeds(self) -> tuple[int, ...]:
        return tuple(range(self.num_seeds)) if self.num_seeds is not None else self.seeds or ()


class Study(Frozen):
    """A question and the blocks of cells that answer it."""

    name: str  # of the file, without suffix
    place: str  # the file as messages name it
    folder: Path  # where it lies: paths in it are seen from there
    file_sha256: str
    title: StrictStr = Field(min_length=1)
    question: StrictStr = ""
    grid: Annotated[tuple[Grid, ...], Field(min_length=1)]

    def with_models(self, names: Sequence[str]) -> Study:
        """Return the study with more models, references or names of the table, in every block.

        Raises StudyError where one cannot be had; files are looked for from the current folder.
        """
        specs = []
        for name in dict.fromkeys(names):
            _find_model(name)
            place, colon, cls = name.rpartition(":")
            specs.append(ModelSpec(name=f"{Path(place).resolve()}{colon}{cls}" if place.endswith(".py") else name))
        grids = tuple(grid.model_copy(update={"models": (*grid.models, *specs)}) for grid in self.grid)
        return self.model_copy(update={"grid": grids})

    def with_seeds(self, num_seeds: int) -> Study:
        """Return the study with `num_seeds` training runs in every condition."""
        grids = tuple(grid.model_copy(update={"num_seeds": num_seeds, "seeds": None}) for grid in self.grid)
        return self.model_copy(update={"grid": grids})


def _find_model(name: str) -> None:
    from suite.models import resolve

    try:
        resolve(name)
    except Exception as error:
        raise StudyError(f"--model {name}", [reason_of(error)]) from error


def load_study(path: Path) -> Study:
    """Read a study from a TOML file; raises StudyError with every problem of its form."""
    place = os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else path.name
    try:
        content = path.read_bytes()
        fields = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not valid TOML: {error}"
        raise StudyError(place, [str(reason)]) from error
    own = {"name": path.stem, "place": place, "folder": path.parent, "file_sha256": hashlib.sha256(content).hexdigest()}
    if taken := sorted(set(own) & set(fields)):
        raise StudyError(place, [f"{name}: {unknown('setting', name, TOP)}" for name in taken])
    try:
        return Study.model_validate(fields | own)
    except ValidationError as error:
        raise StudyError(place, _form_problems(error)) from error


def _form_problems(error: ValidationError) -> list[str]:
    """Say what pydantic found, with paths as in the file: `grid[0].tasks[1].hops: must be ..., got ...`."""
    levels = {"": TOP, "grid": set(Grid.model_fields), "protocol": set(Protocol.model_fields)}
    problems = []
    for found in error.errors():
        if found["type"] == "too_short" and found["input"]:
            continue  # entries that are wrong, and so not counted, have problems of their own
        parents = [part for part in found["loc"][:-1] if isinstance(part, str)]
        problems.append(said(found, "", levels.get(parents[-1] if parents else "", set())))
    return problems


# from the form to cells


@dataclass(frozen=True)
class Budget:
    """The parameters that a block asks of its models, and what a model at the width found for it has.

    `exempt` are models without a width, whose number of parameters is what it is.
    """

    asked: int
    got: int
    exempt: bool


@dataclass(frozen=True)
class Entry:
    """A cell as a block of the study shows it: one line of `cells.json`."""

    section: str
    cell: Cell
    task: Task
    model: str
    title: str
    family: str
    told: Told
    global_channel: tuple[str, ...]
    depth: str
    budget: Budget | None

    def line(self) -> dict[str, Any]:
        """Return what reports group and label by, as JSON values."""
        cell, task = self.cell, self.task
        return {
            "key": cell.key,
            "condition": cell.condition,
            "section": self.section,
            "task": task.title,
            "topology": topology_label(task),
            "hops": task.range,
            "model": self.model,
            "title": self.title,
            "family": self.family,
            "told": self.told,
            "global_channel": list(self.global_channel),
            "num_layers": cell.num_layers,
            "depth": self.depth,
            "hidden_channels": cell.hidden_channels,
            "budget": None if self.budget is None else asdict(self.budget),
            "seed": cell.seed,
            "purpose": cell.purpose,
            "task_key": cell.task.key,
            "chance": _chance(task),
            "metric": task.metric,
        }


def _chance(task: Task) -> float | None:
    """Return the task's chance; None where it needs data that cannot be had, whose cells have no result either."""
    from suite.task import DataUnavailable

    try:
        return task.chance
    except DataUnavailable:
        return None


@dataclass(frozen=True)
class Trial:
    """Settings that were or are tried, by the cells in `entries`; `score` is None as long as one of them is not finished."""

    settings: dict[str, Any]
    entries: tuple[Entry, ...]
    score: float | None


@dataclass(frozen=True)
class Tuning:
    """The trials of one condition, as far as they are known, and the number of the one that its reported cells follow."""

    trials: tuple[Trial, ...]
    asked: int
    chosen: int | None
    num_reported: int

    @property
    def waiting(self) -> int:
        """How many reported cells are not known yet."""
        return self.num_reported if self.chosen is None else 0

    def line(self) -> dict[str, Any]:
        """Return it as JSON values; a trial whose cells gave no result has the score None, as one that is not finished."""
        first = self.trials[0].entries[0].line()
        names = ("section", "task", "topology", "hops", "task_key", "model", "title", "family", "num_layers", "depth")
        trials = [
            {
                "settings": public(trial.settings),
                "score": trial.score if trial.score is not None and math.isfinite(trial.score) else None,
                "finished": trial.score is not None,
                "cells": [entry.line() | {"title": f"{entry.title}, tuning"} for entry in trial.entries],
            }
            for trial in self.trials
        ]
        return {name: first[name] for name in names} | {"asked": self.asked, "chosen": self.chosen, "trials": trials}


Outcome = Callable[[Cell], float | None]  # validation skill of a finished cell, NO_RESULT of one without; None: not finished


def nothing_known(_cell: Cell) -> float | None:
    """The outcome of every cell where nothing was run yet."""
    return None


@dataclass(frozen=True)
class Expansion:
    """A study written out: entries (a cell may stand in several sections), unique cells, batches, tasks.

    Of conditions that are tuned, the reported cells are known once all trials are finished: until then they are `waiting`.
    """

    study: Study
    entries: tuple[Entry, ...]
    tuning: tuple[Tuning, ...] = ()

    @cached_property
    def every(self) -> tuple[Entry, ...]:
        """The entries, and those of tuning."""
        return (*self.entries, *(entry for tuned in self.tuning for trial in tuned.trials for entry in trial.entries))

    @cached_property
    def first(self) -> dict[str, Entry]:
        """The first entry of each cell, by key."""
        return {entry.cell.key: entry for entry in reversed(self.every)}

    @property
    def waiting(self) -> int:
        """How many reported cells wait for the tuning of their condition."""
        return sum(tuned.waiting for tuned in self.tuning)

    @cached_property
    def batches(self) -> tuple[tuple[Cell, ...], ...]:
        """Cells that differ in learning rate and seed only, in this order: trained together, whatever is there already.

        Those of tuning by trial, as their rates become known one after another.
        """
        groups: dict[str, dict[tuple[float, int], Cell]] = {}
        for entry in self.every:
            group = entry.cell.stack if entry.cell.purpose == "report" else entry.cell.condition
            groups.setdefault(group, {})[entry.cell.protocol.lr, entry.cell.seed] = entry.cell
        return tuple(tuple(cells[key] for key in sorted(cells)) for cells in groups.values())

    @cached_property
    def tasks(self) -> dict[str, tuple[TaskRef, Task]]:
        """Every task of the study once, by key."""
        return {entry.cell.task.key: (entry.cell.task, entry.task) for entry in self.every}

    def listing(self, store: str) -> dict[str, Any]:
        """Return the content of `cells.json`; `store` is the relative path from there to the store."""
        study = self.study
        about = {"name": study.name, "title": study.title, "question": study.question, "file_sha256": study.file_sha256}
        tasks = [
            {"task_key": key, "task": public(ref.model_dump(mode="json")), "title": task.title}
            | {"topology": topology_label(task), "hops": task.range}
            for key, (ref, task) in self.tasks.items()
        ]
        cells = [entry.line() for entry in self.entries]
        found = {"schema": SCHEMA, "study": about, "store": store, "cells": cells, "tasks": tasks}
        return found | {"tuning": [tuned.line() for tuned in self.tuning], "waiting": self.waiting}


def topology_label(task: Task) -> str | None:
    """Return how tables call the graph of `task`: its kind (a network: its name) and what differs from the defaults."""
    from suite.task import Topology

    topology = getattr(task, "topology", None)
    if not isinstance(topology, Topology):
        return None
    name = str(getattr(topology, "name", topology.kind))
    if "topology" not in type(task).model_fields:  # not a knob of this task: may vary with the distance
        return name
    own = topology.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "name"})
    settings = ", ".join(f"{key}={value}" for key, value in own.items())
    return f"{name} ({settings})" if settings else name


def expand(study: Study, tasks: Mapping[str, str], only: Sequence[str] = (), outcome: Outcome = nothing_known) -> Expansion:
    """Return every cell of `study` that is known: what follows tuning is, once `outcome` knows the cells of all trials.

    Args:
        study: what to expand.
        tasks: the `module:Name` reference of every task known by name.
        only: tasks to restrict the study to, as `kind` names them; one that the study lacks is asked with the settings
            of the first block that suits it.
        outcome: what became of the cells of tuning.

    Raises StudyError with every problem: names, fields, hops that a topology cannot carry, rules without a distance.
    """
    entries: list[Entry] = []
    tuning: list[Tuning] = []
    problems: list[str] = []
    for index, grid in enumerate(study.grid):
        keep = [number for number, spec in enumerate(grid.tasks) if not only or spec.kind in only]
        block = _Block(grid, f"grid[{index}]", tasks, study.folder, outcome)
        found, wrong = block.expand(keep)
        entries += found
        tuning += block.tuning
        problems += wrong
    if problems:
        raise StudyError(study.place, problems)
    for kind in only:
        if not any(spec.kind == kind for grid in study.grid for spec in grid.tasks):
            block, found = _added(study, kind, tasks, outcome)
            entries += found
            tuning += block.tuning
    unique = {(entry.section, entry.model, entry.depth, entry.cell.key): entry for entry in reversed(entries)}
    return Expansion(study, tuple(reversed(unique.values())), tuple(tuning))


def _added(study: Study, kind: str, tasks: Mapping[str, str], outcome: Outcome) -> tuple[_Block, list[Entry]]:
    """Ask a task that the study lacks in the first block that suits it."""
    try:
        find_task(kind, tasks)
    except ValueError as error:
        raise StudyError("--task", [str(error)]) from error
    first_problems: list[str] = []
    for grid in study.grid:
        asked = grid.model_copy(update={"tasks": (TaskSpec(kind=kind),)})
        block = _Block(asked, "", tasks, Path(), outcome)
        entries, problems = block.expand([0])
        if not problems:
            return block, entries
        first_problems = first_problems or [problem.removeprefix(".tasks[0]").lstrip(".: ") for problem in problems]
    raise StudyError(f"--task {kind}", first_problems)


class _Place(NamedTuple):
    """A condition, but for the settings that may be tuned."""

    ref: TaskRef
    task: Task
    spec: ModelSpec
    rule: str
    num_layers: int

    def __str__(self) -> str:
        return f"{self.spec.label} with {self.num_layers} layers"


class _Resized(NamedTuple):
    """A model with its width, found for a budget or given."""

    model: ModelRef
    hidden_channels: int
    budget: Budget | None


class _Block:
    """One block on its way to entries; `path` begins its messages."""

    def __init__(self, grid: Grid, path: str, tasks: Mapping[str, str], folder: Path, outcome: Outcome) -> None:
        self.grid, self.path, self.known, self.folder, self.outcome = grid, path, tasks, folder, outcome
        self.problems: list[str] = []
        self.tuning: list[Tuning] = []
        self.declared: dict[tuple[str, int, int], Declared | None] = {}
        self.widths: dict[str, int] = {}
        self.refused: dict[tuple[str, FactorRef | None, FactorRef | None], str | None] = {}

    def expand(self, keep: Sequence[int]) -> tuple[list[Entry], list[str]]:
        """Return the entries of the tasks numbered `keep`, and what is wrong with them."""
        tasks = [(number, ref, task) for number in keep for ref, task in self._tasks(number)]
        models = [spec for number, spec in enumerate(self.grid.models) if self._can_be_made(number, spec)]
        self._check_space(models)
        entries: list[Entry] = []
        for number, ref, task in tasks:
            for depth in self.grid.num_layers:
                try:
                    num_layers = depth.at(task)
                except ValueError as error:
                    self.problems.append(f"{self.path}.tasks[{number}]: {error}")
                    continue
                for spec in models:
                    place = _Place(ref, task, spec, depth.rule, num_layers)
                    entries += self._tuned(place) if self.grid.tune else self._at(place, {}, self.grid.all_seeds)
        return entries, list(dict.fromkeys(self.problems))

    def _tasks(self, number: int) -> list[tuple[TaskRef, Task]]:
        spec, path = self.grid.tasks[number], f"{self.path}.tasks[{number}]"
        try:
            cls = find_task(spec.kind, self.known, self.folder)
        except ValueError as error:
            self.problems.append(f"{path}.kind: {error}")
            return []
        ranged = "hops" in cls.model_fields and "hops" not in spec.settings and self.grid.hops
        made = []
        for hops in self.grid.hops or () if ranged else (None,):
            settings = spec.settings if hops is None else spec.settings | {"hops": hops}
            try:
                made.append(self._made(cls, settings, spec.train, path))
            except StudyError as error:
                self.problems += error.problems
        return made

    def _made(self, cls: type[Task], settings: dict[str, Any], train: dict[str, Any] | None, path: str) -> tuple[TaskRef, Task]:
        """Return a task, or the view of it that is trained with other fields; raises StudyError where fields are refused."""
        from suite.views import Extrapolated

        ref, task = make_task(cls, settings, path)
        if train is None:
            return ref, task
        params = make_task(cls, settings | train, f"{path}.train")[0].params
        return make_task(Extrapolated, {"seen": ref, "trained": {name: params[name] for name in train}}, f"{path}.train")

    def _can_be_made(self, number: int, spec: ModelSpec) -> bool:
        try:
            self._model(spec, {})
            return True
        except Exception as error:
            self.problems.append(f"{self.path}.models[{number}]: {reason_of(error)}")
            return False

    def _model(self, spec: ModelSpec, settings: dict[str, Any]) -> ModelRef:
        from suite.models import resolve

        name = _placed(spec.name, self.folder)
        return resolve(name, spec.settings | self._factors(spec).settings | settings)

    def _factors(self, spec: ModelSpec) -> Factors:
        """Return what the model is combined with; raises ValueError where it cannot be."""
        from suite.factors import combine

        encoding, rewiring = (
            None if one is None else (one.name, _with_none(one.settings)) for one in (spec.encoding, spec.rewiring)
        )
        return combine(_placed(spec.name, self.folder), spec.settings, encoding, rewiring)

    def _at(self, place: _Place, settings: dict[str, Any], seeds: Iterable[int], purpose: Purpose = "report") -> list[Entry]:
        """Return the cells of a condition, with `settings` of protocol and model changed; none, and a problem, where refused."""
        from suite.models import find

        changed = {name: None if value == "none" else value for name, value in settings.items() if name in Protocol.model_fields}
        model = self._model(place.spec, {name: value for name, value in settings.items() if name not in changed})
        try:
            protocol = Protocol.model_validate(self.grid.protocol.model_dump() | changed)
        except ValidationError as error:
            self.problems += [said(found, f"{self.path}.tune", set()) for found in error.errors()]
            return []
        factors = self._factors(place.spec)
        resized = self._resized(place, model, factors.encoding)
        declared = resized and self._declared(place, resized.model, resized.hidden_channels)
        if resized is None or declared is None or self._refused(place, factors):
            return []
        entry, spec = find(_placed(place.spec.name, self.folder)), place.spec
        told = factors.told(declared)
        title = spec.title or factors.title(spec.alone.replace(spec.short, entry.title, 1), told)
        cells = [
            Cell(
                task=place.ref,
                model=resized.model,
                num_layers=place.num_layers,
                hidden_channels=resized.hidden_channels,
                seed=seed,
                protocol=protocol,
                purpose=purpose,
                encoding=factors.encoding,
                rewiring=factors.rewiring,
            )
            for seed in seeds
        ]
        channel = tuple(sorted({*declared.global_channel, *factors.channel}))
        about = spec.label, title, factors.family(entry.family, told), told, channel, place.rule, resized.budget
        return [Entry(self.grid.section, cell, place.task, *about) for cell in cells]

    def _tuned(self, place: _Place) -> list[Entry]:
        """Return the reported cells of a condition once its tuning is finished; add what is known of that to `self.tuning`."""
        tune, space = self.grid.tune, self._space(place.spec)
        assert tune is not None
        before = len(self.problems)
        probes = [self._at(place, {name: value}, tune.seeds[:1], "tune") for name in space for value in space[name].probes]
        if len(self.problems) > before or not space:
            return []
        condition = digest(probes[0][0].cell.condition, repr(sorted(space.items())))
        trials: list[Trial] = []
        while len(trials) < tune.trials and (not trials or trials[-1].score is not None):
            settings = ask(space, condition, [(trial.settings, trial.score or 0.0) for trial in trials])
            entries = tuple(self._at(place, settings, tune.seeds, "tune"))
            if not entries:  # settings that do not go together: there is a problem
                return []
            known = [self.outcome(entry.cell) for entry in entries]
            scores = [score for score in known if score is not None]
            trials.append(Trial(settings, entries, fmean(scores) if len(scores) == len(known) else None))
        scores = [trial.score for trial in trials if trial.score is not None]
        chosen = best(scores) if len(scores) == tune.trials else None
        self.tuning.append(Tuning(tuple(trials), tune.trials, chosen, len(self.grid.all_seeds)))
        return [] if chosen is None else self._at(place, trials[chosen].settings, self.grid.all_seeds)

    def _space(self, spec: ModelSpec) -> dict[str, Range | Choice]:
        """Return what is searched for a model: what is no field of the protocol, it must have, and not have been given."""
        from suite.models import settings_of

        own = settings_of(_placed(spec.name, self.folder)) - set(spec.settings)
        space = self.grid.tune.space if self.grid.tune else {}
        return {name: dimension for name, dimension in space.items() if name in Protocol.model_fields or name in own}

    def _check_space(self, models: Sequence[ModelSpec]) -> None:
        """Find names that nothing has, models without anything to search, and Optuna missing."""
        from suite.models import settings_of

        if self.grid.tune is None or not models:
            return
        if importlib.util.find_spec("optuna") is None:
            raise StudyError(f"{self.path}.tune", ["needs Optuna: pip install optuna, or hopscope with its extra `tune`"])
        known = set(Protocol.model_fields).union(*(settings_of(_placed(spec.name, self.folder)) for spec in models))
        wrong = [name for name in self.grid.tune.space if name not in known]
        self.problems += [f"{self.path}.tune: {unknown('field of the protocol or setting', name, known)}" for name in wrong]
        bare = [] if wrong else [spec.label for spec in models if not self._space(spec)]
        self.problems += [f"{self.path}.tune: there is nothing to search for {label}" for label in bare]

    def _refused(self, place: _Place, factors: Factors) -> bool:
        """Say, once a task, why its graphs cannot have these factors; what cannot be drawn here is refused by the worker."""
        from suite.factors import refusal
        from suite.task import DataUnavailable

        asked = place.ref.key, factors.encoding, factors.rewiring
        if asked[1:] == (None, None):
            return False
        if asked not in self.refused:
            try:
                reason = refusal(place.task, stream(place.task.config(), "probe"), *asked[1:])
            except DataUnavailable:
                reason = None
            self.refused[asked] = reason
        if reason := self.refused[asked]:
            at = "" if place.task.range is None else f" at {place.task.range} hops"
            self.problems.append(f"{self.path}.models: {place.spec.label} on {place.task.title}{at}: {reason}")
        return reason is not None

    def _resized(self, place: _Place, model: ModelRef, encoding: FactorRef | None) -> _Resized | None:
        """Return the model as it keeps to the budget of the block; None, and a problem, where it cannot."""
        from suite.budget import Sizes, sized

        asked = self.grid.parameters
        if asked is None:
            return _Resized(model, self.grid.hidden_channels, None)
        added = 0 if encoding is None else encoding.settings["width"]
        sizes = Sizes(self._in_channels(place.ref) + added, place.num_layers, place.task.out_channels, encoding)
        try:
            found = sized(model, asked, sizes)
        except ValueError as error:
            self.problems.append(f"{self.path}.models: {place} on {place.task.title}: {reason_of(error)}")
            return None
        return _Resized(found.model, found.hidden_channels, Budget(asked, found.num_parameters, not found.has_width))

    def _in_channels(self, ref: TaskRef) -> int:
        from suite.task import DataUnavailable

        if ref.key not in self.widths:
            try:
                self.widths[ref.key] = in_channels_of(ref)
            except DataUnavailable:  # told when the task is left out; until then its cells have some width
                self.widths[ref.key] = 1
        return self.widths[ref.key]

    def _declared(self, place: _Place, model: ModelRef, hidden_channels: int) -> Declared | None:
        """Build the model once, to learn what it declares and to find settings it refuses (None)."""
        from suite.engine.replicas import has_convs
        from suite.factors import Declared
        from suite.models import build

        asked = (model.model_dump_json(), hidden_channels, place.num_layers)
        if asked not in self.declared:
            try:
                built = build(model, 4, hidden_channels, place.num_layers, 3)
                if self.grid.protocol.conv_weight_decay is not None and not has_convs(built):
                    raise ValueError("protocol.conv_weight_decay: must be none for a model without `convs`")
                self.declared[asked] = Declared.by(built)
            except Exception as error:
                self.problems.append(f"{self.path}.models: {place}: {reason_of(error)}")
                self.declared[asked] = None
        return self.declared[asked]


def find_task(kind: str, known: Mapping[str, str], folder: Path = Path()) -> type[Task]:
    """Return the class that `kind` names: an entry of the table, `module:Name`, or `file.py:Name` seen from `folder`.

    Raises ValueError where there is no such task.
    """
    from suite.task import Task

    if kind not in known and ":" not in kind:
        raise ValueError(unknown("task", kind, known) + "; or file.py:Name")
    try:
        cls = load(known.get(kind) or _placed(kind, folder))
    except Exception as error:
        raise ValueError(reason_of(error)) from error
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise ValueError(f"'{kind}' is no task: a task is a subclass of suite.task.Task")
    return cls


def make_task(cls: type[Task], settings: dict[str, Any], path: str = "") -> tuple[TaskRef, Task]:
    """Return the task with these fields, and the reference that makes it again elsewhere.

    Raises StudyError where the fields are refused; `path` begins its messages.
    """
    try:
        task = cls(**settings)
    except ValidationError as error:
        raise StudyError("", [said(found, path, set(cls.model_fields)) for found in error.errors()]) from error
    except Exception as error:
        raise StudyError("", [f"{path}: {reason_of(error)}" if path else reason_of(error)]) from error
    ref = ref_of(cls)
    return TaskRef(ref=ref, params=task.config(), version=cls.version, sha256=file_sha256(ref)), task


def num_nodes_of(ref: TaskRef) -> int:
    """Draw one graph as a worker would, and return its number of nodes; raises as `_probe`."""
    return _probe(ref)[0]


def in_channels_of(ref: TaskRef) -> int:
    """Draw one graph as a worker would, and return the width of its `x`: what models take in. Raises as `_probe`."""
    return _probe(ref)[1]


def _probe(ref: TaskRef) -> tuple[int, int]:
    """Draw one graph as a worker would, and return its number of nodes and the width of `x`.

    Raises suite.task.DataUnavailable where the data cannot be had, StudyError where the task's own code fails.
    """
    from suite.samples import graphs_of
    from suite.task import DataUnavailable

    try:
        task = ref.load()
        x = graphs_of(task.at("train", 0).draw(1, stream(task.config(), "probe")))[0].x
        return int(x.size(0)), int(x.size(1))
    except DataUnavailable:
        raise
    except Exception as error:
        raise StudyError(f"task {ref.ref.rpartition('/')[2]}", [f"drawing a graph failed: {reason_of(error)}"]) from error


def _placed(name: str, folder: Path) -> str:
    """Look for `file.py:Name` beside the study first, then where we are."""
    beside = folder / name.rpartition(":")[0]
    return f"{beside}:{name.rpartition(':')[2]}" if name.rpartition(":")[0].endswith(".py") and beside.exists() else name


def reason_of(error: Exception) -> str:
    """Return an exception in one line; one from someone's file with the line it came from."""
    if isinstance(error, FileNotFoundError):
        return f"no such file: {error.filename}"
    if isinstance(error, ValidationError):
        return "; ".join(said(found, "", set()) for found in error.errors())
    text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.endswith(".py") and not _is_ours(frame.filename)]
    return f"{text} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else text


def _is_ours(filename: str) -> bool:
    return Path(__file__).parent in Path(filename).parents or "site-packages" in filename or "/lib/python" in filename

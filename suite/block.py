"""One block of a study on its way to entries: its tasks, models, widths and factors, and what is wrong with them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from suite.cell import Cell, FactorRef, ModelRef, Protocol, Purpose, TaskRef
from suite.entries import Budget, Entry, Outcome, Trial, Tuning
from suite.refs import reason_of, said, unknown
from suite.rng import digest, stream
from suite.study import Grid, ModelSpec, StudyError, with_none
from suite.tasks import all_placed, find_task, in_channels_of, make_task, placed
from suite.tuning import Choice, Range, Space, ask, best

if TYPE_CHECKING:
    from suite.factors import Declared, Factors
    from suite.task import Task


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


class GridBlock:
    """One block on its way to entries; `path` begins its messages."""

    def __init__(self, grid: Grid, path: str, tasks: Mapping[str, str], folder: Path, outcome: Outcome) -> None:
        self.grid, self.path, self.known, self.folder, self.outcome = grid, path, tasks, folder, outcome
        self.problems: list[str] = []
        self.tuning: list[Tuning] = []
        self.declared: dict[tuple[str, int, int], Declared | None] = {}
        self.widths: dict[str, int] = {}
        self.refused: dict[tuple[str, FactorRef | None, FactorRef | None], str | None] = {}
        self.left: dict[tuple[str, FactorRef], int] = {}

    def expand(self, keep: Sequence[int]) -> tuple[list[Entry], list[str]]:
        """Return the entries of the tasks numbered `keep`, and what is wrong with them."""
        tasks = [(number, ref, task) for number in keep for ref, task in self._tasks(number)]
        models = [spec for number, spec in enumerate(self.grid.models) if self._can_be_made(number, spec)]
        self._check_space(models)
        entries: list[Entry] = []
        for number, ref, task in tasks:
            for depth in self.grid.num_layers:
                for spec in models:
                    try:
                        num_layers = depth.at(task, self._after(ref, task, spec))
                    except ValueError as error:
                        self.problems.append(f"{self.path}.tasks[{number}]: {error}")
                        continue
                    place = _Place(ref, task, spec, depth.rule, num_layers)
                    entries += self._tuned(place) if self.grid.tune else self._at(place, {}, self.grid.all_seeds)
        return entries, list(dict.fromkeys(self.problems))

    def _after(self, ref: TaskRef, task: Task, spec: ModelSpec) -> Callable[[], int] | None:
        """Return what finds the distance that the model's rewiring leaves, once for all models and rules, if it has one."""
        from suite.factors import rewired_hops

        def after() -> int:
            rewiring = self._factors(spec, {}).rewiring
            assert rewiring is not None
            asked = ref.key, rewiring
            if asked not in self.left:
                self.left[asked] = rewired_hops(task, stream(task.config(), "probe"), rewiring)
            return self.left[asked]

        return None if spec.rewiring is None else after

    def _tasks(self, number: int) -> list[tuple[TaskRef, Task]]:
        spec, path = self.grid.tasks[number], f"{self.path}.tasks[{number}]"
        try:
            cls = find_task(spec.kind, self.known, self.folder)
        except ValueError as error:
            self.problems.append(f"{path}.kind: {error}")
            return []
        ranged = "hops" in cls.model_fields and "hops" not in spec.settings and self.grid.hops
        given, train = all_placed(spec.settings, self.folder), all_placed(spec.train, self.folder)
        made = []
        for hops in self.grid.hops or () if ranged else (None,):
            settings = given if hops is None else given | {"hops": hops}
            try:
                made.append(self._made(cls, settings, train, path))
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
            self._combined(spec, {})
            return True
        except Exception as error:
            self.problems.append(f"{self.path}.models[{number}]: {reason_of(error)}")
            return False

    def _combined(self, spec: ModelSpec, settings: dict[str, Any]) -> tuple[ModelRef, Factors]:
        """Return the model under `settings` that are tuned, and what it is combined with; raises ValueError where refused."""
        from suite.models import resolve

        factors = self._factors(spec, settings)
        return resolve(placed(spec.name, self.folder), spec.settings | factors.settings | settings), factors

    def _factors(self, spec: ModelSpec, settings: dict[str, Any]) -> Factors:
        """Return what the model is combined with, under `settings` that are tuned; raises ValueError where it cannot be."""
        from suite.factors import combine

        encoding, rewiring = (
            None if one is None else (one.name, with_none(one.settings)) for one in (spec.encoding, spec.rewiring)
        )
        return combine(placed(spec.name, self.folder), spec.settings | settings, encoding, rewiring)

    def _at(self, place: _Place, settings: dict[str, Any], seeds: Iterable[int], purpose: Purpose = "report") -> list[Entry]:
        """Return the cells of a condition, with `settings` of protocol and model changed; none, and a problem, where refused."""
        from suite.models import find

        changed = {name: None if value == "none" else value for name, value in settings.items() if name in Protocol.model_fields}
        own = {name: value for name, value in settings.items() if name not in changed}
        try:
            model, factors = self._combined(place.spec, own)
        except ValueError as error:
            self.problems.append(f"{self.path}.tune: {place.spec.label} with {_said(own)}: {reason_of(error)}")
            return []
        try:
            protocol = Protocol.model_validate(self.grid.protocol.model_dump() | changed)
        except ValidationError as error:
            self.problems += [said(found, f"{self.path}.tune", set()) for found in error.errors()]
            return []
        resized = self._resized(place, model, factors.encoding)
        declared = resized and self._declared(place, resized.model, resized.hidden_channels)
        if resized is None or declared is None or self._refused(place, factors):
            return []
        entry, spec = find(placed(place.spec.name, self.folder)), place.spec
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
        channels = channel, factors.pe_reach(declared)
        about = spec.label, title, factors.family(entry.family, told), told, *channels, place.rule, resized.budget
        return [Entry(self.grid.section, cell, place.task, *about) for cell in cells]

    def _tuned(self, place: _Place) -> list[Entry]:
        """Return the reported cells of a condition once its tuning is finished; add what is known of that to `self.tuning`."""
        tune, space = self.grid.tune, self._space(place.spec)
        assert tune is not None
        before = len(self.problems)
        probes = [self._at(place, settings, tune.seeds[:1], "tune") for settings in _probes(space)]
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

        own = settings_of(placed(spec.name, self.folder)) - set(spec.settings)
        space = self.grid.tune.space if self.grid.tune else {}
        return {name: dimension for name, dimension in space.items() if name in Protocol.model_fields or name in own}

    def _check_space(self, models: Sequence[ModelSpec]) -> None:
        """Find names that nothing has, models without anything to search, and Optuna missing."""
        from suite.models import settings_of

        if self.grid.tune is None or not models:
            return
        if importlib.util.find_spec("optuna") is None:
            raise StudyError(f"{self.path}.tune", ["needs Optuna: pip install optuna, or hopscope with its extra `tune`"])
        known = set(Protocol.model_fields).union(*(settings_of(placed(spec.name, self.folder)) for spec in models))
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


def _probes(space: Space) -> Iterator[dict[str, Any]]:
    """Yield the settings by which to see whether all of a search space is allowed: each value, and models' settings together."""
    yield from ({name: value} for name in space for value in space[name].probes)
    own = [name for name in space if name not in Protocol.model_fields]
    if len(own) > 1:
        yield from (dict(zip(own, values, strict=True)) for values in product(*(space[name].probes for name in own)))


def _said(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())

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
    num_layers = ["hops", "2*hops", 16]                 # numbers, or rules [k*]hops[+c]; rewired_hops: after the rewiring
    parameters = 20000                                  # of every model, by its width; or hidden_channels = 64
    num_seeds = 5                                       # or seeds = [0, 1, 2]
    protocol = { max_steps = 1000, clip = "none" }      # see suite.cell.Protocol; other fields keep their defaults
    tune = { trials = 8, lr = [1e-4, 1e-2] }            # on validation, before: see suite.tuning

`load_study` checks the form and needs no torch; `suite.expansion.expand` looks up tasks and models and gives the cells. Both
collect every problem before they raise.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError, model_validator

from suite.cell import Frozen, Protocol
from suite.refs import reason_of, said, unknown
from suite.tuning import FIRST_SEED, Tune

if TYPE_CHECKING:
    from suite.task import Task

TOP = {"title", "question", "grid"}
RULE = re.compile(r"(?:(\d+)\*)?(rewired_)?hops(?:\+(\d+))?")


class StudyError(ValueError):
    """What is wrong with a study: one line per problem, each naming its place."""

    def __init__(self, place: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{place}: {problem}" if place else problem for problem in problems))
        self.problems = list(problems)


# the form of the file


def _listed(value: Any) -> Any:
    """A single value stands for a list of one."""
    return value if value is None or isinstance(value, list | tuple) else [value]


def with_none(value: Any) -> Any:
    """TOML has no word for None: "none" says it."""
    return {key: None if item == "none" else item for key, item in value.items()} if isinstance(value, dict) else value


class Depth(Frozen):
    """A number of layers, or a rule that gives it from the distance of the task, as it is or as a rewiring leaves it."""

    rule: str
    per_hop: int
    offset: int
    rewired: bool = False

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return {"rule": str(value), "per_hop": 0, "offset": value}
        match = RULE.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"must be a number >= 0 or a rule such as 'hops', '2*hops', 'rewired_hops+1'; got {value!r}")
        per_hop, rewired, offset = match.groups()
        return {"rule": match.group(), "per_hop": int(per_hop or 1), "offset": int(offset or 0), "rewired": bool(rewired)}

    def at(self, task: Task, after: Callable[[], int] | None = None) -> int:
        """Return the number of layers for `task`; `after` finds the distance after a rewiring, where there is one.

        Raises ValueError where the rule needs a distance that is not there.
        """
        if not self.per_hop:
            return self.offset
        if task.range is None:
            raise ValueError(f"num_layers: the rule '{self.rule}' needs a task at one distance, {task.title} has none")
        hops = after() if self.rewired and after is not None else task.range
        return self.per_hop * hops + self.offset


class Open(BaseModel):
    """A name and, beside it, settings that only what is named can judge."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class TaskSpec(Open):
    """A task as the file names it: `kind`, fields of its own, and those that differ in training."""

    kind: StrictStr
    train: Annotated[dict[str, Any] | None, BeforeValidator(with_none)] = None


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
    protocol: Annotated[Protocol, BeforeValidator(with_none)] = Protocol()
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

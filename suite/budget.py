"""Equal budgets: the width at which a model has a given number of parameters.

Parameters are counted on torch's meta device, where building a model neither allocates nor draws anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import nn

from suite.cell import FactorRef, ModelRef
from suite.models import build

TOLERANCE = 0.05  # of the budget: what is farther off is no equal budget
CLOSE = 0.01  # of the budget: a width that comes so near is left as it is
FIRST = 128  # widths up to here are tried for the first two that a model accepts
WIDEST = 1 << 16
MLP = "mlp_channels"  # the second knob, of models that have it: inner width of their MLPs ...
MLP_SHARE = (1 / 2, 8)  # ... of hidden_channels, at least and at most


class Sizes(NamedTuple):
    """What decides the number of parameters beside width and settings; `in_channels` counts the columns of an encoding."""

    in_channels: int
    num_layers: int
    out_channels: int
    encoding: FactorRef | None = None


@dataclass(frozen=True)
class Sized:
    """A model brought to a budget: its reference (`mlp_channels` may be set), its width, its number of parameters.

    `has_width` is false for models whose number of parameters is what it is, so that no budget can be asked of them.
    """

    model: ModelRef
    hidden_channels: int
    num_parameters: int
    has_width: bool = True

    def gap(self, parameters: int) -> float:
        """Return by how much the model is over (or under) a budget, as a share of it."""
        return self.num_parameters / parameters - 1


def num_parameters(ref: ModelRef, hidden_channels: int, sizes: Sizes) -> int:
    """Return how many parameters the model has; raises what its class raises where it refuses the width."""
    return sum(parameter.numel() for parameter in _built(ref, hidden_channels, sizes).parameters())


@lru_cache(maxsize=4096)
def _sized(ref: str, parameters: int, sizes: Sizes) -> Sized:
    return _Search(ModelRef.model_validate_json(ref), parameters, sizes).run()


def sized(ref: ModelRef, parameters: int, sizes: Sizes) -> Sized:
    """Return the model at the width that brings it nearest to `parameters`.

    Among the widths that its class accepts: multiples of what it declares as `width_multiple` (heads), else whatever it does
    not refuse. Where steps between these are coarse and the class has a setting `mlp_channels` that is not set, that one
    makes up the rest. Raises ValueError where no width comes within `TOLERANCE`.
    """
    return _sized(ref.model_dump_json(), parameters, sizes)


@lru_cache(maxsize=1024)
def _specimen(ref: str) -> nn.Module | None:
    return next((model for _, model in _accepted(ModelRef.model_validate_json(ref), Sizes(4, 2, 3), [])), None)


def specimen(ref: ModelRef) -> nn.Module | None:
    """Return the model at the smallest width that it should have, for what it declares at any; None where all are refused."""
    return _specimen(ref.model_dump_json())


def _accepted(ref: ModelRef, sizes: Sizes, refused: list[Exception]) -> Iterator[tuple[int, nn.Module]]:
    """Yield the widths that the class accepts and should have, by its own word, with the models; add what it raises."""
    for width in range(1, FIRST + 1):
        try:
            model = _built(ref, width, sizes)
        except Exception as error:
            refused.append(error)
            continue
        if width % int(getattr(model, "width_multiple", 1)) == 0:
            yield width, model


class _Search:
    def __init__(self, ref: ModelRef, parameters: int, sizes: Sizes) -> None:
        self.ref, self.parameters, self.sizes = ref, parameters, sizes
        self.known: dict[tuple[int, int | None], Sized] = {}

    def run(self) -> Sized:
        first, second = self._first_two()
        if self._at(first).num_parameters == self._at(second).num_parameters:
            return Sized(self.ref, first, self._at(first).num_parameters, has_width=False)
        step = second - first
        places = self._around(lambda place: self._at(first + step * place), 0, (WIDEST - first) // step)
        found = self._nearest(places)
        if abs(found.gap(self.parameters)) > CLOSE and self._has_mlp(first):
            widths = [one.hidden_channels for one in places]
            found = self._nearest([found, *(one for width in widths for one in self._by_mlp(width))])
        if abs(found.gap(self.parameters)) > TOLERANCE:
            raise ValueError(self._no_width(places))
        return found

    def _first_two(self) -> tuple[int, int]:
        """Return the two smallest widths that the class accepts and should have."""
        refused: list[Exception] = []
        found = [width for width, _ in islice(_accepted(self.ref, self.sizes, refused), 2)]
        if len(found) < 2:
            reason = f": {type(refused[-1]).__name__}: {refused[-1]}" if refused else ""
            raise ValueError(f"parameters: no width up to {FIRST} is accepted{reason}")
        return found[0], found[1]

    def _has_mlp(self, width: int) -> bool:
        """Return whether there is a second knob: not set, and read by the model as its other settings are."""
        if self.ref.settings.get(MLP, 0) is not None:
            return False
        try:
            self._at(width, width)
        except ValueError:
            return False
        return True

    def _by_mlp(self, width: int) -> list[Sized]:
        low, high = (round(share * width) for share in MLP_SHARE)
        return self._around(lambda inner: self._at(width, inner), max(1, low), high)

    def _at(self, width: int, inner: int | None = None) -> Sized:
        if (width, inner) not in self.known:
            changed = {} if inner is None else {MLP: inner}
            ref = self.ref.model_copy(update={"settings": self.ref.settings | changed})
            self.known[width, inner] = Sized(ref, width, num_parameters(ref, width, self.sizes))
        return self.known[width, inner]

    def _around(self, at: Callable[[int], Sized], low: int, high: int) -> list[Sized]:
        """Return what lies on either side of the budget among `at(low)` ... `at(high)`, whose parameters grow.

        By bisection, at the place where the root of the count, which grows about evenly with the width, says it is.
        """
        reach = 4
        while low + reach < high and at(low + reach).num_parameters < self.parameters:
            low, reach = low + reach, 4 * reach
        high = min(high, low + reach)
        while high - low > 1:
            below, above = (at(place).num_parameters ** 0.5 for place in (low, high))
            share = (self.parameters**0.5 - below) / (above - below) if above > below else 0.5
            middle = min(max(low + round(share * (high - low)), low + 1), high - 1)
            low, high = (middle, high) if at(middle).num_parameters < self.parameters else (low, middle)
        return [at(low), at(high)]

    def _nearest(self, found: list[Sized]) -> Sized:
        return min(found, key=lambda one: abs(one.num_parameters - self.parameters))

    def _no_width(self, tried: list[Sized]) -> str:
        has = " and ".join(f"{one.num_parameters:,} at width {one.hidden_channels}" for one in tried)
        return f"parameters: no width comes within {TOLERANCE:.0%} of {self.parameters:,}; nearest are {has}"


def _built(ref: ModelRef, hidden_channels: int, sizes: Sizes) -> nn.Module:
    arguments: Any = (ref, sizes.in_channels, hidden_channels, sizes.num_layers, sizes.out_channels, sizes.encoding)
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build(*arguments)
        except (RuntimeError, TypeError):  # a stranger's class may look at numbers, which the meta device does not have
            return build(*arguments)

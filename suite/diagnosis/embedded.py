"""Models whose x are whole numbers: what their embedding makes of them stands in for x, and derivatives are by that."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch_geometric.data import Data
from torch_geometric.data.data import BaseData

Run = Callable[[nn.Module, Data], Tensor]  # the output of a model as measures take it, on a graph
Answer = Callable[[Tensor, Tensor], Tensor]  # of what is looked up and the rows found, the rows handed on
METHODS = ("forward", "encode")


class Embedding:
    """The lookups of a model by the whole numbers of x, of which a call may be handed the rows instead.

    Attributes:
        by_x: of the embeddings that a call looks up, in order, which are asked by x.
        shape: of a node's x.
    """

    def __init__(self, by_x: list[bool], shape: torch.Size) -> None:
        self.by_x, self.shape = by_x, shape

    def replaced(self, model: nn.Module) -> nn.Module:
        """Return `model`, as a shallow copy, for x that are the rows its embedding would give: [num_nodes, channels]."""

        def enter(x: Tensor) -> tuple[Tensor, Answer]:
            place, column = iter(self.by_x), 0

            def answer(_: Tensor, found: Tensor) -> Tensor:
                nonlocal column
                if not next(place, False):
                    return found
                start, column = column, column + found[0].numel()
                return x[:, start:column].reshape(found.shape)

            return torch.zeros(len(x), *self.shape, dtype=torch.long), answer

        return _entered(model, enter)


def embedding_of(model: nn.Module, graphs: Sequence[Data], run: Run) -> tuple[Embedding, list[Data]] | None:
    """Return how `model` looks up the whole numbers that all x of `graphs` are, and graphs with what it finds as their x.

    None where it takes no such x, or looks nothing up by them. Raises ValueError where it reads them in another way besides,
    and what the model raises both on whole numbers and on others.
    """
    looked, outputs, by_x = [], [], list[bool]()
    for graph in graphs:
        try:
            rows, output = _lookups(model, graph, run)
        except Exception as error:
            try:
                run(model, _with_x(graph, graph.x.double()))
            except Exception:  # no call of it does
                raise error from None
            return None  # it takes numbers alone
        others, _ = _lookups(model, _with_x(graph, graph.x.amax(0) - graph.x), run)  # ids that are there too
        changed = [not torch.equal(one, other) for (one, _), (other, _) in zip(rows, others, strict=True)]
        if not graph.x.any():  # which are their own others
            changed = [len(index) == len(graph.x) for index, _ in rows]
        by_x = [a or b for a, b in zip_longest(by_x, changed, fillvalue=False)]
        looked.append([found for _, found in rows])
        outputs.append(output)
    embedding = Embedding(by_x, graphs[0].x.shape[1:])
    found = []
    for graph, rows_found, output in zip(graphs, looked, outputs, strict=True):
        asked = [value.flatten(1) for value, is_asked in zip(rows_found, by_x, strict=False) if is_asked]
        if not asked or any(len(value) != len(graph.x) for value in asked):
            return None
        found.append(_with_x(graph, torch.cat(asked, dim=1)))
        again = run(embedding.replaced(model), found[-1])
        if again.shape != output.shape or not torch.allclose(again, output, equal_nan=True):
            raise ValueError(
                f"{type(model).__name__}: must read x, whole numbers, through its embedding alone, and reads them otherwise too:"
                " derivatives by them are not defined. Numbers that are not whole would do as x"
            )
    return embedding, found


def _lookups(model: nn.Module, graph: Data, run: Run) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Return what a call looks up and finds, and the output."""
    found: list[tuple[Tensor, Tensor]] = []

    def note(index: Tensor, rows: Tensor) -> Tensor:
        found.append((index.detach(), rows.detach()))
        return rows

    output = run(_entered(model, lambda x: (x.round().long(), note)), _with_x(graph, graph.x.double()))
    return found, output


def _with_x(graph: Data, x: Tensor) -> Data:
    other = copy.copy(graph)
    other.x = x
    return other


class _Answering(TorchFunctionMode):
    """Hands on what `answer` says in place of the rows that an embedding finds."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return self.answer(args[0] if args else kwargs["input"], found) if func is F.embedding else found


def _entered(model: nn.Module, enter: Callable[[Tensor], tuple[Tensor, Answer]]) -> nn.Module:
    """Return a shallow copy of `model` that is handed `enter(x)` for x, with its answers to what is then looked up."""

    def around(method: Any) -> Any:
        @functools.wraps(method)  # whose signature is asked for
        def called(self: nn.Module, given: Any, *args: Any, **named: Any) -> Any:
            x = given.x if isinstance(given, BaseData) else given
            if not x.is_floating_point():  # encode, as forward calls it
                return method(self, given, *args, **named)
            x, answer = enter(x)
            with _Answering(answer):
                return method(self, _with_x(given, x) if isinstance(given, BaseData) else x, *args, **named)

        return called

    kind = type(model)
    methods = {name: around(getattr(kind, name)) for name in METHODS if callable(getattr(kind, name, None))}
    other = copy.copy(model)
    other.__class__ = type(kind.__name__, (kind,), methods)
    return other

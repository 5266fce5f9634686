"""A model behind a module that reads the columns an encoding appended to x, and hands it features in their place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from suite.models.base import Model
from suite.operators import Operators

DECLARED = (
    "needs",
    "global_channel",
    "operator",
    "skips",
    "reach",
    "pe_reach",
    "layer_hops",
    "width_multiple",
    "reads_edges",
    "reads_features",
    "pairwise",
    "random",
)


class Front(nn.Module):
    """Base of the modules: columns [..., rows, width] -> features [..., rows, channels], row by row."""

    channels: int


def fronted(front: Front, width: int, model: nn.Module) -> nn.Module:
    """Return `model` behind `front`, which reads the last `width` columns of x: a `Model` where `model` is one."""
    if isinstance(model, Model):
        return Fronted(front, width, model)
    return FrontedStates(front, width, model) if hasattr(model, "encode") else FrontedModule(front, width, model)


def _through(front: Front, width: int, x: Tensor) -> Tensor:
    return torch.cat([x[..., :-width], front(x[..., -width:])], dim=-1)


class Fronted(Model):
    """A built-in model and its front: everything else is the model's."""

    def __init__(self, front: Front, width: int, inner: Model) -> None:
        super().__init__()
        self.front, self.width, self.inner = front, width, inner
        for name in DECLARED:
            setattr(self, name, getattr(inner, name))

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        return self.inner.run(_through(self.front, self.width, x), op, **needs)

    def read(self, hidden: list[Tensor]) -> Tensor:
        return self.inner.read(hidden)

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return self.inner.decode(hidden)


class FrontedModule(nn.Module):
    """A stranger's module and its front; it is called as it would be alone, and declares what it declares."""

    def __init__(self, front: Front, width: int, inner: Any) -> None:
        super().__init__()
        self.front, self.width, self.inner = front, width, inner
        for name in (name for name in DECLARED if hasattr(inner, name)):
            setattr(self, name, getattr(inner, name))

    def forward(self, x: Tensor, edge_index: Tensor, **named: Any) -> Tensor:
        out: Tensor = self.inner(_through(self.front, self.width, x), edge_index, **named)
        return out


class FrontedStates(FrontedModule):
    """One that gives its hidden states, too."""

    def encode(self, x: Tensor, edge_index: Tensor, **named: Any) -> list[Tensor]:
        hidden: list[Tensor] = self.inner.encode(_through(self.front, self.width, x), edge_index, **named)
        return hidden

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.inner.decode(hidden)
        return out

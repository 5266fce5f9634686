"""Mitigations that go with every model: what is left out while training, how first weights are made, what stands between layers.

They are settings that any model is given beside its own. A class with one of these names in its signature takes that one itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError
from torch import nn
from torch_geometric.nn import Linear as PyGLinear
from torch_geometric.nn import MessagePassing

from suite.models.base import Model, thinned_input
from suite.models.encodings import ALONG
from suite.models.layered import ALPHA, GATE_POWER, Layered, Readout
from suite.models.layers import Linear
from suite.operators import drop_pairs
from suite.refs import said
from suite.task import Value


class Mitigations(Value):
    """The settings; those of a model that is given none are the defaults, under which nothing is changed."""

    drop_edge: float = Field(0.0, ge=0, lt=1, description="DropEdge: chance of an edge to be left out of a training step")
    drop_node: float = Field(0.0, ge=0, lt=1, description="DropNode: chance of a node's whole input to be 0 in a training step")
    init: Literal["glorot", "orthogonal"] = Field("glorot", description="first weights of the layers' linear maps")
    weight_scale: float = Field(1.0, gt=0, description="those maps, biases aside, are so many times what init says")

    skip: Literal["none", "residual", "initial", "dense", "gated"] = "none"
    alpha: float = Field(ALPHA, gt=0, lt=1, description="with skip=initial: the share of the first state")
    gate_power: float = Field(GATE_POWER, ge=1, description="with skip=gated: the power of the differences")
    readout: Readout = "last"
    norm: str = "none"
    fully_adjacent_last: bool = False
    virtual_node: bool = False

    def apply(self, model: nn.Module) -> None:
        """Change a freshly built model in place.

        drop_edge: an edge is left out, both ways at once, with this probability, anew at each training step for all layers
            (1907.10903). Encodings, which tell of the task's own graph, stay as they are.
        drop_node: the whole input of a node is 0 with this probability, while training; the other inputs grow by
            1 / (1 - drop_node) (2005.11079, without its several draws and their consistency loss).
        init, weight_scale: of the linear maps in the model's layers (`Model.trunk`; of any other module, in its lists of modules
            and its message passing), in the order in which they are there. glorot is what built-in models begin with, others keep
            their own.

        Raises ValueError where the model has nothing that would change.
        """
        if isinstance(model, Model):
            model.mitigations = self
        self._put_between(model)
        self._apply_init(model)
        if self.drop_edge:
            self._check_edges(model)
        if self.drop_node and not getattr(model, "reads_features", True):
            raise ValueError(
                f"drop_node: must be 0 for this {_name(model)}, which reads no node's features; got {self.drop_node}"
            )
        if self.drop_edge or self.drop_node:
            model.random = True  # type: ignore[assignment]
            if isinstance(model, Model):
                model.drop_edge, model.drop_node = self.drop_edge, self.drop_node
            else:
                model.register_forward_pre_hook(_Thinning(self.drop_edge, self.drop_node))

    def _put_between(self, model: nn.Module) -> None:
        asked = sorted(self.changed.keys() & BETWEEN)
        if isinstance(model, Layered) and asked:
            model.put_between(**{name: getattr(self, name) for name in BETWEEN})
        elif asked:
            name, given = asked[0], getattr(self, asked[0])
            raise ValueError(
                f"{name}: must be {getattr(UNCHANGED, name)} for this {_name(model)}, which has no layers, or none that the suite"
                f" knows of (suite.models.layered); got {given}"
            )

    def _apply_init(self, model: nn.Module) -> None:
        changed = self.changed.keys() & {"init", "weight_scale"}
        if not changed:
            return
        layers = model.trunk if isinstance(model, Model) else _layers_of(model)
        maps = [module for layer in layers for module in layer.modules() if isinstance(module, Linear | PyGLinear | nn.Linear)]
        if not maps:
            raise ValueError(f"{min(changed)}: is of linear maps inside layers, and this {_name(model)} has none; leave it out")
        for module in dict.fromkeys(maps):
            if self.init == "orthogonal":
                nn.init.orthogonal_(module.weight)
            module.weight.data.mul_(self.weight_scale)

    def _check_edges(self, model: nn.Module) -> None:
        """Raise ValueError where no edges are read, or those left out of a step would be read all the same."""
        if not getattr(model, "reads_edges", True):
            raise ValueError(f"drop_edge: must be 0 for this {_name(model)}, which reads no edges; got {self.drop_edge}")
        if found := sorted(ALONG.intersection(getattr(model, "needs", ()))):
            raise ValueError(
                f"drop_edge: must be 0 for this {_name(model)}, which reads edges from '{found[0]}', made once of a whole graph:"
                f" edges left out of a step would be there all the same; got {self.drop_edge}"
            )

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that are not the defaults."""
        return self.model_dump(exclude_defaults=True)


UNCHANGED = Mitigations()
NAMES = frozenset(Mitigations.model_fields)
FOR_ALL = frozenset({"drop_edge", "drop_node", "init", "weight_scale"})
BETWEEN = NAMES - FOR_ALL  # of models that are layers in a row


def mitigations(settings: Mapping[str, Any]) -> Mitigations:
    """Return the settings that `settings` has of them; raises ValueError, naming each, for values that are refused."""
    try:
        return Mitigations.model_validate({name: value for name, value in settings.items() if name in NAMES})
    except ValidationError as error:
        raise ValueError("; ".join(said(found, "", set(NAMES)) for found in error.errors())) from error


class _Thinning:
    """In front of a module called as PyG's are, while it trains: fewer edges, fewer nodes with an input."""

    def __init__(self, drop_edge: float, drop_node: float) -> None:
        self.drop_edge, self.drop_node = drop_edge, drop_node

    def __call__(self, module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not module.training:
            return None
        x, edge_index, *further = given
        return (
            thinned_input(x, self.drop_node),
            drop_pairs(edge_index, self.drop_edge) if self.drop_edge else edge_index,
            *further,
        )


def _layers_of(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.ModuleList | MessagePassing)]


def _name(model: nn.Module) -> str:
    return type(model).__name__

"""The models, one architecture a file, and the table of all of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from suite.cell import ModelRef
from suite.models.grit import GRIT
from suite.models.propagation import Propagation
from suite.models.stack import Stack
from suite.models.transformer import Transformer
from suite.refs import file_sha256, load, ref_of, unknown

DEFAULT_NORM = "batch"


@dataclass(frozen=True)
class ModelEntry:
    """A named setting of a model class. `family` decides the colour in figures, `title` is how it is written."""

    cls: type[nn.Module]
    family: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)


def _stack(family: str, title: str, **settings: Any) -> ModelEntry:
    return ModelEntry(Stack, family, title, {"norm": DEFAULT_NORM} | settings)


MODELS: dict[str, ModelEntry] = {
    "gcn": _stack("MPNN", "GCN"),
    "sage": _stack("MPNN", "GraphSAGE", conv="sage"),
    "gin": _stack("MPNN", "GIN", conv="gin"),
    "gat": _stack("MPNN", "GAT", conv="gat"),
    "gated_gcn": _stack("MPNN", "GatedGCN", conv="gated_gcn"),
    "gcn_residual": _stack("Deep MPNN", "GCN + residual", skip="residual"),
    "gcn_initial": _stack("Deep MPNN", "GCNII", conv="gcnii"),
    "gcn_jk": _stack("Deep MPNN", "GCN + JK", readout="concat"),
    "gcn_adjacent": _stack("Rewired", "GCN + fully adjacent last layer", fully_adjacent_last=True),
    "gcn_virtual_node": _stack("Rewired", "GCN + virtual node", virtual_node=True),
    "spd_transformer": ModelEntry(Transformer, "Transformer", "Transformer + SPD", {"pair_bias": "spd"}),
    "graph_transformer": ModelEntry(
        Transformer, "Transformer", "Graph transformer (edges)", {"conv": "transformer", "attention": "none"}
    ),
    "graphormer": ModelEntry(
        Transformer, "Transformer", "Graphormer", {"pair_bias": "spd", "degree_buckets": 16, "norm_first": True}
    ),
    "gps": ModelEntry(Transformer, "Transformer", "GPS", {"conv": "gcn"}),
    "gps_performer": ModelEntry(Transformer, "Transformer", "GPS (Performer)", {"conv": "gcn", "attention": "performer"}),
    "exphormer": ModelEntry(Transformer, "Transformer", "Exphormer", {"conv": "gcn", "attention": "expander"}),
    "grit": ModelEntry(GRIT, "Transformer", "GRIT"),
    "set_transformer": ModelEntry(Transformer, "Control", "Set transformer (no edges)"),
    "mlp": ModelEntry(Stack, "Control", "MLP (no graph)", {"conv": "node_wise", "norm": "layer"}),
    "propagation": ModelEntry(Propagation, "Control", "Propagation only"),
}


def find(name: str) -> ModelEntry:
    """Return the entry called `name`, or one made for a `module:Name` or `file.py:Name` reference.

    Raises ValueError, with the nearest known names, where there is none.
    """
    if name in MODELS:
        return MODELS[name]
    if ":" in name:
        cls = load(name)
        return ModelEntry(cls, "Own", cls.__name__)
    raise ValueError(f"{unknown('model', name, MODELS)}; or file.py:Name")


def resolve(name: str, overrides: dict[str, Any] | None = None) -> ModelRef:
    """Return the reference of model `name` with every setting written out, `overrides` taking precedence.

    Raises ValueError for an unknown name or setting.
    """
    entry = find(name)
    parameters = list(inspect.signature(entry.cls.__init__).parameters.values())[5:]  # behind self and the four sizes
    known = {p.name: p.default for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    settings = known | entry.settings | (overrides or {})
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"model '{name}' has no setting '{unknown[0]}'; it has: {', '.join(known) or 'none'}")
    missing = sorted(key for key, value in settings.items() if value is inspect.Parameter.empty)
    if missing:
        raise ValueError(f"model '{name}': setting '{missing[0]}' has no default and must be given")
    ref = ref_of(entry.cls)
    return ModelRef(ref=ref, settings=settings, version=getattr(entry.cls, "version", 1), sha256=file_sha256(ref))


def build(ref: ModelRef, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> nn.Module:
    """Return the model that `ref` describes, freshly initialised from torch's global generator."""
    model: nn.Module = load(ref.ref, ref.sha256)(in_channels, hidden_channels, num_layers, out_channels, **ref.settings)
    return model

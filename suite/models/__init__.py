"""The models, one architecture a file, and the table of all of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from suite.cell import FactorRef, ModelRef
from suite.models.adgn import ADGN
from suite.models.appnp import APPNP
from suite.models.cognn import CoGNN
from suite.models.constant import Constant
from suite.models.encodings import ENCODINGS
from suite.models.fronted import fronted
from suite.models.graphcon import GraphCON
from suite.models.grit import GRIT
from suite.models.layered import Layered
from suite.models.mitigations import FOR_ALL, NAMES, Mitigations, mitigations
from suite.models.node_encodings import load_encoding
from suite.models.phdgn import PHDGN
from suite.models.polynormer import Polynormer
from suite.models.propagation import Propagation
from suite.models.sgformer import SGFormer
from suite.models.specformer import Specformer
from suite.models.stack import Stack
from suite.models.swan import SWAN
from suite.models.tokengt import TokenGT
from suite.models.transformer import Transformer
from suite.refs import file_sha256, load, ref_of, unknown
from suite.rng import canonical_json

DEFAULT_NORM = "batch"
SIZES = ("in_channels", "hidden_channels", "num_layers", "out_channels")  # how PyG's models are made


@dataclass(frozen=True)
class ModelEntry:
    """A named setting of a model class. `family` decides the colour in figures, `title` is how it is written.

    The family is that of the model where it is told of the graph; where it is not, it is a control (`suite.factors.family`).
    """

    cls: type[nn.Module]
    family: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def own_settings(self) -> dict[str, Any]:
        """Those that are no mitigation of every model."""
        return {name: value for name, value in self.settings.items() if name not in FOR_ALL}


UNCHANGED = Mitigations().model_dump()
WRITTEN = {name: UNCHANGED[name] for name in FOR_ALL}  # of stacks: keys are as they were when a stack alone had them


def _stack(family: str, title: str, **settings: Any) -> ModelEntry:
    return ModelEntry(Stack, family, title, {"norm": DEFAULT_NORM} | settings | WRITTEN)


EXPHORMER = {"conv": "gcn", "attention": "expander", "expander_degree": 4, "num_virtual_nodes": 1}

MODELS: dict[str, ModelEntry] = {
    "gcn": _stack("MPNN", "GCN"),
    "sage": _stack("MPNN", "GraphSAGE", conv="sage"),
    "gin": _stack("MPNN", "GIN", conv="gin"),
    "gat": _stack("MPNN", "GAT", conv="gat"),
    "gated_gcn": _stack("MPNN", "GatedGCN", conv="gated_gcn"),
    "gcn_residual": _stack("Deep MPNN", "GCN + residual", skip="residual"),
    "gcn_initial": _stack("Deep MPNN", "GCNII", conv="gcnii"),
    "gcn_jk": _stack("Deep MPNN", "GCN + JK", readout="concat"),
    "gatv2": _stack("MPNN", "GATv2", conv="gatv2"),
    "pna": _stack("MPNN", "PNA", conv="pna"),
    "mixhop": _stack("MPNN", "MixHop", conv="mixhop"),
    "ggnn": _stack("MPNN", "GGNN", conv="ggnn", norm="none"),
    "sgc": ModelEntry(Propagation, "MPNN", "SGC", {"rescale": False}),
    "appnp": ModelEntry(APPNP, "Deep MPNN", "APPNP"),
    "cognn": ModelEntry(CoGNN, "Rewired", "Co-GNN"),
    "adgn": ModelEntry(ADGN, "Deep MPNN", "A-DGN"),
    "graphcon": ModelEntry(GraphCON, "Deep MPNN", "GraphCON"),
    "swan": ModelEntry(SWAN, "Deep MPNN", "SWAN"),
    "phdgn": ModelEntry(PHDGN, "Deep MPNN", "PH-DGN"),
    "dense_gcn": _stack("Deep MPNN", "DenseGCN", skip="dense", readout="concat"),
    "drew": _stack("Rewired", "DRew", conv="drew", skip="residual"),
    "drew_delay": _stack("Rewired", "ν-DRew", conv="drew_delay", skip="residual"),
    "gred": _stack("Rewired", "GRED (state space over hops)", conv="gred", skip="residual"),
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
    "exphormer": ModelEntry(Transformer, "Transformer", "Exphormer", EXPHORMER),
    "grit": ModelEntry(GRIT, "Transformer", "GRIT"),
    "sgformer": ModelEntry(SGFormer, "Transformer", "SGFormer"),
    "nodeformer": ModelEntry(Transformer, "Transformer", "NodeFormer", {"attention": "nodeformer"}),
    "san": ModelEntry(Transformer, "Transformer", "SAN", {"attention": "san"}),
    "tokengt": ModelEntry(TokenGT, "Transformer", "TokenGT"),
    "specformer": ModelEntry(Specformer, "Transformer", "Specformer"),
    "polynormer": ModelEntry(Polynormer, "Transformer", "Polynormer"),
    "set_transformer": ModelEntry(Transformer, "Transformer", "Set transformer"),
    "deep_sets": _stack("Rewired", "DeepSets", conv="node_wise", norm="layer", virtual_node=True),
    "mlp": _stack("MPNN", "MLP", conv="node_wise", norm="layer"),
    "constant": ModelEntry(Constant, "Control", "Constant"),
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
        _check_signature(name, cls)
        return ModelEntry(cls, "Own", cls.__name__)
    raise ValueError(f"{unknown('model', name, MODELS)}; or file.py:Name")


def _check_signature(name: str, cls: Any) -> None:
    """Raise ValueError where a stranger's class is not called as PyG's models are; what it does when called shows later."""
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(f"'{name.rpartition('/')[2]}' is no model: a model is a subclass of torch.nn.Module")
    taken, more = _positional(cls.__init__)
    apart = len(taken) < len(SIZES) and not more
    if apart or any(known in SIZES and known != asked for known, asked in zip(taken, SIZES, strict=False)):
        raise ValueError(f"{cls.__name__}: must be made as ({', '.join(SIZES)}), its __init__ takes ({', '.join(taken)})")
    taken, more = _positional(cls.forward)
    if len(taken) < 2 and not more:
        raise ValueError(f"{cls.__name__}: forward must take (x, edge_index), and may take batch; it takes ({', '.join(taken)})")
    needed = set(_needed(cls.forward)) - {*taken[:2], "batch", *ENCODINGS}
    if needed:
        raise ValueError(f"{cls.__name__}: forward needs '{min(needed)}' besides (x, edge_index), which no task has")


def _positional(function: Any) -> tuple[list[str], bool]:
    """Return the names of the parameters behind self that may be given by place, and whether there may be any number more."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named, any(p.kind is p.VAR_POSITIONAL for p in parameters)


def _needed(function: Any) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _of_stacks(setting: str) -> str:
    """Say which models have a setting that is about what stands between layers, where others have equations of their own."""
    stacks = [name for name, entry in MODELS.items() if entry.cls is Stack]
    return f", which is one of stacks ({', '.join(stacks)})" if setting in _defaults(stacks[0]) else ""


def resolve(name: str, overrides: dict[str, Any] | None = None) -> ModelRef:
    """Return the reference of model `name` with every setting written out, `overrides` taking precedence.

    Defaults that JSON cannot say (a stranger's `act=torch.relu`) stay with the class. Raises ValueError for an unknown name or
    setting, and for a class that is not called as PyG's models are.
    """
    entry, known = find(name), _defaults(name)
    settings = {key: value for key, value in known.items() if _can_be_said(value)} | entry.settings | (overrides or {})
    unknown = sorted(set(settings) - set(known) - NAMES)
    if unknown:
        every = ", ".join(sorted(settings_of(name) - set(known)))
        raise ValueError(
            f"model '{name}' has no setting '{unknown[0]}'{_of_stacks(unknown[0])}; it has: {', '.join(known) or 'none'}; and as "
            f"every model {every}"
        )
    shared = mitigations({key: value for key, value in settings.items() if key not in known}).model_dump()
    for key in set(settings) & NAMES - set(known):
        settings[key] = shared[key]
        if shared[key] == UNCHANGED[key] and key not in entry.settings:
            del settings[key]  # one thing has one key
    missing = sorted(key for key, value in known.items() if value is inspect.Parameter.empty and key not in settings)
    if missing:
        raise ValueError(f"model '{name}': setting '{missing[0]}' has no default and must be given")
    for key in getattr(entry.cls, "later", ()):  # one thing has one key
        if settings[key] == known[key]:
            del settings[key]
    ref = ref_of(entry.cls)
    return ModelRef(ref=ref, settings=settings, version=getattr(entry.cls, "version", 1), sha256=file_sha256(ref))


def settings_of(name: str) -> set[str]:
    """Return the names of the settings that model `name` has beside the four sizes, mitigations included; raises as `find`."""
    return {*(NAMES if issubclass(find(name).cls, Layered) else FOR_ALL), *_defaults(name)}


def _defaults(name: str) -> dict[str, Any]:
    return _own_settings(find(name).cls)


def _own_settings(cls: type[nn.Module]) -> dict[str, Any]:
    parameters = list(inspect.signature(cls.__init__).parameters.values())[5:]  # behind self and the four sizes
    return {p.name: p.default for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def _can_be_said(value: Any) -> bool:
    try:
        canonical_json(value)
    except (TypeError, ValueError):
        return False
    return True


def build(
    ref: ModelRef,
    in_channels: int,
    hidden_channels: int,
    num_layers: int,
    out_channels: int,
    encoding: FactorRef | None = None,
) -> nn.Module:
    """Return the model that `ref` describes, freshly initialised from torch's global generator.

    `in_channels` is the width of x, the columns of an `encoding` included; one with weights of its own stands in front of it.
    """
    given = None if encoding is None else load_encoding(encoding)
    front = None if given is None else given.front()
    if given is not None and front is not None:
        in_channels += front.channels - given.width
    cls = load(ref.ref, ref.sha256)
    shared = ref.settings.keys() & NAMES - _own_settings(cls).keys()
    own = {name: value for name, value in ref.settings.items() if name not in shared}
    model: nn.Module = cls(in_channels, hidden_channels, num_layers, out_channels, **own)
    mitigations({name: ref.settings[name] for name in shared}).apply(model)
    return model if given is None or front is None else fronted(front, given.width, model)

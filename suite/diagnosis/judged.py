"""Which operator a model is judged by: the one it declares, else that of its layers, else the one it looks smoothest under."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast, get_args

from torch import nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.nn import attention

from suite.measures.frozen import Pass, outermost_convs
from suite.measures.smoothing import expected_rayleigh_quotient, rayleigh_quotient
from suite.measures.structure import Operator

BY_AGGREGATION: dict[str, Operator] = {
    **dict.fromkeys(("mean", "MeanAggregation()", "softmax"), "mean"),
    **dict.fromkeys(("add", "sum", "SumAggregation()"), "sum"),
}
ASSUMED: tuple[Operator, ...] = ("gcn", "mean")  # of messages along edges


def _aggregated(conv: Any) -> Operator | None:
    return BY_AGGREGATION.get(conv.aggr) if isinstance(conv.aggr, str) else None


def _normalised(conv: Any) -> Operator | None:
    if not conv.normalize:
        return _aggregated(conv)
    return "gcn" if conv.add_self_loops and not getattr(conv, "improved", False) else None


def _one_step(conv: Any) -> Operator | None:
    return "gcn" if conv.K == 1 and conv.add_self_loops else None


# A layer is a step of an operator where states in that operator's limit stay in it: attention weighs by what sums to 1, and
# leaves equal rows equal, as a mean does. Of any other class (a maximum, other loops, several steps in a layer) nothing is read.
READ: dict[type[nn.Module], Callable[[Any], Operator | None]] = {
    **dict.fromkeys((pyg.GCNConv, pyg.GCN2Conv), _normalised),
    pyg.SGConv: _one_step,
    **dict.fromkeys((pyg.GATConv, pyg.GATv2Conv, pyg.FusedGATConv, pyg.SuperGATConv), lambda _: "mean"),
    **dict.fromkeys((pyg.TransformerConv, pyg.AGNNConv, pyg.PNAConv), lambda _: "mean"),
    **dict.fromkeys((pyg.SAGEConv, pyg.GraphConv, pyg.SimpleConv, pyg.GINConv, pyg.GINEConv), _aggregated),
    **dict.fromkeys((pyg.GENConv, pyg.FeaStConv, pyg.FiLMConv), _aggregated),
    **dict.fromkeys((pyg.GPSConv, attention.PerformerAttention), lambda _: "complete"),
    **dict.fromkeys((attention.SGFormerAttention, attention.PolynormerAttention), lambda _: "complete"),
}
OVER_ALL = (attention.PerformerAttention, attention.SGFormerAttention, attention.PolynormerAttention, nn.MultiheadAttention)


class Judged(NamedTuple):
    """The operator, and whose word it is: the model's own, that of its layers, or nobody's."""

    operator: Operator
    told_by: Literal["model", "layers", "nobody"]
    layers: tuple[str, ...] = ()  # names of the classes of its layers

    @property
    def text(self) -> str:
        """One sentence for the summary."""
        of = {"complete": "all pairs of nodes", "none": "no operator"}.get(self.operator, f"the {self.operator} operator")
        if self.told_by == "model":
            return f"Judged by {of}, as it declares."
        if self.told_by == "layers":
            return f"Judged by {of}, which is that of its {' and '.join(self.layers)}: it declares none."
        unread = f", and none is read off {' and '.join(self.layers)}" if self.layers else ""
        return f"Judged by {of}, under which its last state is smoothest: it declares none{unread}."


def judged(model: nn.Module, first: Pass, graph: Data) -> Judged:
    """Return which operator `model` is judged by, which gave `first` on `graph`.

    Declared by an attribute `operator`; else read off its PyG convolutions and attention over all nodes, where each is a step of
    one operator, and the same (attention over all nodes is it, whatever is beside); else assumed: gcn or mean, whichever's
    Rayleigh quotient of the last state is the smaller part of that of random rows, so that a collapsed state is never called
    rough by the wrong one.
    """
    declared: Any = getattr(model, "operator", None)
    if isinstance(declared, str) and declared in get_args(Operator):
        return Judged(cast(Operator, declared), "model")
    layers = [*outermost_convs(model), *(part for part in model.modules() if isinstance(part, OVER_ALL))]
    found = [(type(layer).__name__, read(layer) if (read := READ.get(type(layer))) else None) for layer in layers]
    over_all = [name for name, operator in found if operator == "complete"]
    operators: set[Operator | None] = {"complete"} if over_all else {operator for _, operator in found}
    names = tuple(dict.fromkeys(over_all or [name for name, _ in found]))
    read_off = operators.pop() if len(operators) == 1 else None
    if read_off is None:
        return Judged(_smoothest(first, graph), "nobody", names)
    return Judged(read_off, "layers", names)


def _smoothest(first: Pass, graph: Data) -> Operator:
    edges, num_nodes = graph.edge_index, int(graph.num_nodes or 0)
    null = {name: expected_rayleigh_quotient(edges, num_nodes, name) for name in ASSUMED}
    if not all(null.values()):  # no edges
        return "complete"
    return min(ASSUMED, key=lambda name: float(rayleigh_quotient(first.hidden[-1], edges, name)) / null[name])


def judged_by(seen: nn.Module, found: Judged) -> nn.Module:
    """Return a shallow copy of `seen` that measures judge by that operator; `seen` itself where it says so."""
    if getattr(seen, "operator", None) == found.operator:
        return seen
    told = copy.copy(seen)
    told.judged_by = (found.operator, found.told_by == "model")  # type: ignore[assignment]  # no tensor and no module
    return told

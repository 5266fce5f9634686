"""What every built-in model is: mathematics written once against operators, called as PyG's models are."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from suite.models.encodings import Needs
from suite.models.layers import dropout
from suite.operators import GraphOperators, Operators


class Model(nn.Module):
    """Base of the built-in models: `states` and `decode` are theirs, the calling conventions are here.

    Attributes:
        needs: names of the graph transforms (`suite.models.encodings`) passed by keyword; those that are not made by their
            defaults with their settings, as a dictionary.
        later: settings that are no part of a reference where they are at their default: there were results before them.
        global_channel: what carries information past the edges, out of norm, norm(train), virtual_node,
            rewiring (edges that the graph does not have), attention, pooling.
        operator: whose smoothing the model is judged by: gcn, mean, sum, complete or none.
        skips: what layers hand on past `operator`: none; added: the state before, where it is as wide as what is added to it;
            other: anything else (a mean over all nodes, other edges), beside which powers of the operator say little.
        reach: how many hops away the output can depend on an input; None where a global channel reaches everywhere.
        pe_reach: up to how many hops apart encodings of pairs (`PAIRS`), which it needs, tell it one distance from another:
            what is asked farther away is out of their reach, if not of attention's. 0 without any, None: at any distance.
        layer_hops: how many edges far each layer reads, as `op.layer` counts them; None: one edge each.
        width_multiple: hidden_channels should be a multiple of it, as that of heads; budgets keep to it.
        reads_edges: whether its layers, however many, read the edges that they run on: by operators, or by a need in `ALONG`.
        reads_features: whether its output depends on x at all.
        pairwise: whether it keeps a state of every pair of nodes, as large as that of a node.
        frozen: whether no weights stand before `decode`, so that the last state, which it reads, is the same at every step.
        random: whether training draws random numbers (dropout), so that replicas cannot share a stream.
        drop_edge, drop_node: what training leaves out, as `suite.models.mitigations` says; set on the model once built.
        made, mitigations: the arguments it was made with, and the mitigations that were then applied, so that its like can be
            made untrained.
    """

    version: ClassVar[int] = 1
    needs: Needs = frozenset()
    later: ClassVar[frozenset[str]] = frozenset()
    global_channel: frozenset[str] = frozenset()
    operator: str = "none"
    skips: str = "other"
    reach: int | None = 0
    pe_reach: int | None = 0
    layer_hops: tuple[int, ...] | None = None
    width_multiple: int = 1
    reads_edges: bool = True
    reads_features: bool = True
    pairwise: bool = False
    frozen: bool = False
    random: bool = False
    drop_edge: float = 0.0
    drop_node: float = 0.0
    made: tuple[tuple[Any, ...], dict[str, Any]]
    mitigations: Any = None

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        model = super().__new__(cls)
        model.__dict__["made"] = (args, settings)  # past nn.Module, which is not there yet
        return model

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        """Return the hidden states before the first layer and after each."""
        raise NotImplementedError

    def run(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        """Return the `states`; while training, of what `drop_edge` and `drop_node` leave of the graphs."""
        if self.training and self.drop_edge:
            op = op.drop_edges(self.drop_edge)
        if self.training:
            x = thinned_input(x, self.drop_node)
        return self.states(x, op, **needs)

    def last_state(self, x: Tensor, op: Operators, **needs: Tensor) -> Tensor:
        """Return the last of the `states`; a `frozen` model need not hold the others meanwhile."""
        return self.states(x, op, **needs)[-1]

    @property
    def trunk(self) -> list[nn.Module]:
        """The modules whose linear maps `init` and `weight_scale` are about: lists of layers, and what layers share."""
        return [part for name, part in self.named_children() if isinstance(part, nn.ModuleList) or name.startswith("shared")]

    def read(self, hidden: list[Tensor]) -> Tensor:
        """Return the features that `decode` reads: the last state, unless a model reads others too."""
        return hidden[-1]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        """Return the output of the nodes that the last of the hidden states holds."""
        raise NotImplementedError

    def encode(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None, **needs: Tensor) -> list[Tensor]:
        """Map x [num_nodes, in_channels] to the hidden states [H0, ..., HL], each [num_nodes, channels]."""
        return self.run(x, GraphOperators(edge_index, x.size(0), x.dtype, batch), **needs)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None, **needs: Tensor) -> Tensor:
        """Map x [num_nodes, in_channels] to [num_nodes, out_channels]."""
        return self.decode(self.encode(x, edge_index, batch, **needs))

    def bounded(self, hops: int) -> int | None:
        """Return `hops` as the reach, or None where a channel past the edges is open in eval mode too."""
        return None if self.global_channel - {"norm(train)"} else hops

    @property
    def calibrated(self) -> list[nn.Module]:
        """The layers that take constants from the first training batch."""
        return [module for module in self.modules() if hasattr(module, "calibrating")]

    @torch.no_grad()
    def calibrate(self, forward: Any) -> None:
        """Let data-dependent layers take their constants during one call of `forward`."""
        for module in self.calibrated:
            module.calibrating = True  # type: ignore[assignment]
        forward(self)
        for module in self.calibrated:
            module.calibrating = False  # type: ignore[assignment]


def thinned_input(x: Tensor, p: float) -> Tensor:
    """Return x [..., rows, channels] with the whole row of a node 0 with probability `p`, and 1 / (1 - p) times itself else."""
    return x * dropout(torch.ones_like(x[..., :1]), p) if p else x

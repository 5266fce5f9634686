"""The message-passing layers: one class each, one table. A layer maps h to the rows `op` writes; `initial` is H0 there."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from suite.models.layers import MLP, Linear, per_replica
from suite.operators import Operators


class Conv(nn.Module):
    """Base: `(in_channels, out_channels, index, bias)`: index counts layers from 0; bias is off before a BatchNorm."""

    operator: ClassVar[str] = "none"  # whose fixed space the layer smooths towards
    hops: ClassVar[int] = 1

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__()

    def forward(self, h: Tensor, op: Operators, initial: Tensor) -> Tensor:
        raise NotImplementedError


class GCN(Conv):
    """S h W + b, S the symmetrically normalised adjacency with self-loops (1609.02907; twin of `GCNConv`)."""

    operator = "gcn"

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lin = Linear(in_channels, out_channels, bias)

    def forward(self, h: Tensor, op: Operators, initial: Tensor) -> Tensor:
        return self.lin.around(op.gcn, h)


class GCNII(Conv):
    """((1-alpha) S h + alpha H0) ((1-beta) I + beta W), beta = ln(theta / l + 1) (2007.02133; twin of `GCN2Conv`).

    alpha = .1 and theta = .5 are the published defaults.
    """

    operator = "gcn"
    alpha, theta = 0.1, 0.5

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        if in_channels != out_channels:
            raise ValueError(f"GCNII: needs equal widths behind an encoder, got {in_channels} to {out_channels} channels")
        self.beta = math.log(self.theta / (index + 1) + 1)
        self.lin = Linear(in_channels, out_channels, bias=False)

    def forward(self, h: Tensor, op: Operators, initial: Tensor) -> Tensor:
        mixed = (1 - self.alpha) * op.gcn(h) + self.alpha * initial
        out: Tensor = (1 - self.beta) * mixed + self.beta * self.lin(mixed)
        return out


class SAGE(Conv):
    """W1 mean(h_neighbours) + b + W2 h (1706.02216; twin of `SAGEConv`)."""

    operator = "mean"

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lin_neighbour, self.lin_self = Linear(in_channels, out_channels, bias), Linear(in_channels, out_channels, bias=False)

    def forward(self, h: Tensor, op: Operators, initial: Tensor) -> Tensor:
        out: Tensor = self.lin_neighbour.around(op.mean, h) + self.lin_self(op.root(h))
        return out


class GIN(Conv):
    """MLP(h + sum of the neighbours), epsilon = 0 (1810.00826; twin of `GINConv`)."""

    operator = "sum"

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.mlp = MLP(in_channels, out_channels, out_channels, bias)

    def forward(self, h: Tensor, op: Operators, initial: Tensor) -> Tensor:
        out: Tensor = self.mlp(op.root(h) + op.sum(h))
        return out


class GAT(Conv):
    """Attention over neighbours and self, `heads` of them side by side (1710.10903; twin of `GATConv`)."""

    operator = "mean"
    heads, slope = 4, 0.2

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        heads = self.heads if out_channels % self.heads == 0 else 1  # a narrow last layer has one head
        self.lin = Linear(in_channels, out_channels, bias=False)
        self.att_source = nn.Parameter(torch.empty(heads, out_channels // heads))
        self.att_target = nn.Parameter(torch.empty(heads, out_channels // heads))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.xavier_uniform_(self.att_source)
        nn.init.xavier_uniform_(self.att_target)

    def forward(self, h: Tensor, op: Operators, initial: Tensor) -> Tensor:
        value = self.lin(h)
        out = op.attend(value, value @ self._score(self.att_source), op.root(value @ self._score(self.att_target)), self.slope)
        return out if self.bias is None else out + per_replica(self.bias, 1, h)

    @staticmethod
    def _score(att: Tensor) -> Tensor:
        """Return the matrix [..., heads * channels, heads] that sums each head's channels weighed by `att`."""
        eye = torch.eye(att.size(-2), dtype=att.dtype, device=att.device)
        return rearrange(att.unsqueeze(-1) * eye.unsqueeze(1), "... h c g -> ... (h c) g")


class NodeWise(Conv):
    """h W + b: no edges at all, the graph-blind control."""

    hops = 0

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lin = Linear(in_channels, out_channels, bias)

    def forward(self, h: Tensor, op: Operators, initial: Tensor) -> Tensor:
        out: Tensor = self.lin(op.root(h))
        return out


CONVS: dict[str, type[Conv]] = {"gat": GAT, "gcn": GCN, "gcnii": GCNII, "gin": GIN, "node_wise": NodeWise, "sage": SAGE}

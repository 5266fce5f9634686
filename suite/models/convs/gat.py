"""Graph attention."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear, per_replica
from suite.operators import Operators


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

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        value = self.lin(h)
        source, target = value @ score_matrix(self.att_source), value @ score_matrix(self.att_target)
        out = op.attend(value, source, op.root(target), self.slope)
        return out if self.bias is None else out + per_replica(self.bias, 1, h)


class OneHeadGAT(GAT):
    """GAT with a single head, whatever the width."""

    heads = 1


def score_matrix(att: Tensor) -> Tensor:
    """Return the matrix [..., heads * channels, heads] that sums each head's channels weighed by `att` [..., heads, channels]."""
    eye = torch.eye(att.size(-2), dtype=att.dtype, device=att.device)
    return rearrange(att.unsqueeze(-1) * eye.unsqueeze(1), "... h c g -> ... (h c) g")

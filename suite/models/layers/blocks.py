"""Linear maps, two of them with a ReLU between, dropout."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def per_replica(weight: Tensor, plain_dim: int, h: Tensor) -> Tensor:
    """Shape `weight` so that it broadcasts against `h`: its own axes last, its replica axis, if any, first."""
    if weight.dim() == plain_dim:
        return weight
    return weight.reshape(weight.size(0), *[1] * (h.dim() - weight.dim()), *weight.shape[1:])


def dropout(h: Tensor, p: float) -> Tensor:
    """Return h with each entry 0 with probability p, and 1 / (1 - p) times itself else (p in steps of 2^-16).

    Four entries share one draw of 64 bits: PyTorch's own takes one for each, most of the time of a step on wide features.
    """
    cut = round(p * 2**16)
    bits = torch.empty(-(-h.numel() // 4), dtype=torch.int64, device=h.device).random_(-(2**63), None)
    kept = (bits.view(torch.int16)[: h.numel()] >= cut - 2**15).to(h.dtype).mul_(1 / (1 - cut / 2**16))
    return h * kept.view(h.shape)


class Linear(nn.Module):
    """`h @ weight.T + bias`, with weight [out_channels, in_channels] and bias [out_channels], Glorot and zero at the start."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    @property
    def matrix(self) -> Tensor:
        """What features are multiplied by: `weight`, unless a subclass makes something of it."""
        return self.weight

    @property
    def narrows(self) -> bool:
        """Whether the output is narrower than the input: what else is linear is then cheaper behind than before."""
        return self.weight.size(-2) < self.weight.size(-1)

    def forward(self, h: Tensor) -> Tensor:
        return self._product(h, self.bias)

    def around(self, propagate: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
        """Return `propagate(h) @ weight.T + bias` for a linear map between nodes, in whichever order is cheaper."""
        if not self.narrows:  # the cone then transforms fewer rows
            return self._product(propagate(h), self.bias)
        out = propagate(self._product(h, None))
        return out if self.bias is None else out + per_replica(self.bias, 1, out)

    def _product(self, h: Tensor, bias: Tensor | None) -> Tensor:
        if self.weight.dim() == 2:
            return F.linear(h, self.matrix, bias)
        transposed = self.matrix.mT
        return h @ transposed if bias is None else torch.baddbmm(bias.unsqueeze(1), h, transposed)


class MLP(nn.Module):
    """Two linear maps with a ReLU between them; `bias` is the second one's."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.first, self.second = Linear(in_channels, hidden_channels), Linear(hidden_channels, out_channels, bias)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(h).relu_())
        return out

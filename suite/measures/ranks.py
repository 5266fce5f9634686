"""Ranks: in how many directions the rows of a matrix of states still differ, by its singular values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CUT = 1e-12  # of the largest singular value: what is below is rounding


class Ranks(NamedTuple):
    """Of h [..., num_nodes, channels], all from one decomposition: [...] float64 each."""

    effective: Tensor
    stable: Tensor
    numerical: Tensor
    residual: Tensor


def ranks(h: Tensor) -> Ranks:
    """Return four ranks of h [..., num_nodes, channels], each [...] float64, of its singular values s, largest first:

        effective  exp(entropy of s / sum s)                                    (Roy and Vetterli, 2007)
        stable     |h|^2 / s_1^2                                                (2502.04591, there "numerical rank")
        numerical  how many s there are                                         (NumPy's matrix_rank, rtol=1e-12)
        residual   sqrt(1 - s_1^2 / sum s^2), the rank-one residual             (2308.16800)

    Singular values are those above 1e-12 s_1, whatever the size of h: what is below is what rounding leaves in float64, and no
    rank counts it. Zero: `residual` alone reaches it, at rank one, where the others are 1. All are at most min(num_nodes,
    channels): compare at equal sizes. Scale-free, all four. NaN where h is 0, or not finite. Cost: one decomposition, O(n d
    min(n, d)).

    Pitfalls: an offset common to all nodes inflates s_1: look at `h - h.mean(-2, keepdim=True)` too. Rank one is not loss of
    information: one direction can still carry the answer. A model that ran in float32 leaves rounding above the cut.
    """
    h = unit(h)
    finite = h.isfinite().all(-1).all(-1)
    values = torch.linalg.svdvals(h.nan_to_num())
    values = torch.where(values > CUT * values[..., :1], values, 0)
    squares = values.square()
    share, first = values / values.sum(-1, keepdim=True), squares[..., 0]
    found = (
        (-torch.special.xlogy(share, share).sum(-1)).exp(),
        squares.sum(-1) / first,
        (values > 0).sum(-1).double(),
        (squares[..., 1:].sum(-1) / squares.sum(-1)).sqrt(),
    )
    return Ranks(*(torch.where(finite, rank, torch.nan) for rank in found))


def unit(h: Tensor) -> Tensor:
    """Return `h` in float64 with its largest entry brought to 1, so that no square under- or overflows; NaN where h is 0."""
    h = h.double()
    return h / h.abs().amax((-2, -1), keepdim=True)

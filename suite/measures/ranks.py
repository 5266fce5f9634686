"""Ranks: in how many directions the rows of a matrix of states still differ, by its singular values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

GRAM_FROM = 512  # channels and nodes from which a singular value decomposition takes seconds


class Ranks(NamedTuple):
    """Of h [..., num_nodes, channels], all from one decomposition: [...] float64 each."""

    effective: Tensor
    stable: Tensor
    numerical: Tensor
    residual: Tensor


def ranks(h: Tensor) -> Ranks:
    """Return four ranks of h [..., num_nodes, channels], each [...] float64, s its singular values, largest first:

        effective  exp(entropy of s / sum s)                                    (Roy and Vetterli, 2007)
        stable     |h|^2 / s_1^2                                                (2502.04591, there "numerical rank")
        numerical  how many s are above max(num_nodes, channels) eps s_1        (NumPy's matrix_rank, but for those dropped)
        residual   sqrt(1 - s_1^2 / sum s^2), the rank-one residual             (2308.16800)

    Zero: `residual` alone reaches it, at rank one, where the others are 1. All are at most min(num_nodes, channels): compare at
    equal sizes. Scale-free, all four. NaN where h is 0, or not finite. Cost: one decomposition, O(n d min(n, d)). Singular
    values below 1e-12 of the largest are dropped; of states wider than 512 channels and nodes, whose singular values come from
    products of their columns or rows, those below 1e-7.

    Pitfalls: an offset common to all nodes inflates s_1: look at `h - h.mean(-2, keepdim=True)` too. Rank one is not loss of
    information: one direction can still carry the answer.
    """
    h = unit(h)
    finite = h.isfinite().all(-1).all(-1)
    values = _singular_values(h.nan_to_num())
    squares = values.square()
    share, first = values / values.sum(-1, keepdim=True), squares[..., 0]
    small = max(h.shape[-2:]) * torch.finfo(torch.float64).eps
    found = (
        (-torch.special.xlogy(share, share).sum(-1)).exp(),
        squares.sum(-1) / first,
        (values > small * values[..., :1]).sum(-1).double(),
        (squares[..., 1:].sum(-1) / squares.sum(-1)).sqrt(),
    )
    return Ranks(*(torch.where(finite, rank, torch.nan) for rank in found))


def unit(h: Tensor) -> Tensor:
    """Return `h` in float64 with its largest entry brought to 1, so that no square under- or overflows; NaN where h is 0."""
    h = h.double()
    return h / h.abs().amax((-2, -1), keepdim=True)


def _singular_values(h: Tensor) -> Tensor:
    """Return the singular values of h [..., num_nodes, channels], 0 for those that rounding decides."""
    if min(h.shape[-2:]) <= GRAM_FROM:
        values = torch.linalg.svdvals(h)
        return torch.where(values > 1e-12 * values[..., :1], values, 0)
    gram = h.mT @ h if h.size(-2) > h.size(-1) else h @ h.mT
    squares = torch.linalg.eigvalsh(gram).flip(-1)
    return torch.where(squares > 1e-14 * squares[..., :1], squares, 0).sqrt()

"""Products of a matrix between nodes with features, and their derivatives."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from scipy.sparse import csr_array
from torch import Tensor

DENSE_FROM = 0.2  # share of entries that are not zero; below, a sparse product is the faster one on a CPU


class Product(torch.autograd.Function):
    """Sparse matrix times h [replicas, nodes, columns], with the transposed matrix kept for the way back."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, h: Tensor) -> Tensor:
        ctx.transposed, ctx.matrix = transposed, matrix
        out = h.new_empty(h.size(0), matrix.size(0), h.size(2))
        multiply_into(out, (matrix, transposed), h)
        return out

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[None, None, Tensor]:
        return None, None, product((ctx.transposed, ctx.matrix), gradient[0].contiguous())


def product(matrix: Any, h: Tensor) -> Tensor:
    """Return `matrix`, dense or sparse with its transpose, times h [replicas, nodes, columns]."""
    if isinstance(matrix, Tensor):
        return matrix @ h
    out: Tensor = Product.apply(*matrix, h)  # type: ignore[no-untyped-call]
    return out


def times(matrix: Any, h: Tensor) -> Tensor:
    """Return what `product` does, without a graph for the way back."""
    out = h.new_empty(h.size(0), (matrix if isinstance(matrix, Tensor) else matrix[0]).size(0), h.size(2))
    multiply_into(out, matrix, h)
    return out


def multiply_into(out: Tensor, matrix: Any, h: Tensor) -> None:
    """Write `matrix` times h [replicas, nodes, columns] to `out`, whose replicas need not follow one another."""
    for row, replica in zip(out, h, strict=True):
        torch.mm(matrix if isinstance(matrix, Tensor) else matrix[0], replica, out=row)


def transposed(matrix: Any) -> Any:
    return matrix.T if isinstance(matrix, Tensor) else matrix[::-1]


def cut(matrix: csr_array, rows: list[int], columns: list[int], device: torch.device) -> Any:
    """Return the part of a matrix at `rows` and `columns`: dense where that is faster, else as a pair."""
    part = matrix[rows][:, columns]
    dense = part.nnz >= DENSE_FROM * len(rows) * len(columns)
    return torch.from_numpy(part.toarray()).to(device) if dense else pair(part, device)


def pair(matrix: csr_array, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return a sparse matrix and its transpose."""
    with warnings.catch_warnings():  # PyTorch calls its CSR support beta, once a process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return _on(matrix, device), _on(matrix.T.tocsr(), device)


def _on(matrix: csr_array, device: torch.device) -> Tensor:
    start, column, value = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    size = (matrix.shape[0], matrix.shape[1])
    return torch.sparse_csr_tensor(start.long(), column.long(), value, size, device=device, check_invariants=False)


def select(h: Tensor, nodes: list[int]) -> Tensor:
    """Return h [replicas, nodes, ...] at some nodes: a view where they are the first."""
    first = not nodes or (nodes[-1] == len(nodes) - 1 and nodes == list(range(len(nodes))))
    return h[:, : len(nodes)] if first else h.index_select(1, torch.tensor(nodes, device=h.device))

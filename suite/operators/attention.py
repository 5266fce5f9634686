"""Attention: along edges, and among all nodes of a graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

SOFTMAX_UP_TO = 256  # nodes; above, fused attention is the faster one


class Neighbours(NamedTuple):
    """Edges by target, in the form attention along them wants."""

    row: Tensor  # [num_edges] sources
    col: Tensor  # [num_edges] targets
    num_targets: int
    table: Tensor | None  # [num_targets, largest degree] the edges into each target, some repeated; None: a few have most

    @classmethod
    def of(cls, row: Tensor, col: Tensor, num_targets: int) -> Neighbours:
        """Every target must have an edge; self-loops see to it."""
        col, by_target = col.sort(stable=True)
        count = torch.bincount(col, minlength=num_targets)
        largest = int(count.max()) if len(col) else 0
        offset = torch.arange(largest).minimum(count.unsqueeze(1) - 1)  # the last edge stands for missing ones
        table = (count.cumsum(0) - count).unsqueeze(1) + offset
        return cls(row[by_target], col, num_targets, table if table.numel() <= 4 * len(col) else None)

    def largest(self, score: Tensor) -> Tensor:
        """Return the largest score [replicas, num_edges, ...] of each target's edges."""
        if self.table is not None:
            every = score.index_select(1, self.table.flatten())
            return every.view(score.size(0), *self.table.shape, *score.shape[2:]).amax(2)
        shape = (score.size(0), self.num_targets, *score.shape[2:])
        col = self.col.view(1, -1, *[1] * (score.dim() - 2)).expand_as(score)
        return score.new_full(shape, -torch.inf).scatter_reduce(1, col, score, "amax")


def attend(edges: Neighbours, value: Tensor, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
    """Return attention along edges: value [replicas, nodes, graphs, heads * channels] -> the same at the targets."""
    row, col, heads = edges.row, edges.col, source.size(-1)
    score = F.leaky_relu(source.index_select(1, row) + target.index_select(1, col), negative_slope)
    weight = (score - edges.largest(score.detach()).index_select(1, col)).exp()
    total = weight.new_zeros(value.size(0), edges.num_targets, *weight.shape[2:]).index_add(1, col, weight)
    # One number per head meets `channels` of them: spread by a product with zeros and ones, the fastest way for short rows.
    spread = torch.eye(heads, dtype=value.dtype, device=value.device).repeat_interleave(value.size(-1) // heads, dim=1)
    message = value.index_select(1, row) * (weight @ spread)
    out = message.new_zeros(value.size(0), edges.num_targets, *message.shape[2:]).index_add(1, col, message)
    return out * (1 / total @ spread)


class DenseAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(c) + bias) v for rows [replicas, nodes * graphs, heads * c]: each brought into order once, each way.

    `bias` [replicas, 1, n_out, n, heads]. Written out, since autograd would copy every factor for each product it is in.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, graphs: int, heads: int) -> Tensor:
        ctx.graphs, ctx.heads, ctx.scale = graphs, heads, (query.size(2) // heads) ** -0.5
        q, k, v = (DenseAttention._apart(t, graphs, heads) for t in (query, key, value))
        q = q * ctx.scale
        logits = q @ k.mT
        if bias is not None:
            shape = (query.size(0), graphs, heads, *logits.shape[1:])
            logits = (logits.view(shape) + rearrange(bias, "r 1 n m h -> r 1 h n m")).flatten(0, 2)
        weight = torch.softmax(logits, -1, out=logits)  # in place: the largest of all, and memory is what attention waits for
        ctx.save_for_backward(q, k, v, weight)
        return DenseAttention._together(weight @ v, graphs, heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weight = ctx.saved_tensors
        graphs, heads = ctx.graphs, ctx.heads
        gradient = DenseAttention._apart(gradients[0], graphs, heads)
        logits = gradient @ v.mT
        torch.ops.aten._softmax_backward_data.out(logits, weight, -1, weight.dtype, grad_input=logits)
        found = ((logits @ k).mul_(ctx.scale), logits.mT @ q, weight.mT @ gradient)
        bias = None
        if ctx.needs_input_grad[3]:
            bias = rearrange(logits, "(r g h) n m -> g r n m h", g=graphs, h=heads).sum(0).unsqueeze(1)
        return (*(DenseAttention._together(t, graphs, heads) for t in found), bias, None, None)

    @staticmethod
    def _apart(rows: Tensor, graphs: int, heads: int) -> Tensor:
        return rearrange(rows, "r (n g) (h c) -> (r g h) n c", g=graphs, h=heads).contiguous()

    @staticmethod
    def _together(parts: Tensor, graphs: int, heads: int) -> Tensor:
        return rearrange(parts, "(r g h) n c -> r (n g) (h c)", g=graphs, h=heads)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(c) + bias) v; q, k, v [..., heads, nodes, channels]."""
    if k.size(-2) > SOFTMAX_UP_TO:
        fused: Tensor = F.scaled_dot_product_attention(q, k, v, bias)
        return fused
    logits = (q * q.size(-1) ** -0.5) @ k.mT
    out: Tensor = (logits if bias is None else logits + bias).softmax(-1) @ v
    return out

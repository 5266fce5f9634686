"""Propagation operators: where models and engine meet.

A layer is written once, in its mathematics, against the methods below. Two suppliers answer the calls:

* `GraphOperators`: any `edge_index` and `batch`, features [num_nodes, channels]. What a model's own `forward` uses.
* `SharedOperators`: a block of graphs on one topology, features [replicas, nodes, graphs, channels]. What the engine uses.

Both apply the same matrices, PyG's own: `gcn_norm`, the mean and the sum over incoming edges. Nodes of a shared block are
kept in order of their distance to the read-out nodes, so that the rows a layer needs are always a prefix (the *cone*): what
is more than L - l hops away after layer l cannot reach a read-out any more, and is not computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import (
    add_remaining_self_loops,
    degree,
    dropout_edge,
    scatter,
    softmax,
    to_dense_batch,
)

DENSE_UP_TO = 128  # nodes; above, a sparse product is the faster one on a CPU


def node_dim(h: Tensor) -> int:
    """Return the axis of `h` that counts nodes: 0 of [nodes, channels], 1 of [replicas, nodes, graphs, channels]."""
    return 0 if h.dim() == 2 else 1


def first_rows(h: Tensor, like: Tensor) -> Tensor:
    """Return the first nodes of `h`, as many as `like` has: cones are prefixes."""
    return h.narrow(node_dim(h), 0, like.size(node_dim(like)))


class _Product(torch.autograd.Function):
    """Sparse matrix times dense, with the transposed matrix kept for the way back (autograd would rebuild it each time)."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, h: Tensor) -> Tensor:
        ctx.transposed, ctx.matrix = transposed, matrix
        return matrix @ h

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[None, None, Tensor]:
        return None, None, multiply((ctx.transposed, ctx.matrix), gradient[0].contiguous())


def multiply(matrix: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
    """Return a sparse matrix, given with its transpose, times `h` [nodes, channels]."""
    out: Tensor = _Product.apply(*matrix, h)  # type: ignore[no-untyped-call]
    return out


class Operators:
    """What a layer may ask for. `edge_index` [2, num_edges] runs from row 0 (source) to row 1 (target)."""

    def __init__(self, edge_index: Tensor, num_nodes: int, dtype: torch.dtype) -> None:
        self.edge_index, self.num_nodes, self.dtype = edge_index, num_nodes, dtype

    def layer(self, index: int) -> Operators:
        """Return the operators of layer number `index` (from 0), which may write fewer rows than they read."""
        return self

    def root(self, h: Tensor) -> Tensor:
        """Return the rows of `h` that this layer writes to."""
        return h

    def gcn(self, h: Tensor) -> Tensor:
        """Return D^-1/2 (A + I) D^-1/2 h, as `GCNConv` propagates."""
        return self._apply(self._gcn, h)

    def mean(self, h: Tensor) -> Tensor:
        """Return the mean over incoming edges, 0 where there are none, as `SAGEConv` aggregates."""
        return self._apply(self._mean, h)

    def sum(self, h: Tensor) -> Tensor:
        """Return the sum over incoming edges, as `GINConv` aggregates."""
        return self._apply(self._sum, h)

    def drop_edges(self, p: float) -> Operators:
        """Return the operators of the graph with each undirected edge left out with probability `p` (DropEdge, 1907.10903)."""
        raise NotImplementedError

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        """Bring a matrix over pairs of nodes, [n, n] or [graphs, n, n], into the node order of `h`: [graphs or 1, n, n]."""
        raise NotImplementedError

    def global_mean(self, h: Tensor) -> Tensor:
        """Return the mean over the nodes of each graph, one row per node that this layer writes to."""
        raise NotImplementedError

    def attend(self, value: Tensor, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
        """Return GAT's weighted sum over in-neighbours and the node itself: value [..., heads, channels] -> the same.

        The weight of edge (j, i) is the softmax over j of `leaky_relu(source_j + target_i)`; both scores are [..., heads].
        """
        row, col = self._loops
        axis = 0 if value.dim() == 3 else 1
        score = source.index_select(axis, row) + target.index_select(axis, col)
        weight = softmax(torch.nn.functional.leaky_relu(score, negative_slope), col, num_nodes=self._rows, dim=axis)
        message = value.index_select(axis, row) * weight.unsqueeze(-1)
        out: Tensor = scatter(message, col, dim=axis, dim_size=self._rows, reduce="sum")
        return out

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        """Return softmax attention of every node to every node of its own graph, before the output projection.

        `query`, `key`, `value` are shaped as `h`; `bias` [replicas, graphs or 1, n, n, heads] is added to the logits.
        """
        raise NotImplementedError

    @property
    def _rows(self) -> int:
        return self.num_nodes

    @cached_property
    def _loops(self) -> Tensor:
        edge_index: Tensor = add_remaining_self_loops(self.edge_index, num_nodes=self.num_nodes)[0]
        return edge_index

    @cached_property
    def _gcn(self) -> Any:
        index, weight = gcn_norm(self.edge_index, None, self.num_nodes, add_self_loops=True, dtype=self.dtype)
        return self._matrix(index, weight)

    @cached_property
    def _mean(self) -> Any:
        count = degree(self.edge_index[1], self.num_nodes, dtype=self.dtype)
        return self._matrix(self.edge_index, 1 / count[self.edge_index[1]])

    @cached_property
    def _sum(self) -> Any:
        return self._matrix(self.edge_index, torch.ones(self.edge_index.size(1), dtype=self.dtype, device=self.edge_index.device))

    def _matrix(self, index: Tensor, weight: Tensor) -> Any:
        """Return the matrix that maps sources to targets, in the form `_apply` wants."""
        raise NotImplementedError

    def _apply(self, matrix: Any, h: Tensor) -> Tensor:
        raise NotImplementedError


def _sparse(index: Tensor, weight: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Return the CSR matrix [target, source] and its transpose; duplicate edges add up, as they do in PyG."""
    return _csr_pair(torch.sparse_coo_tensor(index.flip(0), weight, (num_nodes, num_nodes), check_invariants=True))


def _csr_pair(matrix: Tensor) -> tuple[Tensor, Tensor]:
    with warnings.catch_warnings():  # PyTorch calls its CSR support beta, once a process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return matrix.coalesce().to_sparse_csr(), matrix.t().coalesce().to_sparse_csr()


class GraphOperators(Operators):
    """Operators of any graph or batch of graphs; `batch` [num_nodes] tells the graphs apart."""

    def __init__(self, edge_index: Tensor, num_nodes: int, dtype: torch.dtype, batch: Tensor | None = None) -> None:
        super().__init__(edge_index, num_nodes, dtype)
        self.batch = edge_index.new_zeros(num_nodes) if batch is None else batch

    def drop_edges(self, p: float) -> Operators:
        return GraphOperators(dropout_edge(self.edge_index, p, True)[0], self.num_nodes, self.dtype, self.batch)

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        return pairs if pairs.dim() == 3 else pairs.unsqueeze(0)

    def global_mean(self, h: Tensor) -> Tensor:
        mean: Tensor = scatter(h, self.batch, dim=0, reduce="mean")
        return mean[self.batch]

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        dense = [to_dense_batch(t, self.batch) for t in (query, key, value)]
        mask = dense[0][1]  # [g, n]
        q, k, v = (rearrange(t, "g n (h c) -> g h n c", h=heads) for t, _ in dense)
        logits = q @ k.mT / q.size(-1) ** 0.5
        if bias is not None:
            logits = logits + rearrange(bias, "1 g n m h -> g h n m")
        logits = logits.masked_fill(~mask[:, None, None, :], -torch.inf)
        out: Tensor = rearrange(logits.softmax(-1) @ v, "g h n c -> g n (h c)")
        return out[mask]

    def _matrix(self, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return _sparse(index, weight, self.num_nodes)

    def _apply(self, matrix: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
        return multiply(matrix, h)


class SharedOperators(Operators):
    """Operators of graphs that share one topology: h [replicas, nodes, graphs, channels].

    `order` [num_nodes] lists the nodes by their distance to the read-out nodes, which come first; features enter as
    `x[..., order, ...]`. `sizes[l]` is the number of leading nodes whose state after layer l is computed (l = 0: the input).
    """

    def __init__(self, edge_index: Tensor, order: Tensor, sizes: Sequence[int], dtype: torch.dtype) -> None:
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=order.device)
        super().__init__(place[edge_index], order.numel(), dtype)
        self.order, self.sizes = order, tuple(sizes)
        self._layers = [_SharedLayer(self, i, o) for i, o in pairwise(sizes)]

    def layer(self, index: int) -> Operators:
        return self._layers[index]

    def drop_edges(self, p: float) -> Operators:
        kept = dropout_edge(self.order[self.edge_index], p, True)[0]
        return SharedOperators(kept, self.order, self.sizes, self.dtype)

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        return pairs[self.order][:, self.order].unsqueeze(0)

    def _matrix(self, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return _sparse(index, weight, self.num_nodes)


class _SharedLayer(Operators):
    """One layer's window on shared operators: reads the first `num_in` nodes, writes the first `num_out`."""

    def __init__(self, whole: SharedOperators, num_in: int, num_out: int) -> None:
        super().__init__(whole.edge_index, whole.num_nodes, whole.dtype)
        self.whole, self.num_in, self.num_out = whole, num_in, num_out

    def root(self, h: Tensor) -> Tensor:
        return h if h.size(1) == self.num_out else h[:, : self.num_out]

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        return self.whole.arrange_pairs(pairs)

    def global_mean(self, h: Tensor) -> Tensor:
        return h.mean(1, keepdim=True).expand(-1, self.num_out, -1, -1)

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        q, k, v = (rearrange(t, "r n g (h c) -> r g h n c", h=heads) for t in (query, key, value))
        logits = q @ k.mT / q.size(-1) ** 0.5
        if bias is not None:
            logits = logits + rearrange(bias[:, :, : q.size(-2)], "r 1 n m h -> r 1 h n m")
        out: Tensor = rearrange(logits.softmax(-1) @ v, "r g h n c -> r n g (h c)")
        return out

    @property
    def _rows(self) -> int:
        return self.num_out

    @cached_property
    def _loops(self) -> Tensor:
        loops = self.whole._loops
        return loops[:, (loops[1] < self.num_out) & (loops[0] < self.num_in)]

    @cached_property
    def _gcn(self) -> Any:
        return self._window(self.whole._gcn)

    @cached_property
    def _mean(self) -> Any:
        return self._window(self.whole._mean)

    @cached_property
    def _sum(self) -> Any:
        return self._window(self.whole._sum)

    def _window(self, matrix: tuple[Tensor, Tensor]) -> Any:
        """Cut the rows this layer writes and the columns it reads; dense where that is faster."""
        coo = matrix[0].to_sparse(layout=torch.sparse_coo).coalesce()
        row, col = coo.indices()
        keep = (row < self.num_out) & (col < self.num_in)
        shape = (self.num_out, self.num_in)
        part = torch.sparse_coo_tensor(coo.indices()[:, keep], coo.values()[keep], shape, check_invariants=True)
        return part.to_dense() if self.num_in <= DENSE_UP_TO else _csr_pair(part)

    def _apply(self, matrix: Any, h: Tensor) -> Tensor:
        rows = rearrange(h, "r n g c -> r n (g c)")
        dense = isinstance(matrix, Tensor)
        out = matrix @ rows if dense else torch.stack([multiply(matrix, replica) for replica in rows])
        return rearrange(out, "r n (g c) -> r n g c", g=h.size(2))

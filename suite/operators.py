"""Propagation operators: where models and engine meet.

A layer is written once, in its mathematics, against the methods below. Two suppliers answer the calls:

* `GraphOperators`: any `edge_index` and `batch`, features [num_nodes, channels]. What a model's own `forward` uses.
* `SharedOperators`: a block of graphs on one topology, features [replicas, rows, channels]. What the engine uses.

Both apply the same matrices, PyG's own: `gcn_norm`, the mean and the sum over incoming edges.

The rows of a shared block are the nodes whose state is the same in all graphs, one row each, and then the other nodes, one row
for each graph, node by node. Nodes are kept in order of their distance to the read-out nodes: what is more than L - l hops away
after layer l cannot reach a read-out any more (the *cone*) and has no row.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from scipy.sparse import csr_array
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops, degree, dropout_edge, scatter, to_dense_batch

DENSE_FROM = 0.2  # share of entries that are not zero; below, a sparse product is the faster one on a CPU
SOFTMAX_UP_TO = 256  # nodes; above, fused attention is the faster one


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

    def attend(self, value: Tensor, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
        """Return GAT's weighted sum over in-neighbours and the node itself: value [..., heads * channels] -> the same.

        The weight of edge (j, i) is the softmax over j of `leaky_relu(source_j + target_i)`; both scores are [..., heads].
        """
        value, source, target = value[None, :, None], source[None, :, None], target[None, :, None]
        return _attend(self._attention, value, source, target, negative_slope)[0, :, 0]

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        """Return softmax attention of every node to every node of its own graph, before the output projection.

        `query`, `key`, `value` are shaped as `h`; `bias` [replicas, graphs or 1, n_out, n, heads] is added to the logits.
        """
        raise NotImplementedError

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        """Bring a matrix over pairs of nodes, [n, n] or [graphs, n, n], into the order of the rows: [graphs or 1, n_out, n]."""
        raise NotImplementedError

    def global_mean(self, h: Tensor) -> Tensor:
        """Return the mean over the nodes of each graph: one row per graph."""
        raise NotImplementedError

    def to_nodes(self, graph: Tensor, h: Tensor) -> Tensor:
        """Return the row of its graph for every row of `h`, out of one row per graph."""
        raise NotImplementedError

    def multiplicity(self, h: Tensor) -> Tensor | None:
        """Return how many nodes of the batch each row of `h`, as the layer writes it, stands for: [replicas, rows], None: one."""
        return None

    def drop_edges(self, p: float) -> Operators:
        """Return the operators of the graph with each undirected edge left out with probability `p` (DropEdge, 1907.10903)."""
        raise NotImplementedError

    @property
    def _num_rows(self) -> int:
        return self.num_nodes

    @cached_property
    def _attention(self) -> Any:
        return _Edges.of(self._loops[0], self._loops[1], self._num_rows)

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
        """Return the matrix [target, source]; duplicate edges add up, as they do in PyG."""
        shape = (self.num_nodes, self.num_nodes)
        return csr_array((weight.cpu().numpy(), (index[1].cpu().numpy(), index[0].cpu().numpy())), shape=shape)

    def _apply(self, matrix: Any, h: Tensor) -> Tensor:
        raise NotImplementedError


class GraphOperators(Operators):
    """Operators of any graph or batch of graphs; `batch` [num_nodes] tells the graphs apart."""

    def __init__(self, edge_index: Tensor, num_nodes: int, dtype: torch.dtype, batch: Tensor | None = None) -> None:
        super().__init__(edge_index, num_nodes, dtype)
        self.batch = edge_index.new_zeros(num_nodes) if batch is None else batch

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        dense = [to_dense_batch(t, self.batch) for t in (query, key, value)]
        mask = dense[0][1]  # [g, n]
        q, k, v = (rearrange(t, "g n (h c) -> g h n c", h=heads) for t, _ in dense)
        shut = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.inf)[:, None, None]
        if bias is not None:
            shut = shut + rearrange(bias, "1 g n m h -> g h n m")
        return rearrange(_softmax_attention(q, k, v, shut), "g h n c -> g n (h c)")[mask]

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        return pairs if pairs.dim() == 3 else pairs.unsqueeze(0)

    def global_mean(self, h: Tensor) -> Tensor:
        mean: Tensor = scatter(h, self.batch, dim=0, reduce="mean")
        return mean

    def to_nodes(self, graph: Tensor, h: Tensor) -> Tensor:
        return graph[self.batch]

    def drop_edges(self, p: float) -> Operators:
        return GraphOperators(dropout_edge(self.edge_index, p, True)[0], self.num_nodes, self.dtype, self.batch)

    def _matrix(self, index: Tensor, weight: Tensor) -> Any:
        return _pair(super()._matrix(index, weight), weight.device)

    def _apply(self, matrix: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
        return _product(matrix, h.unsqueeze(0)).squeeze(0)


class Rows(NamedTuple):
    """The rows that hold the states after a layer, by node (in the order of the block): `alike`, one row each, then `varying`.

    The first `fresh` of the varying nodes were alike before the layer. All nodes are among those of the layer before.
    """

    alike: list[int]
    varying: list[int]
    fresh: int

    @property
    def nodes(self) -> list[int]:
        return self.alike + self.varying

    def num_graphs(self, h: Tensor) -> int:
        """Return for how many graphs `h` has rows; 1 where nothing varies."""
        return (h.size(1) - len(self.alike)) // len(self.varying) if len(self.varying) else 1

    def per_node(self, h: Tensor) -> Tensor:
        """Return the varying rows of h [replicas, rows, ...] node by node: [replicas, num_varying, graphs, ...]."""
        varying = h[:, len(self.alike) :] if len(self.alike) else h
        return varying.view(h.size(0), len(self.varying), self.num_graphs(h), *h.shape[2:])

    def every(self, h: Tensor) -> Tensor:
        """Return h with a row for every node and graph: [replicas, num_alike + num_varying, graphs, ...]."""
        varying = self.per_node(h)
        if not len(self.alike):
            return varying
        alike = h[:, : len(self.alike)].unsqueeze(2)
        return torch.cat([alike.expand(-1, -1, varying.size(2), *h.shape[2:]), varying], dim=1)


class SharedOperators(Operators):
    """Operators of graphs that share one topology: h [replicas, rows, channels].

    Args:
        edge_index: [2, num_edges], numbered as the task numbers nodes.
        order: [num_nodes] the nodes in the order of the rows: by their distance to the read-out nodes, where `sizes` shrink.
        sizes: how many of the leading nodes have a state after layer l that is needed; l = 0: the input.
        dtype: of the matrices.
        varying: [num_nodes] bool, as the task numbers nodes: whether a node's input may differ between graphs. None: all may.
    """

    def __init__(
        self, edge_index: Tensor, order: Tensor, sizes: Sequence[int], dtype: torch.dtype, varying: Tensor | None = None
    ) -> None:
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=order.device)
        super().__init__(place[edge_index], order.numel(), dtype)
        self.order, self.sizes = order, tuple(sizes)
        self.varying = torch.ones(order.numel(), dtype=torch.bool) if varying is None else varying
        self.counts: Tensor | None = None  # of the batch at hand: graph g of replica r stands for counts[r, g] equal ones
        self.rows = self._rows()
        self._windows = [_Window(self, i) for i in range(len(sizes) - 1)]

    def layer(self, index: int) -> Operators:
        return self._windows[index]

    def enter(self, drawn: Sequence[Tensor]) -> Tensor:
        """Bring each replica's x [graphs, nodes, channels] into rows; nodes that are alike are taken from the first graph."""
        rows, first = self.rows[0], drawn[0]
        alike, varying, split = self.order[rows.alike], self.order[rows.varying], len(rows.alike)
        out = first.new_empty(len(drawn), split + len(varying) * first.size(0), first.size(2))
        for row, x in zip(out, drawn, strict=True):
            row[:split] = x[0, alike]
            if rows.varying:
                torch.index_select(x.transpose(0, 1), 0, varying, out=row[split:].view(len(varying), *x[:, 0].shape))
        return out

    def read(self, out: Tensor, readouts: list[int], num_graphs: int) -> Tensor:
        """Return the answers out of rows after the last layer: [replicas, num_readouts * num_graphs, channels], node by node.

        `readouts` are the places of the read-out nodes in `order`.
        """
        rows = self.rows[-1]
        every = rows.every(out) if rows.varying else out.unsqueeze(2).expand(-1, -1, num_graphs, -1)
        return _select(every, [rows.nodes.index(node) for node in readouts]).flatten(1, 2)

    def drop_edges(self, p: float) -> Operators:
        kept = dropout_edge(self.order[self.edge_index], p, True)[0]
        return SharedOperators(kept, self.order, self.sizes, self.dtype, self.varying)

    def _rows(self) -> list[Rows]:
        """Follow what varies along the edges, layer by layer, within the cone."""
        varying = self.varying[self.order]
        varies, first = varying.tolist(), range(self.sizes[0])
        rows = [Rows([node for node in first if not varies[node]], [node for node in first if varies[node]], fresh=0)]
        for size in self.sizes[1:]:
            varying = varying.index_fill(0, self.edge_index[1][varying[self.edge_index[0]]], True)
            varies = varying.tolist()
            alike, old = ([node for node in nodes if node < size] for nodes in rows[-1][:2])
            fresh = [node for node in alike if varies[node]]
            rows.append(Rows([node for node in alike if not varies[node]], fresh + old, len(fresh)))
        return rows


class _Window(Operators):
    """One layer's window on shared operators: reads some rows, writes some of them."""

    def __init__(self, whole: SharedOperators, index: int) -> None:
        super().__init__(whole.edge_index, whole.num_nodes, whole.dtype)
        self.whole, self.before, self.after = whole, whole.rows[index], whole.rows[index + 1]

    def root(self, h: Tensor) -> Tensor:
        if self.before == self.after:
            return h
        alike, fresh, kept = self._places
        varying = _select(self.before.per_node(h), kept).flatten(1, 2) if kept else h[:, :0]
        if not self.before.alike:
            return varying
        new = _select(h, fresh).unsqueeze(2).expand(-1, -1, self.before.num_graphs(h), -1).flatten(1, 2)
        return torch.cat([_select(h, alike), new, varying], dim=1)

    def attend(self, value: Tensor, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
        before, after, split = self.before, self.after, len(self.after.alike)
        parts = []
        if split:
            v, s, t = (t.unsqueeze(2) for t in (value[:, : len(before.alike)], source[:, : len(before.alike)], target[:, :split]))
            parts.append(_attend(self._attention[0], v, s, t, negative_slope).flatten(1, 2))
        if after.varying:
            v, s, t = before.every(value), before.every(source), after.per_node(target)
            parts.append(_attend(self._attention[1], v, s, t, negative_slope).flatten(1, 2))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        graphs = self.before.num_graphs(key)
        if key.size(1) // graphs <= SOFTMAX_UP_TO:
            out: Tensor = _DenseAttention.apply(query, key, value, bias, graphs, heads)  # type: ignore[no-untyped-call]
            return out
        q, k, v = (rearrange(t, "r (n g) (h c) -> r g h n c", g=graphs, h=heads) for t in (query, key, value))
        bias = None if bias is None else rearrange(bias, "r 1 n m h -> r 1 h n m")
        return rearrange(F.scaled_dot_product_attention(q, k, v, bias), "r g h n c -> r (n g) (h c)")

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        order = self.whole.order
        return pairs[order[self.after.nodes]][:, order[self.before.nodes]].unsqueeze(0)

    def global_mean(self, h: Tensor) -> Tensor:
        return self.before.per_node(h).mean(1)

    def to_nodes(self, graph: Tensor, h: Tensor) -> Tensor:
        return graph.unsqueeze(1).expand(-1, h.size(1) // graph.size(1), -1, -1).flatten(1, 2)

    def multiplicity(self, h: Tensor) -> Tensor | None:
        counts = self.whole.counts
        if counts is None and not len(self.after.alike):
            return None
        if counts is None:
            counts = h.new_ones(h.size(0), self.after.num_graphs(h))
        alike = counts.sum(1, keepdim=True).expand(-1, len(self.after.alike))
        return torch.cat([alike, counts.repeat(1, len(self.after.varying))], dim=1)

    @cached_property
    def _places(self) -> tuple[list[int], list[int], list[int]]:
        """Where the rows to be written stand: those still alike, those that vary from now on, those that vary already."""
        alike, varying = ({node: place for place, node in enumerate(nodes)} for nodes in self.before[:2])
        fresh, old = self.after.varying[: self.after.fresh], self.after.varying[self.after.fresh :]
        return [alike[n] for n in self.after.alike], [alike[n] for n in fresh], [varying[n] for n in old]

    @cached_property
    def _gcn(self) -> Any:
        return self._blocks(self.whole._gcn)

    @cached_property
    def _mean(self) -> Any:
        return self._blocks(self.whole._mean)

    @cached_property
    def _sum(self) -> Any:
        return self._blocks(self.whole._sum)

    @cached_property
    def _attention(self) -> tuple[_Edges, _Edges]:
        """The edges into nodes that are alike, from nodes that are; and those into nodes that vary, from `before.nodes`."""
        return tuple(self._edges(*of) for of in ((self.before.alike, self.after.alike), (self.before.nodes, self.after.varying)))  # type: ignore[return-value]

    def _edges(self, sources: list[int], targets: list[int]) -> _Edges:
        place = torch.full((2, self.num_nodes), -1)
        place[0, sources], place[1, targets] = torch.arange(len(sources)), torch.arange(len(targets))
        row, col = place[0, self.whole._loops[0]], place[1, self.whole._loops[1]]
        kept = (row >= 0) & (col >= 0)
        return _Edges.of(row[kept], col[kept], len(targets))

    def _blocks(self, matrix: csr_array) -> tuple[Any, Any, Any]:
        """Cut what this layer writes and reads: alike from alike, varying from alike, varying from varying."""
        (alike, varying, _), (to_alike, to_varying, _) = self.before, self.after
        pairs = (to_alike, alike), (to_varying, alike), (to_varying, varying)
        return tuple(_cut(matrix, rows, columns, self.edge_index.device) for rows, columns in pairs)

    def _apply(self, matrix: Any, h: Tensor) -> Tensor:
        if self.before.alike:
            out: Tensor = _Propagate.apply(h, matrix, self.before, self.after)  # type: ignore[no-untyped-call]
            return out
        return _product(matrix[2], h.view(h.size(0), len(self.before.varying), -1)).view(h.size(0), -1, h.size(2))


# products


class _Product(torch.autograd.Function):
    """Sparse matrix times h [replicas, nodes, columns], with the transposed matrix kept for the way back."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, h: Tensor) -> Tensor:
        ctx.transposed, ctx.matrix = transposed, matrix
        out = h.new_empty(h.size(0), matrix.size(0), h.size(2))
        _multiply_into(out, (matrix, transposed), h)
        return out

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[None, None, Tensor]:
        return None, None, _product((ctx.transposed, ctx.matrix), gradient[0].contiguous())


class _Propagate(torch.autograd.Function):
    """Propagation where some rows are alike in all graphs: h [replicas, rows, channels] -> the rows after the layer.

    `blocks` map alike to alike, alike to varying and varying to varying; written out since results go straight into their rows.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, blocks: tuple[Any, Any, Any], before: Rows, after: Rows) -> Tensor:
        ctx.blocks, ctx.before, ctx.after, ctx.num_rows = blocks, before, after, h.size(1)
        alike, split = h[:, : len(before.alike)], len(after.alike)
        out = h.new_empty(h.size(0), split + len(after.varying) * before.num_graphs(h), h.size(2))
        if split:
            _multiply_into(out[:, :split], blocks[0], alike)
        if after.varying:
            varying = after.per_node(out)
            _multiply_into(varying.flatten(2), blocks[2], before.per_node(h).flatten(2))
            varying += _times(blocks[1], alike).unsqueeze(2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        before, after, gradient = ctx.before, ctx.after, gradients[0].contiguous()
        to_alike, to_varying, among_varying = (_transposed(block) for block in ctx.blocks)
        out = gradient.new_empty(gradient.size(0), ctx.num_rows, gradient.size(2))
        alike, split = out[:, : len(before.alike)], len(after.alike)
        alike.copy_(_times(to_alike, gradient[:, :split])) if split else alike.zero_()
        if before.varying and not after.varying:
            out[:, len(before.alike) :] = 0
        elif after.varying:
            varying = after.per_node(gradient)
            _multiply_into(before.per_node(out).flatten(2), among_varying, varying.flatten(2))
            alike += _times(to_varying, varying.sum(2))
        return out, None, None, None


def _product(matrix: Any, h: Tensor) -> Tensor:
    """Return `matrix`, dense or sparse with its transpose, times h [replicas, nodes, columns]."""
    if isinstance(matrix, Tensor):
        return matrix @ h
    out: Tensor = _Product.apply(*matrix, h)  # type: ignore[no-untyped-call]
    return out


def _times(matrix: Any, h: Tensor) -> Tensor:
    """Return what `_product` does, without a graph for the way back."""
    out = h.new_empty(h.size(0), (matrix if isinstance(matrix, Tensor) else matrix[0]).size(0), h.size(2))
    _multiply_into(out, matrix, h)
    return out


def _multiply_into(out: Tensor, matrix: Any, h: Tensor) -> None:
    """Write `matrix` times h [replicas, nodes, columns] to `out`, whose replicas need not follow one another."""
    for row, replica in zip(out, h, strict=True):
        torch.mm(matrix if isinstance(matrix, Tensor) else matrix[0], replica, out=row)


def _transposed(matrix: Any) -> Any:
    return matrix.T if isinstance(matrix, Tensor) else matrix[::-1]


def _cut(matrix: csr_array, rows: list[int], columns: list[int], device: torch.device) -> Any:
    """Return the part of a matrix at `rows` and `columns`: dense where that is faster, else as a pair."""
    part = matrix[rows][:, columns]
    dense = part.nnz >= DENSE_FROM * len(rows) * len(columns)
    return torch.from_numpy(part.toarray()).to(device) if dense else _pair(part, device)


def _pair(matrix: csr_array, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return a sparse matrix and its transpose."""
    with warnings.catch_warnings():  # PyTorch calls its CSR support beta, once a process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return _on(matrix, device), _on(matrix.T.tocsr(), device)


def _on(matrix: csr_array, device: torch.device) -> Tensor:
    start, column, value = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    size = (matrix.shape[0], matrix.shape[1])
    return torch.sparse_csr_tensor(start.long(), column.long(), value, size, device=device, check_invariants=False)


def _select(h: Tensor, nodes: list[int]) -> Tensor:
    """Return h [replicas, nodes, ...] at some nodes: a view where they are the first."""
    first = not nodes or (nodes[-1] == len(nodes) - 1 and nodes == list(range(len(nodes))))
    return h[:, : len(nodes)] if first else h.index_select(1, torch.tensor(nodes, device=h.device))


# attention


class _Edges(NamedTuple):
    """Edges by target, in the form attention along them wants."""

    row: Tensor  # [num_edges] sources
    col: Tensor  # [num_edges] targets
    num_targets: int
    table: Tensor | None  # [num_targets, largest degree] the edges into each target, some repeated; None: a few have most

    @classmethod
    def of(cls, row: Tensor, col: Tensor, num_targets: int) -> _Edges:
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


def _attend(edges: _Edges, value: Tensor, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
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


class _DenseAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(c) + bias) v for rows [replicas, nodes * graphs, heads * c]: each brought into order once, each way.

    `bias` [replicas, 1, n_out, n, heads]. Written out, since autograd would copy every factor for each product it is in.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, graphs: int, heads: int) -> Tensor:
        ctx.graphs, ctx.heads, ctx.scale = graphs, heads, (query.size(2) // heads) ** -0.5
        q, k, v = (_DenseAttention._apart(t, graphs, heads) for t in (query, key, value))
        q = q * ctx.scale
        logits = q @ k.mT
        if bias is not None:
            shape = (query.size(0), graphs, heads, *logits.shape[1:])
            logits = (logits.view(shape) + rearrange(bias, "r 1 n m h -> r 1 h n m")).flatten(0, 2)
        weight = torch.softmax(logits, -1, out=logits)  # in place: the largest of all, and memory is what attention waits for
        ctx.save_for_backward(q, k, v, weight)
        return _DenseAttention._together(weight @ v, graphs, heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weight = ctx.saved_tensors
        graphs, heads = ctx.graphs, ctx.heads
        gradient = _DenseAttention._apart(gradients[0], graphs, heads)
        logits = gradient @ v.mT
        torch.ops.aten._softmax_backward_data.out(logits, weight, -1, weight.dtype, grad_input=logits)
        found = ((logits @ k).mul_(ctx.scale), logits.mT @ q, weight.mT @ gradient)
        bias = None
        if ctx.needs_input_grad[3]:
            bias = rearrange(logits, "(r g h) n m -> g r n m h", g=graphs, h=heads).sum(0).unsqueeze(1)
        return (*(_DenseAttention._together(t, graphs, heads) for t in found), bias, None, None)

    @staticmethod
    def _apart(rows: Tensor, graphs: int, heads: int) -> Tensor:
        return rearrange(rows, "r (n g) (h c) -> (r g h) n c", g=graphs, h=heads).contiguous()

    @staticmethod
    def _together(parts: Tensor, graphs: int, heads: int) -> Tensor:
        return rearrange(parts, "(r g h) n c -> r (n g) (h c)", g=graphs, h=heads)


def _softmax_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(c) + bias) v; q, k, v [..., heads, nodes, channels]."""
    if k.size(-2) > SOFTMAX_UP_TO:
        fused: Tensor = F.scaled_dot_product_attention(q, k, v, bias)
        return fused
    logits = (q * q.size(-1) ** -0.5) @ k.mT
    out: Tensor = (logits if bias is None else logits + bias).softmax(-1) @ v
    return out

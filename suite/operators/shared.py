"""The operators of graphs that share one topology: nodes alike in all of them have one row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from scipy.sparse import csr_array
from torch import Tensor
from torch.autograd.function import once_differentiable

from suite.operators.attention import SOFTMAX_UP_TO, DenseAttention, Neighbours, attend
from suite.operators.base import Operators
from suite.operators.edges import EdgeList, drop_pairs
from suite.operators.products import cut, multiply_into, product, select, times, transposed


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
        hops: how many edges far each layer reads; one, where not given.
        varying: [num_nodes] bool, as the task numbers nodes: whether a node's input may differ between graphs. None: all may.
    """

    def __init__(
        self,
        edge_index: Tensor,
        order: Tensor,
        sizes: Sequence[int],
        dtype: torch.dtype,
        varying: Tensor | None = None,
        hops: Sequence[int] | None = None,
    ) -> None:
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=order.device)
        super().__init__(place[edge_index], order.numel(), dtype)
        self.order, self.sizes = order, tuple(sizes)
        self.varying = torch.ones(order.numel(), dtype=torch.bool) if varying is None else varying
        self.hops = tuple(hops) if hops is not None else (1,) * (len(sizes) - 1)
        self.counts: Tensor | None = None  # of the batch at hand: graph g of replica r stands for counts[r, g] equal ones
        self._powers: dict[int, csr_array] = {}
        self.rows = self._rows()
        self._last = {node: place for place, node in enumerate(self.rows[-1].nodes)}
        self._windows = self._each_window()

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
        return select(every, [self._last[node] for node in readouts]).flatten(1, 2)

    def drop_edges(self, p: float) -> Operators:
        kept = drop_pairs(self.order[self.edge_index], p)
        return SharedOperators(kept, self.order, self.sizes, self.dtype, self.varying, self.hops)

    def in_degree(self, h: Tensor) -> Tensor:
        return self.per_row(super().in_degree(h)[self.order.argsort()], h)

    def per_row(self, values: Tensor, h: Tensor) -> Tensor:
        values, rows = values[self.order], self.rows[0]
        return torch.cat([values[rows.alike], values[rows.varying].repeat_interleave(rows.num_graphs(h), dim=0)])

    def _gcn_power(self, times: int) -> csr_array:
        if times not in self._powers:
            self._powers[times] = self._gcn if times == 1 else self._gcn_power(times - 1) @ self._gcn
        return self._powers[times]

    def fully_adjacent(self) -> Operators:
        self._fully_adjacent.counts = self.counts
        return self._fully_adjacent

    @cached_property
    def _fully_adjacent(self) -> SharedOperators:
        pairs = (~torch.eye(self.num_nodes, dtype=torch.bool, device=self.order.device)).nonzero().T
        return SharedOperators(pairs, self.order, self.sizes, self.dtype, self.varying, self.hops)

    def _each_window(self) -> list[_Window]:
        """Return one for each layer; layers that read and write the same rows, as most do on a small world, share theirs."""
        windows: list[_Window] = []
        for before, after in pairwise(self.rows):
            last = windows[-1] if windows else None
            same = last is not None and (last.before, last.after) == (before, after)
            windows.append(last if last is not None and same else _Window(self, before, after))
        return windows

    def _rows(self) -> list[Rows]:
        """Follow what varies along the edges, layer by layer, within the cone."""
        varying = self.varying[self.order]
        varies, first = varying.tolist(), range(self.sizes[0])
        rows = [Rows([node for node in first if not varies[node]], [node for node in first if varies[node]], fresh=0)]
        for size, hops in zip(self.sizes[1:], self.hops, strict=True):
            for _ in range(hops):
                varying = varying.index_fill(0, self.edge_index[1][varying[self.edge_index[0]]], True)
            varies = varying.tolist()
            alike, old = ([node for node in nodes if node < size] for nodes in rows[-1][:2])
            fresh = [node for node in alike if varies[node]]
            rows.append(Rows([node for node in alike if not varies[node]], fresh + old, len(fresh)))
        return rows


class _Window(Operators):
    """One layer's window on shared operators: reads some rows, writes some of them."""

    def __init__(self, whole: SharedOperators, before: Rows, after: Rows) -> None:
        super().__init__(whole.edge_index, whole.num_nodes, whole.dtype)
        self.whole, self.before, self.after = whole, before, after
        self._edge_lists: dict[tuple[bool | bytes, int], EdgeList] = {}
        self._powers: dict[int, Any] = {}

    def root(self, h: Tensor) -> Tensor:
        if self.before == self.after:
            return h
        alike, fresh, kept = self._places
        varying = select(self.before.per_node(h), kept).flatten(1, 2) if kept else h[:, :0]
        if not self.before.alike:
            return varying
        new = select(h, fresh).unsqueeze(2).expand(-1, -1, self.before.num_graphs(h), -1).flatten(1, 2)
        return torch.cat([select(h, alike), new, varying], dim=1)

    def gcn(self, h: Tensor, times: int = 1) -> Tensor:
        """One product, with a power of the matrix: the rows between two steps would be neither those read nor those written."""
        if times not in self._powers:
            self._powers[times] = self._gcn if times == 1 else self._blocks(self.whole._gcn_power(times))
        return self._apply(self._powers[times], h)

    def attend(self, value: Tensor, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
        before, after, split = self.before, self.after, len(self.after.alike)
        parts = []
        if split:
            v, s, t = (t.unsqueeze(2) for t in (value[:, : len(before.alike)], source[:, : len(before.alike)], target[:, :split]))
            parts.append(attend(self._attention[0], v, s, t, negative_slope).flatten(1, 2))
        if after.varying:
            v, s, t = before.every(value), before.every(source), after.per_node(target)
            parts.append(attend(self._attention[1], v, s, t, negative_slope).flatten(1, 2))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def edges(self, h: Tensor, loops: bool = False) -> EdgeList:
        asked = loops, self.before.num_graphs(h)
        if asked not in self._edge_lists:
            self._edge_lists[asked] = self._edge_list(self.whole._loops if loops else self.edge_index, asked[1])
        return self._edge_lists[asked]

    def edges_among(self, h: Tensor, pairs: Tensor) -> EdgeList:
        asked = pairs.cpu().numpy().tobytes(), self.before.num_graphs(h)
        if asked not in self._edge_lists:
            place = self.whole.order.argsort()
            self._edge_lists[asked] = self._edge_list(place[pairs.nonzero().T.flip(0)], asked[1])
        return self._edge_lists[asked]

    def _edge_list(self, edge_index: Tensor, num_graphs: int) -> EdgeList:
        """Number rows as nodes of one graph: edges among alike nodes once, those into varying nodes once for each graph."""
        read, written = self._first_rows(self.before, num_graphs), self._first_rows(self.after, num_graphs)
        kept = (written[edge_index[1]] >= 0).nonzero().flatten()
        source, target = edge_index[:, kept]
        varies = written[target] >= len(self.after.alike)
        parts = []
        for of, graphs in ((~varies, 1), (varies, num_graphs)):
            graph = torch.arange(graphs, device=kept.device)
            from_varying = (read[source[of]] >= len(self.before.alike)).long().unsqueeze(1)
            row = read[source[of]].unsqueeze(1) + from_varying * graph
            col = written[target[of]].unsqueeze(1) + graph
            parts.append([t.flatten() for t in (row, col, kept[of].unsqueeze(1).expand_as(row), graph.expand_as(row))])
        row, col, number, graph = (torch.cat(part) for part in zip(*parts, strict=True))
        num_targets = len(self.after.alike) + len(self.after.varying) * num_graphs
        return EdgeList(row, col, num_targets, number, graph, num_graphs)

    def _first_rows(self, rows: Rows, num_graphs: int) -> Tensor:
        """Return the row of each node in the first graph, -1 where it has none: [num_nodes]."""
        first = torch.full((self.num_nodes,), -1, device=self.edge_index.device)
        first[rows.alike] = torch.arange(len(rows.alike), device=first.device)
        first[rows.varying] = len(rows.alike) + num_graphs * torch.arange(len(rows.varying), device=first.device)
        return first

    def dense(self, h: Tensor) -> tuple[Tensor, Tensor | None]:
        return rearrange(self.before.every(h), "r n g c -> r g n c"), None

    def dense_root(self, h: Tensor) -> Tensor:
        return rearrange(self.after.every(self.root(h)), "r n g c -> r g n c")

    def flat(self, dense: Tensor) -> Tensor:
        return rearrange(dense, "r g n c -> r (n g) c")

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        graphs = self.before.num_graphs(key)
        if key.size(1) // graphs <= SOFTMAX_UP_TO:
            out: Tensor = DenseAttention.apply(query, key, value, bias, graphs, heads)  # type: ignore[no-untyped-call]
            return out
        q, k, v = (rearrange(t, "r (n g) (h c) -> r g h n c", g=graphs, h=heads) for t in (query, key, value))
        bias = None if bias is None else rearrange(bias, "r 1 n m h -> r 1 h n m")
        return rearrange(F.scaled_dot_product_attention(q, k, v, bias), "r g h n c -> r (n g) (h c)")

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        order = self.whole.order
        return pairs[order[self.after.nodes]][:, order[self.before.nodes]].unsqueeze(0)

    def arrange_nodes(self, values: Tensor) -> tuple[Tensor, Tensor]:
        read, written = (values[self.whole.order[rows.nodes]].unsqueeze(0) for rows in (self.before, self.after))
        return read, written

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
    def _spread(self) -> Any:
        return self._blocks(self.whole._spread)

    @cached_property
    def _sum(self) -> Any:
        return self._blocks(self.whole._sum)

    @cached_property
    def _attention(self) -> tuple[Neighbours, Neighbours]:
        """The edges into nodes that are alike, from nodes that are; and those into nodes that vary, from `before.nodes`."""
        return tuple(self._edges(*of) for of in ((self.before.alike, self.after.alike), (self.before.nodes, self.after.varying)))  # type: ignore[return-value]

    def _edges(self, sources: list[int], targets: list[int]) -> Neighbours:
        place = torch.full((2, self.num_nodes), -1)
        place[0, sources], place[1, targets] = torch.arange(len(sources)), torch.arange(len(targets))
        row, col = place[0, self.whole._loops[0]], place[1, self.whole._loops[1]]
        kept = (row >= 0) & (col >= 0)
        return Neighbours.of(row[kept], col[kept], len(targets))

    def _shell(self, hops: int) -> Any:
        for further in range(len(self._shells), hops):
            self._shells.append(self._blocks(self.whole._shell(further + 1)))
        return self._shells[hops - 1]

    def _blocks(self, matrix: csr_array) -> tuple[Any, Any, Any]:
        """Cut what this layer writes and reads: alike from alike, varying from alike, varying from varying."""
        (alike, varying, _), (to_alike, to_varying, _) = self.before, self.after
        pairs = (to_alike, alike), (to_varying, alike), (to_varying, varying)
        return tuple(cut(matrix, rows, columns, self.edge_index.device) for rows, columns in pairs)

    def _apply(self, matrix: Any, h: Tensor) -> Tensor:
        if self.before.alike:
            out: Tensor = _Propagate.apply(h, matrix, self.before, self.after)  # type: ignore[no-untyped-call]
            return out
        return product(matrix[2], h.view(h.size(0), len(self.before.varying), -1)).view(h.size(0), -1, h.size(2))


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
            multiply_into(out[:, :split], blocks[0], alike)
        if after.varying:
            varying = after.per_node(out)
            multiply_into(varying.flatten(2), blocks[2], before.per_node(h).flatten(2))
            varying += times(blocks[1], alike).unsqueeze(2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        before, after, gradient = ctx.before, ctx.after, gradients[0].contiguous()
        to_alike, to_varying, among_varying = (transposed(block) for block in ctx.blocks)
        out = gradient.new_empty(gradient.size(0), ctx.num_rows, gradient.size(2))
        alike, split = out[:, : len(before.alike)], len(after.alike)
        alike.copy_(times(to_alike, gradient[:, :split])) if split else alike.zero_()
        if before.varying and not after.varying:
            out[:, len(before.alike) :] = 0
        elif after.varying:
            varying = after.per_node(gradient)
            multiply_into(before.per_node(out).flatten(2), among_varying, varying.flatten(2))
            alike += times(to_varying, varying.sum(2))
        return out, None, None, None

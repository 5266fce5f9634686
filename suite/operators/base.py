"""What a layer may ask of the graph, and the matrices behind it: PyG's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from einops import rearrange
from scipy.sparse import csr_array, eye_array
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops, degree

from suite.operators.attention import Neighbours, attend
from suite.operators.edges import EdgeList


class Operators:
    """What a layer may ask for. `edge_index` [2, num_edges] runs from row 0 (source) to row 1 (target)."""

    def __init__(self, edge_index: Tensor, num_nodes: int, dtype: torch.dtype) -> None:
        self.edge_index, self.num_nodes, self.dtype = edge_index, num_nodes, dtype
        self._shells: list[Any] = []
        self._next_shells = shell_edges(edge_index, num_nodes)

    def layer(self, index: int) -> Operators:
        """Return the operators of layer number `index` (from 0), which may write fewer rows than they read."""
        return self

    def root(self, h: Tensor) -> Tensor:
        """Return the rows of `h` that this layer writes to."""
        return h

    def gcn(self, h: Tensor, times: int = 1) -> Tensor:
        """Return S h, S = D^-1/2 (A + I) D^-1/2, as `GCNConv` propagates; or S^times h, in a layer that reads so many hops."""
        for _ in range(times):
            h = self._apply(self._gcn, h)
        return h

    def mean(self, h: Tensor) -> Tensor:
        """Return the mean over incoming edges, 0 where there are none, as `SAGEConv` aggregates."""
        return self._apply(self._mean, h)

    def sum(self, h: Tensor) -> Tensor:
        """Return the sum over incoming edges, as `GINConv` aggregates."""
        return self._apply(self._sum, h)

    def spread(self, h: Tensor) -> Tensor:
        """Return the sum over incoming edges of what their sources give, each shared equally among the edges that leave it."""
        return self._apply(self._spread, h)

    def attend(self, value: Tensor, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
        """Return GAT's weighted sum over in-neighbours and the node itself: value [..., heads * channels] -> the same.

        The weight of edge (j, i) is the softmax over j of `leaky_relu(source_j + target_i)`; both scores are [..., heads].
        """
        value, source, target = value[None, :, None], source[None, :, None], target[None, :, None]
        return attend(self._attention, value, source, target, negative_slope)[0, :, 0]

    def edges(self, h: Tensor, loops: bool = False) -> EdgeList:
        """Return the edges into the rows that this layer writes, from rows of `h`; with `loops`, one from each node to itself."""
        return self._lists[1] if loops else self._lists[0]

    def edges_among(self, h: Tensor, pairs: Tensor) -> EdgeList:
        """Return the edges from u to v where `pairs` holds at (v, u) instead, numbered as `pairs[pairs]` lists them.

        `pairs`, bool, is shaped as `arrange_pairs` takes it. For models with a global channel: no rows are alike.
        """
        raise NotImplementedError

    def shell(self, h: Tensor, hops: int) -> Tensor:
        """Return the sum over nodes exactly `hops` >= 1 edges away, weighed as GCN's: 1 / sqrt(product of how many each has)."""
        return self._apply(self._shell(hops), h)

    def dense(self, h: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the rows that the layer reads graph by graph, padded by 0, and which are real.

        [..., graphs, nodes, channels] and [graphs, nodes] bool, or None where all are.
        """
        raise NotImplementedError

    def dense_root(self, h: Tensor) -> Tensor:
        """Return what `dense` does, at the rows that the layer writes."""
        return self.dense(h)[0]

    def flat(self, dense: Tensor) -> Tensor:
        """Return what `dense_root` brought graph by graph as rows again."""
        raise NotImplementedError

    def attend_linearly(self, query: Tensor, key: Tensor, value: Tensor, heads: int, epsilon: float = 0.0) -> Tensor:
        """Return attention of every node to every node of its graph, weighed by products of `query` and `key`, both >= 0.

        All are shaped as `h`; `epsilon` is added to the sum of the weights. The cost is linear in the nodes: keys meet values
        first (2006.16236).
        """
        read = self.dense_root(query), self.dense(key)[0], self.dense(value)[0]
        q, k, v = (rearrange(t, "... n (h c) -> ... h n c", h=heads) for t in read)
        total = (q @ k.sum(-2, keepdim=True).mT).clamp(min=torch.finfo(q.dtype).tiny) + epsilon
        return self.flat(rearrange(q @ (k.mT @ v) / total, "... h n c -> ... n (h c)"))

    def fully_adjacent(self) -> Operators:
        """Return the operators of the same graphs with an edge between any two nodes of each."""
        raise NotImplementedError

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        """Return softmax attention of every node to every node of its own graph, before the output projection.

        `query`, `key`, `value` are shaped as `h`; `bias` [replicas, graphs or 1, n_out, n, heads] is added to the logits.
        """
        raise NotImplementedError

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        """Bring a matrix over pairs of nodes into the order of the rows: [graphs or 1, n_out, n, ...].

        It is [n, n, ...] where graphs share a topology, else [graphs, n, n, ...]; [n, n] will do for one graph.
        """
        raise NotImplementedError

    def per_row(self, values: Tensor, h: Tensor) -> Tensor:
        """Return the value of its node for every row of `h`, as the model enters it: [rows, ...].

        It is [n, ...] where graphs share a topology, else [graphs, n, ...].
        """
        raise NotImplementedError

    def arrange_nodes(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Bring a matrix over nodes into the order of the rows read, and into that of those written: [graphs or 1, nodes, ...].

        It is [n, ...] where graphs share a topology, else [graphs, n, ...]. For models with a global channel: no rows are alike.
        """
        raise NotImplementedError

    def in_degree(self, h: Tensor) -> Tensor:
        """Return how many edges lead into the node of each row of `h`, as the model enters it: [rows]."""
        return torch.bincount(self.edge_index[1], minlength=self.num_nodes)

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
        """Return the operators of the graph with each edge left out with probability `p`, both ways at once (1907.10903)."""
        raise NotImplementedError

    @property
    def _num_rows(self) -> int:
        return self.num_nodes

    @property
    def _links(self) -> Tensor:
        """The edges between the rows."""
        return self.edge_index

    @cached_property
    def _lists(self) -> tuple[EdgeList, EdgeList]:
        return EdgeList.of(self._links, self._num_rows), EdgeList.of(self._loops, self._num_rows)

    @cached_property
    def _attention(self) -> Any:
        return Neighbours.of(self._loops[0], self._loops[1], self._num_rows)

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
    def _spread(self) -> Any:
        count = degree(self.edge_index[0], self.num_nodes, dtype=self.dtype)
        return self._matrix(self.edge_index, 1 / count[self.edge_index[0]])

    @cached_property
    def _sum(self) -> Any:
        return self._matrix(self.edge_index, torch.ones(self.edge_index.size(1), dtype=self.dtype, device=self.edge_index.device))

    def _shell(self, hops: int) -> Any:
        while len(self._shells) < hops:
            index = next(self._next_shells)
            into, out = (degree(end, self.num_nodes, dtype=self.dtype) for end in (index[1], index[0]))
            self._shells.append(self._matrix(index, (into[index[1]] * out[index[0]]).rsqrt()))
        return self._shells[hops - 1]

    def _matrix(self, index: Tensor, weight: Tensor) -> Any:
        """Return the matrix [target, source]; duplicate edges add up, as they do in PyG."""
        shape = (self.num_nodes, self.num_nodes)
        return csr_array((weight.cpu().numpy(), (index[1].cpu().numpy(), index[0].cpu().numpy())), shape=shape)

    def _apply(self, matrix: Any, h: Tensor) -> Tensor:
        raise NotImplementedError


def rooted(h: Tensor, windows: Iterable[Operators]) -> Tensor:
    """Return the rows of `h` that are left behind all of these windows, which follow each other."""
    for window in windows:
        h = window.root(h)
    return h


def shell_edges(edge_index: Tensor, num_nodes: int) -> Iterator[Tensor]:
    """Yield, for k = 1, 2, ..., the pairs of nodes whose shortest path has k edges: [2, num_pairs], (source, target)."""
    source, target = (end.cpu().numpy() for end in edge_index)
    step = csr_array((np.ones(len(source)), (source, target)), shape=(num_nodes, num_nodes))
    seen = shell = csr_array(eye_array(num_nodes))
    while True:
        reached = (shell @ step).sign()
        shell = reached - reached.multiply(seen)
        shell.eliminate_zeros()
        seen = seen + shell
        yield torch.from_numpy(np.stack(shell.nonzero())).long().to(edge_index.device)

"""The operators of any graphs, as PyG batches them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch_geometric.utils import scatter, to_dense_batch

from suite.operators.attention import softmax_attention
from suite.operators.base import Operators
from suite.operators.edges import EdgeList, drop_pairs
from suite.operators.products import pair, product


class GraphOperators(Operators):
    """Operators of any graph or batch of graphs; `batch` [num_nodes] tells the graphs apart."""

    def __init__(self, edge_index: Tensor, num_nodes: int, dtype: torch.dtype, batch: Tensor | None = None) -> None:
        super().__init__(edge_index, num_nodes, dtype)
        self.batch = edge_index.new_zeros(num_nodes) if batch is None else batch
        self._edge_lists: dict[bytes, EdgeList] = {}

    def dense(self, h: Tensor) -> tuple[Tensor, Tensor | None]:
        dense, mask = to_dense_batch(h, self.batch)
        return dense, mask

    def flat(self, dense: Tensor) -> Tensor:
        return dense[self._real]

    def edges_among(self, h: Tensor, pairs: Tensor) -> EdgeList:
        asked = pairs.cpu().numpy().tobytes()
        if asked not in self._edge_lists:
            graph, target, source = self.arrange_pairs(pairs).nonzero().T
            sizes = self._real.sum(1)
            first = (sizes.cumsum(0) - sizes)[graph]
            self._edge_lists[asked] = EdgeList.of(torch.stack([first + source, first + target]), self.num_nodes)
        return self._edge_lists[asked]

    def per_row(self, values: Tensor, h: Tensor) -> Tensor:
        return values[self._real]

    def fully_adjacent(self) -> Operators:
        return self._fully_adjacent

    @cached_property
    def _fully_adjacent(self) -> Operators:
        pairs = (self.batch.unsqueeze(1) == self.batch).fill_diagonal_(False).nonzero().T
        return GraphOperators(pairs, self.num_nodes, self.dtype, self.batch)

    @cached_property
    def _real(self) -> Tensor:
        mask: Tensor = to_dense_batch(self.batch, self.batch)[1]
        return mask

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        q, k, v = (rearrange(self.dense(t)[0], "g n (h c) -> g h n c", h=heads) for t in (query, key, value))
        shut = torch.zeros_like(self._real, dtype=q.dtype).masked_fill(~self._real, -torch.inf)[:, None, None]
        if bias is not None:
            shut = shut + rearrange(bias, "1 g n m h -> g h n m")
        return self.flat(rearrange(softmax_attention(q, k, v, shut), "g h n c -> g n (h c)"))

    def arrange_pairs(self, pairs: Tensor) -> Tensor:
        return pairs.unsqueeze(0) if pairs.dim() == 2 else pairs

    def arrange_nodes(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return values, values

    def global_mean(self, h: Tensor) -> Tensor:
        mean: Tensor = scatter(h, self.batch, dim=0, reduce="mean")
        return mean

    def to_nodes(self, graph: Tensor, h: Tensor) -> Tensor:
        return graph[self.batch]

    def drop_edges(self, p: float) -> Operators:
        return GraphOperators(drop_pairs(self.edge_index, p), self.num_nodes, self.dtype, self.batch)

    def _matrix(self, index: Tensor, weight: Tensor) -> Any:
        return pair(super()._matrix(index, weight), weight.device)

    def _apply(self, matrix: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
        return product(matrix, h.unsqueeze(0)).squeeze(0)

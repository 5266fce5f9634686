"""Influence by hand: a model that only propagates, cut into node-wise pieces, and the chain rule between them.

A model written against `suite.operators` calls a linear propagation, S h, or works on each node by itself. `Linearising`
answers the calls of `model.states`: it cuts the autograd graph at each of them, so that what is left between two cuts is a
small node-wise function, and its Jacobian is one matrix a node, found for all nodes together. No layer is written twice.

Back from the read-out nodes, with G_v the derivative of the outputs of v and one row per node, that leaves two kinds of step:

    propagation   G <- S^T G        node-wise piece   G_u <- G_u D_u

After k propagations G is 0 at nodes more than k hops from its read-out node, and those rows are never made: nodes are kept
in order of their distance, and the rows in reach are a prefix. Nearby read-out nodes, whose balls overlap, go together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, depth_first_order, dijkstra
from torch import Tensor
from torch_geometric.utils import add_remaining_self_loops

from suite.models.base import Model
from suite.operators import EdgeList, Operators

CACHED = 1 << 18  # float64 values in one derivative G: 2 MiB, which stays in a core's own cache
DENSE_UP_TO = 1 << 19  # products; below, cutting a sparse matrix costs more than them all
TALL = 32  # rows from which on a product with a 32 x 32 matrix is about as fast as with more


class NotNodeWiseError(TypeError):
    """The model mixes nodes in a way that is not a fixed linear propagation."""


class Window(Operators):
    """Operators of a whole graph on some of its nodes; h [num_window_nodes, channels].

    Weights come from the whole graph, so degrees are right; states are, too, at nodes whose neighbours are all inside.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, dtype: torch.dtype, nodes: Tensor) -> None:
        super().__init__(edge_index, num_nodes, dtype)
        self.nodes = nodes
        self._place = torch.full((num_nodes,), -1)
        self._place[nodes] = torch.arange(nodes.numel())

    @property
    def _num_rows(self) -> int:
        return self.nodes.numel()

    @property
    def _links(self) -> Tensor:
        return self._inside(self.edge_index)

    def in_degree(self, h: Tensor) -> Tensor:
        return super().in_degree(h)[self.nodes]

    @cached_property
    def _loops(self) -> Tensor:
        return self._inside(add_remaining_self_loops(self.edge_index, num_nodes=self.num_nodes)[0])

    def _inside(self, edge_index: Tensor) -> Tensor:
        placed = self._place[edge_index]
        return placed[:, (placed >= 0).all(0)]

    def _matrix(self, index: Tensor, weight: Tensor) -> Any:
        inside = self._place[index]
        keep = (inside >= 0).all(0)
        return inside[:, keep], weight[keep].unsqueeze(1)

    def _apply(self, matrix: Any, h: Tensor) -> Tensor:
        (source, target), weight = matrix
        return torch.zeros_like(h).index_add(0, target, weight * h.index_select(0, source))


class Cut(NamedTuple):
    """A propagation: `leaf` is `matrix @ read`, or `read` itself without a matrix, and does not know where it came from."""

    matrix: csr_array | None
    read: Tensor
    leaf: Tensor


class Linearising(Window):
    """A window that cuts: every propagation returns a fresh leaf, and `cuts` lists them in the order of the calls.

    Raises NotNodeWiseError where a model attends, averages over the graph, or reads several hops at once.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, dtype: torch.dtype, nodes: Tensor) -> None:
        super().__init__(edge_index, num_nodes, dtype, nodes)
        self.cuts: list[Cut] = []
        self._transposed: dict[int, csr_array] = {}
        self._roots: dict[int, Tensor] = {}  # by id; the cuts keep what was read alive

    def root(self, h: Tensor) -> Tensor:
        if any(h is cut.leaf for cut in self.cuts):
            return h
        if id(h) not in self._roots:
            self._roots[id(h)] = self._cut(None, h, h.detach().clone())
        return self._roots[id(h)]

    def edges(self, h: Tensor, loops: bool = False) -> EdgeList:
        raise NotNodeWiseError("messages along single edges depend on the features")

    def shell(self, h: Tensor, hops: int) -> Tensor:
        raise NotNodeWiseError("one step to nodes several hops away is not the step along edges that rows in reach grow by")

    def attend(self, value: Tensor, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
        raise NotNodeWiseError("attention weights depend on the features")

    def attend_all(self, query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
        raise NotNodeWiseError("attention weights depend on the features")

    def dense(self, h: Tensor) -> tuple[Tensor, Tensor | None]:
        raise NotNodeWiseError("attention weights depend on the features")

    def fully_adjacent(self) -> Operators:
        raise NotNodeWiseError("a layer on the complete graph reaches every node")

    def global_mean(self, h: Tensor) -> Tensor:
        raise NotNodeWiseError("a mean over the graph reaches every node")

    def origin(self, h: Tensor) -> Tensor:
        """Return the state that `h` is a root of, or `h` itself."""
        return next((cut.read for cut in self.cuts if h is cut.leaf and cut.matrix is None), h)

    def transposed(self, matrix: csr_array) -> csr_array:
        """Return the transpose of a matrix of a cut, the same object each time."""
        if id(matrix) not in self._transposed:
            self._transposed[id(matrix)] = matrix.T.tocsr()
        return self._transposed[id(matrix)]

    def _matrix(self, index: Tensor, weight: Tensor) -> csr_array:
        (source, target), inside = super()._matrix(index, weight)
        return csr_array((inside.squeeze(1).numpy(), (target.numpy(), source.numpy())), shape=(self._num_rows, self._num_rows))

    def _apply(self, matrix: Any, h: Tensor) -> Tensor:
        return self._cut(matrix, h, torch.from_numpy(matrix @ h.detach().numpy()))

    def _cut(self, matrix: csr_array | None, read: Tensor, leaf: Tensor) -> Tensor:
        self.cuts.append(Cut(matrix, read, leaf.requires_grad_()))
        return leaf


Piece = dict[int, Tensor | None]  # by input: 0 is x, 1 is H0, 2 + i is leaf i; [num_nodes, out, in], None for the identity


class Linearised(NamedTuple):
    """A model at one input: `output`, and for each cut `reads`, the node-wise pieces that lead there.

    A tensor that several cuts read has its piece at the first of them: on the way back it is complete only there.
    """

    output: Piece
    cuts: list[tuple[csr_array | None, int, Piece | None]]  # transposed matrix, which tensor is read, its piece


def linearise(model: Model, x: Tensor, op: Linearising, own: Tensor | None = None) -> Linearised:
    """Return the pieces of `model` in eval mode at x [num_window_nodes, in_channels], those by x at `own` only, where given.

    Raises NotNodeWiseError for a model that mixes nodes by anything but linear propagation.
    """
    inputs, reads = _forward(model, x, op, own)
    first: dict[int, int] = {}
    cuts: list[tuple[csr_array | None, int, Piece | None]] = []
    for index, cut in enumerate(op.cuts):
        read = first.setdefault(id(cut.read), index)
        piece = _piece(cut.read, inputs) if read == index else None
        cuts.append((None if cut.matrix is None else op.transposed(cut.matrix), read, piece))
    return Linearised(_piece(reads[-1], inputs), cuts)


def _forward(model: Model, x: Tensor, op: Linearising, own: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
    """Return what pieces begin with (x, H0, leaves) and what they end in (the different tensors that cuts read, output)."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        hidden = model.states(by_own(x, own), op)
        output = model.decode(hidden)
    reads = {id(cut.read): cut.read for cut in op.cuts}
    return [x, op.origin(hidden[0]), *(cut.leaf for cut in op.cuts)], [*reads.values(), output]


def by_own(x: Tensor, own: Tensor | None) -> Tensor:
    """Return x, of which only what the task gave, `own`, carries gradients; None: all of it."""
    return x if own is None else torch.where(own, x, x.detach())


def _piece_size(output: Tensor, inputs: list[Tensor]) -> int:
    if not output.requires_grad:
        return 0
    found = torch.autograd.grad(output, inputs, torch.ones_like(output), retain_graph=True, allow_unused=True)
    return sum(output.size(1) * gradient.size(1) for gradient in found if gradient is not None)


def _piece(output: Tensor, inputs: list[Tensor]) -> Piece:
    """Return the Jacobian of each row of `output` [num_nodes, out] by the same row of each input it depends on.

    One backward pass for all output channels, as a batch, and for all nodes at once: rows do not mix.
    """
    if not output.requires_grad:
        return {}
    every = torch.eye(output.size(1), dtype=output.dtype).unsqueeze(1).expand(-1, output.size(0), -1)
    gradients = torch.autograd.grad(output, inputs, every, retain_graph=True, allow_unused=True, is_grads_batched=True)
    blocks = {i: gradient.transpose(0, 1) for i, gradient in enumerate(gradients) if gradient is not None}
    return {i: None if _is_identity(block) else block for i, block in blocks.items()}


def _is_identity(blocks: Tensor) -> bool:
    size = blocks.size(1)
    if size != blocks.size(2):
        return False
    identity = torch.eye(size, dtype=blocks.dtype)
    return torch.equal(blocks[0], identity) and torch.equal(blocks, identity.expand_as(blocks))  # most differ at once


class _Near:
    """The nodes that sets of read-out nodes can see: a row for each set and node, by distance; rows in reach are a prefix.

    Args:
        sets: [num_sets, set_size] read-out nodes; those of a set share its rows.
        distance: [num_sets, num_nodes], of each node to the nearest read-out node of the set.
        reach: of the model.
    """

    def __init__(self, sets: np.ndarray, distance: np.ndarray, reach: int) -> None:
        owner, nodes = np.nonzero(distance <= reach)
        hops = distance[owner, nodes]
        order = np.argsort(hops, kind="stable")
        self.owner, self.nodes = owner[order], nodes[order]
        self._row = np.full(distance.shape, -1)
        self._row[self.owner, self.nodes] = np.arange(order.size)
        self.first: np.ndarray = self._row[np.arange(len(sets))[:, None], sets]  # [num_sets, set_size], rows of read-out nodes
        sizes = np.searchsorted(hops[order], np.arange(reach + 2), side="right").tolist()
        self.num_first: int = sizes[0]
        self._next = dict(pairwise(sizes))  # how many rows one more hop reaches
        self._cut: dict[int, csr_array | Tensor] = {}

    def spread(self, transposed: csr_array, rows: Tensor) -> Tensor:
        """Return S^T applied to `rows` [num_rows, ...], set by set: [num_rows one hop further, ...]."""
        num_rows, flat = rows.size(0), rows.reshape(rows.size(0), -1)
        if id(transposed) not in self._cut:
            matrix = self._own(transposed)
            dense = self.nodes.size**2 * flat.size(1) <= DENSE_UP_TO
            self._cut[id(transposed)] = torch.from_numpy(matrix.toarray()) if dense else matrix
        block = self._cut[id(transposed)][: self._next[num_rows], :num_rows]
        out = block @ flat if isinstance(block, Tensor) else torch.from_numpy(block @ flat.numpy())
        return out.view(-1, *rows.shape[1:])

    def _own(self, matrix: csr_array) -> csr_array:
        """Return a matrix [num_nodes, num_nodes] as it maps rows to rows: nothing passes from set to set."""
        entries = matrix[self.nodes].tocoo()
        to = self._row[self.owner[entries.row], entries.col]
        inside = to >= 0
        return csr_array((entries.data[inside], (entries.row[inside], to[inside])), shape=(self.nodes.size,) * 2)


def _pull_back(model: Linearised, near: _Near, start: Tensor) -> dict[int, Tensor]:
    """Return the derivatives by x (0) and by H0 (1) of the outputs weighted by `start`; absent where there are none.

    `start` [num_first, weightings, out_channels] -> [rows in reach, weightings, channels] each.
    """
    found: dict[int, Tensor] = {}
    _through(model.output, near, start, found)
    reads: dict[int, Tensor] = {}
    for index in reversed(range(len(model.cuts))):
        transposed, read, piece = model.cuts[index]
        rows = found.pop(2 + index, None)
        if rows is not None:
            _add_to(reads, read, rows, None if transposed is None else near.spread(transposed, rows))
        if piece is not None and read in reads:
            _through(piece, near, reads.pop(read), found)
    return found


def _through(piece: Piece, near: _Near, rows: Tensor, found: dict[int, Tensor]) -> None:
    nodes = torch.from_numpy(near.nodes[: rows.size(0)])
    for key, block in piece.items():
        _add_to(found, key, rows, None if block is None else torch.bmm(rows, block.index_select(0, nodes)))


def _add_to(sums: dict[int, Tensor], key: int, rows: Tensor, mapped: Tensor | None) -> None:
    """Add `mapped`, or `rows` as they are, to a sum of derivatives; the shorter one of two is 0 beyond its end.

    Only `mapped`, which nobody else holds, is written to.
    """
    other = sums.get(key)
    if other is None:
        sums[key] = rows if mapped is None else mapped
        return
    fresh = rows.clone() if mapped is None else mapped
    if other.size(0) > fresh.size(0):
        fresh, other = other.clone(), fresh
    fresh[: other.size(0)].add_(other)
    sums[key] = fresh


class ByHand:
    """Influence in a model that propagates and works node by node, on one graph or several joined.

    Args:
        model: in eval mode and float64, with a finite reach and without needs.
        x: [num_nodes, in_channels] float64.
        edge_index: [2, num_edges] long.
        chunk_size: how many float64 values the Jacobians of all pieces may hold together; a derivative G holds no more.
        own: [num_nodes, in_channels] bool, by which entries of x derivatives are asked; None: all.

    Raises NotNodeWiseError for a model that mixes nodes by anything but linear propagation.
    """

    def __init__(self, model: Model, x: Tensor, edge_index: Tensor, chunk_size: int, own: Tensor | None = None) -> None:
        assert model.reach is not None
        self.own = own
        self.model, self.x, self.edge_index, self.chunk_size = model, x, edge_index, chunk_size
        self.reach = model.reach
        ends = edge_index.numpy()
        both = (np.concatenate([ends[0], ends[1]]), np.concatenate([ends[1], ends[0]]))
        self.adjacency = csr_array((np.ones(both[0].size), both), shape=(x.size(0), x.size(0)))
        self.out_channels, self.width, self._values_per_node = self._sizes()

    def _sizes(self) -> tuple[int, int, int]:
        """Return the widths of the output and of the widest state, and how many values the pieces hold a node.

        From a graph of one node: which pieces there are does not depend on the graph.
        """
        op = Linearising(self.edge_index[:, :0], 1, self.x.dtype, torch.zeros(1, dtype=torch.long))
        inputs, reads = _forward(self.model, self.x[:1], op)
        sizes = [_piece_size(read, inputs) for read in reads]
        return reads[-1].size(1), max(t.size(1) for t in inputs + reads), sum(sizes)

    def fits(self, readouts: Tensor) -> bool:
        """Return whether the Jacobians that one read-out node needs keep to `chunk_size`, whichever it is."""
        return self._fits(np.arange(self.x.size(0))) or all(self._fits(self._seen(node)) for node in readouts.numpy()[:, None])

    def norms(self, readouts: Tensor, directions: Tensor) -> Tensor:
        """Return |z^T J_vu|, over all z of v's `directions` together, by x and by H0: [2, num_readouts, num_nodes].

        `directions` is [num_readouts, num_directions, out_channels].
        """
        out = self.x.new_zeros(2, readouts.numel(), self.x.size(0))
        nodes, place = readouts.numpy(), np.argsort(_nearby_first(self.adjacency))
        in_order = np.argsort(place[nodes], kind="stable")
        for group in _split(in_order, lambda part: self._fits(self._seen(nodes[part]))):
            window = self._seen(nodes[group])
            inside = torch.from_numpy(window)
            op = Linearising(self.edge_index, self.x.size(0), self.x.dtype, inside)
            pieces = linearise(self.model, self.x[inside], op, None if self.own is None else self.own[inside])
            self._fill(out, group, nodes, window, pieces, directions)
        return out

    def _fits(self, window: np.ndarray) -> bool:
        return window.size * self._values_per_node <= self.chunk_size

    def _seen(self, readouts: np.ndarray) -> np.ndarray:
        distance = dijkstra(self.adjacency, indices=readouts, unweighted=True, limit=self.reach, min_only=True)
        return np.flatnonzero(distance <= self.reach)

    def _fill(
        self, out: Tensor, group: np.ndarray, nodes: np.ndarray, window: np.ndarray, pieces: Linearised, directions: Tensor
    ) -> None:
        """Write the norms of a `group` of read-out nodes, whose `pieces` are known at the nodes of `window`.

        Neighbours go in sets, just large enough for products with a node's piece to be efficient: a row that one of a set
        feels and another does not is computed in vain for the other.
        """
        inside, at = self.adjacency[window][:, window], np.searchsorted(window, nodes[group])
        distance = dijkstra(inside, indices=at, unweighted=True, limit=self.reach)  # [num_readouts, num_window]
        ball = int((distance <= self.reach).sum(1).max())
        room = min(CACHED, self.chunk_size) // (ball * self.width)
        size = max(1, min(-(-TALL // directions.size(1)), room, group.size))
        whole = group.size // size * size
        for part, shape in ((np.arange(whole), (-1, size)), (np.arange(whole, group.size), (1, -1))):
            if part.size:
                sets = part.reshape(shape)
                self._fill_sets(out, group[sets], at[sets], distance[sets].min(1), window, pieces, directions)

    def _fill_sets(
        self,
        out: Tensor,
        sets: np.ndarray,
        at: np.ndarray,
        distance: np.ndarray,
        window: np.ndarray,
        pieces: Linearised,
        directions: Tensor,
    ) -> None:
        """Do as `_fill` does, for `sets` [num_sets, set_size] that are `at` in the window, each `distance` from its nodes."""
        per_direction = (distance <= self.reach).sum(1) * sets.shape[1] * self.width  # values of G at most, by set
        size = min(CACHED, self.chunk_size)
        for chunk in _runs(per_direction * directions.size(1), size):
            near, readouts = _Near(at[chunk], distance[chunk], self.reach), sets[chunk]
            room = max(1, size // int(per_direction[chunk].sum()))
            for some in torch.split(directions[torch.from_numpy(readouts)], room, dim=2):
                found = _pull_back(pieces, near, _start(near, some))
                for key in found.keys() & {0, 1}:
                    rows = rearrange(found[key], "n (v z) c -> n v (z c)", v=sets.shape[1])
                    norm = row_norm(rows.flatten(0, 1)).view(rows.shape[:2])  # [num_rows, set_size]
                    place = readouts[near.owner[: len(rows)]], window[near.nodes[: len(rows), None]]
                    out[key][place] = torch.hypot(out[key][place], norm)


def _start(near: _Near, directions: Tensor) -> Tensor:
    """Return the outputs' weights to begin with: each read-out node's directions in its own row, 0 elsewhere.

    `directions` [num_sets, set_size, num_directions, channels].
    """
    set_size = directions.size(1)
    start = directions.new_zeros(near.num_first, *directions.shape[1:])
    start[near.first, np.arange(set_size)] = directions
    return start.flatten(1, 2)


def _split(items: np.ndarray, fits: Callable[[np.ndarray], bool]) -> Iterator[np.ndarray]:
    """Halve `items` until the parts fit, or are single."""
    if items.size <= 1 or fits(items):
        yield items
        return
    for half in np.array_split(items, 2):
        yield from _split(half, fits)


def _runs(sizes: np.ndarray, limit: int) -> list[np.ndarray]:
    """Cut 0, 1, ... into runs whose sizes add up to `limit` at most, or that are single."""
    starts, total = [0], 0
    for index, size in enumerate(sizes.tolist()):
        if total + size > limit and index > starts[-1]:
            starts.append(index)
            total = 0
        total += size
    return np.split(np.arange(sizes.size), starts[1:])


def _nearby_first(adjacency: csr_array) -> np.ndarray:
    """Return all nodes, depth first and component by component: neighbours in this order are near each other."""
    _, component = connected_components(adjacency, directed=False)
    starts = np.unique(component, return_index=True)[1]
    return np.concatenate([depth_first_order(adjacency, start, return_predecessors=False) for start in starts])


def row_norm(rows: Tensor) -> Tensor:
    """Return the norm of each row; rows so small that their squares underflow are rescaled, so that 0 means 0."""
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1)
    small = norm < 1e-140
    if bool(small.any()):
        part = rows[small]
        largest = part.abs().amax(1, keepdim=True)
        norm[small] = torch.where(largest == 0, 0, part / largest).norm(dim=1) * largest.squeeze(1)
    return norm

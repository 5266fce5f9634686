"""TokenGT: a plain transformer over the nodes and the edges of a graph, which know each other by random identifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch_geometric.utils import to_dense_batch

from suite.models.attentions.performer import orthogonal
from suite.models.convs import Memory
from suite.models.layered import ADDS, Layered
from suite.models.layers import MLP, LayerNorm, Linear, dropout, per_replica
from suite.operators import Operators
from suite.operators.attention import softmax_attention


class TokenBlock(nn.Module):
    """t + MHA(norm(t)), then t + MLP(norm(t)), over all tokens of a graph: nodes, as rows, and edges [..., graphs * edges, c]."""

    def __init__(self, channels: int, heads: int, mlp_channels: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.value, self.out = (Linear(channels, channels) for _ in range(3))
        self.key = Linear(channels, channels, bias=False)  # one would add the same to all logits of a token: no effect
        self.attention_norm, self.mlp_norm = LayerNorm(channels), LayerNorm(channels)
        self.mlp = MLP(channels, mlp_channels, channels)

    def forward(self, h: Tensor, edges: Tensor, real_edges: Tensor, op: Operators) -> tuple[Tensor, Tensor]:
        """Return nodes and edges after the block; `real_edges` [graphs, edges] says which are no padding."""
        nodes, pairs = self.attention_norm(h, op), self.attention_norm(edges, op)
        (key, real), (value, _) = op.dense(self.key(nodes)), op.dense(self.value(nodes))
        query = op.dense_root(self.query(nodes))
        q, k = self._joined(query, self.query(pairs)), self._joined(key, self.key(pairs))
        shut = None if real is None else ~torch.cat([real, real_edges], dim=1)[:, None, None]
        bias = None if shut is None else torch.zeros_like(shut, dtype=h.dtype).masked_fill(shut, -torch.inf)
        read = rearrange(softmax_attention(q, k, self._joined(value, self.value(pairs)), bias), "... h t c -> ... t (h c)")
        read_nodes, read_edges = read[..., : query.size(-2), :], read[..., query.size(-2) :, :]
        return self._finish(op.root(h), op.flat(read_nodes), op), self._finish(edges, read_edges.reshape(edges.shape), op)

    def _joined(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Return the tokens of each graph by head [..., graphs, heads, tokens, c], nodes first."""
        graphs, channels = nodes.size(-3), nodes.size(-1)
        dense = edges.view(*nodes.shape[:-3], graphs, edges.size(-2) // graphs, channels)
        return rearrange(torch.cat([nodes, dense], dim=-2), "... t (h c) -> ... h t c", h=self.heads)

    def _finish(self, root: Tensor, read: Tensor, op: Operators) -> Tensor:
        out = root + self._drop(self.out(read))
        return out + self._drop(self.mlp(self.mlp_norm(out, op)))

    def _drop(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout) if self.dropout and self.training else h


@dataclass(kw_only=True)
class Tokens(Memory):
    """And the tokens of edges [..., graphs * edges, channels], with which are no padding [graphs, edges]."""

    edges: Tensor
    real_edges: Tensor


class TokenGT(Layered):
    """Tokens, `num_layers` transformer blocks with norms first, norm, decoder of the nodes' tokens (2207.02505).

        node v:              MLP(x_v) + [p_v | p_v] W     (the MLP's bias is the type identifier of nodes)
        edge from u to v:    type + [p_u | p_v] W

    p are orthonormal, so that [p_u | p_v] . [p_v | p_v] tells whether an edge and a node meet; equal edges are one token. Nothing
    else says how nodes are joined. State l is that of the nodes after l blocks.

    Random identifiers are equivariant in distribution only. Here `identifiers` draws an orthogonal matrix for each topology, and
    while training every step turns it by a random rotation, as the authors draw anew at every call: all that stays is that p are
    orthonormal, so no identifier can be learned by heart, and the model declares itself `random`. In eval mode the matrix is
    turned by one that is drawn with the weights: renumbering nodes then renumbers the output where colour refinement tells the
    nodes apart; elsewhere it gives another draw of the same kind. The authors' graph token answers for whole graphs, where here
    nodes are asked: it is left out. Attention is among n + m tokens: its cost grows as (n + m)^2.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        heads: attention heads; must divide hidden_channels.
        identifier_channels: width of p (authors: 64). In larger graphs p are rows of as many random columns, of length one, and
            only nearly orthogonal.
        mlp_channels: inner width of the blocks' MLPs; None: twice hidden_channels.
        dropout: after attention and MLP, while training.
    """

    needs, global_channel, operator, reach = frozenset({"identifiers", "joined"}), frozenset({"attention"}), "complete", None
    refuses = ADDS
    random = True
    frame: Tensor

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        heads: int = 4,
        identifier_channels: int = 64,
        mlp_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__([hidden_channels] * (num_layers + 1), out_channels)
        if hidden_channels % heads:
            raise ValueError(f"hidden_channels: must be a multiple of heads = {heads}, got {hidden_channels}")
        self.encoder = MLP(in_channels, hidden_channels, hidden_channels)
        self.identifier = Linear(2 * identifier_channels, hidden_channels, bias=False)
        self.edge_type = nn.Parameter(torch.randn(hidden_channels))
        inner = 2 * hidden_channels if mlp_channels is None else mlp_channels
        self.blocks = nn.ModuleList(TokenBlock(hidden_channels, heads, inner, dropout) for _ in range(num_layers))
        self.norm, self.decoder = LayerNorm(hidden_channels), Linear(hidden_channels, out_channels)
        self.register_buffer("frame", orthogonal(identifier_channels, identifier_channels))
        self.width_multiple = heads

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        if not self.blocks:
            h = self.encoder(x)
            return h, Memory(h)
        first = op.layer(0)
        dense, real = first.dense(x)
        graphs = dense.size(-3)
        rows, joined = needs["identifiers"].to(x.dtype), needs["joined"]
        if real is not None:
            rows = rows * real.unsqueeze(1)  # padding
        frame = self._frame(rows.size(-1)).to(x.dtype)
        own = first.arrange_nodes(rows)[0]
        h = self.encoder(x) + first.flat(self._identified(own, own, frame, x, graphs))
        sources, targets, real_edges = _ends(rows, joined)
        edges = self._identified(sources, targets, frame, x, graphs) + per_replica(self.edge_type, 1, dense)
        return h, Tokens(h, edges=edges.flatten(-3, -2), real_edges=real_edges)

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        assert isinstance(memory, Tokens)
        h, memory.edges = self.blocks[index](h, memory.edges, memory.real_edges, windows[0])
        return h

    def leave(self, hidden: list[Tensor], last: Operators, op: Operators, memory: Memory) -> list[Tensor]:
        return [*hidden[:-1], self.norm(hidden[-1], op)]

    def _frame(self, num_nodes: int) -> Tensor:
        """Return what rows of the orthogonal matrix are multiplied by: [num_nodes, identifier_channels], drawn while training."""
        width = self.frame.size(-1)
        if self.training:
            size = max(num_nodes, width)
            return orthogonal(size, size)[:num_nodes, :width]
        return F.pad(self.frame[..., :num_nodes, :], (0, 0, 0, max(num_nodes - width, 0)))

    def _identified(self, sources: Tensor, targets: Tensor, frame: Tensor, x: Tensor, graphs: int) -> Tensor:
        """Map rows [graphs or 1, k, n] for both ends of k tokens to [p_u | p_v] W: [..., graphs, k, channels]."""
        ends = torch.cat([F.normalize(end @ frame, dim=-1) for end in (sources, targets)], dim=-1)
        if x.dim() == 2:
            found: Tensor = self.identifier(ends)
            return found
        of_one: Tensor = self.identifier(ends.expand(x.size(0), -1, -1))
        return of_one.unsqueeze(1).expand(-1, graphs, -1, -1)


def _ends(rows: Tensor, joined: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of sources and targets of all edges, [graphs or 1, edges, n] each, and which are no padding."""
    rows, joined = (t if t.dim() == 3 else t.unsqueeze(0) for t in (rows, joined))
    graph, target, source = (joined == 1).nonzero().T
    sources, real = to_dense_batch(rows[graph, source], graph, batch_size=len(joined))
    return sources, to_dense_batch(rows[graph, target], graph, batch_size=len(joined))[0], real

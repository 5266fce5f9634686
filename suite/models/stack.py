"""The message-passing stack: one class, of which GCN, GCN with residual, GCNII, jumping knowledge ... are settings."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from suite.models.base import Model
from suite.models.convs import CONVS, Memory
from suite.models.layers import MLP, Linear, dropout, make_norm
from suite.operators import Operators


class Stack(Model):
    """Encoder, `num_layers` blocks of convolution, norm, activation (and skip), decoder.

    Args:
        in_channels: width of x.
        hidden_channels: width of the hidden states.
        num_layers: number of blocks.
        out_channels: width of the output.
        conv: gcn, gcnii, sage, gin, gat, or node_wise (graph-blind).
        norm: layer, data, none (all node-wise), or batch.
        skip: none: act(norm(conv(h))); residual: h + act(norm(conv(h))); post_norm: norm(h + act(conv(h))), as 2006.05205 has it.
        readout: last state, or the concatenation of all of them (jumping knowledge, 1806.03536).
        encoder: mlp (two layers), linear (followed by ReLU), embedding (a linear map alone), or none: the first convolution
            then reads x itself.
        mlp_channels: inner width of the encoder `mlp`; None: hidden_channels.
        decoder: linear, or none: the last convolution then writes the output, without norm and activation.
        fully_adjacent_last: the last block sees an edge between any two nodes of a graph (2006.05205).
        virtual_node: before each block, add to every node a learned map of the mean over all nodes of its graph (1704.01212).
        dropout: probability of a zero at the input of every weight matrix, while training.
        drop_edge: probability of leaving out an edge, drawn anew at each training step for all layers (1907.10903).
        init: glorot, or orthogonal for the weights of the blocks.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        conv: str = "gcn",
        norm: str = "none",
        skip: Literal["none", "residual", "post_norm"] = "none",
        readout: Literal["last", "concat"] = "last",
        encoder: Literal["mlp", "linear", "embedding", "none"] = "mlp",
        mlp_channels: int | None = None,
        decoder: Literal["linear", "none"] = "linear",
        fully_adjacent_last: bool = False,
        virtual_node: bool = False,
        dropout: float = 0.0,
        drop_edge: float = 0.0,
        init: Literal["glorot", "orthogonal"] = "glorot",
    ) -> None:
        super().__init__()
        if conv not in CONVS:
            raise ValueError(f"conv: must be one of {', '.join(CONVS)}; got '{conv}'")
        if num_layers < 1 and "none" in (encoder, decoder):
            raise ValueError(f"num_layers: must be >= 1 without encoder or decoder, got {num_layers}")
        widths = [hidden_channels] * (num_layers + 1)
        widths[0] = in_channels if encoder == "none" else hidden_channels
        widths[-1] = out_channels if decoder == "none" else widths[-1]
        self.skip, self.readout, self.dropout, self.drop_edge = skip, readout, dropout, drop_edge
        self.fully_adjacent_last = fully_adjacent_last
        self.plain_last = decoder == "none"
        self.encoder = _encoder(encoder, in_channels, hidden_channels, mlp_channels or hidden_channels)
        normed = widths[1:-1] if self.plain_last else widths[1:]
        centred = len(normed) if norm == "batch" and skip != "post_norm" else 0  # a bias there would have no effect
        self.convs = nn.ModuleList(CONVS[conv](a, b, i, i >= centred) for i, (a, b) in enumerate(pairwise(widths)))
        self.norms = nn.ModuleList(make_norm(norm, width) for width in normed)
        self.virtual = nn.ModuleList(MLP(width, hidden_channels, width) for width in widths[:-1] if virtual_node)
        read = sum(widths) if readout == "concat" else widths[-1]
        self.decoder = nn.Identity() if decoder == "none" else Linear(read, out_channels)
        if init == "orthogonal":
            _make_orthogonal(self.convs)
        self.conv = CONVS[conv]
        self.width_multiple = getattr(self.conv, "heads", 1)
        self.operator = self.conv.operator
        self.layer_hops = tuple(map(self.conv.hops, range(num_layers)))
        channels = {"virtual_node": virtual_node, "rewiring": fully_adjacent_last, "norm(train)": norm == "batch"}
        self.global_channel = frozenset(channel for channel, is_open in channels.items() if is_open)
        self.reach = None if virtual_node or fully_adjacent_last else self.conv.reach(num_layers)
        self.random = dropout > 0 or drop_edge > 0

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        if self.training and self.drop_edge:
            op = op.drop_edges(self.drop_edge)
        h = x if isinstance(self.encoder, nn.Identity) else self.encoder(self._drop(x))
        hidden, memory = [h], Memory(h, [h])
        for index, conv in enumerate(self.convs):
            adjacent = self.fully_adjacent_last and index == len(self.convs) - 1
            layer = (op.fully_adjacent() if adjacent else op).layer(index)
            memory.initial = layer.root(memory.initial)
            if len(self.virtual):
                h = h + layer.to_nodes(self.virtual[index](layer.global_mean(h)), h)
            out, last = conv(self._drop(h), layer, memory), index >= len(self.norms)
            root = layer.root(h) if self.skip != "none" and out.size(-1) == h.size(-1) else None
            h = self._finish(out, root, None if last else self.norms[index], layer)
            if self.conv.reads_past:
                memory.written(layer, h)
            if self.readout == "concat":  # earlier states are read too, at the nodes that the last one has
                hidden = [layer.root(earlier) for earlier in hidden]
            hidden.append(h)
        return hidden

    def _finish(self, out: Tensor, root: Tensor | None, norm: nn.Module | None, layer: Operators) -> Tensor:
        """Return what becomes of a convolution's output: norm, activation and skip, in the order of `skip`."""
        if self.skip == "post_norm":
            out = out if norm is None else out.relu_()
            out = out if root is None else root + out
            return out if norm is None else norm(out, layer)
        out = out if norm is None else norm(out, layer).relu_()
        return out if root is None else root + out

    def read(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1] if self.readout == "last" else torch.cat(hidden, dim=-1)

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = hidden[-1] if self.plain_last else self.decoder(self._drop(self.read(hidden)))
        return out

    def _drop(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout) if self.dropout and self.training else h


class _LinearReLU(Linear):
    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h).relu()


def _encoder(kind: str, in_channels: int, hidden_channels: int, mlp_channels: int) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    if kind in ("linear", "embedding"):
        return (_LinearReLU if kind == "linear" else Linear)(in_channels, hidden_channels)
    return MLP(in_channels, mlp_channels, hidden_channels)


def _make_orthogonal(convs: nn.Module) -> None:
    for module in convs.modules():
        if isinstance(module, Linear):
            nn.init.orthogonal_(module.weight)

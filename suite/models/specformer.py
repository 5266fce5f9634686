"""Specformer: a transformer over the eigenvalues of a graph makes the filters that its nodes propagate by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from suite.models.convs import Memory
from suite.models.layered import ADDS, Layered
from suite.models.layers import MLP, LayerNorm, Linear, dropout, find_norm, make_norm
from suite.operators import Operators
from suite.operators.attention import softmax_attention


class EigenvalueEncoder(nn.Module):
    """z = W [lambda | sin(100 lambda w_i) | cos(100 lambda w_i)] + b, w_i = 10000^(-2i / channels), i < channels / 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.lin = Linear(1 + 2 * len(range(0, channels, 2)), channels)

    def forward(self, eigenvalues: Tensor) -> Tensor:
        """Map [..., n, 1] to [..., n, channels]."""
        steps = torch.arange(0, self.channels, 2, dtype=eigenvalues.dtype, device=eigenvalues.device)
        angle = 100 * eigenvalues * torch.exp(steps * (-math.log(10000) / self.channels))
        out: Tensor = self.lin(torch.cat([eigenvalues, angle.sin(), angle.cos()], dim=-1))
        return out


class Filters(nn.Module):
    """One filter a head, a value for each eigenvalue: z + MHA(norm(z)), then z + MLP(norm(z)), then a linear map to the heads.

    Attention is among the eigenvalues of a graph, so that each filter may know the whole spectrum.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.encoder = EigenvalueEncoder(channels)
        self.attention_norm, self.mlp_norm = LayerNorm(channels), LayerNorm(channels)
        self.query, self.value, self.out = (Linear(channels, channels) for _ in range(3))
        self.key = Linear(channels, channels, bias=False)
        self.mlp, self.decoder = MLP(channels, channels, channels), Linear(channels, heads)

    def forward(self, eigenvalues: Tensor, op: Operators) -> Tensor:
        """Map eigenvalues [graphs, n, 1], -1 for padding, or the same for each replica, to filters [..., n, heads]."""
        z = self.encoder(eigenvalues)
        normal = self.attention_norm(z, op)
        q, k, v = (rearrange(lin(normal), "b n (h c) -> b h n c", h=self.heads) for lin in (self.query, self.key, self.value))
        padding = rearrange(eigenvalues < 0, "b n 1 -> b 1 1 n")
        read = softmax_attention(q, k, v, torch.zeros_like(padding, dtype=z.dtype).masked_fill(padding, -torch.inf))
        z = z + self.out(rearrange(read, "b h n c -> b n (h c)"))
        out: Tensor = self.decoder(z + self.mlp(self.mlp_norm(z, op)))
        return out


class SpectralLayer(nn.Module):
    """h + ReLU(norm(x W + b)), x_c = (w_0c I + sum_m w_mc U diag(f_m) U^T) h_c for each channel c; dropout before the sum."""

    def __init__(self, channels: int, heads: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.own, self.mix = nn.Parameter(torch.ones(1, channels)), nn.Parameter(torch.empty(heads, channels))
        nn.init.xavier_uniform_(self.mix)
        self.lin, self.norm = Linear(channels, channels, not find_norm(norm).centres), make_norm(norm, channels)
        self.dropout = dropout

    def forward(self, h: Tensor, op: Operators, filters: Tensor, eigenvectors: Tensor) -> Tensor:
        read, written = op.arrange_nodes(eigenvectors)
        dense, by_channel = op.dense(h)[0], filters @ self.mix  # [..., n, channels]
        if dense.dim() == 4:  # replicas, and graphs that share their filters
            by_channel = by_channel.unsqueeze(1)
        filtered = op.flat(written @ (by_channel * (read.mT @ dense)))
        root = op.root(h)
        out: Tensor = self.norm(self.lin(self.own * root + filtered), op).relu()
        return root + (dropout(out, self.dropout) if self.dropout and self.training else out)


@dataclass(kw_only=True)
class Spectral(Memory):
    """And the filters [..., n, heads], with the eigenvectors that they are about."""

    filters: Tensor
    eigenvectors: Tensor


class Specformer(Layered):
    """Encoder, `num_layers` propagations by filters of the normalised Laplacian's spectrum, decoder (2303.01028).

    What the filters f_m are, a transformer over all eigenvalues learns, once for all layers: any polynomial, and more, so that
    a layer reaches every node that a path leads to. Each is a function of the eigenvalue (and of the spectrum as a set): neither
    the sign of eigenvectors nor the basis of an eigenspace has an effect. Edges are read as undirected. As in the authors' code
    heads are weighed for each channel rather than put through an MLP; MLPs have ReLU, not GELU.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        heads: of the transformer over eigenvalues, one filter each; must divide hidden_channels.
        norm: as in `Stack`.
        mlp_channels: inner width of the encoder; None: hidden_channels.
        dropout: after each layer, while training.
    """

    needs, global_channel, operator, reach = frozenset({"spectrum"}), frozenset({"rewiring"}), "gcn", None
    refuses = ADDS

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        heads: int = 4,
        norm: str = "layer",
        mlp_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__([hidden_channels] * (num_layers + 1), out_channels)
        if hidden_channels % heads:
            raise ValueError(f"hidden_channels: must be a multiple of heads = {heads}, got {hidden_channels}")
        self.encoder = MLP(in_channels, mlp_channels or hidden_channels, hidden_channels)
        self.filters = Filters(hidden_channels, heads)
        self.layers = nn.ModuleList(SpectralLayer(hidden_channels, heads, norm, dropout) for _ in range(num_layers))
        self.decoder = Linear(hidden_channels, out_channels)
        self.width_multiple, self.random = heads, dropout > 0
        self.global_channel = self.global_channel | find_norm(norm).channel

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        h = self.encoder(x)
        vectors, values = needs["spectrum"].to(x.dtype).unbind(-1)
        eigenvalues = values[..., :1, :].mT  # [graphs, n, 1], or of the one topology
        if eigenvalues.dim() == 2:
            eigenvalues = eigenvalues.expand(x.size(0), -1, -1)
        filters = self.filters(eigenvalues, op)
        return h, Spectral(h, filters=filters, eigenvectors=vectors.masked_fill(values < 0, 0))  # padding

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        assert isinstance(memory, Spectral)
        out: Tensor = self.layers[index](h, windows[0], memory.filters, memory.eigenvectors)
        return out

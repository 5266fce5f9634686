"""What models have in common whose layers are steps of a differential equation on the graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from suite.models.base import Model
from suite.models.layers import MLP, Linear
from suite.operators import Operators


class Dynamics(Model):
    """Encoder (an MLP, as in the other models), `num_layers` steps, linear decoder.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        make_step: returns a step, called with h and the operators of its windows, `hops` of them.
        shared: one step for all layers, or one each.
        num_parts: a state is so many parts, `hidden_channels` wide each, side by side; all begin as what the encoder says.
        num_read: how many of them the decoder reads.
    """

    operator = "gcn"
    hops: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        make_step: Callable[[], nn.Module],
        shared: bool,
        num_parts: int = 1,
        num_read: int = 1,
    ) -> None:
        super().__init__()
        self.num_layers, self.num_parts, self.num_read = num_layers, num_parts, num_read
        self.encoder = MLP(in_channels, hidden_channels, hidden_channels)
        self.steps = nn.ModuleList(make_step() for _ in range(min(num_layers, 1) if shared else num_layers))
        self.decoder = Linear(num_read * hidden_channels, out_channels)
        self.reach = num_layers * self.hops
        self.layer_hops = (1,) * self.reach

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        hidden = [torch.cat([self.encoder(x)] * self.num_parts, dim=-1)]
        for index in range(self.num_layers):
            windows = [op.layer(index * self.hops + further) for further in range(self.hops)]
            hidden.append(self.steps[index % len(self.steps)](hidden[-1], *windows))
        return hidden

    def read(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1][..., : hidden[-1].size(-1) // self.num_parts * self.num_read]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        out: Tensor = self.decoder(self.read(hidden))
        return out


class Antisymmetric(Linear):
    """`h @ (W - W.T - decay * I).T + bias`: neither contracts nor expands, but for the decay.

    W begins uniform up to 1 / sqrt(channels), the bias at 0 (as in PyG; the reference draws biases too).
    """

    def __init__(self, channels: int, decay: float = 0.0, bias: bool = True) -> None:
        super().__init__(channels, channels, bias)
        self.decay = decay
        nn.init.kaiming_uniform_(self.weight, math.sqrt(5))

    @property
    def matrix(self) -> Tensor:
        size = self.weight.size(-1)
        return self.weight - self.weight.mT - self.decay * torch.eye(size, dtype=self.weight.dtype, device=self.weight.device)

"""What models have in common whose layers are steps of a differential equation on the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from suite.models.convs import Memory
from suite.models.layered import ADDS, Layered
from suite.models.layers import MLP, Linear
from suite.operators import Operators


class Dynamics(Layered):
    """Encoder (an MLP, as in the other models), `num_layers` steps, linear decoder.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        make_step: returns a step, called with h and the operators of its windows, `hops` of them.
        shared: one step for all layers, or one each.
        num_parts: a state is so many parts, `hidden_channels` wide each, side by side; all begin as what the encoder says.
        num_read: how many of them the decoder reads.
    """

    operator = "gcn"
    refuses = ADDS
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
        super().__init__([num_parts * hidden_channels] * (num_layers + 1), out_channels, num_windows=self.hops)
        self.num_parts, self.num_read = num_parts, num_read
        self.encoder = MLP(in_channels, hidden_channels, hidden_channels)
        self.steps = nn.ModuleList(make_step() for _ in range(min(num_layers, 1) if shared else num_layers))
        self.decoder = Linear(num_read * hidden_channels, out_channels)
        self.reach = num_layers * self.hops
        self.layer_hops = (1,) * self.reach

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        h = torch.cat([self.encoder(x)] * self.num_parts, dim=-1)
        return h, Memory(h)

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        out: Tensor = self.steps[index % len(self.steps)](h, *windows)
        return out

    def part(self, state: Tensor) -> Tensor:
        return state[..., : state.size(-1) // self.num_parts * self.num_read]

    def part_width(self, width: int) -> int:
        return width // self.num_parts * self.num_read


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

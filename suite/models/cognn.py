"""Cooperative graph neural network: nodes choose whether to listen and whether to broadcast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from suite.models.convs import CONVS, Memory
from suite.models.layered import ADDS, Layered
from suite.models.layers import MLP, Linear, find_norm, make_norm
from suite.operators import Operators, rooted


class Action(nn.Module):
    """GraphSAGE layers that end in two logits a node, to listen and to broadcast; both are then decided, 1 or 0.

    While training by chance: Gumbel-softmax of two logits is the sigmoid of their difference plus logistic noise. Else whatever
    is likelier (the reference draws then too). The derivative is the sigmoid's in both cases, straight through.
    """

    def __init__(self, channels: int, num_layers: int, temperature: float) -> None:
        super().__init__()
        widths = [channels] * num_layers + [2]
        self.convs = nn.ModuleList(CONVS["sage"](channels, width) for width in widths[1:])
        self.temperature = temperature

    def forward(self, h: Tensor, *windows: Operators) -> Tensor:
        """Map h to [..., rows, 2]; each layer has its window."""
        for index, (conv, op) in enumerate(zip(self.convs, windows, strict=True)):
            h = conv(h.relu() if index else h, op, Memory(h))
        if self.training:
            chance = torch.rand_like(h)
            h = h + chance.log() - torch.log1p(-chance)
        soft = (h / self.temperature).sigmoid()
        return (h > 0).to(h.dtype) + (soft - soft.detach())


class Environment(nn.Module):
    """A h_v + B times the mean over neighbours u of h_u where v listens and u broadcasts, 0 where not."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.lin_self, self.lin_neighbour = Linear(channels, channels, bias), Linear(channels, channels, bias=False)

    def forward(self, h: Tensor, action: Tensor, op: Operators) -> Tensor:
        edges = op.edges(h)
        heard = edges.target(op.root(action))[..., :1] * edges.source(action)[..., 1:]
        out: Tensor = self.lin_self(op.root(h)) + self.lin_neighbour(edges.reduce(heard * edges.source(h), "mean"))
        return out


class CoGNN(Layered):
    """Co-GNN(mu, mu): h + ReLU(norm(environment(h))) on the edges that an action network leaves, anew in each layer (2310.01298).

    The action network is one for all layers. The mean divides by all neighbours, heard or not, as in the reference. Its two
    action networks are one here, with an output for each action. Derivatives, and measures made of them, are straight through
    the decisions: a decision itself is a step, whose own derivative is 0.

    Args:
        in_channels, hidden_channels, num_layers, out_channels: the four sizes.
        norm: as in `Stack`.
        action_layers: layers of the action network, so many hops beyond a neighbour that a decision depends on.
        temperature: of the decisions' derivatives. (The reference has 0.01, or learns it; derivatives then vanish.)
    """

    operator, random = "mean", True
    refuses = ADDS

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        norm: str = "layer",
        action_layers: int = 1,
        temperature: float = 1.0,
    ) -> None:
        super().__init__([hidden_channels] * (num_layers + 1), out_channels, num_windows=action_layers + 1)
        if action_layers < 1 or temperature <= 0:
            raise ValueError(f"action_layers must be >= 1 and temperature > 0; got {action_layers} and {temperature}")
        self.encoder, self.decoder = MLP(in_channels, hidden_channels, hidden_channels), Linear(hidden_channels, out_channels)
        self.action = nn.ModuleList(Action(hidden_channels, action_layers, temperature) for _ in range(min(num_layers, 1)))
        bias = not find_norm(norm).centres
        self.environments = nn.ModuleList(Environment(hidden_channels, bias) for _ in range(num_layers))
        self.norms = nn.ModuleList(make_norm(norm, hidden_channels) for _ in range(num_layers))
        self.global_channel = find_norm(norm).channel if num_layers else frozenset()
        self.layer_hops = (1,) * (num_layers * self.num_windows)
        self.reach = self.bounded(num_layers * self.num_windows)

    def enter(self, x: Tensor, op: Operators, **needs: Tensor) -> tuple[Tensor, Memory]:
        h = self.encoder(x)
        return h, Memory(h)

    def layer(self, index: int, h: Tensor, windows: Sequence[Operators], memory: Memory) -> Tensor:
        *before, last = windows
        action, h = self.action[0](h, *before), rooted(h, before)
        out: Tensor = self.norms[index](self.environments[index](h, action, last), last).relu()
        return last.root(h) + out

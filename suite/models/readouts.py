"""Jumping knowledge (1806.03536): what the decoder reads of all states of a node."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.layers import Linear


class LSTM(nn.Module):
    """One direction over the states of each node, from zero: gates i, f, g, o = A x_t + B h_t + b (twin of `nn.LSTM`)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.lin_input, self.lin_state = Linear(in_channels, 4 * channels), Linear(channels, 4 * channels, bias=False)

    def forward(self, states: list[Tensor]) -> list[Tensor]:
        """Map states [..., rows, in_channels], in order, to [..., rows, channels] each."""
        found: list[Tensor] = []
        cell: Tensor | None = None
        for state in states:
            asked = self.lin_input(state) + self.lin_state(found[-1]) if found else self.lin_input(state)
            enter, keep, new, out = asked.chunk(4, -1)
            new = enter.sigmoid() * new.tanh()
            cell = new if cell is None else keep.sigmoid() * cell + new
            found.append(out.sigmoid() * cell.tanh())
        return found


class LSTMAttention(nn.Module):
    """sum_t a_t h_t, a the softmax over layers t of a linear map of both directions' LSTM states (twin of `JumpingKnowledge`).

    `size` channels a direction. PyG takes num_layers * channels / 2, whose weights grow with the square of the depth; the paper
    leaves it open, and the stack takes the width of a state.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.forwards, self.backwards = (LSTM(channels, size) for _ in range(2))
        self.lin = Linear(2 * size, 1, bias=False)  # one would add the same to all layers: no effect

    def forward(self, states: list[Tensor]) -> Tensor:
        ways = zip(self.forwards(states), self.backwards(states[::-1])[::-1], strict=True)
        share = torch.cat([self.lin(torch.cat(both, dim=-1)) for both in ways], dim=-1).softmax(-1)  # [..., rows, layers]
        return torch.stack([state * share[..., [t]] for t, state in enumerate(states)]).sum(0)

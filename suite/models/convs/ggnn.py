"""Gated graph network: one recurrent unit for all layers."""

from __future__ import annotations

from torch import Tensor, nn

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear
from suite.operators import Operators


class GRU(nn.Module):
    """r = sigmoid(A m + B h), z likewise, n = tanh(A m + r * (B h)); (1 - z) n + z h, biases aside (twin of `nn.GRUCell`)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lin_message, self.lin_state = (Linear(channels, 3 * channels) for _ in range(2))

    def forward(self, message: Tensor, h: Tensor) -> Tensor:
        asked, known = self.lin_message(message).chunk(3, -1), self.lin_state(h).chunk(3, -1)
        reset, keep = ((a + k).sigmoid() for a, k in zip(asked[:2], known[:2], strict=True))
        new = (asked[2] + reset * known[2]).tanh()
        out: Tensor = new + keep * (h - new)
        return out


class GGNN(Conv):
    """GRU(sum of W_l h_u over neighbours u, h_v): a weight per layer, one GRU shared by all (1511.05493).

    Twin of `GatedGraphConv`, Glorot weights aside. The state is the GRU's own, so no activation follows it.
    """

    operator, activated = "sum", True
    stepwise, equal_widths = False, True

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        if in_channels != out_channels:
            raise ValueError(f"GGNN: needs equal widths behind an encoder, got {in_channels} to {out_channels} channels")
        self.lin = Linear(in_channels, out_channels, bias=False)

    @classmethod
    def shared(cls, channels: int) -> nn.Module:
        return GRU(channels)

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        assert memory.shared is not None
        out: Tensor = memory.shared(self.lin.around(op.sum, h), op.root(h))
        return out

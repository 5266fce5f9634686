"""Gradient gating, G^2 (2210.00513): where neighbours differ, states go on changing; where they agree, they stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from suite.models.convs import Conv, Memory
from suite.operators import Operators, rooted


class GradientGate(nn.Module):
    """tau_v = tanh(mean over neighbours u of |g_v - g_u|^p), g = ReLU(conv(h)) with weights of its own.

    The mean is the reference implementation's, where the paper's equation has a sum. There all layers share one gate and one
    convolution; here each has its own, as everywhere in the stack. Differences are taken one hop beyond what `conv` reads.
    """

    def __init__(self, conv: Conv, p: float) -> None:
        super().__init__()
        if p < 1:
            raise ValueError(f"gate_power: must be >= 1, or equal neighbours have no derivative; got {p}")
        self.conv, self.p = conv, p

    def forward(self, h: Tensor, layer: Sequence[Operators], onward: Operators, memory: Memory) -> Tensor:
        """Map h, as the windows of a layer read it, to the gates of the rows that `onward` writes: where 0, a state stays."""
        seen = rooted(self.conv(h, layer[0], replace(memory, on_edges=None)).relu(), layer[1:])
        edges = onward.edges(seen)
        differs = (edges.target(onward.root(seen)) - edges.source(seen)).abs() ** self.p
        return edges.reduce(differs, "mean").tanh()

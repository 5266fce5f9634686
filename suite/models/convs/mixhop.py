"""Powers of the propagation side by side."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear
from suite.operators import Operators


class MixHop(Conv):
    """[h W0 | S h W1 | S^2 h W2] + b, S as in GCN (1905.00067; twin of `MixHopConv` with powers 0, 1, 2).

    The parts share `out_channels` as equally as it goes, the lower powers first: PyG's are of one width each.
    """

    operator = "gcn"
    stepwise = False
    powers = 3

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        if out_channels < self.powers:
            raise ValueError(f"MixHop: needs at least {self.powers} channels, one for each power, got {out_channels}")
        widths = [len(range(power, out_channels, self.powers)) for power in range(self.powers)]
        self.lins = nn.ModuleList(Linear(in_channels, width, bias) for width in widths)

    @classmethod
    def hops(cls, _index: int) -> int:
        return cls.powers - 1

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        parts = []
        for power, lin in enumerate(self.lins):
            assert isinstance(lin, Linear)
            parts.append(lin.around(partial(op.gcn, times=power) if power else op.root, h))
        return torch.cat(parts, dim=-1)

"""Dynamically rewired message passing, with and without delay."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from suite.models.convs.base import Conv, Memory
from suite.models.layers import Linear
from suite.operators import Operators


class DRew(Conv):
    """sum over k = 1 ... l + 1 of S_k h W_{l,k}, plus b, in layer l = 0, 1, ...: each layer sees one hop further (2305.08018).

    S_k links nodes exactly k hops apart, normalised by the sizes of those shells as GCN normalises by degrees. As in the paper's
    equation a shell does not hold the node itself, which the skip connection brings in (the reference adds a loop to each
    shell, by PyG's default). Here the reach grows as L (L + 1) / 2.
    """

    operator, by_distance = "gcn", True
    stepwise = False

    def __init__(self, in_channels: int, out_channels: int, index: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.lins = nn.ModuleList(Linear(in_channels, out_channels, bias and not k) for k in range(self.hops(index)))

    @classmethod
    def hops(cls, index: int) -> int:
        return index + 1

    def forward(self, h: Tensor, op: Operators, memory: Memory) -> Tensor:
        out: Tensor = self._shell(1, h, op)
        for hops in range(2, len(self.lins) + 1):
            out = out + self._shell(hops, self._read(hops, h, memory), op)
        return out

    def _shell(self, hops: int, h: Tensor, op: Operators) -> Tensor:
        lin = self.lins[hops - 1]
        assert isinstance(lin, Linear)
        return lin.around(partial(op.shell, hops=hops), h)

    def _read(self, hops: int, h: Tensor, memory: Memory) -> Tensor:
        """Return the state that a shell is read at: here the last, whichever shell."""
        return h


class DelayedDRew(DRew):
    """nu-DRew with nu = 1: the shell k hops away is read as it was k - 1 layers ago: information moves one hop a layer."""

    reads_past = equal_widths = True  # shells are read in states of several layers, by maps of one shape

    @classmethod
    def reach(cls, num_layers: int) -> int:
        return num_layers

    def _read(self, hops: int, h: Tensor, memory: Memory) -> Tensor:
        return memory.hidden[-hops]

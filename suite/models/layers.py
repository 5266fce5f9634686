"""Building blocks with weights: each takes features of any layout, with or without a leading axis of replicas.

A plain module's weights look as PyG's do. The engine may stack the weights of several models along a new first axis
(`suite.engine.replicas`); features then carry the same axis first, and every block applies replica k's weights to replica k.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def per_replica(weight: Tensor, plain_dim: int, h: Tensor) -> Tensor:
    """Shape `weight` so that it broadcasts against `h`: its own axes last, its replica axis, if any, first."""
    if weight.dim() == plain_dim:
        return weight
    return weight.reshape(weight.size(0), *[1] * (h.dim() - weight.dim()), *weight.shape[1:])


class Linear(nn.Module):
    """`h @ weight.T + bias`, with weight [out_channels, in_channels] and bias [out_channels], Glorot and zero at the start."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    def forward(self, h: Tensor) -> Tensor:
        if self.weight.dim() == 2:
            return F.linear(h, self.weight, self.bias)
        rows = h.reshape(h.size(0), -1, h.size(-1))
        transposed = self.weight.mT
        out = rows @ transposed if self.bias is None else torch.baddbmm(self.bias.unsqueeze(1), rows, transposed)
        return out.reshape(*h.shape[:-1], -1)


class LayerNorm(nn.Module):
    """Each node's own channels to mean 0 and variance 1, then a learned scale and shift: node-wise."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)), eps

    def forward(self, h: Tensor) -> Tensor:
        if self.weight.dim() == 1:
            return F.layer_norm(h, h.shape[-1:], self.weight, self.bias, self.eps)
        normal = F.layer_norm(h, h.shape[-1:], eps=self.eps)
        return torch.addcmul(per_replica(self.bias, 1, h), normal, per_replica(self.weight, 1, h))


class BatchNorm(nn.Module):
    """Each channel to mean 0 and variance 1 over all nodes of the batch; running statistics in eval mode.

    It couples the graphs of a batch while training: a global channel, and no cone is exact under it.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps, self.momentum, self.calibrating = eps, momentum, False

    def forward(self, h: Tensor) -> Tensor:
        rows = h.reshape(*self.weight.shape[:-1], -1, h.size(-1))
        if self.weight.dim() == 1:
            return self._normalise(rows, *self._constants).view_as(h)
        return torch.stack([self._normalise(*replica) for replica in zip(rows, *self._constants, strict=True)]).view_as(h)

    @property
    def _constants(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.running_mean, self.running_var, self.weight, self.bias

    def _normalise(self, rows: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # Calibrating sets the running statistics, so that the untrained model can be measured in eval mode.
        momentum = 1.0 if self.calibrating else self.momentum
        return F.batch_norm(rows, mean, var, weight, bias, self.training or self.calibrating, momentum, self.eps)


class DataNorm(nn.Module):
    """Each channel centred and scaled by statistics of the first training batch, fixed from then on, then a learned affine.

    As BatchNorm it removes the background common to all nodes, but its constants never change, so that it stays node-wise.
    `calibrating` is set by the engine for one forward pass at initialisation (cf. data-dependent initialisation, 1511.06856).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.eps, self.calibrating = eps, False

    def forward(self, h: Tensor) -> Tensor:
        if self.calibrating:
            var, mean = torch.var_mean(h.detach().reshape(-1, h.size(-1)), dim=0, correction=0)
            self.mean.copy_(mean)
            self.std.copy_((var + self.eps).sqrt())
        scale = self.weight / self.std
        shift = self.bias - self.mean * scale
        return torch.addcmul(per_replica(shift, 1, h), h, per_replica(scale, 1, h))


NORMS: dict[str, type[nn.Module]] = {"batch": BatchNorm, "data": DataNorm, "layer": LayerNorm, "none": nn.Identity}


def make_norm(name: str, channels: int) -> nn.Module:
    """Return the norm called `name` over `channels`; raises ValueError for an unknown name."""
    if name not in NORMS:
        raise ValueError(f"norm: must be one of {', '.join(NORMS)}; got '{name}'")
    return nn.Identity() if name == "none" else NORMS[name](channels)


class MLP(nn.Module):
    """Two linear maps with a ReLU between them."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first, self.second = Linear(in_channels, hidden_channels), Linear(hidden_channels, out_channels)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(h).relu())
        return out

"""Building blocks with weights: each takes features of any layout, with or without a leading axis of replicas.

A plain module's weights look as PyG's do. The engine may stack the weights of several models along a new first axis
(`suite.engine.replicas`); features then carry the same axis first, and every block applies replica k's weights to replica k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from suite.operators import Operators


def per_replica(weight: Tensor, plain_dim: int, h: Tensor) -> Tensor:
    """Shape `weight` so that it broadcasts against `h`: its own axes last, its replica axis, if any, first."""
    if weight.dim() == plain_dim:
        return weight
    return weight.reshape(weight.size(0), *[1] * (h.dim() - weight.dim()), *weight.shape[1:])


def dropout(h: Tensor, p: float) -> Tensor:
    """Return h with each entry 0 with probability p, and 1 / (1 - p) times itself else (p in steps of 2^-16).

    Four entries share one draw of 64 bits: PyTorch's own takes one for each, most of the time of a step on wide features.
    """
    cut = round(p * 2**16)
    bits = torch.empty(-(-h.numel() // 4), dtype=torch.int64, device=h.device).random_(-(2**63), None)
    kept = (bits.view(torch.int16)[: h.numel()] >= cut - 2**15).to(h.dtype).mul_(1 / (1 - cut / 2**16))
    return h * kept.view(h.shape)


class Linear(nn.Module):
    """`h @ weight.T + bias`, with weight [out_channels, in_channels] and bias [out_channels], Glorot and zero at the start."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    @property
    def narrows(self) -> bool:
        """Whether the output is narrower than the input: what else is linear is then cheaper behind than before."""
        return self.weight.size(-2) < self.weight.size(-1)

    def forward(self, h: Tensor) -> Tensor:
        return self._product(h, self.bias)

    def around(self, propagate: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
        """Return `propagate(h) @ weight.T + bias` for a linear map between nodes, in whichever order is cheaper."""
        if not self.narrows:  # the cone then transforms fewer rows
            return self._product(propagate(h), self.bias)
        out = propagate(self._product(h, None))
        return out if self.bias is None else out + per_replica(self.bias, 1, out)

    def _product(self, h: Tensor, bias: Tensor | None) -> Tensor:
        if self.weight.dim() == 2:
            return F.linear(h, self.weight, bias)
        transposed = self.weight.mT
        return h @ transposed if bias is None else torch.baddbmm(bias.unsqueeze(1), h, transposed)


class Norm(nn.Module):
    """Base of the norms: maps features, one row for each that the layer writes, to the same shape."""

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        raise NotImplementedError


class NoNorm(Norm):
    """The identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        return h


class LayerNorm(Norm):
    """Each node's own channels to mean 0 and variance 1, then a learned scale and shift: node-wise."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)), eps

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        if self.weight.dim() == 1:
            return F.layer_norm(h, h.shape[-1:], self.weight, self.bias, self.eps)
        normal = F.layer_norm(h, h.shape[-1:], eps=self.eps)
        return torch.addcmul(per_replica(self.bias, 1, h), normal, per_replica(self.weight, 1, h))


class BatchNorm(Norm):
    """Each channel to mean 0 and variance 1 over all nodes of the batch; running statistics in eval mode.

    It couples the graphs of a batch while training: a global channel, and no cone is exact under it. Rows that stand for
    several equal nodes count as often (`Operators.multiplicity`).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps, self.momentum, self.calibrating = eps, momentum, False

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        if not (self.training or self.calibrating):
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            shift = self.bias - self.running_mean * scale
            return torch.addcmul(per_replica(shift, 1, h), h, per_replica(scale, 1, h))
        stacked = h if h.dim() == 3 else h.unsqueeze(0)
        count = op.multiplicity(h)
        share = None if count is None else (count / count.sum(1, keepdim=True)).unsqueeze(2)
        total = h.new_tensor(stacked.size(1)) if count is None else count.sum(1).view(-1, 1, 1)
        per_channel = (self.weight, self.bias) if h.dim() == 3 else (self.weight.unsqueeze(0), self.bias.unsqueeze(0))
        out, mean, var = _Standardise.apply(stacked, *per_channel, share, self.eps)  # type: ignore[no-untyped-call]
        # Calibrating sets the running statistics, so that the untrained model can be measured in eval mode.
        momentum = 1.0 if self.calibrating else self.momentum
        self.running_mean.lerp_(mean.view_as(self.running_mean), momentum)
        self.running_var.lerp_((var * total / (total - 1).clamp(min=1)).view_as(self.running_var), momentum)
        shaped: Tensor = out.view_as(h)
        return shaped


class _Standardise(torch.autograd.Function):
    """(h - mean) / sqrt(var + eps) * weight + bias per replica and channel; also returns mean and var, without gradients.

    h [replicas, rows, channels], weight and bias [replicas, channels]; `share` [replicas, rows, 1] weighs the rows, None:
    equally. Written out since PyTorch's own takes one replica and equal rows, and its variance along rows is slow.
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, share: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = _mean_row(h, share)
        centred = h - mean
        var = _mean_row(centred * centred, share)
        precision = (var + eps).rsqrt()
        ctx.share = share
        ctx.save_for_backward(centred, precision, weight)
        out = torch.addcmul(bias.unsqueeze(1), centred, precision * weight.unsqueeze(1))
        ctx.mark_non_differentiable(mean, var)
        return out, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        centred, precision, weight = ctx.saved_tensors
        gradient = gradients[0]
        bias, product = gradient.sum(1, keepdim=True), (gradient * centred).sum(1, keepdim=True)
        # d h = scale * (g - share * (sum g + centred * precision^2 * sum g centred))
        common, slope = bias, product * precision.square()
        if ctx.share is None:
            common, slope = common / centred.size(1), slope / centred.size(1)
        common = torch.addcmul(common, centred, slope)
        common = gradient - (common if ctx.share is None else common.mul_(ctx.share))
        return common.mul_(precision * weight.unsqueeze(1)), (product * precision).squeeze(1), bias.squeeze(1), None, None


def _mean_row(h: Tensor, share: Tensor | None) -> Tensor:
    return h.sum(1, keepdim=True) / h.size(1) if share is None else share.mT @ h


class DataNorm(Norm):
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

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        if self.calibrating:
            var, mean = torch.var_mean(h.detach().reshape(-1, h.size(-1)), dim=0, correction=0)
            self.mean.copy_(mean)
            self.std.copy_((var + self.eps).sqrt())
        scale = self.weight / self.std
        shift = self.bias - self.mean * scale
        return torch.addcmul(per_replica(shift, 1, h), h, per_replica(scale, 1, h))


NORMS: dict[str, Callable[[int], Norm]] = {"batch": BatchNorm, "data": DataNorm, "layer": LayerNorm, "none": NoNorm}


def make_norm(name: str, channels: int) -> Norm:
    """Return the norm called `name` over `channels`; raises ValueError for an unknown name."""
    if name not in NORMS:
        raise ValueError(f"norm: must be one of {', '.join(NORMS)}; got '{name}'")
    return NORMS[name](channels)


class MLP(nn.Module):
    """Two linear maps with a ReLU between them; `bias` is the second one's."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.first, self.second = Linear(in_channels, hidden_channels), Linear(hidden_channels, out_channels, bias)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(h).relu_())
        return out

"""Norms, and which global channel each opens."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from suite.models.layers.blocks import Linear, per_replica
from suite.operators import Operators


class Norm(nn.Module):
    """Base of the norms: maps features, one row for each that the layer writes, to the same shape.

    Attributes:
        channel: the global channel it opens: norm, where the nodes of a graph share statistics; norm(train), where all nodes
            of a batch do, and only while training; none, where it works node by node.
        centres: whether it takes away what is added to all nodes alike: a bias before it would have no effect.
    """

    channel: ClassVar[frozenset[str]] = frozenset()
    centres: ClassVar[bool] = False

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        raise NotImplementedError


class NoNorm(Norm):
    """The identity."""

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        return h


class LayerNorm(Norm):
    """Each node's own channels to mean 0 and variance 1, then a learned scale and shift: node-wise."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels)
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

    channel, centres = frozenset({"norm(train)"}), True
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels)
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
        super().__init__(channels)
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


class MeanSubtraction(Norm):
    """Each channel minus its mean over the nodes of the graph (2003.13663; twin of `MeanSubtractionNorm`)."""

    channel, centres = frozenset({"norm"}), True

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        return h - op.to_nodes(op.global_mean(h), h)


class PairNorm(MeanSubtraction):
    """Centred as above, then the mean squared length of the rows of each graph to 1 (1909.12223, scale 1; twin of `PairNorm`).

    Its authors warn that it goes badly with symmetrically normalised propagation.
    """

    eps = 1e-5

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        centred = super().forward(h, op)
        length = op.global_mean(centred.square().sum(-1, keepdim=True))
        out: Tensor = centred / op.to_nodes((length + self.eps).sqrt(), h)
        return out


class GraphNorm(Norm):
    """o = h - a * mean(h) over the graph, then o / sqrt(mean(o^2)), a learned scale and shift (2009.03294; twin of `GraphNorm`).

    The learned a, per channel, is 1 at the start: a constant added before then has no effect.
    """

    channel, centres = frozenset({"norm"}), True

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels)
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)), eps
        self.mean_scale = nn.Parameter(torch.ones(channels))

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        mean = op.to_nodes(op.global_mean(h), h)
        shifted = h - mean * per_replica(self.mean_scale, 1, h)
        precision = op.to_nodes((op.global_mean(shifted.square()) + self.eps).rsqrt(), h)
        return torch.addcmul(per_replica(self.bias, 1, h), shifted * precision, per_replica(self.weight, 1, h))


class DiffGroupNorm(Norm):
    """h + balance * sum_g BatchNorm_g(s_g * h), s = softmax(h W) over groups g (2006.06972; twin of `DiffGroupNorm`).

    Ten groups as in the paper, and PyG's balance; the paper tunes it. Its statistics are the batch's, so in eval mode it works
    node by node, as `BatchNorm` does, and opens the same channel.
    """

    channel = frozenset({"norm(train)"})

    def __init__(self, channels: int, groups: int = 10, balance: float = 0.01) -> None:
        super().__init__(channels)
        self.balance, self.groups = balance, groups
        self.lin, self.norm = Linear(channels, groups, bias=False), BatchNorm(groups * channels)

    def forward(self, h: Tensor, op: Operators) -> Tensor:
        share = self.lin(h).softmax(-1)
        parts = (share.unsqueeze(-1) * h.unsqueeze(-2)).flatten(-2)  # [..., groups * channels]
        out: Tensor = self.norm(parts, op).unflatten(-1, (self.groups, -1)).sum(-2)
        return h + self.balance * out


NORMS: dict[str, type[Norm]] = {
    "batch": BatchNorm,
    "data": DataNorm,
    "diff_group": DiffGroupNorm,
    "graph": GraphNorm,
    "layer": LayerNorm,
    "mean": MeanSubtraction,
    "none": NoNorm,
    "pair": PairNorm,
}


def find_norm(name: str) -> type[Norm]:
    """Return the norm called `name`: its class says which channel it opens. Raises ValueError for an unknown name."""
    if name not in NORMS:
        raise ValueError(f"norm: must be one of {', '.join(NORMS)}; got '{name}'")
    return NORMS[name]


def make_norm(name: str, channels: int) -> Norm:
    """Return the norm called `name` over `channels`; raises ValueError for an unknown name."""
    return find_norm(name)(channels)

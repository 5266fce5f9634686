"""Losses and scores, per replica."""

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.task import Loss


def losses(out: Tensor, y: Tensor, loss: Loss, weight: Tensor | None = None) -> Tensor:
    """Return each replica's mean loss: out [replicas, answers, out_channels], y [replicas, answers(, targets)] -> [replicas].

    `weight` [replicas, answers] tells how many answers a row stands for; None: one.
    """
    if loss == "cross_entropy":
        each = F.cross_entropy(out.flatten(0, 1), y.flatten().long(), reduction="none").view(y.shape[:2])
    else:
        each = (out - y.view_as(out)).square().mean(2)
    return _mean(each, weight)


@torch.no_grad()
def scores(out: Tensor, y: Tensor, loss: Loss, weight: Tensor | None = None) -> Tensor:
    """Return each replica's accuracy, or mean squared error for a regression: [replicas]."""
    if loss == "cross_entropy":
        return _mean((out.argmax(-1) == y).double(), weight)
    return losses(out.double(), y.double(), loss, weight)


def _mean(each: Tensor, weight: Tensor | None) -> Tensor:
    return each.mean(1) if weight is None else (each * weight).sum(1) / weight.sum(1)

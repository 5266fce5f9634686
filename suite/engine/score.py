"""Losses and scores, per replica."""

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.task import Loss


def losses(out: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """Return each replica's mean loss: out [replicas, answers, out_channels], y [replicas, answers(, targets)] -> [replicas]."""
    if loss == "cross_entropy":
        flat = F.cross_entropy(out.flatten(0, 1), y.flatten().long(), reduction="none")
        return flat.view(y.size(0), -1).mean(1)
    return (out - y.view_as(out)).square().flatten(1).mean(1)


@torch.no_grad()
def scores(out: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """Return each replica's accuracy, or mean squared error for a regression: [replicas]."""
    if loss == "cross_entropy":
        return (out.argmax(-1) == y).double().mean(1)
    return losses(out.double(), y.double(), loss)

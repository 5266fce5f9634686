"""Losses and scores, per replica."""

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.task import Loss, Metric


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
def scores(out: Tensor, y: Tensor, metric: Metric, weight: Tensor | None = None) -> Tensor:
    """Return each replica's accuracy, mean squared error, or area under the ROC curve of two classes: [replicas]."""
    if metric == "accuracy":
        return _mean((out.argmax(-1) == y).double(), weight)
    if metric == "mse":
        return losses(out.double(), y.double(), "mse", weight)
    from sklearn.metrics import roc_auc_score  # here: a second of every worker's start, for few tasks

    margins = (out[..., 1] - out[..., 0]).nan_to_num().cpu().numpy()
    weights = [None] * len(out) if weight is None else weight.cpu().numpy()
    areas = [roc_auc_score(a, b, sample_weight=c) for a, b, c in zip(y.cpu().numpy(), margins, weights, strict=True)]
    return torch.tensor(areas, dtype=torch.double)


def _mean(each: Tensor, weight: Tensor | None) -> Tensor:
    return each.mean(1) if weight is None else (each * weight).sum(1) / weight.sum(1)

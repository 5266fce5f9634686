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
        y = y.view_as(out)
        if loss == "binary_cross_entropy":
            each = F.binary_cross_entropy_with_logits(out, y.to(out), reduction="none").mean(2)
        else:
            each = ((out - y).abs() if loss == "mae" else (out - y).square()).mean(2)
    return _mean(each, weight)


@torch.no_grad()
def scores(out: Tensor, y: Tensor, metric: Metric, weight: Tensor | None = None) -> Tensor:
    """Return what `metric` says of each replica: [replicas].

    accuracy of classes; roc_auc, the area under the ROC curve of two classes; average_precision of answers that hold several at
    once, the mean over those that somebody has; mse and mae, the mean squared and absolute error.
    """
    if metric == "accuracy":
        return _mean((out.argmax(-1) == y).double(), weight)
    if metric in ("mse", "mae"):
        return losses(out.double(), y.double(), metric, weight)
    from sklearn.metrics import average_precision_score, roc_auc_score  # here: a second of every worker's start, for few tasks

    weights = [None] * len(out) if weight is None else weight.cpu().numpy()
    if metric == "roc_auc":
        margins = (out[..., 1] - out[..., 0]).nan_to_num().cpu().numpy()
        found = [roc_auc_score(a, b, sample_weight=c) for a, b, c in zip(y.cpu().numpy(), margins, weights, strict=True)]
    else:
        had = (y > 0).flatten(0, 1).any(0)  # of the others nobody can be ranked
        answers, ranks = y[..., had].cpu().numpy(), out[..., had].nan_to_num().cpu().numpy()
        found = [average_precision_score(a, b, sample_weight=c) for a, b, c in zip(answers, ranks, weights, strict=True)]
    return torch.tensor(found, dtype=torch.double)


def guess(y: Tensor, loss: Loss, out_channels: int) -> Tensor:
    """Return the constant output that suits answers y [answers, ...] best: [out_channels].

    How often each class occurs, the mean of targets, or their median, by what the loss asks for.
    """
    if loss == "cross_entropy":
        return torch.bincount(y.flatten(), minlength=out_channels).double()
    rows = y.double().view(len(y), out_channels)
    return rows.median(0).values if loss == "mae" else rows.mean(0)


def _mean(each: Tensor, weight: Tensor | None) -> Tensor:
    return each.mean(1) if weight is None else (each * weight).sum(1) / weight.sum(1)

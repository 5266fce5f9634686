"""The model before training: the same architecture with weights drawn anew, beside the one that is diagnosed."""

from __future__ import annotations

import torch
from torch import nn

from suite.copies import copied
from suite.models.base import Model
from suite.rng import digest, global_seed


class NotKnownError(ValueError):
    """How a model's weights were drawn cannot be told."""


def untrained(model: nn.Module, seed: int) -> nn.Module | None:
    """Return `model` with fresh weights, from a stream of `seed`; None where it has none to draw.

    A model of the suite is made again as it was made; of any other a copy has `reset_parameters` called on each of its modules,
    inner ones first, as PyG's and torch's own have it, `_reset_parameters` where that is all. The model itself and global random
    state stay as they were. Raises NotKnownError where a parameter is not reached by it.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return None
    with global_seed(int(digest("untrained", seed, size=4), 16)):
        if isinstance(model, Model):
            args, settings = model.made
            if not any(isinstance(part, nn.Module) for part in (*args, *settings.values())):
                made = type(model)(*args, **settings)
                if model.mitigations is not None:
                    model.mitigations.apply(made)
                return made
        return _reset(copied(model))


def _reset(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)  # what is left of it was not reached
        for module in reversed(list(model.modules())):
            for name in ("reset_parameters", "_reset_parameters"):
                if callable(reset := getattr(module, name, None)):
                    reset()
                    break
    left = [name for name, parameter in model.named_parameters() if bool(parameter.isnan().any())]
    if left:
        raise NotKnownError(f"no reset_parameters reaches '{left[0]}'")
    return model

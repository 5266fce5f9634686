"""Noise on tokens, less than a half: what a node carries can still be read off it, and not after it was mixed with others."""

import torch
from torch import Tensor

LARGEST = 0.45  # below a half, so that a token stays the only column above it, in single precision too


def with_noise(x: Tensor, noise: float, rng: torch.Generator) -> Tensor:
    """Return one-hot tokens x [..., num_nodes, num_classes] plus U(-noise, noise); a node that has none stays 0."""
    if not noise:
        return x
    return x + (2 * torch.rand(x.shape, generator=rng) - 1) * noise * x.any(-1, keepdim=True)

"""Noise on tokens, less than a half: what a node carries can still be read off it, and not after it was mixed with others."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

LARGEST = 0.45  # below a half, so that a token stays the only column above it, in single precision too

NoiseField = Annotated[
    float, Field(ge=0, le=LARGEST, description="tokens plus U(-noise, noise); each can still be read where it is")
]


def with_noise(x: Tensor, noise: float, rng: torch.Generator) -> Tensor:
    """Return one-hot tokens x [..., num_nodes, num_classes] plus U(-noise, noise); a node that has none stays 0.

    Drawn last, it leaves all else that a sample is made of as it would be without. Without noise nothing is drawn.
    """
    if not noise:
        return x
    return x + (2 * torch.rand(x.shape, generator=rng) - 1) * noise * x.any(-1, keepdim=True)


def noise_in_title(noise: float) -> str:
    """Return what a title says of it: nothing where there is none."""
    return f", noise {noise:g}" if noise else ""

"""Inversion: the latent whose picture comes nearest to a given one, by gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aigc_sdk.artifacts import Image

CANDIDATES = 64  # random latents per label, of which the best start
STARTS = 8
RATE = 0.1  # of Adam; it falls to 0


@dataclass(frozen=True)
class Projection:
    """What was found for a picture: its latent and label, the picture they make, and how far that is from the given one."""

    latent: NDArray[np.float32]
    label: str | None
    image: Image
    error: float
    """The root of the mean squared difference, in levels of 0 to 255."""


def nearest_latent(
    decode: Callable[[Tensor, Tensor | None], Tensor],
    target: Tensor,
    latent: int,
    labels: Tensor | None,
    steps: int,
    rng: torch.Generator,
    told: Callable[[int], None],
) -> tuple[Tensor, Tensor | None, float]:
    """The latent (latent,), its label and its mean squared error.

    decode: latents and labels to pictures in [-1, 1]. target: one such picture, (1, c, h, w). labels: those to try,
    or None. told: is called with each step that is done.
    """
    count = 1 if labels is None else len(labels)
    latents = torch.randn(CANDIDATES * count, latent, generator=rng).to(target.device)
    tried = None if labels is None else labels.repeat(CANDIDATES)
    with torch.no_grad():
        start = _errors(decode(latents, tried), target).topk(min(STARTS, len(latents)), largest=False).indices
    best = latents[start].requires_grad_()
    chosen = None if tried is None else tried[start]
    adam = torch.optim.Adam([best], lr=RATE)
    for step in range(1, steps + 1):
        adam.param_groups[0]["lr"] = RATE * (1 - (step - 1) / steps)
        [best.grad] = torch.autograd.grad(_errors(decode(best, chosen), target).sum(), [best])
        adam.step()
        told(step)
    with torch.no_grad():
        errors = _errors(decode(best, chosen), target)
    place = int(errors.argmin())
    return best[place].detach(), None if chosen is None else chosen[place], float(errors[place])


def _errors(images: Tensor, target: Tensor) -> Tensor:
    return (images - target).square().mean((1, 2, 3))  # (n,)

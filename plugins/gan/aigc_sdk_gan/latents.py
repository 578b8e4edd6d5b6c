"""Latents: drawn, truncated, joined by arcs, and the directions in them that change a picture most."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def draw(size: int, rng: torch.Generator, truncation: float | None = None) -> Tensor:
    """Standard normal numbers, (size,), on the CPU; with `truncation` all lie in [-truncation, truncation].

    Brock et al. 2019 draw again what falls outside. Here each number moves to where the truncated normal has the same
    quantile, so that a smaller truncation moves the picture of a seed instead of choosing another one.
    """
    normal = torch.randn(size, generator=rng, dtype=torch.float64)
    if truncation is not None:
        inside = math.erf(truncation / math.sqrt(2))  # the probability of [-truncation, truncation]
        normal = torch.erfinv(inside * torch.erf(normal / math.sqrt(2))) * math.sqrt(2)
        normal = normal.clamp(-truncation, truncation)  # erf of more than 8 is 1, whose inverse is infinite
    return normal.float()


def arc(first: Tensor, last: Tensor, steps: int) -> Tensor:
    """`steps` latents from `first` to `last`, (steps, size), along a great circle (White 2016).

    A straight line would pass near the origin, where a normal distribution of many dimensions has no mass.
    """
    along = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    a, b = first.double(), last.double()
    angle = torch.acos((torch.dot(a, b) / (a.norm() * b.norm()).clamp_min(1e-12)).clamp(-1, 1))
    if math.sin(angle) < 1e-6:  # the same direction, or opposite ones that many circles join
        return (a + (b - a) * along).float()
    return ((torch.sin((1 - along) * angle) * a + torch.sin(along * angle) * b) / torch.sin(angle)).float()


def semantic_directions(weight: Tensor, k: int) -> Tensor:
    """The `k` unit vectors (k, latent) that `weight` (out, latent) stretches most, the strongest first.

    They are the eigenvectors of weight' weight: the closed form of Shen & Zhou 2021 (SeFa). The sign of each is such
    that its largest number is positive.
    """
    _, vectors = torch.linalg.eigh(weight.double().T @ weight.double())  # ascending
    found: Tensor = vectors.T.flip(0)[:k]
    largest = found.gather(1, found.abs().argmax(1, keepdim=True))
    return (found * largest.sign()).float()

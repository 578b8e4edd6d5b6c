"""Gaussians with independent coordinates: densities, draws and divergences, in nats."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """One Gaussian per row: mean and log variance, (..., d)."""

    mean: Tensor
    log_variance: Tensor

    def moved(self, noise: Tensor) -> Tensor:
        """The draws that standard normal `noise` makes (Kingma & Welling 2014)."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def log_density(self, at: Tensor) -> Tensor:
        """log of the density of each coordinate, (..., d)."""
        squared = (at - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * (LOG_TWO_PI + self.log_variance + squared)

    def divergence(self) -> Tensor:
        """The Kullback-Leibler divergence of each coordinate from the standard normal, (..., d)."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)


def standard_log_density(at: Tensor) -> Tensor:
    """log of the standard normal density of each coordinate."""
    return -0.5 * (LOG_TWO_PI + at.square())

"""The fitted sampler: after training, a mixture of Gaussians takes the place of the prior (Ghosh et al. 2020).

What the pictures encode to never fills the prior evenly; latents drawn from where it was decode better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .gaussian import LOG_TWO_PI, Gaussian

ROUNDS = 100  # of expectation and maximisation, at most
ENOUGH = 1e-4  # nats per picture; less gain ends the rounds
FLOOR = 1e-4  # variance that every direction keeps
PER_COMPONENT = 2.0  # pictures that a component needs per latent number, so that its covariance means something


class Mixture(nn.Module):
    """For each label (one where there are none) a mixture of Gaussians with full covariances; on the CPU."""

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, labels: int, components: int, latent: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(labels, components))
        self.register_buffer("means", torch.zeros(labels, components, latent))
        self.register_buffer("factors", torch.zeros(labels, components, latent, latent))  # L with L L' the covariance

    def draw(self, noise: Tensor, uniform: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Latents (n, latent) made of standard normal noise (n, latent) and of uniform numbers (n,), which choose."""
        passed = self.weights.cumsum(1)[labels] <= uniform[:, None] * self.weights.sum(1)[labels, None]
        chosen = passed.sum(1).clamp_max(self.weights.shape[1] - 1)
        spread = torch.einsum("nij,nj->ni", self.factors[labels, chosen], noise)
        moved: Tensor = self.means[labels, chosen] + temperature * spread
        return moved


def fit(posterior: Gaussian, labels: Tensor | None, classes: int, components: int) -> Mixture:
    """The mixtures of what pictures encode to, (n, latent); `labels` (n,) of `classes`, or None.

    Labels with few pictures get fewer components, and one without any the standard normal. The random choice of where
    the components start is always the same.
    """
    latent = posterior.mean.shape[1]
    found = Mixture(max(1, classes), components, latent)
    for label in range(max(1, classes)):
        own = slice(None) if labels is None else labels == label
        mean, variance = posterior.mean[own].double().cpu(), posterior.log_variance[own].double().exp().cpu()
        count = min(components, max(1, int(len(mean) / (PER_COMPONENT * latent))))
        weights, means, covariances = _expectation_maximisation(mean, variance, count)
        found.weights[label, :count] = weights.float()
        found.means[label, :count] = means.float()
        found.factors[label, :count] = torch.linalg.cholesky(covariances).float()
    return found


def _expectation_maximisation(mean: Tensor, variance: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (k,), means (k, d) and covariances (k, d, d) that make Gaussians of mean and variance (n, d) most probable.

    A row is the whole Gaussian that a picture encodes to, and not a draw from it.
    """
    n, latent = mean.shape
    if n == 0:
        return torch.ones(1).double(), torch.zeros(1, latent).double(), torch.eye(latent).double()[None]
    shares = _nearest(mean, _starts(mean, count))  # (n, k)
    last = -math.inf
    for _ in range(ROUNDS if count > 1 else 1):
        weights, means, covariances = _maximised(mean, variance, shares)
        each = _expected_log_density(mean, variance, means, covariances) + weights.log()  # (n, k)
        total = each.logsumexp(1)
        gained, last = float(total.mean()) - last, float(total.mean())
        shares = (each - total[:, None]).exp()
        if gained < ENOUGH:
            break
    return weights, means, covariances


def _maximised(mean: Tensor, variance: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    sizes = shares.sum(0).clamp_min(1e-9)  # (k,)
    means = shares.T @ mean / sizes[:, None]
    away = mean[:, None] - means  # (n, k, d)
    outer = torch.einsum("nk,nki,nkj->kij", shares, away, away) / sizes[:, None, None]
    own = torch.diag_embed(shares.T @ variance / sizes[:, None] + FLOOR)
    return sizes / sizes.sum(), means, outer + own


def _expected_log_density(mean: Tensor, variance: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    """The mean over each row's Gaussian of the log density of each component, (n, k)."""
    factors = torch.linalg.cholesky(covariances)
    inverse = torch.cholesky_inverse(factors)  # (k, d, d)
    away = mean[:, None] - means
    squared = torch.einsum("nki,kij,nkj->nk", away, inverse, away)
    spread = variance @ inverse.diagonal(dim1=1, dim2=2).T  # the trace of inverse times the row's own variances
    volume = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
    density: Tensor = -0.5 * (mean.shape[1] * LOG_TWO_PI + volume + squared + spread)
    return density


def _starts(mean: Tensor, count: int) -> Tensor:
    """`count` rows far apart: each is drawn by its squared distance from those before it (k-means++)."""
    rng = torch.Generator().manual_seed(0)
    chosen = [int(torch.randint(len(mean), (), generator=rng))]
    while len(chosen) < count:
        distance = torch.cdist(mean, mean[chosen]).min(1).values.square() + 1e-12
        chosen.append(int(torch.multinomial(distance, 1, generator=rng)))
    return mean[chosen]


def _nearest(mean: Tensor, centres: Tensor) -> Tensor:
    shares: Tensor = nn.functional.one_hot(torch.cdist(mean, centres).argmin(1), len(centres))
    return shares.double()

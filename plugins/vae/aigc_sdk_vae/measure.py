"""How well a network explains pictures: the evidence bound, the importance-sampled likelihood, what they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .gaussian import Gaussian
from .network import GaussianNetwork, Network, VQNetwork

ROWS = 4096  # decoded at a time
PIXELS = 1 << 21  # decoded at a time

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Of each picture, in nats where not said otherwise."""

    elbo: Values
    """A lower bound on log p (Kingma & Welling 2014)."""
    log_likelihood: Values | None
    """log p by importance sampling (Burda et al. 2016): at least `elbo` on average. None for codes, which are one choice."""
    rate: Values
    """What the latents cost: elbo = log p(pixels | latents) - rate."""
    error: Values
    """The mean squared difference of a picture, in [-1, 1], and what its latents' means decode to."""
    latents: NDArray[np.float32] | NDArray[np.int64]
    """The latents' means, (n, latent), or the codes, (n, positions)."""


@torch.no_grad()
def measure(
    network: Network,
    pixels: Tensor,
    labels: Tensor | None,
    draws: int,
    seed: int,
    told: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Measure pictures (n, c, h, w) with `draws` draws each, from a stream that is made of the picture and `seed`.

    A picture so gets the same figures in any company. told: is called with how many are done.
    """
    network.eval()
    at_once = max(1, min(ROWS, PIXELS // pixels[0].numel()))
    step = max(1, at_once // draws)
    parts: list[Measured] = []
    for start in range(0, len(pixels), step):
        some = pixels[start : start + step]
        its = None if labels is None else labels[start : start + step]
        if isinstance(network, VQNetwork):
            parts.append(_measured_codes(network, some, its))
        else:
            parts.append(_measured(network, some, its, _noise(some, its, network.latent, draws, seed, at_once)))
        told(start + len(some))
    return Measured(
        elbo=np.concatenate([each.elbo for each in parts]),
        log_likelihood=_joined([each.log_likelihood for each in parts]),
        rate=np.concatenate([each.rate for each in parts]),
        error=np.concatenate([each.error for each in parts]),
        latents=np.concatenate([each.latents for each in parts]),
    )


def _measured(network: GaussianNetwork, pixels: Tensor, labels: Tensor | None, noises: Iterator[Tensor]) -> Measured:
    """Draws come in portions (k, n, latent), so that any number of them fits in memory."""
    posterior = network.encode(pixels, labels)
    weights, rates = [], []
    for noise in noises:
        found, rate = weigh(network, posterior, pixels, labels, noise)
        weights.append(found.double().cpu())
        rates.append(rate.double().cpu())
    weight, rate = torch.cat(weights), torch.cat(rates)  # (draws, n)
    expected = network.likelihood.mean(network.decode(posterior.mean, labels)).clamp(-1, 1)
    return Measured(
        elbo=weight.mean(0).numpy(),
        log_likelihood=log_mean(weight).numpy(),
        rate=rate.mean(0).numpy(),
        error=_error(expected, pixels),
        latents=posterior.mean.cpu().numpy(),
    )


def _measured_codes(network: VQNetwork, pixels: Tensor, labels: Tensor | None) -> Measured:
    codes = network.codebook(network.encode(pixels))
    outputs = network.decode(network.codebook.look_up(codes, network.grid))
    rate = -network.prior.log_probability(codes, labels)
    elbo = network.likelihood.log_probability(outputs, pixels) - rate
    error = _error(network.likelihood.mean(outputs).clamp(-1, 1), pixels)
    return Measured(elbo.double().cpu().numpy(), None, rate.double().cpu().numpy(), error, codes.cpu().numpy())


def weigh(
    network: GaussianNetwork, posterior: Gaussian, pixels: Tensor, labels: Tensor | None, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """log p(pixels, z) - log q(z | pixels), and the part log q(z | pixels) - log p(z), for z drawn by noise (k, n, latent).

    Both are (k, n). The mean of the first over k is the evidence bound; see `log_mean` for the importance-weighted one.
    """
    k, n = noise.shape[:2]
    latents = posterior.moved(noise)
    flat, repeated = latents.flatten(0, 1), None if labels is None else labels.repeat(k)
    probability = network.likelihood.log_probability(network.decode(flat, repeated), pixels.repeat(k, 1, 1, 1))
    rate = posterior.log_density(latents).sum(2) - network.log_prior(flat, repeated).view(k, n)
    return probability.view(k, n) - rate, rate


def log_mean(weights: Tensor) -> Tensor:
    """The log of the mean over the first dimension of exp(weights)."""
    return weights.logsumexp(0) - float(np.log(len(weights)))


def _noise(pixels: Tensor, labels: Tensor | None, latent: int, draws: int, seed: int, at_once: int) -> Iterator[Tensor]:
    """Standard normal numbers in portions (k, n, latent), each picture's from a stream of its own."""
    names = [f"{seed} {None if labels is None else int(labels[index])} ".encode() for index in range(len(pixels))]
    flat = pixels.cpu().numpy()
    streams = [
        torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name + each.tobytes()).digest()[:7], "big"))
        for name, each in zip(names, flat, strict=True)
    ]
    most = max(1, at_once // len(pixels))
    for done in range(0, draws, most):
        k = min(most, draws - done)
        yield torch.stack([torch.randn(k, latent, generator=rng) for rng in streams], 1).to(pixels.device)


def _error(expected: Tensor, pixels: Tensor) -> Values:
    found: Values = (expected - pixels).square().flatten(1).mean(1).double().cpu().numpy()
    return found


def _joined(parts: list[Values | None]) -> Values | None:
    there = [each for each in parts if each is not None]
    return np.concatenate(there) if there else None

"""What is minimised: a bound on the pictures' improbability, and its relatives. All in nats per picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from .gaussian import Gaussian
from .measure import log_mean, weigh
from .network import GaussianNetwork, Network, VQNetwork

if TYPE_CHECKING:
    from .train import TrainingOptions

KERNEL_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of WAE's kernels (Tolstikhin et al. 2018, code)


class Terms(NamedTuple):
    """Of each picture, (n,): what is minimised, -log p of the pixels given latents, and what the latents cost."""

    loss: Tensor
    distortion: Tensor
    rate: Tensor


class Objective(nn.Module):
    """What is trained: the network, called with pictures for their terms."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, labels: Tensor | None, options: TrainingOptions, beta: float, rows: int) -> Terms:
        """beta: weight of the rate now. rows: pictures in the whole training data."""
        if isinstance(self.network, VQNetwork):
            return vq_terms(self.network, pixels, labels, options.commitment)
        if options.objective == "iwae":
            return iwae_terms(self.network, pixels, labels, options.draws)
        return one_draw_terms(self.network, pixels, labels, options, beta, rows)


def one_draw_terms(
    network: GaussianNetwork, pixels: Tensor, labels: Tensor | None, options: TrainingOptions, beta: float, rows: int
) -> Terms:
    """The evidence bound (Kingma & Welling 2014) and those that differ in how they weigh the rate."""
    posterior = network.encode(pixels, labels)
    latents = posterior.moved(torch.randn_like(posterior.mean))
    distortion = -network.likelihood.log_probability(network.decode(latents, labels), pixels)
    if options.objective == "tc":
        information, correlation, rest = decomposition(posterior, latents, network.log_prior(latents, labels), rows)
        weighted = information + options.tc_weight * correlation + rest
        return Terms(distortion + beta * weighted, distortion, information + correlation + rest)
    rate = divergence(network, posterior, latents, labels)
    if options.objective == "wae":
        distance = mmd(latents, draw_prior(network, torch.randn_like(latents), labels))
        return Terms(distortion + options.mmd_weight * distance, distortion, rate)
    if options.free_bits:  # a latent costs nothing up to these (Kingma et al. 2016)
        free = posterior.divergence().mean(0).clamp_min(options.free_bits * math.log(2)).sum()
        return Terms(distortion + beta * free, distortion, rate)
    return Terms(distortion + beta * rate, distortion, rate)


def divergence(network: GaussianNetwork, posterior: Gaussian, latents: Tensor, labels: Tensor | None) -> Tensor:
    """The Kullback-Leibler divergence of each posterior from the prior, (n,): exact, or by the one draw `latents`."""
    if network.prior is None:
        return posterior.divergence().sum(1)
    return posterior.log_density(latents).sum(1) - network.log_prior(latents, labels)


def draw_prior(network: GaussianNetwork, noise: Tensor, labels: Tensor | None) -> Tensor:
    """Latents of the prior, made of standard normal noise and, with pseudo-inputs, torch's own draws."""
    if network.prior is None:
        return noise
    allowed = torch.ones(len(noise), len(network.prior.labels), device=noise.device)
    if labels is not None:
        allowed = (labels[:, None] == network.prior.labels[None, :]).float()
    chosen = torch.multinomial(allowed, 1)[:, 0]
    parts = network.components()
    return Gaussian(parts.mean[chosen], parts.log_variance[chosen]).moved(noise)


def iwae_terms(network: GaussianNetwork, pixels: Tensor, labels: Tensor | None, k: int) -> Terms:
    """The bound of Burda et al. 2016; its distortion and rate are the means over the k draws."""
    posterior = network.encode(pixels, labels)
    noise = torch.randn(k, *posterior.mean.shape, device=pixels.device)
    weights, rate = weigh(network, posterior, pixels, labels, noise)  # (k, n)
    return Terms(-log_mean(weights), -(weights + rate).mean(0), rate.mean(0))


def decomposition(posterior: Gaussian, latents: Tensor, log_prior: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """The divergence from the prior in three parts of each picture, (n,): what latents tell of their picture (mutual
    information), how much they depend on each other (total correlation), and how far each is from its prior.

    They sum to log q(z | x) - log p(z) (Chen et al. 2018). The density of z over all `rows` pictures is estimated from
    the batch: a picture's own posterior counts 1 / rows, the others stand for the rest (stratified, without bias).
    """
    n = len(latents)
    each = Gaussian(posterior.mean[None], posterior.log_variance[None]).log_density(latents[:, None])  # (n, n, latent)
    others = (rows - 1) / (rows * (n - 1))
    weights = torch.full((n, n), math.log(others), device=latents.device)
    weights.fill_diagonal_(-math.log(rows))
    joint = (each.sum(2) + weights).logsumexp(1)  # log q(z)
    alone = (each + weights[:, :, None]).logsumexp(1).sum(1)  # the sum of log q(z_j)
    own = posterior.log_density(latents).sum(1)  # log q(z | x)
    return own - joint, joint - alone, alone - log_prior


def mmd(latents: Tensor, drawn: Tensor) -> Tensor:
    """The squared maximum mean discrepancy between two sets of latents, (n, d) each, without bias (Gretton et al. 2012).

    Its kernel is the sum of inverse multiquadratics c / (c + distance^2), c = 2 d s, which Tolstikhin et al. 2018 use.
    """
    n = len(latents)

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        squared = (first[:, None] - second[None]).square().sum(2)
        widths = [2 * latents.shape[1] * scale for scale in KERNEL_SCALES]
        return torch.stack([width / (width + squared) for width in widths]).sum(0)

    def apart(some: Tensor) -> Tensor:  # the mean over pairs of two
        found = kernel(some, some)
        return (found.sum() - found.diagonal().sum()) / (n * (n - 1))

    return apart(latents) + apart(drawn) - 2 * kernel(latents, drawn).mean()


def vq_terms(network: VQNetwork, pixels: Tensor, labels: Tensor | None, weight: float) -> Terms:
    """Distortion, commitment, and what the prior over codes takes a grid to cost.

    The gradient passes the choice of entries as if they were the vectors. The prior learns from codes, and changes none.
    """
    vectors = network.encode(pixels)
    with torch.autocast(pixels.device.type, enabled=False):
        codes = network.codebook(vectors)
        entries = network.codebook.look_up(codes, network.grid)
        rate = -network.prior.log_probability(codes, labels)
    distortion = -network.likelihood.log_probability(network.decode(vectors + (entries - vectors).detach()), pixels)
    commitment = (vectors - entries.detach()).square().flatten(1).sum(1)
    return Terms(distortion + weight * commitment + rate, distortion, rate)

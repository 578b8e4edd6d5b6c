"""What is minimised: the parts of beta-TC-VAE, WAE's distance, free bits, the VAMP prior."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from aigc_sdk_vae.gaussian import Gaussian
from aigc_sdk_vae.network import GaussianNetwork, Sizes
from aigc_sdk_vae.objective import Objective, decomposition, draw_prior, mmd
from aigc_sdk_vae.train import TrainingOptions

SMALL: dict[str, Any] = {"size": 8, "latent": 4, "width": 4, "classes": 3}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def some_codes(n: int, covariance: torch.Tensor, variance: float) -> Gaussian:
    """What `n` pictures encode to, when the means have this covariance and all variances are the same."""
    means = torch.randn(n, len(covariance)).double() @ torch.linalg.cholesky(covariance.double()).T
    return Gaussian(means, torch.full_like(means, math.log(variance)))


def parts_of(codes: Gaussian) -> torch.Tensor:
    """The mean of the three parts, over draws; the batch is the whole data."""
    draws = []
    for _ in range(10):
        latents = codes.moved(torch.randn_like(codes.mean))
        draws.append(torch.stack(decomposition(codes, latents, standard(latents), len(codes.mean))).mean(1))
    return torch.stack(draws).mean(0)


def standard(latents: torch.Tensor) -> torch.Tensor:
    return -0.5 * (math.log(2 * math.pi) + latents.square()).sum(1)


def test_the_three_parts_of_beta_tc_sum_to_the_divergence() -> None:
    codes = some_codes(300, torch.tensor([[0.8, 0.5], [0.5, 0.6]]), 0.1)
    assert float(parts_of(codes).sum()) == pytest.approx(float(codes.divergence().sum(1).mean()), rel=0.01)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_total_correlation_is_that_of_a_gaussian(correlation: float) -> None:
    """All codes together are nearly a Gaussian with unit variances, whose parts are known."""
    own = 0.05
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    information, total, rest = parts_of(some_codes(800, covariance - own * torch.eye(2), own)).tolist()
    assert total == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.06)
    assert information == pytest.approx(0.5 * (torch.logdet(covariance).item() - 2 * math.log(own)), abs=0.1)
    assert rest == pytest.approx(0, abs=0.06)


def test_a_small_batch_estimates_the_density_over_all_pictures_without_bias() -> None:
    """exp of the estimated log q(z) averages to q(z), whichever pictures are beside."""
    whole = some_codes(60, torch.eye(2), 0.3)
    latents = whole.moved(torch.randn_like(whole.mean))
    own = whole.log_density(latents).sum(1)
    exact = (own - decomposition(whole, latents, standard(latents), 60)[0]).exp()
    estimates = []
    for _ in range(3000):
        rows = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(59)[:9]])
        batch = Gaussian(whole.mean[rows], whole.log_variance[rows])
        information, _, _ = decomposition(batch, latents[rows], standard(latents[rows]), 60)
        estimates.append((own[0] - information[0]).exp())
    found = torch.stack(estimates)
    assert abs(found.mean() - exact[0]) < 5 * found.std() / math.sqrt(len(found))


def test_the_distance_of_wae_is_nothing_between_draws_of_one_distribution_and_grows_with_a_shift() -> None:
    near, shifted, far = (
        torch.stack([mmd(torch.randn(64, 3) + shift, torch.randn(64, 3)) for _ in range(100)])
        for shift in (0.0, 0.5, 2.0)
    )
    assert abs(near.mean()) < 5 * near.std() / 10
    assert 0.05 < shifted.mean() < far.mean()


@pytest.mark.parametrize("objective", ["elbo", "tc", "iwae", "wae"])
@pytest.mark.parametrize("prior", ["normal", "vamp"])
def test_each_objective_weighs_distortion_and_rate(objective: str, prior: str) -> None:
    network = GaussianNetwork(Sizes.parse("vae", {**SMALL, "prior": prior, "pseudo_inputs": 6}))
    options = TrainingOptions.parse("vae", {"objective": objective, "mmd_weight": 0.0, "tc_weight": 1.0, "draws": 1})
    pixels, labels = torch.rand(6, 1, 8, 8) * 2 - 1, torch.arange(6) % 3
    terms = Objective(network)(pixels, labels, options, 1.0, 100)
    assert all(each.shape == (6,) and each.isfinite().all() for each in terms)
    wanted = terms.distortion if objective == "wae" else terms.distortion + terms.rate
    assert torch.allclose(terms.loss, wanted, rtol=1e-4)
    terms.loss.sum().backward()
    assert all(
        each.grad is not None and each.grad.isfinite().all() for each in network.parameters() if prior == "normal"
    )


def test_free_bits_leave_a_latent_its_part_of_the_rate_for_nothing() -> None:
    network = GaussianNetwork(Sizes.parse("vae", SMALL))
    pixels, labels = torch.rand(6, 1, 8, 8) * 2 - 1, torch.arange(6) % 3
    options = TrainingOptions.parse("vae", {"free_bits": 2.0})
    terms = Objective(network)(pixels, labels, options, 1.0, 100)
    assert terms.rate.mean() < 0.5, "a new network uses few bits"
    free = SMALL["latent"] * 2.0 * math.log(2)
    assert torch.allclose(terms.loss - terms.distortion, torch.full((6,), free), rtol=1e-3)


def test_the_vamp_prior_is_the_mixture_of_what_its_pseudo_inputs_encode_to() -> None:
    network = GaussianNetwork(Sizes.parse("vae", {**SMALL, "prior": "vamp", "pseudo_inputs": 7})).eval()
    latents, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    components = network.components()
    found = network.log_prior(latents, labels).detach()
    for index, label in enumerate(labels.tolist()):
        own = (torch.arange(7) % 3 == label).nonzero()[:, 0]
        parts = Gaussian(components.mean[own], components.log_variance[own]).log_density(latents[index]).sum(1)
        assert float(found[index]) == pytest.approx(float(parts.detach().logsumexp(0) - math.log(len(own))), rel=1e-4)


def test_draws_of_the_vamp_prior_belong_to_their_label() -> None:
    network = GaussianNetwork(Sizes.parse("vae", {**SMALL, "prior": "vamp", "pseudo_inputs": 3})).eval()
    components = network.components()
    labels = torch.arange(3).repeat(50)
    drawn = draw_prior(network, torch.zeros(150, 4), labels)
    assert torch.allclose(drawn, components.mean[labels])

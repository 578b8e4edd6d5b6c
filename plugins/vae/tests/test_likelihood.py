"""Likelihoods of pixels, and Gaussians: against sums, quadrature and torch's own distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from aigc_sdk_vae.gaussian import Gaussian, standard_log_density
from aigc_sdk_vae.likelihood import LOWEST, GaussianPixels, LogisticPixels
from aigc_sdk_vae.likelihood import Bernoulli as BernoulliPixels

LEVELS = torch.arange(256).double() / 127.5 - 1


def of_one_pixel(values: Tensor) -> Tensor:
    """Pictures of one pixel each."""
    return values.view(-1, 1, 1, 1)


@pytest.mark.parametrize("location", [-3.0, -1.0, -0.5, 0.003, 0.9999, 1.7])
@pytest.mark.parametrize("log_scale", [LOWEST, -4.0, -2.0, 0.0, 2.0])
def test_the_discretised_logistic_sums_to_one_over_all_pixel_values(location: float, log_scale: float) -> None:
    likelihood = LogisticPixels(predicted=True).double()
    outputs = torch.tensor([location, log_scale]).double().view(1, 2, 1, 1).expand(256, -1, -1, -1)
    masses = likelihood.log_probability(outputs, of_one_pixel(LEVELS))
    assert float(masses.logsumexp(0)) == pytest.approx(0, abs=1e-9)


def test_the_discretised_logistic_keeps_its_digits_far_from_its_location() -> None:
    """As float32, where a plain difference of two sigmoids is 0 and its log infinite."""
    single, double = (LogisticPixels(predicted=True).to(kind) for kind in (torch.float32, torch.float64))
    outputs = torch.tensor([-0.9, -4.0]).view(1, 2, 1, 1)
    pixels = of_one_pixel(LEVELS[[200]].float())
    found = float(single.log_probability(outputs, pixels))
    assert found == pytest.approx(float(double.log_probability(outputs.double(), pixels.double())), rel=1e-5)
    assert -100 < found < -70


@pytest.mark.parametrize("predicted", [False, True])
def test_the_gaussian_is_torchs(predicted: bool) -> None:
    likelihood = GaussianPixels(predicted=predicted)
    outputs = torch.randn(5, 3 * (2 if predicted else 1), 4, 4)
    pixels = torch.rand(5, 3, 4, 4) * 2 - 1
    location, log_scale = likelihood.parts(outputs)
    wanted = Normal(location, log_scale.exp()).log_prob(pixels).sum((1, 2, 3))
    assert torch.allclose(likelihood.log_probability(outputs, pixels), wanted, rtol=1e-4)
    assert torch.equal(likelihood.mean(outputs), outputs[:, :3])
    assert torch.allclose(log_scale, outputs[:, 3:] if predicted else torch.zeros(()), atol=0.15)


def test_a_scale_has_a_floor_of_half_a_level() -> None:
    _, log_scale = GaussianPixels(predicted=True).parts(torch.tensor([0.0, -50.0]).view(1, 2, 1, 1))
    assert float(log_scale) == pytest.approx(LOWEST)


def test_the_bernoulli_is_torchs_for_binary_pixels() -> None:
    outputs, on = torch.randn(5, 1, 4, 4), (torch.rand(5, 1, 4, 4) > 0.5).float()
    wanted = Bernoulli(logits=outputs).log_prob(on).sum((1, 2, 3))
    assert torch.allclose(BernoulliPixels().log_probability(outputs, 2 * on - 1), wanted, atol=1e-5)


def test_the_divergence_from_the_standard_normal_is_torchs_and_the_mean_over_draws() -> None:
    torch.manual_seed(0)
    some = Gaussian(torch.randn(4, 3).double(), torch.randn(4, 3).double())
    found = some.divergence()
    normal = Normal(some.mean, (0.5 * some.log_variance).exp())
    assert torch.allclose(found, kl_divergence(normal, Normal(torch.zeros(4, 3).double(), 1.0)))
    draws = some.moved(torch.randn(200_000, 4, 3).double())
    ratio = some.log_density(draws) - standard_log_density(draws)
    error = ratio.std(0) / math.sqrt(len(draws))
    assert ((ratio.mean(0) - found).abs() < 5 * error).all()

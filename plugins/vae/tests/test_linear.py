"""A linear VAE is probabilistic PCA, of which everything is known in closed form (Tipping & Bishop 1999; Lucas et al. 2019)."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aigc_sdk.training.images import to_tensor
from aigc_sdk_vae.measure import measure
from aigc_sdk_vae.model import VAE
from aigc_sdk_vae.train import VAETrainer

LATENT, SIDE = 3, 4
LINEAR: dict[str, Any] = {
    "architecture": "mlp",
    "depth": 0,
    "size": SIDE,
    "classes": 0,
    "latent": LATENT,
    "device": "cpu",
}


def rows() -> NDArray[np.uint8]:
    """400 pictures of 16 pixels: three directions of different strength, and noise."""
    rng = np.random.default_rng(0)
    strong = rng.normal(size=(400, LATENT)) * [50.0, 35.0, 20.0]
    directions, _ = np.linalg.qr(rng.normal(size=(SIDE**2, LATENT)))
    values = 127 + strong @ directions.T + rng.normal(size=(400, SIDE**2)) * 6
    return values.round().clip(0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE, 1)


@pytest.fixture(scope="module")
def data() -> NDArray[np.uint8]:
    return rows()


def pixels_of(data: NDArray[np.uint8]) -> torch.Tensor:
    return to_tensor(data)


def most_probable(data: NDArray[np.uint8]) -> float:
    """The highest log density per picture that any such model reaches, from the eigenvalues of the covariance."""
    rows = pixels_of(data).flatten(1).double().numpy()
    values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    noise = values[LATENT:].mean()
    size = SIDE**2
    volume = np.log(values[:LATENT]).sum() + (size - LATENT) * math.log(noise)
    return float(-0.5 * (size * math.log(2 * math.pi) + volume + size))


def exact(model: VAE, data: NDArray[np.uint8]) -> float:
    """The mean log density under this very model: that of a Gaussian whose covariance is W W' + the pixels' variance."""
    layer: Any = model.network.decoder.layers[0]  # type: ignore[union-attr]
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    _, log_scale = model.network.likelihood.parts(torch.zeros(1, 1, SIDE, SIDE))  # type: ignore[union-attr]
    covariance = weight @ weight.T + torch.exp(2 * log_scale.detach().double()) * torch.eye(SIDE**2)
    density = torch.distributions.MultivariateNormal(bias, covariance)
    return float(density.log_prob(pixels_of(data).flatten(1).double()).mean())


def trained(data: NDArray[np.uint8], steps: int, **options: Any) -> VAE:
    trainer = VAETrainer.open(**LINEAR, seed=options.get("seed", 0))
    return trainer.fit(
        data,
        max_steps=steps,
        **{"batch_size": 100, "learning_rate": 0.02, "weight_decay": 0.0, "precision": "float32", **options},
    )


@pytest.fixture(scope="module")
def finished(data: NDArray[np.uint8]) -> VAE:
    return trained(data, 1500)


def test_it_reaches_the_maximum_likelihood_of_probabilistic_pca(data: NDArray[np.uint8], finished: VAE) -> None:
    best = most_probable(data)
    found = measure(finished.network, pixels_of(data), None, draws=64, seed=0)
    assert found.elbo.mean() == pytest.approx(best, rel=0.005)
    assert exact(finished, data) == pytest.approx(best, rel=0.005)
    assert exact(finished, data) <= best


def test_the_importance_sampled_likelihood_agrees_with_the_exact_one(data: NDArray[np.uint8], finished: VAE) -> None:
    found = measure(finished.network, pixels_of(data), None, draws=1000, seed=0)
    assert found.log_likelihood is not None
    assert found.log_likelihood.mean() == pytest.approx(exact(finished, data), rel=1e-3)


def test_the_importance_weighted_bound_rises_with_the_draws_to_the_exact_value(
    data: NDArray[np.uint8], finished: VAE
) -> None:
    """Of a model whose encoder is off: its variances are four times too large."""
    network = copy.deepcopy(finished.network)
    with torch.no_grad():
        network.encoder.layers[0].bias[LATENT:] += math.log(4)  # type: ignore[union-attr,operator,index]
    pixels, bounds = pixels_of(data), []
    for draws in (1, 3, 10, 30, 2000):
        found = measure(network, pixels, None, draws, seed=0)
        assert found.log_likelihood is not None
        bounds.append(float(found.log_likelihood.mean()))
    wanted = exact(finished, data)
    assert bounds[:-1] == sorted(bounds[:-1])
    assert bounds[0] < wanted - 1
    assert bounds[-1] == pytest.approx(wanted, rel=0.001)


def test_training_by_the_importance_weighted_bound_gets_there_too(data: NDArray[np.uint8]) -> None:
    model = trained(data, 1500, objective="iwae", draws=4)
    assert exact(model, data) == pytest.approx(most_probable(data), rel=0.005)


def test_a_picture_has_the_same_figures_in_any_company(data: NDArray[np.uint8], finished: VAE) -> None:
    pixels = pixels_of(data)[:7]
    together = measure(finished.network, pixels, None, draws=5, seed=3)
    for index in range(7):
        alone = measure(finished.network, pixels[index : index + 1], None, draws=5, seed=3)
        assert alone.elbo[0] == pytest.approx(together.elbo[index], rel=1e-5)

"""Eight Gaussians on a ring: every loss finds them all. A point is a picture of two grey pixels, its coordinates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.train import GANTrainer

RADIUS, DEVIATION, MODES = 0.75, 0.03, 8
CENTRES = RADIUS * np.array([[math.cos(turn), math.sin(turn)] for turn in np.arange(MODES) * 2 * math.pi / MODES])
RECIPES: dict[str, dict[str, Any]] = {
    "non_saturating": {"r1": 0.03},
    "least_squares": {"r1": 0.03},
    "hinge": {"r1": 0.03},
    "wasserstein": {"r1": 0.0, "gradient_penalty": 1.0, "n_critic": 2},
    "relativistic": {"r1": 0.03, "r2": 0.03},
}
OPTIONS: dict[str, Any] = {"precision": "float32", "translation": 0.0, "lazy": 1, "ema_decay": 0.98}


def layers(before: int, after: int, rectifier: nn.Module) -> nn.Sequential:
    """Four hidden layers of 128."""
    hidden = [part for _ in range(3) for part in (nn.Linear(128, 128), rectifier)]
    return nn.Sequential(nn.Linear(before, 128), rectifier, *hidden, nn.Linear(128, after))


class Painter(nn.Module):
    """A latent of 4 to a point."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = layers(4, 2, nn.ReLU())

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return self.layers(latents)[:, None, None]  # (n, 1, 1, 2)


class Viewer(nn.Module):
    """The critic of a point."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = layers(2, 1, nn.LeakyReLU(0.2))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.layers(images.flatten(1))[:, 0]


def ring(n: int) -> NDArray[np.float32]:
    """Points as pictures n x 1 x 2 in [0, 1]; the core keeps them as 256 levels, of which a deviation has four."""
    rng = np.random.default_rng(0)
    points = CENTRES[rng.integers(0, MODES, n)] + DEVIATION * rng.standard_normal((n, 2))
    return ((points + 1) / 2).astype(np.float32)[:, None]


def train(loss: str, seed: int, max_steps: int, batch_size: int = 256) -> GAN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trainer = GANTrainer(GAN(Painter(), Viewer(), latent=4))
    options = {**OPTIONS, **RECIPES[loss], "batch_size": batch_size}
    return trainer.fit(ring(20_000), max_steps=max_steps, seed=seed, loss=loss, **options)


def found(model: GAN, n: int = 2000) -> tuple[int, float]:
    """How many modes have at least a fifth of their share, and the part of the points within three deviations of one."""
    with torch.no_grad():
        points = model.network(torch.from_numpy(model.latents(n, seed=1)), None)[:, 0, 0].numpy()
    distances = np.linalg.norm(points[:, None] - CENTRES, axis=2)
    good = distances.min(1) < 3 * DEVIATION
    shares = np.bincount(distances.argmin(1)[good], minlength=MODES)
    return int((shares >= n / MODES / 5).sum()), float(good.mean())


@pytest.mark.parametrize("loss", RECIPES)
def test_every_loss_soon_spreads_over_all_modes(loss: str) -> None:
    modes, quality = found(train(loss, seed=0, max_steps=400, batch_size=128))
    assert modes == MODES
    assert quality >= 0.25


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", RECIPES)
def test_every_loss_finds_all_modes(loss: str, seed: int) -> None:
    modes, quality = found(train(loss, seed, max_steps=3000))
    print(f"{loss}, seed {seed}: {modes} of {MODES} modes, {quality:.3f} within three deviations")
    assert modes == MODES
    assert quality >= 0.9

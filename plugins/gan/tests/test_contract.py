"""The contract kit, run on the whole backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aigc_sdk.testing import GeneratorContract, TrainerContract
from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.train import GANTrainer

SIZES: dict[str, Any] = {"size": 8, "classes": 3, "latent": 4, "width": 2, "critic_width": 4, "device": "cpu"}


def pictures_of(classes: int, n: int = 12) -> Any:
    """Small random pictures, with labels where there are any."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 8, 8), np.uint8)
    return (pixels, [index % classes for index in range(n)]) if classes else pixels


def tiny(**changes: Any) -> GANTrainer:
    return GANTrainer.open(**{**SIZES, **changes})


class TestGAN(GeneratorContract):
    @pytest.fixture
    def model(self) -> GAN:
        return tiny().model


class TestGANWithoutLabels(GeneratorContract):
    @pytest.fixture
    def model(self) -> GAN:
        return tiny(classes=0, architecture="resnet", channels=3).model

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"truncation": 0.7}


class TestGANTrainer(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], GANTrainer]:
        return tiny

    @pytest.fixture
    def data(self) -> Any:
        return pictures_of(3)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 4, "lazy": 2, "translation": 0.1, "rotate": 5.0}

    @pytest.fixture
    def bad_data(self) -> list[Any]:
        nan = np.full((4, 8, 8), np.nan, np.float32)
        return [None, [], 7, "/no/such/folder", pictures_of(0), (nan, [0, 1, 2, 0]), (pictures_of(0), [0, 1])]


class TestGANTrainerWithEverything(TestGANTrainer):
    """All regularisers at once, several updates of the critic per step, spectral norm and conditional batch norm."""

    @pytest.fixture
    def make(self) -> Callable[[], GANTrainer]:
        return lambda: tiny(architecture="resnet", conditioning="batch_norm", spectral_norm=True, init="orthogonal")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        penalties = {"gradient_penalty": 1.0, "r1": 0.1, "r2": 0.1, "lazy": 3, "lecam": 0.1, "weight_clip": 0.5}
        augmentation = {"translation": 0.1, "cutout": 0.3, "color": 0.5, "flip": True}
        return {"batch_size": 4, "loss": "hinge", "n_critic": 2, **penalties, **augmentation}

"""The contract kit, run on the whole backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aigc_sdk import Image
from aigc_sdk.artifacts import Artifact
from aigc_sdk.testing import EvaluatorContract, GeneratorContract, TrainerContract
from aigc_sdk_vae.evaluate import Likelihood
from aigc_sdk_vae.model import VAE
from aigc_sdk_vae.train import VAETrainer

SIZES: dict[str, Any] = {"size": 8, "classes": 3, "latent": 4, "width": 4, "device": "cpu"}


def pictures_of(classes: int, n: int = 12) -> Any:
    """Small random pictures, with labels where there are any."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 8, 8), np.uint8)
    return (pixels, [index % classes for index in range(n)]) if classes else pixels


def tiny(**changes: Any) -> VAETrainer:
    return VAETrainer.open(**{**SIZES, **changes})


class TestVAE(GeneratorContract):
    @pytest.fixture
    def model(self) -> VAE:
        model = tiny().model
        model.fit_sampler(pictures_of(3))
        return model


class TestVAEWithoutLabels(GeneratorContract):
    @pytest.fixture
    def model(self) -> VAE:
        return tiny(classes=0, architecture="mlp", channels=3, prior="vamp", likelihood="logistic").model

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"temperature": 0.7}


class TestVQVAE(GeneratorContract):
    @pytest.fixture
    def model(self) -> VAE:
        return tiny(kind="vq", codes=8).model


class TestVAETrainer(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], VAETrainer]:
        return tiny

    @pytest.fixture
    def data(self) -> Any:
        return pictures_of(3)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 4, "rotate": 5.0, "ema_decay": 0.9, "kl_warmup_steps": 3}

    @pytest.fixture
    def bad_data(self) -> list[Any]:
        nan = np.full((4, 8, 8), np.nan, np.float32)
        return [None, [], 7, "/no/such/folder", pictures_of(0), (nan, [0, 1, 2, 0]), (pictures_of(0), [0, 1])]


class TestVAMPTrainer(TestVAETrainer):
    """A prior that starts from the data."""

    @pytest.fixture
    def make(self) -> Callable[[], VAETrainer]:
        return lambda: tiny(prior="vamp", pseudo_inputs=5, architecture="mlp", likelihood="bernoulli")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 4, "objective": "iwae", "draws": 3, "components": 2}


class TestVQTrainer(TestVAETrainer):
    """A codebook that follows averages, entries that start anew, and a prior with dropout."""

    @pytest.fixture
    def make(self) -> Callable[[], VAETrainer]:
        return lambda: tiny(kind="vq", codes=8)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 4, "shift": 1.0, "ema_decay": 0.9}


class TestLikelihood(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> Likelihood:
        return Likelihood(tiny().model)

    @pytest.fixture
    def samples(self) -> list[Artifact | str]:
        return [Image(each[..., None].repeat(3, 2)) for each in pictures_of(0, 5)]

    @pytest.fixture
    def references(self) -> list[Any] | None:
        return [0, 1, 2, 2, 1]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"draws": 3}


class TestLikelihoodOfCodes(TestLikelihood):
    @pytest.fixture
    def judge(self) -> Likelihood:
        return Likelihood(tiny(kind="vq", codes=8).model)

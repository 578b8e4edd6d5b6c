"""The model that this package brings, and how it was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aigc_sdk
from aigc_sdk.distances import Moments, frechet
from aigc_sdk.training.images import pictures
from aigc_sdk_vae import recipe
from aigc_sdk_vae.judge import Judge
from aigc_sdk_vae.model import DEFAULT, VAE


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def test_it_opens_and_draws_what_is_asked_for() -> None:
    model = aigc_sdk.load("vae", device="cpu")
    made = model.generate(n=16, label=3, seed=0)
    assert [each.info["label"] for each in made] == ["3"] * 16
    assert len({each.pixels.tobytes() for each in made}) == 16
    assert sum(each.stat().st_size for each in DEFAULT.rglob("*")) < 5_000_000


def test_a_judge_recognises_its_digits_and_finds_them_near_real_ones(judge: Judge) -> None:
    """The figures that the package promises, with room for another machine's rounding."""
    found = judge.of(VAE.open(device="cpu"))
    assert found.accuracy >= 0.99
    assert found.distance <= 4.5
    assert found.spread >= 0.85
    assert found.novelty >= 0.85


def test_the_judge_tells_real_pictures_from_others(judge: Judge) -> None:
    own = judge.figures(judge.real, judge.labels)
    assert own.accuracy > 0.98
    assert own.distance == pytest.approx(0, abs=0.01)
    assert (own.spread, own.novelty) == pytest.approx((1, 1))
    faded = judge.figures(judge.real * 0.3, judge.labels)
    assert faded.distance > 20
    assert faded.spread == pytest.approx(0.3, rel=1e-3)


def test_the_frechet_distance_is_that_of_gaussians() -> None:
    rng = np.random.default_rng(0)
    some = rng.normal(size=(200_000, 2)) * [1.0, 2.0]
    assert frechet(Moments.of(some), Moments.of(some * 2 + [3.0, 0.0])) == pytest.approx(9 + 1 + 4, rel=0.02)


def test_it_tells_digits_from_noise() -> None:
    model, digits = VAE.open(device="cpu"), pictures("digits/test", size=16)
    usual = model.anomaly(digits.pixels[:20], digits.labels[:20].tolist())  # type: ignore[index]
    noise = model.anomaly(np.random.default_rng(0).integers(0, 256, (20, 16, 16), np.uint8), 0)
    assert noise.min() > usual.max()


def test_the_recipe_trains_exports_and_goes_on(tmp_path: Path) -> None:
    model = recipe.train(tmp_path / "run", max_steps=2, on_step=lambda step: None)
    exported = recipe.export(model, tmp_path / "model")
    assert exported.labels == tuple("0123456789")
    assert exported.fitted is not None
    again = recipe.train(tmp_path / "run", max_steps=2, on_step=lambda step: None)
    assert recipe.export(again, tmp_path / "again").generate(seed=0) == exported.generate(seed=0)

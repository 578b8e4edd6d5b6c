"""The default model is what its recipe makes, and as good as its figures say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import aigc_sdk
from aigc_sdk.protocols import Step
from aigc_sdk_gan.judge import Judge
from aigc_sdk_gan.model import DEFAULT, GAN
from aigc_sdk_gan.recipe import SHORT_STEPS, export, figures, train, train_judge
from aigc_sdk_gan.train import GANTrainer


@pytest.fixture(scope="module")
def model() -> GAN:
    return GAN.open(device="cpu")


def test_the_default_model_is_small_and_opens_in_float32(model: GAN) -> None:
    assert sum(each.stat().st_size for each in DEFAULT.rglob("*") if each.is_file()) <= 5_000_000
    assert {each.dtype for each in model.network.parameters()} == {torch.float32}


def test_the_default_model_draws_the_digit_that_is_asked_for(model: GAN) -> None:
    images = aigc_sdk.load("gan", device="cpu").generate(n=16, label=3, seed=0)
    assert images == model.generate(n=16, label="3", seed=0)
    report = Judge.open(device="cpu").evaluate(images)
    assert report["accuracy"].value >= 0.9
    assert report["coverage"].value <= 0.2


def test_the_default_model_reaches_its_figures_by_the_judge(model: GAN) -> None:
    judge = Judge.open(device="cpu")
    report = figures(model, judge)
    assert judge.facts["accuracy"] >= 0.99
    assert report["accuracy"].value >= 0.99
    assert report["frechet_distance[judge]"].value <= judge.facts["floor"] + 0.46  # 2.2, where the floor is 1.74
    assert report["variety"].value >= 0.85


def test_truncation_trades_variety_for_accuracy(model: GAN) -> None:
    judge = Judge.open(device="cpu")
    full, cut = (judge.evaluate(model.generate(n=300, seed=0, truncation=truncation)) for truncation in (None, 0.5))
    assert cut["variety"].value < 0.9 * full["variety"].value
    assert cut["accuracy"].value >= full["accuracy"].value


def test_inversion_finds_a_digit_that_the_model_has_drawn(model: GAN) -> None:
    [image] = model.generate(seed=5, label=8)
    found = model.project(image, steps=120)
    assert found.label == "8"
    assert found.error < 12


def test_the_default_model_can_be_trained_further() -> None:
    trainer = GANTrainer.open("default", device="cpu")
    digits = [(image, str(image.info["label"])) for image in trainer.model.generate(n=40, seed=0)]
    judge = Judge.open(device="cpu")
    model = trainer.fit(digits, max_steps=3, learning_rate=1e-4)
    assert judge.evaluate(model.generate(n=100, seed=0))["accuracy"].value >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_short_recipe_reaches_its_figures(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("sklearn")
    judge = Judge.open(device="cpu")
    report = figures(train(tmp_path / "run", SHORT_STEPS, seed), judge)
    print(f"seed {seed}\n{report}")
    assert report["accuracy"].value >= 0.99
    assert report["frechet_distance[judge]"].value <= judge.facts["floor"] + 1.06  # 2.8, where the floor is 1.74
    assert report["variety"].value >= 0.85


@pytest.mark.slow
def test_the_judge_is_made_again() -> None:
    pytest.importorskip("sklearn")
    again = train_judge()
    assert again.facts["accuracy"] >= 0.99
    assert again.facts["floor"] == pytest.approx(Judge.open(device="cpu").facts["floor"], rel=0.2)


@pytest.mark.slow
def test_the_recipe_goes_on_after_an_interruption_and_writes_a_model(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    whole = train(tmp_path / "whole", max_steps=3)

    def interrupt(step: Step) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", max_steps=3, on_step=interrupt)
    resumed = train(tmp_path / "cut", max_steps=3)
    assert resumed.fingerprint() == whole.fingerprint()
    export(resumed, tmp_path / "model")
    assert GAN.open(tmp_path / "model", device="cpu").labels == tuple("0123456789")

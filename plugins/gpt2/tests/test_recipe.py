"""The default model is what its recipe makes, and as good as its figures say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aigc_sdk.protocols import Step
from aigc_sdk.training.corpus import sample_text, split
from aigc_sdk_gpt2.evaluate import Perplexity
from aigc_sdk_gpt2.model import DEFAULT, GPT2
from aigc_sdk_gpt2.recipe import export, train
from aigc_sdk_gpt2.train import GPT2Trainer


def test_the_default_model_is_small_and_opens_in_float32() -> None:
    assert sum(each.stat().st_size for each in DEFAULT.iterdir()) <= 5_000_000
    model = GPT2.open(device="cpu")
    assert {each.dtype for each in model.network.parameters()} == {torch.float32}


def test_the_default_model_reaches_its_bits_per_byte_on_the_held_out_text() -> None:
    _, held_out = split(sample_text())
    report = Perplexity(GPT2.open(device="cpu")).evaluate([held_out], context=256, stride=128)
    assert report.rows[0]["bytes"] == 211_810
    assert report["bits_per_byte"].value <= 1.45


def test_the_default_model_can_be_trained_further() -> None:
    trainer = GPT2Trainer.open("default", device="cpu")
    text = "The quick brown fox jumps over the lazy dog. " * 20
    losses = [step.metrics["loss"] for step in trainer.steps([text], max_steps=8, batch_size=2, block=64)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_the_recipe_goes_on_after_an_interruption_and_writes_a_model(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", max_steps=3)

    def interrupt(step: Step) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", max_steps=3, on_step=interrupt)
    resumed = train(tmp_path / "cut", max_steps=3)
    assert resumed.fingerprint() == whole.fingerprint()
    model = export(resumed, tmp_path / "model")
    assert model.dtype == "float32"
    assert sum(each.stat().st_size for each in (tmp_path / "model").iterdir()) <= 5_000_000

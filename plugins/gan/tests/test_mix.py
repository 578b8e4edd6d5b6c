"""Latents that enter block by block (skip_latents), and pictures that are mixed of two."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk.errors import NotOffered, OptionError
from aigc_sdk.testing import GeneratorContract
from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.network import Sizes
from aigc_sdk_gan.train import GANTrainer


def tiny(**changes: Any) -> GAN:
    sizes = {
        "size": 16,
        "architecture": "resnet",
        "skip_latents": True,
        "classes": 2,
        "latent": 8,
        "width": 4,
        **changes,
    }
    model = GANTrainer.open(device="cpu", critic_width=2, **sizes).model
    with torch.no_grad():
        model.network.last.weight.mul_(8)  # untrained networks make pictures of little contrast
    return model


@pytest.fixture(scope="module")
def model() -> GAN:
    return tiny()


class TestGANOfSkippedLatents(GeneratorContract):
    @pytest.fixture
    def model(self) -> GAN:
        return tiny(size=8, conditioning="batch_norm")


def test_the_parts_of_a_latent_are_as_large_as_each_other() -> None:
    resnet = {"architecture": "resnet", "skip_latents": True}
    assert Sizes.parse("gan", {**resnet, "size": 16, "latent": 8}).parts == [3, 3, 2]
    assert Sizes.parse("gan", {**resnet, "size": 32, "depth": 2, "latent": 14}).parts == [2] * 7
    assert Sizes.parse("gan", {"size": 32, "latent": 14}).parts == [14]


def test_a_mixture_goes_from_one_picture_to_the_other_and_begins_with_the_finest_part(model: GAN) -> None:
    mixed = model.mix(3, 9, label="1")
    assert len(mixed) == 4
    assert mixed[0] == model.generate(seed=3, label="1")[0]
    assert mixed[-1] == model.generate(seed=9, label="1")[0]
    a, b = model.latents(1, seed=3)[0], model.latents(1, seed=9)[0]
    assert mixed[1:3] == model.decode([np.r_[a[:6], b[6:]], np.r_[a[:3], b[3:]]], "1")
    assert all(first != second for first, second in itertools.pairwise(mixed))


def test_without_a_label_the_first_seed_draws_it_and_truncation_counts(model: GAN) -> None:
    mixed = model.mix(4, 5, truncation=0.5)
    assert mixed[0] == model.generate(seed=4, truncation=0.5)[0]
    assert {each.info["label"] for each in mixed} == {mixed[0].info["label"]}


@pytest.mark.parametrize("conditioning", ["input", "batch_norm"])
def test_every_part_changes_the_picture(conditioning: str) -> None:
    network = tiny(conditioning=conditioning).network.eval()
    latents, labels = torch.zeros(1, 8), torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        plain = network(latents, labels)
        for place in (0, 3, 6):
            moved = latents.clone()
            moved[0, place] = 2.0
            assert not torch.allclose(network(moved, labels), plain, atol=1e-4)


def test_it_trains_and_comes_back_from_its_folder(tmp_path: Path) -> None:
    sizes = {"size": 8, "architecture": "resnet", "skip_latents": True, "classes": 2, "latent": 6, "width": 4}
    trainer = GANTrainer.open(device="cpu", critic_width=4, **sizes)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    before = trainer.model.network.blocks[0].activated[0].style.weight.clone()
    model = trainer.fit((pixels, [0, 1] * 6), max_steps=2, batch_size=4, save_to=tmp_path / "run")
    assert not torch.equal(model.network.blocks[0].activated[0].style.weight, before)
    assert GAN.open(tmp_path / "run", device="cpu").mix(1, 2, label=0) == model.mix(1, 2, label=0)


BAD: list[tuple[Callable[[GAN], Any], type[Exception], str]] = [
    (lambda m: m.mix(-1, 2), OptionError, "seed=-1"),
    (lambda m: m.mix(1, 2, label="bird"), OptionError, "no such label"),
    (lambda m: m.mix(1, 2, truncation=0.0), OptionError, "truncation=0.0"),
    (lambda m: tiny(skip_latents=False).mix(1, 2), NotOffered, "enters at one place; train one with skip_latents=True"),
    (lambda m: m.directions(1), NotOffered, "enters at several places"),
    (lambda m: tiny(architecture="dcgan"), OptionError, "skip_latents=True is of architecture='resnet'"),
    (lambda m: tiny(latent=2), OptionError, "latent=2: with skip_latents each of 3 parts needs a number"),
]


@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_what_cannot_be_mixed_is_refused(
    model: GAN, call: Callable[[GAN], Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        call(model)

"""Training: every objective learns, previews, the sampler that a saved model has, precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aigc_sdk
from aigc_sdk import Fit, Image
from aigc_sdk.training.images import pictures
from aigc_sdk_vae.model import VAE
from aigc_sdk_vae.network import Sizes, new_network
from aigc_sdk_vae.train import SHOWN, VAETrainer

SIZES: dict[str, Any] = {"size": 8, "classes": 10, "latent": 6, "width": 8, "device": "cpu"}


@pytest.fixture(scope="module")
def digits() -> Any:
    """The first 128 of scikit-learn's digits, 8 x 8."""
    found = pictures("digits/train")
    return found.pixels[:128], found.labels[:128].tolist()  # type: ignore[index]


KINDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"beta": 4.0, "kl_warmup_steps": 20, "free_bits": 0.1}),
    ({}, {"objective": "tc"}),
    ({}, {"objective": "iwae", "draws": 4}),
    ({}, {"objective": "wae"}),
    ({"prior": "vamp", "pseudo_inputs": 20}, {}),
    ({"kind": "vq", "codes": 16}, {}),
    ({"likelihood": "logistic"}, {}),
    ({"likelihood": "logistic", "variance": "predicted"}, {"clip_norm": 500.0}),
    ({"likelihood": "bernoulli"}, {}),
    ({"architecture": "mlp", "depth": 2, "width": 64}, {}),
    ({"classes": 0, "channels": 3, "depth": 2}, {}),
]


@pytest.mark.parametrize(("sizes", "options"), KINDS)
def test_every_kind_of_model_learns_and_draws(digits: Any, sizes: dict[str, Any], options: dict[str, Any]) -> None:
    trainer = VAETrainer.open(**{**SIZES, **sizes})
    arguments: dict[str, Any] = {"max_steps": 60, "batch_size": 32, "learning_rate": 5e-3, **options}
    steps = list(trainer.steps(digits, validation=digits, evaluate_every=1, **arguments))
    first, last = steps[0].metrics, steps[-1].metrics
    assert last["distortion"] < first["distortion"]
    assert last["validation_loss"] < first["validation_loss"]
    made = trainer.model.generate(n=3, seed=0)
    assert all(isinstance(each, Image) and each.pixels.shape == (8, 8, 3) for each in made)


def test_a_preview_is_a_square_of_pictures_reconstructions_and_samples(digits: Any) -> None:
    trainer = VAETrainer.open(**SIZES)
    fit = Fit(2, 0, trainer.Options.parse("vae", {"batch_size": 8}))
    assert trainer.preview(fit) == []
    for _ in trainer.steps(digits, max_steps=2, batch_size=8):
        with trainer.averaged():
            shown = trainer.preview(fit)
    assert len(shown) == SHOWN**2
    assert np.array_equal(shown[0].pixels[..., 0], digits[0][0, ..., 0])  # type: ignore[attr-defined]
    assert shown[SHOWN : 2 * SHOWN] == trainer.model.reconstruct(digits[0][:SHOWN], digits[1][:SHOWN])


def test_every_saved_model_has_the_sampler_that_belongs_to_its_weights(digits: Any, tmp_path: Path) -> None:
    trainer = VAETrainer.open(**SIZES)
    for step in trainer.steps(digits, max_steps=4, batch_size=16, save_to=tmp_path, save_every=2, ema_decay=0.9):
        if step.index < 4:
            assert trainer.model.fitted is None, "the model in training has none"
    for name in ("checkpoint-000002", "model"):
        model = VAE.open(tmp_path / name, device="cpu")
        assert model.fitted is not None
        means = model.fitted.means.clone()
        model.fit_sampler(digits)
        assert torch.allclose(model.fitted.means, means, atol=1e-5)
    assert trainer.model.generate(seed=1) == model.generate(seed=1)


def test_a_trained_model_goes_on_from_its_folder(digits: Any, tmp_path: Path) -> None:
    VAETrainer.open(**SIZES).fit(digits, max_steps=3, batch_size=16, save_to=tmp_path / "first")
    trainer = aigc_sdk.trainer("vae", tmp_path / "first", device="cpu")
    trainer.fit(digits, max_steps=2, batch_size=16, save_to=tmp_path / "second")
    assert aigc_sdk.load(tmp_path / "second").labels == tuple("0123456789")


@pytest.mark.parametrize("sizes", [{}, {"kind": "vq"}, {"prior": "vamp", "pseudo_inputs": 10}])
def test_training_in_bfloat16_stays_near_float32(digits: Any, sizes: dict[str, Any]) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        trainer = VAETrainer.open(**{**SIZES, **sizes})
        steps = list(trainer.steps(digits, max_steps=10, batch_size=32, precision=precision))
        losses[precision] = [step.metrics["loss"] for step in steps]
        assert all(each.dtype == torch.float32 for each in trainer.model.network.parameters())
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)


def test_a_model_computes_in_bfloat16(digits: Any, tmp_path: Path) -> None:
    for kind in ("gaussian", "vq"):
        VAETrainer.open(**SIZES, kind=kind).fit(digits, max_steps=2, batch_size=16, save_to=tmp_path / kind)
        model = VAE.open(tmp_path / kind / "model", device="cpu", dtype="bfloat16")
        assert len(model.generate(n=3, seed=0)) == len(model.reconstruct(digits[0][:3], 1)) == 3


@pytest.mark.parametrize("size", [6, 8, 12, 28, 32, 96])
@pytest.mark.parametrize("kind", ["gaussian", "vq"])
def test_convolutions_take_every_even_size(size: int, kind: str) -> None:
    sizes = Sizes.parse("vae", {"size": size, "kind": kind, "channels": 3, "width": 2, "classes": 0})
    network = new_network(sizes)
    pixels = torch.zeros(2, 3, size, size)
    if sizes.kind == "vq":
        codes = network.codebook(network.encode(pixels))  # type: ignore[call-arg,operator,union-attr]
        outputs = network.decode(network.codebook.look_up(codes, sizes.grid))  # type: ignore[call-arg,operator,union-attr]
    else:
        outputs = network.decode(network.encode(pixels, None).mean, None)  # type: ignore[call-arg,arg-type,union-attr]
    assert outputs.shape == pixels.shape

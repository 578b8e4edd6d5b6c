"""Training: what data it takes, what it refuses, and that it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aigc_sdk.artifacts import Image
from aigc_sdk.errors import DataError, InputError, MismatchedFolder, OptionError
from aigc_sdk.protocols import Fit
from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.train import GANTrainer, TrainingOptions

QUICK: dict[str, Any] = {"batch_size": 8, "translation": 0.0}


def blobs(n: int = 60) -> tuple[NDArray[np.uint8], list[int]]:
    """8 x 8 pictures of one bright square: above in those with the label 0, below in the others."""
    rng = np.random.default_rng(0)
    pixels, labels = np.zeros((n, 8, 8), np.uint8), [index % 2 for index in range(n)]
    for image, label in zip(pixels, labels, strict=True):
        top, left = 4 * label + rng.integers(0, 2), rng.integers(0, 6)
        image[top : top + 3, left : left + 3] = rng.integers(180, 256)
    return pixels, labels


def tiny(**changes: Any) -> GANTrainer:
    sizes = {"size": 8, "classes": 2, "latent": 4, "width": 8, "critic_width": 16, **changes}
    return GANTrainer.open(device="cpu", **sizes)


def test_it_learns_where_each_label_has_its_square() -> None:
    trainer = tiny()
    options = {"batch_size": 32, "learning_rate": 2e-3, "translation": 0.0}
    steps = list(trainer.steps(blobs(200), max_steps=150, validation=blobs(60), evaluate_every=50, **options))
    distances = [each.metrics["validation_loss"] for each in steps if "validation_loss" in each.metrics]
    assert len(distances) == 3
    assert distances[0] > distances[1] > distances[2]
    for label in (0, 1):
        pixels = np.stack([each.pixels[:, :, 0] for each in trainer.model.generate(n=20, label=label)])
        above, below = pixels[:, :4].mean(), pixels[:, 4:].mean()
        assert (above > 2 * below) if label == 0 else (below > 2 * above)


@pytest.mark.parametrize("loss", ["non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"])
@pytest.mark.parametrize("n_critic", [1, 3])
def test_every_loss_and_any_number_of_critic_updates_give_one_step_per_generator_update(
    loss: str, n_critic: int
) -> None:
    steps = list(tiny().steps(blobs(), max_steps=3, loss=loss, n_critic=n_critic, **QUICK))
    assert [each.index for each in steps] == [1, 2, 3]
    assert set(steps[0].metrics) == {"critic_loss", "real_score", "fake_score", "generator_loss"}


def test_the_two_players_have_their_own_rates() -> None:
    trainer = tiny()
    before = {name: [each.detach().clone() for each in net.parameters()] for name, net in trainer.networks.items()}
    options = {**QUICK, "ema_decay": None, "schedule": "constant", "r1": 0.0}
    trainer.fit(blobs(), max_steps=1, learning_rate=1e-3, critic_learning_rate=1e-2, **options)
    for name, rate in (("generator", 1e-3), ("critic", 1e-2)):
        pairs = zip(before[name], trainer.networks[name].parameters(), strict=True)
        moved = max((a - b).abs().max().item() for a, b in pairs)
        assert moved == pytest.approx(rate, rel=0.01)  # Adam's first step is as long as its rate


def test_r1_counts_at_every_so_manieth_update_and_as_much_more(monkeypatch: pytest.MonkeyPatch) -> None:
    from aigc_sdk_gan import train

    seen: list[int] = []
    own = train.squared_gradient

    def counted(*arguments: Any) -> Tensor:
        seen.append(1)
        return own(*arguments)

    monkeypatch.setattr(train, "squared_gradient", counted)
    tiny().fit(blobs(), max_steps=4, n_critic=2, lazy=4, r1=0.1, **QUICK)
    assert len(seen) == 2  # the updates 0 and 4 of eight
    tiny().fit(blobs(), max_steps=4, lazy=4, r1=0.1, r2=0.1, **QUICK)
    assert len(seen) == 4  # update 0 of four, for both
    tiny().fit(blobs(), max_steps=2, r1=0.0, **QUICK)
    assert len(seen) == 4


def test_a_clipped_critic_stays_in_its_bounds() -> None:
    trainer = tiny()
    trainer.fit(blobs(), max_steps=2, weight_clip=0.02, loss="wasserstein", **QUICK)
    assert all((each.abs() <= 0.02).all() for each in trainer.networks["critic"].parameters())


def test_the_average_generates_and_the_run_ends_with_it() -> None:
    trainer = tiny()
    steps = trainer.steps(blobs(), max_steps=2, ema_decay=0.9, **QUICK)
    next(steps)
    live = trainer.model.fingerprint()
    with trainer.averaged():
        assert trainer.model.fingerprint() != live
    assert trainer.model.fingerprint() == live
    list(steps)
    assert trainer.model.fingerprint() != live


def test_a_new_model_takes_the_names_of_its_labels_from_the_data_and_keeps_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"moon": 3, "sun": 4})
    trainer = tiny()
    model = trainer.fit(folder, max_steps=1, **QUICK)
    assert model.labels == ("moon", "sun")
    model.save(tmp_path / "model")
    again = GANTrainer.open(tmp_path / "model", device="cpu")
    assert again.model.labels == ("moon", "sun")
    again.fit(folder_of(tmp_path / "less", {"sun": 3}), max_steps=1, **QUICK)
    with pytest.raises(DataError, match=r"label 'star', which the model does not know; it knows moon, sun"):
        again.fit(folder_of(tmp_path / "more", {"moon": 2, "star": 2}), max_steps=1, **QUICK)


def folder_of(parent: Path, counts: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for label, count in counts.items():
        for index in range(count):
            path = parent / "pictures" / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return parent / "pictures"


def test_labels_are_ignored_by_a_model_without_labels() -> None:
    trainer = tiny(classes=0)
    trainer.fit(blobs(), max_steps=1, **QUICK)
    assert trainer.model.labels == ()


def test_pictures_are_brought_to_the_models_size_and_colours() -> None:
    trainer = tiny(channels=3, size=16)
    trainer.fit(blobs(), max_steps=1, **QUICK)
    assert trainer.model.generate(seed=0)[0].pixels.shape == (16, 16, 3)


def test_a_preview_has_a_column_per_label_and_fixed_latents() -> None:
    trainer = tiny(classes=3)
    fit = Fit(1, 0, TrainingOptions())
    first, again = trainer.preview(fit), trainer.preview(fit)
    assert first == again
    assert [each.info["label"] for each in first] == ["0", "1", "2"] * 3
    assert len(tiny(classes=0).preview(fit)) == 100


def test_the_trained_model_can_be_trained_further_from_its_folder(tmp_path: Path) -> None:
    trainer = tiny()
    trainer.fit(blobs(), max_steps=2, **QUICK).save(tmp_path / "model")
    further = GANTrainer.open(tmp_path / "model", device="cpu")
    assert further.model.fingerprint() == trainer.model.fingerprint()
    for a, b in zip(further.networks["critic"].parameters(), trainer.networks["critic"].parameters(), strict=True):
        assert torch.equal(a, b)
    further.fit(blobs(), max_steps=1, **QUICK)


def test_a_state_of_another_architecture_is_refused() -> None:
    with pytest.raises(MismatchedFolder):
        tiny(width=4).load_state_dict(tiny().state_dict())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_is_of_the_arithmetic_and_weights_stay_float32(precision: str) -> None:
    trainer = tiny()
    trainer.fit(blobs(), max_steps=2, precision=precision, **QUICK)
    assert {each.dtype for net in trainer.networks.values() for each in net.parameters()} == {torch.float32}


class Painter(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.labels = nn.Embedding(classes, 3)
        self.layer = nn.Linear(3, 64)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return torch.tanh(self.layer(latents + self.labels(labels))).view(-1, 1, 8, 8)


class Viewer(nn.Module):
    def __init__(self, pixels: int = 64) -> None:
        super().__init__()
        self.layer = nn.Linear(pixels, 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.layer(images.flatten(1))[:, 0]


class Squeezed(Viewer):
    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.layer(images.flatten(1))


def own(critic: nn.Module | None) -> GAN:
    return GAN(Painter(2), critic, latent=3, labels=["0", "1"])


def test_networks_of_ones_own_train_and_come_back(tmp_path: Path) -> None:
    trainer = GANTrainer(own(Viewer()))
    model = trainer.fit(blobs(), max_steps=3, save_to=tmp_path / "run", **QUICK)
    opened = GAN.open(tmp_path / "run", device="cpu", network=Painter(2), critic=Viewer())
    assert opened.generate(n=3, seed=0, label=1) == model.generate(n=3, seed=0, label=1)


PIXELS, LABELS = blobs(8)
NAN = np.full((4, 8, 8), np.nan, np.float32)


@pytest.mark.parametrize(
    ("call", "field", "words"),
    [
        (lambda: tiny().steps(PIXELS, max_steps=1), "data", "data has no labels"),
        (lambda: tiny().steps((PIXELS, [0] * 8), max_steps=1), "data", "classes=0"),
        (lambda: tiny(classes=5).steps((PIXELS, LABELS), max_steps=1), "data", "2 labels"),
        (lambda: tiny().steps((PIXELS, LABELS[:5]), max_steps=1), "data", "5"),
        (lambda: tiny(classes=0).steps(NAN, max_steps=1), "data", "NaN"),
        (lambda: tiny(classes=0).steps([], max_steps=1), "data", ""),
        (lambda: tiny(classes=0).steps(PIXELS[0, 0], max_steps=1), "data", ""),
        (lambda: tiny(classes=0).steps("/no/such/folder", max_steps=1), "data", "/no/such/folder"),
        (lambda: tiny().steps(blobs(), max_steps=1, validation=PIXELS), "validation", "validation has no labels"),
        (lambda: tiny().steps(blobs(), max_steps=1, loss="hinged"), "loss", "hinge"),
        (lambda: tiny().steps(blobs(), max_steps=1, n_critic=0), "n_critic", "greater than or equal to 1"),
        (lambda: tiny().steps(blobs(), max_steps=1, r1=-1.0), "r1", "-1.0"),
        (lambda: tiny().steps(blobs(), max_steps=1, learning_rate=float("inf")), "learning_rate", "finite"),
        (lambda: tiny().steps(blobs(), max_steps=1, cutout=1.5), "cutout", "less than or equal to 1"),
        (lambda: tiny().steps(blobs(), max_steps=1, batchsize=4), "batchsize", "Did you mean 'batch_size'"),
        (lambda: tiny(size=12), "size", "8, 16, 32, 64 or 128"),
        (lambda: GANTrainer.open("default", size=8), "size", "only a new model takes sizes"),
        (lambda: GANTrainer.open(dtype="bfloat16"), "dtype", "precision='bfloat16'"),
        (lambda: GANTrainer(own(None)), "model", "no critic"),
        (lambda: GANTrainer(own(Viewer(7))).steps(blobs(), max_steps=1), "critic", "cannot read pictures of 1x8x8"),
        (lambda: GANTrainer(own(Squeezed())).steps(blobs(), max_steps=1), "critic", "(2, 1) for two pictures"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(call: Callable[[], Any], field: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
    assert words in str(caught.value)


def test_a_refusal_comes_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        tiny().steps(blobs(), max_steps=1, save_to=tmp_path / "run", loss="hinged")
    with pytest.raises(DataError):
        tiny(classes=5).steps(blobs(), max_steps=1, save_to=tmp_path / "run")
    assert not (tmp_path / "run").exists()

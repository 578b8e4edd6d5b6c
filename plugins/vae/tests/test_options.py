"""Options that single recipes need: activations, staged rates; and an encoder and a decoder of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aigc_sdk.errors import InputError, MismatchedFolder, OptionError
from aigc_sdk_vae.model import VAE
from aigc_sdk_vae.network import GaussianNetwork, Sizes
from aigc_sdk_vae.train import TrainingOptions, VAETrainer, _schedule

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
LABELS = [index % 3 for index in range(12)]


@pytest.mark.parametrize(("activation", "kind"), [("silu", nn.SiLU), ("relu", nn.ReLU), ("tanh", nn.Tanh)])
def test_an_mlp_has_the_activation_that_is_asked_for(activation: str, kind: type[nn.Module]) -> None:
    model = VAETrainer.open(size=8, classes=0, architecture="mlp", depth=2, activation=activation, device="cpu").model
    assert sum(isinstance(each, kind) for each in model.network.modules()) == 4


def test_convolutions_have_no_other_activation() -> None:
    with pytest.raises(OptionError, match="activation='tanh' is of architecture='mlp'; leave it out"):
        VAETrainer.open(activation="tanh", device="cpu")


def test_the_rate_falls_after_each_milestone() -> None:
    options = TrainingOptions(schedule="constant", milestones=(2, 5), milestone_factor=0.5)
    rate = _schedule(options, 8)
    assert [rate(update) for update in range(1, 9)] == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    falling = TrainingOptions(schedule="linear", final_rate=0.0, milestones=(2,), milestone_factor=0.5)
    assert _schedule(falling, 4)(3) == pytest.approx(0.125)


@pytest.mark.parametrize("milestones", [(5, 2), (2, 2)])
def test_milestones_that_do_not_rise_are_refused(milestones: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="each later than the one before"):
        TrainingOptions.parse("vae", {"milestones": milestones})


def test_epsilon_is_the_optimisers() -> None:
    """Adam's first step is the rate times g / (|g| + epsilon): a large epsilon makes it small."""
    moved = []
    for epsilon in (1e-8, 1.0):
        trainer = VAETrainer.open(size=8, classes=0, architecture="mlp", width=8, device="cpu")
        before = [each.detach().clone() for each in trainer.model.network.parameters()]
        options: dict[str, Any] = {"batch_size": 4, "weight_decay": 0.0, "schedule": "constant"}
        trainer.fit(PIXELS, max_steps=1, epsilon=epsilon, **options)
        pairs = zip(before, trainer.model.network.parameters(), strict=True)
        moved.append(sum(float((a - b.detach()).abs().sum()) for a, b in pairs))
    assert moved[1] < moved[0]


class Encoder(nn.Module):
    def __init__(self, out: int = 8, beside: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(64 + beside, out)

    def forward(self, pixels: Tensor, beside: Tensor | None) -> Tensor:
        flat = pixels.flatten(1)
        out: Tensor = self.layer(flat if beside is None else torch.cat([flat, beside], 1))
        return out


class Decoder(nn.Module):
    def __init__(self, numbers: int = 8, outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs
        self.layer = nn.Linear(numbers, 64 * outputs)

    def forward(self, code: Tensor) -> Tensor:
        out: Tensor = self.layer(code)
        return out.view(-1, self.outputs, 8, 8)


SIZES: dict[str, Any] = {"size": 8, "latent": 4, "classes": 3}


def sizes(**changes: Any) -> Sizes:
    return Sizes.parse("vae", {**SIZES, **changes})


def test_an_encoder_and_a_decoder_of_ones_own_train_and_come_back(tmp_path: Path) -> None:
    model = VAE(GaussianNetwork(sizes(), Encoder(), Decoder()), sizes=sizes(), labels=["a", "b", "c"])
    named = (PIXELS, [model.labels[each] for each in LABELS])
    steps = list(
        VAETrainer(model).steps(named, max_steps=30, batch_size=6, learning_rate=1e-2, save_to=tmp_path / "run")
    )
    assert steps[-1].metrics["loss"] < steps[0].metrics["loss"]
    opened = VAE.open(tmp_path / "run", device="cpu", encoder=Encoder(), decoder=Decoder())
    assert opened.generate(n=3, seed=0, label="b") == model.generate(n=3, seed=0, label="b")
    assert np.array_equal(opened.encode(PIXELS, "a"), model.encode(PIXELS, "a"))
    further = VAETrainer(opened)
    further.fit(named, max_steps=1, batch_size=6)


class Counting(Decoder):
    """A decoder that makes a tensor when it is called, and has statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def forward(self, code: Tensor) -> Tensor:
        return super().forward(self.norm(code) + torch.arange(8))


def test_trying_a_module_changes_nothing_and_happens_where_the_module_is(tmp_path: Path) -> None:
    decoder = Counting()
    VAE(GaussianNetwork(sizes(), None, decoder), sizes=sizes(), labels=["a", "b", "c"]).save(tmp_path / "own")
    assert decoder.norm.num_batches_tracked == 0
    VAE.open(tmp_path / "own", device="cpu", decoder=Counting())


def test_one_of_the_two_may_be_the_packages(tmp_path: Path) -> None:
    model = VAE(GaussianNetwork(sizes(), decoder=Decoder()), sizes=sizes(), labels=["a", "b", "c"])
    model.save(tmp_path / "own")
    assert VAE.open(tmp_path / "own", device="cpu", decoder=Decoder()).generate(seed=0) == model.generate(seed=0)


def test_a_folder_says_whose_modules_it_is_of(tmp_path: Path) -> None:
    own = VAE(GaussianNetwork(sizes(), Encoder(), Decoder()), sizes=sizes(), labels=["a", "b", "c"])
    own.save(tmp_path / "own")
    with pytest.raises(MismatchedFolder, match=r"pass them: .*VAE\.open\(folder, encoder=\.\.\., decoder="):
        VAE.open(tmp_path / "own", device="cpu")
    with pytest.raises(MismatchedFolder, match="this package's own modules; leave encoder and decoder out"):
        VAE.open(device="cpu", encoder=Encoder())
    with pytest.raises(MismatchedFolder):
        VAE.open(tmp_path / "own", device="cpu", decoder=Decoder())  # the encoder would be the package's


@pytest.mark.parametrize(
    ("make", "field", "message"),
    [
        (
            lambda: GaussianNetwork(sizes(), Encoder(out=4)),
            "encoder",
            "encoder Encoder makes 2 x 4 of 2 x 1 x 8 x 8 and 2 x 4; make 2 x 8",
        ),
        (
            lambda: GaussianNetwork(sizes(classes=0), Encoder()),
            "encoder",
            "cannot be called with 2 x 1 x 8 x 8 and None",
        ),
        (lambda: GaussianNetwork(sizes(), None, Decoder(4)), "decoder", "cannot be called with 2 x 8"),
        (
            lambda: GaussianNetwork(sizes(variance="predicted"), None, Decoder()),
            "decoder",
            "makes 2 x 1 x 8 x 8 of 2 x 8; make 2 x 2 x 8 x 8",
        ),
        (lambda: GaussianNetwork(sizes(), nn.LSTM(8, 8)), "encoder", "cannot be called"),
    ],
)
def test_modules_that_do_not_fit_are_refused_when_the_network_is_made(make: Any, field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.field == field
    assert message in str(caught.value)

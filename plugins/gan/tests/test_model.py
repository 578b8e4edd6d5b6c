"""Generation and what one can do with latents: labels, truncation, arcs, directions, inversion, own networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aigc_sdk.artifacts import Image
from aigc_sdk.errors import CorruptFolder, DataError, InputError, MismatchedFolder, NotOffered, OptionError
from aigc_sdk.protocols import Step
from aigc_sdk_gan.latents import arc, draw
from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.train import GANTrainer

LABELS = ("cat", "dog", "7")


def tiny(**changes: Any) -> GAN:
    sizes = {"size": 8, "classes": 3, "latent": 6, "width": 4, "critic_width": 2, **changes}
    model = GANTrainer.open(device="cpu", **sizes).model
    with torch.no_grad():
        model.network.last.weight.mul_(8)  # untrained networks make pictures of little contrast
    if sizes["classes"]:
        model.labels = LABELS
    return model


@pytest.fixture(scope="module")
def model() -> GAN:
    return tiny()


def test_a_label_is_given_by_name_or_number_and_told_in_the_picture(model: GAN) -> None:
    by_name, by_number = model.generate(n=2, seed=1, label="dog"), model.generate(n=2, seed=1, label=1)
    assert by_name == by_number
    assert [each.info["label"] for each in by_name] == ["dog", "dog"]
    assert by_name != model.generate(n=2, seed=1, label="cat")


def test_a_name_counts_before_a_number(model: GAN) -> None:
    assert model.generate(seed=1, label=7)[0].info["label"] == "7"


def test_without_a_label_each_picture_draws_one_that_its_seed_decides(model: GAN) -> None:
    drawn = [each.info["label"] for each in model.generate(n=40, seed=0)]
    assert set(drawn) == set(LABELS)
    assert model.generate(seed=5)[0].info["label"] == drawn[5]
    assert model.generate(seed=5, label=drawn[5]) == [model.generate(n=40, seed=0)[5]]


def test_a_model_without_labels_says_nothing_of_them() -> None:
    model = tiny(classes=0)
    assert model.generate(seed=0)[0].info == {}
    assert len(model.decode(model.latents(3))) == 3


def test_more_pictures_than_a_group_are_the_same_as_each_alone(model: GAN) -> None:
    whole = model.generate(n=70, seed=3)
    assert [model.generate(seed=3 + index)[0] for index in (0, 1, 63, 64, 69)] == [whole[i] for i in (0, 1, 63, 64, 69)]


def test_latents_are_those_of_generate(model: GAN) -> None:
    latents = model.latents(3, seed=4, truncation=0.5)
    assert model.decode(latents, "dog") == model.generate(n=3, seed=4, label="dog", truncation=0.5)
    assert model.decode(latents, ["cat", 1, "7"])[1] == model.generate(seed=5, label="dog", truncation=0.5)[0]


def test_truncation_keeps_the_distribution_inside_and_its_order() -> None:
    rng = torch.Generator()
    full, cut, wide = (draw(20_000, rng.manual_seed(0), truncation) for truncation in (None, 0.8, 50.0))
    assert cut.abs().max() <= 0.8
    assert (cut[full.argsort()].diff() >= 0).all()
    assert torch.allclose(full, wide, atol=1e-5)
    inside = full[full.abs() <= 0.8]  # what drawing again would leave
    levels = torch.linspace(0.02, 0.98, 25)
    assert torch.allclose(cut.quantile(levels), inside.quantile(levels), atol=0.03)


def test_an_interpolation_goes_from_one_seed_to_the_other_on_an_arc(model: GAN) -> None:
    made = model.interpolate(3, 9, steps=5, label="cat")
    assert len(made) == 5
    assert made[0] == model.generate(seed=3, label="cat")[0]
    assert made[-1] == model.generate(seed=9, label="cat")[0]
    drawn = model.generate(seed=3)[0].info["label"]
    assert {each.info["label"] for each in model.interpolate(3, 9)} == {drawn}


def test_an_arc_turns_evenly_and_keeps_the_length() -> None:
    first, last = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    points = arc(first, last, 7)
    assert torch.allclose(points.norm(dim=1), torch.full((7,), 2.0), atol=1e-6)
    turns = (points[:-1] * points[1:]).sum(1) / 4
    assert torch.allclose(turns, turns[:1].expand(6), atol=1e-6)
    assert torch.equal(arc(first, first, 3), first.repeat(3, 1))


def test_directions_are_the_eigenvectors_of_the_first_layer(model: GAN) -> None:
    directions = model.directions(6).astype(np.float64)
    weight = model.network.stem.weight.detach().double().numpy()[:, :6]  # the latent's columns; the label's follow
    matrix = weight.T @ weight
    stretched = directions @ matrix
    values = (stretched * directions).sum(1)
    assert np.allclose(stretched, values[:, None] * directions, atol=1e-5)
    assert np.all(np.diff(values) <= 0)
    assert np.allclose(directions @ directions.T, np.eye(6), atol=1e-5)
    assert np.allclose(model.directions(2), directions[:2])


def test_the_first_direction_moves_the_first_layer_most(model: GAN) -> None:
    weight = model.network.stem.weight.detach().numpy()[:, :6]
    moved = np.linalg.norm(model.directions(6) @ weight.T, axis=1)
    others = np.random.default_rng(0).standard_normal((200, 6))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert moved[0] >= np.linalg.norm(others @ weight.T, axis=1).max()


def test_inversion_finds_a_generated_picture_and_its_label(model: GAN) -> None:
    [image] = model.generate(seed=11, label="dog")
    steps: list[Step] = []
    found = model.project(image, steps=150, on_step=steps.append)
    assert found.label == "dog"
    assert found.error < 2  # levels of 255
    assert model.decode(found.latent[None], found.label) == [found.image]
    away = np.abs(found.image.pixels.astype(int) - image.pixels)
    assert away.mean() < 3
    assert [each.index for each in steps] == list(range(1, 151))


def test_inversion_is_seeded_and_leaves_the_model_and_the_callers_state(model: GAN) -> None:
    [image] = model.generate(seed=2)
    before, state = model.fingerprint(), torch.get_rng_state()
    with torch.no_grad():
        first, again = (model.project(image, steps=5, label=0, seed=3) for _ in range(2))
    assert np.array_equal(first.latent, again.latent)
    assert first.label == "cat"
    assert model.fingerprint() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(each.grad is None for each in model.network.parameters())


def test_a_model_in_bfloat16_makes_nearly_the_same(tmp_path: Path, model: GAN) -> None:
    model.save(tmp_path / "model")
    half = GAN.open(tmp_path / "model", device="cpu", dtype="bfloat16")
    pairs = zip(half.generate(n=4, seed=0), model.generate(n=4, seed=0), strict=True)
    assert all(np.abs(a.pixels.astype(int) - b.pixels).mean() < 6 for a, b in pairs)


class OwnGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2 * 5)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return torch.tanh(self.layer(latents)).view(-1, 1, 2, 5)


def test_own_networks_are_saved_and_opened_with_the_modules_passed_again(tmp_path: Path) -> None:
    own = GAN(OwnGenerator(), nn.Linear(10, 1), latent=3)
    assert own.shape == (1, 2, 5)
    [image] = own.generate(seed=0)
    assert image.pixels.shape == (2, 5, 3)
    own.save(tmp_path / "own")
    opened = GAN.open(tmp_path / "own", device="cpu", network=OwnGenerator(), critic=nn.Linear(10, 1))
    assert opened.generate(seed=0) == [image]
    assert opened.critic is not None
    with pytest.raises(MismatchedFolder, match=r"pass them: .*GAN\.open\(folder, network="):
        GAN.open(tmp_path / "own", device="cpu")
    with pytest.raises(MismatchedFolder):
        GAN.open(tmp_path / "own", device="cpu", network=nn.Linear(3, 3))
    with pytest.raises(NotOffered, match="no Linear called 'stem'"):
        own.directions(1)


LATENTS = np.zeros((2, 6), np.float32)


@pytest.mark.parametrize(
    ("call", "field", "words"),
    [
        (lambda m: m.generate(label="bird"), "label", "'bird': the model has no such label. Labels: cat, dog, 7"),
        (lambda m: m.generate(label="dgo"), "label", "Did you mean 'dog'?"),
        (lambda m: m.generate(label=3), "label", "'3'"),
        (lambda m: m.generate(label=-1), "label", "'-1'"),
        (lambda m: m.generate(label=1.5), "label", "valid string"),
        (lambda m: m.generate(label=True), "label", "True"),
        (lambda m: m.generate(truncation=0), "truncation", "greater than 0"),
        (lambda m: m.generate(truncation=float("nan")), "truncation", "finite"),
        (lambda m: m.generate(truncate=1), "truncate", "Did you mean 'truncation'?"),
        (lambda m: m.stream("a cat"), "prompt", "takes None"),
        (lambda m: m.latents(0), "n", "n=0: give an integer from 1"),
        (lambda m: m.latents(2, seed=-1), "seed", "seed=-1"),
        (lambda m: m.latents(2, truncation=-1.0), "truncation", "-1.0"),
        (lambda m: m.decode(np.zeros((2, 5)), 0), "latents", "(2, 5); give n x 6"),
        (lambda m: m.decode(np.full((1, 6), np.nan), 0), "latents", "NaN"),
        (lambda m: m.decode("latents", 0), "latents", "no array of numbers"),
        (lambda m: m.decode(LATENTS), "label", "pass label=. Labels: cat"),
        (lambda m: m.decode(LATENTS, ["cat"]), "label", "1 labels for 2 latents"),
        (lambda m: m.interpolate(0, 1, steps=0), "steps", "steps=0"),
        (lambda m: m.interpolate(0, 1, label="bird"), "label", "bird"),
        (lambda m: m.directions(7), "k", "k=7: give an integer from 1 to 6"),
        (lambda m: m.project(Image(np.zeros((9, 8, 3), np.uint8))), "image", "image is 8x9, the model makes 8x8"),
        (lambda m: m.project(Image(np.zeros((8, 8, 3), np.uint8)), steps=0), "steps", "steps=0"),
        (lambda m: tiny(classes=0).generate(label=1), "label", "was trained without labels; leave it out"),
        (lambda m: GAN(OwnGenerator()), "latent", "latent=None: say how many numbers"),
        (lambda m: GAN(OwnGenerator(), latent=4), "network", "cannot be called with latents 2 x 4"),
        (lambda m: GAN(nn.Identity(), latent=4), "network", "cannot be called"),
        (lambda m: m.open(dtype="float16"), "dtype", "float16"),
    ],
)
def test_bad_calls_are_refused_by_name(model: GAN, call: Callable[[GAN], Any], field: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        call(model)
    assert caught.value.field == field
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"sizes": None}, CorruptFolder),
        ({"sizes": {"size": 12}}, CorruptFolder),
        ({"labels": ["only one"]}, CorruptFolder),
        ({"labels": "cat"}, CorruptFolder),
    ],
)
def test_a_folder_whose_config_describes_no_gan_is_refused(
    model: GAN, tmp_path: Path, change: dict[str, Any], error: type[Exception]
) -> None:
    model.save(tmp_path / "model")
    (tmp_path / "model/aigc.json").unlink()  # as if another program had written the folder
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps(config | change))
    with pytest.raises(error, match=r"config\.json"):
        GAN.open(tmp_path / "model", device="cpu")


def test_a_config_of_another_size_than_the_weights_is_refused_before_anything_is_allocated(
    model: GAN, tmp_path: Path
) -> None:
    model.save(tmp_path / "model")
    (tmp_path / "model/aigc.json").unlink()
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["sizes"] |= {"width": 1024, "depth": 16, "size": 128, "latent": 4096}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    with pytest.raises(MismatchedFolder):
        GAN.open(tmp_path / "model", device="cpu")


def test_unknown_pictures_are_refused(model: GAN) -> None:
    with pytest.raises(DataError):
        model.project("picture.png")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        model.project(model.generate(seed=0)[0], label="bird")

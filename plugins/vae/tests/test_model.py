"""What one can do with a VAE: encode, decode, reconstruct, interpolate, traverse, judge; and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk import Image
from aigc_sdk.errors import AigcError, DataError, InputError, OptionError
from aigc_sdk_vae.evaluate import Likelihood
from aigc_sdk_vae.fitted import Mixture, fit
from aigc_sdk_vae.gaussian import Gaussian
from aigc_sdk_vae.likelihood import GAIN
from aigc_sdk_vae.model import VAE
from aigc_sdk_vae.train import VAETrainer

SIZES: dict[str, Any] = {"size": 8, "classes": 3, "latent": 4, "width": 8, "device": "cpu"}


def some_pictures(n: int = 60) -> tuple[Any, list[int]]:
    """Bars: upright, level and slanting, each at random places and of random brightness."""
    rng, pixels, labels = np.random.default_rng(0), np.zeros((n, 8, 8), np.uint8), [index % 3 for index in range(n)]
    for each, label in zip(pixels, labels, strict=True):
        place, bright = rng.integers(1, 7), rng.integers(120, 256)
        if label == 0:
            each[:, place] = bright
        elif label == 1:
            each[place] = bright
        else:
            each[:] = np.roll(np.eye(8, dtype=np.uint8) * np.uint8(bright), place, 1)
    return pixels, labels


def images(n: int = 60) -> list[Image]:
    return [Image(each[..., None].repeat(3, 2)) for each in some_pictures()[0][:n]]


@pytest.fixture(scope="module")
def model() -> VAE:
    return VAETrainer.open(**SIZES).fit(some_pictures(), max_steps=600, batch_size=30)


def test_a_trained_model_has_the_fitted_sampler_and_uses_it(model: VAE) -> None:
    assert model.fitted is not None
    by_default, by_prior = model.generate(n=3, seed=1, label=1), model.generate(n=3, seed=1, label=1, sampler="prior")
    assert by_default == model.generate(n=3, seed=1, label=1, sampler="fitted")
    assert by_default != by_prior
    assert [each.info["label"] for each in by_default] == ["1"] * 3


def test_a_label_chooses_what_is_drawn(model: VAE) -> None:
    for label, axis in ((0, 0), (1, 1)):
        for image in model.generate(n=10, label=label, seed=0, temperature=0.5):
            profile = image.pixels[..., 0].astype(float).sum(axis)
            across = image.pixels[..., 0].astype(float).sum(1 - axis)
            assert profile.max() > across.max(), "a bar is bright along itself"


def test_latents_are_those_that_generate_uses(model: VAE) -> None:
    for sampler in ("prior", "fitted"):
        latents = model.latents(5, seed=3, label="2", sampler=sampler, temperature=0.8)  # type: ignore[arg-type]
        assert latents.shape == (5, 4)
        made = model.generate(n=5, seed=3, label="2", sampler=sampler, temperature=0.8)
        assert model.decode(latents, "2") == made


def test_reconstructions_are_decoded_codes_and_resemble_the_pictures(model: VAE) -> None:
    pixels, labels = some_pictures()
    left = model.reconstruct(images(), labels)
    assert left == model.decode(model.encode(images(), labels), labels)
    assert left == model.reconstruct((pixels, labels)), "labels may come with the data"
    assert np.abs(np.stack([each.pixels[..., 0] for each in left]).astype(float) - pixels).mean() < 25


def test_interpolation_begins_and_ends_at_the_reconstructions(model: VAE) -> None:
    first, _, _, last, *_ = images()
    between = model.interpolate(first, last, 5, label=0)
    assert len(between) == 5
    assert [between[0], between[-1]] == model.reconstruct([first, last], 0)


def test_a_traversal_moves_one_latent_at_a_time(model: VAE) -> None:
    latents = model.encode([images()[1]], 1)
    rows = model.traverse(images()[1], label=1, latents=[2, 0], steps=3, span=2.0)
    wanted = np.repeat(latents, 6, 0)
    wanted[:3, 2] = wanted[3:, 0] = [-2, 0, 2]
    assert rows == model.decode(wanted, 1)
    assert len(model.traverse(seed=5, steps=4)) == 4 * model.latent


def test_noise_and_a_wrong_label_are_stranger_than_what_was_learnt(model: VAE) -> None:
    pixels, labels = some_pictures()
    usual = model.anomaly(pixels, labels)
    noise = model.anomaly(np.random.default_rng(1).integers(0, 256, (20, 8, 8), np.uint8))
    assert np.median(noise) > usual.max()
    wrong = model.anomaly(pixels, [(label + 1) % 3 for label in labels])
    assert (wrong > usual).mean() > 0.9
    assert (model.anomaly(pixels) <= usual + 1e-6).all(), "without a label it is that of the best one"


def test_what_is_drawn_by_the_vamp_prior_resembles_the_data() -> None:
    trainer = VAETrainer.open(**SIZES, prior="vamp", pseudo_inputs=12)
    model = trainer.fit(some_pictures(), max_steps=100, batch_size=30)
    drawn = model.generate(n=12, seed=0, label=0, sampler="prior")
    nearest = min(np.abs(drawn[0].pixels[..., 0].astype(float) - each).mean() for each in some_pictures()[0][::3])
    assert nearest < 40


def test_a_mixture_is_fitted_to_all_of_what_pictures_encode_to() -> None:
    """Two clouds, whose rows are Gaussians themselves: the variance is that of the means and of each row."""
    torch.manual_seed(0)
    mean = torch.randn(2000, 2) * 0.3 + torch.tensor([4.0, 0.0]) * (torch.arange(2000) % 4 == 0)[:, None]
    found = fit(Gaussian(mean, torch.full_like(mean, np.log(0.07))), None, 0, 2)
    order = found.weights[0].argsort()
    assert torch.allclose(found.weights[0, order], torch.tensor([0.25, 0.75]), atol=0.01)
    assert torch.allclose(found.means[0, order], torch.tensor([[4.0, 0.0], [0.0, 0.0]]), atol=0.05)
    covariance = found.factors[0] @ found.factors[0].mT
    assert torch.allclose(covariance, 0.16 * torch.eye(2).expand(2, -1, -1), atol=0.03)
    drawn = found.draw(torch.randn(20_000, 2), torch.rand(20_000), torch.zeros(20_000, dtype=torch.long), 1.0)
    assert float((drawn[:, 0] > 2).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_a_mixture_of_few_pictures_has_fewer_components_and_of_none_the_standard_normal() -> None:
    mean, labels = torch.randn(9, 2), torch.tensor([0] * 8 + [1])
    found = fit(Gaussian(mean, torch.zeros_like(mean)), labels, 3, 2)
    assert (found.weights > 0).sum(1).tolist() == [2, 1, 1]
    assert torch.allclose(found.factors[2, 0], torch.eye(2))
    assert isinstance(found, Mixture)


def test_active_units_are_the_latents_in_use() -> None:
    """An encoder of which the first two latents follow the pictures, and the others nothing."""
    model = VAETrainer.open(size=8, classes=0, latent=5, architecture="mlp", depth=0, device="cpu").model
    layer: Any = model.network.encoder.layers[0]  # type: ignore[union-attr]
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:2] = torch.randn(2, 64)
        layer.weight[2] = 1e-5
    report = Likelihood(model).evaluate(images(), draws=2)
    assert report["active_units"].value == 2


def test_bits_per_dimension_are_those_of_the_likelihood() -> None:
    """A decoder that says nothing: every one of 256 values costs 8 bits when the logistic is wide enough."""
    model = VAETrainer.open(
        size=8, classes=0, latent=2, architecture="mlp", depth=0, likelihood="logistic", device="cpu"
    ).model
    with torch.no_grad():
        for name, each in model.network.named_parameters():
            each.zero_() if "log_scale" not in name else each.fill_(-1.0 / GAIN)
    middle = Image(np.full((8, 8, 3), 127, np.uint8))
    report = Likelihood(model).evaluate([middle, middle], draws=3)
    scale = np.exp(-1.0)
    wanted = -np.log2(np.tanh(1 / 255 / (2 * scale)))
    assert report["bits_per_dimension"].value == pytest.approx(wanted, rel=0.01)
    assert report["elbo"].value == pytest.approx(report["log_likelihood"].value, rel=1e-5)
    assert report["rate"].value == pytest.approx(0, abs=1e-6)


def test_a_report_says_what_its_figures_are(model: VAE) -> None:
    _, labels = some_pictures()
    report = Likelihood(model).evaluate(images(), labels, draws=20)
    assert report["log_likelihood"].value >= report["elbo"].value
    assert "20 draws" in report["log_likelihood"].protocol
    assert "Gaussian density" in report["bits_per_dimension"].protocol
    grey = VAETrainer.open(**SIZES, likelihood="bernoulli").model
    assert "bits_per_dimension" not in Likelihood(grey).evaluate(images(), labels, draws=1).scores
    binary = [Image(((each.pixels > 90) * 255).astype(np.uint8)) for each in images()]
    assert "binary" in Likelihood(grey).evaluate(binary, labels, draws=1)["bits_per_dimension"].protocol


def train(data: Any = None, **options: Any) -> Any:
    trainer = VAETrainer.open(**SIZES)
    return trainer.steps(some_pictures() if data is None else data, max_steps=2, **options)


PIXELS, LABELS = some_pictures()
BAD: list[tuple[Callable[[VAE], Any], type[AigcError], str]] = [
    (lambda model: model.generate(label="cat"), OptionError, "no such label.*Labels: 0, 1, 2"),
    (lambda model: model.generate(label=3), OptionError, "label=.3.*Labels"),
    (lambda model: model.generate(sampler="normal"), OptionError, "sampler='normal'.*'prior'"),
    (lambda model: model.generate(temperature=0), OptionError, "temperature=0.*greater than 0"),
    (lambda model: model.generate(temperatur=1.0), OptionError, "temperatur.*Did you mean 'temperature'"),
    (lambda model: model.encode(PIXELS), OptionError, "no labels.*pass label="),
    (lambda model: model.encode(PIXELS, [0, 1]), InputError, "2 labels for 60"),
    (lambda model: model.encode(PIXELS[:, :4], 0), DataError, "images: 8x4 pixels.*8x8.*resize"),
    (lambda model: model.encode(PIXELS.astype(float), 0), DataError, "divide by 255"),
    (lambda model: model.encode(np.full((2, 8, 8), np.nan), 0), DataError, "NaN"),
    (lambda model: model.reconstruct([], 0), DataError, "images"),
    (lambda model: model.decode(np.zeros((2, 5)), 0), InputError, r"shape \(2, 5\); give n x 4"),
    (lambda model: model.decode(np.full((2, 4), np.inf), 0), InputError, "NaN or infinity"),
    (lambda model: model.decode(np.zeros((2, 4))), OptionError, "pass label="),
    (lambda model: model.interpolate(images()[0], images()[1], 0, label=0), OptionError, "steps=0"),
    (lambda model: model.interpolate(images(2), images()[1], label=0), DataError, "first holds 2 pictures"),
    (lambda model: model.traverse(latents=[4]), OptionError, "latents holds 4.*0 to 3"),
    (lambda model: model.traverse(span=-1.0), OptionError, "span=-1.0"),
    (lambda model: model.anomaly(PIXELS, draws=0), OptionError, "draws=0"),
    (lambda model: Likelihood(model).evaluate(images(2), ["0", 1.5]), DataError, r"references\[1\] is 1.5"),
    (lambda model: Likelihood(model).evaluate(images(2)), OptionError, "no labels"),
    (lambda model: VAETrainer.open(size=7, device="cpu"), OptionError, "size=7.*even.*mlp"),
    (lambda model: VAETrainer.open(size=4, device="cpu"), OptionError, "size=4.*at least 6"),
    (lambda model: VAETrainer.open(classes=1, device="cpu"), OptionError, "classes=1.*use 0"),
    (lambda model: VAETrainer.open(kind="vq", architecture="mlp", device="cpu"), OptionError, "kind='vq' needs"),
    (lambda model: VAETrainer.open(prior="vamp", pseudo_inputs=5, device="cpu"), OptionError, "pseudo_inputs=5"),
    (lambda model: VAETrainer.open("default", width=8, device="cpu"), OptionError, "only a new model takes sizes"),
    (lambda model: VAETrainer.open(dtype="bfloat16"), OptionError, "trained in float32"),
    (lambda model: train(PIXELS), DataError, "data has no labels.*classes=0"),
    (lambda model: train((PIXELS, [0] * 60)), DataError, "data has one label.*classes=0"),
    (lambda model: train(objective="tc", batch_size=1), OptionError, "batch_size above 1"),
    (lambda model: train(objective="iwae", beta=4.0), OptionError, "beta=4.*leave it out"),
    (lambda model: train(objective="wae", kl_warmup_steps=5), OptionError, "kl_warmup_steps=5.*leave it out"),
    (lambda model: train(objective="wae", free_bits=0.1), OptionError, "free_bits is of objective='elbo'"),
    (lambda model: train(beta=float("nan")), OptionError, "beta=nan"),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD)
def test_a_bad_call_is_refused_with_what_is_wrong_and_what_to_do(
    model: VAE, call: Callable[[VAE], Any], kind: type[AigcError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call(model)


@pytest.mark.parametrize("changed", [{"objective": "tc"}, {"beta": 2.0}, {"free_bits": 1.0}])
def test_what_is_of_gaussian_latents_is_refused_for_codes(changed: dict[str, Any]) -> None:
    trainer = VAETrainer.open(**SIZES, kind="vq")
    with pytest.raises(OptionError, match=next(iter(changed))):
        trainer.steps(some_pictures(), max_steps=1, **changed)


def test_labels_keep_their_names_and_a_model_without_any_refuses_one() -> None:
    names = ["bar", "level", "slant"]
    named = [(image, names[label]) for image, label in zip(*some_pictures(), strict=True)]
    model = VAETrainer.open(**SIZES).fit(named, max_steps=2, batch_size=4)
    assert model.labels == ("bar", "level", "slant")
    assert model.generate(label="slant", seed=0) == model.generate(label=2, seed=0)
    plain = VAETrainer.open(**{**SIZES, "classes": 0}).fit(some_pictures(), max_steps=2, batch_size=4)
    assert plain.generate(seed=0)[0].info == {}
    with pytest.raises(OptionError, match="without labels"):
        plain.generate(label="bar")
    with pytest.raises(OptionError, match="fit_sampler"):
        VAETrainer.open(**SIZES).model.generate(sampler="fitted")

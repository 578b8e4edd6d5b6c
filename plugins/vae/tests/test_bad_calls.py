"""Bad calls: each is refused by a typed error that names field, value and remedy. More stand beside what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_sdk import Image, Text, folder
from aigc_sdk.errors import (
    AigcError,
    CorruptFolder,
    DataError,
    DeviceError,
    InputError,
    MismatchedFolder,
    NotAModel,
    OptionError,
    PromptError,
)
from aigc_sdk_vae.evaluate import Likelihood
from aigc_sdk_vae.model import DEFAULT, VAE
from aigc_sdk_vae.train import VAETrainer

PIXELS, LABELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8), [index % 3 for index in range(12)]
PAIR = (PIXELS, LABELS)
ZEROS = np.zeros((2, 4), np.float32)
WHITE, LARGE = (Image(np.full((side, side, 3), 255, np.uint8)) for side in (8, 9))


def tiny(**changes: Any) -> VAETrainer:
    return VAETrainer.open(**{"size": 8, "classes": 3, "latent": 4, "width": 8, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def model() -> VAE:
    model = tiny().model
    model.labels = ("cat", "dog", "7")
    return model


@pytest.fixture(scope="module")
def codes() -> VAE:
    return tiny(kind="vq", codes=8, classes=0).model


def refused(call: Callable[[], Any], kind: type[AigcError], field: str | None, words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)
    assert getattr(caught.value, "field", None) == field


MODEL: list[tuple[Callable[[VAE], Any], type[AigcError], str | None, str]] = [
    (lambda m: m.generate(n=0), OptionError, "n", "n=0: the number of samples per prompt is an integer from 1"),
    (lambda m: m.generate("a cat"), PromptError, "prompt", "prompt is a str; vae takes None"),
    (lambda m: m.generate(label=True), OptionError, "label", "label=True: input should be a valid string"),
    (lambda m: m.generate(temperature=float("nan")), OptionError, "temperature", "input should be a finite number"),
    (lambda m: m.generate(sampler="fitted"), OptionError, "sampler", "call model.fit_sampler(data), or use 'prior'"),
    (lambda m: m.latents(0), OptionError, "n", "n=0: give an integer from 1"),
    (lambda m: m.latents(1, sampler="vamp"), OptionError, "sampler", "'auto', 'prior' or 'fitted'"),
    (lambda m: m.latents(1, label="bird"), OptionError, "label", "'bird': the model has no such label. Labels: cat"),
    (lambda m: m.latents(1, seed=-1), OptionError, "seed", "seed=-1"),
    (lambda m: m.encode(None, 0), DataError, "images", "images is of type NoneType"),
    (lambda m: m.encode([Text("x")], 0), DataError, "images", "images[0] is a Text; give an aigc_sdk.Image"),
    (lambda m: m.encode("/no/such/folder", 0), DataError, "images", "/no/such/folder is no folder of pictures"),
    (lambda m: m.encode(PIXELS, 0.5), OptionError, "label", "label=0.5: the model has no such label"),
    (lambda m: m.encode(PIXELS[:2], ["cat", None]), OptionError, "label", "images: some have no label of their own"),
    (lambda m: m.encode((PIXELS, ["x"] * 12)), OptionError, "label", "label='x': the model has no such label"),
    (lambda m: m.encode(np.zeros((2, 8, 8, 4), np.uint8), 0), DataError, "images", "array[..., :3]"),
    (lambda m: m.encode([LARGE], 0), DataError, "images", "9x9 pixels, the model's pictures have 8x8; resize them"),
    (lambda m: m.decode("latents", 0), InputError, "latents", "latents are no array of numbers"),
    (lambda m: m.decode([[1.0], [2.0, 3.0]], 0), InputError, "latents", "latents are no array of numbers"),
    (lambda m: m.decode(ZEROS[:0], 0), InputError, "latents", "the shape (0, 4); give n x 4, as `encode` does"),
    (lambda m: m.decode(ZEROS.astype(complex), 0), InputError, "latents", "latents are no array of numbers"),
    (lambda m: m.decode(ZEROS, ["cat"]), InputError, "label", "latents: 1 labels for 2; pass one label, or one each"),
    (lambda m: m.interpolate(WHITE, WHITE), OptionError, "label", "first: the pictures have no labels"),
    (lambda m: m.interpolate(WHITE, LARGE, label=0), DataError, "last", "last: 9x9 pixels"),
    (lambda m: m.interpolate(WHITE, WHITE, 2.0, label=0), OptionError, "steps", "steps=2.0: give an integer"),
    (lambda m: m.traverse(span="3"), OptionError, "span", "span='3': give a number above 0, at most 100"),
    (lambda m: m.traverse(span=float("nan")), OptionError, "span", "span=nan: give a number above 0"),
    (lambda m: m.traverse(latents=2), OptionError, "latents", "latents=2: give a list of numbers from 0 to 3"),
    (lambda m: m.traverse(latents=[]), OptionError, "latents", "latents=[]: give a list of numbers from 0 to 3"),
    (lambda m: m.traverse(latents=[True]), OptionError, "latents", "latents holds True; the model has 0 to 3"),
    (lambda m: m.traverse(PIXELS[:2], label=0), DataError, "image", "image holds 2 pictures; pass one"),
    (lambda m: m.anomaly([]), DataError, "images", "it holds no pictures"),
    (lambda m: m.anomaly(PIXELS, seed="a"), OptionError, "seed", "seed='a'"),
    (lambda m: m.anomaly(np.full((2, 8, 8), np.inf)), DataError, "images", "pixels that are NaN or infinite"),
    (lambda m: m.fit_sampler(PAIR, components=0), OptionError, "components", "components=0: give an integer from 1"),
    (lambda m: m.fit_sampler(PIXELS), OptionError, "label", "and the model needs them; pass label=. Labels: cat, dog"),
    (lambda m: m.to("gpu"), DeviceError, None, "use 'auto', 'cpu', 'cuda'"),
    (lambda m: m.open("/no/such/folder"), NotAModel, None, "there is no folder /no/such/folder"),
    (lambda m: m.open(DEFAULT / "fitted"), NotAModel, None, "has no config.json"),
    (lambda m: m.open(dtype="int8"), OptionError, "dtype", "use one of float32, bfloat16"),
]


@pytest.mark.parametrize(("call", "kind", "field", "words"), MODEL)
def test_a_bad_call_of_a_model_is_refused(
    model: VAE, call: Callable[[VAE], Any], kind: type[AigcError], field: str | None, words: str
) -> None:
    refused(lambda: call(model), kind, field, words)


CODES: list[tuple[Callable[[VAE], Any], type[AigcError], str, str]] = [
    (lambda m: m.generate(sampler="fitted"), OptionError, "sampler", "the model has none; use 'prior'"),
    (lambda m: m.generate(label="cat"), OptionError, "label", "was trained without labels; leave it out"),
    (lambda m: m.decode(np.zeros((1, 2, 2), int)), InputError, "latents", "the shape (1, 2, 2); give n x 4 x 4"),
    (lambda m: m.decode(np.full((1, 4, 4), 0.5)), InputError, "latents", "give integers from 0 to 7"),
    (lambda m: m.decode(np.full((1, 4, 4), 8)), InputError, "latents", "give integers from 0 to 7"),
    (lambda m: m.decode(np.full((1, 4, 4), np.nan)), InputError, "latents", "give integers from 0 to 7"),
    (lambda m: m.compress(PIXELS[:2]), DataError, "image", "image holds 2 pictures; pass one"),
    (lambda m: m.compress(LARGE), DataError, "image", "image: 9x9 pixels"),
    (lambda m: m.decompress(None), DataError, "data", "data is a NoneType; pass the bytes that `compress` returned"),
]


@pytest.mark.parametrize(("call", "kind", "field", "words"), CODES)
@pytest.mark.filterwarnings("error")
def test_a_bad_call_of_a_model_of_codes_is_refused(
    codes: VAE, call: Callable[[VAE], Any], kind: type[AigcError], field: str, words: str
) -> None:
    refused(lambda: call(codes), kind, field, words)


def train(data: Any = PAIR, trainer: VAETrainer | None = None, **options: Any) -> Any:
    return (trainer or tiny()).steps(data, **{"max_steps": 1, "batch_size": 4, **options})


TRAIN: list[tuple[Callable[[], Any], type[AigcError], str, str]] = [
    (lambda: train(None), DataError, "data", "data is None; pass what to train on"),
    (lambda: train((PIXELS, ["a"] * 12)), DataError, "data", "data has one label ('a'), the model was made for 3"),
    (lambda: train((PIXELS / 127.5 - 1, LABELS)), DataError, "data", "use (array + 1) / 2"),
    (lambda: train("some text"), DataError, "data", "some text is no folder of pictures, nor one of digits"),
    (lambda: train(PIXELS[:1], tiny(classes=0), objective="tc"), DataError, "data", "data holds one picture"),
    (lambda: train(validation=PIXELS), DataError, "validation", "validation has no labels"),
    (lambda: list(train(validation=PAIR, best="fid")), OptionError, "best", "there are: loss, distortion, rate"),
    (lambda: train(batch_size=1, objective="wae"), OptionError, "objective", "choose a batch_size above 1"),
    (lambda: train(objective="betatc"), OptionError, "objective", "'elbo', 'tc', 'iwae' or 'wae'"),
    (lambda: train(objectiv="tc"), OptionError, "objectiv", "Did you mean 'objective'?"),
    (lambda: train(objective="iwae", draws=0), OptionError, "draws", "draws=0"),
    (lambda: train(objective="iwae", beta=2.0), OptionError, "beta", "has no rate to weigh; leave it out"),
    (lambda: train(kl_warmup_steps=1.5), OptionError, "kl_warmup_steps", "valid integer"),
    (lambda: train(mmd_weight=-1.0), OptionError, "mmd_weight", "mmd_weight=-1.0"),
    (lambda: train(ema_decay=0.0), OptionError, "ema_decay", "greater than 0"),
    (lambda: train(milestones=[0.5]), OptionError, "milestones", "milestones=0.5: input should be a valid integer"),
    (lambda: train(epsilon=0.0), OptionError, "epsilon", "greater than 0"),
    (lambda: train(hold=2.0), OptionError, "hold", "less than or equal to 1"),
    (lambda: train(components=0), OptionError, "components", "greater than or equal to 1"),
    (
        lambda: train(PAIR, tiny(kind="vq"), objective="tc"),
        OptionError,
        "objective",
        "the model has codes; leave it out",
    ),
    (
        lambda: train(PAIR, tiny(prior="vamp", pseudo_inputs=6), free_bits=0.5),
        OptionError,
        "free_bits",
        "needs prior='normal'",
    ),
    (lambda: tiny(size=257), OptionError, "size", "less than or equal to 256"),
    (lambda: tiny(size=9), OptionError, "size", "it must be even and at least 6; resize, or use architecture='mlp'"),
    (lambda: tiny(kind="vqvae"), OptionError, "kind", "'gaussian' or 'vq'"),
    (lambda: tiny(likelihood="poisson"), OptionError, "likelihood", "'gaussian', 'logistic' or 'bernoulli'"),
    (
        lambda: tiny(likelihood="bernoulli", variance="predicted"),
        OptionError,
        "variance",
        "is of gaussian and logistic pixels; leave it out",
    ),
    (lambda: tiny(codes=1), OptionError, "codes", "greater than or equal to 2"),
    (lambda: tiny(depth=0), OptionError, "depth", "convolutions need at least 1"),
    (lambda: tiny(architecture="mlp", activation="gelu"), OptionError, "activation", "'silu', 'relu' or 'tanh'"),
]


@pytest.mark.parametrize(("call", "kind", "field", "words"), TRAIN)
def test_a_bad_call_of_a_trainer_is_refused(
    call: Callable[[], Any], kind: type[AigcError], field: str, words: str
) -> None:
    refused(call, kind, field, words)


JUDGED: list[tuple[Callable[[Likelihood], Any], type[AigcError], str, str]] = [
    (lambda j: j.evaluate(["x"]), DataError, "samples", "samples[0] is a Text; a VAE judges images"),
    (lambda j: j.evaluate([]), DataError, "samples", "pass at least one"),
    (lambda j: j.evaluate(WHITE), DataError, "samples", "samples is one sample; pass a list of them"),
    (lambda j: j.evaluate([WHITE], [0, 1]), DataError, "references", "2 references for 1 samples; pass one each"),
    (lambda j: j.evaluate([WHITE], ["bird"]), OptionError, "label", "label='bird': the model has no such label"),
    (lambda j: j.evaluate([LARGE], [0]), DataError, "samples", "samples: 9x9 pixels"),
    (lambda j: j.evaluate([WHITE], [0], draws=0), OptionError, "draws", "greater than or equal to 1"),
    (lambda j: j.evaluate([WHITE], [0], draw=5), OptionError, "draw", "Did you mean 'draws'?"),
]


@pytest.mark.parametrize(("call", "kind", "field", "words"), JUDGED)
def test_a_bad_call_of_an_evaluator_is_refused(
    model: VAE, call: Callable[[Likelihood], Any], kind: type[AigcError], field: str, words: str
) -> None:
    refused(lambda: call(Likelihood(model)), kind, field, words)


def test_a_folder_that_is_damaged_or_another_backends_is_refused(model: VAE, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    refused(lambda: VAE.open(tmp_path / "model", device="cpu"), CorruptFolder, None, "model.safetensors")
    with folder.writing(tmp_path / "other", backend="gan", role="generator", fingerprint="") as path:
        (path / "config.json").write_text("{}")
    refused(lambda: VAE.open(tmp_path / "other"), MismatchedFolder, None, "of the backend 'gan', not 'vae'")

"""Bad calls: each is refused by a typed error that names field, value and remedy. More stand beside what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aigc_sdk import Image
from aigc_sdk.errors import AigcError, CorruptFolder, DataError, DeviceError, InputError, NotAModel, OptionError
from aigc_sdk_gan.judge import Judge
from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.train import GANTrainer

PIXELS, LABELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8), [index % 3 for index in range(12)]
PAIR = (PIXELS, LABELS)
LATENTS = np.zeros((2, 6), np.float32)
WHITE = Image(np.full((8, 8, 3), 255, np.uint8))
DIGIT = Image(np.zeros((16, 16, 3), np.uint8))


def tiny(**changes: Any) -> GANTrainer:
    sizes = {"size": 8, "classes": 3, "latent": 6, "width": 4, "critic_width": 2, **changes}
    return GANTrainer.open(device="cpu", **sizes)


@pytest.fixture(scope="module")
def model() -> GAN:
    model = tiny().model
    model.labels = ("cat", "dog", "7")
    return model


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.open(device="cpu")


class Painter(nn.Module):
    """Makes 2 x 2 pixels of its latent, and learns nothing."""

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return torch.tanh(latents[:, :4]).view(-1, 1, 2, 2)


class Learner(Painter):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return super().forward(self.scale * latents, labels)


class Wide(Learner):
    """Makes pictures that are no squares, to which others are not resized."""

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return super().forward(latents, labels).view(-1, 1, 1, 4)


class Viewer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.layer(images.flatten(1))[:, 0]


def own(network: nn.Module) -> GANTrainer:
    return GANTrainer(GAN(network, Viewer(), latent=4))


def refused(call: Callable[[], Any], kind: type[AigcError], field: str | None, words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)
    assert getattr(caught.value, "field", None) == field


GENERATE: list[tuple[Callable[[GAN], Any], type[AigcError], str | None, str]] = [
    (lambda m: m.generate(n=0), OptionError, "n", "n=0: the number of samples per prompt is an integer from 1"),
    (lambda m: m.generate(n=10**9), OptionError, "n", "from 1 to 100,000"),
    (lambda m: m.generate(seed="one"), OptionError, "seed", "seed='one': a seed is an integer"),
    (lambda m: m.generate(label=["cat"]), OptionError, "label", "label=['cat']: input should be a valid string"),
    (
        lambda m: m.generate(label=""),
        OptionError,
        "label",
        "label='': the model has no such label. Labels: cat, dog, 7.",
    ),
    (
        lambda m: m.generate(truncation="0.5"),
        OptionError,
        "truncation",
        "truncation='0.5': input should be a valid number",
    ),
    (lambda m: m.latents(10**9), OptionError, "n", "give an integer from 1 to 100,000"),
    (lambda m: m.decode(None, 0), InputError, "latents", "latents are no array of numbers"),
    (lambda m: m.decode([[1.0], [2.0, 3.0]], 0), InputError, "latents", "latents are no array of numbers"),
    (lambda m: m.decode(LATENTS[0], 0), InputError, "latents", "the shape (6,); give n x 6, as `latents(n)` does"),
    (lambda m: m.decode(LATENTS[:0], 0), InputError, "latents", "the shape (0, 6)"),
    (lambda m: m.decode(LATENTS.astype(complex), 0), InputError, "latents", "no array of numbers"),
    (lambda m: m.decode(LATENTS, 0.5), OptionError, "label", "label=0.5: the model has no such label"),
    (lambda m: m.decode(LATENTS, np.array([0, 5])), OptionError, "label", "5"),
    (lambda m: m.interpolate(-1, 2), OptionError, "seed", "seed=-1"),
    (lambda m: m.interpolate(1, 2, steps=True), OptionError, "steps", "steps=True: give an integer from 1"),
    (lambda m: m.interpolate(1, 2, truncation=-1.0), OptionError, "truncation", "greater than 0"),
    (lambda m: m.directions("two"), OptionError, "k", "k='two': give an integer from 1 to 6"),
    (lambda m: m.project([WHITE, WHITE]), DataError, "image", "image is a list; pass one aigc_sdk.Image"),
    (lambda m: m.project(None), DataError, "image", "image is a NoneType"),
    (lambda m: m.project(WHITE, label="bird"), OptionError, "label", "'bird': the model has no such label"),
    (lambda m: m.project(WHITE, seed=-3), OptionError, "seed", "seed=-3"),
    (lambda m: m.project(WHITE, steps=10**9), OptionError, "steps", "from 1 to 100,000"),
    (lambda m: m.to("gpu"), DeviceError, None, "use 'auto', 'cpu', 'cuda'"),
    (lambda m: m.open("/no/such/folder"), NotAModel, None, "there is no folder /no/such/folder"),
    (lambda m: m.open(Judge.default), CorruptFolder, None, "describes no networks of a GAN"),
]


@pytest.mark.parametrize(("call", "kind", "field", "words"), GENERATE)
def test_a_bad_call_of_a_model_is_refused(
    model: GAN, call: Callable[[GAN], Any], kind: type[AigcError], field: str | None, words: str
) -> None:
    refused(lambda: call(model), kind, field, words)


def train(data: Any = PAIR, trainer: GANTrainer | None = None, **options: Any) -> Any:
    return (trainer or tiny()).steps(data, **{"max_steps": 1, "batch_size": 4, **options})


TRAIN: list[tuple[Callable[[], Any], type[AigcError], str, str]] = [
    (lambda: train(None), DataError, "data", "data is None; pass what to train on"),
    (lambda: train((PIXELS, ["a"] * 12)), DataError, "data", "data has one label ('a'), the model was made for 3"),
    (lambda: train((PIXELS / np.nan, LABELS)), DataError, "data", "data[0] has pixels that are NaN or infinite"),
    (lambda: train((PIXELS.astype(np.float32), LABELS)), DataError, "data", "divide by 255"),
    (lambda: train((PIXELS.astype(np.int64), LABELS)), DataError, "data", "data[0] holds int64; give uint8"),
    (lambda: train((np.zeros((12, 3, 8, 8), np.uint8), LABELS)), DataError, "data", "np.moveaxis(array, -3, -1)"),
    (lambda: train((np.zeros((12, 8, 8, 4), np.uint8), LABELS)), DataError, "data", "array[..., :3]"),
    (lambda: train((PIXELS, [0.5] * 12)), DataError, "data", "the label of data[0] is 0.5, a float; give an integer"),
    (lambda: train((PIXELS, np.eye(12))), DataError, "data", "for rows of scores give their argmax(1)"),
    (lambda: train((PIXELS, ["a", 1] * 6)), DataError, "data", "are strings and integers; give either"),
    (lambda: train((PIXELS, [*LABELS[:-1], None])), DataError, "data", "the label of data[11] is None"),
    (lambda: train(WHITE), DataError, "data", "pass a list of them"),
    (lambda: train({"train": PIXELS}), DataError, "data", "pass one of its parts, such as data['train']"),
    (lambda: train([WHITE, DIGIT], own(Wide())), DataError, "data", "of 8 x 8 pixels and data[1] of 16 x 16"),
    (lambda: train([WHITE], own(Wide())), DataError, "data", "data has pictures of 8x8, the networks make 4x1"),
    (lambda: train(validation=(PIXELS, ["x"] * 12)), DataError, "validation", "validation has one label ('x')"),
    (lambda: train(max_steps=1.0), OptionError, "max_steps", "max_steps=1.0: give an integer"),
    (
        lambda: train(batch_size=0),
        OptionError,
        "batch_size",
        "batch_size=0: input should be greater than or equal to 1",
    ),
    (lambda: train(betas=(0.5, 1.0)), OptionError, "betas", "betas=1.0: input should be less than 1"),
    (lambda: train(ema_decay=1.0), OptionError, "ema_decay", "ema_decay=1.0: input should be less than 1"),
    (lambda: train(weight_clip=0.0), OptionError, "weight_clip", "weight_clip=0.0: input should be greater than 0"),
    (lambda: train(lazy=0), OptionError, "lazy", "lazy=0"),
    (lambda: train(precision="fp16"), OptionError, "precision", "'auto', 'float32' or 'bfloat16'"),
    (lambda: train(outside="white"), OptionError, "outside", "'mirror' or 'black'"),
    (lambda: train(seed=-1), OptionError, "seed", "seed=-1"),
    (lambda: train(evaluate_every=1), OptionError, "evaluate_every", "pass validation="),
    (lambda: train(preview_every=1), OptionError, "preview_every", "needs a folder to write to; pass save_to="),
    (lambda: list(train(validation=PAIR, best="fid")), OptionError, "best", "there are: loss, sliced_wasserstein"),
    (lambda: train(PIXELS, own(Painter())), InputError, "generator", "Painter has no weights that can be trained"),
    (lambda: tiny(size=4), OptionError, "size", "size=4: input should be 8, 16, 32, 64 or 128"),
    (lambda: tiny(classes=1), OptionError, "classes", "classes=1: one label tells nothing; use 0"),
    (lambda: tiny(architecture="stylegan"), OptionError, "architecture", "'dcgan' or 'resnet'"),
    (lambda: tiny(init="xavier"), OptionError, "init", "'default' or 'orthogonal'"),
    (lambda: tiny(sise=8), OptionError, "sise", "Did you mean 'size'?"),
]


@pytest.mark.parametrize(("call", "kind", "field", "words"), TRAIN)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_bad_call_of_a_trainer_is_refused(
    call: Callable[[], Any], kind: type[AigcError], field: str, words: str
) -> None:
    refused(call, kind, field, words)


def test_a_picture_that_cannot_be_read_is_refused_by_its_file_or_skipped_as_asked(tmp_path: Path) -> None:
    WHITE.save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG and no more")
    refused(lambda: train(tmp_path, tiny(classes=0)), DataError, "data", "broken.png: it cannot be read")
    assert len(list(train(tmp_path, tiny(classes=0), corrupt="skip"))) == 1


def test_a_generator_that_makes_no_finite_pixels_is_named_by_what_it_makes() -> None:
    network = Learner()
    model = GAN(network, latent=4)
    network.scale.data.fill_(torch.nan)
    refused(lambda: model.generate(seed=0), InputError, "tensor", "pixels that are not finite")


JUDGED: list[tuple[Callable[[Judge], Any], type[AigcError], str, str]] = [
    (lambda j: j.evaluate([]), DataError, "samples", "there are no samples to evaluate; pass at least one"),
    (lambda j: j.evaluate(DIGIT), DataError, "samples", "samples is one sample; pass a list of them"),
    (lambda j: j.evaluate([DIGIT], ["0", "1"]), DataError, "references", "2 references for 1 samples; pass one each"),
    (lambda j: j.evaluate([DIGIT], [None]), DataError, "references", "references[0] is None"),
    (lambda j: j.evaluate([DIGIT], batch_size=0), OptionError, "batch_size", "greater than or equal to 1"),
    (lambda j: j.evaluate([DIGIT], fid=True), OptionError, "fid", "Judge has no option 'fid'. Options: batch_size."),
    (lambda j: j.open(dtype="bfloat16"), OptionError, "dtype", "use one of float32"),
    (lambda j: j.trained(PAIR, PAIR, size=0), OptionError, "size", "size=0: give pixels from 1"),
    (lambda j: j.trained(PAIR, PAIR, size=4), DataError, "data", "4x4; the judge halves them three times: give size=8"),
    (lambda j: j.trained(PAIR, PAIR, size=8, epochs=0), OptionError, "epochs", "epochs=0: give an integer from 1 on"),
    (
        lambda j: j.trained((PIXELS, [0] * 12), (PIXELS, [0] * 12), size=8),
        DataError,
        "data",
        "data has one label; a judge tells at least two apart",
    ),
    (lambda j: j.trained(PAIR, (PIXELS, [0] * 12), size=8), DataError, "reference", "the same in data and reference"),
]


@pytest.mark.parametrize(("call", "kind", "field", "words"), JUDGED)
def test_a_bad_call_of_a_judge_is_refused(
    judge: Judge, call: Callable[[Judge], Any], kind: type[AigcError], field: str, words: str
) -> None:
    refused(lambda: call(judge), kind, field, words)

"""The evaluator: a small classifier that no generator has seen, and what it makes of generated pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk import runtime
from aigc_sdk.artifacts import Image
from aigc_sdk.distances import Moments, frechet, within_label_distance
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk.judges import ClassifierEvaluator
from aigc_sdk.protocols import Device, Exam, Options, OptionsClass, Report, Score, Step
from aigc_sdk.training import order
from aigc_sdk.training.images import Augmentation, Pictures, augmented, pictures, to_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = 64
SMALLEST = 8  # pixels that can be halved three times
ENOUGH = 2 * FEATURES  # samples; a covariance of fewer says too little
BATCH = 64
# Of its training pictures, for digits of 16 pixels.
MOVES = Augmentation.parse("judge", {"rotate": 10.0, "zoom": 0.1, "shift": 0.7, "outside": "black"})


class JudgeOptions(Options):
    """How samples are judged."""

    batch_size: int = Field(256, ge=1, le=1 << 20, description="pictures at a time")


class JudgeNetwork(nn.Module):
    """Convolutions at three resolutions, 64 features, and a score per label; and the moments of its reference."""

    mean: Tensor
    covariance: Tensor
    within: Tensor

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((channels, 32), (32, 64), (64, 96)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2))
        self.features = nn.Sequential(nn.Linear(96 * 4, FEATURES), nn.ReLU())
        self.scores = nn.Linear(FEATURES, classes)
        self.register_buffer("mean", torch.zeros(FEATURES))  # of the reference pictures' features
        self.register_buffer("covariance", torch.zeros(FEATURES, FEATURES))
        self.register_buffer("within", torch.zeros(classes))  # mean distance of two pictures of a label

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(self.body(images))  # (n, 64)
        return features, self.scores(features)  # (n, classes)


class Judge(ClassifierEvaluator):
    """Class accuracy, Fréchet distance and variety of pictures, by an independent classifier.

        judge = aigc_sdk.evaluator("gan")  # of digits at 16 pixels
        report = judge.evaluate(aigc_sdk.load("gan").generate(n=1000, seed=0))
        judge = Judge.trained(pictures, held_out, size=32)  # of your own pictures, which need labels

    `references` are the labels that the samples should have; without them, those in each sample's `info["label"]`.
    Scores: `coverage`, the part of the labels that are seen among the samples; `accuracy`, the part of the samples that
    the judge takes for their label; `variety`, the mean distance between two samples of a label as part of the
    references'; `frechet_distance[judge]` between the judge's features of the samples and of its reference pictures,
    from 128 samples on. The distance is that of this judge, and no FID: compare
    it with the floor that its protocol tells, the distance of the judge's own training pictures from the reference.
    """

    Options: ClassVar[OptionsClass] = JudgeOptions
    backend = "gan"
    default = Path(__file__).parent / "judge"

    @staticmethod
    def new_network(channels: int, labels: int) -> JudgeNetwork:
        return JudgeNetwork(channels, labels)

    @classmethod
    def trained(
        cls, data: Any, reference: Any, *, size: int, epochs: int = 20, seed: int = 0, device: Device = "auto"
    ) -> Self:
        """Train a judge on labelled pictures, and let it remember the `reference`: labelled pictures that it has not seen.

        data, reference: what `aigc_sdk.training.images.pictures` reads. Raises DataError.
        """
        place = runtime.device(device)
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
            raise OptionError(f"epochs={epochs!r}: give an integer from 1 on", field="epochs")
        shown = pictures(data, size=size)
        channels = cast(Any, shown.pixels.shape[3])
        held = pictures(reference, size=size, channels=channels, name="reference")
        for name, each in (("data", shown), ("reference", held)):
            if each.labels is None or each.names != shown.names:
                raise DataError(f"{name} needs labels, the same in data and reference", field=name)
        if len(shown.names) < 2:
            raise DataError("data has one label; a judge tells at least two apart", field="data")
        if min(shown.pixels.shape[1:3]) < SMALLEST:
            height, width = shown.pixels.shape[1:3]
            raise DataError(
                f"data has pictures of {width}x{height}; the judge halves them three times: give size={SMALLEST} or more",
                field="data",
            )
        with runtime.LentState(seed, place):
            network = JudgeNetwork(channels, len(shown.names)).to(place)
            _train(network, shown, epochs, seed, place)
        judge = cls(network, {"labels": list(shown.names)}, device=place)
        judge._remember(shown, held)
        return judge

    def run(self, exam: Exam) -> Report:
        images = [_image(sample, index, self.facts["size"]) for index, sample in enumerate(exam.samples)]
        labels = self._expected(exam)
        channels = self.facts["channels"]
        pixels = pictures(images, channels=channels, name="samples").pixels
        features, scores = self._judged(pixels, exam)
        guesses = scores.argmax(1)
        chances = np.exp(scores - scores.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        rows = [
            {
                "label": self.labels[guess],
                "probability": float(chance[guess]),
                "expected": None if labels is None else self.labels[labels[index]],
            }
            for index, (guess, chance) in enumerate(zip(guesses, chances, strict=True))
        ]
        return Report(dict(self._scores(pixels, features, guesses, labels)), rows)

    def _scores(
        self,
        pixels: NDArray[np.uint8],
        features: NDArray[Any],
        guesses: NDArray[np.int64],
        labels: NDArray[np.int64] | None,
    ) -> Iterator[tuple[str, Score]]:
        n, facts = len(pixels), self.facts
        judge = (
            f"judge {facts['fingerprint'][:12]}: {facts['size']}x{facts['size']}x{facts['channels']}, trained on "
            f"{facts['trained_on']:,} pictures, accuracy {facts['accuracy']:.3f} on its {facts['reference']:,} reference "
            "pictures; samples not resized"
        )
        seen = float(len(np.unique(guesses)) / len(self.labels))
        yield (
            "coverage",
            Score(seen, n, f"part of the labels that are seen among the samples; {judge}", higher_is_better=True),
        )
        if labels is not None:
            right = float((guesses == labels).mean())
            yield "accuracy", Score(right, n, f"part taken for its label; {judge}", higher_is_better=True)
            parts = within_label_distance(pixels, labels)
            if parts:
                variety = float(np.mean([parts[each] / float(self.network.within[each]) for each in parts]))
                protocol = (
                    f"distance of two samples of a label, of the references'; mean over {len(parts)} labels; {judge}"
                )
                yield "variety", Score(variety, n, protocol, higher_is_better=True)
        if n >= ENOUGH:
            reference = Moments(*(each.double().cpu().numpy() for each in (self.network.mean, self.network.covariance)))
            protocol = (
                f"on {FEATURES} features of the judge, floor {facts['floor']:.3f} (its training pictures); {judge}"
            )
            value = frechet(Moments.of(features), reference)
            yield "frechet_distance[judge]", Score(value, n, protocol, higher_is_better=False)

    def _expected(self, exam: Exam) -> NDArray[np.int64] | None:
        """The label that each sample should have; None where nobody says."""
        given: Sequence[Any] = exam.references or [each.info.get("label") for each in exam.samples]
        if exam.references is None and None in given:
            return None
        names = [str(each) for each in given]
        for index, name in enumerate(names):
            if name not in self.labels:
                raise DataError(
                    f"references[{index}] is {given[index]!r}, which the judge does not know; it knows "
                    f"{', '.join(self.labels[:20])}",
                    field="references",
                )
        return np.array([self.labels.index(name) for name in names])

    def _judged(self, pixels: NDArray[np.uint8], exam: Exam | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
        """Features n x 64, and scores n x labels."""
        self.network.eval()
        size = exam.options.batch_size if exam else 256
        features, scores = [], []
        for start in range(0, len(pixels), size):
            with torch.no_grad():
                some = self.network(to_tensor(pixels[start : start + size]).to(self.device))
            features.append(some[0].cpu().numpy())
            scores.append(some[1].cpu().numpy())
            if exam:
                exam.on_step(Step(min(start + size, len(pixels)), len(pixels)))
        return np.concatenate(features), np.concatenate(scores)

    @torch.no_grad()
    def _remember(self, shown: Pictures, held: Pictures) -> None:
        """Keep the moments of the reference, and how good the judge is."""
        labels = cast("NDArray[np.int64]", held.labels)
        features, scores = self._judged(held.pixels)
        reference, training = Moments.of(features), Moments.of(self._judged(shown.pixels)[0])
        self.network.mean.copy_(torch.from_numpy(reference.mean))
        self.network.covariance.copy_(torch.from_numpy(reference.covariance))
        for label, distance in within_label_distance(held.pixels, labels).items():
            self.network.within[label] = distance
        self.facts |= {
            "size": int(held.pixels.shape[1]),
            "channels": int(held.pixels.shape[3]),
            "trained_on": len(shown.pixels),
            "reference": len(held.pixels),
            "accuracy": float((scores.argmax(1) == labels).mean()),
            "floor": frechet(training, reference),
            "fingerprint": runtime.fingerprint(self.network),
        }


def _train(network: JudgeNetwork, shown: Pictures, epochs: int, seed: int, device: str) -> None:
    """AdamW with a rate that falls to 0, on moved pictures and smoothed labels."""
    n, labels = len(shown.pixels), cast("NDArray[np.int64]", shown.labels)
    steps = max(1, epochs * n // BATCH)
    adam = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05, fused=True)
    falling = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, steps)
    network.train()
    for step in range(steps):
        rows = order.rows(seed, n, step * BATCH, BATCH)
        images = augmented(to_tensor(shown.pixels[rows]).to(device), MOVES)
        _, scores = network(images)
        loss = F.cross_entropy(scores, torch.from_numpy(labels[rows]).to(device), label_smoothing=0.05)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        falling.step()


def _image(sample: Any, index: int, size: int) -> Image:
    if not isinstance(sample, Image):
        raise DataError(f"samples[{index}] is a {type(sample).__name__}; this judge is for Image", field="samples")
    if sample.pixels.shape[:2] != (size, size):
        height, width = sample.pixels.shape[:2]
        raise DataError(
            f"samples[{index}] is {width}x{height}, the judge is for {size}x{size}; resize it, or train a judge of that size",
            field="samples",
        )
    return sample

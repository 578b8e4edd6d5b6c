"""Figures of generated digits by a judge of its own: a small classifier that no generator has seen.

`python -m aigc_sdk_vae.judge [FOLDER]` trains the judge, and prints what it says of a model (None: the default one), beside
the same figures of real pictures.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aigc_sdk.artifacts import Image
from aigc_sdk.distances import Moments, frechet
from aigc_sdk.runtime import LentState
from aigc_sdk.training import order
from aigc_sdk.training.images import Augmentation, augmented, pictures, to_tensor

from .model import VAE

SIZE = 16
PER_LABEL = 100  # pictures that are generated of each digit
EPOCHS, BATCH = 12, 64
MOVES = {"rotate": 10.0, "zoom": 0.1, "shift": 0.7}  # of its training pictures
FEATURES = 64


@dataclass(frozen=True)
class Figures:
    """What the judge says of pictures with known labels."""

    accuracy: float
    """The part that it recognises."""
    distance: float
    """The Frechet distance in the judge's features from the test split. It compares with no FID of another judge."""
    spread: float
    """The mean distance of two pictures of a label, pixel by pixel, as part of the test split's."""
    novelty: float
    """The mean distance to the nearest training picture, as part of the test split's: 0 for copies."""

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.4f}  distance {self.distance:.2f}  spread {self.spread:.2f}  novelty {self.novelty:.2f}"


class Classifier(nn.Module):
    """Convolutions at three resolutions, 64 features, and a score per label."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 32), (32, 64), (64, 96)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(96 * 4, FEATURES), nn.ReLU())
        self.scores = nn.Linear(FEATURES, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.scores(self.features(pixels)))


class Judge:
    """A classifier trained on "digits/train", and the test split that generated pictures are compared with."""

    def __init__(self, seed: int = 0) -> None:
        self.classifier = _trained(seed)
        self.real, self.labels = _digits("digits/test")
        self.known, _ = _digits("digits/train")

    def figures(self, pixels: Tensor, labels: Tensor) -> Figures:
        """Of pictures (n, 1, 16, 16) in [-1, 1] and their digits (n,)."""
        with torch.no_grad():
            accuracy = float((self.classifier(pixels).argmax(1) == labels).double().mean())
            features, real = self.classifier.features(pixels), self.classifier.features(self.real)
        spread = _spread(pixels, labels) / _spread(self.real, self.labels)
        novelty = _nearest(pixels, self.known) / _nearest(self.real, self.known)
        distance = frechet(Moments.of(features.numpy()), Moments.of(real.numpy()))
        return Figures(accuracy, distance, spread, novelty)

    def of(self, model: VAE, *, seed: int = 0, per_label: int = PER_LABEL) -> Figures:
        """Of as many generated pictures of each digit."""
        images: list[Image] = []
        for digit in range(10):
            images += model.generate(n=per_label, label=digit, seed=seed + digit * per_label)
        pixels = to_tensor(np.stack([each.pixels[..., :1] for each in images]))
        return self.figures(pixels, torch.arange(10).repeat_interleave(per_label))


def _trained(seed: int) -> Classifier:
    pixels, labels = _digits("digits/train")
    moves = Augmentation.parse("judge", MOVES)
    with LentState(seed):
        classifier = Classifier()
        adam = torch.optim.AdamW(classifier.parameters(), 2e-3, weight_decay=0.05, fused=True)
        for step in range(EPOCHS * len(pixels) // BATCH):
            rows = order.rows(seed, len(pixels), step * BATCH, BATCH)
            scores = classifier(augmented(pixels[rows], moves))
            F.cross_entropy(scores, labels[rows], label_smoothing=0.05).backward()  # type: ignore[no-untyped-call]
            adam.step()
            adam.zero_grad()
    return classifier.eval()


def _digits(name: str) -> tuple[Tensor, Tensor]:
    found = pictures(name, size=SIZE, channels=1)
    assert found.labels is not None
    return to_tensor(found.pixels), torch.from_numpy(found.labels)


def _spread(pixels: Tensor, labels: Tensor) -> float:
    """The mean distance of two different pictures of a label, over the labels."""
    each = [pixels[labels == label].flatten(1) for label in range(10)]
    return float(torch.stack([torch.cdist(some, some).sum() / (len(some) * (len(some) - 1)) for some in each]).mean())


def _nearest(pixels: Tensor, known: Tensor) -> float:
    """The mean distance to the nearest of the known pictures."""
    return float(torch.cdist(pixels.flatten(1), known.flatten(1)).min(1).values.mean())


def main() -> None:
    """Print figures of real pictures, and of a model."""
    parser = argparse.ArgumentParser(description="Figures of generated digits.")
    parser.add_argument("folder", nargs="?", help="the model; none: the default one")
    arguments = parser.parse_args()
    judge = Judge()
    print(f"test split:     {judge.figures(judge.real, judge.labels)}")
    print(f"training split: {judge.figures(*_digits('digits/train'))}")
    print(f"model:          {judge.of(VAE.open(arguments.folder, device='cpu'))}")


if __name__ == "__main__":
    main()

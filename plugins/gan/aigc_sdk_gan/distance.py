"""How far two sets of pictures, or of features, are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLICES = 128  # random directions


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and covariance (d, d) of features."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[Any]) -> Self:
        """The moments of features, n x d."""
        precise = features.astype(np.float64)
        return cls(precise.mean(0), np.cov(precise, rowvar=False))


def sliced_wasserstein(first: NDArray[np.uint8], second: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> float:
    """The sliced Wasserstein-1 distance of two sets of pictures, n x h x w x c (Rabin et al. 2011).

    The mean over random directions of the distance between the sets' projections, each the mean gap between the
    sorted numbers, with pixels from -1 to 1. labels: of both sets alike; each label is compared apart, and counts by its
    pictures.
    """
    groups = np.zeros(len(first), np.int64) if labels is None else labels
    rng = np.random.default_rng(0)
    slices = rng.standard_normal((int(np.prod(first.shape[1:])), SLICES))
    slices /= np.linalg.norm(slices, axis=0)
    total = 0.0
    for group in np.unique(groups):
        a, b = (_projected(each[groups == group], slices) for each in (first, second))
        total += float(np.abs(a - b).mean()) * int((groups == group).sum())
    return total / len(first)


def _projected(images: NDArray[np.uint8], slices: NDArray[np.float64]) -> NDArray[np.float64]:
    points = images.reshape(len(images), -1) / 127.5 - 1  # (n, pixels)
    return np.sort(points @ slices, axis=0)  # (n, slices)


def frechet(first: Moments, second: Moments) -> float:
    """The Fréchet distance of two normal distributions, squared as is usual (Heusel et al. 2017).

    |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)), with the root's trace from the symmetric C1^(1/2) C2 C1^(1/2).
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second.covariance @ root).clip(0)).sum()
    apart = np.square(first.mean - second.mean).sum()
    return float(apart + np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared)


def within_label_distance(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[int, float]:
    """For each label with at least two pictures: the mean distance between two of them, pixels from -1 to 1."""
    found = {}
    for label in np.unique(labels):
        points = images[labels == label].reshape(int((labels == label).sum()), -1) / 127.5 - 1
        if len(points) < 2:
            continue
        squared = np.square(points).sum(1)
        apart = np.sqrt((squared[:, None] + squared - 2 * points @ points.T).clip(0))
        np.fill_diagonal(apart, 0)  # rounding leaves a little
        found[int(label)] = float(apart.sum() / (len(points) * (len(points) - 1)))
    return found

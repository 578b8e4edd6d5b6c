"""How far sets of features, and of pictures, are apart: what judges of generated pictures and films share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def frechet(first: Moments, second: Moments) -> float:
    """The Fréchet distance of two normal distributions, squared as is usual (Heusel et al. 2017).

    |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)), with the root's trace from the symmetric C1^(1/2) C2 C1^(1/2).
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second.covariance @ root).clip(0)).sum()
    apart = np.square(first.mean - second.mean).sum()
    return float(apart + np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared)


def within_label_distance(
    pictures: NDArray[np.uint8], labels: NDArray[np.int64], *, span: float = 2
) -> dict[int, float]:
    """For each label with at least two pictures: the mean distance between two of them.

    span: from black to white; 2 where pixels go from -1 to 1.
    """
    found = {}
    for label in np.unique(labels):
        points = pictures[labels == label].reshape(int((labels == label).sum()), -1) * (span / 255)
        if len(points) < 2:
            continue
        squared = np.square(points).sum(1)
        apart = np.sqrt((squared[:, None] + squared - 2 * points @ points.T).clip(0))
        np.fill_diagonal(apart, 0)  # rounding leaves a little
        found[int(label)] = float(apart.sum() / (len(points) * (len(points) - 1)))
    return found

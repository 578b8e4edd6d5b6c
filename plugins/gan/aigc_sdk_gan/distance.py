"""How far two sets of pictures are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLICES = 128  # random directions


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

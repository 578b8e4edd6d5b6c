"""How like two pictures are: PSNR, SSIM (Wang et al. 2004), and the distance of a network's layers (Zhang et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Pixels = NDArray[np.uint8]

PEAK = 255.0
SAME = 100.0  # decibels that equal pictures count for, whose PSNR is infinite
WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian
K1, K2 = 0.01, 0.03
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
TINY = 1e-10  # added to the length of a layer's vector, as in the paper's code

PSNR_PROTOCOL = "10 log10(255^2 / mean squared error over RGB) in dB, at most 100 dB, mean over pictures"
SSIM_PROTOCOL = (
    "of luma (BT.601), Gaussian window 11x11 sigma 1.5, K1 0.01, K2 0.03, range 255, where the window fits, not scaled down; "
    "mean over pictures"
)


def psnr(first: Pixels, second: Pixels) -> float:
    """Peak signal to noise ratio in dB of two pictures of one shape; 100 at most, which equal ones have."""
    error = float(np.square(first.astype(np.float64) - second).mean())
    return SAME if error == 0 else min(SAME, 10 * float(np.log10(PEAK**2 / error)))


def ssim(first: Pixels, second: Pixels) -> float:
    """Structural similarity, at most 1, of two pictures h x w x 3 of 11 x 11 pixels or more."""
    one, other = first @ LUMA, second @ LUMA  # (h, w)
    mean, its = smoothed(one), smoothed(other)
    variance, of_other = smoothed(one * one) - mean * mean, smoothed(other * other) - its * its
    together = smoothed(one * other) - mean * its
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    above = (2 * mean * its + c1) * (2 * together + c2)
    below = (mean * mean + its * its + c1) * (variance + of_other + c2)
    return float((above / below).mean())


def smoothed(plane: Floats) -> Floats:
    """The Gaussian mean around every pixel that has all of its window: (h, w) to (h - 10, w - 10)."""
    places = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (places / SIGMA) ** 2)
    weights /= weights.sum()
    down, across = plane.shape[0] - WINDOW + 1, plane.shape[1] - WINDOW + 1
    rows = sum(weight * plane[place : place + down] for place, weight in enumerate(weights))
    return np.asarray(sum(weight * rows[:, place : place + across] for place, weight in enumerate(weights)))


def layer_distance(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> Floats:
    """LPIPS without learned weights, (n,): of layers (n, c, positions...) each, the sum over layers.

    Vectors are brought to length 1 at every position; their squared distance is averaged over positions.
    """
    total: Floats = np.zeros(len(first[0]))
    for one, other in zip(first, second, strict=True):
        apart = np.square(_unit(one) - _unit(other)).sum(1)  # (n, positions...)
        total += apart.reshape(len(total), -1).mean(1)
    return total


def _unit(layer: NDArray[Any]) -> Floats:
    precise = layer.astype(np.float64)
    return np.asarray(precise / (np.sqrt(np.square(precise).sum(1, keepdims=True)) + TINY))

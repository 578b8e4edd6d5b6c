"""PSNR, SSIM and the distance of layers, beside scipy's filters and formulas written out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from aigc_sdk_metrics.similarity import layer_distance, psnr, ssim

Pixels = NDArray[np.uint8]


def picture(seed: int, height: int = 24, width: int = 31) -> Pixels:
    """Waves with noise, so that windows differ."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width]
    waves = 120 + 70 * np.sin(down / 3 + seed) * np.cos(across / 4)
    return (waves[..., None] + rng.normal(0, 15, (height, width, 3))).clip(0, 255).astype(np.uint8)


def test_psnr_is_that_of_the_mean_squared_error() -> None:
    first, second = picture(0), picture(1)
    error = np.mean((first.astype(float) - second.astype(float)) ** 2)
    assert psnr(first, second) == pytest.approx(20 * np.log10(255 / np.sqrt(error)), rel=1e-12)
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert psnr(black, white) == 0
    assert psnr(black, black) == 100
    one_off = black.copy()
    one_off[0, 0, 0] = 1
    assert psnr(black, one_off) == pytest.approx(20 * np.log10(255) + 10 * np.log10(48))


def test_ssim_is_that_of_gaussian_filters() -> None:
    filters = pytest.importorskip("scipy.ndimage")
    luma = np.array([0.299, 0.587, 0.114])

    def mean(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        made: NDArray[np.float64] = filters.gaussian_filter(plane, 1.5, radius=5)[5:-5, 5:-5]
        return made

    for seed in range(5):
        x, y = picture(seed) @ luma, picture(seed + 1) @ luma
        mx, my = mean(x), mean(y)
        vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        expected = ((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
        assert ssim(picture(seed), picture(seed + 1)) == pytest.approx(expected, rel=1e-9)


def test_ssim_of_the_same_is_one_and_falls_with_noise() -> None:
    clean = picture(3)
    rng = np.random.default_rng(0)
    noisy = [(clean + rng.normal(0, level, clean.shape)).clip(0, 255).astype(np.uint8) for level in (0, 10, 40)]
    values = [ssim(clean, each) for each in noisy]
    assert values[0] == pytest.approx(1, abs=1e-12) or values[0] > 0.99  # rounding to bytes alone
    assert ssim(clean, clean) == pytest.approx(1, abs=1e-12)
    assert values[0] > values[1] > values[2]


def test_ssim_of_the_smallest_picture_is_of_one_window() -> None:
    first, second = picture(0, 11, 11), picture(1, 11, 11)
    assert -1 <= ssim(first, second) <= 1


def test_the_distance_of_layers_is_that_of_unit_vectors() -> None:
    rng = np.random.default_rng(0)
    first = [rng.standard_normal((2, 4, 3, 5)), rng.standard_normal((2, 7, 6))]
    second = [rng.standard_normal((2, 4, 3, 5)), rng.standard_normal((2, 7, 6))]
    expected = np.zeros(2)
    for n in range(2):
        for one, other in zip(first, second, strict=True):
            a, b = one[n].reshape(len(one[n]), -1).T, other[n].reshape(len(other[n]), -1).T  # (positions, c)
            a, b = a / np.linalg.norm(a, axis=1)[:, None], b / np.linalg.norm(b, axis=1)[:, None]
            expected[n] += ((a - b) ** 2).sum(1).mean()
    np.testing.assert_allclose(layer_distance(first, second), expected, rtol=1e-6)
    np.testing.assert_allclose(layer_distance(first, first), 0, atol=1e-12)
    doubled = [2 * each for each in first]  # only directions count
    np.testing.assert_allclose(layer_distance(first, doubled), 0, atol=1e-12)

"""Pictures: against Pillow, scipy and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from PIL import ImageEnhance, ImageFilter
from scipy import ndimage, signal

import aigc_sdk
from aigc_sdk import Image
from aigc_sdk.errors import InputError
from aigc_sdk_process.finish import image

RNG = np.random.default_rng(0)
NOISE = Image(RNG.integers(0, 256, (24, 32, 3), np.uint8))
SMOOTH = Image(np.rint(ndimage.gaussian_filter(RNG.uniform(0, 255, (48, 64, 3)), (6, 6, 0)) * 3 % 256).astype(np.uint8))


def levels(one: Image, other: Any) -> NDArray[np.int64]:
    wanted = np.asarray(other.pixels if isinstance(other, Image) else other)
    return np.abs(one.pixels.astype(np.int64) - wanted.astype(np.int64))


def psnr(one: Image, other: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean(levels(one, other) ** 2)))


@pytest.mark.parametrize("radius", [1, 2])
def test_the_median_is_pillows(radius: int) -> None:
    wanted = np.asarray(NOISE.to_pil().filter(ImageFilter.MedianFilter(2 * radius + 1)))
    inside = slice(radius, -radius)
    assert not levels(image.denoise(NOISE, radius=radius), wanted)[inside, inside].any()


def test_both_ways_take_noise_away_and_the_bilateral_one_keeps_an_edge() -> None:
    clean = np.zeros((40, 40, 3), np.uint8) + 60
    clean[:, 20:] = 200
    noisy = Image((clean + RNG.normal(0, 12, clean.shape)).clip(0, 255).astype(np.uint8))
    specks = clean.copy()
    specks[RNG.random(clean.shape[:2]) < 0.05] = 255
    assert psnr(image.denoise(Image(specks)), Image(clean)) > psnr(Image(specks), Image(clean)) + 12
    bilateral = image.denoise(noisy, method="bilateral", radius=3, strength=50)
    assert psnr(bilateral, Image(clean)) > psnr(noisy, Image(clean)) + 8
    assert psnr(bilateral, Image(clean)) > psnr(image.blur(noisy, 1.5), Image(clean))


@pytest.mark.parametrize("radius", [0.8, 2.0, 4.0])
def test_blur_is_a_gaussian_beside_a_direct_convolution_and_near_pillows(radius: int) -> None:
    reach = round(4 * radius) + 1
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    padded = np.pad(SMOOTH.pixels.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    direct = np.stack([signal.convolve2d(padded[..., each], kernel, "valid") for each in range(3)], axis=-1)
    made = image.blur(SMOOTH, radius)
    assert levels(made, np.rint(direct)).max() <= 1
    pillow = np.asarray(SMOOTH.to_pil().filter(ImageFilter.GaussianBlur(radius)))
    assert levels(made, pillow).mean() < 2


def test_sharpening_is_near_pillows_unsharp_mask_and_makes_edges_steeper() -> None:
    made = image.sharpen(SMOOTH, 1.5, radius=2, threshold=3)
    wanted = np.asarray(SMOOTH.to_pil().filter(ImageFilter.UnsharpMask(2, 150, 3)))
    assert levels(made, wanted).mean() < 4
    edges = [
        np.abs(np.diff(each.pixels.astype(float), axis=1)).mean() for each in (made, image.blur(SMOOTH, 1), SMOOTH)
    ]
    assert edges[0] > edges[2] > edges[1]


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7])
def test_contrast_is_pillows(factor: float) -> None:
    wanted = np.asarray(ImageEnhance.Contrast(NOISE.to_pil()).enhance(factor))
    assert levels(image.contrast(NOISE, factor), wanted).max() <= 1


@pytest.mark.parametrize(
    ("kelvin", "x", "y"), [(2856, 0.44757, 0.40745), (4000, 0.3804, 0.3768), (10_000, 0.2806, 0.2883)]
)
def test_grey_takes_the_chromaticity_of_the_black_body(kelvin: float, x: float, y: float) -> None:
    """Illuminant A and the Planckian locus, as tabled."""
    grey = Image(np.full((2, 2, 3), 100, np.uint8))
    encoded = image.colour_temperature(grey, kelvin).pixels[0, 0] / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ linear
    # The gains are relative to the black body of 6,504 K, which lies a little beside the white of sRGB (daylight).
    assert xyz[:2] / xyz.sum() == pytest.approx([x, y], abs=0.008)
    assert xyz[1] == pytest.approx(0.1274, rel=0.02)  # the luminance of the grey


def test_the_temperature_of_daylight_changes_nothing() -> None:
    assert levels(image.colour_temperature(NOISE, 6504), NOISE).max() <= 1


@pytest.mark.parametrize("name", image.FILTERS)
def test_resizing_is_pillows_by_the_filters_name(name: str) -> None:
    wanted = np.asarray(NOISE.to_pil().resize((50, 13), PIL.Image.Resampling[name.upper()]))
    assert np.array_equal(image.resize(NOISE, 50, 13, filter=name).pixels, wanted)


def test_tiles_repeat_and_mirrored_ones_have_no_seam() -> None:
    plain, mirrored = image.tile(NOISE, 3, 2), image.tile(NOISE, 3, 2, mirrored=True)
    assert plain.pixels.shape == mirrored.pixels.shape == (48, 96, 3)
    assert np.array_equal(plain.pixels[24:, 64:], NOISE.pixels)
    assert np.array_equal(mirrored.pixels[:, 31], mirrored.pixels[:, 32])
    assert np.array_equal(mirrored.pixels[23], mirrored.pixels[24])


@pytest.mark.parametrize("corner", image.CORNERS)
def test_a_watermark_stands_in_its_corner(corner: str) -> None:
    base = Image(np.zeros((120, 240, 3), np.uint8))
    rows, columns = np.nonzero(image.watermark(base, "Demo", corner=corner, opacity=1.0, size=16).pixels.max(axis=2))
    middle = (rows.mean() / 120, columns.mean() / 240)
    assert (middle[0] < 0.4, middle[0] > 0.6) == ("top" in corner, "bottom" in corner)
    assert (middle[1] < 0.4, middle[1] > 0.6) == ("left" in corner, "right" in corner)


def test_opacity_is_how_much_covers() -> None:
    base = Image(np.zeros((120, 240, 3), np.uint8))
    brightest = [int(image.watermark(base, "Demo", opacity=each, size=40).pixels.max()) for each in (0.25, 0.5, 1.0)]
    assert brightest == [pytest.approx(64, abs=1), pytest.approx(128, abs=1), 255]


def test_a_model_enlarges() -> None:
    assert image.upscale(NOISE, lambda small: image.resize(small, 64, 48)).pixels.shape == (48, 64, 3)
    for wrong in (lambda small: small, lambda small: image.resize(small, 64, 90)):
        with pytest.raises(InputError, match="an upscaler makes more of the same aspect"):
            image.upscale(NOISE, wrong)
    with pytest.raises(InputError, match="takes no Image as its prompt"):
        image.upscale(NOISE, aigc_sdk.load("vae", device="cpu"))


def test_a_model_tells_the_foreground_from_the_background() -> None:
    picture = np.full((20, 20, 3), 10, np.uint8)
    picture[5:15, 5:15] = (250, 200, 10)

    def bright(found: Image) -> Image:
        return Image(np.where(found.pixels.max(axis=2, keepdims=True) > 128, 255, 0).astype(np.uint8).repeat(3, axis=2))

    made = image.remove_background(Image(picture), bright, background=(0, 0, 255))
    assert made.pixels[0, 0].tolist() == [0, 0, 255]
    assert made.pixels[10, 10].tolist() == [250, 200, 10]
    behind = Image(np.full((20, 20, 3), 77, np.uint8))
    assert image.remove_background(Image(picture), bright, background=behind).pixels[0, 0].tolist() == [77, 77, 77]

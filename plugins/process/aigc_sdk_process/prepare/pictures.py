"""Cleaning pictures: what is too small, too long, blurred or of one colour is left out, with its reason."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic
from pydantic import Field

from aigc_sdk.artifacts import Image
from aigc_sdk.protocols import Options

from .items import Item, Journal, judged

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PictureRules(Options):
    """What a picture must be to stay."""

    min_side: int = Field(1, ge=1, description="fewest pixels of the shorter side")
    max_side: int = Field(100_000, ge=1, description="most pixels of the longer side")
    max_ratio: float = Field(10.0, ge=1, description="longest side by the shortest")
    min_sharpness: float = Field(
        10.0,
        ge=0,
        description="least variance of the Laplacian of its greys, of 0 to 255; blur lowers it, noise raises it",
    )
    min_contrast: float = Field(3.0, ge=0, le=128, description="least standard deviation in any colour, of 0 to 255")

    @pydantic.model_validator(mode="after")
    def _check_sides(self) -> PictureRules:
        if self.min_side > self.max_side:
            raise ValueError(f"min_side={self.min_side} is above max_side={self.max_side}")
        return self


def clean_pictures(items: Iterable[Item], journal: Journal, **rules: Any) -> Iterator[Item]:
    """Pictures without those that are not worth keeping; rules: those of PictureRules.

    The reasons are "too small", "too large", "too long", "solid colour" and "blurred"; corrupt files are named by `read`.
    Raises DataError for what is no picture, OptionError.
    """
    parsed = PictureRules.parse("clean_pictures", rules)
    return judged(items, journal, "image", functools.partial(_fault, rules=parsed))


def sharpness(pixels: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian of the greys (Pech-Pacheco et al. 2000); below 3 x 3 pixels 0."""
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner).var())


def _fault(image: Image, rules: PictureRules) -> tuple[str, str] | None:
    height, width, _ = image.pixels.shape
    short, long = sorted((height, width))
    if short < rules.min_side:
        return "too small", f"{width} x {height} pixels, {rules.min_side} are wanted of the shorter side"
    if long > rules.max_side:
        return "too large", f"{width} x {height} pixels, at most {rules.max_side} may the longer side have"
    if long > rules.max_ratio * short:
        return "too long", f"{width} x {height} pixels, at most {rules.max_ratio:g} to 1 are wanted"
    contrast = float(image.pixels.reshape(-1, 3).std(0).max())
    if contrast < rules.min_contrast:
        return "solid colour", f"colours spread by {contrast:.2f} of 255, at least {rules.min_contrast:g} are wanted"
    measured = sharpness(image.pixels) if rules.min_sharpness else 0.0
    if measured < rules.min_sharpness:
        return "blurred", f"a sharpness of {measured:.1f}, at least {rules.min_sharpness:g} is wanted"
    return None

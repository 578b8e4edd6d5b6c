"""One picture, from whatever holds it, as an array of pixels of the size and the colours that are asked for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from aigc_sdk import media
from aigc_sdk.artifacts import Image
from aigc_sdk.errors import DataError, MediaError

from ._image_sources import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._image_sources import Pixels

LUMA = (19595, 38470, 7471)  # red, green and blue of 65,536: ITU-R 601-2, as Pillow computes it


def load(item: Item, *, size: int | None, channels: int | None, corrupt: str, name: str) -> Pixels | str:
    """The pixels, or why there are none."""
    try:
        pixels = _pixels(item, name)
    except MediaError as error:
        if corrupt == "skip":
            return f"{item.where}: {error}"
        message = f"{item.where}: {error}; repair it, leave it out, or skip all such (corrupt='skip')"
        raise DataError(message, field=name) from error
    return _square(coloured(pixels, channels), size)


def _pixels(item: Item, name: str) -> Pixels:
    picture = item.picture
    if isinstance(picture, MediaError):
        raise picture
    if isinstance(picture, Image):
        picture = picture.pixels
    if isinstance(picture, np.ndarray):
        return _from_array(picture, item.where, name)
    if isinstance(picture, Path | bytes | PIL.Image.Image):
        return media.pixels(picture)
    kind = type(picture).__name__
    message = (
        f"{item.where} is a {kind}; give an aigc_sdk.Image, a Pillow image, an array, or a pair of one and a label"
    )
    raise DataError(message, field=name)


def _from_array(array: NDArray[Any], where: str, name: str) -> Pixels:
    """One picture as uint8, height x width x channels."""
    shaped = array[..., None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3) or not shaped.size:
        remedy = "give height x width [x 1 or 3]"
        if array.ndim == 3 and array.shape[0] in (1, 3):
            remedy = "the channels come last: use np.moveaxis(array, -3, -1)"
        if array.ndim == 3 and array.shape[2] == 4:
            remedy = "leave the fourth channel out: array[..., :3]"
        raise DataError(f"{where} is of shape {array.shape}; {remedy}", field=name)
    if shaped.dtype == np.uint8:
        return shaped
    if not np.issubdtype(shaped.dtype, np.floating):
        message = f"{where} holds {shaped.dtype}; give uint8 from 0 to 255, or floating numbers from 0 to 1"
        raise DataError(message, field=name)
    low, high = float(shaped.min()), float(shaped.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(f"{where} has pixels that are NaN or infinite; repair it or leave it out", field=name)
    if low < 0 or high > 1:
        remedy = "divide by 255" if low >= 0 else "use (array + 1) / 2 if they lie between -1 and 1"
        message = f"{where} has pixels from {low:.4g} to {high:.4g}; floating ones lie between 0 and 1: {remedy}"
        raise DataError(message, field=name)
    scaled: NDArray[np.floating] = np.rint(shaped * 255)
    return scaled.astype(np.uint8)


def coloured(pixels: Pixels, channels: int | None) -> Pixels:
    if channels in (None, pixels.shape[2]):
        return pixels
    if channels == 3:
        return pixels.repeat(3, axis=2)
    greys: NDArray[np.int64] = (pixels @ np.array(LUMA) + 2**15) >> 16
    return greys[..., None].astype(np.uint8, copy=False)


def _square(pixels: Pixels, size: int | None) -> Pixels:
    if size is None or pixels.shape[:2] == (size, size):
        return pixels
    picture = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    fitted = PIL.ImageOps.fit(picture, (size, size), PIL.Image.Resampling.BICUBIC)
    return np.asarray(fitted, np.uint8).reshape(size, size, -1)

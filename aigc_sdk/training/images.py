"""Pictures to train on: from wherever they are into one array, from arrays to tensors and back, and augmented.

Networks work on floats in [-1, 1], n x channels x height x width; arrays are uint8, n x height x width x channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from aigc_sdk._limits import PIXEL_LIMIT
from aigc_sdk.errors import DataError, InputError, OptionError, OutOfMemory, shown
from aigc_sdk.protocols import Options

from ._image_pixels import LUMA, coloured, load
from ._image_sources import Item, Pictures, items

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

__all__ = ["LUMA", "Augmentation", "Pictures", "augmented", "pictures", "to_images", "to_tensor"]

TOGETHER = 256  # pictures that are decoded at a time, so that an endless source is not read ahead


def pictures(
    data: Any,
    *,
    size: int | None = None,
    channels: Literal[1, 3] | None = None,
    corrupt: Literal["refuse", "skip"] = "refuse",
    name: str = "data",
) -> Pictures:
    """Gather pictures from what a user has.

    data: one of
      - "digits": scikit-learn's 1,797 handwritten digits, 8 x 8 in 16 greys; "digits/train" and "digits/test" are a fixed
        shuffled split of 1,200 and 597
      - a folder of png, jpg and webp files. Sub-folders are labels, in the order of their names, and may hold
        further ones. Hidden and other files are left alone; links to files are followed wherever they lead, links to
        folders are not: they count as corrupt
      - an array n x height x width [x channels], uint8, or floating in [0, 1]; or a pair of one and n labels
      - a `datasets.Dataset` with a column of images, and of labels perhaps
      - a list or other iterable of Images, Pillow images or arrays; or of pairs of one and a label
      - Pictures
    size: the side of the square to which the middle of every picture is resized (bicubic); None leaves them as they are.
    channels: 1 for greys, 3 for colours; None for greys if all of them are.
    corrupt: whether a picture that cannot be read is refused, or left out and told in `skipped`.
    name: what the errors call `data`.

    Raises DataError, naming the picture and the remedy; DiskError for a file that may not be read; MissingDependency.
    """
    _check_arguments(size, channels, corrupt)
    waiting, names = items(data, name)
    decode = partial(load, size=size, channels=channels, corrupt=corrupt, name=name)
    kept: list[Item] = []
    skipped: list[str] = []
    try:
        for item, found in _loaded(waiting, decode):
            if isinstance(found, str):
                skipped.append(found)
            else:
                kept.append(replace(item, picture=found))  # lets go of the file's bytes
        if not kept:
            reason = f"all {len(skipped)} pictures are corrupt; {skipped[0]}" if skipped else "it holds no pictures"
            raise DataError(f"{name}: {reason}", field=name)
        pixels = _stacked(kept, name)
    except MemoryError as error:
        raise OutOfMemory(f"{name}: the pictures do not fit in memory; give fewer, or a smaller size") from error
    labels, names = _indexed(kept, names, name)
    return Pictures(pixels, labels, names, tuple(skipped))


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """n x height x width x channels of uint8 as float32 in [-1, 1], n x channels x height x width."""
    import torch

    planes = torch.tensor(pixels).permute(0, 3, 1, 2).contiguous()  # (n, c, h, w)
    return planes.to(torch.float32).div_(127.5).sub_(1)


def to_images(tensor: torch.Tensor) -> list[Pixels]:
    """n x channels x height x width as the pixels of n Images: clipped to [-1, 1], uint8, height x width x 3.

    Raises InputError for another shape, and for NaN and infinity.
    """
    import torch

    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3):
        message = f"the tensor is of shape {tuple(tensor.shape)}; give n x channels x height x width, 1 or 3 channels"
        raise InputError(message, field="tensor")
    planes = tensor.detach().float().cpu()
    if not torch.isfinite(planes).all():
        raise InputError(
            "the tensor has pixels that are not finite; the network that made them has none", field="tensor"
        )
    scaled = planes.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    rows = scaled.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).contiguous().numpy()  # (n, h, w, 3)
    return list(rows)


class Augmentation(Options):
    """How far each picture is moved at random, anew whenever it is drawn; a trainer's Options may inherit it."""

    flip: bool = Field(False, description="mirror every other picture, left for right")
    shift: float = Field(0.0, ge=0, le=1024, description="farthest shift, across and down, in pixels")
    rotate: float = Field(0.0, ge=0, le=180, description="largest angle of a turn, in degrees")
    zoom: float = Field(0.0, ge=0, le=0.9, description="largest part by which a picture grows or shrinks")
    outside: Literal["mirror", "black"] = Field(
        "mirror", description="what comes in from beyond the edge: the picture mirrored, or black"
    )


def augmented(batch: torch.Tensor, how: Augmentation, rng: torch.Generator | None = None) -> torch.Tensor:
    """Every picture of a batch (n x channels x height x width, in [-1, 1]) moved by a draw of its own.

    rng: where the draws come from; None is torch's global state, which a Loop seeds for each step. Differentiable.
    """
    import torch
    from torch.nn import functional

    if not (how.flip or how.shift or how.rotate or how.zoom):
        return batch
    n, _, height, width = batch.shape
    drawn = torch.rand(n, 5, generator=rng, device="cpu" if rng is None else rng.device).to(batch.device)
    either, angle, growth, across, down = (2 * drawn - 1).unbind(1)  # each (n,), in [-1, 1)
    mirror = torch.where(either < 0, -1.0, 1.0) if how.flip else torch.ones_like(either)
    angle = angle * math.radians(how.rotate)
    scale = 1 / (1 + growth * how.zoom)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    # From a place in the result to one in the picture, in units of half a side: so a turn needs the sides' ratio.
    rows = [
        torch.stack([mirror * cos, -mirror * sin * height / width, across * how.shift * 2 / width], 1),
        torch.stack([sin * width / height, cos, down * how.shift * 2 / height], 1),
    ]
    places = functional.affine_grid(torch.stack(rows, 1), list(batch.shape), align_corners=False)
    places = places.to(batch.dtype)
    if how.outside == "mirror":
        return functional.grid_sample(batch, places, padding_mode="reflection", align_corners=False)
    return functional.grid_sample(batch + 1, places, padding_mode="zeros", align_corners=False) - 1


def _check_arguments(size: Any, channels: Any, corrupt: Any) -> None:
    limit = math.isqrt(PIXEL_LIMIT)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= limit):
        raise OptionError(f"size={shown(size)}: give pixels from 1 to {limit:,}, or None", field="size")
    if channels not in (None, 1, 3):
        raise OptionError(f"channels={shown(channels)}: give 1 for greys, 3 for colours, or None", field="channels")
    if corrupt not in ("refuse", "skip"):
        raise OptionError(f"corrupt={shown(corrupt)}: use 'refuse' or 'skip'", field="corrupt")


def _loaded(items: Iterator[Item], load: Any) -> Iterator[tuple[Item, Pixels | str]]:
    """In order, some at a time; Pillow decodes and resizes outside Python's lock."""
    with ThreadPoolExecutor() as pool:
        while some := list(islice(items, TOGETHER)):
            cheap = isinstance(some[0].picture, np.ndarray)  # handing it to another thread costs more than the work
            yield from zip(some, map(load, some) if cheap else pool.map(load, some), strict=True)


def _stacked(items: Sequence[Item], name: str) -> Pixels:
    first = items[0]
    for item in items:
        if item.picture.shape[:2] != first.picture.shape[:2]:
            one, two = (f"{width} x {height}" for height, width, _ in (first.picture.shape, item.picture.shape))
            message = f"{first.where} is of {one} pixels and {item.where} of {two}; give a size to make them alike"
            raise DataError(message, field=name)
    channels = max(item.picture.shape[2] for item in items)
    return np.stack([coloured(item.picture, channels) for item in items])


def _indexed(
    items: Sequence[Item], names: tuple[str, ...] | None, name: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """The labels as indices of their names; strings and integers each have their own order."""
    labels = [item.label for item in items]
    without = next((item for item in items if item.label is None), None)
    if without is not None:
        labelled = next((item for item in items if item.label is not None), None)
        if labelled is None:
            return None, names or ()
        message = (
            f"{labelled.where} has a label and {without.where} has none; give one to each (in a folder: sub-folders)"
        )
        raise DataError(message, field=name)
    if names is not None:
        outside = next((item for item in items if not 0 <= item.label < len(names)), None)
        if outside is not None:
            last = f"the indices of its {len(names)} names end at {len(names) - 1}"
            message = f"the label of {outside.where} is {outside.label}; {last}"
            raise DataError(message, field=name)
        return np.array(labels, np.int64), names
    if len({type(each) for each in labels}) > 1:
        raise DataError(f"the labels of {name} are strings and integers; give either", field=name)
    order = {label: index for index, label in enumerate(sorted(set(labels)))}
    return np.array([order[each] for each in labels], np.int64), tuple(map(str, order))

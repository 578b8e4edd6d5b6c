"""Pictures in motion: as frames, or each shown for a while, with dissolves and a slow zoom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aigc_sdk.artifacts import Image, Video
from aigc_sdk.errors import InputError
from aigc_sdk_process.compose.record import recorded

from ._checks import colour, number, one_of, several, whole
from .image import FILTERS, FITTINGS, placed
from .video import refuse_memory


@recorded
def animation(images: Sequence[Image], fps: float) -> Video:
    """A film with the images as its frames. Raises InputError for images of several sizes."""
    pictures = several(images, Image, "images")
    number(fps, "fps", 0.1, 1000, "frames per second")
    for index, each in enumerate(pictures):
        if each.pixels.shape != pictures[0].pixels.shape:
            message = (
                f"images[{index}] is {each!r}, the first is {pictures[0]!r}; bring them to one size with `image.resize`"
            )
            raise InputError(message, field="images")
    refuse_memory(len(pictures) * pictures[0].pixels.nbytes)
    return Video(np.stack([each.pixels for each in pictures]), fps=fps)


@recorded
def slideshow(
    images: Sequence[Image],
    seconds: float,
    *,
    size: tuple[int, int] = (640, 360),
    fps: float = 25.0,
    dissolve: float = 0.5,
    zoom: float = 1.0,
    fitting: str = "contain",
    background: tuple[int, int, int] = (0, 0, 0),
    filter: str = "lanczos",
) -> Video:
    """The images one after the other, in that many seconds together, each as long as the others.

    size: width and height of the film. dissolve: seconds in which one becomes the next. zoom: how much larger an image is
    at its end than at its beginning. fitting: "contain" shows all of an image on the background, "cover" fills the frame
    and cuts off what is too much. filter: how images are scaled, a name of `image.FILTERS`.
    """
    pictures = several(images, Image, "images")
    number(fps, "fps", 1, 240, "frames per second")
    number(seconds, "seconds", len(pictures) / fps, 3600, "seconds, of one frame per image at least")
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise InputError(f"size={size!r:.60}: give width and height in pixels", field="size")
    width, height = (whole(each, "size", 2, 8192, "width and height in pixels") for each in size)
    number(zoom, "zoom", 1, 4, "times as large at the end")
    ground = colour(background, "background")
    one_of(fitting, "fitting", FITTINGS)
    one_of(filter, "filter", FILTERS)
    count = round(seconds * fps)
    number(dissolve, "dissolve", 0, seconds / len(pictures), "seconds, at most as long as an image is shown")
    refuse_memory(count * height * width * 3)
    bounds = [round(index * count / len(pictures)) for index in range(len(pictures) + 1)]
    overlap = round(dissolve * fps)
    frames = np.empty((count, height, width, 3), np.uint8)
    for index, each in enumerate(pictures):
        first, last = bounds[index], bounds[index + 1]
        start = max(0, first - overlap) if index else 0
        for place in range(start, last):
            progress = (place - start) / max(1, last - 1 - start)
            shown = placed(each.pixels, (width, height), fitting, ground, filter, 1 + (zoom - 1) * progress)
            share = (place - start + 1) / (overlap + 1) if place < first else 1.0
            frames[place] = shown if share == 1 else np.rint(frames[place] * (1 - share) + shown * share)
    return Video(frames, fps=fps)

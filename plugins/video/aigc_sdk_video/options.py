"""What one call of a small model may set, and pictures and films as options."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import PIL.Image
import pydantic
from pydantic import Field

from aigc_sdk import media
from aigc_sdk.artifacts import Image, Video
from aigc_sdk.errors import AigcError, shown
from aigc_sdk.protocols import Options

RECORD_LIMIT = 4_000_000  # characters of base64; the origin says of larger ones that they are not recorded
_HEAD = "data:image/png;frames={};base64,"

T = TypeVar("T")


def as_image(value: Any) -> Image:
    """The picture that a path, a Pillow image, an array h x w x 3 (uint8) or a recorded option means. Raises ValueError."""
    if isinstance(value, str) and value.startswith("data:"):
        return Image(_recorded(value)[0])
    if isinstance(value, str | Path | PIL.Image.Image):
        pixels = media.pixels(value if isinstance(value, PIL.Image.Image) else Path(value).expanduser())
        return Image(pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2))
    if isinstance(value, np.ndarray):
        return Image(value)
    if isinstance(value, Image):
        return Image(value.pixels)
    raise ValueError(f"it is a {type(value).__name__}; give an Image, a Pillow image, an array or a path")


def as_video(value: Any) -> Video:
    """The film that a path, an array t x h x w x 3 (uint8) or a recorded option means. Raises ValueError."""
    if isinstance(value, str) and value.startswith("data:"):
        return Video(_recorded(value), fps=1)
    if isinstance(value, str | Path):
        found = media.read(Path(value).expanduser())
        if not isinstance(found, Video):
            raise ValueError(f"{shown(str(value))} holds a {found.kind}, no film")
        return Video(found.frames, fps=found.fps)
    if isinstance(value, np.ndarray):
        value = Video(value, fps=1)
    if not isinstance(value, Video):
        raise ValueError(f"it is a {type(value).__name__}; give a Video, an array or a path")
    if not value.frames.size:
        raise ValueError("it holds no frame")
    return Video(value.frames, fps=value.fps)


def _option(make: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """Whatever is wrong with the value becomes a fault of the option."""

    def validated(value: Any) -> T | None:
        try:
            return None if value is None else make(value)
        except AigcError as error:
            raise ValueError(str(error)) from error

    return validated


def _record(value: Image | Video | None) -> Any:
    """The value as JSON, from which it can be given back: all frames below each other, as one PNG."""
    if value is None:
        return None
    frames = value.pixels[None] if isinstance(value, Image) else value.frames
    count, height, width, _ = frames.shape
    file = io.BytesIO()
    PIL.Image.fromarray(frames.reshape(count * height, width, 3)).save(file, "png")
    text = _HEAD.format(count) + base64.b64encode(file.getvalue()).decode()
    return text if len(text) <= RECORD_LIMIT else {"unrecorded": shown(value, 200)}


def _recorded(text: str) -> Any:
    """The frames in what `_record` made, t x h x w x 3."""
    head, _, data = text.partition(";base64,")
    count = head.partition("frames=")[2]
    try:
        pixels = media.pixels(base64.b64decode(data, validate=True))
        return pixels.reshape(int(count), -1, *pixels.shape[1:])
    except ValueError as error:
        raise ValueError("it is no recorded picture") from error


Picture = Annotated[
    str | Any | None,
    pydantic.PlainValidator(_option(as_image)),
    pydantic.PlainSerializer(_record, when_used="json"),
    pydantic.WithJsonSchema({"type": "string"}),
]
"""An option that is a picture: given as `as_image` takes it, seen by `run` as an Image, recorded whole in the origin."""

Film = Annotated[
    str | Any | None,
    pydantic.PlainValidator(_option(as_video)),
    pydantic.PlainSerializer(_record, when_used="json"),
    pydantic.WithJsonSchema({"type": "string"}),
]
"""The same for a film."""


class Filming(Options):
    """How a clip of a small model is made."""

    num_frames: int | None = Field(
        None, ge=1, le=100_000, description="frames of the clip; None: as many as the model makes at a time"
    )
    fps: float = Field(8.0, gt=0, le=1000, description="frames per second that the clip is shown at")
    steps: int = Field(20, ge=1, le=1000, description="steps of the sampler; more follow the learned motion closer")
    guidance: float = Field(
        1.4, ge=0, le=20, description="how strongly the prompt is followed; 1: as learned, more: less varied"
    )
    image: Picture = Field(None, description="the first frame, which the clip goes on from: a picture or its path")
    video: Film = Field(None, description="the first frames, which the clip goes on from: a film or its path")

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Filming:
        if self.image is not None and self.video is not None:
            raise ValueError("image and video both say how the clip begins; give one")
        return self

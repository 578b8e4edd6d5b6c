"""Samples to train a LoRA with: films or pictures, each with its text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_sdk.errors import AigcError, DataError, printable
from aigc_sdk_video.options import as_image, as_video

from .families import FAMILIES, Kind
from .sizes import frame_period, side_multiple

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILES = {
    "video": (".mp4", ".webm", ".gif", ".mov", ".mkv", ".avi"),
    "image": (".png", ".jpg", ".jpeg", ".webp"),
}


@dataclass(frozen=True)
class Sample:
    """Frames, t x h x w x 3, and what they show."""

    frames: NDArray[np.uint8]
    caption: str


def samples(
    data: Any, kind: Kind, name: str, *, num_frames: int | None = None, size: tuple[int, int] | None = None
) -> Iterator[Sample]:
    """The samples in `data`: pairs of a film (or picture) and its text, or a folder of files with `NAME.txt` beside each.

    Films are cut to `num_frames`; everything is scaled and cropped to `size`, height x width. Raises DataError.
    """
    for where, (given, caption) in _pairs(data, kind, name):
        if not isinstance(caption, str):
            raise DataError(f"{where}: its text is a {type(caption).__name__}; give a str, '' for none", field=name)
        try:
            frames = as_video(given).frames if kind == "video" else as_image(given).pixels[None]
        except (AigcError, ValueError) as error:
            raise DataError(f"{where}: {error}", field=name) from error
        if num_frames is not None and len(frames) < num_frames:
            raise DataError(f"{where} has {len(frames)} frames, fewer than num_frames={num_frames}", field=name)
        yield Sample(_sized(frames[:num_frames], size), caption)


def check_sizes(found: list[Sample], pipe: Any, name: str, field: str) -> None:
    """Refuse samples of sizes that the pipeline does not make. Raises DataError with the nearest that it does."""
    family = FAMILIES[name]
    multiple, period = side_multiple(pipe, family), frame_period(pipe, family)
    for index, each in enumerate(found):
        count, height, width = each.frames.shape[:3]
        if height % multiple or width % multiple:
            near = [max(multiple, side // multiple * multiple) for side in (height, width)]
            raise DataError(
                f"{field}[{index}] is {width}x{height}; a {name} makes multiples of {multiple}: pass height={near[0]}, "
                f"width={near[1]}",
                field=field,
            )
        if family.kind == "video" and (count - 1) % period:
            raise DataError(
                f"{field}[{index}] has {count} frames; a {name} makes {period} k + 1: pass "
                f"num_frames={(count - 1) // period * period + 1}",
                field=field,
            )


def _pairs(data: Any, kind: Kind, name: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if isinstance(data, str | Path):
        yield from _files(Path(data).expanduser(), kind, name)
        return
    if not isinstance(data, Iterable):
        raise DataError(
            f"{name} is a {type(data).__name__}; give pairs of a {kind} and its text, or a folder", field=name
        )
    for index, each in enumerate(data):
        if not isinstance(each, tuple | list) or len(each) != 2:
            raise DataError(f"{name}[{index}] is no pair of a {kind} and its text", field=name)
        yield f"{name}[{index}]", (each[0], each[1])


def _files(place: Path, kind: Kind, name: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if not place.is_dir():
        raise DataError(f"{name}: there is no folder {printable(str(place))}", field=name)
    for file in sorted(each for each in place.rglob("*") if each.suffix.lower() in FILES[kind]):
        text = file.with_suffix(".txt")
        if not text.is_file():
            raise DataError(f"{name}: {printable(file.name)} has no text beside it; write {text.name}", field=name)
        yield printable(file.name), (file, text.read_text(encoding="utf-8").strip())


def _sized(frames: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    if size is None or frames.shape[1:3] == size:
        return frames
    import PIL.Image
    import PIL.ImageOps

    fit, how = PIL.ImageOps.fit, PIL.Image.Resampling.LANCZOS
    return np.stack([np.asarray(fit(PIL.Image.fromarray(each), (size[1], size[0]), how)) for each in frames])

"""Files: texts, pictures, films and sounds, with the artifact's origin inside the file's own metadata.

| kind  | formats                                                                                                     |
|-------|-------------------------------------------------------------------------------------------------------------|
| text  | txt and md (the origin is a comment in the last line), json (text, origin and info)                         |
| image | png and webp (both keep every pixel), jpg                                                                   |
| video | mp4 (H.264 or VP9, with AAC), webm (VP9 with Opus, read at 48 kHz), both lossy; gif (256 colours per frame, |
|       | at most 50 frames per second, no sound); zip (a PNG file per frame, which keeps every pixel, and WAV)       |
| audio | wav and flac (16 bits: a sample moves by at most 1/65536, +1 by 1/32768), mp3, ogg (Opus, read at 48 kHz)   |

The same artifact gives the same bytes with the same versions of Pillow and PyAV. The codecs see bytes and a named
format, never a path or an address, so that no file can make them open another. `write_film` writes a film of any length
from frames as they come.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from . import _encode, _ffmpeg, _frames, _pillow, _texts, storage
from ._limits import FILE_LIMIT, refuse_pixels
from .artifacts import Artifact, Audio, Image, Video
from .errors import AigcError, DiskError, InputError, MediaError, printable

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Format:
    """A file format: what it holds, and how; `note` is the origin as JSON."""

    kind: str
    mime: str
    encode: Callable[[Any, str, str | None], bytes]
    decode: Callable[[bytes, str], tuple[Artifact, str | None]]


FORMATS: dict[str, Format] = {
    "txt": Format("text", "text/plain", _texts.encode, _texts.decode),
    "md": Format("text", "text/markdown", _texts.encode, _texts.decode),
    "json": Format("text", "application/json", _texts.encode, _texts.decode),
    "png": Format("image", "image/png", _pillow.encode_picture, _pillow.decode_picture),
    "jpg": Format("image", "image/jpeg", _pillow.encode_picture, _pillow.decode_picture),
    "jpeg": Format("image", "image/jpeg", _pillow.encode_picture, _pillow.decode_picture),
    "webp": Format("image", "image/webp", _pillow.encode_picture, _pillow.decode_picture),
    "mp4": Format("video", "video/mp4", _encode.encode_film, _ffmpeg.decode_film),
    "webm": Format("video", "video/webm", _encode.encode_film, _ffmpeg.decode_film),
    "gif": Format("video", "image/gif", _pillow.encode_gif, _pillow.decode_gif),
    "zip": Format("video", "application/zip", _frames.encode_frames, _frames.decode_frames),
    "wav": Format("audio", "audio/wav", _encode.encode_sound, _ffmpeg.decode_sound),
    "flac": Format("audio", "audio/flac", _encode.encode_sound, _ffmpeg.decode_sound),
    "mp3": Format("audio", "audio/mpeg", _encode.encode_sound, _ffmpeg.decode_sound),
    "ogg": Format("audio", "audio/ogg", _encode.encode_sound, _ffmpeg.decode_sound),
}
"""Every format by its suffix."""

CODING = "coding"
"""In the origin of a film's file: the quality and the codec it was saved with, where they are not the usual ones."""


def mime_type(format: str) -> str:
    """The media type of a format: `mime_type("png")` is "image/png". Raises MediaError."""
    if format.lower() not in FORMATS:
        raise MediaError(f"{printable(format)!r} is not a format that is known here; there are {', '.join(FORMATS)}")
    return FORMATS[format.lower()].mime


def encode(
    artifact: Artifact, format: str, *, origin: bool = True, quality: int | None = None, codec: str | None = None
) -> bytes:
    """The bytes of a file of that format, with the artifact's origin in its metadata. Raises MediaError.

    quality, codec: of a Video; see `Video.save`. A video of odd width or height gets one more column or row in mp4 and
    webm, which players show and `read` takes away.
    """
    chosen = format.lower()
    if chosen not in FORMATS or FORMATS[chosen].kind != artifact.kind:
        raise _wrong_format(type(artifact).__name__, artifact.kind, format)
    with _media_errors(f"{artifact!r:.100} cannot be written as {chosen}"):
        if (quality, codec) == (None, None):
            return FORMATS[chosen].encode(artifact, chosen, _note(artifact.origin if origin else {}))
        asked = _encode.coding(chosen, codec, quality)  # refuses what is no film
        note = _note(artifact.origin if origin else {}, asked, chosen)
        return _encode.encode_film(cast(Video, artifact), chosen, note, asked)


def write(
    artifact: Artifact,
    path: str | Path,
    *,
    origin: bool = True,
    quality: int | None = None,
    codec: str | None = None,
) -> Path:
    """Write a file, whole or not at all; its suffix names the format. Raises MediaError or DiskError.

    quality, codec: of a Video; see `Video.save`.
    """
    target = Path(path)
    _store(target, encode(artifact, target.suffix[1:], origin=origin, quality=quality, codec=codec))
    return target


def write_film(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: float,
    *,
    sound: Audio | None = None,
    quality: int | None = None,
    codec: str | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Write frames as they come to .mp4 or .webm, whole or not at all; no more than some are in memory at a time.

    frames: uint8, height x width x 3, RGB, all of one size. The file is the one that `Video.save` writes of the same
    frames. Raises MediaError, InputError for a frame that is none, and DiskError; an error of `frames` comes as it is.

        media.write_film("long.mp4", (frame for chunk in model.stream(num_frames=9000) for frame in chunk.frames), 24)
    """
    target = Path(path)
    format = target.suffix[1:].lower()
    if format not in _encode.CONTAINERS:
        raise MediaError(f"{_shown(target)}: frames are written one by one as {' or '.join(_encode.CONTAINERS)}")
    _refuse_facts(fps, sound)
    _refuse_place(target)
    if not isinstance(frames, Iterable):
        raise InputError(f"frames is a {type(frames).__name__}; give pictures, one after the other", field="frames")
    failed: list[Exception] = []
    try:
        with _media_errors(f"{_shown(target)} cannot be written"):
            asked = _encode.coding(format, codec, quality)
            note = _note(origin or {}, asked, format)
        with storage.whole_file(target) as file, _media_errors(f"{_shown(target)} cannot be written", passes=OSError):
            _encode.write_film(file, format, note, _checked(frames, failed), fps, sound, asked)
    except AigcError:
        if failed:
            raise failed[0] from None
        raise
    return target


def read(path: str | Path) -> Artifact:
    """The artifact in a file, with its origin where the file carries one.

    Pictures come as RGB, upright; films with their sound, at their average frame rate. Raises MediaError for a file that
    is missing, damaged, cut short, of a format that is not known, or larger decoded than fits; DiskError for one that
    cannot be reached.
    """
    place = Path(path)
    suffix = place.suffix[1:].lower()
    if suffix not in FORMATS:
        raise MediaError(f"{_shown(place)} has none of the suffixes that can be read: {', '.join(FORMATS)}")
    data = _content(place)
    with _media_errors(f"{_shown(place)} cannot be read as {suffix}", "it is damaged, or something else"):
        artifact, note = FORMATS[suffix].decode(data, suffix)
    return replace(artifact, origin=_loaded(note)) if note else artifact


def mux(video: Video, audio: Audio, path: str | Path) -> Path:
    """Write a film with its sound as .mp4 or .webm, each as long as it is; both origins go into the file.

    Raises MediaError or DiskError.
    """
    target = Path(path)
    if not isinstance(video, Video) or not isinstance(audio, Audio):
        raise MediaError(f"mux takes a Video and an Audio, got {type(video).__name__} and {type(audio).__name__}")
    if target.suffix[1:].lower() not in _encode.CONTAINERS:
        raise MediaError(f"{_shown(target)}: a film with sound is written as .mp4 or .webm")
    origins = {"video": dict(video.origin), "audio": dict(audio.origin)}
    return write(replace(video, sound=audio, origin=origins if video.origin or audio.origin else {}), target)


def pixels(picture: Path | bytes | PIL.Image.Image) -> NDArray[np.uint8]:
    """The pixels of a png, jpg or webp file, of its bytes or of a Pillow image, upright: height x width x 3, or x 1 for greys.

    Raises MediaError for a file that is missing, damaged or too large, and DiskError for one that cannot be reached.
    """
    content = _content(picture) if isinstance(picture, Path) else picture
    with _media_errors("it cannot be read", "it is damaged, or something else than a png, jpg or webp picture"):
        return _pillow.decode_pixels(content)


def grid(images: Iterable[Image], *, columns: int | None = None, gap: int = 2, scale: int = 1) -> Image:
    """A contact sheet: the images row by row on white, each in the middle of a cell as large as the largest.

    columns: None makes it about as wide as high. gap: pixels between the cells. scale: whole times by which each image is
    enlarged. Raises InputError, and MediaError for a sheet that is too large.
    """
    import numpy as np

    shown = list(images)
    if not shown or not all(isinstance(each, Image) and each.pixels.size for each in shown):
        raise InputError("a grid is made of one Image or more, none of them empty", field="images")
    columns = math.ceil(math.sqrt(len(shown))) if columns is None else columns
    for name, value, least in (("columns", columns, 1), ("gap", gap, 0), ("scale", scale, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name}={value!r}: give a whole number from {least} on", field=name)
    columns = min(columns, len(shown))
    height, width = (scale * max(each.pixels.shape[axis] for each in shown) for axis in (0, 1))
    rows = math.ceil(len(shown) / columns)
    across, down = columns * (width + gap) - gap, rows * (height + gap) - gap
    refuse_pixels(across, down)
    sheet = np.full((down, across, 3), 255, np.uint8)
    for index, each in enumerate(shown):
        large = each.pixels.repeat(scale, axis=0).repeat(scale, axis=1)
        top = index // columns * (height + gap) + (height - large.shape[0]) // 2
        left = index % columns * (width + gap) + (width - large.shape[1]) // 2
        sheet[top : top + large.shape[0], left : left + large.shape[1]] = large
    return Image(sheet)


def sheet(video: Video, *, columns: int | None = None, count: int | None = None, gap: int = 2, scale: int = 1) -> Image:
    """A contact sheet of a film; see `Video.sheet` and `grid`."""
    import numpy as np

    shown = len(video.frames) if count is None else count
    if isinstance(shown, bool) or not isinstance(shown, int) or shown < 1:
        raise InputError(f"count={count!r}: give a whole number from 1 on, of a film with frames", field="count")
    chosen = np.linspace(0, len(video.frames) - 1, min(shown, len(video.frames))).round().astype(int)
    return grid([Image(video.frames[index]) for index in chosen], columns=columns, gap=gap, scale=scale)


def _wrong_format(name: str, kind: str, format: str) -> MediaError:
    known = ", ".join(suffix for suffix, each in FORMATS.items() if each.kind == kind)
    asked = f"as {printable(format)!r}" if format else "without a suffix that names the format"
    return MediaError(f"{name} cannot be written {asked}; use one of: {known}")


def _store(path: Path, data: bytes) -> None:
    _refuse_place(path)
    storage.write_file(path, data)


def _refuse_place(path: Path) -> None:
    """Refuse a name that no file can have, and a place where something else than a file is."""
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise MediaError(f"{_shown(path)} is not a possible file name")
    with storage.disk_errors(path):
        if path.exists() and not path.is_file():
            raise MediaError(f"{_shown(path)} is not an ordinary file; choose another name")


def _refuse_facts(fps: float, sound: Audio | None) -> None:
    """Refuse a rate and a sound that no Video may have."""
    import numpy as np

    Video(np.empty((0, 0, 0, 3), np.uint8), fps=fps, sound=sound)


def _checked(frames: Iterable[Any], failed: list[Exception]) -> Iterator[Any]:
    """The frames, each looked at; what goes wrong in making them goes into `failed`, apart from what a codec raises."""
    try:
        shape: tuple[int, ...] = ()
        for index, frame in enumerate(frames):
            pixels = Image(frame).pixels  # refuses what is no picture
            if index and pixels.shape != shape:
                raise InputError(f"frame {index} is {pixels.shape}, the first is {shape}; resize it", field="frames")
            shape = pixels.shape
            yield pixels
    except Exception as error:
        failed.append(error)
        raise


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for ever
            raise MediaError(f"{_shown(path)} is not an ordinary file")
        if status.st_size > FILE_LIMIT:
            raise MediaError(f"{_shown(path)} has {status.st_size:,} bytes; the limit is {FILE_LIMIT:,}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise MediaError(f"there is no file {_shown(path)}") from error
    except OSError as error:
        raise DiskError(f"{_shown(path)} cannot be read: {error.strerror or error}") from error


def _note(origin: Mapping[str, Any], asked: _encode.Coding | None = None, format: str = "") -> str | None:
    """The origin for a file, with how a film is encoded where that is not as usual; None for no origin."""
    noted = {key: value for key, value in origin.items() if key != CODING}  # of the file that it was read from
    if noted and asked and asked != _encode.coding(format):
        noted[CODING] = {"quality": asked.quality, "codec": asked.codec}
    return _dumped(noted) if noted else None


def _dumped(origin: Mapping[str, Any]) -> str:
    """JSON in ASCII, without `>`: it ends no comment, and survives every container's encoding."""
    try:
        return json.dumps(dict(origin), sort_keys=True, separators=(",", ":")).replace(">", "\\u003e")
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the origin is nothing that JSON can hold ({error}); save with origin=False"
        raise MediaError(message) from error


def _loaded(note: str) -> dict[str, Any]:
    """The origin; nothing where somebody else's note stands under our name."""
    try:
        found = json.loads(note)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _media_errors(what: str, cause: str = "", passes: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Turn whatever a codec raises into MediaError; its own words may hold addresses, so `cause` replaces them."""
    try:
        yield
    except passes:
        raise
    except MediaError as error:
        raise MediaError(f"{what}: {error}") from error
    except MemoryError as error:
        raise MediaError(f"{what}: it does not fit in memory") from error
    except Exception as error:
        raise MediaError(f"{what}: {cause or printable(f'{type(error).__name__}: {error}')}") from error


def _shown(path: Path) -> str:
    return printable(str(path))

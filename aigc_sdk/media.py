"""Files: texts, pictures, films and sounds, with the artifact's origin inside the file's own metadata.

| kind  | formats                                                                                                     |
|-------|-------------------------------------------------------------------------------------------------------------|
| text  | txt and md (the origin is a comment in the last line), json (text, origin and info)                         |
| image | png and webp (both keep every pixel), jpg                                                                   |
| video | mp4 (H.264, lossy), gif (256 colours per frame, at most 50 frames per second)                               |
| audio | wav and flac (16 bits: a sample moves by at most 1/65536, +1 by 1/32768), mp3, ogg (Opus, read at 48 kHz)   |

The same artifact gives the same bytes with the same versions of Pillow and PyAV. The codecs see bytes and a named
format, never a path or an address, so that no file can make them open another.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _ffmpeg, _pillow, _texts, storage
from ._limits import FILE_LIMIT, refuse_pixels
from .artifacts import Artifact, Audio, Image, Video
from .errors import DiskError, InputError, MediaError, printable

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
    "mp4": Format("video", "video/mp4", _ffmpeg.encode_film, _ffmpeg.decode_film),
    "gif": Format("video", "image/gif", _pillow.encode_gif, _pillow.decode_gif),
    "wav": Format("audio", "audio/wav", _ffmpeg.encode_sound, _ffmpeg.decode_sound),
    "flac": Format("audio", "audio/flac", _ffmpeg.encode_sound, _ffmpeg.decode_sound),
    "mp3": Format("audio", "audio/mpeg", _ffmpeg.encode_sound, _ffmpeg.decode_sound),
    "ogg": Format("audio", "audio/ogg", _ffmpeg.encode_sound, _ffmpeg.decode_sound),
}
"""Every format by its suffix."""


def mime_type(format: str) -> str:
    """The media type of a format: `mime_type("png")` is "image/png". Raises MediaError."""
    if format.lower() not in FORMATS:
        raise MediaError(f"{printable(format)!r} is not a format that is known here; there are {', '.join(FORMATS)}")
    return FORMATS[format.lower()].mime


def encode(artifact: Artifact, format: str, *, origin: bool = True) -> bytes:
    """The bytes of a file of that format, with the artifact's origin in its metadata. Raises MediaError.

    A video of odd width or height gets one more column or row in mp4, which players show and `read` takes away.
    """
    chosen = format.lower()
    if chosen not in FORMATS or FORMATS[chosen].kind != artifact.kind:
        raise _wrong_format(type(artifact).__name__, artifact.kind, format)
    note = _dumped(artifact.origin) if origin and artifact.origin else None
    with _media_errors(f"{artifact!r:.100} cannot be written as {chosen}"):
        return FORMATS[chosen].encode(artifact, chosen, note)


def write(artifact: Artifact, path: str | Path, *, origin: bool = True) -> Path:
    """Write a file, whole or not at all; its suffix names the format. Raises MediaError or DiskError."""
    target = Path(path)
    _store(target, encode(artifact, target.suffix[1:], origin=origin))
    return target


def read(path: str | Path) -> Artifact:
    """The artifact in a file, with its origin where the file carries one.

    Pictures come as RGB, upright; films without their sound. Raises MediaError for a file that is missing, damaged,
    cut short, of a format that is not known, or larger decoded than fits; DiskError for one that cannot be reached.
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
    """Write a film with its sound as .mp4 (H.264 and AAC), each as long as it is; both origins go into the file.

    Raises MediaError or DiskError.
    """
    target = Path(path)
    if not isinstance(video, Video) or not isinstance(audio, Audio):
        raise MediaError(f"mux takes a Video and an Audio, got {type(video).__name__} and {type(audio).__name__}")
    if target.suffix.lower() != ".mp4":
        raise MediaError(f"{_shown(target)}: a film with sound is written as .mp4")
    origins = {"video": dict(video.origin), "audio": dict(audio.origin)}
    note = _dumped(origins) if video.origin or audio.origin else None
    with _media_errors(f"{_shown(target)} cannot be written"):
        data = _ffmpeg.encode_both(video, audio, note)
    _store(target, data)
    return target


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


def _wrong_format(name: str, kind: str, format: str) -> MediaError:
    known = ", ".join(suffix for suffix, each in FORMATS.items() if each.kind == kind)
    asked = f"as {printable(format)!r}" if format else "without a suffix that names the format"
    return MediaError(f"{name} cannot be written {asked}; use one of: {known}")


def _store(path: Path, data: bytes) -> None:
    try:
        with storage.disk_errors(path):
            if path.exists() and not path.is_file():
                raise MediaError(f"{_shown(path)} is not an ordinary file; choose another name")
        storage.write_file(path, data)
    except ValueError as error:  # a name with NUL, or one that the file system cannot encode
        raise MediaError(f"{_shown(path)} is not a possible file name") from error


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
def _media_errors(what: str, cause: str = "") -> Iterator[None]:
    """Turn whatever a codec raises into MediaError; its own words may hold addresses, so `cause` replaces them."""
    try:
        yield
    except MediaError as error:
        raise MediaError(f"{what}: {error}") from error
    except MemoryError as error:
        raise MediaError(f"{what}: it does not fit in memory") from error
    except Exception as error:
        raise MediaError(f"{what}: {cause or printable(f'{type(error).__name__}: {error}')}") from error


def _shown(path: Path) -> str:
    return printable(str(path))

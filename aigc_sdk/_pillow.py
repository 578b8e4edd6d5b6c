"""Pictures, and films as GIF, through Pillow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ._limits import refuse_bytes, refuse_pixels
from .artifacts import Image, Video
from .errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

KEY = "aigc_sdk"
MARK = f"{KEY}: "  # in front of the origin where a format has one field for every kind of remark
DESCRIPTION = 0x010E  # the EXIF field ImageDescription
SEGMENT = 65_000  # bytes; a JPEG segment holds at most 65,533, so a long origin takes several


def encode_picture(artifact: Image, format: str, note: str | None) -> bytes:
    """png and webp keep every pixel; jpg is at quality 95 without colour subsampling."""
    if not artifact.pixels.size:
        raise MediaError("the image has no pixels")
    buffer = io.BytesIO()
    picture = artifact.to_pil()
    if format == "png":
        picture.save(buffer, "PNG", pnginfo=_png_note(note))
    elif format == "webp":
        picture.save(buffer, "WEBP", lossless=True, quality=75, method=4, exif=_exif_note(note))
    else:
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
        return _with_comment(buffer.getvalue(), note)
    return buffer.getvalue()


def decode_picture(data: bytes, format: str) -> tuple[Image, str | None]:
    """The picture upright, as RGB."""
    import PIL.ImageOps

    with _opened(data, {"jpg": "JPEG"}.get(format, format.upper())) as picture:
        picture.load()
        return Image.from_pil(PIL.ImageOps.exif_transpose(_eight_bits(picture))), _note(picture)


def decode_pixels(picture: bytes | PIL.Image.Image) -> NDArray[np.uint8]:
    """The picture upright, height x width x 3, or x 1 where it has greys alone; bytes in whichever format they are."""
    import numpy as np
    import PIL.ImageOps

    if isinstance(picture, bytes):
        with _opened(picture, "PNG", "JPEG", "WEBP") as opened:
            return decode_pixels(opened)
    refuse_pixels(*picture.size)
    picture.load()
    if picture.mode == "F":
        raise MediaError("its pixels are floating numbers; convert it to 'L' or 'RGB'")
    upright = PIL.ImageOps.exif_transpose(_eight_bits(picture))
    pixels = np.asarray(upright.convert("L" if upright.mode in ("1", "L", "LA", "La") else "RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


def encode_gif(artifact: Video, format: str, note: str | None) -> bytes:
    """At most 256 colours per frame, and 50 frames per second."""
    if not artifact.frames.size:
        raise MediaError("the film has no frames")
    if artifact.fps > 50:
        raise MediaError(f"gif plays at most 50 frames per second, the film has {artifact.fps:g}; save it as .mp4")
    if artifact.sound is not None:
        raise MediaError("gif holds no sound; save it as .mp4 or .webm, or leave it out: replace(film, sound=None)")
    buffer = io.BytesIO()
    first, *others = artifact.to_pil()
    ends = [round(100 * index / artifact.fps) for index in range(len(artifact.frames) + 1)]
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=others,
        duration=[10 * (after - before) for before, after in pairwise(ends)],  # GIF counts hundredths of a second
        loop=0,
        optimize=False,
        # Hundredths round the frame rate, Pillow merges equal frames, and a cut file still plays: so both are noted.
        comment=f"{MARK}{artifact.fps!r} {len(artifact.frames)} {note or ''}".encode(),
    )
    return buffer.getvalue()


def decode_gif(data: bytes, format: str) -> tuple[Video, str | None]:
    """The film at one frame rate: GIF gives every frame its own duration, so a long one is repeated."""
    import numpy as np

    with _opened(data, "GIF") as picture:
        comment = picture.info.get("comment", b"").decode("utf-8", "replace")
        durations = _durations(picture)
        fps, stated, note = _gif_note(comment) or (_common_rate(durations), None, None)
        repeats = _repeats(durations, fps)
        count = sum(repeats)
        if stated not in (None, count):
            raise MediaError(f"it is cut short: {count} of {stated} frames are there")
        refuse_bytes(count * picture.width * picture.height * 3)
        frames = np.empty((count, picture.height, picture.width, 3), np.uint8)
        start = 0
        for index, count in enumerate(repeats):
            picture.seek(index)
            frames[start : start + count] = np.asarray(picture.convert("RGB"))
            start += count
    return Video(frames, fps=fps), note


@contextmanager
def _opened(data: bytes, *names: str) -> Iterator[PIL.Image.Image]:
    """A picture opened by no other decoder than those named, no larger than the limit."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data), formats=names) as picture:
        refuse_pixels(*picture.size)
        yield picture


def _eight_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Pillow clips 16-bit greys where they should be scaled."""
    if not picture.mode.startswith("I"):
        return picture
    import numpy as np
    import PIL.Image

    return PIL.Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))


def _png_note(note: str | None) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if note is not None:
        info.add_itxt(KEY, note)
    return info


def _exif_note(note: str | None) -> bytes:
    import PIL.Image

    if note is None:
        return b""
    exif = PIL.Image.Exif()
    exif[DESCRIPTION] = MARK + note
    return exif.tobytes()


def _with_comment(jpeg: bytes, note: str | None) -> bytes:
    """A JPEG file with the origin in comment segments, right behind the JFIF header, which must be first."""
    if note is None:
        return jpeg
    comment = (MARK + note).encode()
    pieces = [comment[start : start + SEGMENT] for start in range(0, len(comment), SEGMENT)]
    segments = b"".join(b"\xff\xfe" + (len(piece) + 2).to_bytes(2, "big") + piece for piece in pieces)
    header = 4 + int.from_bytes(jpeg[4:6], "big")
    return jpeg[:header] + segments + jpeg[header:]


def _note(picture: PIL.Image.Image) -> str | None:
    if picture.format == "PNG":
        found = picture.info.get(KEY)
        return str(found) if found else None
    if picture.format == "WEBP":
        remark = str(picture.getexif().get(DESCRIPTION, ""))
    else:
        segments = getattr(picture, "applist", [])
        remark = b"".join(content for name, content in segments if name == "COM").decode("utf-8", "replace")
    return remark.removeprefix(MARK) if remark.startswith(MARK) else None


def _gif_note(comment: str) -> tuple[float, int | None, str | None] | None:
    """Frames per second, their number, and the origin, where the comment is ours."""
    if not comment.startswith(MARK):
        return None
    fps, count, note = comment.removeprefix(MARK).split(" ", 2)
    return float(fps), int(count), note or None


def _durations(picture: Any) -> list[int]:
    """How long each frame is shown, in hundredths of a second."""
    found = []
    for index in range(picture.n_frames):
        picture.seek(index)
        refuse_pixels(*picture.size)  # a later frame can enlarge the picture
        found.append(int(picture.info.get("duration") or 100) // 10)
    return found


def _common_rate(durations: list[int]) -> float:
    """The frame rate at which every one of these durations is a whole number of frames."""
    import math

    return 100 / max(1, math.gcd(*durations))


def _repeats(durations: list[int], fps: float) -> list[int]:
    """How many frames at `fps` each duration lasts; rounded over the whole, so that no error adds up."""
    ends = [0]
    for duration in durations:
        ends.append(ends[-1] + duration)
    return [round(after * fps / 100) - round(before * fps / 100) for before, after in pairwise(ends)]

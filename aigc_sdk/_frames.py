"""A film as a zip of its frames: 000000.png and so on, sound.wav, and film.json with rate, number and origin."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from . import _encode, _ffmpeg, _pillow
from ._limits import DECODED_LIMIT, refuse_bytes
from .artifacts import Image, Video
from .errors import MediaError

FACTS, SOUND = "film.json", "sound.wav"


def encode_frames(artifact: Video, format: str, note: str | None) -> bytes:
    """Every pixel is kept; the sound has 16 bits per sample."""
    if not artifact.frames.size:
        raise MediaError("the film has no frames")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        facts = {"fps": float(artifact.fps), "frames": len(artifact.frames), "origin": json.loads(note or "{}")}
        _add(archive, FACTS, json.dumps(facts, sort_keys=True).encode())
        for index, pixels in enumerate(artifact.frames):
            _add(archive, _name(index), _pillow.encode_picture(Image(pixels), "png", None))
        if artifact.sound is not None:
            _add(archive, SOUND, _encode.encode_sound(artifact.sound, "wav", None))
    return buffer.getvalue()


def decode_frames(data: bytes, format: str) -> tuple[Video, str | None]:
    """The frames of a zip that `encode_frames` wrote, or that is laid out as it does."""
    import numpy as np

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {each.filename: each.file_size for each in archive.infolist()}
        refuse_bytes(sum(sizes.values()))
        facts = json.loads(_content(archive, FACTS, sizes))
        count = facts["frames"]
        if set(sizes) - {SOUND} != {FACTS, *map(_name, range(min(count, len(sizes))))} or count < 1:
            raise MediaError(f"it holds other files than {FACTS}, {SOUND} and {count} frames named as {_name(0)} is")
        frames: Any = None
        for index in range(count):
            picture, _ = _pillow.decode_picture(_content(archive, _name(index), sizes), "png")
            if frames is None:
                refuse_bytes(count * picture.pixels.size)
                frames = np.empty((count, *picture.pixels.shape), np.uint8)
            if picture.pixels.shape != frames.shape[1:]:
                raise MediaError(f"{_name(index)} has another size than {_name(0)}")
            frames[index] = picture.pixels
        sound = _ffmpeg.decode_sound(_content(archive, SOUND, sizes), "wav")[0] if SOUND in sizes else None
    note = json.dumps(facts["origin"]) if facts.get("origin") else None
    return Video(frames, fps=facts["fps"], sound=sound), note


def _name(index: int) -> str:
    return f"{index:06}.png"


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Stored as it is, since pictures are compressed already; the time is always the same."""
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def _content(archive: zipfile.ZipFile, name: str, sizes: dict[str, int]) -> bytes:
    if name not in sizes:
        raise MediaError(f"it holds no {name}")
    with archive.open(name) as file:
        return file.read(min(sizes[name], DECODED_LIMIT))

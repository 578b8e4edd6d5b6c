"""Reading films and sounds through FFmpeg (PyAV), which sees bytes and a named format, never a path or an address."""

from __future__ import annotations

import io
import re
from typing import Any, NoReturn

from ._limits import refuse_bytes, refuse_pixels
from .artifacts import Audio, Video
from .errors import MediaError

KEY = "aigc_sdk"
MARK = f"{KEY}: "
SIZE = f"{KEY}_size"  # the film's own size where a row or column was added

FILM_CODECS = frozenset({"h264", "hevc", "mpeg4", "vp8", "vp9", "av1"})
_BESIDE_FILMS = frozenset({"aac", "mp3", "opus", "vorbis", "flac", "alac", "ac3", "eac3"})
SOUND_CODECS = {
    "flac": frozenset({"flac"}),
    "mp3": frozenset({"mp3"}),
    "ogg": frozenset({"opus", "vorbis", "flac"}),
    "mp4": _BESIDE_FILMS,
    "webm": _BESIDE_FILMS,
}


def decode_film(data: bytes, format: str) -> tuple[Video, str | None]:
    """The frames of the first film and the first sound beside it."""
    import numpy as np

    if format == "webm" and _stated_matroska(data) > len(data):
        raise MediaError("it is cut short")
    with _opened(data, format) as container:
        stream = _stream(container.streams.video, FILM_CODECS)
        count = sum(packet.size > 0 for packet in container.demux(stream))
        if count < stream.frames:
            raise MediaError(f"it is cut short: {count} of {stream.frames} frames are there")
        refuse_bytes(count * stream.width * stream.height * 3)
    with _opened(data, format) as container:
        stream = _stream(container.streams.video, FILM_CODECS)
        frames = np.empty((count, stream.height, stream.width, 3), np.uint8)
        shown = 0
        for frame in container.decode(stream):
            frames[shown] = frame.to_ndarray(format="rgb24")
            shown += 1
        if not shown:
            raise MediaError("it holds no frame")
        tags = _lowered(container.metadata)
        width, height = _own_size(tags.get(SIZE, ""), stream.width, stream.height)
        sound = decode_sound(data, format)[0] if container.streams.audio else None
        film = Video(frames[:shown, :height, :width], fps=float(stream.average_rate), sound=sound)
        return film, tags.get(KEY)


def decode_sound(data: bytes, format: str) -> tuple[Audio, str | None]:
    """The first sound; what leaves [-1, 1], as lossy formats do, is clipped."""
    import av
    import numpy as np

    with _opened(data, format) as container:
        stream = _stream(container.streams.audio, SOUND_CODECS.get(format))
        to_float = av.AudioResampler(format="fltp")
        parts: list[Any] = []
        size = 0
        for frame in container.decode(stream):
            fresh = [each.to_ndarray() for each in to_float.resample(frame)]
            size += sum(each.nbytes for each in fresh)
            refuse_bytes(size)
            parts += fresh
        if not parts:
            raise MediaError("it holds no samples")
        samples = np.concatenate(parts, axis=1)
        if _cut_short(data, format, stream, samples.shape[1]):
            raise MediaError("it is cut short")
        if format == "mp4" and stream.duration:  # AAC comes in blocks of 1024 samples
            samples = samples[:, : round(stream.duration * stream.time_base * stream.rate)]
        return Audio(np.clip(samples, -1, 1), sample_rate=stream.rate), _note(container.metadata, stream.metadata)


def _opened(data: bytes, format: str) -> Any:
    import av

    # Other programs write metadata in any encoding; what is not UTF-8 is none of ours.
    return av.open(io.BytesIO(data), format=format, io_open=_refuse_reference, metadata_errors="replace")


def _refuse_reference(url: str, flags: int, options: Any) -> NoReturn:
    raise PermissionError("a media file may not open another file or address")


def _stream(streams: Any, codecs: frozenset[str] | None) -> Any:
    if not streams:
        raise MediaError("it holds no such stream")
    stream = streams[0]
    codec = stream.codec_context.codec.canonical_name
    if codec not in codecs if codecs else not codec.startswith("pcm_"):
        raise MediaError(f"it is encoded as {codec}, which is not read here; convert it first")
    if stream.type == "video":
        refuse_pixels(stream.width, stream.height)
    return stream


def _own_size(noted: str, width: int, height: int) -> tuple[int, int]:
    own = noted.split("x")
    if len(own) == 2 and own[0] in (str(width - 1), str(width)) and own[1] in (str(height - 1), str(height)):
        return int(own[0]), int(own[1])
    return width, height


def _cut_short(data: bytes, format: str, stream: Any, samples: int) -> bool:
    """Whether the file states more than is there; FFmpeg plays what is left without a word."""
    if format == "wav":
        stated = int.from_bytes(data[4:8], "little")
        return stated != 0xFFFFFFFF and stated + 8 > len(data)  # that number stands for a length nobody knew
    if format == "ogg":
        return not _has_last_page(data)
    if format == "mp3":
        return _stated_size(data) > len(data)
    if format == "webm":
        return False  # `decode_film` has looked at the whole
    return bool(stream.duration and samples < stream.duration * stream.time_base * stream.rate)


def _has_last_page(data: bytes) -> bool:
    """Whether an Ogg file ends with a whole page that is marked as the last."""
    page = data.rfind(b"OggS")
    header = data[page : page + 27]
    if page < 0 or len(header) < 27 or not header[5] & 4:
        return False
    segments = data[page + 27 : page + 27 + header[26]]
    return page + 27 + header[26] + sum(segments) <= len(data)


def _stated_size(data: bytes) -> int:
    """The size that an MP3 file states in its first frame, behind an ID3 tag with a size in 7-bit bytes; 0 for none."""
    start = 0
    if data[:3] == b"ID3":
        start = 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    table = re.search(rb"(?:Info|Xing)\0\0\0[\x03\x07\x0b\x0f].{4}(.{4})", data[start : start + 64], re.DOTALL)
    return start + int.from_bytes(table[1], "big") if table else 0


def _stated_matroska(data: bytes) -> int:
    """The size that a Matroska file states: a header and a segment, each with its name and size; 0 where it is unknown."""
    end = 0
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if data[end : end + 4] != name or len(data) < end + 5 or not data[end + 4]:
            return 0
        width = 9 - data[end + 4].bit_length()  # of the size: the zeros in front of its first one tell
        size = int.from_bytes(data[end + 4 : end + 4 + width], "big") & ((1 << 7 * width) - 1)
        if size == (1 << 7 * width) - 1:
            return 0
        end += 4 + width + size
    return end


def _lowered(*tables: dict[str, str]) -> dict[str, str]:
    """Tags by name; Matroska and Ogg write the names in capitals."""
    return {name.lower(): value for table in tables for name, value in table.items()}


def _note(*tables: dict[str, str]) -> str | None:
    known = _lowered(*tables)
    comment = known.get("comment", "")
    return known.get(KEY) or (comment.removeprefix(MARK) if comment.startswith(MARK) else None)

"""Writing films and sounds through FFmpeg (PyAV), which sees an open file and a named format, never a path.

One thread encodes; no timestamps, no random serial numbers: the bytes are always the same.
"""

from __future__ import annotations

import io
import math
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from ._ffmpeg import KEY, MARK, SIZE
from .artifacts import Audio, Video
from .errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SOUND_ENCODERS = {"flac": "flac", "mp3": "libmp3lame", "ogg": "libopus", "mp4": "aac", "webm": "libopus"}
_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_RATES = {"mp3": _MPEG_RATES, "ogg": _OPUS_RATES, "webm": _OPUS_RATES, "mp4": (*_MPEG_RATES, 64000, 88200, 96000)}
_LAYOUTS = {1: "mono", 2: "stereo"}
_BT709 = 1  # of H.273, for matrix, primaries and transfer alike; untagged films get other colours from every player
_LIMITED_RANGE = 1
_AHEAD = 4  # frames that are converted while others are encoded
_THREADS = 4  # of an encoder of films, on every machine: x264 makes other bytes with another number


@dataclass(frozen=True)
class Coder:
    """An encoder of films: its name in FFmpeg, the worst and the usual constant rate factor, and how else it is set."""

    name: str
    worst: int
    usual: int
    options: Mapping[str, str]


# No HEVC and AV1: the encoder of one ends the process for some sizes, that of the other writes to the terminal.
# x264's mbtree is off: its AVX-512 code reads memory nobody wrote, so that the same film now and then gave other bytes.
CODERS = {
    "h264": Coder("libx264", 51, 18, {"preset": "medium", "x264-params": "mbtree=0"}),
    "vp9": Coder("libvpx-vp9", 63, 24, {"b": "0", "deadline": "good", "cpu-used": "2", "row-mt": "0"}),
}
CONTAINERS = {"mp4": ("h264", "vp9"), "webm": ("vp9",)}
"""The codecs of each format, the usual one first."""


@dataclass(frozen=True)
class Coding:
    """How a film is encoded: by one of CODERS, at a constant rate factor."""

    codec: str
    quality: int


def coding(format: str, codec: Any = None, quality: Any = None) -> Coding:
    """What was asked for, with the usual in place of None. Raises MediaError."""
    codecs = CONTAINERS.get(format)
    if codecs is None:
        raise MediaError(f"{format} takes neither quality nor codec; {' and '.join(CONTAINERS)} do")
    if codec is not None and codec not in codecs:
        raise MediaError(f"codec={codec!r:.50}: {format} holds {', '.join(codecs)}")
    coder = CODERS[codec or codecs[0]]
    quality = coder.usual if quality is None else quality
    if isinstance(quality, bool) or not isinstance(quality, int) or not 0 <= quality <= coder.worst:
        raise MediaError(f"quality={quality!r:.50}: give a whole number from 0, the best, to {coder.worst}")
    return Coding(codec or codecs[0], quality)


def encode_film(artifact: Video, format: str, note: str | None, chosen: Coding | None = None) -> bytes:
    """A film with its sound, 4:2:0; None encodes as is usual in that format."""
    buffer = io.BytesIO()
    write_film(buffer, format, note, artifact.frames, artifact.fps, artifact.sound, chosen or coding(format))
    return buffer.getvalue()


def write_film(
    file: BinaryIO,
    format: str,
    note: str | None,
    frames: Iterable[NDArray[np.uint8]],
    fps: float,
    sound: Audio | None,
    chosen: Coding,
) -> None:
    """Encode frames of one size, height x width x 3, as they come; a sound is put between them second by second."""
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None or not first.size:
        raise MediaError("the film has no frames")
    rate = Fraction(fps).limit_denominator(10_000)
    if not rate:
        raise MediaError(f"{format} cannot hold {fps:g} frames per second; repeat frames instead")
    with _writing(file, format, _ticks(rate, sound)) as container:
        film = _add_film(container, first.shape, rate, chosen)
        heard = None if sound is None else _add_sound(container, format, sound)
        if note is not None:
            container.metadata[KEY] = note
        seconds = iter(()) if sound is None else _encoded_sound(heard, sound)
        for index, packets in enumerate(_encoded_film(film, chain((first,), pictures))):
            container.mux(packets)
            if index % math.ceil(rate) == 0:
                container.mux(next(seconds, []))
        for packets in seconds:
            container.mux(packets)


def encode_sound(artifact: Audio, format: str, note: str | None) -> bytes:
    """wav and flac hold 16 bits per sample; mp3 and ogg (Opus) are lossy."""
    if format == "wav":
        return _wav(artifact, note)
    buffer = io.BytesIO()
    with _writing(buffer, format) as container:
        stream = _add_sound(container, format, artifact)
        if note is not None:
            (stream if format == "ogg" else container).metadata[KEY] = note  # Ogg keeps comments in its streams
        container.mux([packet for packets in _encoded_sound(stream, artifact) for packet in packets])
    return buffer.getvalue()


def _wav(audio: Audio, note: str | None) -> bytes:
    """A WAV file of any number of channels."""
    channels, rate = len(audio.samples), audio.sample_rate
    _refuse_silence(audio)
    chunks = _chunk(b"fmt ", struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16))
    if note is not None:
        chunks += _chunk(b"LIST", b"INFO" + _chunk(b"ICMT", f"{MARK}{note}\0".encode()))
    return _chunk(b"RIFF", b"WAVE" + chunks + _chunk(b"data", _sixteen_bits(audio.samples).T.tobytes()))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _sixteen_bits(samples: NDArray[np.float32]) -> NDArray[Any]:
    """1 is 32768, as every decoder has it, so that reading and writing again changes nothing; +1 itself is 32767."""
    import numpy as np

    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")


def _writing(file: BinaryIO, format: str, ticks: int | None = None) -> Any:
    import av

    options = {"fflags": "+bitexact"} | ({"movflags": "use_metadata_tags"} if format == "mp4" else {})
    if ticks and format == "mp4":
        options["movie_timescale"] = str(ticks)
    return av.open(file, "w", format=format, options=options)


def _ticks(rate: Fraction, sound: Audio | None) -> int:
    """Ticks per second in which the lengths of film and sound are both whole: MP4's own are milliseconds."""
    both = math.lcm(rate.numerator, sound.sample_rate if sound is not None else 1)
    return both if both < 2**31 else rate.numerator


def _add_film(container: Any, shape: tuple[int, ...], rate: Fraction, chosen: Coding) -> Any:
    height, width, _ = shape
    coder = CODERS[chosen.codec]
    stream = container.add_stream(coder.name, rate=rate, options={"crf": str(chosen.quality), **coder.options})
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    context = stream.codec_context
    context.thread_count, context.thread_type = _THREADS, "FRAME"  # slices are slower, and take more bytes
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    if width % 2 or height % 2:
        container.metadata[SIZE] = f"{width}x{height}"
    return stream


def _encoded_film(stream: Any, frames: Iterable[NDArray[np.uint8]]) -> Iterator[Any]:
    """Packets, a list of them for each frame and one for the end."""
    import av
    import numpy as np
    from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

    reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def converted(index: int, copied: Any) -> Any:
        frame = reformatter.reformat(
            copied, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = index, 1 / stream.codec_context.framerate
        return frame

    coming: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(1) as beside:  # while the next frames are made
        for index, pixels in enumerate(frames):
            height, width, _ = pixels.shape
            if height % 2 or width % 2:
                # 4:2:0 needs even sizes: the last row or column is repeated, and `decode_film` takes it away again.
                pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            # Copied before the next is asked for: its maker may use the same memory again.
            copied = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            coming.append(beside.submit(converted, index, copied))
            if len(coming) > _AHEAD:
                yield stream.encode(coming.popleft().result())
        for each in coming:
            yield stream.encode(each.result())
    yield stream.encode(None)


def _add_sound(container: Any, format: str, audio: Audio) -> Any:
    _refuse_silence(audio)
    if len(audio.samples) not in _LAYOUTS:
        raise MediaError(f"{format} holds 1 or 2 channels here, the sound has {len(audio.samples)}; save it as .wav")
    rate = audio.sample_rate
    if format in _RATES and rate not in _RATES[format]:
        rate = 48_000  # the encoder resamples
    stream = container.add_stream(_SOUND_ENCODERS[format], rate=rate, layout=_LAYOUTS[len(audio.samples)])
    stream.codec_context.thread_count = 1
    return stream


def _refuse_silence(audio: Audio) -> None:
    if not audio.samples.size:
        raise MediaError("the sound has no samples")


def _encoded_sound(stream: Any, audio: Audio) -> Iterator[list[Any]]:
    """Packets, a list of them for each second and one for the end."""
    import av
    import numpy as np

    whole = stream.codec_context.format.name.startswith("s16")
    rate, length, found = audio.sample_rate, audio.samples.shape[1], False
    for start in range(0, length, rate):
        samples = audio.samples[:, start : start + rate]
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(_sixteen_bits(samples) if whole else samples),
            "s16p" if whole else "fltp",
            _LAYOUTS[len(samples)],
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        packets = list(stream.encode(frame))
        found |= bool(packets)
        yield packets
    packets = list(stream.encode(None))
    if not packets and not found:
        raise MediaError("the sound is too short to be resampled; save it as .wav")
    yield packets

"""Films and sounds through FFmpeg (PyAV), which sees bytes and a named format, never a path or an address."""

from __future__ import annotations

import io
import re
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

from ._limits import refuse_bytes, refuse_pixels
from .artifacts import Audio, Video
from .errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEY = "aigc_sdk"
MARK = f"{KEY}: "
SIZE = f"{KEY}_size"  # the film's own size where a row or column was added

FILM_CODECS = frozenset({"h264", "hevc", "mpeg4", "vp9", "av1"})
SOUND_CODECS = {"flac": {"flac"}, "mp3": {"mp3"}, "ogg": {"opus", "vorbis", "flac"}}

_ENCODERS = {"flac": "flac", "mp3": "libmp3lame", "ogg": "libopus", "mp4": "aac"}
_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_RATES = {"mp3": _MPEG_RATES, "ogg": (8000, 12000, 16000, 24000, 48000), "mp4": (*_MPEG_RATES, 64000, 88200, 96000)}
_LAYOUTS = {1: "mono", 2: "stereo"}
_BT709 = 1  # of H.273, for matrix, primaries and transfer alike; untagged films get other colours from every player
_LIMITED_RANGE = 1
# Without "mbtree": its AVX-512 code reads memory nobody wrote, so that the same film now and then gave other bytes.
_X264 = {"crf": "18", "preset": "medium", "x264-params": "mbtree=0"}


def encode_film(artifact: Video, format: str, note: str | None) -> bytes:
    """H.264 at constant quality 18, 4:2:0."""
    return _encode(format, note, artifact, None)


def encode_sound(artifact: Audio, format: str, note: str | None) -> bytes:
    """wav and flac hold 16 bits per sample; mp3 and ogg (Opus) are lossy."""
    return _wav(artifact, note) if format == "wav" else _encode(format, note, None, artifact)


def encode_both(video: Video, audio: Audio, note: str | None) -> bytes:
    """An MP4 file of H.264 and AAC, which start together."""
    return _encode("mp4", note, video, audio)


def decode_film(data: bytes, format: str) -> tuple[Video, str | None]:
    """The frames of the first film; a sound beside it is left out."""
    import numpy as np

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
        width, height = _own_size(container.metadata.get(SIZE, ""), stream.width, stream.height)
        film = Video(frames[:shown, :height, :width], fps=float(stream.average_rate))
        if not shown:
            raise MediaError("it holds no frame")
        return film, container.metadata.get(KEY)


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
        return Audio(np.clip(samples, -1, 1), sample_rate=stream.rate), _note(container.metadata, stream.metadata)


def _opened(data: bytes, format: str) -> Any:
    import av

    # Other programs write metadata in any encoding; what is not UTF-8 is none of ours.
    return av.open(io.BytesIO(data), format=format, io_open=_refuse_reference, metadata_errors="replace")


def _refuse_reference(url: str, flags: int, options: Any) -> NoReturn:
    raise PermissionError("a media file may not open another file or address")


def _stream(streams: Any, codecs: frozenset[str] | set[str] | None) -> Any:
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


def _note(*tables: dict[str, str]) -> str | None:
    known = {name.lower(): value for table in tables for name, value in table.items()}
    comment = known.get("comment", "")
    return known.get(KEY) or (comment.removeprefix(MARK) if comment.startswith(MARK) else None)


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


def _encode(format: str, note: str | None, video: Video | None, audio: Audio | None) -> bytes:
    """One thread, no timestamps, no random serial numbers: the bytes are always the same."""
    import av

    buffer = io.BytesIO()
    options = {"fflags": "+bitexact"} | ({"movflags": "use_metadata_tags"} if format == "mp4" else {})
    with av.open(buffer, "w", format=format, options=options) as container:
        film = _add_film(container, video) if video is not None else None
        sound = _add_sound(container, format, audio) if audio is not None else None
        if note is not None:
            owner = sound if sound is not None and format == "ogg" else container  # Ogg keeps comments in its streams
            owner.metadata[KEY] = note
        if film is not None and video is not None:
            _encode_frames(container, film, video)
        if sound is not None and audio is not None:
            _encode_samples(container, sound, audio)
    return buffer.getvalue()


def _add_film(container: Any, video: Video) -> Any:
    if not video.frames.size:
        raise MediaError("the film has no frames")
    rate = Fraction(video.fps).limit_denominator(10_000)
    if not rate:
        raise MediaError(f"mp4 cannot hold {video.fps:g} frames per second; repeat frames instead")
    _, height, width, _ = video.frames.shape
    stream = container.add_stream("libx264", rate=rate, options=_X264)
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    if width % 2 or height % 2:
        container.metadata[SIZE] = f"{width}x{height}"
    return stream


def _encode_frames(container: Any, stream: Any, video: Video) -> None:
    import av
    import numpy as np
    from av.video.reformatter import ColorRange, Colorspace

    _, height, width, _ = video.frames.shape
    for index, pixels in enumerate(video.frames):
        # 4:2:0 needs even sizes: the last row or column is repeated, and `decode_film` takes it away again.
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = index, 1 / stream.codec_context.framerate
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _add_sound(container: Any, format: str, audio: Audio) -> Any:
    _refuse_silence(audio)
    if len(audio.samples) not in _LAYOUTS:
        raise MediaError(f"{format} holds 1 or 2 channels here, the sound has {len(audio.samples)}; save it as .wav")
    rate = audio.sample_rate
    if format in _RATES and rate not in _RATES[format]:
        rate = 48_000  # the encoder resamples
    stream = container.add_stream(_ENCODERS[format], rate=rate, layout=_LAYOUTS[len(audio.samples)])
    stream.codec_context.thread_count = 1
    return stream


def _refuse_silence(audio: Audio) -> None:
    if not audio.samples.size:
        raise MediaError("the sound has no samples")


def _encode_samples(container: Any, stream: Any, audio: Audio) -> None:
    import av
    import numpy as np

    whole = stream.codec_context.format.name.startswith("s16")
    samples = _sixteen_bits(audio.samples) if whole else audio.samples
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples), "s16p" if whole else "fltp", _LAYOUTS[len(samples)]
    )
    frame.sample_rate, frame.pts, frame.time_base = audio.sample_rate, 0, Fraction(1, audio.sample_rate)
    packets = [*stream.encode(frame), *stream.encode(None)]
    if not packets:
        raise MediaError("the sound is too short to be resampled; save it as .wav")
    container.mux(packets)

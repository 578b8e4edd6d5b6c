"""Files: pictures, films, sounds and texts, with the artifact's origin inside the file's own metadata.

| kind  | formats                                                                                            |
|-------|----------------------------------------------------------------------------------------------------|
| text  | txt, md (the origin is a comment in the last line), json                                           |
| image | png (lossless), jpg, webp (lossless)                                                               |
| video | mp4 (H.264, 4:2:0, even sizes), gif (256 colours)                                                  |
| audio | wav (16-bit PCM), flac (16 bits too, smaller), mp3 and ogg (lossy; ogg is Opus, at 48 kHz if need be)   |

The same artifact gives the same bytes. Libraries see bytes and a named format, never a path or an address.
"""

from __future__ import annotations

import io
import json
import stat
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import storage
from .artifacts import Artifact, Audio, Image, Text, Video
from .errors import AigcError, DiskError, MediaError, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE_LIMIT = 2_000_000_000  # bytes
PIXEL_LIMIT = 64_000_000  # of one picture or frame; a file of a few kB can claim billions
DECODED_LIMIT = 4_000_000_000  # bytes of frames or samples in memory
KEY = "aigc_sdk"  # of the origin in a file's metadata
_HEAD, _TAIL = f"<!-- {KEY}: ", " -->"

MIME = {
    "txt": "text/plain",
    "md": "text/markdown",
    "json": "application/json",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "gif": "image/gif",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
}
FORMATS: dict[str, tuple[str, ...]] = {
    "text": ("txt", "md", "json"),
    "image": ("png", "jpg", "jpeg", "webp"),
    "video": ("mp4", "gif"),
    "audio": ("wav", "flac", "mp3", "ogg"),
}


def mime_type(format: str) -> str:
    """The media type of a format: `mime_type("png")` is "image/png". Raises MediaError."""
    if format.lower() not in MIME:
        raise MediaError(f"format {printable(format)!r} is not known; there are: {', '.join(MIME)}")
    return MIME[format.lower()]


def encode(artifact: Artifact, format: str, *, origin: bool = True) -> bytes:
    """The bytes of a file of that format; `origin` is written into its metadata. Raises MediaError."""
    chosen = format.lower()
    known = FORMATS.get(artifact.kind, ())
    if chosen not in known:
        raise MediaError(
            f"{type(artifact).__name__} cannot be written as {printable(format)!r}; use one of: {', '.join(known)}"
        )
    note = _dumped(artifact.origin) if origin and artifact.origin else None
    with _foreign(f"writing {chosen}"):
        return _ENCODERS[artifact.kind](artifact, chosen, note)


def write(artifact: Artifact, path: str | Path, *, origin: bool = True) -> Path:
    """Write a file, whole or not at all; its suffix names the format. Raises MediaError or DiskError."""
    target = Path(path)
    data = encode(artifact, _format(target, artifact), origin=origin)
    storage.write_file(target, data)
    return target


def read(path: str | Path) -> Artifact:
    """The artifact in a file, with its origin where the file carries one. Raises MediaError or DiskError."""
    place = Path(path)
    format = place.suffix[1:].lower()
    kind = next((kind for kind, formats in FORMATS.items() if format in formats), None)
    if kind is None:
        raise MediaError(f"{_shown(place)}: its suffix is none of {', '.join(MIME)}")
    data = _content(place)
    with _foreign(f"{_shown(place)} cannot be read as {format}"):
        artifact, note = _DECODERS[kind](data, format)
    return replace(artifact, origin=_loaded(note)) if note else artifact


def mux(video: Video, audio: Audio, path: str | Path) -> Path:
    """Write a film with its sound (H.264 and AAC) as .mp4; the film's origin goes into the file."""
    target = Path(path)
    if target.suffix.lower() != ".mp4":
        raise MediaError(f"{_shown(target)}: a film with sound is written as .mp4")
    note = _dumped(video.origin) if video.origin else None
    with _foreign("writing mp4"):
        data = _container("mp4", note, video, audio)
    storage.write_file(target, data)
    return target


def _format(path: Path, artifact: Artifact) -> str:
    if not path.suffix:
        raise MediaError(
            f"{_shown(path)} has no suffix to name the format; use one of: {', '.join(FORMATS.get(artifact.kind, ()))}"
        )
    return path.suffix[1:]


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{_shown(path)} is not an ordinary file")
        if status.st_size > FILE_LIMIT:
            raise MediaError(f"{_shown(path)} has {status.st_size:,} bytes; the limit is {FILE_LIMIT:,}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MediaError(f"there is no file {_shown(path)}") from error
    except (OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise DiskError(f"{_shown(path)} cannot be read: {error}") from error


def _dumped(origin: Mapping[str, Any]) -> str:
    """JSON in ASCII, without `>`: it ends no comment, and survives every container's encoding."""
    return json.dumps(dict(origin), sort_keys=True, separators=(",", ":")).replace(">", "\\u003e")


def _loaded(note: str) -> dict[str, Any]:
    try:
        found = json.loads(note)
    except (ValueError, RecursionError):
        return {}  # somebody else's note under our key
    return found if isinstance(found, dict) else {}


def _encode_text(artifact: Any, format: str, note: str | None) -> bytes:
    if format == "json":
        content = {"text": artifact.text, "info": dict(artifact.info)}
        if note:
            content["origin"] = json.loads(note)
        return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
    text: str = artifact.text
    if note is None and text.rstrip().endswith(_TAIL.strip()) and _HEAD in text:
        note = "{}"  # so that a text which ends like our own comment is read back as it is
    return (text + (f"\n{_HEAD}{note}{_TAIL}\n" if note is not None else "")).encode()


def _decode_text(data: bytes, format: str) -> tuple[Artifact, str | None]:
    content = data.decode("utf-8")
    if format == "json":
        found = json.loads(content)
        if not isinstance(found, dict) or not isinstance(found.get("text"), str):
            raise ValueError("it is no JSON object with a text")
        note = json.dumps(found["origin"]) if isinstance(found.get("origin"), dict) else None
        return Text(found["text"], info=found.get("info") or {}), note
    text, mark, rest = content.rpartition(f"\n{_HEAD}")
    if mark and rest.endswith(f"{_TAIL}\n") and "\n" not in rest[:-1]:
        return Text(text), rest[: -len(_TAIL) - 1]
    return Text(content), None


def _encode_image(artifact: Any, format: str, note: str | None) -> bytes:
    from PIL import PngImagePlugin

    picture, buffer = artifact.to_pil(), io.BytesIO()
    if format == "png":
        info = PngImagePlugin.PngInfo()
        if note:
            info.add_itxt(KEY, note)
        picture.save(buffer, "PNG", pnginfo=info)
    elif format == "webp":
        picture.save(buffer, "WEBP", lossless=True, quality=75, method=4, exif=_exif(note))
    else:
        picture.save(buffer, "JPEG", quality=95, subsampling=0, exif=_exif(note))
    return buffer.getvalue()


def _exif(note: str | None) -> bytes:
    from PIL import Image as Pillow

    exif = Pillow.Exif()
    if note:
        exif[0x010E] = f"{KEY}: {note}"  # ImageDescription
    return exif.tobytes() if note else b""


def _decode_image(data: bytes, format: str) -> tuple[Artifact, str | None]:
    names = {"png": "PNG", "webp": "WEBP", "jpg": "JPEG", "jpeg": "JPEG", "gif": "GIF"}
    with _pillow(data, names[format]) as picture:
        picture.load()
        note = picture.info.get(KEY) or _exif_note(picture)
        return Image.from_pil(picture), note


def _exif_note(picture: Any) -> str | None:
    described = str(picture.getexif().get(0x010E, ""))
    return described.removeprefix(f"{KEY}: ") if described.startswith(f"{KEY}: ") else None


@contextmanager
def _pillow(data: bytes, name: str) -> Iterator[Any]:
    """A picture opened by the one decoder that its suffix names, no larger than the limit."""
    from PIL import Image as Pillow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # the limit here is lower, and an error
        with Pillow.open(io.BytesIO(data), formats=(name,)) as picture:
            _refuse_bomb(*picture.size)
            yield picture


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT:
        raise MediaError(f"a picture of {width:,} x {height:,} pixels is more than the limit of {PIXEL_LIMIT:,}")


def _encode_video(artifact: Any, format: str, note: str | None) -> bytes:
    if not len(artifact.frames):
        raise MediaError("a film without frames cannot be written; generate at least one")
    if format == "mp4":
        return _container("mp4", note, artifact, None)
    frames, buffer = artifact.to_pil(), io.BytesIO()
    shown = [
        round((index + 1) * 100 / artifact.fps) - round(index * 100 / artifact.fps) for index in range(len(frames))
    ]
    frames[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[max(1, each) * 10 for each in shown],  # GIF counts in hundredths of a second
        loop=0,
        optimize=False,
        comment=f"{KEY}: {artifact.fps!r} {note or ''}".encode(),
    )
    return buffer.getvalue()


def _decode_video(data: bytes, format: str) -> tuple[Artifact, str | None]:
    return _decode_gif(data) if format == "gif" else _decode_film(data)


def _decode_gif(data: bytes) -> tuple[Artifact, str | None]:
    import numpy as np
    from PIL import ImageSequence

    with _pillow(data, "GIF") as picture:
        _refuse_large(picture.width * picture.height * 3 * getattr(picture, "n_frames", 1))
        comment = picture.info.get("comment", b"").decode("utf-8", "replace")
        frames, durations = [], []
        for frame in ImageSequence.Iterator(picture):
            durations.append(frame.info.get("duration", 100))
            frames.append(np.asarray(frame.convert("RGB")))
    fps, _, note = comment.removeprefix(f"{KEY}: ").partition(" ") if comment.startswith(f"{KEY}: ") else ("", "", "")
    rate = float(fps) if fps else 1000 * len(frames) / max(1, sum(durations))
    return Video(np.stack(frames), fps=rate), note or None


def _decode_film(data: bytes) -> tuple[Artifact, str | None]:
    import av
    import numpy as np

    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        if not container.streams.video:
            raise MediaError("the file holds no film")
        stream = container.streams.video[0]
        _refuse_bomb(stream.width, stream.height)
        stream.thread_count = 1
        frames, size = [], 0
        for frame in container.decode(stream):
            frames.append(frame.to_ndarray(format="rgb24"))
            size += frames[-1].nbytes
            _refuse_large(size)
        if not frames:
            raise MediaError("the file holds no frame")
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        return Video(np.stack(frames), fps=rate), container.metadata.get(KEY)


def _refuse_large(size: int) -> None:
    if size > DECODED_LIMIT:
        raise MediaError(f"what the file holds needs more than the limit of {DECODED_LIMIT:,} bytes of memory")


def _encode_audio(artifact: Any, format: str, note: str | None) -> bytes:
    if format == "wav":
        return _wav(artifact, note)
    if format == "ogg" and artifact.sample_rate not in _OPUS_RATES:
        artifact = _resampled(artifact, _OPUS_RATES[-1])
    return _container(format, note, None, artifact)


def _resampled(audio: Audio, rate: int) -> Audio:
    import av
    import numpy as np

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio.samples), "fltp", _LAYOUTS[len(audio.samples)])
    frame.sample_rate = audio.sample_rate
    resampler = av.AudioResampler("fltp", rate=rate)
    parts = [each.to_ndarray() for given in (frame, None) for each in resampler.resample(given)]
    return Audio(np.clip(np.concatenate(parts, axis=1), -1, 1), sample_rate=rate)


def _pcm(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    import numpy as np

    return np.rint(samples * 32767).astype(np.int16)


def _wav(audio: Audio, note: str | None) -> bytes:
    channels, rate = len(audio.samples), audio.sample_rate
    content = _pcm(audio.samples).T.tobytes()
    chunks = _chunk(b"fmt ", struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16))
    if note:
        chunks += _chunk(b"LIST", b"INFO" + _chunk(b"ICMT", f"{KEY}: {note}".encode() + b"\0"))
    return _chunk(b"RIFF", b"WAVE" + chunks + _chunk(b"data", content))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _decode_audio(data: bytes, format: str) -> tuple[Artifact, str | None]:
    import av
    import numpy as np

    with av.open(io.BytesIO(data), "r", format=format) as container:
        if not container.streams.audio:
            raise MediaError("the file holds no sound")
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp")
        parts, size = [], 0
        for frame in container.decode(stream):
            for each in resampler.resample(frame):
                parts.append(each.to_ndarray())
                size += parts[-1].nbytes
                _refuse_large(size)
        if not parts:
            raise MediaError("the file holds no samples")
        notes = {**container.metadata, **stream.metadata}
        rate = stream.rate
    samples = np.concatenate(parts, axis=1).astype(np.float32)
    if format in ("wav", "flac"):
        samples *= np.float32(32768 / 32767)  # the inverse of how they are written
    comment = {key.lower(): value for key, value in notes.items()}
    note = comment.get(KEY) or comment.get("comment", "")
    origin = note.removeprefix(f"{KEY}: ") if note.startswith(("{", f"{KEY}: ")) else None
    return Audio(np.clip(samples, -1, 1), sample_rate=rate), origin


def _container(format: str, note: str | None, video: Video | None, audio: Audio | None) -> bytes:
    """Encode through FFmpeg: one thread and no timestamps, so that the bytes are always the same."""
    import av

    buffer = io.BytesIO()
    options = {"movflags": "use_metadata_tags", "fflags": "+bitexact", "serial_offset": "0"}
    keep = {name: value for name, value in options.items() if _takes(format, name)}
    with av.open(buffer, "w", format=format, options=keep) as container:
        if note:
            container.metadata[KEY] = note
        film = _film_stream(container, video) if video is not None else None
        sound = _sound_stream(container, format, audio) if audio is not None else None
        if note and sound is not None and format == "ogg":
            sound.metadata[KEY] = note  # Ogg keeps comments in its streams
        if video is not None and film is not None:
            _put_frames(container, film, video)
        if audio is not None and sound is not None:
            _put_samples(container, sound, audio)
    return buffer.getvalue()


def _takes(format: str, option: str) -> bool:
    return {"movflags": format == "mp4", "serial_offset": format == "ogg"}.get(option, True)


def _film_stream(container: Any, video: Video) -> Any:
    _, height, width, _ = video.frames.shape
    if height % 2 or width % 2:
        raise MediaError(f"mp4 needs even sizes, the film has {width} x {height} pixels; crop it, or save it as .gif")
    stream = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1001))
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.thread_count = 1
    stream.codec_context.flags |= _BITEXACT
    stream.options = {"crf": "18", "preset": "medium", "threads": "1"}
    return stream


_CODECS = {"flac": ("flac", "s16"), "mp3": ("libmp3lame", "fltp"), "ogg": ("libopus", "flt"), "mp4": ("aac", "fltp")}
_LAYOUTS = {1: "mono", 2: "stereo"}
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT


def _sound_stream(container: Any, format: str, audio: Audio) -> Any:
    codec, kind = _CODECS[format]
    if len(audio.samples) not in _LAYOUTS:
        raise MediaError(f"{format} is written with 1 or 2 channels, the sound has {len(audio.samples)}; use .wav")
    stream = container.add_stream(codec, rate=audio.sample_rate, layout=_LAYOUTS[len(audio.samples)])
    stream.codec_context.format = kind
    stream.thread_count = 1
    stream.codec_context.flags |= _BITEXACT
    if format in ("mp3", "mp4"):
        stream.bit_rate = 192_000
    return stream


def _put_frames(container: Any, stream: Any, video: Video) -> None:
    import av

    tick = 1 / Fraction(stream.codec_context.framerate)
    for index, pixels in enumerate(video.frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = index, tick
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _put_samples(container: Any, stream: Any, audio: Audio) -> None:
    import av
    import numpy as np

    kind = stream.format.name
    if kind.startswith("s16"):
        samples: Any = _pcm(audio.samples)
    else:
        samples = np.ascontiguousarray(audio.samples)
    planar = kind.endswith("p")
    content = samples if planar else samples.T.reshape(1, -1)
    size = stream.codec_context.frame_size or 4096
    channels = 1 if planar else len(samples)
    for start in range(0, samples.shape[1], size):
        part = np.ascontiguousarray(content[:, start * channels : (start + size) * channels])
        frame = av.AudioFrame.from_ndarray(part, format=kind, layout=stream.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = audio.sample_rate, start, Fraction(1, audio.sample_rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@contextmanager
def _foreign(what: str) -> Iterator[None]:
    """Turn whatever a codec raises into MediaError, with its cause."""
    try:
        yield
    except AigcError as error:
        if type(error) is MediaError or isinstance(error, DiskError):
            raise
        raise MediaError(f"{what}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:
        cause = printable(f"{type(error).__name__}: {error}")
        raise MediaError(f"{what}: {cause}") from error


def _shown(path: Path) -> str:
    return printable(str(path))


_ENCODERS: dict[str, Callable[[Any, str, str | None], bytes]] = {
    "text": _encode_text,
    "image": _encode_image,
    "video": _encode_video,
    "audio": _encode_audio,
}
_DECODERS: dict[str, Callable[[bytes, str], tuple[Artifact, str | None]]] = {
    "text": _decode_text,
    "image": _decode_image,
    "video": _decode_video,
    "audio": _decode_audio,
}

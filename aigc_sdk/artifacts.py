"""What backends make: Text, Image, Video and Audio; frozen, on the CPU, in one documented layout each."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from .errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

EMBED_LIMIT = 8_000_000  # bytes; a notebook holds its outputs in one JSON file, so larger media are described instead


@dataclass(frozen=True, eq=False)
class Artifact:
    """Something generated, or one chunk of it.

    `sample` says which result of the call a chunk belongs to: results are flat and prompt-major, so sample `i` is
    for prompt `i // n`. `origin` records how it was made (see `aigc_sdk.replay`). `info` holds what the backend
    reports about it, such as `finish_reason` or timestamps. Two artifacts are equal when their content is.
    """

    kind: ClassVar[str] = ""
    sample: int = field(default=0, kw_only=True)
    origin: Mapping[str, Any] = field(default_factory=dict, kw_only=True, repr=False)
    info: Mapping[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    @classmethod
    def join(cls, chunks: Iterable[Self]) -> Self:
        """The whole that consecutive `chunks` of one sample make."""
        parts = list(chunks)
        if not parts:
            raise InputError(f"there are no {cls.__name__} chunks to join; pass at least one")
        info = {name: value for part in parts for name, value in part.info.items()}
        return replace(cls._join(parts), sample=parts[0].sample, origin=parts[0].origin, info=info)

    @classmethod
    def _join(cls, parts: list[Self]) -> Self:
        raise NotImplementedError

    def save(self, path: str | Path, *, origin: bool = True) -> Path:
        """Write the artifact to `path`, whose suffix names the format; `origin` goes into the file itself.

        The file appears whole or not at all. Raises MediaError for an unknown format and DiskError for storage.
        """
        from . import media

        return media.write(self, path, origin=origin)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def _embed(self, format: str) -> str | None:
        """The artifact as a `data:` URL, or None when it is larger than a notebook should carry."""
        import base64

        from . import media

        data = media.encode(self, format, origin=False)
        if len(data) > EMBED_LIMIT:
            return None
        return f"data:{media.mime_type(format)};base64,{base64.b64encode(data).decode()}"

    def _too_large(self) -> str:
        return f"<p>{html.escape(repr(self))}: too large to embed; <code>save()</code> it instead.</p>"


@dataclass(frozen=True, eq=False)
class Text(Artifact):
    """A piece of text; `str(artifact)` is the text."""

    kind: ClassVar[str] = "text"
    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InputError(f"Text holds a str, got {type(self.text).__name__}", field="text")

    def __str__(self) -> str:
        return self.text

    @classmethod
    def _join(cls, parts: list[Self]) -> Self:
        return cls("".join(part.text for part in parts))

    def _content(self) -> tuple[Any, ...]:
        return (self.text,)

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap">{html.escape(self.text[:EMBED_LIMIT])}</pre>'


@dataclass(frozen=True, eq=False, repr=False)
class Image(Artifact):
    """A picture: `pixels` is uint8, height x width x 3, RGB."""

    kind: ClassVar[str] = "image"
    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        _check_array(self, "pixels", self.pixels, "uint8", ("height", "width", 3))

    def __repr__(self) -> str:
        height, width, _ = self.pixels.shape
        return f"Image({width}x{height}, sample={self.sample})"

    @classmethod
    def from_pil(cls, image: PIL.Image.Image) -> Self:
        """The same picture as an Image; other modes are converted to RGB."""
        import numpy as np

        return cls(np.asarray(image.convert("RGB")))

    @classmethod
    def _join(cls, parts: list[Self]) -> Self:
        return cls(parts[-1].pixels)  # chunks of an image are previews, each better than the one before

    def to_numpy(self) -> NDArray[np.uint8]:
        """A writable copy of the pixels, uint8, height x width x 3."""
        return self.pixels.copy()

    def to_pil(self) -> PIL.Image.Image:
        """The picture as a Pillow image."""
        import PIL.Image

        return PIL.Image.fromarray(self.pixels)

    def _content(self) -> tuple[Any, ...]:
        return (self.pixels.shape, self.pixels.tobytes())

    def _repr_png_(self) -> bytes | None:
        from . import media

        data = media.encode(self, "png", origin=False)
        return data if len(data) <= EMBED_LIMIT else None


@dataclass(frozen=True, eq=False, repr=False)
class Video(Artifact):
    """A film: `frames` is uint8, time x height x width x 3, RGB; `fps` is frames per second; `sound` starts with it."""

    kind: ClassVar[str] = "video"
    frames: NDArray[np.uint8]
    fps: float = field(kw_only=True)
    sound: Audio | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_array(self, "frames", self.frames, "uint8", ("time", "height", "width", 3))
        if not 0 < self.fps <= 1000:
            raise InputError(f"Video.fps is {self.fps}; give frames per second above 0, at most 1000", field="fps")
        if self.sound is not None and not isinstance(self.sound, Audio):
            raise InputError(f"Video.sound is a {type(self.sound).__name__}; give an Audio, or None", field="sound")

    def __repr__(self) -> str:
        time, height, width, _ = self.frames.shape
        heard = "" if self.sound is None else ", with sound"
        return f"Video({width}x{height}, {time} frames, {self.fps:g} fps{heard}, sample={self.sample})"

    @classmethod
    def _join(cls, parts: list[Self]) -> Self:
        import numpy as np

        sounds = [part.sound for part in parts if part.sound is not None]
        sound = Audio.join(sounds) if sounds else None
        return cls(np.concatenate([part.frames for part in parts]), fps=parts[0].fps, sound=sound)

    def save(
        self, path: str | Path, *, origin: bool = True, quality: int | None = None, codec: str | None = None
    ) -> Path:
        """Write the film to `path` with its sound; the suffix names the format (see `aigc_sdk.media`).

        quality, codec: for .mp4 and .webm. codec: h264, the usual one of .mp4, or vp9, that of .webm. quality: its constant
        rate factor, from 0, the best and largest, to 51 of h264 and 63 of vp9; None takes 18 and 24, which look alike.
        Raises MediaError for what a format does not hold, and DiskError.
        """
        from . import media

        return media.write(self, path, origin=origin, quality=quality, codec=codec)

    def sheet(self, *, columns: int | None = None, count: int | None = None, gap: int = 2, scale: int = 1) -> Image:
        """A contact sheet of the frames, row by row; `count` shows as many, evenly spread, with the first and the last.

        The rest is as in `aigc_sdk.media.grid`. Raises InputError, and MediaError for a sheet that is too large.
        """
        from . import media

        return media.sheet(self, columns=columns, count=count, gap=gap, scale=scale)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps

    def to_numpy(self) -> NDArray[np.uint8]:
        """A writable copy of the frames, uint8, time x height x width x 3."""
        return self.frames.copy()

    def to_pil(self) -> list[PIL.Image.Image]:
        """The frames as Pillow images."""
        import PIL.Image

        return [PIL.Image.fromarray(frame) for frame in self.frames]

    def _content(self) -> tuple[Any, ...]:
        return (self.fps, self.frames.shape, self.frames.tobytes(), self.sound)

    def _repr_html_(self) -> str:
        url = self._embed("mp4")
        return f'<video controls loop src="{url}"></video>' if url else self._too_large()


@dataclass(frozen=True, eq=False, repr=False)
class Audio(Artifact):
    """A sound: `samples` is float32 in [-1, 1], channels x time; `sample_rate` is in Hz."""

    kind: ClassVar[str] = "audio"
    samples: NDArray[np.float32]
    sample_rate: int = field(kw_only=True)

    def __post_init__(self) -> None:
        _check_array(self, "samples", self.samples, "float32", ("channels", "time"))
        if not 1000 <= self.sample_rate <= 384_000:
            message = f"Audio.sample_rate is {self.sample_rate}; give samples per second from 1,000 to 384,000"
            raise InputError(message, field="sample_rate")
        if self.samples.size and not abs(self.samples).max() <= 1:  # `not <=` also catches NaN
            raise InputError("Audio.samples leaves [-1, 1] or is not finite; scale or clip it first", field="samples")

    def __repr__(self) -> str:
        return f"Audio({self.duration:.2f} s, {self.sample_rate} Hz, {len(self.samples)} ch, sample={self.sample})"

    @classmethod
    def _join(cls, parts: list[Self]) -> Self:
        import numpy as np

        return cls(np.concatenate([part.samples for part in parts], axis=1), sample_rate=parts[0].sample_rate)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[1] / self.sample_rate)

    def to_numpy(self) -> NDArray[np.float32]:
        """A writable copy of the samples, float32, channels x time."""
        return self.samples.copy()

    def _content(self) -> tuple[Any, ...]:
        return (self.sample_rate, self.samples.shape, self.samples.tobytes())

    def _repr_html_(self) -> str:
        url = self._embed("wav")
        return f'<audio controls src="{url}"></audio>' if url else self._too_large()


KINDS: dict[str, type[Artifact]] = {cls.kind: cls for cls in (Text, Image, Video, Audio)}


def _check_array(owner: Artifact, name: str, array: Any, dtype: str, shape: tuple[str | int, ...]) -> None:
    """Refuse another layout than the documented one, then freeze the array."""
    import numpy as np

    label = f"{type(owner).__name__}.{name}"
    wanted = f"a {dtype} array of shape {' x '.join(map(str, shape))}"
    if not isinstance(array, np.ndarray):
        raise InputError(f"{label} is a {type(array).__name__}; give {wanted}", field=name)
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        raise InputError(f"{label} is {array.dtype} of shape {array.shape}; give {wanted}", field=name)
    frozen = array.view()
    frozen.flags.writeable = False
    object.__setattr__(owner, name, frozen)

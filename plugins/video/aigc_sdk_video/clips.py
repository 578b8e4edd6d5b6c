"""Clips to train on, from wherever they are: arrays, films, folders of films that are decoded when their turn comes, digits.

A row of the data is a stretch of as many frames as the model makes at a time; long clips have several, half overlapping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import PIL.Image
import PIL.ImageOps

from aigc_sdk import media
from aigc_sdk.artifacts import Video
from aigc_sdk.errors import DataError, MediaError, printable, shown
from aigc_sdk.training.images import LUMA

from .architecture import ABSENT, FREE, Sizes
from .digits import SETS, MovingDigits

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = tuple(f".{suffix}" for suffix, each in media.FORMATS.items() if each.kind == "video")
FORMATS = {".mp4": "mp4", ".gif": "gif", ".webm": "webm"}
CACHED = 64  # films that are kept decoded
UNEVEN = 0.01  # part of a frame's time by which frames may come early or late

Render = Callable[["NDArray[np.int64]", "NDArray[np.int64]", int], "NDArray[np.uint8]"]


@dataclass(frozen=True, eq=False)
class Clips:
    """Rows of equal length, made when they are asked for."""

    names: tuple[str, ...]
    """Of the labels; empty where there are none."""
    places: NDArray[np.int64]
    """n x 2: which clip a row is of, and at which frame it starts."""
    labels: NDArray[np.int64]
    """clips x objects x 2: label and direction of what is in each clip; see `architecture`."""
    render: Render
    """From clips, first frames and a length to frames, n x length x size x size x channels."""
    content: tuple[Any, ...]
    """What a run's record of its data is a digest of."""
    length: int
    """Frames of a row."""
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    def frames(self, rows: NDArray[np.int64], offsets: NDArray[np.int64] | int, length: int) -> NDArray[np.uint8]:
        """`length` frames of each row, from its own frame number `offsets` on."""
        clips, starts = self.places[rows].T
        return self.render(clips, starts + offsets, length)

    def conditions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """n x objects x 2; the directions hold for rows that start where their clip does, and are FREE in others."""
        clips, starts = self.places[rows].T
        found: NDArray[np.int64] = self.labels[clips]
        later = (starts > 0)[:, None] & (found[:, :, 1] != ABSENT)
        found[..., 1][later] = FREE
        return found

    def _content(self) -> tuple[Any, ...]:
        return self.content


def clips(data: Any, sizes: Sizes, *, corrupt: str = "refuse", name: str = "data") -> Clips:
    """Gather clips from what a user has, at the model's size; the middle square of others is resized to it.

    data: one of
      - "digits", "digits/train", "digits/test": scikit-learn's handwritten digits, moving
      - a folder of films (mp4, gif and so on); sub-folders are labels. Files are looked through now and decoded later
      - an array n x time x height x width [x channels], uint8, or floating in [0, 1]; or a pair of one and n labels
      - a list of Videos or of arrays of one clip each; or of pairs of one and a label
    corrupt: "refuse" or "skip" a film that cannot be read.
    Raises DataError, naming the clip and the remedy.
    """
    if isinstance(data, Clips):
        return data
    if isinstance(data, str) and data in SETS:
        return _digits(data, sizes)
    if isinstance(data, str | Path):
        return _folder(Path(data).expanduser(), sizes, corrupt, name)
    return _memory(data, sizes, name)


def _digits(part: str, sizes: Sizes) -> Clips:
    length = 2 * sizes.frames
    made = MovingDigits(part, size=sizes.size, length=length, objects=sizes.objects, background=sizes.background)
    everything = np.arange(len(made))

    def render(chosen: NDArray[np.int64], starts: NDArray[np.int64], wanted: int) -> NDArray[np.uint8]:
        return made.frames(chosen, starts, wanted).repeat(sizes.channels, -1)

    places = _places([length] * len(made), sizes.frames)
    return Clips(made.names, places, made.conditions(everything), render, (part, sizes.model_dump()), sizes.frames)


def _places(lengths: Sequence[int], frames: int) -> NDArray[np.int64]:
    """Every stretch of so many frames, half overlapping."""
    found = [(clip, start) for clip, n in enumerate(lengths) for start in range(0, n - frames + 1, max(1, frames // 2))]
    return np.array(found, np.int64).reshape(-1, 2)


def _memory(data: Any, sizes: Sizes, name: str) -> Clips:
    films, labels = _listed(data, name)
    if not len(films):
        raise DataError(f"{name} holds no clips", field=name)
    held = [_fitted(_frames(film, f"{name}[{index}]", name), sizes) for index, film in enumerate(films)]
    for index, film in enumerate(held):
        _check_length(len(film), sizes, f"{name}[{index}]", name)

    def render(chosen: NDArray[np.int64], starts: NDArray[np.int64], wanted: int) -> NDArray[np.uint8]:
        return np.stack([held[clip][start : start + wanted] for clip, start in zip(chosen, starts, strict=True)])

    names, conditions = _conditions(labels, len(held), sizes, name)
    places = _places([len(film) for film in held], sizes.frames)
    return Clips(names, places, conditions, render, (*held, conditions, names), sizes.frames)


def _listed(data: Any, name: str) -> tuple[Sequence[Any], list[Any] | None]:
    """The films in `data`, and their labels where there are any."""
    if hasattr(data, "detach"):
        data = data.detach().cpu().numpy()
    if isinstance(data, tuple) and len(data) == 2 and (isinstance(data[0], list) or hasattr(data[0], "shape")):
        films, _ = _listed(data[0], name)
        labels = list(np.asarray(data[1]).tolist()) if np.ndim(data[1]) == 1 else None
        if labels is None or len(labels) != len(films):
            raise DataError(f"{name} has {len(films)} clips; give as many labels, one each", field=name)
        return films, labels
    if isinstance(data, np.ndarray):
        if data.ndim not in (4, 5):
            raise DataError(
                f"{name} is an array of shape {data.shape}; give n x time x height x width [x channels]", field=name
            )
        return cast("Sequence[Any]", data), None
    if not isinstance(data, Iterable) or isinstance(data, bytes | Video | dict):
        remedy = (
            "pass a list of it" if isinstance(data, Video) else "pass a folder, an array, a list of films, or 'digits'"
        )
        raise DataError(f"{name} is a {type(data).__name__}, which clips are not taken from; {remedy}", field=name)
    items = list(data)
    pairs = [isinstance(item, tuple) and len(item) == 2 for item in items]
    if any(pairs) and not all(pairs):
        raise DataError(f"{name}[{pairs.index(False)}] has no label and others have; give one to each", field=name)
    if any(pairs):
        return [item[0] for item in items], [item[1] for item in items]
    return items, None


def _frames(film: Any, where: str, name: str) -> NDArray[np.uint8]:
    """One clip as uint8, time x height x width x channels."""
    frames = film.frames if isinstance(film, Video) else film
    frames = frames.detach().cpu().numpy() if hasattr(frames, "detach") else frames
    if not isinstance(frames, np.ndarray):
        raise DataError(f"{where} is a {type(film).__name__}; give a Video, or an array of its frames", field=name)
    shaped = frames[..., None] if frames.ndim == 3 else frames
    if shaped.ndim != 4 or shaped.shape[3] not in (1, 3):
        raise DataError(f"{where} is of shape {frames.shape}; give time x height x width [x 1 or 3]", field=name)
    if not shaped.size:
        raise DataError(f"{where} has no frame; leave it out", field=name)
    if shaped.dtype == np.uint8:
        return shaped
    if not np.issubdtype(shaped.dtype, np.floating):
        raise DataError(f"{where} holds {shaped.dtype}; give uint8, or floating numbers from 0 to 1", field=name)
    if not np.isfinite(shaped).all() or shaped.min() < 0 or shaped.max() > 1:
        raise DataError(f"{where} has pixels outside 0 to 1, or NaN; repair it or leave it out", field=name)
    return np.rint(shaped * 255).astype(np.uint8)


def _fitted(frames: NDArray[np.uint8], sizes: Sizes) -> NDArray[np.uint8]:
    """Frames with the model's channels, and their middle square in its size."""
    if sizes.channels == 1 and frames.shape[3] == 3:
        frames = ((frames @ np.array(LUMA) + 2**15) >> 16)[..., None].astype(np.uint8)
    elif sizes.channels == 3 and frames.shape[3] == 1:
        frames = frames.repeat(3, 3)
    side = (sizes.size, sizes.size)
    if frames.shape[1:3] == side:
        return frames
    pictures = [PIL.Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame) for frame in frames]
    fitted = [np.asarray(PIL.ImageOps.fit(each, side, PIL.Image.Resampling.BICUBIC)) for each in pictures]
    return np.stack(fitted).reshape(len(frames), *side, -1)


def _check_length(length: int, sizes: Sizes, where: str, name: str) -> None:
    if length < sizes.frames:
        raise DataError(
            f"{where} has {length} frames, and the model learns {sizes.frames} at a time; give longer clips, or make a model "
            f"with frames={max(4, length)}",
            field=name,
        )


def _conditions(
    labels: list[Any] | None, count: int, sizes: Sizes, name: str
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of labels, and for each clip its label, the same for everything in it; how many things there are, nobody says."""
    conditions = np.full((count, sizes.objects, 2), FREE, np.int64)
    if labels is None:
        return (), conditions
    for index, label in enumerate(labels):
        if isinstance(label, bool) or not isinstance(label, str | int):
            raise DataError(f"the label of {name}[{index}] is {shown(label)}; give an integer or a string", field=name)
    ordered = sorted(set(labels), key=lambda label: (isinstance(label, str), label))
    places = {label: index for index, label in enumerate(ordered)}
    conditions[:, :, 0] = np.array([places[label] for label in labels])[:, None]
    return tuple(map(str, ordered)), conditions


def _folder(folder: Path, sizes: Sizes, corrupt: str, name: str) -> Clips:
    if not folder.is_dir():
        raise DataError(
            f"{name}: {printable(str(folder))} is no folder of films, nor one of {', '.join(SETS)}", field=name
        )
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    kept: list[Path] = []
    lengths: list[int] = []
    skipped: list[str] = []
    for path in found:
        try:
            length = count_frames(path)
        except MediaError as error:
            if corrupt == "skip":
                skipped.append(f"{printable(str(path))}: {error}")
                continue
            message = f"{error}; repair it, leave it out, or skip all such (corrupt='skip')"
            raise DataError(f"{printable(str(path))}: {message}", field=name) from error
        _check_length(length, sizes, printable(str(path)), name)
        kept.append(path)
        lengths.append(length)
    if not kept:
        why = (
            f"all {len(skipped)} films are corrupt; {skipped[0]}"
            if skipped
            else f"there are none ({', '.join(SUFFIXES)})"
        )
        raise DataError(f"{name}: {printable(str(folder))} holds no films: {why}", field=name)
    inside = [path.relative_to(folder).parts for path in kept]
    labels = [parts[0] for parts in inside] if all(len(parts) > 1 for parts in inside) else None

    @lru_cache(CACHED)
    def decoded(clip: int) -> NDArray[np.uint8]:
        film = media.read(kept[clip])
        return _fitted(cast(Video, film).frames, sizes)

    def render(chosen: NDArray[np.int64], starts: NDArray[np.int64], wanted: int) -> NDArray[np.uint8]:
        return np.stack(
            [decoded(int(clip))[start : start + wanted] for clip, start in zip(chosen, starts, strict=True)]
        )

    names, conditions = _conditions(cast(Any, labels), len(kept), sizes, name)
    content = (*(f"{path.relative_to(folder)}:{path.stat().st_size}" for path in kept), sizes.model_dump())
    return Clips(names, _places(lengths, sizes.frames), conditions, render, content, sizes.frames, tuple(skipped))


def count_frames(path: Path) -> int:
    """How many frames a film has, without decoding them. Raises MediaError for one that cannot be read or has no even rate."""
    import av

    try:
        # From bytes of a named format: so that no file can lead to another.
        with path.open("rb") as file, av.open(file, "r", format=FORMATS[path.suffix.lower()]) as container:
            if not container.streams.video:
                raise MediaError("it holds no film")
            stream = container.streams.video[0]
            times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None and packet.size)
    except (OSError, ValueError) as error:
        raise MediaError("it cannot be read: it is damaged, or no film") from error
    if not times:
        raise MediaError("it holds no frame")
    gaps = np.diff(times)
    usual = float(np.median(gaps)) if len(gaps) else 1.0
    if len(gaps) and np.abs(gaps - usual).max() > max(1.0, UNEVEN * usual):
        raise MediaError("its frames come at an uneven rate; convert it to a constant one")
    return len(times)

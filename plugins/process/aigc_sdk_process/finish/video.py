"""Films: cut, join with cross-fades, speed, frame rate, fit to a length, poster. The sound goes with the frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_sdk.artifacts import Audio, Image, Video
from aigc_sdk.errors import InputError
from aigc_sdk_process.compose.record import recorded

from . import audio, image, times
from ._checks import made, number, one_of, several

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHODS = ("repeat", "blend", "motion")
MEMORY = 2**31  # bytes of frames that a function may make, as many as the core reads
SPEEDS = (0.25, 4.0)


@recorded
def cut(film: Video, start: float = 0.0, end: float | None = None) -> Video:
    """From second `start` to second `end` (None: its end), to the nearest frame, with its sound."""
    made(film, Video, "film")
    first, last = (round(second * film.fps) for second in audio.span(start, end, film.duration))
    if last <= first:
        message = f"end={end}: no frame begins from second {start:g} on; one lasts {1 / film.fps:.3f} s"
        raise InputError(message, field="end")
    return _part(film, first, last)


@recorded
def concatenate(films: Sequence[Video], *, crossfade: float = 0.0) -> Video:
    """One after the other, at the rate of the first; a film without sound is silent where another has one.

    crossfade: seconds in which one dissolves into the next. Raises InputError for films of several sizes or rates.
    """
    parts = several(films, Video, "films")
    first = parts[0]
    number(crossfade, "crossfade", 0, min(each.duration for each in parts), "seconds, at most as long as each film")
    for index, each in enumerate(parts):
        if each.frames.shape[1:] != first.frames.shape[1:]:
            sizes = f"{each.frames.shape[2]}x{each.frames.shape[1]}, the first is {first.frames.shape[2]}x{first.frames.shape[1]}"
            raise InputError(f"films[{index}] is {sizes}; bring them to one size with `framed`", field="films")
        if each.fps != first.fps:
            message = f"films[{index}] has {each.fps:g} frames per second, the first {first.fps:g}; use `interpolate`"
            raise InputError(message, field="films")
    overlap = round(crossfade * first.fps)
    refuse_memory(sum(each.frames.nbytes for each in parts))
    frames, info = first.frames, dict(first.info)
    for each in parts[1:]:
        start = len(frames) - overlap
        info = times.together(info, times.moved(each.info, start / first.fps))
        frames = np.concatenate(
            [frames[:start], _dissolved(frames[start:], each.frames[:overlap]), each.frames[overlap:]]
        )
    return _with(first, frames, sound=_joined_sound(parts, overlap / first.fps), info=info)


@recorded
def speed(film: Video, factor: float) -> Video:
    """`factor` times as fast at the same frame rate: frames are left out or repeated; the sound keeps its pitch."""
    made(film, Video, "film")
    number(factor, "factor", *SPEEDS, "times as fast")
    return fitted(film, max(1, round(len(film.frames) / factor)), "stretch")


@recorded
def interpolate(film: Video, fps: float, *, method: str = "blend") -> Video:
    """The same film at another frame rate, as long as before to half a frame.

    method: between two frames "repeat" shows the earlier, "blend" a mixture, "motion" moves what moved (FFmpeg's
    motion-compensated minterpolate, for 32 pixels a side or more).
    """
    made(film, Video, "film")
    number(fps, "fps", 0.1, 1000, "frames per second")
    one_of(method, "method", METHODS)
    count = max(1, round(film.duration * fps))
    refuse_memory(count * film.frames[0].nbytes)
    if method == "motion":
        if min(film.frames.shape[1:3]) < 32:
            message = 'method="motion" follows blocks of pixels, and needs 32 a side; use "blend"'
            raise InputError(message, field="method")
        frames = _motion(film, fps, count)
    else:
        frames = _between(film.frames, np.arange(count) * film.fps / fps, blend=method == "blend")
    sound = None if film.sound is None else _exactly(film.sound, count / fps)
    return Video(frames, fps=fps, sound=sound, sample=film.sample, info=film.info)


@recorded
def resize(film: Video, width: int, height: int, *, filter: str = "lanczos") -> Video:
    """Every frame at another size; see `image.resize`."""
    made(film, Video, "film")
    return _each(film, lambda pixels: image.resized(pixels, width, height, filter))


@recorded
def framed(
    film: Video,
    width: int,
    height: int,
    *,
    fitting: str = "contain",
    background: tuple[int, int, int] = (0, 0, 0),
    filter: str = "lanczos",
) -> Video:
    """Every frame at another size without being distorted; see `image.framed`."""
    made(film, Video, "film")
    return _each(film, image.framer(width, height, fitting, background, filter))


@recorded
def fit(film: Video, seconds: float, *, policy: str) -> Video:
    """The film in that many seconds, to the nearest frame, with its sound.

    policy: "pad" holds the last frame, "trim" cuts the end off, "loop" repeats it (and cuts the end off), "stretch" changes
    its speed, "refuse" takes no other length. Raises InputError where a policy does not apply.
    """
    made(film, Video, "film")
    number(seconds, "seconds", 1 / film.fps, 86_400, "a length in seconds, of one frame at least")
    return fitted(film, max(1, round(seconds * film.fps)), policy)


@recorded
def poster(film: Video, at: float | None = None) -> Image:
    """The frame shown at second `at`; None takes the sharpest: the one with the largest differences between pixels."""
    made(film, Video, "film")
    if at is None:
        index = int(np.argmax([_sharpness(frame) for frame in film.frames]))
    else:
        index = min(
            len(film.frames) - 1, int(number(at, "at", 0, film.duration, "a second of the film") * film.fps + 1e-6)
        )
    return Image(film.frames[index], sample=film.sample, info={"frame": index, "second": index / film.fps})


def fitted(film: Video, count: int, policy: str) -> Video:
    """The film in exactly `count` frames, and its sound as long as they are."""
    one_of(policy, "policy", audio.POLICIES)
    have = len(film.frames)
    if have == count:
        return film
    refuse_memory(count * film.frames[0].nbytes)
    audio.refuse_policy(policy, film.duration, count / film.fps)
    seconds = count / film.fps
    sound = None if film.sound is None else _exactly(film.sound, film.duration)
    if policy == "stretch":
        frames = film.frames[(np.arange(count) * have) // count]
        info = times.moved(film.info, scale=count / have)
    elif policy == "loop":
        frames = film.frames[np.arange(count) % have]
        info = times.repeated(film.info, film.duration, seconds)
    elif policy == "pad":
        frames, info = film.frames[np.minimum(np.arange(count), have - 1)], dict(film.info)
    else:
        frames, info = film.frames[:count], times.within(film.info, 0.0, seconds)
    if sound is not None:
        sound = audio.fitted(sound, round(seconds * sound.sample_rate), policy)
    return _with(film, frames, sound=sound, info=info)


def refuse_memory(size: int) -> None:
    """Raise InputError for frames of more bytes than fit."""
    if size > MEMORY:
        message = (
            f"the film would have {size:,} bytes of frames; the limit is {MEMORY:,}, so make it shorter or smaller"
        )
        raise InputError(message)


def _part(film: Video, first: int, last: int) -> Video:
    sound = None
    if film.sound is not None:
        rate = film.sound.sample_rate
        whole = _exactly(film.sound, film.duration)
        start, end = round(first / film.fps * rate), round(last / film.fps * rate)
        sound = Audio(whole.samples[:, start:end], sample_rate=rate)
    info = times.within(film.info, first / film.fps, last / film.fps)
    return _with(film, film.frames[first:last], sound=sound, info=info)


def _with(film: Video, frames: NDArray[np.uint8], **changes: Any) -> Video:
    facts: dict[str, Any] = {"sound": film.sound, "info": film.info, **changes}
    return Video(frames, fps=film.fps, sample=film.sample, **facts)


def _each(film: Video, change: Callable[[NDArray[np.uint8]], Any]) -> Video:
    first = change(film.frames[0])
    refuse_memory(len(film.frames) * first.nbytes)
    return _with(film, np.stack([first, *map(change, film.frames[1:])]))


def _exactly(sound: Audio, seconds: float) -> Audio:
    """The sound of a film, silent where it ends before the film does."""
    length = round(seconds * sound.sample_rate)
    return audio.fitted(sound, length, "pad" if sound.samples.shape[1] < length else "trim")


def _joined_sound(films: Sequence[Video], crossfade: float) -> Audio | None:
    with_sound = [each.sound for each in films if each.sound is not None]
    if not with_sound:
        return None
    first = with_sound[0]
    sounds = [
        audio.silence(each.duration, sample_rate=first.sample_rate, count=len(first.samples))
        if each.sound is None
        else _exactly(audio.like(each.sound, first), each.duration)
        for each in films
    ]
    joined = audio.concatenate(sounds, crossfade=crossfade)
    return Audio(joined.samples, sample_rate=joined.sample_rate)


def _dissolved(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    share = ((np.arange(len(one), dtype=np.float32) + 1) / (len(one) + 1))[:, None, None, None]
    return np.asarray(np.rint(one * (1 - share) + other * share), np.uint8)


def _between(frames: NDArray[np.uint8], places: NDArray[Any], *, blend: bool) -> NDArray[np.uint8]:
    """The frames at places that can lie between two; the last is held."""
    earlier = np.minimum((places + 1e-9).astype(np.int64), len(frames) - 1)
    if not blend:
        return frames[earlier]
    made_ = np.empty((len(places), *frames.shape[1:]), np.uint8)
    for index, (place, first) in enumerate(zip(places, earlier, strict=True)):
        share = np.float32(min(1.0, max(0.0, place - first)))
        later = frames[min(first + 1, len(frames) - 1)]
        made_[index] = np.rint(frames[first] * (1 - share) + later * share)
    return made_


def _motion(film: Video, fps: float, count: int) -> NDArray[np.uint8]:
    import av

    height, width = film.frames.shape[1:3]
    rate = Fraction(film.fps).limit_denominator(10_000)
    target = Fraction(fps).limit_denominator(10_000)
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=1 / rate)
    into = graph.add("format", "yuv444p")
    moving = graph.add("minterpolate", f"fps={target}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none")
    back = graph.add("format", "rgb24")
    sink = graph.add("buffersink")
    graph.link_nodes(source, into, moving, back, sink).configure()
    # The filter looks two frames ahead and forgets the last ones, so the last is given some more times.
    held = [*film.frames, *[film.frames[-1]] * 4]
    found: list[NDArray[np.uint8]] = []
    for index, pixels in enumerate([*held, None]):
        frame = None
        if pixels is not None:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts, frame.time_base = index, 1 / rate
        source.push(frame)
        found += [each.to_ndarray() for each in audio.pulled(sink)]
    found += [film.frames[-1]] * max(0, count - len(found))
    return np.stack(found[:count])


def _sharpness(frame: NDArray[np.uint8]) -> float:
    grey = frame.astype(np.float32).mean(axis=2)
    return math.fsum(float((np.diff(grey, axis=axis) ** 2).sum()) for axis in (0, 1))

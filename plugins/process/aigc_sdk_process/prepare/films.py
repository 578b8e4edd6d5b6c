"""Cleaning films: their shots found, and what is too short, still or black left out, with its reason."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pydantic
from pydantic import Field

from aigc_sdk.artifacts import Audio, Video
from aigc_sdk.errors import OptionError, shown
from aigc_sdk.protocols import Options

from .items import Item, Journal, checked, judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 64  # of the copies on which films are judged
BINS = 16  # of the histogram of each colour
CUT = 0.35  # part of the pixels whose colour changes from one frame to the next at a cut
BURST = 2.5  # times as much as the frames around it: a fast scene changes everywhere, a cut once
STILL = 0.25  # mean change of 255 between two frames that nobody sees
BLACK = 20.0  # brightness of 255 under which, all over, a frame is black: video's black is 16


class FilmRules(Options):
    """What a film must be to stay."""

    min_seconds: float = Field(0.0, ge=0, description="shortest duration in seconds")
    max_seconds: float = Field(36_000.0, gt=0, description="longest duration in seconds")
    min_side: int = Field(1, ge=1, description="fewest pixels of the shorter side")
    max_still: float = Field(0.9, ge=0, le=1, description="largest share of frames that are as the one before")
    max_black: float = Field(0.5, ge=0, le=1, description="largest share of black frames")
    max_shots: int | None = Field(None, ge=1, description="most shots; None: any number")

    @pydantic.model_validator(mode="after")
    def _check_order(self) -> FilmRules:
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds={self.min_seconds} is above max_seconds={self.max_seconds}")
        return self


def clean_films(items: Iterable[Item], journal: Journal, **rules: Any) -> Iterator[Item]:
    """Films without those that are not worth keeping; rules: those of FilmRules.

    The reasons are "too short", "too long", "too small", "black", "still" and "several shots". Raises DataError for what is
    no film, OptionError.
    """
    parsed = FilmRules.parse("clean_films", rules)
    return judged(items, journal, "video", functools.partial(_fault, rules=parsed))


def cuts(video: Video) -> list[int]:
    """The frames with which a new shot begins, the first frame not among them. Fades and dissolves are none."""
    if len(video.frames) < 2:
        return []
    small = _small(video)
    spread = np.stack([_histogram(frame) for frame in small])  # (frames, bins), each summing to 1
    change = np.abs(np.diff(spread, axis=0)).sum(1) / 2
    found = []
    for place in np.flatnonzero(change >= CUT):
        around = np.r_[change[max(0, place - 3) : place], change[place + 1 : place + 4]]
        if not len(around) or change[place] >= BURST * np.median(around):
            found.append(int(place) + 1)
    return found


def split_shots(items: Iterable[Item], *, min_seconds: float = 0.0) -> Iterator[Item]:
    """Each shot of each film as an item with its part of the sound; those shorter than `min_seconds` stay with the one before.

    Its id is the film's with #0, #1 and so on, and its facts tell the film and where in it the shot begins, in seconds.
    """
    if isinstance(min_seconds, bool) or not isinstance(min_seconds, int | float) or not 0 <= min_seconds < 1e6:
        raise OptionError(f"min_seconds={shown(min_seconds)}: give a number of seconds from 0 on", field="min_seconds")
    source = checked(items, "video")

    def shots() -> Iterator[Item]:
        for item in source:
            assert isinstance(item.artifact, Video)
            starts = [0]
            for cut in cuts(item.artifact):
                if (cut - starts[-1]) / item.artifact.fps >= min_seconds:
                    starts.append(cut)
            for number, (start, stop) in enumerate(pairwise([*starts, len(item.artifact.frames)])):
                facts = {**item.facts, "film": item.id, "begins": start / item.artifact.fps}
                yield Item(f"{item.id}#{number}", _part(item.artifact, start, stop), facts)

    return shots()


def still(video: Video) -> float:
    """The share of frames that are as the one before; 0 for one frame."""
    if len(video.frames) < 2:
        return 0.0
    small = _small(video).astype(np.int16)
    return float((np.abs(np.diff(small, axis=0)).mean((1, 2, 3)) < STILL).mean())


def black(video: Video) -> float:
    """The share of frames that are black."""
    return (
        float((_small(video).max(3).reshape(len(video.frames), -1) < BLACK).all(1).mean()) if video.frames.size else 0.0
    )


def _fault(video: Video, rules: FilmRules) -> tuple[str, str] | None:
    _, height, width, _ = video.frames.shape
    if not video.frames.size or video.duration < rules.min_seconds:
        return "too short", f"{video.duration:.2f} s, at least {rules.min_seconds:g} s are wanted"
    if video.duration > rules.max_seconds:
        return "too long", f"{video.duration:.2f} s, at most {rules.max_seconds:g} s are wanted"
    if min(width, height) < rules.min_side:
        return "too small", f"{width} x {height} pixels, {rules.min_side} are wanted of the shorter side"
    if (share := black(video)) > rules.max_black:
        return "black", f"{share:.0%} of the frames are black, at most {rules.max_black:.0%} may be"
    if (share := still(video)) > rules.max_still:
        return "still", f"{share:.0%} of the frames are as the one before, at most {rules.max_still:.0%} may be"
    if rules.max_shots is not None and (count := len(cuts(video)) + 1) > rules.max_shots:
        return "several shots", f"{count} shots, at most {rules.max_shots} are wanted; split_shots() divides them"
    return None


def _small(video: Video) -> NDArray[np.uint8]:
    """Copies of the frames, at most 64 x 64, every pixel the mean of those that it stands for."""
    _, height, width, _ = video.frames.shape
    size = min(width, SIDE), min(height, SIDE)
    frames = (PIL.Image.fromarray(frame).resize(size, PIL.Image.Resampling.BOX) for frame in video.frames)
    return np.stack([np.asarray(frame) for frame in frames])


def _histogram(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How colours are spread: a histogram for each of red, green and blue, one after the other, summing to 1."""
    values = frame.reshape(-1, 3) // (256 // BINS) + np.arange(3) * BINS
    return np.bincount(values.ravel(), minlength=3 * BINS) / values.size


def _part(video: Video, start: int, stop: int) -> Video:
    sound = video.sound
    if sound is not None:
        first, last = (round(frame / video.fps * sound.sample_rate) for frame in (start, stop))
        last = sound.samples.shape[1] if stop == len(video.frames) else last
        sound = Audio(sound.samples[:, first:last], sample_rate=sound.sample_rate)
    return replace(video, frames=video.frames[start:stop], sound=sound)

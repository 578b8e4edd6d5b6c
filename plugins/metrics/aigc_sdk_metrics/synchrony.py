"""Whether a film and its sound belong together in time: their lengths, and when things move and sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aigc_sdk.artifacts import Audio, Video

from .speech_batch import wave

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 8  # frames; of fewer, any two series are alike at some offset
QUIET = 1e-3  # of amplitude, -60 dB: below, no change is heard
STILL = 0.05  # levels of 0 to 255, mean over the picture, that the most moving frame moves at least


class Offset(NamedTuple):
    """How much later than the picture the sound is, and how well they fit then."""

    seconds: float
    correlation: float


def offset(film: Video, sound: Audio, longest: float = 0.5) -> Offset | None:
    """When the sound's beginnings fit the picture's movements best, up to `longest` seconds off; None where nothing moves,
    or nothing sounds.

    The offset is in whole frames: at 25 frames per second it says 0.04 seconds, or nothing in between. It takes events that
    are seen and heard, such as claps, steps and blows; it knows nothing of lips (for those see SyncNet, Chung and Zisserman
    2016).
    """
    moving, sounding = movements(film), beginnings(sound, film.fps, len(film.frames))
    if moving.max() < STILL or not sounding.any():
        return None
    mine, its = (_standard(each) for each in (moving, sounding))
    if not mine.any() or not its.any():  # all frames alike: no moment stands out
        return None
    most = min(round(longest * film.fps), len(mine) - FEWEST // 2)
    lags = sorted(range(-most, most + 1), key=abs)  # of equals the smallest
    found = [float(_product(mine, its, lag)) for lag in lags]
    best = int(np.argmax(found))
    return Offset(lags[best] / film.fps, found[best])


def movements(film: Video) -> NDArray[np.float64]:
    """How far each frame but the first is from the one before it: mean absolute difference of levels, (frames - 1,)."""
    pairs = zip(film.frames[:-1], film.frames[1:], strict=True)
    return np.array([np.abs(after.astype(np.int16) - before).mean() for before, after in pairs])


def beginnings(sound: Audio, fps: float, frames: int) -> NDArray[np.float64]:
    """How much louder it gets in each frame's time than in the one before, in nepers, 0 where it does not: (frames - 1,)."""
    heard = wave(sound)
    edges = np.minimum(len(heard), np.rint(np.arange(frames + 1) * sound.sample_rate / fps).astype(np.int64))
    energy = np.diff(np.concatenate([[0.0], np.cumsum(heard**2)])[edges])
    levels = np.sqrt(np.maximum(0, energy) / np.maximum(1, np.diff(edges)))
    return np.asarray(np.maximum(0, np.diff(np.log(np.maximum(levels, QUIET)))))


def _standard(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of mean 0 and length 1; zeros where nothing varies."""
    rest = series - series.mean()
    length = float(np.linalg.norm(rest))
    return rest / length if length > 1e-9 * (1 + float(np.abs(series).max())) else np.zeros_like(rest)


def _product(mine: NDArray[np.float64], its: NDArray[np.float64], lag: int) -> float:
    """`its` taken `lag` frames earlier."""
    return float(mine[max(0, -lag) : len(mine) - max(0, lag)] @ its[max(0, lag) : len(its) + min(0, lag)])

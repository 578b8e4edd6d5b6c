"""The fundamental frequency of speech: YIN (de Cheveigné and Kawahara 2002)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .speech_spectrum import frame_sizes, frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOWEST, HIGHEST = 60.0, 500.0  # Hz, of voices
APERIODIC = 0.15  # the part of a frame's power that may not repeat itself; more is unvoiced
QUIET = 10 ** (-50 / 20)  # of the loudest frame's level; below, nothing is voiced
TOGETHER = 256  # frames at a time
YIN = (
    f"YIN, {LOWEST:g} to {HIGHEST:g} Hz, voiced where aperiodicity is below {APERIODIC:g} and the level within 50 dB of the "
    "loudest frame's"
)


def pitch(wave: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Hz in each frame, NaN where nothing is voiced: (frames,), with the same middles as those of `mel_cepstrum`."""
    window, hop = frame_sizes(rate)
    longest = int(rate / LOWEST) + 2  # lags, one beyond for the parabola
    size = window + longest
    around = size - window  # so that as many frames fit as of a window alone
    views = frames(np.pad(wave, (around // 2, around - around // 2)), size, hop)  # (frames, size)
    levels = np.sqrt(np.array([np.mean(each[around // 2 :][:window] ** 2) for each in views]))
    found = [_pitch(views[start : start + TOGETHER], window, rate) for start in range(0, len(views), TOGETHER)]
    return np.where(levels > QUIET * levels.max(), np.concatenate(found), np.nan)


def _pitch(views: NDArray[np.float64], window: int, rate: int) -> NDArray[np.float64]:
    unlike = difference(views, window)  # (frames, lags)
    shortest = max(2, int(rate / HIGHEST))
    middle, left, right = (unlike[:, shortest + by : unlike.shape[1] - 1 + by] for by in (0, -1, 1))
    dips = (middle < APERIODIC) & (middle <= left) & (middle < right)
    first = dips.argmax(1)[:, None]  # the first dip that is deep enough, and not one of its multiples
    left, middle, right = (np.take_along_axis(each, first, 1)[:, 0] for each in (left, middle, right))
    bend = left - 2 * middle + right
    offset = np.divide(left - right, 2 * bend, out=np.zeros_like(bend), where=bend > 0)  # of a parabola's lowest point
    return np.where(dips.any(1), rate / (first[:, 0] + shortest + offset), np.nan)


def difference(views: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """How unlike each frame's first `window` samples are those a lag later, over the mean of all shorter lags.

    (frames, size) to (frames, size - window); 0 for a lag of a period, about 1 for any other.
    """
    size = views.shape[1]
    length = 1 << (size + window - 1).bit_length()
    head = np.fft.rfft(views[:, :window], length)
    products = np.fft.irfft(head.conj() * np.fft.rfft(views, length), length)[:, : size - window]  # (frames, lags)
    energy = np.cumsum(np.pad(views**2, ((0, 0), (1, 0))), axis=1)
    later = energy[:, window:size] - energy[:, : size - window]  # of the samples a lag later
    unlike = np.maximum(0, later[:, :1] + later - 2 * products)
    lags = np.arange(1, size - window)
    mean = np.cumsum(unlike[:, 1:], axis=1) / lags
    rest = np.divide(unlike[:, 1:], mean, out=np.ones_like(mean), where=mean > 1e-12 * (1 + later[:, :1]))
    return np.concatenate([np.ones((len(views), 1)), rest], axis=1)

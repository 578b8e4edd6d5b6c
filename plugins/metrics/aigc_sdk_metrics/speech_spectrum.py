"""Mel-cepstra of speech, and the path that aligns two of them in time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aigc_sdk import mel
from aigc_sdk.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOP, WINDOW = 0.005, 0.025  # seconds from one frame to the next, and in one
BANDS = 40  # from 0 to half the sample rate, evenly on the mel scale
COEFFICIENTS = 24
FLOOR = 1e-10  # of power, where a sine of full scale has about 1: -100 dB
LOWEST_RATE = 8000  # Hz; below, the bands are narrower than the spectrum is fine
CELLS_LIMIT = 1 << 28  # of an alignment, a byte each: two sounds of 80 seconds
DISTORTION = 10 * math.sqrt(2) / math.log(10)  # dB per unit of distance between mel-cepstra (Kubichek 1993)
CEPSTRUM = (
    f"{1000 * WINDOW:g} ms Hann window, {1000 * HOP:g} ms hop, {BANDS} triangular mel bands from 0 to half the sample rate, "
    f"log amplitude, cosine transform, coefficients 1 to {COEFFICIENTS}"
)


def frames(wave: NDArray[np.float64], size: int, hop: int) -> NDArray[np.float64]:
    """The frames of `size` samples that fit, one every `hop` samples: a view (count, size)."""
    return np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]


def frame_sizes(rate: int) -> tuple[int, int]:
    """Window and hop in samples."""
    return round(WINDOW * rate), round(HOP * rate)


def check_frames(count: int, rate: int, name: str, who: str) -> None:
    """Refuse what is too short or too coarse for one frame."""
    field = name.partition("[")[0]
    if rate < LOWEST_RATE:
        raise DataError(f"{name} has {rate:,} Hz; {who} needs at least {LOWEST_RATE:,} Hz", field=field)
    if count < frame_sizes(rate)[0]:
        raise DataError(f"{name} lasts {1000 * count / rate:.1f} ms, and {who} needs {1000 * WINDOW:g} ms", field=field)


def mel_cepstrum(wave: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """c_1 to c_24 of each frame, (frames, 24), where the log amplitude at the mel frequency w, 0 to pi, is sum of
    c_m cos(m w).

    c_0, the loudness, is left out. The bands are triangles (Davis and Mermelstein 1980), mel is 2595 log10(1 + f / 700).
    """
    window, hop = frame_sizes(rate)
    size = 1 << (2 * window - 1).bit_length()
    shape = np.hanning(window + 1)[:-1]
    bands = mel_bands(rate, size)
    found = []
    for some in np.array_split(frames(wave, window, hop), max(1, len(wave) // (1 << 18))):
        power = np.abs(np.fft.rfft(some * shape, size) * (2 / shape.sum())) ** 2  # (frames, bins)
        found.append(cepstrum(0.5 * np.log(np.maximum(power @ bands.T, FLOOR))))
    return np.concatenate(found)


def cepstrum(log_amplitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """(frames, bands) to (frames, 24)."""
    bands = log_amplitude.shape[1]
    middles = np.pi * (np.arange(bands) + 0.5) / bands
    waves = np.cos(np.outer(np.arange(1, COEFFICIENTS + 1), middles))  # (24, bands)
    return np.asarray(2 / bands * log_amplitude @ waves.T)


def mel_bands(rate: int, size: int) -> NDArray[np.float64]:
    """Weights of the bins of a Fourier transform of `size`, (bands, bins); those of a band add up to 1."""
    pitch = np.arange(size // 2 + 1) * rate / size
    bands = mel.triangles(mel.edges(0, rate / 2, BANDS), pitch)
    return np.asarray(bands / bands.sum(1, keepdims=True))


def aligned(mine: NDArray[np.float64], its: NDArray[np.float64]) -> NDArray[np.int64]:
    """Dynamic time warping (Sakoe and Chiba 1978): the path of pairs of frames that has the least sum of distances.

    (n, d) and (m, d) to (pairs, 2), from the first two frames to the last two; one frame ahead on one side or on both at
    a time, all of weight 1, and on both where it makes no difference. An anti-diagonal of the table is computed at once.
    """
    n, m = len(mine), len(its)
    if n * m > CELLS_LIMIT:
        message = f"an alignment of {n:,} with {m:,} frames does not fit in memory; cut the sounds into utterances"
        raise DataError(message, field="samples")
    moves = np.zeros((n, m), np.uint8)  # 0: both, 1: mine, 2: its
    before = np.full(n + 1, np.inf)  # of the anti-diagonal two back, one entry down
    last = np.full(n + 1, np.inf)
    for diagonal in range(n + m - 1):
        rows = np.arange(max(0, diagonal - m + 1), min(n - 1, diagonal) + 1)
        columns = diagonal - rows
        here = np.linalg.norm(mine[rows] - its[columns], axis=1)
        ways = np.stack([before[rows], last[rows], last[rows + 1]])
        move = ways.argmin(0)
        moves[rows, columns] = move
        now = np.full(n + 1, np.inf)
        now[rows + 1] = here + (ways.min(0) if diagonal else 0.0)
        before, last = last, now
    return _path(moves)


def _path(moves: NDArray[np.uint8]) -> NDArray[np.int64]:
    i, j = moves.shape[0] - 1, moves.shape[1] - 1
    path = [(i, j)]
    while i or j:
        move = moves[i, j] if i and j else 1 if i else 2
        i, j = i - (move != 2), j - (move != 1)
        path.append((i, j))
    return np.array(path[::-1])

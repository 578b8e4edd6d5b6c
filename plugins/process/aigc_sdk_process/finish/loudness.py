"""Loudness by ITU-R BS.1770-5 (2023), and sounds brought to a target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, signal

from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import InputError
from aigc_sdk_process.compose.record import recorded

from ._checks import made, number, one_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK, STEP = 0.4, 0.1  # seconds
SILENCE, RELATIVE = -70.0, -10.0  # the gates: LUFS, and LU below the mean of what passes the first
WEIGHTS = {
    1: (1,),
    2: (1, 1),
    3: (1, 1, 1),
    4: (1, 1, 1.41, 1.41),
    5: (1, 1, 1, 1.41, 1.41),
    6: (1, 1, 1, 0, 1.41, 1.41),
}
"""By the number of channels: left, right; left, right, centre; quadro; 5.0; 5.1, whose fourth is the bass and not heard."""
PASSED = 1.0049949  # the gain of the standard's bass cut far above its edge; -0.691 makes up for it
LOOKAHEAD = 0.005  # seconds by which the limiter turns down before a peak, and up after it
CLOSE, ROUNDS = 0.02, 20  # LU; tries to reach the target through the limiter


def loudness(sound: Audio) -> float:
    """The integrated loudness in LUFS, gated; -inf for silence. A full-scale 997 Hz sine in one channel has -3.01.

    Raises InputError for a sound shorter than 0.4 s or with other channels than the standard has weights for.
    """
    made(sound, Audio, "sound")
    if sound.duration < BLOCK:
        message = f"sound lasts {sound.duration:.3f} s; BS.1770 measures blocks of {BLOCK} s, so give a longer one"
        raise InputError(message, field="sound")
    power = _block_power(sound)  # of every block, all channels together
    levels = _lufs(power)
    loud = levels > SILENCE
    if not loud.any():
        return -math.inf
    loud &= levels > _lufs(power[loud].mean()) + RELATIVE
    return float(_lufs(power[loud].mean()))


def true_peak(sound: Audio) -> float:
    """The highest level between samples too, in dBTP: that of the sound at four times its rate (BS.1770-5, annex 2)."""
    made(sound, Audio, "sound")
    highest = float(np.abs(_four_times(sound.samples)).max())
    return 20 * math.log10(highest) if highest else -math.inf


@recorded
def normalized(sound: Audio, target: float = -16.0, *, peaks: str = "refuse", ceiling: float = -1.0) -> Audio:
    """The sound at a loudness of `target` LUFS; -16 is usual for speech on the web, -23 in European broadcasting (EBU R 128).

    peaks: what happens to peaks that would go beyond `ceiling` dBTP: "refuse" raises, "limit" turns them down with a
    limiter that looks 5 ms ahead. Raises InputError for silence, and for a target that cannot be reached.
    """
    made(sound, Audio, "sound")
    number(target, "target", -70, 0, "a loudness in LUFS")
    number(ceiling, "ceiling", -40, 0, "the highest peak in dBTP")
    one_of(peaks, "peaks", ("refuse", "limit"))
    now = loudness(sound)
    if math.isinf(now):
        raise InputError("sound is silence; no gain makes it louder", field="sound")
    gain = target - now
    highest = true_peak(sound) + gain
    if highest <= ceiling:
        return _with(sound, _amplified(sound.samples, gain))
    if peaks == "refuse":
        message = (
            f"target={target:g}: peaks would reach {highest:.1f} dBTP, above ceiling={ceiling:g}; "
            f'ask for {target - highest + ceiling:.1f} LUFS or less, or pass peaks="limit"'
        )
        raise InputError(message, field="target")
    return _limited_to(sound, target, gain, ceiling)


def k_weighted(samples: NDArray[Any], sample_rate: int) -> NDArray[np.float64]:
    """The samples through the standard's two filters: the head's shelf, and the bass cut.

    The standard gives coefficients at 48 kHz; at other rates these are the analogue filters behind them (De Man 2018).
    """
    shelf_gain = 10 ** (3.999843853973347 / 20)
    shelf = _biquad(
        1681.974450955533, 0.7071752369554196, sample_rate, (shelf_gain, shelf_gain**0.4996667741545416, 1.0)
    )
    cut = _biquad(38.13547087602444, 0.5003270373238773, sample_rate, (1.0, 0.0, 0.0))
    cut[:3] *= PASSED
    return np.asarray(signal.sosfilt(np.stack([shelf, cut]), np.asarray(samples, np.float64)))


def _biquad(hertz: float, q: float, sample_rate: int, top: tuple[float, float, float]) -> NDArray[np.float64]:
    """(top[0] s² + top[1] s/q + top[2]) / (s² + s/q + 1) through the bilinear transform, as a second-order section."""
    k = math.tan(math.pi * hertz / sample_rate)
    high, band, low = top
    below = 1 + k / q + k * k
    above = [high + band * k / q + low * k * k, 2 * (low * k * k - high), high - band * k / q + low * k * k]
    return np.array([*above, below, 2 * (k * k - 1), 1 - k / q + k * k]) / below


def _block_power(sound: Audio) -> NDArray[np.float64]:
    weights = WEIGHTS.get(len(sound.samples))
    if weights is None:
        known = ", ".join(map(str, WEIGHTS))
        raise InputError(f"sound has {len(sound.samples)} channels; BS.1770 weighs {known}", field="sound")
    weighted = np.zeros(sound.samples.shape[1] + 1)
    for samples, weight in zip(sound.samples, weights, strict=True):
        if weight:
            np.add(weighted[1:], weight * k_weighted(samples, sound.sample_rate) ** 2, out=weighted[1:])
    total = weighted.cumsum()
    size, step = BLOCK * sound.sample_rate, STEP * sound.sample_rate
    starts = (np.arange(int((len(total) - 1 - round(size)) / step + 1e-9) + 1) * step).round().astype(np.int64)
    return np.asarray((total[starts + round(size)] - total[starts]) / round(size))


def _lufs(power: Any) -> Any:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-30))


def _limited_to(sound: Audio, target: float, gain: float, ceiling: float) -> Audio:
    """Limiting takes loudness away, so the gain in front of it is raised until the target is met."""
    for _ in range(ROUNDS):
        made_ = _with(sound, _limited(_amplified(sound.samples, gain), sound.sample_rate, 10 ** (ceiling / 20)))
        missing = target - loudness(made_)
        if abs(missing) < CLOSE:
            return made_
        gain += missing
    message = f"target={target:g}: under ceiling={ceiling:g} the sound cannot be that loud; it has {target - missing:.1f} LUFS"
    raise InputError(f"{message}. Ask for less", field="target")


def _limited(samples: NDArray[Any], sample_rate: int, ceiling: float) -> NDArray[Any]:
    """No peak above `ceiling`, between samples neither: the gain of all channels falls before a peak and rises after it."""
    peaks = np.abs(_four_times(samples)).max(axis=0).reshape(-1, 4).max(axis=1)
    peaks = ndimage.maximum_filter1d(peaks, 3)  # a peak between two samples concerns both
    needed = np.minimum(1.0, ceiling * 0.995 / np.maximum(peaks, 1e-9))
    width = 2 * round(LOOKAHEAD * sample_rate) + 1
    held = ndimage.minimum_filter1d(needed, width, mode="nearest")
    return np.asarray(samples * ndimage.uniform_filter1d(held, width, mode="nearest"))


def _four_times(samples: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(signal.resample_poly(np.asarray(samples, np.float64), 4, 1, axis=1))


def _amplified(samples: NDArray[Any], decibels: float) -> NDArray[np.float64]:
    return np.asarray(samples, np.float64) * 10 ** (decibels / 20)


def _with(sound: Audio, samples: NDArray[Any]) -> Audio:
    return Audio(
        samples.clip(-1, 1).astype(np.float32), sample_rate=sound.sample_rate, sample=sound.sample, info=sound.info
    )

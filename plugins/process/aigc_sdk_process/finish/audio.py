"""Sounds: trim, fade, gate, resample, stretch, mix with ducking, join with cross-fades, fit to a length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, signal

from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import InputError
from aigc_sdk_process.compose.record import recorded

from . import times
from ._checks import made, number, one_of, several, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 0.01  # seconds over which a level is measured
POLICIES = ("refuse", "pad", "trim", "loop", "stretch")
MEMORY = 2**31  # bytes of samples that a function may make, as many as the core reads
STRETCHES = (0.25, 4.0)  # further, speech is no longer speech


@recorded
def trim(sound: Audio, *, below: float = -50.0, keep: float = 0.05) -> Audio:
    """Without the silence at both ends: what stays below `below` dBFS, but for `keep` seconds of it.

    Raises InputError where nothing is louder than that.
    """
    made(sound, Audio, "sound")
    number(below, "below", -120, 0, "a level in dBFS")
    number(keep, "keep", 0, 60, "seconds of silence")
    heard = np.flatnonzero(level(sound) > below)
    if not len(heard):
        raise InputError(f"below={below:g}: the whole sound is quieter; give a lower level", field="below")
    margin = round(keep * sound.sample_rate)
    return _part(sound, max(0, int(heard[0]) - margin), int(heard[-1]) + 1 + margin)


@recorded
def cut(sound: Audio, start: float = 0.0, end: float | None = None) -> Audio:
    """From second `start` to second `end` (None: its end). Raises InputError where nothing is between."""
    made(sound, Audio, "sound")
    first, last = span(start, end, sound.duration)
    return _part(sound, round(first * sound.sample_rate), max(1, round(last * sound.sample_rate)))


@recorded
def fade(sound: Audio, *, fade_in: float = 0.0, fade_out: float = 0.0) -> Audio:
    """Rise over the first `fade_in` seconds and fall over the last `fade_out`, along a quarter of a sine's power."""
    made(sound, Audio, "sound")
    number(fade_in, "fade_in", 0, sound.duration, "seconds, at most as long as the sound")
    number(fade_out, "fade_out", 0, sound.duration, "seconds, at most as long as the sound")
    samples = sound.to_numpy()
    rise, fall = round(fade_in * sound.sample_rate), round(fade_out * sound.sample_rate)
    samples[:, :rise] *= _rising(rise)
    samples[:, samples.shape[1] - fall :] *= _rising(fall)[::-1]
    return _with(sound, samples)


@recorded
def gate(
    sound: Audio, *, below: float = -45.0, reduction: float = 60.0, hold: float = 0.1, ramp: float = 0.02
) -> Audio:
    """Turn down by `reduction` dB what stays below `below` dBFS, such as the hiss between words.

    hold: seconds for which the gate stays open after a sound, and before it. ramp: seconds in which it opens and closes.
    """
    made(sound, Audio, "sound")
    number(below, "below", -120, 0, "a level in dBFS")
    number(reduction, "reduction", 0, 120, "decibels")
    number(hold, "hold", 0, 10, "seconds")
    number(ramp, "ramp", 0, 10, "seconds")
    gain = _gain(level(sound) > below, sound.sample_rate, -reduction, 0.0, hold, ramp)
    return _with(sound, sound.samples * gain)


@recorded
def resample(sound: Audio, sample_rate: int) -> Audio:
    """The same sound at another rate, through a polyphase Kaiser filter; what lies above half of it is filtered out."""
    made(sound, Audio, "sound")
    whole(sample_rate, "sample_rate", 1000, 384_000, "samples per second")
    return _resampled(sound, sample_rate)


@recorded
def channels(sound: Audio, count: int) -> Audio:
    """In mono (1) or stereo (2): the mean of all channels, or mono on both sides, which BS.1770 measures as 3 LU louder.

    Raises InputError for stereo of more than two channels.
    """
    made(sound, Audio, "sound")
    whole(count, "count", 1, 2, "the number of channels")
    return _with_channels(sound, count)


@recorded
def stretch(sound: Audio, factor: float) -> Audio:
    """`factor` times as long at the same pitch (waveform similarity overlap-add, by FFmpeg's atempo)."""
    made(sound, Audio, "sound")
    number(factor, "factor", *STRETCHES, "times as long")
    return _stretched(sound, factor)


@recorded
def fit(sound: Audio, seconds: float, *, policy: str) -> Audio:
    """The sound in exactly that many seconds.

    policy: "pad" adds silence at the end, "trim" cuts the end off, "loop" repeats it (and cuts the end off), "stretch"
    changes its speed and not its pitch, "refuse" takes no other length. Raises InputError where a policy does not apply.
    """
    made(sound, Audio, "sound")
    number(seconds, "seconds", 1 / sound.sample_rate, 86_400, "a length in seconds")
    return fitted(sound, round(seconds * sound.sample_rate), policy)


@recorded
def concatenate(sounds: Sequence[Audio], *, crossfade: float = 0.0, gap: float = 0.0) -> Audio:
    """One after the other, at the rate and with the channels of the first.

    crossfade: seconds in which one fades into the next, at constant power. gap: seconds of silence between them.
    """
    parts = several(sounds, Audio, "sounds")
    number(crossfade, "crossfade", 0, min(each.duration for each in parts), "seconds, at most as long as each sound")
    number(gap, "gap", 0, 3600, "seconds")
    if crossfade and gap:
        raise InputError("crossfade and gap exclude each other; set one to 0", field="gap")
    first = parts[0]
    joined, info = first.samples, dict(first.info)
    for each in parts[1:]:
        fitting = like(each, first)
        _refuse_memory(joined.shape[1] + fitting.samples.shape[1] + round(gap * first.sample_rate), len(joined))
        start = joined.shape[1] + round(gap * first.sample_rate) - round(crossfade * first.sample_rate)
        joined = _joined(joined, fitting.samples, start)
        info = times.together(info, times.moved(each.info, start / first.sample_rate))
    return Audio(joined, sample_rate=first.sample_rate, sample=first.sample, info=info)


@recorded
def mix(
    voice: Audio,
    background: Audio,
    *,
    level: float = -12.0,
    duck: float = 12.0,
    above: float = -45.0,
    hold: float = 0.3,
    ramp: float = 0.15,
    start: float = 0.0,
) -> Audio:
    """A voice over a background that makes way for it; as long as the voice with what lies before it, or the background.

    level: the background's gain in dB where the voice is silent; duck: dB less where the voice is louder than `above`
    dBFS, and for `hold` seconds around, with ramps of `ramp` seconds. start: the second at which the voice begins.
    The background is brought to the voice's rate and channels. Raises InputError for a sum beyond full scale.
    """
    made(voice, Audio, "voice")
    made(background, Audio, "background")
    number(level, "level", -80, 20, "a gain in dB")
    number(duck, "duck", 0, 80, "decibels")
    number(above, "above", -120, 0, "a level in dBFS")
    number(hold, "hold", 0, 10, "seconds")
    number(ramp, "ramp", 0, 10, "seconds")
    number(start, "start", 0, 86_400, "seconds")
    under = like(background, voice).samples
    first = round(start * voice.sample_rate)
    length = max(first + voice.samples.shape[1], under.shape[1])
    _refuse_memory(length, len(voice.samples))
    over = np.pad(voice.samples, ((0, 0), (first, length - first - voice.samples.shape[1])))
    under = np.pad(under, ((0, 0), (0, length - under.shape[1])))
    heard = _level(over, voice.sample_rate) > above
    mixed = over + under * _gain(heard, voice.sample_rate, level, level - duck, hold, ramp)
    highest = float(np.abs(mixed).max())
    if highest > 1:
        message = (
            f"the mix would peak at {20 * math.log10(highest):.1f} dBFS; lower `level`, or the voice's loudness first"
        )
        raise InputError(message, field="level")
    return Audio(
        mixed.astype(np.float32),
        sample_rate=voice.sample_rate,
        sample=voice.sample,
        info=times.moved(voice.info, start),
    )


def level(sound: Audio) -> NDArray[np.float64]:
    """The level around every sample in dBFS, of the loudest channel: the root mean square over 10 ms."""
    return _level(made(sound, Audio, "sound").samples, sound.sample_rate)


def silence(seconds: float, *, sample_rate: int = 48_000, count: int = 1) -> Audio:
    """Nothing to hear, in `count` channels."""
    number(seconds, "seconds", 1 / sample_rate, 86_400, "a length in seconds")
    _refuse_memory(round(seconds * sample_rate), count)
    return Audio(np.zeros((count, round(seconds * sample_rate)), np.float32), sample_rate=sample_rate)


def like(sound: Audio, other: Audio) -> Audio:
    """The sound at another one's rate, with as many channels."""
    return _with_channels(_resampled(sound, other.sample_rate), len(other.samples))


def fitted(sound: Audio, length: int, policy: str, *, slack: int = 0) -> Audio:
    """The sound in exactly `length` samples; a difference of up to `slack` is padded or cut whatever the policy is."""
    one_of(policy, "policy", POLICIES)
    _refuse_memory(length, len(sound.samples))
    have = sound.samples.shape[1]
    if abs(have - length) <= slack:
        policy = "pad" if have < length else "trim"
    refuse_policy(policy, have / sound.sample_rate, length / sound.sample_rate)
    if have == length:
        return sound
    if policy == "stretch":
        return _stretched(sound, length / have, length)
    if policy == "loop":
        repeated = np.tile(sound.samples, (1, -(-length // have)))[:, :length]
        return _with(sound, repeated, times.repeated(sound.info, sound.duration, length / sound.sample_rate))
    if policy == "pad":
        return _with(sound, np.pad(sound.samples, ((0, 0), (0, length - have))))
    return _part(sound, 0, length)


def refuse_policy(policy: str, have: float, want: float) -> None:
    """Raise InputError where a length policy cannot bring `have` seconds to `want`."""
    what = f"policy={policy!r}: it lasts {have:.3f} s, and {want:.3f} s are wanted"
    if policy == "refuse" and have != want:
        raise InputError(f'{what}; say how: "pad", "trim", "loop" or "stretch"', field="policy")
    if policy == "pad" and have > want:
        raise InputError(f'{what}, which padding cannot shorten; use "trim" or "stretch"', field="policy")
    if policy == "trim" and have < want:
        raise InputError(f'{what}, which trimming cannot lengthen; use "pad", "loop" or "stretch"', field="policy")
    if policy == "stretch" and not STRETCHES[0] <= want / have <= STRETCHES[1]:
        message = f'{what}; stretching goes from {STRETCHES[0]} to {STRETCHES[1]} times the length; use "pad", "trim" or "loop"'
        raise InputError(message, field="policy")


def span(start: float, end: float | None, duration: float) -> tuple[float, float]:
    """The seconds from `start` to `end` of something that lasts `duration`. Raises InputError where nothing is between."""
    number(start, "start", 0, duration, "a second of it")
    last = duration if end is None else number(end, "end", 0, duration, "a second of it")
    if last <= start:
        raise InputError(f"end={last:g} is not after start={start:g}; nothing would be left", field="end")
    return start, last


def _refuse_memory(length: int, count: int) -> None:
    size = 4 * length * count
    if size > MEMORY:
        raise InputError(f"the sound would have {size:,} bytes of samples; the limit is {MEMORY:,}, so make it shorter")


def _part(sound: Audio, first: int, last: int) -> Audio:
    rate = sound.sample_rate
    return _with(sound, sound.samples[:, first:last], times.within(sound.info, first / rate, last / rate))


def _with(sound: Audio, samples: NDArray[Any], info: Any = None) -> Audio:
    fresh = np.ascontiguousarray(samples, np.float32)
    return Audio(fresh, sample_rate=sound.sample_rate, sample=sound.sample, info=sound.info if info is None else info)


def _resampled(sound: Audio, sample_rate: int) -> Audio:
    if sample_rate == sound.sample_rate:
        return sound
    _refuse_memory(round(sound.duration * sample_rate), 2 * len(sound.samples))  # 64 bits on the way
    shared = math.gcd(sample_rate, sound.sample_rate)
    samples = signal.resample_poly(
        sound.samples.astype(np.float64),
        sample_rate // shared,
        sound.sample_rate // shared,
        axis=1,
        window=("kaiser", 8.0),
    )
    fresh = samples.clip(-1, 1).astype(np.float32)
    return Audio(fresh, sample_rate=sample_rate, sample=sound.sample, info=sound.info)


def _with_channels(sound: Audio, count: int) -> Audio:
    have = len(sound.samples)
    if have == count:
        return sound
    if count == 1:
        return _with(sound, sound.samples.mean(axis=0, keepdims=True))
    if have > 1:
        raise InputError(f"{have} channels cannot become {count}; mix them down to 1 first", field="count")
    return _with(sound, sound.samples.repeat(count, axis=0))


def _stretched(sound: Audio, factor: float, length: int | None = None) -> Audio:
    import av

    wanted = round(sound.samples.shape[1] * factor) if length is None else length
    layout = f"{len(sound.samples)}c" if len(sound.samples) > 2 else ("mono", "stereo")[len(sound.samples) - 1]
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_abuffer(format="fltp", sample_rate=sound.sample_rate, layout=layout)
    tempos = [graph.add("atempo", f"{each:.9f}") for each in _tempos(1 / factor)]
    planes, sink = graph.add("aformat", "sample_fmts=fltp"), graph.add("abuffersink")
    graph.link_nodes(source, *tempos, planes, sink).configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.samples), "fltp", layout)
    frame.sample_rate, frame.pts = sound.sample_rate, 0
    source.push(frame)
    source.push(None)
    samples = np.concatenate([each.to_ndarray() for each in pulled(sink)], axis=1)[:, :wanted]
    samples = np.pad(samples, ((0, 0), (0, wanted - samples.shape[1]))).clip(-1, 1)
    return _with(sound, samples, times.moved(sound.info, scale=wanted / sound.samples.shape[1]))


def _tempos(tempo: float) -> list[float]:
    """Factors from 0.5 to 2 that make `tempo` together: beyond them atempo skips samples."""
    steps = max(1, math.ceil(abs(math.log2(tempo)) - 1e-9))
    return [tempo ** (1 / steps)] * steps


def pulled(sink: Any) -> Any:
    """What a filter graph has to give now."""
    import av

    while True:
        try:
            yield sink.pull()
        except (av.error.EOFError, av.error.BlockingIOError):
            return


def _joined(one: NDArray[Any], other: NDArray[Any], start: int) -> NDArray[np.float32]:
    """`other` from sample `start` on, faded over `one` where they overlap."""
    overlap = one.shape[1] - start
    if overlap <= 0:
        return np.concatenate([one, np.zeros((len(one), -overlap), np.float32), other], axis=1)
    rise = _rising(overlap)
    both = one[:, start:] * rise[::-1] + other[:, :overlap] * rise
    return np.concatenate([one[:, :start], both.clip(-1, 1), other[:, overlap:]], axis=1)


def _rising(length: int) -> NDArray[np.float32]:
    """From 0 to 1; with its mirror image the powers sum to 1."""
    return np.sin((np.arange(length) + 0.5) / max(1, length) * math.pi / 2).astype(np.float32)


def _level(samples: NDArray[Any], sample_rate: int) -> NDArray[np.float64]:
    width = max(1, round(WINDOW * sample_rate))
    power = ndimage.uniform_filter1d(samples.astype(np.float64) ** 2, width, axis=1, mode="nearest").max(axis=0)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-15)))


def _gain(
    heard: NDArray[np.bool_], sample_rate: int, quiet: float, loud: float, hold: float, ramp: float
) -> NDArray[np.float32]:
    """A factor per sample: `loud` dB while something is heard and `hold` seconds around, else `quiet`, with ramps between."""
    held = ndimage.maximum_filter1d(heard.astype(np.uint8), 2 * round(hold * sample_rate) + 1, mode="nearest")
    share = ndimage.uniform_filter1d(held.astype(np.float64), 2 * round(ramp * sample_rate / 2) + 1, mode="nearest")
    return np.asarray(10 ** ((quiet + (loud - quiet) * share) / 20), np.float32)

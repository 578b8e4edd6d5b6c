"""Cleaning sounds: what is too short, silent, clipped, too quiet or too loud is left out, with its reason."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pydantic
from pydantic import Field

from aigc_sdk.artifacts import Audio
from aigc_sdk.protocols import Options

from .items import Item, Journal, judged

WINDOW = 0.02  # seconds over which silence is judged
FULL = 0.999  # of full scale
RUN = 3  # samples at full scale in a row that are clipping; one alone may be a peak
LEAST = 0.4  # seconds that loudness needs


class SoundRules(Options):
    """What a sound must be to stay."""

    min_seconds: float = Field(0.1, ge=0, description="shortest duration in seconds")
    max_seconds: float = Field(3600.0, gt=0, description="longest duration in seconds")
    silent_below: float = Field(-60.0, ge=-120, le=0, description="level in dB of full scale that counts as silence")
    max_silence: float = Field(0.8, ge=0, le=1, description="largest share of silence, in windows of 20 ms")
    max_clipped: float = Field(
        0.001, ge=0, le=1, description="largest share of samples at full scale, 3 or more in a row"
    )
    min_loudness: float = Field(-60.0, ge=-70, le=0, description="least loudness in LUFS (BS.1770), from 0.4 s on")
    max_loudness: float = Field(0.0, ge=-70, le=5, description="most loudness in LUFS")

    @pydantic.model_validator(mode="after")
    def _check_order(self) -> SoundRules:
        for least, most in (("min_seconds", "max_seconds"), ("min_loudness", "max_loudness")):
            if getattr(self, least) > getattr(self, most):
                raise ValueError(f"{least}={getattr(self, least)} is above {most}={getattr(self, most)}")
        return self


def clean_sounds(items: Iterable[Item], journal: Journal, **rules: Any) -> Iterator[Item]:
    """Sounds without those that are not worth keeping; rules: those of SoundRules.

    The reasons are "too short", "too long", "silent", "clipped", "too quiet" and "too loud". Raises DataError for what is no
    sound, OptionError.
    """
    parsed = SoundRules.parse("clean_sounds", rules)
    return judged(items, journal, "audio", functools.partial(_fault, rules=parsed))


def silence(audio: Audio, below: float = -60.0) -> float:
    """The share of windows of 20 ms whose level, in the loudest channel, is under `below` dB of full scale; 1 for nothing."""
    size = max(1, round(WINDOW * audio.sample_rate))
    count = audio.samples.shape[1] // size
    if not count:
        return 1.0 if not audio.samples.size else float(np.abs(audio.samples).max() < 10 ** (below / 20))
    windows = audio.samples[:, : count * size].reshape(len(audio.samples), count, size)
    power = np.square(windows, dtype=np.float64).mean(2).max(0)
    return float((power < 10 ** (below / 10)).mean())


def clipped(audio: Audio) -> float:
    """The share of samples that stand at full scale, 3 or more in a row."""
    if not audio.samples.size:
        return 0.0
    full = np.pad(np.abs(audio.samples) >= FULL, ((0, 0), (1, 1))).astype(np.int8)
    edges = np.diff(full, axis=1)
    starts, stops = np.nonzero(edges == 1)[1], np.nonzero(edges == -1)[1]
    runs = stops - starts
    return float(runs[runs >= RUN].sum() / audio.samples.size)


def _fault(audio: Audio, rules: SoundRules) -> tuple[str, str] | None:
    if audio.duration < rules.min_seconds:
        return "too short", f"{audio.duration:.2f} s, at least {rules.min_seconds:g} s are wanted"
    if audio.duration > rules.max_seconds:
        return "too long", f"{audio.duration:.2f} s, at most {rules.max_seconds:g} s are wanted"
    share = silence(audio, rules.silent_below)
    if share > rules.max_silence:
        return "silent", f"{share:.0%} of it is below {rules.silent_below:g} dB, at most {rules.max_silence:.0%} may be"
    if (share := clipped(audio)) > rules.max_clipped:
        return "clipped", f"{share:.2%} of the samples stand at full scale, at most {rules.max_clipped:.2%} may"
    if audio.duration < LEAST or len(audio.samples) > 6:
        return None
    from aigc_sdk_process.finish.loudness import loudness

    measured = loudness(audio)
    if measured < rules.min_loudness:
        shown = "nothing that is heard" if math.isinf(measured) else f"{measured:.1f} LUFS"
        return "too quiet", f"{shown}, at least {rules.min_loudness:g} LUFS are wanted"
    if measured > rules.max_loudness:
        return "too loud", f"{measured:.1f} LUFS, at most {rules.max_loudness:g} LUFS are wanted"
    return None

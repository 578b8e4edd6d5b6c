"""Sounds and their references as the metrics hear them, checked: of one sample rate, the mean of their channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aigc_sdk.artifacts import Audio, Text
from aigc_sdk.errors import DataError, OptionError, shown

from .accumulate import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

SILENCE = 2**-15  # half a level of 16 bits
SURROUNDING = 1024  # samples of silence around a sound that is resampled: its ends do not meet


class Spoken(NamedTuple):
    """What a sample should say, what it should sound like, or both."""

    text: str | None = None
    sound: Audio | None = None


class SpeechBatch(Batch):
    """Sounds, and for each a Spoken: made of a text, an Audio, or a pair of both."""

    samples: tuple[Audio, ...]
    references: tuple[Spoken, ...] | None

    def __init__(self, samples: Sequence[Any], references: Sequence[Any] | None = None) -> None:
        for name, given in (("samples", samples), ("references", references)):
            if isinstance(given, str | Text | Audio):
                raise DataError(f"{name} is one {type(given).__name__}; pass a list of them", field=name)
        super().__init__(
            [_sound(each, f"samples[{index}]", "samples") for index, each in enumerate(samples)],
            None if references is None else [spoken(each, f"references[{i}]") for i, each in enumerate(references)],
        )
        for index, (name, rate) in enumerate(self._rates()):
            if index and rate != self.rate:
                message = f"{name} has {rate:,} Hz and samples[0] {self.rate:,} Hz; resample them, or pass sample_rate={self.rate}"
                raise DataError(message, field=name.partition("[")[0])

    @property
    def rate(self) -> int:
        """Samples per second, of all sounds."""
        return self.samples[0].sample_rate

    def waves(self) -> list[NDArray[np.float64]]:
        """The samples, (time,) each."""
        return self.once("waves", lambda: [wave(each) for each in self.samples])

    def sounds(self) -> list[Audio]:
        """The sounds of the references, which `need_sounds` has found there."""
        return [each.sound for each in self.references or () if each.sound is not None]

    def reference_waves(self) -> list[NDArray[np.float64]]:
        """Those, (time,) each."""
        return self.once("reference_waves", lambda: [wave(each) for each in self.sounds()])

    def texts(self) -> list[str]:
        """The texts of the references, which `need_texts` has found there."""
        return [each.text for each in self.references or () if each.text is not None]

    def need_texts(self, who: str) -> None:
        """Refuse samples of which nobody says what they should say."""
        self._need(who, "text", "what the sample should say")

    def need_sounds(self, who: str) -> None:
        """Refuse samples that are compared with no sound, and silence on either side."""
        self._need(who, "sound", "an Audio")
        self.need_loud(who)
        for index, each in enumerate(self.sounds()):
            refuse_silence(each, f"references[{index}]", who)

    def need_loud(self, who: str) -> None:
        """Refuse silent samples."""
        for index, each in enumerate(self.samples):
            refuse_silence(each, f"samples[{index}]", who)

    def _need(self, who: str, field: str, what: str) -> None:
        if self.references is None:
            raise DataError(f"{who} compares with references; pass references=, each {what}", field="references")
        for index, each in enumerate(self.references):
            if getattr(each, field) is None:
                raise DataError(f"references[{index}] has no {field}; {who} needs {what}", field="references")

    def _rates(self) -> list[tuple[str, int]]:
        rates = [(f"samples[{index}]", each.sample_rate) for index, each in enumerate(self.samples)]
        for index, each in enumerate(self.references or ()):
            if each.sound is not None:
                rates.append((f"references[{index}]", each.sound.sample_rate))
        return rates


def spoken(given: Any, name: str) -> Spoken:
    """What a reference is made of. Raises DataError."""
    parts = given if isinstance(given, tuple) else (given,)
    texts = [each for each in parts if isinstance(each, str | Text)]
    sounds = [each for each in parts if isinstance(each, Audio)]
    others = len(parts) - len(texts) - len(sounds) - (isinstance(given, Spoken) and list(given).count(None))
    if others or len(texts) > 1 or len(sounds) > 1 or not parts:
        message = f"{name} is {shown(given)}; pass a text, an Audio, or a pair (text, Audio)"
        raise DataError(message, field="references")
    return Spoken(
        str(texts[0]) if texts else None,
        _sound(sounds[0], name, "references") if sounds else None,
    )


def wave(sound: Audio) -> NDArray[np.float64]:
    """The mean of the channels, (time,)."""
    return np.asarray(sound.samples.mean(0, dtype=np.float64))


def refuse_silence(sound: Audio, name: str, who: str) -> None:
    """Nothing can be compared with silence."""
    if np.abs(wave(sound)).max() < SILENCE:
        what = f"{name} is silent (below half a level of 16 bits, over the mean of its channels)"
        raise DataError(f"{what}, and {who} cannot judge silence; leave the sample out", field=name.partition("[")[0])


def resampled(sound: Audio, sample_rate: int) -> Audio:
    """The same sound at another sample rate: its spectrum is cut off, or filled up with zeros. Raises OptionError."""
    if not 1000 <= sample_rate <= 384_000:
        raise OptionError(f"sample_rate={sample_rate}: give 1,000 to 384,000 samples per second", field="sample_rate")
    if sample_rate == sound.sample_rate or not sound.samples.size:
        return sound
    common = math.gcd(sample_rate, sound.sample_rate)
    step = sound.sample_rate // common
    count = sound.samples.shape[1]
    padded = -(-(count + SURROUNDING) // step) * step  # becomes a whole number of samples
    longer = padded // step * (sample_rate // common)
    spectrum = np.fft.rfft(sound.samples.astype(np.float64), padded)[:, : longer // 2 + 1]
    samples = np.fft.irfft(spectrum, longer) * (longer / padded)
    wanted = max(1, round(count * sample_rate / sound.sample_rate))
    kept = np.clip(samples[:, :wanted], -1, 1).astype(np.float32)
    return Audio(kept, sample_rate=sample_rate, sample=sound.sample, origin=sound.origin, info=sound.info)


def resampled_reference(reference: Any, sample_rate: int) -> Any:
    """The same for a reference, whatever it is made of."""
    if isinstance(reference, Audio):
        return resampled(reference, sample_rate)
    if isinstance(reference, tuple):
        return tuple(resampled_reference(each, sample_rate) for each in reference)
    return reference


def _sound(given: Any, name: str, field: str) -> Audio:
    if not isinstance(given, Audio):
        raise DataError(f"{name} is a {type(given).__name__}; speech metrics judge Audio", field=field)
    if not given.samples.size:
        raise DataError(f"{name} is an empty sound; leave it out", field=field)
    return given

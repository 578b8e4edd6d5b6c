"""How like a reference speech sounds: its spectrum, its pitch, its length, and the voice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import DataError, InputError, shown

from .accumulate import KEPT, Array, Figure, Summed, ratio
from .speech_batch import SpeechBatch
from .speech_pitch import YIN, pitch
from .speech_spectrum import CEPSTRUM, DISTORTION, aligned, check_frames, mel_cepstrum
from .speech_words import described

if TYPE_CHECKING:
    from numpy.typing import NDArray

SpeakerEncoder = Callable[[Audio], Any]
"""From a sound to a vector that tells voices apart; its `described`, where it has one, names it in protocols."""

WARPED = "frames aligned by dynamic time warping of the mel-cepstra, steps of 1 with weight 1"


class SoundMetric(Summed):
    """Compares sounds with sounds, all of one sample rate, which stands in the protocol."""

    batch = SpeechBatch
    needs_references = True

    def __init__(self, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.rate: int | None = None

    def check(self, batch: Any) -> None:
        """Refuse what has no sound to be compared with, silence, and another sample rate than that of before."""
        batch.need_sounds(self.name)
        if self.rate not in (None, batch.rate):
            message = (
                f"{self.name} has seen sounds of {self.rate:,} Hz, and these have {batch.rate:,} Hz; resample them"
            )
            raise DataError(message, field="samples")

    def gather(self, batch: Any) -> Any:
        """Take in a batch, and remember its sample rate."""
        found = super().gather(batch)
        self.rate = batch.rate
        return found

    def merge(self, other: Self) -> None:
        """Add up; of one that has seen nothing the sample rate does not matter."""
        if type(other) is type(self) and not other.sums.count:
            return
        own, self.rate = self.rate, self.rate or getattr(other, "rate", None)
        try:
            super().merge(other)
        except InputError:
            self.rate = own
            raise

    def compared(self) -> str:
        """What protocols say of the sounds."""
        return f"mean of the channels at {self.rate:,} Hz" if self.rate else "mean of the channels"


class Warped(SoundMetric):
    """Compares frame by frame, along the path that aligns sample and reference in time."""

    def check(self, batch: Any) -> None:
        """Refuse sounds that are too short for a frame."""
        super().check(batch)
        for field, sounds in (("samples", batch.samples), ("references", batch.sounds())):
            for index, each in enumerate(sounds):
                check_frames(each.samples.shape[1], each.sample_rate, f"{field}[{index}]", self.name)


class MelCepstralDistortion(Warped):
    """Distance of the mel-cepstra in dB (Kubichek 1993), along the path of dynamic time warping, which has the least.

    10 sqrt(2) / ln 10 times the Euclidean distance of the coefficients 1 to 24, mean over the path of each utterance, mean
    over utterances. The loudness, coefficient 0, is left out: a change of volume costs nothing.
    """

    name = "mcd"
    size = 2

    def measure(self, batch: Any) -> Array:
        """[dB, 1]."""
        return np.array([[DISTORTION * _distance(*each), 1.0] for each in paths(batch)])

    def figures(self) -> dict[str, Figure]:
        """In dB; 0 is the same."""
        protocol = (
            f"10 sqrt(2) / ln 10 times the distance of mel-cepstra ({CEPSTRUM}), {WARPED}, mean over the path, then over "
            f"utterances; {self.compared()}"
        )
        return {"mcd": Figure(ratio, protocol, higher_is_better=False)}


class PitchError(Warped):
    """Root mean squared difference of log F0, over pairs of frames that are voiced on both sides."""

    name = "log_f0_rmse"
    size = 2

    def measure(self, batch: Any) -> Array:
        """[squared differences, pairs]."""
        gaps = [np.log(mine / its) for mine, its in pitches(batch)]
        return np.array([[np.nansum(each**2), np.isfinite(each).sum()] for each in gaps])

    def figures(self) -> dict[str, Figure]:
        """In natural logarithms: 0.0578 is a semitone."""
        protocol = (
            f"natural logarithm, over all pairs of frames voiced on both sides; {YIN}; {WARPED}; {self.compared()}"
        )
        return {"log_f0_rmse": Figure(_root, protocol, higher_is_better=False, needs="frames voiced on both sides")}


class VoicingError(Warped):
    """The part of the pairs of frames of which one is voiced and the other is not."""

    name = "voicing_error"
    size = 2

    def measure(self, batch: Any) -> Array:
        """[pairs that differ, pairs]."""
        return np.array(
            [[(np.isnan(mine) != np.isnan(its)).sum(), len(mine)] for mine, its in pitches(batch)], np.float64
        )

    def figures(self) -> dict[str, Figure]:
        """0 to 1."""
        protocol = f"part of all pairs of frames voiced on one side alone; {YIN}; {WARPED}; {self.compared()}"
        return {"voicing_error": Figure(ratio, protocol, higher_is_better=False)}


class DurationError(SoundMetric):
    """How much longer or shorter a sample is than its reference, as part of the reference; silence counts."""

    name = "duration_error"
    size = 2

    def measure(self, batch: Any) -> Array:
        """[relative difference, 1]."""
        pairs = zip(batch.samples, batch.sounds(), strict=True)
        return np.array([[abs(mine.duration / its.duration - 1), 1.0] for mine, its in pairs])

    def figures(self) -> dict[str, Figure]:
        """0 is the same length."""
        protocol = "difference of the lengths as part of the reference's, silence included, mean over samples"
        return {"duration_error": Figure(ratio, protocol, higher_is_better=False)}


class SpeakerSimilarity(SoundMetric):
    """Cosine of the vectors that a speaker encoder makes of sample and reference, mean over samples."""

    name = "speaker_similarity"
    size = 2

    def __init__(self, encoder: SpeakerEncoder, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.encoder = encoder
        self.column = f"speaker_similarity[{getattr(encoder, 'name', None) or described(encoder)}]"

    def measure(self, batch: Any) -> Array:
        """[cosine, 1]."""
        mine, its = (
            [_voice(self.encoder, each, f"{field}[{index}]") for index, each in enumerate(sounds)]
            for field, sounds in (("samples", batch.samples), ("references", batch.sounds()))
        )
        return np.array([[_cosine(a, b), 1.0] for a, b in zip(mine, its, strict=True)])

    def figures(self) -> dict[str, Figure]:
        """-1 to 1; another encoder's figures are others."""
        protocol = f"cosine of vectors of {described(self.encoder)}, mean over samples; {self.compared()}"
        return {self.column: Figure(ratio, protocol, higher_is_better=True)}


class RealTimeFactor(Summed):
    """Seconds of computing per second of sound, over all samples; each says its own in `info["compute_seconds"]`."""

    name = "real_time_factor"
    batch = SpeechBatch
    size = 2

    def check(self, batch: Any) -> None:
        """Refuse samples that do not say how long they took."""
        for index, each in enumerate(batch.samples):
            took = each.info.get("compute_seconds")
            if isinstance(took, bool) or not isinstance(took, int | float) or not 0 <= took < np.inf:
                what = f"samples[{index}].info['compute_seconds'] is {shown(took)}"
                raise DataError(f"{what}; real_time_factor needs the seconds it took to make each", field="samples")

    def measure(self, batch: Any) -> Array:
        """[seconds it took, seconds it lasts]."""
        return np.array([[each.info["compute_seconds"], each.duration] for each in batch.samples])

    def figures(self) -> dict[str, Figure]:
        """Below 1 is faster than speech."""
        protocol = "seconds of computing, as each sample's info tells, per second of sound, over all samples"
        return {"real_time_factor": Figure(partial(ratio, above=0, below=1), protocol, higher_is_better=False)}


def paths(batch: SpeechBatch) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]]:
    """For each sample its mel-cepstrum, that of its reference, and the path that aligns them."""

    def make() -> list[tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]]:
        pairs = zip(batch.waves(), batch.reference_waves(), strict=True)
        both = [(mel_cepstrum(mine, batch.rate), mel_cepstrum(its, batch.rate)) for mine, its in pairs]
        return [(mine, its, aligned(mine, its)) for mine, its in both]

    return batch.once("paths", make)


def pitches(batch: SpeechBatch) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """For each sample the pitch along the path, and its reference's: Hz, NaN where unvoiced."""

    def make() -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        pairs = zip(batch.waves(), batch.reference_waves(), paths(batch), strict=True)
        return [
            (pitch(mine, batch.rate)[path[:, 0]], pitch(its, batch.rate)[path[:, 1]])
            for mine, its, (_, _, path) in pairs
        ]

    return batch.once("pitches", make)


def _distance(mine: NDArray[Any], its: NDArray[Any], path: NDArray[np.int64]) -> float:
    return float(np.linalg.norm(mine[path[:, 0]] - its[path[:, 1]], axis=1).mean())


def _root(sums: Array) -> Array:
    return np.sqrt(ratio(sums))


def _voice(encoder: SpeakerEncoder, sound: Audio, name: str) -> NDArray[np.float64]:
    found = np.asarray(encoder(sound), np.float64)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all() or not found.any():
        what = f"the speaker encoder {described(encoder)} makes an array of shape {found.shape} of {name}"
        raise DataError(f"{what}; it must make one vector (d,) of finite numbers, not all 0", field="encoder")
    return found


def _cosine(mine: NDArray[np.float64], its: NDArray[np.float64]) -> float:
    if mine.shape != its.shape:
        message = f"the speaker encoder makes vectors of {len(mine)} and {len(its)} numbers; it must keep to one size"
        raise DataError(message, field="encoder")
    return float(np.clip(mine @ its / np.linalg.norm(mine) / np.linalg.norm(its), -1, 1))

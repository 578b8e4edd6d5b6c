"""Intelligibility and quality against the clean sound, sample by sample: STOI and PESQ by the packages of their authors'
reference code."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np

from aigc_sdk.errors import DataError
from aigc_sdk.runtime import require

from .accumulate import KEPT, Array, Figure, ratio
from .speech_voice import SoundMetric

EXTRA = '"aigc-sdk-metrics[speech]"'
PESQ_RATES = {"wb": (16_000,), "nb": (8000, 16_000)}
PESQ_SHORTEST = 0.25  # seconds


class Aligned(SoundMetric):
    """Compares sample k of the one with sample k of the other: both must be equally long, and start together."""

    size = 2

    def check(self, batch: Any) -> None:
        """Refuse unequal lengths."""
        super().check(batch)
        for index, (mine, its) in enumerate(zip(batch.samples, batch.sounds(), strict=True)):
            if mine.samples.shape[1] != its.samples.shape[1]:
                what = f"samples[{index}] has {mine.samples.shape[1]:,} samples, its reference {its.samples.shape[1]:,}"
                message = f"{what}; {self.name} compares sounds of equal length that start together: align and cut them"
                raise DataError(message, field="samples")

    def measure(self, batch: Any) -> Array:
        """[score, 1]."""
        pairs = zip(batch.waves(), batch.reference_waves(), strict=True)
        return np.array(
            [[self.pair(mine, its, batch.rate, f"samples[{i}]"), 1.0] for i, (mine, its) in enumerate(pairs)]
        )

    def pair(self, mine: Array, its: Array, rate: int, name: str) -> float:
        """The score of one sample."""
        raise NotImplementedError


class STOI(Aligned):
    """Short-time objective intelligibility (Taal et al. 2011), or its extension for modulated noise (Jensen and Taal
    2016), by pystoi."""

    name = "stoi"

    def __init__(self, *, extended: bool = False, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.extended = extended
        self._stoi = require("pystoi", EXTRA, "stoi").stoi

    def pair(self, mine: Array, its: Array, rate: int, name: str) -> float:
        """-1 to 1."""
        state = np.random.get_state()  # the extended one adds noise from numpy's global stream
        try:
            np.random.seed(0)
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                return float(self._stoi(its, mine, rate, extended=self.extended))
        except (RuntimeWarning, ValueError, IndexError) as error:
            message = f"{name} has less than the 384 ms of sound that {self.name} needs; leave it out"
            raise DataError(message, field="samples") from error
        finally:
            np.random.set_state(state)

    def figures(self) -> dict[str, Figure]:
        """1 is the clean sound."""
        which = "extended STOI (Jensen and Taal 2016)" if self.extended else "STOI (Taal et al. 2011)"
        protocol = f"{which} by pystoi {_version('pystoi')}, mean over samples; {self.compared()}"
        return {"stoi": Figure(ratio, protocol, higher_is_better=True)}


class PESQ(Aligned):
    """Perceptual evaluation of speech quality (ITU-T P.862) by pesq: a predicted opinion score, MOS-LQO.

    mode: "wb", wide band at 16 kHz (P.862.2), or "nb", narrow band at 8 or 16 kHz (P.862.1).
    """

    name = "pesq"

    def __init__(self, mode: Literal["wb", "nb"] = "wb", keep: int = KEPT) -> None:
        super().__init__(keep)
        self.mode = mode
        self._pesq = require("pesq", EXTRA, "pesq").pesq

    def check(self, batch: Any) -> None:
        """Refuse other sample rates than those of the standard, and what is too short."""
        super().check(batch)
        if batch.rate not in PESQ_RATES[self.mode]:
            allowed = " or ".join(f"{each:,}" for each in PESQ_RATES[self.mode])
            message = (
                f"pesq in mode {self.mode} is for {allowed} Hz, and the sounds have {batch.rate:,} Hz; resample them"
            )
            raise DataError(f"{message}, or pass sample_rate={PESQ_RATES[self.mode][-1]}", field="samples")
        for index, each in enumerate(batch.samples):
            if each.duration < PESQ_SHORTEST:
                message = f"samples[{index}] lasts {each.duration:.3f} s; pesq needs {PESQ_SHORTEST} s"
                raise DataError(message, field="samples")

    def pair(self, mine: Array, its: Array, rate: int, name: str) -> float:
        """1 to 4.6."""
        try:
            return float(self._pesq(rate, its, mine, self.mode))
        except Exception as error:  # the package raises classes of its own for each of its C code's complaints
            message = f"pesq cannot judge {name}: {type(error).__name__}; it looks for utterances in both sounds"
            raise DataError(message, field="samples") from error

    def figures(self) -> dict[str, Figure]:
        """4.64 (wide band) is the clean sound."""
        which = "wide band (P.862.2)" if self.mode == "wb" else "narrow band (P.862.1)"
        protocol = f"MOS-LQO of ITU-T P.862, {which}, by pesq {_version('pesq')}, mean over samples; {self.compared()}"
        return {"pesq": Figure(ratio, protocol, higher_is_better=True)}


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)

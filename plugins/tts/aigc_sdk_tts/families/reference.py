"""The recording whose voice a model is to speak with: read, checked, and never without consent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from aigc_sdk import media
from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import OptionError
from aigc_sdk_tts.resample import Resampler

from .family import Wording

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONSENT = 10  # characters; shorter is no statement of who agreed to what
SHORTEST, LONGEST = 0.5, 60.0  # seconds
SILENT = 1e-3


def samples_of(options: Wording, rate: int, *, text: Literal["needed", "unused"]) -> NDArray[np.float32] | None:
    """The reference's sound, one channel at `rate`, (time,); None where there is none. Raises OptionError.

    text: whether the model needs to be told what is said in it.
    """
    check_consent(options)
    if options.reference is None:
        return None
    if text == "needed" and not (options.reference_text or "").strip():
        raise OptionError(
            "tts option reference_text: say what is said in the reference; this model reads both",
            field="reference_text",
        )
    if not Path(options.reference).is_file():
        raise OptionError(f"tts option reference={options.reference!r}: there is no such file", field="reference")
    sound = media.read(options.reference)
    if not isinstance(sound, Audio):
        raise OptionError(
            f"tts option reference={options.reference!r} is a file of {sound.kind}; give a sound", field="reference"
        )
    if not SHORTEST <= sound.duration <= LONGEST or float(np.abs(sound.samples).max(initial=0)) < SILENT:
        raise OptionError(
            f"tts option reference={options.reference!r} has {sound.duration:.2f} s of sound, or is silent; give "
            f"{SHORTEST:g} to {LONGEST:g} seconds of speech",
            field="reference",
        )
    mono: NDArray[np.float32] = sound.samples.mean(axis=0, dtype=np.float32)
    return Resampler(sound.sample_rate, rate).push(mono, last=True)


def check_consent(options: Wording) -> None:
    """Refuse a reference without consent, and consent without a reference. Raises OptionError."""
    if options.reference is None:
        for name in ("reference_text", "consent"):
            if getattr(options, name) is not None:
                raise OptionError(
                    f"tts option {name} goes with reference, a sound file; pass both or neither", field=name
                )
    elif options.consent is None or len(options.consent.strip()) < CONSENT:
        raise OptionError(
            f"tts option consent={options.consent!r}: to speak with the voice in {options.reference!r}, say in consent who "
            "agreed to it and how, such as 'Ada Lovelace, in writing on 3 May'; it is kept in the origin",
            field="consent",
        )

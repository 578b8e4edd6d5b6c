"""A listener that works offline: PocketSphinx with the model of US English that its package brings."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from aigc_sdk import runtime
from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import OptionError

from .resample import Resampler

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 16000
SILENCE = 1e-4  # in sounds below it the recogniser hears words all the same
GRAMMAR = "vocabulary"
SPELLINGS = {"dr": "doctor", "mr": "mister", "mrs": "missus", "pm": "p m", "okay": "ok"}  # two ways to write one word
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


class Recogniser:
    """Sounds to words. Raises MissingDependency without pocketsphinx.

    vocabulary: the only words that are listened for, in any order, such as digits; all of English where there are none.
    """

    def __init__(self, vocabulary: Sequence[str] = ()) -> None:
        sphinx = runtime.require("pocketsphinx", '"aigc-sdk-tts[recognise]"', "the recogniser")
        self._decoder = sphinx.Decoder(samprate=RATE, cmn="batch", loglevel="FATAL")
        self.described = f"pocketsphinx {version('pocketsphinx')} with its own model of US English, {RATE:,} Hz"
        if vocabulary:
            self._listen_for(vocabulary)

    def __call__(self, sound: Audio) -> list[str]:
        """The words that are heard."""
        mono = sound.samples.mean(axis=0)
        heard = Resampler(sound.sample_rate, RATE).push(mono, last=True)
        if not heard.size or np.abs(heard).max() < SILENCE:
            return []
        levels = np.clip(np.rint(heard * 32767), -32768, 32767).astype("<i2").tobytes()
        self._decoder.reinit_feat()  # or else what it knows of the noise goes from one sound to the next
        self._decoder.start_utt()
        self._decoder.process_raw(levels, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return words(found.hypstr) if found else []

    def _listen_for(self, vocabulary: Sequence[str]) -> None:
        strange = [each for each in vocabulary if not _WORD.fullmatch(each) or self._decoder.lookup_word(each) is None]
        if strange:
            message = f"vocabulary holds {strange[0]!r}, which the recogniser does not know; give it in lower case, or leave it out"
            raise OptionError(message, field="vocabulary")
        self._decoder.add_jsgf_string(GRAMMAR, f"#JSGF V1.0; grammar g; public <s> = ({' | '.join(vocabulary)})+;")
        self._decoder.activate_search(GRAMMAR)
        self.described += f", listening for {', '.join(vocabulary)}"


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation, in one spelling."""
    found = _WORD.findall(text.casefold().replace("\u2019", "'"))
    return " ".join(SPELLINGS.get(each, each) for each in found).split()


def edits(heard: Sequence[str], wanted: Sequence[str]) -> int:
    """The least number of words to insert, remove or change (Levenshtein 1966)."""
    row = list(range(len(wanted) + 1))
    for index, mine in enumerate(heard, 1):
        before, row[0] = row[0], index
        for place, its in enumerate(wanted, 1):
            best = min(before + (mine != its), row[place] + 1, row[place - 1] + 1)
            before, row[place] = row[place], best
    return row[-1]

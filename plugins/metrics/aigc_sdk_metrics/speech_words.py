"""How many words and letters of what should be said a recogniser does not hear: WER and CER, each equal to jiwer's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from aigc_sdk.artifacts import Audio, Text
from aigc_sdk.errors import DataError, shown

from .accumulate import KEPT, Array, Figure, Rows, Summed, ratio
from .speech_batch import SpeechBatch

Recogniser = Callable[[Audio], Any]
"""From a sound to what it says, a string or a Text; its `described`, where it has one, names it in protocols."""
Normalization = Literal["spoken", "none"]

_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u0060\u00b4]")
_LEFT_OVER = re.compile(r"(?<!\w)'|'(?!\w)")  # quotation marks rather than apostrophes

HOW = {
    "spoken": "NFKC, case-folded, punctuation and symbols taken for spaces but for apostrophes within words",
    "none": "as they are",
}


class WordErrors(Summed):
    """WER or CER (unit "words" or "characters"): edits from what should be said to what is heard, per unit of the former.

    Levenshtein's distance over all samples divided by the length of all texts, which is no mean of each sample's. Rows
    have each sample's own rate, and its transcript.
    """

    batch = SpeechBatch
    needs_references = True
    size = 2

    def __init__(
        self,
        recogniser: Recogniser,
        unit: Literal["words", "characters"] = "words",
        normalization: Normalization = "spoken",
        keep: int = KEPT,
    ) -> None:
        super().__init__(keep)
        self.recogniser, self.unit, self.normalization = recogniser, unit, normalization
        self.name = "wer" if unit == "words" else "cer"  # type: ignore[misc]

    def check(self, batch: Any) -> None:
        """Refuse texts that have no words."""
        batch.need_texts(self.name)
        for index, each in enumerate(batch.texts()):
            if not normalized(each, self.normalization):
                message = f"references[{index}] is {shown(each)}, which has no words; say what the sample should say"
                raise DataError(message, field="references")

    def gather(self, batch: Any) -> Rows:
        """Rows say what was heard."""
        rows = super().gather(batch)
        return [{**row, "transcript": heard} for row, heard in zip(rows, self._heard(batch), strict=True)]

    def measure(self, batch: Any) -> Array:
        """[edits, units that should be said]."""
        split: Callable[[str], Sequence[Hashable]] = str.split if self.unit == "words" else list
        pairs = [
            (split(normalized(heard, self.normalization)), split(normalized(text, self.normalization)))
            for heard, text in zip(self._heard(batch), batch.texts(), strict=True)
        ]
        return np.array([[edits(mine, its), len(its)] for mine, its in pairs], np.float64)

    def figures(self) -> dict[str, Figure]:
        """0 is perfect; more is heard than should be said where it exceeds 1."""
        by = described(self.recogniser)
        counted = "words split at white space" if self.unit == "words" else "characters, spaces among them"
        protocol = f"edits per unit over all samples; {counted}; texts {HOW[self.normalization]}; heard by {by}"
        return {self.name: Figure(partial(ratio, above=0, below=1), protocol, higher_is_better=False)}

    def _heard(self, batch: SpeechBatch) -> list[str]:
        """Each sample is listened to once, whatever is counted."""
        key = ("heard", id(self.recogniser))
        return batch.once(key, lambda: [_heard(self.recogniser, each) for each in batch.samples])


def normalized(text: str, how: Normalization) -> str:
    """The words of a text, with one space between them."""
    if how == "none":
        return " ".join(text.split())
    folded = _APOSTROPHES.sub("'", unicodedata.normalize("NFKC", text)).casefold()
    kept = "".join(char if char == "'" or unicodedata.category(char)[0] not in "PSCZ" else " " for char in folded)
    return " ".join(_LEFT_OVER.sub(" ", kept).split())


def edits(mine: Sequence[Hashable], its: Sequence[Hashable]) -> int:
    """The least number of insertions, deletions and substitutions (Levenshtein 1966), a column of bits at a time.

    (Myers 1999, as Hyyrö 2003 has it for the distance of wholes.)
    """
    if not mine:
        return len(its)
    places: dict[Hashable, int] = {}
    for index, token in enumerate(mine):
        places[token] = places.get(token, 0) | 1 << index
    everything, last = (1 << len(mine)) - 1, 1 << len(mine) - 1
    more, less, distance = everything, 0, len(mine)  # where the column rises and falls, and its last entry
    for token in its:
        equal = places.get(token, 0)
        level = (((equal & more) + more) ^ more) | equal | less
        rising, falling = less | ~(level | more) & everything, more & level
        distance += bool(rising & last) - bool(falling & last)
        rising, falling = (rising << 1 | 1) & everything, falling << 1 & everything
        more, less = falling | ~(level | rising) & everything, rising & level
    return distance


def described(model: Any) -> str:
    """What a protocol calls a model that a user gave: its own word, or its function's or class's name."""
    return str(getattr(model, "described", None) or getattr(model, "__name__", None) or type(model).__name__)


def _heard(recogniser: Recogniser, sound: Audio) -> str:
    found = recogniser(sound)
    if not isinstance(found, str | Text):
        message = f"the recogniser {described(recogniser)} returns {shown(found)}; it must return a string"
        raise DataError(message, field="recogniser")
    return str(found)

"""How hard English is to read, by published formulas of counts.

| score                | formula                                                                   | source                    |
|----------------------|---------------------------------------------------------------------------|---------------------------|
| flesch_reading_ease  | 206.835 - 1.015 words/sentences - 84.6 syllables/words                    | Flesch 1948               |
| flesch_kincaid_grade | 0.39 words/sentences + 11.8 syllables/words - 15.59                       | Kincaid et al. 1975       |
| ari                  | 4.71 characters/words + 0.5 words/sentences - 21.43                       | Smith and Senter 1967     |
| coleman_liau         | 0.0588 letters per 100 words - 0.296 sentences per 100 words - 15.8       | Coleman and Liau 1975     |
| gunning_fog          | 0.4 (words/sentences + 100 words of three syllables or more / words)      | Gunning 1952              |

Over several texts the counts are added up first. Syllables are estimated, as groups of vowels without a silent final e;
a dictionary would count some words otherwise. Characters are letters and digits.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

from .accumulate import Array, Figure, Summed
from .text_batch import TextBatch

_WORD = re.compile(r"[A-Za-z0-9]+(?:['\u2019-][A-Za-z0-9]+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?=[\s\"'\u201d\u2019)]|$)|\n\s*\n")
_VOWELS = re.compile(r"[aeiouy]+")
LONG = 3  # syllables


class Readability(Summed):
    """Flesch reading ease, and the grade at school that a text needs by four formulas."""

    name = "readability"
    batch = TextBatch
    size = 6

    def measure(self, batch: Any) -> Array:
        """[words, sentences, syllables, letters and digits, letters, long words]."""
        return np.array([counts(text) for text in batch.samples], np.float64)

    def figures(self) -> dict[str, Figure]:
        """Reading ease, of which more is easier; grades, of which less is easier."""
        how = (
            "English; sentences end at . ! ? or an empty line; syllables estimated by groups of vowels; counts added up"
        )
        return {
            name: Figure(
                value, f"{source}; {how}", higher_is_better=name == "flesch_reading_ease", needs="an English word"
            )
            for name, (value, source) in FORMULAS.items()
        }


def counts(text: str) -> list[int]:
    """[words, sentences, syllables, letters and digits, letters, words of three syllables or more]."""
    found = _WORD.findall(text)
    sentences = sum(bool(_WORD.search(each)) for each in _SENTENCE_END.split(text))
    each = [syllables(word.lower()) for word in found]
    joined = "".join(found)
    characters, letters = sum(map(str.isalnum, joined)), sum(map(str.isalpha, joined))
    return [len(found), sentences, sum(each), characters, letters, sum(count >= LONG for count in each)]


@lru_cache(maxsize=1 << 16)
def syllables(word: str) -> int:
    """An estimate for an English word in lower case; at least one."""
    groups = len(_VOWELS.findall(word))
    silent = word.endswith("e") and not word.endswith(("le", "ee", "ye", "oe")) and groups > 1
    past = word.endswith("ed") and not word.endswith(("ted", "ded", "eed")) and groups > 1
    return max(1, groups - silent - past)


def _per(sums: Array, above: int, below: int) -> Array:
    divisor = sums[..., below]
    return np.divide(sums[..., above], divisor, out=np.full(divisor.shape, np.nan), where=divisor > 0)


def reading_ease(sums: Array) -> Array:
    """Flesch 1948."""
    return 206.835 - 1.015 * _per(sums, 0, 1) - 84.6 * _per(sums, 2, 0)


def kincaid(sums: Array) -> Array:
    """Kincaid et al. 1975."""
    return 0.39 * _per(sums, 0, 1) + 11.8 * _per(sums, 2, 0) - 15.59


def automated(sums: Array) -> Array:
    """Smith and Senter 1967."""
    return 4.71 * _per(sums, 3, 0) + 0.5 * _per(sums, 0, 1) - 21.43


def coleman_liau(sums: Array) -> Array:
    """Coleman and Liau 1975."""
    return 5.88 * _per(sums, 4, 0) - 29.6 * _per(sums, 1, 0) - 15.8


def fog(sums: Array) -> Array:
    """Gunning 1952."""
    return 0.4 * (_per(sums, 0, 1) + 100 * _per(sums, 5, 0))


FORMULAS = {
    "flesch_reading_ease": (reading_ease, "Flesch 1948"),
    "flesch_kincaid_grade": (kincaid, "Kincaid et al. 1975"),
    "ari": (automated, "automated readability index, Smith and Senter 1967"),
    "coleman_liau": (coleman_liau, "Coleman and Liau 1975"),
    "gunning_fog": (fog, "Gunning 1952, words of three syllables or more"),
}

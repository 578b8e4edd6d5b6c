"""How a word is said: by the lexicon, by what it is made of, by its letters; and which way where there are several."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from . import lexicon
from .heteronyms import in_context
from .phonemes import is_vowel

Phonemes = tuple[str, ...]

LETTER_NAMES = {
    "A": "EY1",
    "B": "B IY1",
    "C": "S IY1",
    "D": "D IY1",
    "E": "IY1",
    "F": "EH1 F",
    "G": "JH IY1",
    "H": "EY1 CH",
    "I": "AY1",
    "J": "JH EY1",
    "K": "K EY1",
    "L": "EH1 L",
    "M": "EH1 M",
    "N": "EH1 N",
    "O": "OW1",
    "P": "P IY1",
    "Q": "K Y UW1",
    "R": "AA1 R",
    "S": "EH1 S",
    "T": "T IY1",
    "U": "Y UW1",
    "V": "V IY1",
    "W": "D AH1 B AH0 L Y UW0",
    "X": "EH1 K S",
    "Y": "W AY1",
    "Z": "Z IY1",
}
_HISSING = ("S", "Z", "SH", "ZH", "CH", "JH")
_VOICELESS = ("P", "T", "K", "F", "TH")
# Only what says more held-out words right than the letter-to-sound model: other endings, and beginnings, do not.
_ENDINGS = {"ness": "N AH0 S", "less": "L AH0 S", "ful": "F AH0 L", "ship": "SH IH2 P"}
_COMPOUNDED = 5  # letters of either half; shorter halves are found in names as well, and mislead


def pronounce(word: str, before: str = "", after: str = "") -> Phonemes:
    """The phonemes of a spoken word, or of a capital letter's name; the words around it choose between several."""
    if word[:1] in LETTER_NAMES:  # or in the plural: C D's
        name = tuple(LETTER_NAMES[word[0]].split())
        return _with_s(name) if word.endswith("'s") else name
    if word == "the":
        return ("DH", "IY0") if after and is_vowel(pronounce(after)[0]) else ("DH", "AH0")
    return in_context(word, before, after) or _alone(word)


@functools.lru_cache(8192)
def _alone(word: str) -> Phonemes:
    found = lexicon.pronunciations(word)
    if found:
        return found[0]
    return _derived(word) or _by_letters(word)


def _derived(word: str) -> Phonemes | None:
    """A word that is made of known ones: chatbot's, emojis, vlogging, clicheness, clearwater."""
    plain = word.rstrip("'")
    if plain != word and plain:
        return _alone(plain)
    if word.endswith("'s"):
        return _with_s(_alone(word[:-2]))
    head, _, tail = word.partition("'")
    if tail:
        return (_alone(head) if head else ()) + _alone(tail)
    return _inflected(word) or _with_ending(word) or _compound(word)


def _inflected(word: str) -> Phonemes | None:
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        stems = [
            word[:-1],
            *([word[:-2]] if word.endswith("es") else []),
            *([word[:-3] + "y"] if word.endswith("ies") else []),
        ]
        if stem := _first_known(stems):
            return _with_s(stem)
    if word.endswith("ed") and (stem := _first_known(_stems(word[:-2]))):
        return _with_d(stem)
    if word.endswith("ing") and (stem := _first_known(_stems(word[:-3]))):
        return (*stem, "IH0", "NG")
    return None


def _stems(rest: str) -> list[str]:
    """What may stand before -ed and -ing: retir(e), tweet, blog(g), hurr(y); of hope and hop the one without a double p."""
    if len(rest) < 3:
        return []
    stems = [rest + "e", rest]
    if rest[-1] == rest[-2]:
        stems.append(rest[:-1])
    if rest[-1] == "i":
        stems.append(rest[:-1] + "y")
    return stems


def _first_known(stems: Sequence[str]) -> Phonemes | None:
    return next((lexicon.pronunciations(each)[0] for each in stems if len(each) > 2 and lexicon.known(each)), None)


def _with_s(stem: Phonemes) -> Phonemes:
    if stem[-1] in _HISSING:
        return (*stem, "IH0", "Z")
    return (*stem, "S" if stem[-1] in _VOICELESS else "Z")


def _with_d(stem: Phonemes) -> Phonemes:
    if stem[-1] in ("T", "D"):
        return (*stem, "IH0", "D")
    return (*stem, "T" if stem[-1] in (*_VOICELESS, *_HISSING) and stem[-1] not in ("Z", "ZH", "JH") else "D")


def _with_ending(word: str) -> Phonemes | None:
    for ending, said in _ENDINGS.items():
        rest = word.removesuffix(ending)
        if rest != word and (stem := _first_known([rest, rest[:-1] + "y"] if rest.endswith("i") else [rest])):
            return (*stem, *said.split())
    return None


def _compound(word: str) -> Phonemes | None:
    """Two known words that have plurals, split as evenly as can be; the second's stress becomes a secondary one."""
    places = range(_COMPOUNDED, len(word) - _COMPOUNDED + 1)
    for place in sorted(places, key=lambda each: abs(2 * each - len(word))):
        first, second = word[:place], word[place:]
        if all(lexicon.known(each) and lexicon.known(each + "s") for each in (first, second)):
            tail = (each[:-1] + "2" if each.endswith("1") else each for each in lexicon.pronunciations(second)[0])
            return (*lexicon.pronunciations(first)[0], *tail)
    return None


def _by_letters(word: str) -> Phonemes:
    """By the letter-to-sound model; a word without any vowel is spelled."""
    letters = "".join(each for each in word if each.isascii() and each.isalpha())
    if not any(each in "aeiouy" for each in letters):
        return tuple(phoneme for each in letters for phoneme in LETTER_NAMES[each.upper()].split())
    from .letters import pronounce as by_letters  # loads torch

    return by_letters(letters)

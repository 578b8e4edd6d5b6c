# ruff: noqa: RUF001 (signs that look alike are what this file is about)
"""The phonemes of American English as CMUdict writes them: ARPAbet, the vowels with their stress."""

from __future__ import annotations

from collections.abc import Iterable

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N"),
    *("NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
SYMBOLS: tuple[str, ...] = (*CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in "012"))

_FIRST = ord("!")
_LETTER = {symbol: chr(_FIRST + index) for index, symbol in enumerate(SYMBOLS)}
_SYMBOL = {letter: symbol for symbol, letter in _LETTER.items()}


def is_vowel(symbol: str) -> bool:
    return symbol[-1] in "012"


def without_stress(symbols: Iterable[str]) -> tuple[str, ...]:
    return tuple(symbol.rstrip("012") for symbol in symbols)


def packed(symbols: Iterable[str]) -> str:
    """One printable ASCII character per phoneme, the form in which the lexicon is shipped."""
    return "".join(_LETTER[symbol] for symbol in symbols)


def unpacked(letters: str) -> tuple[str, ...]:
    return tuple(_SYMBOL[letter] for letter in letters)


def parse_arpabet(text: str) -> tuple[str, ...] | None:
    """The phonemes of "HH AH0 L OW1"; a vowel without a number is unstressed. None where a symbol is unknown."""
    found = tuple(each + "0" if each in VOWELS else each for each in text.upper().split())
    return found if found and all(each in _LETTER for each in found) else None


def parse_ipa(text: str) -> tuple[str, ...] | None:
    """The phonemes of "həˈloʊ"; a stress mark belongs to the next vowel. None where a symbol is unknown."""
    found: list[str] = []
    stress = "0"
    rest = "".join(each for each in text if each not in _IPA_IGNORED)
    while rest:
        if rest[0] in _IPA_STRESS:
            stress, rest = _IPA_STRESS[rest[0]], rest[1:]
            continue
        size = next((size for size in (3, 2, 1) if rest[:size] in _IPA), 0)
        if not size:
            return None
        phoneme, rest = _IPA[rest[:size]], rest[size:]
        if phoneme in VOWELS:
            phoneme, stress = phoneme + stress, "0"
        found.append(phoneme)
    return tuple(found) or None


_IPA_STRESS = {"ˈ": "1", "'": "1", "ˌ": "2"}
_IPA_IGNORED = " .ː‿/[]\u0361\u0329"  # syllables, length, ties and syllabic marks, which ARPAbet has not
_IPA = {
    "ɑ": "AA",
    "a": "AA",
    "ɒ": "AA",
    "æ": "AE",
    "ʌ": "AH",
    "ə": "AH",
    "ɐ": "AH",
    "ɔ": "AO",
    "aʊ": "AW",
    "aɪ": "AY",
    "ɛ": "EH",
    "e": "EH",
    "ɝ": "ER",
    "ɚ": "ER",
    "ɜ": "ER",
    "ɜɹ": "ER",
    "ɜr": "ER",
    "əɹ": "ER",
    "ər": "ER",
    "eɪ": "EY",
    "ɪ": "IH",
    "ɨ": "IH",
    "i": "IY",
    "oʊ": "OW",
    "əʊ": "OW",
    "o": "OW",
    "ɔɪ": "OY",
    "ʊ": "UH",
    "u": "UW",
    "b": "B",
    "tʃ": "CH",
    "ʧ": "CH",
    "d": "D",
    "ð": "DH",
    "f": "F",
    "ɡ": "G",
    "g": "G",
    "h": "HH",
    "dʒ": "JH",
    "ʤ": "JH",
    "k": "K",
    "l": "L",
    "ɫ": "L",
    "m": "M",
    "n": "N",
    "ŋ": "NG",
    "p": "P",
    "ɹ": "R",
    "r": "R",
    "s": "S",
    "ʃ": "SH",
    "t": "T",
    "ɾ": "T",
    "θ": "TH",
    "v": "V",
    "w": "W",
    "j": "Y",
    "z": "Z",
    "ʒ": "ZH",
}

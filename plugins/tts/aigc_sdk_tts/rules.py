# ruff: noqa: RUF001 (signs that look alike are what this file is about)
"""What a rule of normalisation is, and how it looks at the words around."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

LETTER = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿﬀ-ﬆ\u0300-\u036f"  # Latin with its accents, ligatures and combining marks
NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?"
END = rf"(?![{LETTER}0-9])"

_BEFORE = re.compile(rf"([{LETTER}]+)\.?[ \t\n]+$")
_AFTER = re.compile(rf"[ \t\n]+([{LETTER}]+)")
_WINDOW = 40  # characters looked back


@dataclass(frozen=True)
class Rule:
    """What is matched at the start of a word, and how it is said.

    say: gives the spoken words, in which a capital letter alone stands for the letter's name; None: another rule's matter.
    closing: a full stop at the end of the match may be the sentence's as well, as in "etc."
    """

    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]
    closing: bool = False


def rule(pattern: str, say: Callable[[re.Match[str]], str | None], closing: bool = False, flags: int = 0) -> Rule:
    return Rule(re.compile(pattern, flags), say, closing)


def word_before(match: re.Match[str]) -> str:
    """The word before the match, as it is written, or nothing."""
    found = _BEFORE.search(match.string[max(0, match.start() - _WINDOW) : match.start()])
    return found[1] if found else ""


def word_after(match: re.Match[str]) -> str:
    """The word after the match, as it is written, or nothing."""
    found = _AFTER.match(match.string, match.end())
    return found[1] if found else ""


def spelled(letters: str) -> str:
    """The names of letters and digits in turn, in the form in which a rule gives them: USB3 -> U S B 3."""
    return " ".join(letters.upper())


def folded(word: str) -> str:
    """Lower-case letters a to z for a word with accents: Café -> cafe."""
    if word.isascii():
        return word.lower()
    plain = unicodedata.normalize("NFKD", word.lower().replace("’", "'"))
    return "".join(_FOLDED.get(each, each) for each in plain if _FOLDED.get(each, each).isascii())


def words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_FOLDED = {
    "ß": "ss",
    "ø": "o",
    "æ": "ae",
    "œ": "oe",
    "ł": "l",
    "đ": "d",
    "ð": "th",
    "þ": "th",
    "ı": "i",
    "ŋ": "ng",
    "ħ": "h",
    "ſ": "s",
    "ĸ": "k",
    "ŧ": "t",
}

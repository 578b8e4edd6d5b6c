"""What might be wrong with a text: suggestions with their places. Nothing is ever replaced: a spelling checker takes names,
new words and other languages for mistakes."""

# ruff: noqa: RUF001 (these are the signs of several scripts)
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from aigc_sdk.artifacts import Text
from aigc_sdk.errors import InputError, MissingDependency

from ._checks import one_of, whole
from .text import addresses, plain_of

LANGUAGES = ("en", "es", "fr", "pt", "de", "it", "ru", "ar", "lv", "nl", "eu", "fa")
_PAIRS = {"(": ")", "[": "]", "{": "}", "“": "”", "「": "」", "（": "）"}
_VOWELS = "aeiou"
_SOUNDED = {"hour", "honest", "honour", "honor", "heir"}  # begin with a vowel to the ear
_UNSOUNDED = ("one", "once", "uni", "use", "usu", "eu", "ubi", "uk", "us ")


@dataclass(frozen=True)
class Suggestion:
    """Something to look at: `text[start:end]` is `found`; `instead` holds what it might have been, the likeliest first."""

    start: int
    end: int
    found: str
    reason: str
    instead: tuple[str, ...] = ()


def spelling(text: Text | str, *, language: str = "en", known: Iterable[str] = (), most: int = 3) -> list[Suggestion]:
    """Words that a dictionary does not have, with at most `most` that it has and that are near.

    known: words of yours that are right. Words with capitals inside or at their beginning in the midst of a sentence, with
    digits, and of one letter are taken for names and left alone. Needs pyspellchecker: pip install "aigc-sdk-process[spelling]".
    """
    plain = plain_of(text)
    one_of(language, "language", LANGUAGES)
    whole(most, "most", 0, 20, "suggestions for each word")
    if isinstance(known, str):
        raise InputError(f"known={known!r:.60}: give a list of words", field="known")
    own = {word.casefold() for word in known}
    checker = _checker(language)
    bare = _without_addresses(plain)
    words = [found for found in re.finditer(r"[^\W\d_]+(?:['’][^\W\d_]+)*", bare) if _is_word(found, plain)]
    unknown = checker.unknown({_bare(found[0]) for found in words} - own)
    near = {word: _near(checker, word, most) for word in unknown}
    return [
        Suggestion(found.start(), found.end(), found[0], "not in the dictionary", near[_bare(found[0])])
        for found in words
        if _bare(found[0]) in unknown
    ]


def style(text: Text | str) -> list[Suggestion]:
    """What a few rules of English find: a word twice, `a` before a vowel, a small letter at a sentence's beginning,
    brackets and quotes without their other half."""
    plain = plain_of(text)
    found = [*_twice(plain), *_articles(plain), *_small_letters(plain), *_single_halves(plain)]
    return sorted(found, key=lambda each: (each.start, each.end))


def _without_addresses(plain: str) -> str:
    pieces, place = [], 0
    for start, end in addresses(plain):
        pieces += [plain[place:start], "/" * (end - start)]
        place = end
    return "".join([*pieces, plain[place:]])


@cache
def _checker(language: str) -> Any:
    try:
        from spellchecker import SpellChecker
    except ImportError as error:
        message = 'spelling needs pyspellchecker: pip install "aigc-sdk-process[spelling]"'
        raise MissingDependency(message) from error
    return SpellChecker(language=language)


def _near(checker: Any, word: str, most: int) -> tuple[str, ...]:
    if most == 0 or len(word) > 20:  # there are too many words at that distance
        return ()
    candidates = (checker.candidates(word) or set()) - {word}
    return tuple(sorted(candidates, key=lambda each: (-checker.word_usage_frequency(each), each))[:most])


def _bare(word: str) -> str:
    lowered = word.replace("’", "'").casefold()
    return lowered.removesuffix("'s")


def _is_word(found: re.Match[str], plain: str) -> bool:
    word = found[0]
    touching = plain[max(0, found.start() - 1) : found.start()] + plain[found.end() : found.end() + 1]
    if len(word) < 2 or re.search(r"[\d_@#/\\]", touching) or any(letter.isupper() for letter in word[1:]):
        return False
    return not word[0].isupper() or _begins(plain, found.start())


def _begins(plain: str, place: int) -> bool:
    before = plain[max(0, place - 50) : place].rstrip(" \t\"'“‘([")
    return not before or before[-1] in ".!?\n:"


def _twice(plain: str) -> Iterator[Suggestion]:
    for found in re.finditer(r"\b([^\W\d_]+)(\s+)\1\b", plain, re.IGNORECASE):
        if found[1].casefold() not in ("had", "that"):  # "that that is, is"
            yield Suggestion(found.start(), found.end(), found[0], "the same word twice", (found[1],))


def _articles(plain: str) -> Iterator[Suggestion]:
    for found in re.finditer(r"\b([Aa]n?)\s+([a-zA-Z]+)", plain):
        word = found[2].casefold()
        if found[2].isupper() and len(word) > 1:
            continue  # letters are named one by one, or not
        sounded = (word[0] in _VOWELS and not f"{word} ".startswith(_UNSOUNDED)) or word in _SOUNDED
        right = found[1][0] + ("n" if sounded else "")
        if found[1] != right and len(word) > 1:
            yield Suggestion(found.start(1), found.end(1), found[1], f"before {found[2]!r}", (right,))


def _small_letters(plain: str) -> Iterator[Suggestion]:
    for found in re.finditer(r"(?:^|(?<=[.!?]\s))([a-z])(?=[a-z]*\b)", plain):
        if not re.search(r"\b(?:e\.g|i\.e|etc|vs|approx)\.\s$", plain[max(0, found.start() - 12) : found.start()]):
            yield Suggestion(
                found.start(), found.end(), found[1], "a sentence begins with a capital", (found[1].upper(),)
            )


def _single_halves(plain: str) -> Iterator[Suggestion]:
    waiting: list[tuple[int, str]] = []
    closing = {end: begin for begin, end in _PAIRS.items()}
    for place, letter in enumerate(plain):
        if letter in _PAIRS:
            waiting.append((place, letter))
        elif letter in closing:
            if waiting and waiting[-1][1] == closing[letter]:
                waiting.pop()
            else:
                yield Suggestion(place, place + 1, letter, f"nothing opens it with {closing[letter]!r}")
    for place, letter in waiting:
        yield Suggestion(place, place + 1, letter, f"nothing closes it with {_PAIRS[letter]!r}")

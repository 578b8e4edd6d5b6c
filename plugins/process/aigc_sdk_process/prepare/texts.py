"""Cleaning texts: mended, stripped and masked, and left out where they are not worth keeping, each with its reason."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pydantic
from pydantic import Field

from aigc_sdk.artifacts import Text
from aigc_sdk.errors import OptionError
from aigc_sdk.protocols import Options
from aigc_sdk.runtime import require

from .items import Item, Journal, checked, journal_of
from .private import Found, checked_kinds, mask_private

BOILERPLATE = (
    "accept all cookies",
    "all rights reserved",
    "click here to",
    "cookie policy",
    "enable javascript",
    "javascript is disabled",
    "javascript is required",
    "lorem ipsum",
    "powered by wordpress",
    "privacy policy",
    "sign up for our newsletter",
    "skip to content",
    "skip to main content",
    "subscribe to our newsletter",
    "terms of use",
    "this site uses cookies",
    "we use cookies",
)
"""What pages say about themselves; compared without case."""
BOILERPLATE_LINE = 200  # characters; a longer line says something else besides
GRAM = 4  # words in a row that count as repeated


class TextRules(Options):
    """What is mended in a text, and what a text must be to stay."""

    mend: bool = Field(True, description="mend wrongly decoded characters, HTML entities and ligatures (ftfy), as NFC")
    boilerplate: tuple[str, ...] = Field(
        BOILERPLATE,
        description="leave out lines of at most 200 characters that hold one of these, in any case",
    )
    spaces: bool = Field(True, description="one space for several, at most one empty line, none at the ends")
    mask: tuple[str, ...] = Field((), description="kinds of personal data to mask, such as 'email'; ('all',) for all")
    min_characters: int = Field(1, ge=1, description="fewest characters")
    max_characters: int = Field(1_000_000, ge=1, description="most characters")
    min_words: int = Field(0, ge=0, description="fewest words, as spaces divide them")
    max_repeated: float = Field(
        0.5,
        ge=0,
        le=1,
        description="largest share of 4-grams that stood in the text before, of words or, unspaced, characters",
    )
    min_letters: float = Field(
        0.5, ge=0, le=1, description="least share of letters among characters that are no spaces"
    )
    languages: tuple[str, ...] = Field(
        (), description="ISO 639-1 codes of the languages that stay (py3langid); none: all stay"
    )
    min_confidence: float = Field(0.5, ge=0, le=1, description="least probability of the language")

    @pydantic.field_validator("mask")
    @classmethod
    def _check_mask(cls, mask: tuple[str, ...]) -> tuple[str, ...]:
        return mask if mask == ("all",) else tuple(checked_kinds(mask))

    @pydantic.model_validator(mode="after")
    def _check_lengths(self) -> TextRules:
        if self.min_characters > self.max_characters:
            raise ValueError(f"min_characters={self.min_characters} is above max_characters={self.max_characters}")
        return self


def clean_texts(items: Iterable[Item], journal: Journal, **rules: Any) -> Iterator[Item]:
    """Texts mended, and without those that are not worth keeping; the journal names these, and counts what was mended.

    rules: those of TextRules. Each step sees what the one before it left: characters are mended and control characters
    removed, then boilerplate lines, then spaces, then personal data; lengths, repetition, letters and language are judged
    of the rest. The reasons are "empty", "boilerplate", "too short", "too long", "repetitive", "few letters", "language".
    Raises DataError for what is no text, OptionError for rules, MissingDependency for languages without py3langid.
    """
    parsed = TextRules.parse("clean_texts", {name: _as_tuple(value) for name, value in rules.items()})
    known = _identifier(parsed.languages) if parsed.languages else None
    noted = journal_of(journal)
    return _cleaned(checked(items, "text"), noted, parsed, known)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _cleaned(items: Iterator[Item], journal: Journal, rules: TextRules, known: Any) -> Iterator[Item]:
    steps = _steps(rules)
    for item in items:
        assert isinstance(item.artifact, Text)
        text, changes = _through(item.artifact.text, steps)
        found: tuple[Found, ...] = ()
        if rules.mask:
            text, found = mask_private(text, None if rules.mask == ("all",) else rules.mask)
        fault = _fault(text, rules, known, changes)
        if fault:
            journal.drop(item.id, *fault)
            continue
        for change in (*changes, *(f"masked {each.kind}" for each in found)):
            journal.change(change)
        if not changes and not found:
            yield item
        else:
            facts = {**item.facts, "masked": [each.kind for each in found]} if found else item.facts
            yield replace(item, artifact=replace(item.artifact, text=text), facts=facts)


def _through(text: str, steps: list[tuple[str, Callable[[str], str]]]) -> tuple[str, list[str]]:
    """The text after all steps, and which of them changed it."""
    changes = []
    for name, step in steps:
        changed = step(text)
        if changed != text:
            text = changed
            changes.append(name)
    return text, changes


def _steps(rules: TextRules) -> list[tuple[str, Callable[[str], str]]]:
    steps: list[tuple[str, Callable[[str], str]]] = [("control characters", without_controls)]
    if rules.mend:
        steps.insert(0, ("mended characters", mended))
    if rules.boilerplate:
        phrases = "|".join(re.escape(phrase.lower()) for phrase in rules.boilerplate if phrase)
        steps.append(("boilerplate", functools.partial(_without_boilerplate, phrases=re.compile(phrases))))
    if rules.spaces:
        steps.append(("spaces", tidy_spaces))
    return steps


def mended(text: str) -> str:
    """Wrongly decoded text as it was meant, entities and ligatures as characters, in NFC; quotation marks stay."""
    if text.isascii() and "&" not in text and "\x1b" not in text and "\r" not in text:
        return text  # nothing that ftfy would touch, and twenty times faster
    import ftfy

    return ftfy.fix_text(text, uncurl_quotes=False, normalization="NFC", remove_control_chars=False)


_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)


def without_controls(text: str) -> str:
    """Without characters that show nothing: controls but tabs and line ends, marks of direction, lone surrogates."""
    if text.isprintable():
        return text
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


_RUNS = re.compile(r"[^\S\n]+")


def tidy_spaces(text: str) -> str:
    """One space for several, none at the ends of lines, and at most one empty line in a row."""
    if text.isprintable() and "  " not in text:
        return text.strip()  # spaces of other kinds and line ends are not printable
    lines = _RUNS.sub(" ", text).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in lines)).strip()


def _without_boilerplate(text: str, phrases: re.Pattern[str]) -> str:
    low = text.lower()
    if not phrases.search(low):
        return text
    lines = text.split("\n")
    return "\n".join(line for line in lines if len(line) > BOILERPLATE_LINE or not phrases.search(line.lower()))


def _fault(text: str, rules: TextRules, known: Any, changes: list[str]) -> tuple[str, str] | None:
    """Why the text does not stay, and with which figure."""
    size = len(text)
    if not text or text.isspace():
        return (
            "boilerplate" if "boilerplate" in changes else "empty",
            "nothing is left" if changes else "nothing is there",
        )
    if size < rules.min_characters:
        return "too short", f"{size:,} characters, at least {rules.min_characters:,} are wanted"
    if size > rules.max_characters:
        return "too long", f"{size:,} characters, at most {rules.max_characters:,} are wanted"
    words = text.split()
    if len(words) < rules.min_words:
        return "too short", f"{len(words):,} words, at least {rules.min_words:,} are wanted"
    if rules.min_letters and (share := letters(text)) < rules.min_letters:
        return "few letters", f"{share:.0%} of the characters are letters, at least {rules.min_letters:.0%} are wanted"
    if rules.max_repeated < 1 and (share := repeated(text, words)) > rules.max_repeated:
        return "repetitive", f"{share:.0%} of the 4-grams stood there before, at most {rules.max_repeated:.0%} may"
    if known is not None:
        language, probability = known.classify(text)
        if language not in rules.languages or probability < rules.min_confidence:
            return "language", f"{language} with {probability:.0%}, {' or '.join(rules.languages)} is wanted"
    return None


def letters(text: str) -> float:
    """The share of letters, and of the marks that belong to them, among characters that are no spaces."""
    solid = "".join(text.split())
    if solid.isalpha() or not solid:
        return float(bool(solid))
    found = sum(map(str.isalpha, solid))
    if not solid.isascii():
        found += sum(unicodedata.category(char)[0] == "M" for char in solid)
    return found / len(solid)


def repeated(text: str, words: list[str] | None = None) -> float:
    """The share of 4-grams that stood in the text before: of words, or of characters where nothing divides words."""
    units: Any = text.split() if words is None else words
    if len(text) > 20 * len(units):  # Chinese, Japanese and Thai, and one letter a thousand times
        units = "".join(units)
    count = len(units) - GRAM + 1
    if count <= 1:
        return 0.0
    if isinstance(units, str):
        return 1 - len({units[start : start + GRAM] for start in range(count)}) / count
    return 1 - len(set(zip(*(units[start:] for start in range(GRAM)), strict=False))) / count


@functools.lru_cache(maxsize=4)
def _identifier(languages: tuple[str, ...]) -> Any:
    module = require("py3langid.langid", "aigc-sdk-process[language]", "telling languages")
    identifier = module.LanguageIdentifier.from_model_file(module.MODEL_FILE, norm_probs=True)
    missing = [code for code in languages if code not in identifier.labels]
    if missing:
        known = ", ".join(sorted(identifier.labels))
        raise OptionError(f"languages: {missing[0]!r} is not known; there are {known}", field="languages")
    return identifier

"""The front end: from text to clauses of words with their phonemes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from aigc_sdk.errors import PromptError

from .markup import Break, Piece, Spoken, Style, read
from .normalize import STRENGTH, Token, check, tokens
from .numbers import cardinal, digits, ordinal
from .phonemes import SYMBOLS
from .pronounce import pronounce
from .rules import spelled

__all__ = ["SYMBOLS", "Clause", "Word", "analyse"]

_LONGEST = 32  # words of a clause; one that has no marks is cut after as many


@dataclass(frozen=True)
class Word:
    """One word or number of the text: as it is written and as it is spoken.

    start, end: the characters of the input. phonemes: ARPAbet with stress.
    """

    text: str
    spoken: str
    phonemes: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Clause:
    """What is said in one breath. A clause of no words is a pause alone.

    ending: one of , ; : . ? ! or nothing. pause: seconds of silence after it; None: as its ending asks for.
    paragraph: a paragraph ends here. rate, pitch, volume: factors of the voice's own.
    """

    words: tuple[Word, ...]
    ending: str
    pause: float | None = None
    paragraph: bool = False
    rate: float = 1.0
    pitch: float = 1.0
    volume: float = 1.0


def analyse(text: str, *, markup: Literal["plain", "ssml"] = "plain", normalize: bool = True) -> Iterator[Clause]:
    """The clauses of an English text, one after another as they are asked for.

    markup: "plain" text with marks such as [pause 0.5], or "ssml". normalize: write out numbers, dates and the like; without
    it the text must be words alone.
    Raises PromptError, at the call: an empty text, another script, marks that are not understood.
    """
    if not isinstance(text, str):
        raise PromptError(f"the prompt is {type(text).__name__}; give a text", field="prompt")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            f"character {error.start} of the prompt is half of a character; the text was cut or decoded wrongly",
            field="prompt",
        ) from error
    pieces = read(text, markup)
    spoken = [each for each in pieces if isinstance(each, Spoken)]
    for each in spoken:
        _check(each, normalize)
    if not any(_speaks(each, normalize) for each in spoken):
        raise PromptError("there is nothing to say in the prompt: no word, no number", field="prompt")
    return _clauses(text, pieces, normalize)


def _check(piece: Spoken, normalize: bool) -> None:
    if piece.said == "alias":
        check(str(piece.value))
    elif piece.said != "phonemes":
        check(piece.text, normalize)
    if piece.said in _SAY_AS:
        _SAY_AS[piece.said](piece.text.strip())


def _speaks(piece: Spoken, normalize: bool) -> bool:
    return piece.said == "phonemes" or any(each.spoken for each in tokens(str(piece.value or piece.text), normalize))


@dataclass
class _Builder:
    """Collects words into clauses; the newest clause is held back, for a pause or a paragraph's end may follow it."""

    style: Style = field(default_factory=Style)
    words: list[tuple[str, str, tuple[str, ...] | None, int, int]] = field(default_factory=list)
    held: Clause | None = None

    def close(self, ending: str) -> Iterator[Clause]:
        """End a clause, if one is open; a second mark may make the last one's ending a stronger one."""
        if self.words:
            if self.held:
                yield self.held
            style = self.style
            words = tuple(_pronounced(self.words))
            self.held = Clause(words, ending, None, False, style.rate, style.pitch, style.volume)
            self.words = []
        elif (
            self.held and self.held.words and STRENGTH[ending] > STRENGTH[self.held.ending] and self.held.pause is None
        ):
            self.held = replace(self.held, ending=ending)

    def pause(self, seconds: float) -> None:
        """Silence after the last clause, or before any."""
        self.held = self.held or Clause((), "")
        self.held = replace(self.held, pause=(self.held.pause or 0.0) + seconds)

    def paragraph(self) -> None:
        if self.held and self.held.words:
            self.held = replace(self.held, paragraph=True)


def _clauses(text: str, pieces: Sequence[Piece], normalize: bool) -> Iterator[Clause]:
    builder = _Builder()
    for piece in pieces:
        if isinstance(piece, Break):
            yield from builder.close("" if piece.seconds is not None else ".")
            if piece.seconds is not None:
                builder.pause(piece.seconds)
            elif piece.paragraph:
                builder.paragraph()
            continue
        if piece.style != builder.style:
            yield from builder.close("")
            builder.style = piece.style
        for token in _said(piece, normalize):
            if token.spoken:
                start, end = piece.span(token.start, token.end)
                phonemes = piece.value if piece.said == "phonemes" and isinstance(piece.value, tuple) else None
                builder.words.append((text[start:end], token.spoken, phonemes, start, end))
                if len(builder.words) >= _LONGEST:
                    yield from builder.close("")
            elif token.ending == "\n":
                yield from builder.close(".")
                builder.paragraph()
            else:
                yield from builder.close(token.ending)
    yield from builder.close("")
    if builder.held:
        yield builder.held


def _said(piece: Spoken, normalize: bool) -> Iterator[Token]:
    """The tokens of a piece; what stands for something else is one token."""
    if piece.said in ("text", "date", "time", "currency", "fraction", "unit"):
        return tokens(piece.text, normalize)
    start = len(piece.text) - len(piece.text.lstrip())
    end = len(piece.text.rstrip())
    if piece.said == "phonemes":
        said = piece.text.strip().strip("[]").lower()
    elif piece.said == "alias":
        said = " ".join(each.spoken for each in tokens(str(piece.value)) if each.spoken)
    else:
        said = _SAY_AS[piece.said](piece.text.strip())
    return iter([Token(start, end, said)])


def _characters(text: str) -> str:
    """Letters by their names, digits as digits, and signs by what they are called."""
    named = (spelled(each) if each.isascii() and each.isalpha() else _sign(each) for each in text if not each.isspace())
    return " ".join(named)


def _sign(sign: str) -> str:
    if sign in "0123456789":
        return digits(sign)
    return " ".join(each.spoken for each in tokens(sign) if each.spoken)


def _whole(text: str, kind: str) -> int:
    try:
        return int(text.replace(",", ""))
    except ValueError:
        raise PromptError(f"<say-as interpret-as={kind!r}>: {text[:40]!r} is no whole number", field="prompt") from None


def _digits(text: str) -> str:
    said = digits(text)
    if not said:
        raise PromptError(f"<say-as interpret-as='digits'>: {text[:40]!r} has no digits", field="prompt")
    return said


_SAY_AS = {
    "characters": _characters,
    "spell-out": _characters,
    "cardinal": lambda text: cardinal(_whole(text, "cardinal")),
    "number": lambda text: cardinal(_whole(text, "number")),
    "ordinal": lambda text: ordinal(_whole(text, "ordinal")),
    "digits": _digits,
    "telephone": _digits,
}


def _pronounced(words: Sequence[tuple[str, str, tuple[str, ...] | None, int, int]]) -> Iterator[Word]:
    """The words of a clause with their phonemes; each spoken word is said as its neighbours ask for."""
    spoken = [each for _, said, _, _, _ in words for each in said.split()]
    place = 0
    for text, said, given, start, end in words:
        size = len(said.split())
        phonemes: list[str] = list(given or ())
        if given is None:
            for at in range(place, place + size):
                before = spoken[at - 1] if at else ""
                after = spoken[at + 1] if at + 1 < len(spoken) else ""
                phonemes += pronounce(spoken[at], before, after)
        place += size
        yield Word(text, said.lower(), tuple(phonemes), start, end)

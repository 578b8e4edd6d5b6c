"""Marks in the text: `[pause 0.5]` and `[phonemes HH AH0 L OW1]` in plain text, and a subset of SSML 1.1 (W3C 2010).

    <speak> <p> <s> <break time strength> <prosody rate pitch volume> <sub alias> <say-as interpret-as> <phoneme alphabet ph>

Any other element or attribute is refused by its name, and so is whatever XML can do besides: document types, entities,
processing instructions. The whole text is checked before the first piece of it is spoken.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn
from xml.parsers import expat

from aigc_sdk.errors import PromptError, shown, suggestion

from .phonemes import parse_arpabet, parse_ipa

LONGEST_PAUSE = 60.0  # seconds
_DEEPEST = 64
_SHARE = re.compile(r"([+-]?\d{1,4}(?:\.\d{1,4})?)(%|st|dB)?")
_TIME = re.compile(r"\+?(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})(ms|s)")
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.75}
_PITCHES = {"x-low": 0.7, "low": 0.85, "medium": 1.0, "default": 1.0, "high": 1.15, "x-high": 1.4}
_VOLUMES = {"silent": 0.0, "x-soft": 0.3, "soft": 0.6, "medium": 1.0, "default": 1.0, "loud": 1.4, "x-loud": 2.0}
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}  # seconds
_SAY_AS = (
    *("characters", "spell-out", "cardinal", "number", "ordinal", "digits", "telephone"),
    *("date", "time", "currency", "fraction", "unit"),
)
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "speak": ("version", "xmlns", "xml:lang"),
    "p": (),
    "s": (),
    "break": ("time", "strength"),
    "prosody": ("rate", "pitch", "volume"),
    "sub": ("alias",),
    "say-as": ("interpret-as", "format"),
    "phoneme": ("alphabet", "ph"),
}
_MARK = re.compile(r"\[[ ]*(pause|phonemes)\b([^\[\]\n]{0,400})\]")


@dataclass(frozen=True)
class Style:
    """How a stretch of text is spoken, as factors of the voice's own rate, pitch and volume."""

    rate: float = 1.0
    pitch: float = 1.0
    volume: float = 1.0


@dataclass(frozen=True)
class Spoken:
    """A stretch of text of one style. `offsets` hold (place in text, place in the input) wherever the two drift apart.

    said: how it is read: as text, as an alias, as phonemes, or as one of say-as's kinds; `value` is the alias or phonemes.
    """

    text: str
    offsets: tuple[tuple[int, int], ...] = ((0, 0),)
    style: Style = Style()
    said: str = "text"
    value: str | tuple[str, ...] = ""

    def place(self, index: int) -> int:
        """The character of the input at which the text's character `index` stands."""
        here, there = self.offsets[bisect.bisect_right(self.offsets, index, key=lambda each: each[0]) - 1]
        return there + index - here

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the input between two places in the text."""
        return self.place(start), self.place(end - 1) + 1


@dataclass(frozen=True)
class Break:
    """A pause of some seconds, or, where there are none, the end of a sentence or paragraph."""

    seconds: float | None = None
    paragraph: bool = False


Piece = Spoken | Break


def read(text: str, markup: Literal["plain", "ssml"]) -> list[Piece]:
    """The pieces of a text in their order; raises PromptError for a mark that is not understood."""
    if markup == "plain":
        return _plain(text)
    if markup == "ssml":
        return _Ssml(text).pieces
    raise PromptError(f"markup={shown(markup)}: give 'plain' or 'ssml'", field="markup")


def _plain(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    done = 0
    for mark in _MARK.finditer(text):
        if mark.start() > done:
            pieces.append(Spoken(text[done : mark.start()], ((0, done),)))
        pieces.append(_pause(mark) if mark[1] == "pause" else _phonemes(mark))
        done = mark.end()
    if done < len(text):
        pieces.append(Spoken(text[done:], ((0, done),)))
    return pieces


def _pause(mark: re.Match[str]) -> Break:
    written = mark[2].strip()
    try:
        seconds = float(written.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    return Break(_checked(seconds, f"{mark[0]!r} at character {mark.start()}", "[pause 0.5]"))


def _phonemes(mark: re.Match[str]) -> Spoken:
    found = parse_arpabet(mark[2])
    if found is None:
        _refuse(
            f"{mark[0]!r} at character {mark.start()}: these are no ARPAbet phonemes; write, for instance, "
            "[phonemes HH AH0 L OW1]"
        )
    return Spoken(mark[0], ((0, mark.start()),), said="phonemes", value=found)


def _checked(seconds: float, what: str, example: str) -> float:
    if not 0 <= seconds <= LONGEST_PAUSE:
        _refuse(f"{what}: a pause is a number of seconds from 0 to {LONGEST_PAUSE:g}; write, for instance, {example}")
    return seconds


def _refuse(message: str) -> NoReturn:
    raise PromptError(message, field="prompt")


@dataclass
class _Open:
    """An element whose end has not come yet."""

    name: str
    style: Style
    said: str = "text"
    value: str | tuple[str, ...] = ""


@dataclass
class _Ssml:
    """Reads an SSML document into pieces."""

    document: str
    pieces: list[Piece] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._bytes = self.document.encode()
        self._ascii = len(self._bytes) == len(self.document)
        self._counted = (0, 0)  # bytes and characters up to the newest event
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = lambda *_: self._fail("a document type, which could define entities")
        parser.ProcessingInstructionHandler = lambda name, _: self._fail(f"the processing instruction <?{name}?>")
        try:
            parser.Parse(self._bytes, True)
        except expat.ExpatError as error:
            raise PromptError(
                f"no well-formed SSML: {expat.ErrorString(error.code)} at line {error.lineno}, column {error.offset}; "
                "write & as &amp; and < as &lt;, and close every element",
                field="prompt",
            ) from error

    def _place(self) -> int:
        """The character of the document at which the newest event begins; events come in order."""
        at = self._parser.CurrentByteIndex
        if self._ascii:
            return at
        bytes_, characters = self._counted
        self._counted = (at, characters + len(self._bytes[bytes_:at].decode()))
        return self._counted[1]

    def _fail(self, what: str) -> NoReturn:
        _refuse(f"SSML line {self._parser.CurrentLineNumber}: {what} is not supported; use {_elements()}")

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name not in _ATTRIBUTES:
            self._fail(f"<{shown(name, 40)[1:-1]}>")
        if (name == "speak") != (not self.stack):
            _refuse("an SSML document is one <speak> element, and the others are inside it")
        for each in attributes:
            if each not in _ATTRIBUTES[name]:
                near = suggestion(each, _ATTRIBUTES[name])
                _refuse(f"<{name}> has no attribute {shown(each, 40)} here.{near}")
        parent = self.stack[-1] if self.stack else _Open("", Style())
        if parent.name in ("sub", "say-as", "phoneme", "break") or len(self.stack) >= _DEEPEST:
            _refuse(f"<{name}> cannot stand inside <{parent.name}>, {len(self.stack)} elements deep")
        self._flush()
        self.stack.append(_HANDLERS.get(name, _structure)(name, attributes, parent.style))
        if name in ("p", "s"):
            self.pieces.append(Break(paragraph=name == "p"))
        if name == "break":
            self.pieces.append(Break(_break(attributes)))

    def _end(self, name: str) -> None:
        if self.stack[-1].said != "text" and not "".join(self.text).strip():
            _refuse(f"<{name}> is empty; write the words that it stands for inside it")
        self._flush()
        self.stack.pop()
        if name in ("p", "s"):
            self.pieces.append(Break(paragraph=name == "p"))

    def _characters(self, data: str) -> None:
        if self.stack[-1].name == "break" and data.strip():
            _refuse("<break> holds no text; write <break/>")
        place = self._place()
        here = sum(map(len, self.text[-1:])) + (self.offsets[-1][0] if self.offsets else 0)
        self.offsets.append((here, place))
        self.text.append(data.replace("\n", " "))  # a blank line is no paragraph in XML

    def _flush(self) -> None:
        """What was read since the last tag becomes a piece."""
        if "".join(self.text).strip():
            inside = self.stack[-1]
            text, offsets = "".join(self.text), tuple(self.offsets)
            self.pieces.append(Spoken(text, offsets, inside.style, inside.said, inside.value))
        self.text, self.offsets = [], []


def _elements() -> str:
    return ", ".join(f"<{name}>" for name in _ATTRIBUTES)


def _structure(name: str, attributes: Mapping[str, str], style: Style) -> _Open:
    language = attributes.get("xml:lang", "en")
    if not re.fullmatch(r"(?i)en(-[a-z0-9]+)*", language):
        _refuse(f'xml:lang="{shown(language, 20)[1:-1]}": this front end reads English; leave it out or write "en"')
    return _Open(name, style)


def _prosody(name: str, attributes: Mapping[str, str], style: Style) -> _Open:
    if not attributes:
        _refuse("<prosody> needs one of rate, pitch and volume")
    changed = Style(
        style.rate * _factor("rate", attributes.get("rate"), _RATES, (0.2, 5.0)),
        style.pitch * _factor("pitch", attributes.get("pitch"), _PITCHES, (0.4, 2.5)),
        style.volume * _factor("volume", attributes.get("volume"), _VOLUMES, (0.0, 8.0)),
    )
    return _Open(name, changed)


def _factor(name: str, written: str | None, words: Mapping[str, float], bounds: tuple[float, float]) -> float:
    """A prosody attribute as a factor: a word, a percentage, and "+2st" for the pitch or "-6dB" for the volume."""
    if written is None:
        return 1.0
    if written.strip() in words:
        return words[written.strip()]
    match = _SHARE.fullmatch(written.strip())
    value = _UNITS[name](match) if match else None
    if value is None or not bounds[0] <= value <= bounds[1]:
        example = {"rate": '"120%"', "pitch": '"+10%" or "-2st"', "volume": '"-6dB" or "+20%"'}[name]
        _refuse(
            f'<prosody {name}="{shown(written, 30)[1:-1]}">: write one of {", ".join(words)}, or {example}, '
            f"between {bounds[0]:g} and {bounds[1]:g} times the voice's own"
        )
    return value


def _rate(match: re.Match[str]) -> float | None:
    """A percentage is of the voice's rate, and a signed one is a change of it, as people write it."""
    number, unit = float(match[1]), match[2]
    if unit == "%":
        return 1 + number / 100 if match[1][0] in "+-" else number / 100
    return number if unit is None and match[1][0] not in "+-" else None


def _pitch(match: re.Match[str]) -> float | None:
    number, unit = float(match[1]), match[2]
    if unit == "st":
        return float(2 ** (number / 12))
    return 1 + number / 100 if unit == "%" else None


def _volume(match: re.Match[str]) -> float | None:
    number, unit = float(match[1]), match[2]
    if unit == "dB":
        return float(10 ** (number / 20))
    return 1 + number / 100 if unit == "%" else None


_UNITS: dict[str, Callable[[re.Match[str]], float | None]] = {"rate": _rate, "pitch": _pitch, "volume": _volume}


def _sub(name: str, attributes: Mapping[str, str], style: Style) -> _Open:
    if not attributes.get("alias", "").strip():
        _refuse('<sub> needs the attribute alias, the words to say: <sub alias="World Wide Web">WWW</sub>')
    return _Open(name, style, "alias", attributes["alias"])


def _say_as(name: str, attributes: Mapping[str, str], style: Style) -> _Open:
    kind = attributes.get("interpret-as", "")
    if kind not in _SAY_AS:
        near = suggestion(kind, _SAY_AS)
        _refuse(f'<say-as interpret-as="{shown(kind, 30)[1:-1]}">: write one of {", ".join(_SAY_AS)}.{near}')
    return _Open(name, style, kind, attributes.get("format", ""))


def _phoneme(name: str, attributes: Mapping[str, str], style: Style) -> _Open:
    alphabet, written = attributes.get("alphabet", "ipa"), attributes.get("ph", "")
    readers = {"ipa": parse_ipa, "arpabet": parse_arpabet, "x-arpabet": parse_arpabet}
    if alphabet not in readers:
        _refuse(f'<phoneme alphabet="{shown(alphabet, 30)[1:-1]}">: write one of {", ".join(readers)}')
    found = readers[alphabet](written)
    if found is None:
        _refuse(
            f'<phoneme ph="{shown(written, 60)[1:-1]}">: these are no phonemes of English in the alphabet {alphabet}'
        )
    return _Open(name, style, "phonemes", found)


def _break(attributes: Mapping[str, str]) -> float:
    strength, time = attributes.get("strength", "medium"), attributes.get("time")
    if strength not in _STRENGTHS:
        near = suggestion(strength, _STRENGTHS)
        _refuse(f'<break strength="{shown(strength, 30)[1:-1]}">: write one of {", ".join(_STRENGTHS)}.{near}')
    if time is None:
        return _STRENGTHS[strength]
    match = _TIME.fullmatch(time.strip())
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else -1.0
    return _checked(seconds, f'<break time="{shown(time, 30)[1:-1]}">', '"500ms" or "0.5s"')


_HANDLERS: dict[str, Callable[[str, Mapping[str, str], Style], _Open]] = {
    "prosody": _prosody,
    "sub": _sub,
    "say-as": _say_as,
    "phoneme": _phoneme,
}

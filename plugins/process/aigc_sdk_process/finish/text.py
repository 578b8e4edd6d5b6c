"""Texts: whitespace and punctuation, unfinished and repeated sentences, encodings, spaces between scripts.

A word is never replaced here; see `suggestions` for what might be wrong with one.
"""

# ruff: noqa: RUF001 (these are the signs of several scripts)
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from aigc_sdk.artifacts import Text
from aigc_sdk.errors import InputError
from aigc_sdk_process.compose.record import recorded

from ._checks import number

_CLOSERS = r"[\"'”’»)\]」』）】]"
_CHINESE = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_ABBREVIATIONS = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "no", "fig", "e.g", "i.e", "approx", "inc", "ltd")
)
_SENTENCE_END = re.compile(rf"(?:[。！？]+{_CLOSERS}*|[.!?…]+{_CLOSERS}*(?=\s|$))")


@recorded
def tidy(text: Text | str) -> Text:
    """Whitespace and punctuation as a printer sets them: one space between words, none at lines' ends or before commas,
    one behind them, at most one empty line, no comma twice. Numbers, addresses, times and ellipses stay as they are."""
    lines = [_tidy_line(line) for line in plain_of(text).replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return _like(text, re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n"))


@recorded
def finished(text: Text | str) -> Text:
    """Without the last sentence where it has no end, as when a model stopped at its limit of tokens.

    Raises InputError where no sentence ends.
    """
    plain = plain_of(text)
    places = ends(plain)
    if not places:
        raise InputError(
            "no sentence of the text ends; let the model write on, or keep the text as it is", field="text"
        )
    return _like(text, plain[: places[-1]])


@recorded
def without_repeats(text: Text | str, *, likeness: float = 1.0) -> Text:
    """Without sentences that were there before; `info["repeats"]` lists what was left out.

    likeness: the share of equal letters from which on two count as the same, 1 for the same words, whatever their case
    and punctuation.
    """
    number(likeness, "likeness", 0.5, 1, "a share")
    plain = plain_of(text)
    kept: list[str] = []
    seen: dict[str, None] = {}
    repeats: list[str] = []
    for start, end, _ in _sentences(plain):
        bare = " ".join(re.findall(r"\w+", plain[start:end].casefold()))
        if bare and _known(bare, seen, likeness):
            repeats.append(plain[start:end].strip())
            continue
        seen[bare] = None
        kept.append(plain[start:end])
    result = _like(text, "".join(kept).rstrip() if repeats else plain)
    return replace(result, info={**result.info, "repeats": repeats})


@recorded
def joined(texts: Sequence[Text | str], separator: str = "") -> Text:
    """One text of several, such as a prompt and how a model went on."""
    if isinstance(texts, Text | str) or not texts:
        raise InputError("texts is not a list of texts; give one at least", field="texts")
    if not isinstance(separator, str):
        raise InputError(f"separator is a {type(separator).__name__}; give a str", field="separator")
    return Text(separator.join(plain_of(each) for each in texts))


@recorded
def mended(text: Text | str) -> Text:
    """A text that was decoded in the wrong encoding, as it was meant: `schÃ¶n` is `schön` again (by ftfy)."""
    import ftfy

    fixed = ftfy.fix_text(plain_of(text), uncurl_quotes=False, normalization=None)
    return _like(text, fixed)


@recorded
def spaced(text: Text | str) -> Text:
    """A space between Chinese or Japanese and Latin letters or digits, as is usual in print: 用GPU训练 is 用 GPU 训练."""
    plain = re.sub(rf"([{_CHINESE}])([A-Za-z0-9@#$%&\\+(])", r"\1 \2", plain_of(text))
    plain = re.sub(rf"([A-Za-z0-9%!?)\\+&;:,.])([{_CHINESE}])", r"\1 \2", plain)
    return _like(text, plain)


def sentences(text: Text | str) -> list[str]:
    """The sentences of a text; the last may have no end."""
    plain = plain_of(text)
    return [plain[start:end].strip() for start, end, _ in _sentences(plain) if plain[start:end].strip()]


def ends(plain: str) -> list[int]:
    """The places behind the signs with which sentences end."""
    return [end for _, end, whole in _sentences(plain) if whole]


def addresses(plain: str) -> list[tuple[int, int]]:
    """Where the addresses of pages and people begin and end."""
    marks = ("://", "www.", "@")
    return [found.span() for found in re.finditer(r"\S+", plain) if any(mark in found[0] for mark in marks)]


def _sentences(plain: str) -> Iterator[tuple[int, int, bool]]:
    """Start, end, and whether a sentence has an end; what lies between two belongs to the second."""
    start = 0
    for found in _SENTENCE_END.finditer(plain):
        if not _abbreviated(plain, found):
            yield start, found.end(), True
            start = found.end()
    if start < len(plain) and plain[start:].strip():
        yield start, len(plain), False


def _abbreviated(plain: str, found: re.Match[str]) -> bool:
    """Whether a full stop only shortens a word."""
    if found[0] != ".":
        return False
    word = re.search(r"[\w.]*$", plain[max(0, found.start() - 20) : found.start()])
    bare = word[0].casefold() if word else ""
    rest = plain[found.end() : found.end() + 100].lstrip()
    initial = len(bare) == 1 and word is not None and word[0].isupper() and bare != "i"
    goes_on = "." in bare and rest[:1].islower()  # "at 5 p.m. on Monday"
    return bool(rest) and (bare in _ABBREVIATIONS or initial or goes_on)


def _known(bare: str, seen: dict[str, None], likeness: float) -> bool:
    if likeness == 1:
        return bare in seen
    from difflib import SequenceMatcher

    return any(each and SequenceMatcher(None, bare, each, autojunk=False).ratio() >= likeness for each in seen)


def _tidy_line(line: str) -> str:
    indent = re.match(r"[ \t]*(?=[-*+>] |\d+\. )", line)  # of a Markdown list
    body = re.sub(r"[ \t\u00a0\u2000-\u200a\u3000]+", " ", line).strip()
    pieces, place = [indent[0] if indent else ""], 0
    for start, end in addresses(body):
        pieces += [_punctuated(body[place:start]), body[start:end]]
        place = end
    return "".join([*pieces, _punctuated(body[place:])])


def _punctuated(piece: str) -> str:
    piece = re.sub(r"([,;])(?:\s*\1)+", r"\1", piece)
    piece = re.sub(r"(?<!\.)\.\.(?!\.)", ".", piece)
    piece = re.sub(r" +([,;:!?.])(?=\s|$)", r"\1", piece)
    piece = re.sub(r"(?<=\w) +([,;!?])", r"\1", piece)
    piece = re.sub(r"(?<=[^\W\d_])([,;!?])(?=[^\W\d_])", r"\1 ", piece)
    piece = re.sub(r"([(\[]) +", r"\1", piece)
    return re.sub(r" +([)\]])", r"\1", piece)


def plain_of(text: Text | str) -> str:
    """The text as a str. Raises InputError for anything else."""
    if not isinstance(text, Text | str):
        raise InputError(f"text is a {type(text).__name__}; give a Text or a str", field="text")
    return str(text)


def _like(text: Text | str, plain: str) -> Text:
    return Text(plain, sample=text.sample, info=text.info) if isinstance(text, Text) else Text(plain)

# ruff: noqa: RUF001 (signs that look alike are what this file is about)
"""Text to words as they are spoken: numbers, dates, money and abbreviations written out, and where clauses end.

The text is read from left to right. At each place the first rule that has something to say about it speaks; the rules
are in dates.py, amounts.py, names.py and internet.py. A plain word is itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from aigc_sdk.errors import PromptError, printable

from . import amounts, dates, internet, names
from .numbers import digits
from .rules import LETTER, Rule, folded, words

LONGEST_WORD = 64  # letters
STRENGTH = {"": 0, ",": 1, ";": 2, ":": 2, ".": 3, "!": 3, "?": 3}  # of two marks in a row the stronger ends the clause


@dataclass(frozen=True)
class Token:
    """Something to say, or the end of a clause.

    spoken: lower-case words, and capital letters that stand for their names; empty where a clause ends.
    ending: the mark of a clause's end, and "\\n" for a paragraph's.
    """

    start: int
    end: int
    spoken: str = ""
    ending: str = ""


def normalize(text: str) -> str:
    """The text as words and marks: "Dr. Smith paid $5." -> "doctor smith paid five dollars." Raises PromptError."""
    check(text)
    said: list[str] = []
    ending = ""
    for token in tokens(text):
        if token.spoken:
            said.append(ending * bool(said) + " " * bool(said) + token.spoken.lower())
            ending = ""
        elif STRENGTH.get(token.ending, 0) > STRENGTH[ending]:
            ending = token.ending
    return "".join(said) + ending


def check(text: str, normalize: bool = True) -> None:
    """Refuse what cannot be read: other scripts, endless words, bytes that are no text, and nothing at all."""
    unreadable = (each for each in _UNREADABLE.finditer(text) if not unicodedata.category(each[0]).startswith("N"))
    if wrong := next(unreadable, None):
        raise PromptError(_unreadable(wrong), field="prompt")
    if long := _ENDLESS.search(text):
        raise PromptError(
            f"the word {printable(long[0], 20)} at character {long.start()} has more than {LONGEST_WORD} letters; "
            "put spaces where its words end, or leave it out",
            field="prompt",
        )
    if not normalize and (written := _UNSPOKEN.search(text)):
        raise PromptError(
            f"{printable(written[0])!r} at character {written.start()} is no word; write it out as it is spoken, "
            "or pass normalize=True",
            field="prompt",
        )


def tokens(text: str, normalize: bool = True) -> Iterator[Token]:
    """The text's tokens in turn; without `normalize` every word is taken as it stands."""
    place = 0
    while place < len(text):
        if space := _SPACE.match(text, place):
            if space[0].count("\n") > 1:
                yield Token(place, space.end(), ending="\n")
            place = space.end()
        elif (plain := _PLAIN.match(text, place)) and (plain[0] not in _SHORT_FORMS or not normalize):
            yield Token(place, plain.end(), plain[0])
            place = plain.end()
        else:
            found = list(_ruled(text, place) if normalize else ()) or [_single(text, place)]
            yield from (each for each in found if each.spoken or each.ending)
            place = found[-1].end


def _ruled(text: str, place: int) -> Iterator[Token]:
    """What the first rule that applies says, and the sentence's end where its full stop is in the match."""
    if _inside_word(text, place):
        return
    for rule in _RULES_OF_WORDS if text[place].isalpha() else _RULES:
        match = rule.pattern.match(text, place)
        said = rule.say(match) if match else None
        if match and said is not None:
            yield Token(place, match.end(), said)
            if rule.closing and match[0].endswith(".") and _sentence_ends(text, match.end()):
                yield Token(match.end() - 1, match.end(), ending=".")
            return


def _inside_word(text: str, place: int) -> bool:
    return place > 0 and text[place].isalnum() and text[place - 1].isalpha() and text[place - 1] != "’"


def _sentence_ends(text: str, place: int) -> bool:
    following = _NEXT.match(text, place)
    return (
        following is None
        or following[1] == ""
        or (following[1][0].isupper() and following[1].lower() in names.STARTERS)
    )


def _single(text: str, place: int) -> Token:
    """A word that no rule knows, or one mark or sign."""
    if word := _WORD.match(text, place):
        return Token(place, word.end(), folded(word[0]))
    if mark := _MARKS.match(text, place):
        return Token(place, mark.end(), ending=_ending(mark))
    sign, end = text[place], place + 1
    if sign in _SIGNS:
        return Token(place, end, _SIGNS[sign])
    if sign in _SILENT or unicodedata.category(sign) in ("Cf", "Cc", "Mn", "Me", "Ps", "Pe", "Pi", "Pf", "Po", "Sk"):
        return Token(place, end)
    if sign in "0123456789":  # part of something that is no number either
        return Token(place, end, digits(sign))
    return Token(place, end, _named(sign))


def _named(sign: str) -> str:
    """A sign or emoji by its Unicode name, as screen readers do."""
    return re.sub(r"[^a-z ]", " ", unicodedata.name(sign, "sign").lower()).strip()


def _ending(mark: re.Match[str]) -> str:
    """The clause's end that a run of marks stands for; empty for those inside a word or number."""
    written, following = mark[0], mark.string[mark.end() : mark.end() + 1]
    for each in "?!":
        if each in written:
            return each
    if written[0] in ".…" and len(written.strip()) + 2 * ("…" in written) >= 3:
        return "." if _sentence_ends(mark.string, mark.end()) or _next_is_capital(mark) else ","
    if written[0] in ".:;," and following and not (following.isspace() or following in "\"'”’)]}»*_"):
        return "," if written[0] in ",;" else ""
    return written[0] if written[0] in ".:;," else ","


def _next_is_capital(mark: re.Match[str]) -> bool:
    following = _NEXT.match(mark.string, mark.end())
    return bool(following and following[1][:1].isupper())


def _unreadable(wrong: re.Match[str]) -> str:
    sign = wrong[0]
    where = f"{printable(sign)!r} at character {wrong.start()}"
    if "\ud800" <= sign <= "\udfff":
        return f"{where} is half of a character; the text was cut or decoded wrongly"
    if not sign.isalpha():
        return f"{where} is no character; the text was decoded wrongly"
    return (
        f"{where} is a letter of another script ({unicodedata.name(sign, 'unnamed').split()[0].title()}); this front end "
        "reads English: write the word in Latin letters, or load a model of that language"
    )


_SPACE = re.compile(r"\s+")
_PLAIN = re.compile(r"[a-z]+(?:'[a-z]+)?(?=[\s,;!?]|$)")
_SHORT_FORMS = words("vs x")
_WORD = re.compile(rf"[{LETTER}]+(?:['’][{LETTER}]+)*|['’](?:em|tis|twas|cause|til|n)\b")
_MARKS = re.compile(r"[.]{2,}|…|[?!]+|[.,;:](?=[\"'”’)\]]*(?:\s|$))|[.,;:]|[—―]+| ?[–-]{1,3}(?=\s)|--+|[()\[\]{}]")
_NEXT = re.compile(r"[\s\"'“‘)\]]*([^\s\"'“‘)\]]*)")
_SIGNS = {
    "&": "and",
    "@": "at",
    "%": "percent",
    "+": "plus",
    "=": "equals",
    "<": "less than",
    ">": "greater than",
    "#": "hash",
    "$": "dollar",
    "/": "slash",
    "\\": "backslash",
    "^": "caret",
    "°": "degrees",
    "§": "section",
    "±": "plus or minus",
    "×": "times",
    "÷": "divided by",
    "≈": "approximately",
    "≠": "does not equal",
    "≤": "less than or equal to",
    "≥": "greater than or equal to",
    "→": "to",
    "←": "from",
    "∞": "infinity",
    "√": "square root of",
    "∑": "sum",
    "©": "copyright",
    "®": "registered",
    "™": "trademark",
    "€": "euro",
    "£": "pound",
    "¥": "yen",
    "¢": "cent",
    "‰": "per mille",
    "№": "number",
    "\u2212": "minus",
    "²": "squared",
    "³": "cubed",
    "µ": "micro",
    "Ω": "omega",
    "π": "pi",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "Δ": "delta",
    "θ": "theta",
    "λ": "lambda",
    "μ": "mu",
    "σ": "sigma",
    "Σ": "sigma",
    "φ": "phi",
    "ω": "omega",
    "ε": "epsilon",
    "η": "eta",
    "κ": "kappa",
    "ρ": "rho",
    "τ": "tau",
    "χ": "chi",
    "ψ": "psi",
    "Φ": "phi",
}
_SILENT = frozenset(
    "\"'“”‘’‚„«»‹›*_~`|-–—•·‧[](){}<>"
)  # quotation marks, brackets, and the marks of emphasis and lists
_GREEK = "".join(each for each in _SIGNS if each.isalpha())
# A letter that is neither Latin nor a lone Greek one; half characters; private and unassigned ones.
_UNREADABLE = re.compile(
    rf"[^\W\d_{LETTER}ªº{_GREEK}⁰-₟ℂ-⅏]|(?<=[{_GREEK}])[{_GREEK}]|[\ud800-\udfff\ue000-\uf8ff\ufffd\uffff]"
)
_ENDLESS = re.compile(rf"[{LETTER}]{{{LONGEST_WORD + 1}}}")
_UNSPOKEN = re.compile(rf"[^\s{LETTER}.,;:?!'’\"“”()\[\]—–-]")

_RULES_OF_WORDS: tuple[Rule, ...] = (*internet.INTERNET, *dates.RULES, *names.RULES, *amounts.RULES)
_RULES: tuple[Rule, ...] = (*internet.INTERNET, *internet.PHONES, *dates.RULES, *amounts.RULES, *names.RULES)

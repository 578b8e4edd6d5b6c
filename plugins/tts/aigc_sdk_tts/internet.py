"""Addresses of the internet, file names and telephone numbers in words."""

from __future__ import annotations

import re

from . import lexicon
from .numbers import cardinal, digits
from .rules import END, LETTER, folded, rule, spelled, word_before

_DOMAINS = (
    "com|org|net|edu|gov|mil|int|info|biz|io|ai|co|uk|de|fr|eu|us|ca|au|jp|ch|nl|se|no|es|it|ru|cn|in|br|app|dev|me|tv"
)
_SYMBOLS = {
    ".": "dot",
    "/": "slash",
    ":": "colon",
    "-": "dash",
    "_": "underscore",
    "@": "at",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "+": "plus",
    "~": "tilde",
    ",": "comma",
    ";": "semicolon",
    "!": "exclamation mark",
    "'": "apostrophe",
    "*": "star",
    "$": "dollar",
    "(": "open parenthesis",
    ")": "close parenthesis",
    "|": "bar",
    "\\": "backslash",
}


def _url(match: re.Match[str]) -> str:
    return _address(match[0])


def _address(written: str) -> str:
    """Letters, digits and signs of an internet address in turn: words as words, what is no word by its letters."""
    said = []
    for part in re.findall(rf"[{LETTER}]+|[0-9]+|[^\s{LETTER}0-9]", written):
        if part.isdigit():
            said.append(digits(part) if part[0] == "0" or len(part) > 4 else cardinal(int(part)))
        elif part in _SYMBOLS:
            said.append(_SYMBOLS[part])
        elif part[0].isalpha():
            word = folded(part)
            readable = (
                len(word) > 2 and word not in ("www", "http", "https", "ftp", "html") and re.search("[aeiouy]", word)
            )
            said.append(word if readable or (lexicon.known(word) and len(word) == 2) else spelled(word))
    return " ".join(said)


def _handle(match: re.Match[str]) -> str:
    sign = {"@": "at", "#": "hashtag"}[match["sign"]]
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", match["name"])
    return " ".join([sign, *(_address(each) for each in parts)])


def _phone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].lstrip("(").startswith("+") else ""
    return plus + " ".join(
        "eight hundred" if group == "800" else digits(group, "oh") for group in re.findall("[0-9]+", match[0])
    )


def _emergency(match: re.Match[str]) -> str | None:
    return digits(match[0]) if word_before(match).lower() in ("call", "dial", "called", "dialed", "phone") else None


def _file(match: re.Match[str]) -> str:
    return _address(match[0])


_I = re.IGNORECASE
_GROUP = r"[ .-]"

INTERNET = (
    rule(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}\b", _url),
    rule(
        r"(?:https?|ftp)://[^\s<>\"]{1,500}?(?=[.,;:!?)\]'\"]*(?:\s|$))|www\.[^\s<>\"]{1,500}?(?=[.,;:!?)\]'\"]*(?:\s|$))",
        _url,
        flags=_I,
    ),
    rule(
        rf"(?:[A-Za-z0-9-]{{1,63}}\.){{1,6}}(?:{_DOMAINS})\b(?![.@][A-Za-z0-9])(?:/[^\s<>\"]{{0,300}}?(?=[.,;:!?)\]'\"]*(?:\s|$)))?",
        _url,
    ),
    rule(r"(?P<sign>[@#])(?P<name>[A-Za-z_][A-Za-z0-9_]{0,60})", _handle),
    rule(
        r"[A-Za-z0-9_-]{1,60}\.(?:py|txt|csv|json|pdf|docx?|xlsx?|zip|png|jpe?g|gif|mp[34]|wav|html?|css|js|exe|md|toml|ya?ml|tar|gz)\b",
        _file,
    ),
)
PHONES = (
    rule(rf"(?:911|999|112|411){END}", _emergency),
    rule(
        rf"\+[1-9][0-9]{{0,2}}(?:{_GROUP}?\([0-9]{{1,4}}\)|{_GROUP}[0-9]{{1,4}})(?:{_GROUP}?[0-9]{{2,4}}){{1,4}}{END}",
        _phone,
    ),
    rule(
        rf"(?:1{_GROUP})?(?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}{_GROUP})[0-9]{{3}}{_GROUP}[0-9]{{4}}{END}(?!-[0-9])",
        _phone,
    ),
    rule(rf"[2-9][0-9]{{2}}-[0-9]{{4}}{END}(?!-[0-9])", _phone),
)

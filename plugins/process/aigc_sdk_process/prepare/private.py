"""Personal data in texts: addresses, telephone numbers, cards, accounts and national numbers, found by form and check sum.

Forms find candidates, and a check sum, where the number has one, refuses those that only look like it. Names, streets and
birthdays have no form and are not found. What is found is a help, and no promise that a text is free of personal data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from typing import NamedTuple

from aigc_sdk.errors import InputError, OptionError, shown, suggestion


class Found(NamedTuple):
    """Where in a text personal data of a kind stand: `text[start:stop]`."""

    kind: str
    start: int
    stop: int


class Masked(NamedTuple):
    """A text without what was found in it; the places are those in the text as it was given."""

    text: str
    found: tuple[Found, ...]


_DIGIT = re.compile("[0-9]")


def find_private(text: str, kinds: Iterable[str] | None = None) -> list[Found]:
    """Personal data in a text, in order, none overlapping another.

    kinds: of KINDS; None is all. Where two kinds claim the same characters, the one that comes first in KINDS has them.
    Raises OptionError for a kind that there is not.
    """
    if not isinstance(text, str):
        raise InputError(f"text is a {type(text).__name__}; give a str", field="text")
    chosen = checked_kinds(kinds)
    digits, at = _DIGIT.search(text), "@" in text
    if not digits and not at:
        return []
    found: list[Found] = []
    taken = bytearray(len(text))  # by what was found before
    for kind in chosen:
        if (kind == "email" and not at) or (kind != "email" and not digits):
            continue
        for pattern, check in KINDS[kind]:
            for match in pattern.finditer(text):
                start, stop = match.span()
                if taken.find(1, start, stop) < 0 and check(match[0]):
                    taken[start:stop] = b"\1" * (stop - start)
                    found.append(Found(kind, start, stop))
    return sorted(found, key=lambda each: each.start)


def mask_private(text: str, kinds: Iterable[str] | None = None, *, form: str = "[{kind}]") -> Masked:
    """The text with personal data replaced, each by `form` with its kind in it. Raises OptionError."""
    if not isinstance(form, str) or form.replace("{kind}", "").count("{"):
        raise OptionError(f"form={shown(form)}: give a text, in which {{kind}} stands for the kind", field="form")
    found = find_private(text, kinds)
    parts, last = [], 0
    for each in found:
        parts += [text[last : each.start], form.replace("{kind}", each.kind)]
        last = each.stop
    return Masked("".join([*parts, text[last:]]), tuple(found))


def checked_kinds(kinds: Iterable[str] | None) -> list[str]:
    """The kinds in the order of KINDS. Raises OptionError."""
    if kinds is None:
        return list(KINDS)
    if isinstance(kinds, str) or not isinstance(kinds, Iterable):
        raise OptionError(f"kinds={shown(kinds)}: give a list, of {', '.join(KINDS)}", field="kinds")
    asked = list(kinds)
    for kind in asked:
        if kind not in KINDS:
            close = suggestion(str(kind), KINDS)
            message = f"kinds: there is no kind {shown(kind)}.{close} Kinds: {', '.join(KINDS)}."
            raise OptionError(message, field="kinds")
    return [kind for kind in KINDS if kind in asked]


def luhn(number: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1)."""
    digits = [int(char) for char in reversed(number) if char in "0123456789"]
    return sum(digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(digits)) % 10 == 0


def _card(number: str) -> bool:
    digits = re.sub(r"\D", "", number)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
"""Characters of an account number by country, from the SWIFT registry (ISO 13616)."""


def _iban(number: str) -> bool:
    plain = number.replace(" ", "").upper()
    if IBAN_LENGTHS.get(plain[:2]) != len(plain):
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _resident(number: str) -> bool:
    """China's GB 11643: a birthday, and a check by ISO 7064 mod 11-2."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, number[:17], strict=True))
    return _is_day(number[6:14]) and "10X98765432"[total % 11] == number[17].upper()


def _is_day(digits: str) -> bool:
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year >= 1850
    except ValueError:
        return False


def _social_security(number: str) -> bool:
    """The United States' number has no check sum; these areas, groups and serials are never given out."""
    area, group, serial = re.split(r"[- ]", number)
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _dni(number: str) -> bool:
    """Spain's DNI, and the NIE whose first letter stands for a digit: the last letter is the rest by 23."""
    plain = re.sub(r"[ .-]", "", number).upper()
    digits = plain[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == plain[-1]


def _nir(number: str) -> bool:
    """France's NIR: 97 less the rest by 97; 2A and 2B, of Corsica, count as 19 and 18."""
    plain = number.replace(" ", "").upper()
    body = plain[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(body) % 97 == int(plain[13:])


_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def _fiscal(code: str) -> bool:
    """Italy's codice fiscale: characters at odd places by a table, the others by their order, and a letter by 26."""
    plain = code.upper()
    odd = sum(_ODD[char] for char in plain[0:15:2])
    even = sum(int(char) if char.isdigit() else ord(char) - ord("A") for char in plain[1:15:2])
    return chr(ord("A") + (odd + even) % 26) == plain[15]


def _cpf(number: str) -> bool:
    """Brazil's CPF: two check digits by 11."""
    digits = [int(char) for char in number if char.isdigit()]
    if len(set(digits)) == 1:
        return False
    return all(
        sum(weight * digit for weight, digit in zip(range(size + 1, 1, -1), digits, strict=False)) * 10 % 11 % 10
        == digits[size]
        for size in (9, 10)
    )


def _anything(text: str) -> bool:
    return True


def _telephone(number: str) -> bool:
    return 7 <= sum(char.isdigit() for char in number) <= 15


_Forms = tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...]


def _forms(*pairs: tuple[str, Callable[[str], bool]]) -> _Forms:
    # Neither a digit nor a letter may go on: a part of a longer number is another number. ASCII, as the check sums are.
    return tuple((re.compile(rf"(?<![\w.@+-])(?:{form})(?![\w@]|[.-]\w)", re.A), check) for form, check in pairs)


KINDS: dict[str, _Forms] = {
    "email": (
        (
            re.compile(
                r"(?<![\w.+%-])[\w](?:[\w.+%'-]{0,62}[\w+%-])?@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w@])"
            ),
            _anything,
        ),
    ),
    "iban": _forms((r"[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?", _iban)),
    "cn_resident_id": _forms((r"[1-9]\d{16}[\dXx]", _resident)),
    "fr_nir": _forms((r"[12378] ?\d\d ?\d\d ?(?:\d\d|2[ABab]) ?\d{3} ?\d{3} ?\d\d", _nir)),
    "card": _forms((r"\d{4}(?:[ -]?\d{4}){2}[ -]?\d{1,7}|\d{4}[ -]?\d{6}[ -]?\d{5}", _card)),
    "it_codice_fiscale": _forms(
        (r"[A-Za-z]{6}[0-9LMNPQRSTUVlmnpqrstuv]{2}[A-Za-z][0-9LMNPQRSTUVlmnpqrstuv]{2}"
         r"[A-Za-z][0-9LMNPQRSTUVlmnpqrstuv]{3}[A-Za-z]", _fiscal),
    ),
    "br_cpf": _forms((r"\d{3}\.\d{3}\.\d{3}-\d\d|\d{11}", _cpf)),
    "es_dni": _forms((r"(?:\d{2}\.\d{3}\.\d{3}|\d{8}|[XYZxyz]-?\d{7})[- ]?[A-Za-z]", _dni)),
    "us_ssn": _forms((r"\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}", _social_security)),
    "phone": (
        *_forms(
            (r"[2-9]\d{2}[ .-]\d{3}[ .-]\d{4}", _telephone),  # North America
            (r"1[3-9]\d[ -]?\d{4}[ -]?\d{4}|0\d{2,3}-\d{7,8}", _telephone),  # China
            (r"0[1-9](?:[ .]\d\d){4}", _telephone),  # France
            (r"0\d{2,4}[ /]\d{3,4}[ ]?\d{3,5}", _telephone),  # Germany, the United Kingdom
            (r"[6789]\d{2} \d{3} \d{3}", _telephone),  # Spain
        ),
        (re.compile(r"\([2-9]\d{2}\) ?\d{3}[ .-]\d{4}(?!\w)", re.A), _telephone),
        (re.compile(r"(?<![\w+])(?:\+|00)[1-9]\d{0,2}(?:[ .-]?(?:\d{1,5}|\(\d{1,5}\))){1,6}(?!\w)", re.A), _telephone),
    ),
}  # fmt: skip
"""Every kind: its forms, and what a candidate must satisfy."""

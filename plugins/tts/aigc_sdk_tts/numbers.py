"""Numbers in English words, the American way: no "and" within a number."""

from __future__ import annotations

import re

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_GROUPS = ("", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion")
_LONGEST = 3 * len(_GROUPS)  # digits; longer ones are read digit by digit
_IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_IS_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")


def cardinal(number: int) -> str:
    """1234 -> one thousand two hundred thirty four."""
    if number < 0:
        return "minus " + cardinal(-number)
    if number >= 10**_LONGEST:
        return digits(str(number))
    if number == 0:
        return "zero"
    words: list[str] = []
    for power in reversed(range(len(_GROUPS))):
        group = number // 1000**power % 1000
        if group:
            words += [_below_thousand(group), _GROUPS[power]]
    return " ".join(each for each in words if each)


def ordinal(number: int) -> str:
    """21 -> twenty first."""
    *front, last = cardinal(number).split()
    regular = (last[:-1] + "ie" if last.endswith("y") else last) + "th"
    return " ".join([*front, _IRREGULAR.get(last, regular)])


def digits(written: str, zero: str = "zero") -> str:
    """The digits in turn: 007 -> zero zero seven."""
    return " ".join(zero if each == "0" else _ONES[int(each)] for each in written if each in "0123456789")


def number(written: str) -> str:
    """A number as it is written: with commas, decimals, a sign; leading zeros are read digit by digit."""
    plain = written.replace(",", "").replace("\u2212", "-")
    if plain[:1] in "+-" and plain:
        return {"+": "plus ", "-": "minus "}[plain[0]] + number(plain[1:])
    whole, point, part = plain.partition(".")
    said = [integer(whole)] if whole else []
    if point:
        said += ["point", digits(part)]
    return " ".join(said)


def integer(written: str) -> str:
    """Digits as one number, unless they begin with a zero or are too many."""
    if len(written) > _LONGEST or (len(written) > 1 and written[0] == "0"):
        return digits(written)
    return cardinal(int(written))


def year(number: int) -> str:
    """1984 -> nineteen eighty four; 1905 -> nineteen oh five; 2005 -> two thousand five; 2024 -> twenty twenty four."""
    century, rest = divmod(number, 100)
    if not 1100 <= number <= 2999 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    if rest == 0:
        return cardinal(century) + " hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def decade(number: int) -> str:
    """1990 -> nineteen nineties; 90 -> nineties; 1900 -> nineteen hundreds; 2000 -> two thousands."""
    return plural(year(number) if number >= 1000 else cardinal(number))


def fraction(above: int, below: int) -> str:
    """(3, 4) -> three quarters."""
    part = {2: "half", 4: "quarter"}.get(below) or ordinal(below)
    if below == 1:
        return f"{cardinal(above)} over one"
    if above != 1:
        part = "halves" if below == 2 else part + "s"
    return f"{cardinal(above)} {part}"


def plural(words: str) -> str:
    """The last of the words in the plural: twenty -> twenties, six -> sixes."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith(("x", "s", "ch", "sh")) else "s")


def roman(written: str) -> int | None:
    """The value of a roman numeral in capitals, or None for other letters."""
    if not written or not _IS_ROMAN.fullmatch(written):
        return None
    values = [_ROMAN[each] for each in written]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-each if each < following else each for each, following in pairs)


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [_ONES[hundreds], "hundred"] if hundreds else []
    if 0 < rest < 20:
        words.append(_ONES[rest])
    elif rest:
        words.append(_TENS[rest // 10])
        if rest % 10:
            words.append(_ONES[rest % 10])
    return " ".join(words)

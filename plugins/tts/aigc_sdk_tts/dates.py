# ruff: noqa: RUF001 (signs that look alike are what this file is about)
"""Dates, years, decades and times of day in words."""

from __future__ import annotations

import re

from .numbers import cardinal, decade, digits, ordinal, roman, year
from .rules import END, LETTER, rule, word_after, word_before, words

MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_SHORT = {name[:3]: name for name in MONTHS} | {"sept": "september"} | {name: name for name in MONTHS}
_SHORT_DAYS = {name[:3]: name for name in WEEKDAYS} | {"tues": "tuesday", "thur": "thursday", "thurs": "thursday"}
_MONTH = rf"(?P<month>{'|'.join(sorted(_SHORT, key=len, reverse=True))})\b\.?"
_DAY = r"(?P<day>0?[1-9]|[12][0-9]|3[01])"
_YEAR = r"(?P<year>[12][0-9]{3})"
_BEFORE_YEARS = words(
    "in since by from of until till before after during around circa year years early late mid spring summer "
    "autumn fall winter class between and to"
)
_COUNTED = words("people men women children percent million billion thousand hundred feet miles times")


def _date(month: str, day: str, written_year: str | None) -> str:
    """May sixth twenty twenty four."""
    said = f"{month} {ordinal(int(day))}"
    return said + (f" {year(int(written_year))}" if written_year else "")


def _month_day(match: re.Match[str]) -> str:
    return _date(_SHORT[match["month"].lower()], match["day"], match["year"])


def _day_month(match: re.Match[str]) -> str:
    article = "" if word_before(match).lower() == "the" else "the "
    said = f"{article}{ordinal(int(match['day']))} of {_SHORT[match['month'].lower()]}"
    return said + (f" {year(int(match['year']))}" if match["year"] else "")


def _short_month(match: re.Match[str]) -> str:
    return _SHORT[match["month"].lower()]


def _numeric(match: re.Match[str]) -> str | None:
    """A date in digits: of the ISO order, the American one with slashes, or the European one with dots."""
    first, second, third = int(match["a"]), int(match["b"]), match["c"]
    month, day = (second, first) if match["dot"] == "." or first > 12 else (first, second)
    if not (1 <= month <= 12 and 1 <= day <= 31) or len(third) == 3:
        return None
    return _date(MONTHS[month - 1], str(day), third if len(third) == 4 else str(_century(int(third))))


def _century(short: int) -> int:
    return short + (2000 if short < 70 else 1900)


def _iso(match: re.Match[str]) -> str | None:
    month = int(match["m"])
    return _date(MONTHS[month - 1], match["day"], match["year"]) if 1 <= month <= 12 else None


def _decade(match: re.Match[str]) -> str | None:
    written = int(match["decade"])
    if match["decade"] in ("00", "10"):
        return None
    return decade(written)


def _years(match: re.Match[str]) -> str | None:
    first, last = match["first"], match["last"]
    last = first[: 4 - len(last)] + last
    return f"{year(int(first))} to {year(int(last))}" if int(first) < int(last) else None


def _era(match: re.Match[str]) -> str:
    written = match["number"].replace(",", "")
    said = year(int(written)) if len(written) == 4 else cardinal(int(written))
    return said + " " + " ".join(match["era"].replace(".", ""))


def _year(match: re.Match[str]) -> str | None:
    """Four digits are a year unless what follows is counted: 1984, but 1500 people."""
    following = word_after(match)
    before = word_before(match).lower()
    if before not in _BEFORE_YEARS and before not in _SHORT and following.islower():
        counted = following in _COUNTED or (following.endswith("s") and len(following) > 3)
        if counted and following not in ("was", "has", "this", "does", "always", "perhaps", "sees"):
            return None
    return year(int(match["year"]))


def _time(match: re.Match[str]) -> str | None:
    hour, minute, second, half = int(match["hour"]), match["minute"], match["second"], match["half"]
    said = cardinal(hour)
    if minute and minute != "00":
        said += " " + (digits(minute, "oh") if minute[0] == "0" else cardinal(int(minute)))
    elif not half:
        said += " hundred" if hour > 12 else " o'clock" if hour else " hundred"
    if second:
        said = f"{cardinal(hour)} {cardinal(int(minute))} and {cardinal(int(second))} second{'s' * (second != '01')}"
    return said + (f" {half[0].upper()} M" if half else "")


def _hours(match: re.Match[str]) -> str:
    return f"{cardinal(int(match['hour']))} {match['half'][0].upper()} M"


def _weekday(match: re.Match[str]) -> str:
    return _SHORT_DAYS.get(match["day"].lower(), match["day"].lower())


def _to(match: re.Match[str]) -> str:
    """The dash in Mon.-Fri., 5pm-6pm and 1st-3rd."""
    return "to"


def _apostrophe_year(match: re.Match[str]) -> str:
    return cardinal(int(match["year"])) if match["year"][0] != "0" else digits(match["year"], "oh")


def _century_number(match: re.Match[str]) -> str | None:
    value = roman(match["number"])
    return f"{ordinal(value)} century" if value else None


_HALF = r"(?P<half>[aApP]\.?[mM](?:\.|\b))"
_I = re.IGNORECASE

_DAY_NAME = "|".join(sorted({*_SHORT_DAYS, *WEEKDAYS}, key=len, reverse=True))

RULES = (
    rule(rf"(?P<day>{_DAY_NAME})\.?(?=[-–](?:{_DAY_NAME})\b)", _weekday, flags=_I),
    rule(
        rf"(?<=day|mon|tue|wed|thu|fri|sat|sun|on\.|ue\.|ed\.|hu\.|ri\.|at\.|un\.)[-–](?=(?:{_DAY_NAME})\b)",
        _to,
        flags=_I,
    ),
    rule(rf"(?<=[-–])(?P<day>{_DAY_NAME})\b\.?", _weekday, flags=_I),
    rule(r"(?<=[ap]m)[-–](?= ?[0-9])|(?<=[ap]m )[-–](?= ?[0-9])|(?<=[ap]\.m\.)[-–](?=[0-9])", _to, flags=_I),
    rule(r"(?<=st|nd|rd|th)[-–](?=[0-9]{1,3}(?:st|nd|rd|th)\b)", _to),
    rule(rf"{_YEAR}([-/])(?P<m>0?[1-9]|1[0-2])\2{_DAY}{END}(?![-/])", _iso),
    rule(
        rf"(?P<a>[0-9]{{1,2}})(?P<dot>[/.])(?P<b>[0-9]{{1,2}})(?P=dot)(?P<c>[0-9]{{4}}|[0-9]{{2}}){END}(?!\.[0-9])",
        _numeric,
    ),
    rule(rf"{_MONTH} {_DAY}(?:st|nd|rd|th)?\b(?!:|%|[.,][0-9])(?:,? {_YEAR}\b(?!,[0-9]))?", _month_day, flags=_I),
    rule(rf"{_DAY}(?:st|nd|rd|th)?[ -](?:of )?{_MONTH}(?:,?[ -]{_YEAR}\b)?(?![{LETTER}])", _day_month, flags=_I),
    rule(r"(?P<month>Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.(?= [0-9A-Z]|,| of)", _short_month),
    rule(r"(?P<day>Mon|Tues|Tue|Wed|Thurs|Thur|Thu|Fri|Sat|Sun)\.(?=,? [0-9A-Z]|,)", _weekday),
    rule(
        rf"(?P<hour>[01]?[0-9]|2[0-4]):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]))?(?: ?{_HALF})?(?![0-9:])",
        _time,
        True,
    ),
    rule(rf"(?P<hour>1[0-2]|[1-9]) ?{_HALF}(?![{LETTER}])", _hours, True),
    rule(r"['’](?P<decade>[1-9]0)s\b", _decade),
    rule(r"(?P<decade>[12][0-9]{2}0|[2-9]0)['’]?s\b", _decade),
    rule(r"['’](?P<year>[0-9]{2})(?![0-9s])", _apostrophe_year),
    rule(
        rf"(?P<first>1[1-9][0-9]{{2}}|20[0-9]{{2}})[-–/](?P<last>1[1-9][0-9]{{2}}|20[0-9]{{2}}|[0-9]{{2}}){END}", _years
    ),
    rule(
        rf"(?P<number>[0-9]{{1,4}}|[0-9]{{1,3}},[0-9]{{3}}) ?(?P<era>BCE|BC|CE|AD|B\.C\.E?\.?|A\.D\.)(?![{LETTER}])",
        _era,
        True,
    ),
    rule(rf"(?P<year>1[1-9][0-9]{{2}}|20[0-9]{{2}}){END}(?![.,:/'’-][0-9]|%| ?[°$€£])", _year),
    rule(r"(?P<number>[IVX]+)(?:st|nd|rd|th)? [cC]entury\b", _century_number),
)

# ruff: noqa: RUF001 (signs that look alike are what this file is about)
"""Money, measures, percentages, ranges, fractions and plain numbers in words."""

from __future__ import annotations

import re
import unicodedata

from .numbers import cardinal, digits, fraction, number, ordinal, plural
from .rules import END, LETTER, NUMBER, rule, spelled

_CURRENCIES = {
    "$": ("dollar", "cent"),
    "US$": ("dollar", "cent"),
    "€": ("euro", "cent"),
    "£": ("pound", "penny"),
    "¥": ("yen", ""),
    "₹": ("rupee", "paisa"),
    "₩": ("won", ""),
    "₽": ("ruble", "kopeck"),
    "₿": ("bitcoin", ""),
    "USD": ("U S dollar", "cent"),
    "EUR": ("euro", "cent"),
    "GBP": ("pound", "penny"),
    "JPY": ("yen", ""),
    "CAD": ("canadian dollar", "cent"),
    "AUD": ("australian dollar", "cent"),
    "CHF": ("swiss franc", ""),
    "CNY": ("yuan", ""),
    "INR": ("rupee", "paisa"),
}
_UNCOUNTED = ("yen", "won", "yuan", "hertz")
_MAGNITUDES = {
    "k": "thousand",
    "K": "thousand",
    "M": "million",
    "m": "million",
    "mn": "million",
    "B": "billion",
    "bn": "billion",
    "b": "billion",
    "T": "trillion",
    "tn": "trillion",
}
_IRREGULAR = {"foot": "feet", "inch": "inches", "penny": "pence", "paisa": "paise"}
_UNITS = {
    "km": "kilometer",
    "m": "meter",
    "cm": "centimeter",
    "mm": "millimeter",
    "µm": "micrometer",
    "μm": "micrometer",
    "nm": "nanometer",
    "mi": "mile",
    "ft": "foot",
    "in": "inch",
    "yd": "yard",
    "kg": "kilogram",
    "g": "gram",
    "mg": "milligram",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "tbsp": "tablespoon",
    "tsp": "teaspoon",
    "l": "liter",
    "L": "liter",
    "ml": "milliliter",
    "mL": "milliliter",
    "cl": "centiliter",
    "gal": "gallon",
    "s": "second",
    "sec": "second",
    "secs": "second",
    "ms": "millisecond",
    "ns": "nanosecond",
    "min": "minute",
    "mins": "minute",
    "h": "hour",
    "hr": "hour",
    "hrs": "hour",
    "yr": "year",
    "yrs": "year",
    "Hz": "hertz",
    "kHz": "kilohertz",
    "MHz": "megahertz",
    "GHz": "gigahertz",
    "kB": "kilobyte",
    "KB": "kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "Kb": "kilobit",
    "Mb": "megabit",
    "Gb": "gigabit",
    "W": "watt",
    "kW": "kilowatt",
    "MW": "megawatt",
    "GW": "gigawatt",
    "kWh": "kilowatt hour",
    "V": "volt",
    "kV": "kilovolt",
    "mA": "milliampere",
    "Ω": "ohm",
    "kJ": "kilojoule",
    "cal": "calorie",
    "kcal": "kilocalorie",
    "Pa": "pascal",
    "kPa": "kilopascal",
    "hPa": "hectopascal",
    "psi": "P S I",
    "dB": "decibel",
    "ha": "hectare",
    "px": "pixel",
    "pt": "point",
    "fps": "frame per second",
    "dpi": "D P I",
    "rpm": "R P M",
    "mph": "mile per hour",
    "km/h": "kilometer per hour",
    "kph": "kilometer per hour",
    "kmh": "kilometer per hour",
    "m/s": "meter per second",
    "Mbps": "megabit per second",
    "Gbps": "gigabit per second",
    "ppm": "part per million",
    "MB/s": "megabyte per second",
    "GB/s": "gigabyte per second",
    "mol": "mole",
    "bpm": "beat per minute",
    "°C": "degree celsius",
    "°F": "degree fahrenheit",
    "°K": "degree kelvin",
    "°": "degree",
    "sq ft": "square foot",
    "sq m": "square meter",
    "sq mi": "square mile",
    "fl oz": "fluid ounce",
}
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"

_SIGN = rf"(?<![{LETTER}0-9)\]])[-\u2212]"
_DASH = r" ?[-–—] ?|-"
_UNIT = "|".join(re.escape(each) for each in sorted(_UNITS, key=len, reverse=True))
_CODE = "|".join(each for each in _CURRENCIES if each.isalpha())


def _counted(count: str, unit: str) -> str:
    """The unit in the plural unless there is one of it: two miles per hour."""
    if count in ("1", "-1", "\u22121"):
        return unit
    head, per, rest = unit.partition(" per ")
    *front, noun = head.split(" ") if head.split(" ")[0] != "degree" else [head]
    if noun.startswith("degree"):
        noun = noun.replace("degree", "degrees")
    elif not noun.endswith(_UNCOUNTED) and not noun.isupper():
        noun = _IRREGULAR.get(noun) or plural(noun)
    return " ".join([*front, noun]) + per + rest


def _money(match: re.Match[str]) -> str:
    whole, part = _CURRENCIES[match["currency"]]
    amount, more = match["amount"].replace(",", ""), match["more"]
    sign = "minus " if match["sign"] else ""
    if match["to"]:
        large = _MAGNITUDES.get(more or "", (more or "").strip().lower())
        return f"{sign}{number(amount)} to {number(match['to'])} {large + ' ' if large else ''}{_counted('2', whole)}"
    if more:
        return f"{sign}{number(amount)} {_MAGNITUDES.get(more.strip(), more.strip().lower())} {_counted('2', whole)}"
    units, _, cents = amount.partition(".")
    if part and len(cents) == 2:
        return sign + _coins(units, cents, whole, part)
    return f"{sign}{number(amount)} {_counted(amount, whole)}"


def _coins(units: str, cents: str, whole: str, part: str) -> str:
    """Five dollars and fifty cents; without the dollars where there are none."""
    large = f"{number(units)} {_counted(units, whole)}"
    if cents == "00":
        return large
    small = f"{cardinal(int(cents))} {_counted(str(int(cents)), part)}"
    return small if units == "0" else f"{large} and {small}"


def _money_code(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} {_counted(match['amount'], _CURRENCIES[match['currency']][0])}"


def _cents(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} {_counted(match['amount'], 'cent')}"


def _percent(match: re.Match[str]) -> str:
    first = number(match["amount"]) + (f" to {number(match['to'])}" if match["to"] else "")
    return f"{_minus(match)}{first} {'per mille' if match['sign2'] == '‰' else 'percent'}"


def _minus(match: re.Match[str]) -> str:
    return "minus " if match["sign"] else ""


def _measure(match: re.Match[str]) -> str | None:
    """5 km, 3-5 kg, 20 m², 60 km/h."""
    unit = match["unit"]
    if unit == "in" and match["gap"] and not re.match(r"[.,;)]|\s*$", match.string[match.end() :][:20]):
        return None  # 5 in the morning
    said = number(match["amount"]) + (f" to {number(match['to'])}" if match["to"] else "")
    name = _counted("2" if match["to"] else match["amount"], _UNITS[unit])
    power = match["power"]
    if power in ("²", "2"):
        name = "square " + name
    elif power in ("³", "3"):
        name = "cubic " + name
    return f"{_minus(match)}{said} {name}" + (f" per {_UNITS[match['per']]}" if match["per"] else "")


def _feet(match: re.Match[str]) -> str:
    feet = f"{number(match['feet'])} {_counted(match['feet'], 'foot')}"
    return feet + (f" {number(match['inches'])} {_counted(match['inches'], 'inch')}" if match["inches"] else "")


def _inches(match: re.Match[str]) -> str | None:
    """5" after an even number of quotation marks: the mark closes none."""
    if match.string[max(0, match.start() - 300) : match.start()].count('"') % 2:
        return None
    return f"{number(match['amount'])} {_counted(match['amount'], 'inch')}"


def _by(match: re.Match[str]) -> str | None:
    """10 cm x 20 cm."""
    return "by" if _MEASURED.search(match.string[max(0, match.start() - 20) : match.start()]) else None


def _times(match: re.Match[str]) -> str:
    return " by ".join(number(each) for each in re.findall(NUMBER, match[0]))


def _factor(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} times"


def _mixed(match: re.Match[str]) -> str | None:
    """1/2, 2 1/2: one half, two and a half."""
    whole, above, below = match["whole"], int(match["above"]), int(match["below"])
    if (above, below) in ((24, 7), (9, 11)) or above == below > 1:
        return f"{cardinal(above)} {cardinal(below)}"
    if below == 0 or below > 1000 or len(match["above"]) > 3 or (whole and above >= below):
        return f"{cardinal(above)} over {cardinal(below)}" if not whole else None
    return _minus(match) + _whole_and(whole, above, below)


def _whole_and(whole: str | None, above: int, below: int) -> str:
    part = fraction(above, below)
    if not whole:
        return part
    return f"{number(whole)} and {'a ' + part.removeprefix('one ') if above == 1 else part}"


def _vulgar(match: re.Match[str]) -> str:
    above, _, below = unicodedata.normalize("NFKC", match["part"]).partition("⁄")
    return _minus(match) + _whole_and(match["whole"], int(above), int(below))


def _range(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} to {number(match['to'])}"


def _scientific(match: re.Match[str]) -> str:
    power = unicodedata.normalize("NFKC", match["power"] or match["high"] or match["e"]).replace("\u2212", "-")
    return f"{_minus(match)}{number(match['amount'])} times ten to the {number(power.lstrip('+'))}"


def _power(match: re.Match[str]) -> str:
    written = unicodedata.normalize("NFKC", match["power"] or match["high"])
    how = {"2": "squared", "3": "cubed"}.get(written) or f"to the {number(written)}"
    return f"{number(match['amount'])} {how}"


def _ratio(match: re.Match[str]) -> str:
    """3:1 is three to one, but 25:30 are minutes and seconds."""
    if len(match["to"]) == 2 and len(match["amount"]) == 2:
        return (
            f"{number(match['amount'])} {digits(match['to'], 'oh') if match['to'][0] == '0' else number(match['to'])}"
        )
    return f"{number(match['amount'])} to {number(match['to'])}"


def _ordinal(match: re.Match[str]) -> str:
    return ordinal(int(match["amount"].replace(",", "")))


def _large(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} {_MAGNITUDES[match['more']]}"


def _number_sign(match: re.Match[str]) -> str:
    return "number " + number(match["amount"])


def _plain(match: re.Match[str]) -> str:
    return _minus(match) + number(match["amount"])


def _dotted(match: re.Match[str]) -> str:
    """Versions and addresses: 3.11.2 -> three point eleven point two."""
    return " point ".join(cardinal(int(each)) for each in match[0].split("."))


def _after_point(match: re.Match[str]) -> str:
    return f"{_minus(match)}point {digits(match['amount'])}"


def _operator(match: re.Match[str]) -> str | None:
    """Signs between numbers: 2 - 3, 2*3, 4/2 = 2."""
    return {"-": "minus", "\u2212": "minus", "–": "minus", "*": "times", "×": "times", "x": "times", "/": "over"}[
        match["sign"]
    ]


def _plus(match: re.Match[str]) -> str:
    return "plus " + number(match["amount"])


def _letters_and_digits(match: re.Match[str]) -> str | None:
    """B2B, COVID-19, mp3, 4K: capitals by their names, small words as words, numbers as numbers."""
    if re.match(r"[a-z]{3,}-", match[0]):
        return None  # mid-1990s: two words
    said = []
    for part in re.findall(rf"[0-9]+|[{LETTER}]+", match[0]):
        if part.isdigit():
            said.append(number(part) if len(part) <= 3 or part[0] == "0" else digits(part))
        elif len(part) <= 3 or not any(each in "aeiouyAEIOUY" for each in part):
            said.append(spelled(part))
        else:
            said.append(part.lower())
    return " ".join(said)


_S = rf"(?P<sign>{_SIGN})?"
_A = rf"(?P<amount>{NUMBER})"
_TO = rf"(?:(?:{_DASH})(?P<to>{NUMBER}))?"

_MEASURED = re.compile(rf"[0-9] ?(?:{_UNIT}) $")

RULES = (
    rule(
        rf"(?P<sign>[-\u2212])?(?P<currency>US\$|[$€£¥₹₩₽₿]) ?{_A}(?:(?:{_DASH})[$€£¥]?(?P<to>{NUMBER}))?"
        rf"(?P<more> ?(?:thousand|million|billion|trillion)\b|(?:k|K|M|mn|m|bn|B|b|tn|T){END})?(?![0-9])",
        _money,
    ),
    rule(rf"(?P<currency>{_CODE}) ?{_A}{END}", _money_code),
    rule(rf"{_A} ?(?P<currency>{_CODE}|[€£$¥]){END}", _money_code),
    rule(rf"{_A} ?¢", _cents),
    rule(r"(?P<feet>[0-9]{1,2})(?:'|′|’) ?(?P<inches>[0-9]{1,2})(?:\"|″|”|'')", _feet),
    rule(rf"{_A}(?:\"|″)(?![{LETTER}0-9])", _inches),
    rule(r"[x×](?= ?[0-9])", _by),
    rule(rf"{_S}{_A}%?{_TO} ?(?P<sign2>[%‰])", _percent),
    rule(r"[0-9]{1,3}(?:\.[0-9]{1,6}){2,5}(?![0-9])", _dotted),
    rule(
        rf"{_S}{_A}(?: ?[x×·*] ?10(?:\^(?P<power>[-+\u2212]?[0-9]{{1,4}})|(?P<high>[⁻⁺]?[⁰¹²³⁴-⁹]+))"
        rf"|[eE](?P<e>[-+]?[0-9]{{1,4}})){END}",
        _scientific,
    ),
    rule(rf"{NUMBER}(?: ?[x×] ?{NUMBER}){{1,3}}{END}", _times),
    rule(rf"{_A}[x×](?= |[.,;!?]|$)", _factor),
    rule(
        rf"{_S}(?:(?P<whole>[0-9]{{1,6}}) )?(?P<above>[0-9]{{1,6}})[/⁄](?P<below>[0-9]{{1,6}})(?![0-9/]){END}", _mixed
    ),
    rule(rf"{_S}(?P<whole>[0-9]{{1,6}})? ?(?P<part>[{_VULGAR}])", _vulgar),
    rule(rf"{_A}(?:\^(?P<power>[-\u2212]?[0-9]{{1,4}})|(?P<high>[⁰¹²³⁴-⁹]{{1,4}})){END}", _power),
    rule(
        rf"{_S}{_A}{_TO}(?P<gap> ?-?)(?P<unit>{_UNIT})(?P<power>[²³]|\^?[23](?![0-9]))?"
        rf"(?:/(?P<per>kg|g|h|s|min|m|L|l))?(?![{LETTER}0-9/'’]|\.[{LETTER}0-9])(?:\.(?= [a-z]))?",
        _measure,
    ),
    rule(rf"(?!4K|8K){_A}(?P<more>k|K|M|bn){END}", _large),  # 4K and 8K are sizes of screens
    rule(rf"(?P<amount>[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]{{1,9}})(?:st|nd|rd|th){END}", _ordinal),
    rule(rf"(?:#|№|[Nn]o\. ?|Nos\. ?){_A}{END}", _number_sign),
    rule(rf"{_A}(?: ?–|-)(?P<to>{NUMBER}){END}(?!-)", _range),
    rule(rf"{_A}:(?P<to>{NUMBER}){END}", _ratio),
    rule(rf"(?<![0-9])\+{_A}{END}", _plus),
    rule(rf"(?P<sign>[-–\u2212*×/x])(?= ?[0-9])(?<=[0-9) ].)(?! ?[0-9]+[-/])(?<![{LETTER}] .)", _operator),
    rule(rf"{_S}(?<![0-9])\.(?P<amount>[0-9]{{1,20}}){END}", _after_point),
    rule(rf"{_S}{_A}(?![0-9]){END}", _plain),
    rule(
        rf"(?:[{LETTER}]{{1,20}}-?[0-9]{{1,20}}|[0-9]{{1,20}}-?[{LETTER}]{{1,20}})(?:[{LETTER}0-9]{{0,20}}|-[0-9]{{1,10}}){END}",
        _letters_and_digits,
    ),
)

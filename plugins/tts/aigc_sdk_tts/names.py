# ruff: noqa: RUF001 (signs that look alike are what this file is about)
"""Abbreviations, initials, acronyms and roman numerals in words."""

from __future__ import annotations

import re
import unicodedata

from . import lexicon
from .numbers import cardinal, ordinal, roman
from .rules import LETTER, folded, rule, spelled, word_after, word_before, words

# Before a name or a number, so that the full stop never ends a sentence.
_TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "messrs": "messers",
    "prof": "professor",
    "rev": "reverend",
    "hon": "honorable",
    "gov": "governor",
    "sen": "senator",
    "rep": "representative",
    "pres": "president",
    "gen": "general",
    "col": "colonel",
    "maj": "major",
    "capt": "captain",
    "cpt": "captain",
    "lt": "lieutenant",
    "sgt": "sergeant",
    "cpl": "corporal",
    "pvt": "private",
    "cmdr": "commander",
    "adm": "admiral",
    "fr": "father",
    "mt": "mount",
    "ft": "fort",
    "supt": "superintendent",
    "vs": "versus",
    "v": "version",
    "fig": "figure",
    "figs": "figures",
    "vol": "volume",
    "vols": "volumes",
    "ch": "chapter",
    "chap": "chapter",
    "sec": "section",
    "sect": "section",
    "eq": "equation",
    "ed": "edition",
    "pp": "pages",
    "p": "page",
    "art": "article",
    "par": "paragraph",
    "ref": "reference",
    "tel": "telephone",
    "approx": "approximately",
    "ca": "circa",
    "cf": "compare",
    "al": "al",
    "ext": "extension",
    "viz": "namely",
}
# These may end a sentence as well.
_ENDINGS = {
    "etc": "et cetera",
    "jr": "junior",
    "sr": "senior",
    "inc": "incorporated",
    "ltd": "limited",
    "co": "company",
    "corp": "corporation",
    "bros": "brothers",
    "dept": "department",
    "est": "established",
    "univ": "university",
    "ave": "avenue",
    "blvd": "boulevard",
    "rd": "road",
    "ln": "lane",
    "hwy": "highway",
    "pkwy": "parkway",
    "apt": "apartment",
    "assn": "association",
    "govt": "government",
    "min": "minutes",
    "max": "maximum",
    "hrs": "hours",
    "yrs": "years",
    "mins": "minutes",
    "secs": "seconds",
    "esq": "esquire",
    "misc": "miscellaneous",
    "ph.d": "P H D",
    "temp": "temperature",
    "dist": "district",
    "intl": "international",
    "natl": "national",
}
_LATIN = {"e.g.": "for example", "i.e.": "that is", "a.k.a.": "also known as", "et al.": "and others"}
_NUMBERED = words("p pp v ch art par ed sec ref eq al fig figs ext ca fr")
_AS_WORDS = words(
    "RAM ROM SIM PIN ZIP GIF DOS LAN WAN NATO NASA LASER RADAR SONAR SCUBA AIDS OPEC FIFA NAFTA UNESCO UNICEF "
    "SWAT COBOL BASIC YOLO IKEA LEGO VISA JPEG AWOL GUI MIDI CAD NIMBY FOMO PEN BIOS NAND COVID OK A I"
)
_RULERS = words(
    "henry louis george elizabeth charles james edward richard william mary philip napoleon pius benedict "
    "paul nicholas catherine peter alexander frederick wilhelm leo gregory ramses ptolemy constantine otto "
    "innocent francis ferdinand alfonso carl christian gustav harald olaf ivan umberto emmanuel john urban "
    "clement boniface julius harold edmund malcolm robert darius xerxes amenhotep thutmose friedrich joseph "
    "leopold"
)
_ABBREVIATED = words("vol ch fig sec art pt no")
_AFTER_THE_FIRST = ("", "of", "and", "is", "was", "in")  # Elizabeth I was, Act I; but "Henry, I think"
_NUMBERED_BY_ROMAN = words(
    "chapter part act scene book volume vol section phase type class article war bowl figure table level "
    "stage title appendix unit episode season mark apollo grade division corps canto psalm henriad schedule "
    "tier annex"
)
_NATO_SPELLED = {"OK": "okay"}
# What a sentence begins with, where a capital letter alone would not tell.
STARTERS = words(
    "the a an he she it they we i you in on at but and this that these those his her their our my there when "
    "if as for after then what who how why so no yes"
)


def _title(match: re.Match[str]) -> str | None:
    key = match["short"].lower()
    if key in _NUMBERED and not re.match(r" ?[0-9IVX]", match.string[match.end() : match.end() + 2]) and key != "al":
        return None if key != "v" or not word_after(match)[:1].isupper() else "versus"
    if key in ("mt", "ft", "gen", "col", "sen", "rep", "maj", "fr", "pres", "gov", "hon", "adm"):
        return _TITLES[key] if word_after(match)[:1].isupper() else None
    return _TITLES[key]


def _saint_or_street(match: re.Match[str]) -> str:
    """St. and Dr. before a name are saint and doctor, after one street and drive."""
    title, place = {"st": ("saint", "street"), "dr": ("doctor", "drive")}[match["short"].lower()]
    before, after = word_before(match), word_after(match)
    named = after[:1].isupper() and after.lower() not in STARTERS
    return place if before[:1].isupper() and len(before) > 2 and not named else title


def _ending(match: re.Match[str]) -> str | None:
    key = match["short"].lower()
    if (
        key in ("co", "min", "max", "est", "temp", "dist", "apt", "rd", "ln", "misc")
        and match.string[match.end() - 1] != "."
    ):
        return None
    return _ENDINGS[key]


def _latin(match: re.Match[str]) -> str:
    return _LATIN[match[0].lower().replace(" .", ".")]


def _letters_with_dots(match: re.Match[str]) -> str:
    return spelled(match[0].replace(".", "").replace(" ", ""))


def _initial(match: re.Match[str]) -> str | None:
    return None if word_after(match).lower() in STARTERS else match["letter"]


def _roman(match: re.Match[str]) -> str | None:
    written = match["number"]
    value, before, after = roman(written), word_before(match), word_after(match)
    if (
        match.string[max(0, match.start() - 8) : match.start()].rstrip().endswith(".")
        and before.lower() not in _ABBREVIATED
    ):
        before = ""  # a sentence ended there
    if value is None or (written == "I" and not (before[:1].isupper() and after in _AFTER_THE_FIRST)):
        return None
    if before.lower() in _RULERS:
        return "the " + ordinal(value)
    if before.lower() in _NUMBERED_BY_ROMAN:
        return cardinal(value)
    if len(written) > 1 and not set(written) - set("IVX") and (before[:1].isupper() or len(written) > 2):
        return cardinal(value)
    return None


def _acronym(match: re.Match[str]) -> str | None:
    """Capitals are spelled unless they make a word: NASA and, where all the text around shouts, any other."""
    letters, more = match["letters"], match["more"] or ""
    if letters in _NATO_SPELLED:
        return _NATO_SPELLED[letters] + more.replace("’", "'")
    text, start, end = match.string, match.start(), match.end()
    around = text[max(0, start - 60) : start] + text[end : end + 60]
    shouting = not any(each.islower() for each in around) and sum(each.isupper() for each in around) > 6
    word = folded(letters)
    as_word = letters in _AS_WORDS or (lexicon.known(word) and (len(letters) > 3 or shouting))
    if as_word or (len(letters) > 5 and re.search("[AEIOUY]", letters)):
        return word + more.replace("’", "'")
    return spelled("".join(each for each in unicodedata.normalize("NFKD", letters) if each.isascii())) + (
        "'s" if more else ""
    )


def _camel(match: re.Match[str]) -> str | None:
    """YouTube is in the lexicon, JavaScript is two words, iPhone a letter and a word."""
    word = match[0].replace("’", "'")
    if lexicon.known(folded(word)):
        return None
    parts = re.findall(rf"[A-Z]+(?![a-zà-öø-ÿ'])|[{LETTER}][a-zà-öø-ÿ']*", word)
    if len(parts) < 2 or re.match(r"(?:Mc|Mac|O'|D'|De|La|Le|Di|Van|Fitz)[A-Z]", word):
        return None
    return " ".join(
        spelled(each) if (each.isupper() and not lexicon.known(each.lower())) or len(each) == 1 else folded(each)
        for each in parts
    )


def _with(match: re.Match[str]) -> str:
    return {"w/": "with", "w/o": "without", "c/o": "care of", "b/c": "because", "n/a": "not applicable"}[
        match[0].lower()
    ]


def _or(match: re.Match[str]) -> str:
    return {"and/or": "and or", "his/her": "his or her", "he/she": "he or she"}[match[0].lower()]


_I = re.IGNORECASE

_TITLE = "|".join(sorted(_TITLES, key=len, reverse=True))
_END_WORD = "|".join(re.escape(each) for each in sorted(_ENDINGS, key=len, reverse=True))
RULES = (
    rule(r"(?:e\.g\.|i\.e\.|a\.k\.a\.|et al\.)", _latin, flags=_I),
    rule(r"w/o\b|w/(?= |[a-z])|c/o\b|b/c\b|n/a\b", _with, flags=_I),
    rule(r"(?:and/or|his/her|he/she)\b", _or, flags=_I),
    rule(r"(?P<short>St|Dr)\.", _saint_or_street, True),
    rule(rf"(?P<short>{_END_WORD})\.(?![{LETTER}])", _ending, True, _I),
    rule(
        rf"(?P<short>{_TITLE})\.(?![{LETTER}])|(?P<short2>vs)\b",
        lambda match: _title(match) if match["short"] else "versus",
        flags=_I,
    ),
    rule(r"(?:[A-Za-z]\.){2,10}(?:[A-Z]\b)?", _letters_with_dots, True),
    rule(r"(?P<letter>[A-Z])\.(?= ?[A-Z][A-Za-z.])", _initial),
    rule(rf"(?P<number>[IVXLCDM]{{1,9}})(?![{LETTER}0-9'’.-]|\.[A-Z])", _roman),
    rule(r"(?P<number>[IVX]{1,9})(?=\.(?:\s|$))", _roman),
    rule(rf"(?P<letters>[A-ZÀ-ÖØ-Þ]{{2,20}})(?P<more>['’]s|s)?(?![{LETTER}0-9'’])", _acronym),
    rule(rf"[{LETTER}]*[a-zà-öø-ÿ][A-Z][{LETTER}]*(?:['’]s)?(?![{LETTER}0-9])", _camel),
)

"""Words of one spelling and several sounds: which it is, by the words on either side."""

from __future__ import annotations

from collections.abc import Callable

from . import lexicon
from .phonemes import is_vowel
from .rules import words

Phonemes = tuple[str, ...]

_VERBAL = words(
    "to will would can could shall should may might must i you we they who don't didn't doesn't won't can't "
    "cannot not let's let please i'll you'll we'll they'll he'll she'll never always did do does"
)
_NOMINAL = words(
    "a an the this that these those my your his her its our their of in on no any each every some another "
    "first last new old great good bad same one two three with for from under world"
)
_PERFECT = words("have has had i've we've you've they've was were been be being is are having")
_BY_STRESS = words(
    "record present object subject project permit conduct contract contrast convert desert insult protest "
    "rebel refuse suspect conflict content export import produce progress perfect address attribute combat "
    "compound console digest discharge escort exploit extract incline increase decrease insert invite recall "
    "refund reject relapse segment survey transfer transport update upgrade"
)
_BY_VOICE = words("use close excuse house abuse")
_BY_VOWEL = words(
    "separate estimate graduate moderate alternate deliberate duplicate appropriate associate advocate "
    "coordinate delegate elaborate intimate initiate articulate approximate aggregate animate"
)


def in_context(word: str, before: str, after: str) -> Phonemes | None:
    """Which of its pronunciations a word has between its neighbours; None where the usual one will do."""
    if word == "read":
        return ("R", "EH1", "D") if before in _PERFECT else ("R", "IY1", "D")
    if word == "live":
        return (
            ("L", "AY1", "V")
            if before in ("a", "the", "is", "go", "goes", "went", "our", "this")
            else ("L", "IH1", "V")
        )
    if word == "lead":
        return ("L", "EH1", "D") if after in ("pipe", "pipes", "paint", "poisoning", "pencil") else ("L", "IY1", "D")
    if word == "wind":
        return ("W", "AY1", "N", "D") if after in ("up", "down") and before in _VERBAL else ("W", "IH1", "N", "D")
    if word == "a":
        return ("AH0",)
    return _by_kind(word, before, after)


def _by_kind(word: str, before: str, after: str) -> Phonemes | None:
    """Noun or verb: REcord and reCORD, the use and to use, an estimate and to estimate."""
    verb = before in _VERBAL
    if not (verb or before in _NOMINAL or (word == "close" and after == "to")):
        return None
    if word in _BY_STRESS:
        return _choose(word, lambda said: next(each[-1] for each in said if is_vowel(each)) != "1", verb)
    if word in _BY_VOICE:
        return _choose(word, lambda said: said[-1] == "Z", verb and not (word == "close" and after == "to"))
    if word in _BY_VOWEL:
        return _choose(word, lambda said: said[-2].startswith("EY"), verb)
    return None


def _choose(word: str, verbal: Callable[[Phonemes], bool], verb: bool) -> Phonemes | None:
    return next((each for each in lexicon.pronunciations(word) if verbal(each) == verb), None)

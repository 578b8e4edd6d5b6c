"""Phonemes of more than a hundred languages by eSpeak NG, for models that read them. It is optional and never imported unasked.

eSpeak NG is under the GPL: nothing here needs it but `phonemes`. It is taken from the package espeakng-loader (pip install
"aigc-sdk-tts[espeak]"), or else is the program `espeak-ng` of the system.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TypeAlias

from aigc_sdk import runtime
from aigc_sdk.errors import MissingDependency, OptionError

Speller: TypeAlias = Callable[[str, str], str]
"""From a text without marks, and a language, to its phonemes in IPA."""

LANGUAGE = re.compile(r"[a-z]{2,4}(-[a-z0-9]+)*")
_CLOSING, _OPENING = (
    r";:,.!?\u2026\u2014\"'\u00bb\u201d)}\]\u3002\uff0c\uff1f\uff01",
    r"\u00a1\u00bf\"\u00ab\u201c({\[\u2014",
)
_MARKS = re.compile(rf"(\s*[{_CLOSING}]+(?:\s+|$)|(?:^|\s+)[{_OPENING}]+\s*)")
_SYNCHRONOUS, _UTF8, _IPA = (
    2,
    1,
    2,
)  # numbers of speak_lib.h: espeakINITIALIZE's output, espeakCHARS_UTF8, the mode of phonemes


def phonemes(text: str, language: str = "en-us") -> str:
    """A text in IPA, with stress, and with its marks where they were. Raises OptionError and MissingDependency.

    language: eSpeak NG's name of one, such as "de", "fr-fr" or "cmn"; `espeak-ng --voices` lists them.
    """
    if not LANGUAGE.fullmatch(language):
        raise OptionError(f"language={language!r} is no name of a language, such as 'en-us' or 'de'", field="language")
    spell = speller()
    parts = _MARKS.split(text)  # what is between the marks, and every second one marks
    said = [
        part if index % 2 else _joined(spell(part, language)) if part.strip() else ""
        for index, part in enumerate(parts)
    ]
    return re.sub(r"\s+", " ", "".join(said)).strip()


@cache
def speller() -> Speller:
    """eSpeak NG, wherever it is. Raises MissingDependency."""
    if find_spec("espeakng_loader") is not None:
        return _Library()
    program = shutil.which("espeak-ng")
    if program is None:
        raise MissingDependency(
            'phonemes of other languages need eSpeak NG: pip install "aigc-sdk-tts[espeak]", or install espeak-ng by your '
            "system's packages",
            name="espeakng_loader",
        )
    return lambda text, language: _by_program(program, text, language)


def _by_program(program: str, text: str, language: str) -> str:
    done = subprocess.run(
        [program, "-q", "--ipa", "-b", "1", "-v", language, "--stdin"],
        input=text,
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise _unknown(language)
    return done.stdout


class _Voice(ctypes.Structure):
    """espeak_VOICE of speak_lib.h, as far as it is read here."""

    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p))


class _Library:
    """eSpeak NG's library in this process; it is one state, so that one call is made at a time."""

    def __init__(self) -> None:
        loader = runtime.require("espeakng_loader", '"aigc-sdk-tts[espeak]"', "phonemes of other languages")
        self._lock = threading.Lock()
        self._library = ctypes.CDLL(loader.get_library_path())
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, loader.get_data_path().encode(), 0) < 0:
            raise MissingDependency(
                "eSpeak NG of espeakng-loader does not start; install it again", name="espeakng_loader"
            )
        self._voices = self._listed()

    def __call__(self, text: str, language: str) -> str:
        if language not in self._voices:
            raise _unknown(language)
        with self._lock:
            self._library.espeak_SetVoiceByName(self._voices[language])
            rest, found = ctypes.c_char_p(text.replace("\0", " ").encode()), []
            while rest.value:  # a clause at a time; the pointer is moved on, and is null at the end
                found.append(self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA).decode())
        return " ".join(found)

    def _listed(self) -> dict[str, bytes]:
        """The languages, and what the library calls their voices."""
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        found: dict[str, bytes] = {}
        voices, place = self._library.espeak_ListVoices(None), 0
        while voices[place]:  # a null pointer ends the list
            voice = voices[place].contents
            found.setdefault(voice.languages[1:].decode(), voice.identifier)  # the first byte is a priority
            place += 1
        return found


def _joined(said: str) -> str:
    return " ".join(said.replace("_", "").split())


def _unknown(language: str) -> OptionError:
    return OptionError(
        f"language={language!r}: eSpeak NG has no such language; `espeak-ng --voices` lists them", field="language"
    )

# ruff: noqa: RUF001
"""Phonemes of other languages, by eSpeak NG where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from aigc_sdk.errors import MissingDependency, OptionError
from aigc_sdk_tts import espeak

SPELLERS: dict[str, Any] = {}
if find_spec("espeakng_loader") is not None:
    SPELLERS["library"] = espeak._Library
if (PROGRAM := shutil.which("espeak-ng")) is not None:
    SPELLERS["program"] = lambda: lambda text, language: espeak._by_program(str(PROGRAM), text, language)


@pytest.fixture(params=SPELLERS or [pytest.param("none", marks=pytest.mark.skip("eSpeak NG is not installed"))])
def speller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = SPELLERS[request.param]()
    monkeypatch.setattr(espeak, "speller", lambda: made)
    return made


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("Hello world", "en-us", "həlˈoʊ wˈɜːld"),
        ("Hello, world! Is it so?", "en-us", "həlˈoʊ, wˈɜːld! ɪz ɪt sˈoʊ?"),
        ("Guten Tag, wie geht's?", "de", "ɡˈuːtən tˈɑːk, viː ɡˈeːts?"),
        ("Hola (amigo).", "es", "ˈola (amˈiɣo)."),
        ("3.5", "en-us", "θɹˈiː pɔɪnt fˈaɪv"),
        ("...", "de", "..."),
        ("", "de", ""),
    ],
)
def test_a_text_is_spelled_in_phonemes_and_keeps_its_marks(speller: Any, text: str, language: str, wanted: str) -> None:
    assert espeak.phonemes(text, language) == wanted


def test_a_language_that_is_not_there_is_refused(speller: Any) -> None:
    with pytest.raises(OptionError, match="eSpeak NG has no such language"):
        espeak.phonemes("hello", "xx")


@pytest.mark.parametrize("language", ["", "-h", "en us", "../en", "EN", "en\n"])
def test_what_is_no_language_at_all_is_refused_before_anything_runs(language: str) -> None:
    with pytest.raises(OptionError, match="is no name of a language"):
        espeak.phonemes("hello", language)


def test_without_espeak_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    espeak.speller.cache_clear()
    try:
        with pytest.raises(MissingDependency, match=r"aigc-sdk-tts\[espeak\]"):
            espeak.phonemes("hello")
    finally:
        espeak.speller.cache_clear()


def test_nothing_of_it_is_imported_unasked() -> None:
    program = """
import sys
import aigc_sdk
aigc_sdk.load("tts", device="cpu").generate("Hello.", seed=0)
sys.exit("espeakng_loader" in sys.modules or "aigc_sdk_tts.espeak" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0

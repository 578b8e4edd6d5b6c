"""The sentences with players that the documentation's page about the voice shows."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from aigc_sdk import Audio, media

SCRIPT = Path(__file__).parents[3] / "docs" / "listen.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def shown(folder: Path) -> str:
    return str(runpy.run_path(str(SCRIPT))["sections"](folder))


def test_every_sample_has_a_player_and_its_sound_beside_the_page(shown: str, folder: Path) -> None:
    sounds = re.findall(r'<audio [^>]*src="\{media\}/([^"]+)"', shown)
    lengths = [float(each) for each in re.findall(r"<small>([\d.]+) s", shown)]
    assert len(sounds) == len(lengths) == len(runpy.run_path(str(SCRIPT))["SAMPLES"])
    for sound, length in zip(sounds, lengths, strict=True):
        said = media.read(folder / sound)
        assert isinstance(said, Audio)
        assert said.duration == pytest.approx(length, abs=0.2)


def test_words_have_their_times_in_order_and_within_the_sound(shown: str) -> None:
    for section in shown.split("<section")[1:]:
        times = re.findall(r'data-start="([\d.]+)" data-end="([\d.]+)"', section)
        flat = [float(each) for pair in times for each in pair]
        [length] = re.findall(r"<small>([\d.]+) s", section)
        assert flat
        assert flat == sorted(flat)
        assert flat[-1] <= float(length) + 0.01


def test_nothing_comes_from_elsewhere(shown: str) -> None:
    assert all(each.startswith("{media}/") for each in re.findall(r'(?:src|href)="([^"]*)"', shown))
    assert not re.search(r"https?:|<link|@import|url\(", shown)

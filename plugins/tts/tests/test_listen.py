"""The page of the documentation with a player."""

from __future__ import annotations

import base64
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from aigc_sdk import media

SCRIPT = Path(__file__).parents[3] / "docs" / "listen.py"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    to = tmp_path_factory.mktemp("docs") / "build" / "listen.html"
    subprocess.run([sys.executable, str(SCRIPT), str(to)], check=True, capture_output=True)
    return to.read_text(encoding="utf-8")


def test_every_sample_has_a_player_with_its_sound_in_the_page(page: str, tmp_path: Path) -> None:
    sounds = re.findall(r'<audio [^>]*src="data:audio/mpeg;base64,([^"]+)"', page)
    lengths = [float(each) for each in re.findall(r"words in ([\d.]+) s", page)]
    assert len(sounds) == len(lengths) == len(runpy.run_path(str(SCRIPT))["SAMPLES"])
    for index, (sound, length) in enumerate(zip(sounds, lengths, strict=True)):
        file = tmp_path / f"{index}.mp3"
        file.write_bytes(base64.b64decode(sound))
        assert media.read(file).duration == pytest.approx(length, abs=0.2)  # type: ignore[union-attr]


def test_words_have_their_times_in_order_and_within_the_sound(page: str) -> None:
    for section in page.split("<section>")[1:]:
        times = re.findall(r'data-start="([\d.]+)" data-end="([\d.]+)"', section)
        flat = [float(each) for pair in times for each in pair]
        [length] = re.findall(r"words in ([\d.]+) s", section)
        assert flat
        assert flat == sorted(flat)
        assert flat[-1] <= float(length) + 0.01


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert all(each.startswith("data:") for each in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert not re.search(r"https?:|<link|@import|url\(", page)
    assert len(page) < 2_000_000

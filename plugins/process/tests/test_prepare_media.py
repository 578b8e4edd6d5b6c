"""Cleaning pictures, sounds and films: each fault is told from the others, and good ones stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest

from aigc_sdk import Artifact, Audio, Image, Video
from aigc_sdk.errors import OptionError
from aigc_sdk_process import prepare
from aigc_sdk_process.prepare import films, pictures, sounds


def reasons(clean: Callable[..., Any], given: dict[str, Artifact], **rules: object) -> dict[str, str]:
    """By name, "" for what stays."""
    journal = prepare.Journal()
    kept = [item.id for item in clean([prepare.Item(*pair) for pair in given.items()], journal, **rules)]
    return dict.fromkeys(kept, "") | {drop.id: drop.reason for drop in journal.drops}


def photograph() -> Image:
    return Image(pytest.importorskip("sklearn.datasets").load_sample_image("china.jpg")[:200, :300].copy())


def test_pictures_are_judged() -> None:
    good = photograph()
    blurred = Image.from_pil(good.to_pil().filter(PIL.ImageFilter.GaussianBlur(6)))
    given = {
        "good": good,
        "grey": Image(np.full((50, 50, 3), 127, np.uint8)),
        "blurred": blurred,
        "small": Image(good.pixels[:8, :8]),
        "strip": Image(good.pixels[:20]),
    }
    found = reasons(prepare.clean_pictures, given, min_side=16)
    assert found == {
        "good": "",
        "grey": "solid colour",
        "blurred": "blurred",
        "small": "too small",
        "strip": "too long",
    }
    assert pictures.sharpness(blurred.pixels) < 10 < 100 < pictures.sharpness(good.pixels)
    assert reasons(prepare.clean_pictures, {"good": good}, max_side=250) == {"good": "too large"}


def tone(seconds: float = 1.0, level: float = 0.3, rate: int = 16_000) -> Audio:
    times = np.arange(round(seconds * rate)) / rate
    return Audio((level * np.sin(2 * np.pi * 440 * times)).astype(np.float32)[None], sample_rate=rate)


def test_sounds_are_judged() -> None:
    good = tone()
    half = Audio(np.pad(good.samples, ((0, 0), (0, 100_000))), sample_rate=16_000)
    given = {
        "good": good,
        "silent": Audio(np.zeros((1, 16_000), np.float32), sample_rate=16_000),
        "mostly silent": half,
        "clipped": Audio((good.samples * 6).clip(-1, 1), sample_rate=16_000),
        "short": tone(0.05),
        "long": tone(12.0),
        "quiet": tone(level=0.003),
    }
    found = reasons(prepare.clean_sounds, given, max_seconds=10.0, min_loudness=-50.0)
    assert found == {
        "good": "", "silent": "silent", "mostly silent": "silent", "clipped": "clipped", "short": "too short",
        "long": "too long", "quiet": "too quiet",
    }  # fmt: skip
    assert reasons(prepare.clean_sounds, {"good": good}, max_loudness=-20.0) == {"good": "too loud"}


def test_what_is_measured_of_sounds_is_what_was_put_in() -> None:
    third = np.concatenate([np.zeros(4800), np.full(11_200, 0.5)]).astype(np.float32)[None]
    assert sounds.silence(Audio(third, sample_rate=16_000)) == pytest.approx(0.3)
    peaks = np.zeros((1, 1000), np.float32)
    peaks[0, [10, 20, 21, 30, 31, 32]] = 1
    assert sounds.clipped(Audio(peaks, sample_rate=8000)) == pytest.approx(0.003)  # only three in a row
    assert sounds.silence(Audio(np.zeros((1, 0), np.float32), sample_rate=8000)) == 1


def shots(*colours: int, length: int = 10, seed: int = 0) -> Video:
    """Shots of moving noise over a colour each, cut hard."""
    rng = np.random.default_rng(seed)
    parts = []
    for colour in colours:
        texture = rng.integers(0, 60, (48, 64 + length, 3)) + colour
        parts += [texture[:, step : step + 64].clip(0, 255).astype(np.uint8) for step in range(length)]
    sound = Audio(np.zeros((1, 800 * len(parts)), np.float32), sample_rate=8000)
    return Video(np.stack(parts), fps=10, sound=sound)


def test_cuts_are_found_where_they_are_and_fades_are_none() -> None:
    assert films.cuts(shots(0, 120, 60, 180)) == [10, 20, 30]
    assert films.cuts(shots(100)) == []
    one, two = shots(0, length=1).frames[0].astype(float), shots(180, length=1).frames[0].astype(float)
    fade = np.stack([(one + (two - one) * step / 20).astype(np.uint8) for step in range(21)])
    assert films.cuts(Video(fade, fps=10)) == []
    assert films.cuts(Video(one.astype(np.uint8)[None], fps=10)) == []


def test_cuts_survive_coding(tmp_path: Any) -> None:
    shots(0, 120, 60, 180).save(tmp_path / "a.mp4")
    [item] = prepare.read(tmp_path, prepare.Journal())
    assert isinstance(item.artifact, Video)
    assert films.cuts(item.artifact) == [10, 20, 30]


def test_shots_become_items_with_their_parts_of_the_sound() -> None:
    film = replace(shots(0, 120), fps=10)
    found = list(prepare.split_shots([prepare.Item("f", film, {"label": "x"})]))
    assert [(each.id, each.facts) for each in found] == [
        ("f#0", {"label": "x", "film": "f", "begins": 0.0}),
        ("f#1", {"label": "x", "film": "f", "begins": 1.0}),
    ]
    assert all(isinstance(each.artifact, Video) and each.artifact.sound for each in found)
    assert np.array_equal(np.concatenate([each.artifact.frames for each in found]), film.frames)  # type: ignore[attr-defined]
    assert sum(each.artifact.sound.duration for each in found) == film.sound.duration  # type: ignore[attr-defined,union-attr]
    assert len(list(prepare.split_shots([prepare.Item("f", film)], min_seconds=5))) == 1


def test_films_are_judged() -> None:
    good = shots(100, length=20)
    picture = good.frames[:1].repeat(20, axis=0)
    given = {
        "good": good,
        "still": Video(picture, fps=10),
        "black": Video(np.concatenate([picture[:5], np.full((15, 48, 64, 3), 16, np.uint8)]), fps=10),
        "short": Video(good.frames[:2], fps=10),
        "empty": Video(good.frames[:0], fps=10),
        "cut": shots(0, 120, 60),
    }
    found = reasons(prepare.clean_films, given, min_seconds=0.5, max_shots=1)
    assert found == {
        "good": "", "still": "still", "black": "black", "short": "too short", "empty": "too short", "cut": "several shots",
    }  # fmt: skip
    assert reasons(prepare.clean_films, {"good": good}, min_side=100) == {"good": "too small"}


@pytest.mark.parametrize(
    ("clean", "rules", "field"),
    [
        (prepare.clean_pictures, {"min_side": -1}, "min_side"),
        (prepare.clean_pictures, {"min_side": 9, "max_side": 8}, "min_side"),
        (prepare.clean_pictures, {"sharp": 3}, "sharp"),
        (prepare.clean_sounds, {"max_silence": 2}, "max_silence"),
        (prepare.clean_sounds, {"min_seconds": 9.0, "max_seconds": 8.0}, "min_seconds"),
        (prepare.clean_sounds, {"min_loudness": math.nan}, "min_loudness"),
        (prepare.clean_films, {"max_shots": 0}, "max_shots"),
        (prepare.clean_films, {"min_seconds": "1"}, "min_seconds"),
        (prepare.split_shots, {"min_seconds": -1}, "min_seconds"),
    ],
)
def test_rules_that_are_none_are_refused_at_the_call(clean: Any, rules: dict[str, object], field: str) -> None:
    with pytest.raises(OptionError) as caught:
        clean([], **rules) if clean is prepare.split_shots else clean([], prepare.Journal(), **rules)
    assert caught.value.field == field

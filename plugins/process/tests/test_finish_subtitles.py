"""Subtitles: timed by what is spoken, read by FFmpeg, and seen in the frames."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import aigc_sdk
from aigc_sdk import Audio, Video
from aigc_sdk.errors import InputError, MediaError
from aigc_sdk_process.finish import subtitles
from aigc_sdk_process.finish.subtitles import Cue

SPOKEN = 'Dr. Lee said: "It is late." Then, after a long and very quiet evening in the old house, he went home; nobody saw him.'


@pytest.fixture(scope="module")
def speech() -> Audio:
    [made] = aigc_sdk.load("tts", device="cpu").generate(SPOKEN, seed=0)
    return made  # type: ignore[no-any-return]


def silent(info: dict[str, Any]) -> Audio:
    return Audio(np.zeros((1, 16_000), np.float32), sample_rate=16_000, info=info)


def read_by_ffmpeg(text: str, form: str) -> list[tuple[float, float, str]]:
    with av.open(io.BytesIO(text.encode()), format=form) as file:
        [stream] = file.streams.subtitles
        return [
            (float(each.pts * each.time_base), float(each.duration * each.time_base), bytes(each).decode())
            for each in file.demux(stream)
            if each.size
        ]


def test_cues_follow_the_speech_and_hold_every_sign_of_its_text(speech: Audio) -> None:
    lines = subtitles.cues(speech, SPOKEN, characters=42)
    assert " ".join(each.text for each in lines) == SPOKEN
    assert lines[0].text == 'Dr. Lee said: "It is late."'
    assert all(len(each.text) <= 42 and each.end - each.start <= 5 for each in lines)
    words = speech.info["words"]
    assert lines[0].start == words[0]["start"]
    assert lines[-1].end == words[-1]["end"] <= speech.duration
    starts = {word["start"] for word in words}
    assert all(each.start in starts for each in lines)


def test_a_line_that_is_too_long_ends_at_a_comma(speech: Audio) -> None:
    lines = subtitles.cues(speech, SPOKEN, characters=70)
    assert "in the old house," in [each.text[-17:] for each in lines]


def test_without_the_text_the_words_stand_alone_and_sentences_are_taken_as_they_are() -> None:
    words = [{"text": text, "start": index, "end": index + 0.9} for index, text in enumerate(("one", "two", "three"))]
    assert subtitles.cues(silent({"words": words}), longest=2.0) == [Cue(0, 1.9, "one two"), Cue(2, 2.9, "three")]
    sentences = [{"text": "One.", "start": 0.0, "end": 0.5}]
    assert subtitles.cues(silent({"sentences": sentences})) == [Cue(0.0, 0.5, "One.")]


@pytest.mark.parametrize("form", ["srt", "webvtt"])
def test_ffmpeg_reads_the_times_that_were_written(form: str) -> None:
    lines = [Cue(0.05, 1.5, "One."), Cue(1.5, 3661.25, "Two\nlines."), Cue(3700.0, 3700.5, "Three.")]
    written = subtitles.srt(lines) if form == "srt" else subtitles.vtt(lines)
    found = read_by_ffmpeg(written, form)
    assert [(start, pytest.approx(start + length), text) for start, length, text in found] == [
        (cue.start, cue.end, cue.text) for cue in lines
    ]


def test_markup_in_a_text_stays_text_in_webvtt() -> None:
    assert "&lt;b&gt; &amp;" in subtitles.vtt([Cue(0, 1, "<b> &")])


def test_the_suffix_names_the_format(tmp_path: Path) -> None:
    place = subtitles.save([Cue(0, 1, "One.")], tmp_path / "film.vtt")
    assert place.read_text().startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nOne.\n")
    with pytest.raises(MediaError, match=r"written as \.srt or \.vtt"):
        subtitles.save([Cue(0, 1, "One.")], tmp_path / "film.txt")


def test_a_burnt_in_line_is_seen_while_it_is_said_and_at_no_other_time() -> None:
    film = Video(np.full((20, 90, 160, 3), 128, np.uint8), fps=10)
    made = subtitles.burn(film, [Cue(0.5, 1.2, "Hello, world"), Cue(1.5, 1.6, " ")])
    changed = [bool((made.frames[index] != 128).any()) for index in range(20)]
    assert changed == [False] * 5 + [True] * 7 + [False] * 8
    assert made.frames[5].max() > 240  # white letters
    assert made.frames[5].min() < 60  # on a shade
    assert (made.frames[5, :45] == 128).all()  # in the lower half


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([(1.0, 0.5, "x")], "ends after it starts"),
        ([(0, 2, "x"), (1, 3, "y")], "starts after the one before ended"),
        ([(0, 1)], "start and end in seconds, and a text"),
        ([(0, 1, "a\n\nb")], "an empty line or an arrow"),
        ([("0", None, "x")], "a second"),
        ("0 1 x", "give a list of cues"),
    ],
)
def test_what_is_no_cue_is_refused(lines: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        subtitles.srt(lines)
    assert caught.value.field is not None


def test_letters_that_the_font_lacks_and_lines_that_do_not_fit_are_refused() -> None:
    film = Video(np.zeros((2, 90, 160, 3), np.uint8), fps=10)
    with pytest.raises(InputError, match="has no '中'; pass the path of a font"):
        subtitles.burn(film, [Cue(0, 1, "中文")])
    with pytest.raises(InputError, match=r"takes .* of 90 pixels"):
        subtitles.burn(film, [Cue(0, 1, "many words " * 20)], size=30)


def test_a_text_that_was_not_spoken_is_refused(speech: Audio) -> None:
    with pytest.raises(InputError, match="text is not what was spoken"):
        subtitles.cues(speech, SPOKEN.replace("Lee", "Kim"))

"""Subtitles of speech: SubRip and WebVTT, from the words' times that an Audio has in its `info`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import InputError

LONGEST, MOST = 4.0, 42  # seconds and characters of a line


def srt(speech: Audio) -> str:
    """The speech's subtitles as SubRip (.srt). Raises InputError for a sound without the words' times."""
    cues = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(speech), 1)
    ]
    return "\n".join(cues)


def vtt(speech: Audio) -> str:
    """The speech's subtitles as WebVTT (.vtt, W3C 2019). Raises InputError for a sound without the words' times."""
    cues = [f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n" for start, end, text in _cues(speech)]
    escaped = [each.replace("&", "&amp;").replace("<", "&lt;") for each in cues]
    return "\n".join(["WEBVTT\n", *escaped])


def _cues(speech: Audio) -> Iterator[tuple[float, float, str]]:
    """Lines of some words each: begin, end, text."""
    words = speech.info.get("words")
    if not words:
        raise InputError(
            "this sound has no words in its info; subtitles are made of what `generate` returns", field="speech"
        )
    line: list[dict[str, Any]] = []
    for word in words:
        if line and (_length(line) + 1 + len(word["text"]) > MOST or word["end"] - line[0]["start"] > LONGEST):
            yield _cue(line)
            line = []
        line.append(word)
    yield _cue(line)


def _cue(line: list[dict[str, Any]]) -> tuple[float, float, str]:
    return line[0]["start"], line[-1]["end"], " ".join(word["text"] for word in line)


def _length(line: list[dict[str, Any]]) -> int:
    return sum(len(word["text"]) for word in line) + len(line) - 1


def _clock(seconds: float, mark: str) -> str:
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"

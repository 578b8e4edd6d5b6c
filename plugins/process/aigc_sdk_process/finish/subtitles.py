"""Subtitles: cues timed by what was spoken, as SubRip and WebVTT beside a film, and burnt in."""

# ruff: noqa: RUF001 (these are the signs of several scripts)
from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from aigc_sdk import storage
from aigc_sdk.artifacts import Audio, Text, Video
from aigc_sdk.errors import InputError, MediaError, shown
from aigc_sdk_process.compose.record import recorded

from ._checks import colour as checked_colour
from ._checks import made, number, whole
from .lettering import blended, drawn, font_of
from .text import ends as text_ends

PAUSES = tuple(",;:，；：、")
CLOSERS = "\"'”’)]」』）"


class Cue(NamedTuple):
    """A line of subtitles: from second `start` to second `end`."""

    start: float
    end: float
    text: str


def cues(speech: Audio, text: Text | str | None = None, *, longest: float = 5.0, characters: int = 84) -> list[Cue]:
    """What is said when, in lines that end with a sentence, `longest` seconds or that many characters.

    speech: with `info["words"]`, each with `text`, `start` and `end`, as the tts backend gives it, or with such
    `info["sentences"]`, which are taken as they are. text: what was spoken, where the words say their place in it
    (`from`, `to`): then punctuation is kept. Raises InputError for a sound that does not say what is spoken.
    """
    if not isinstance(speech, Audio | Video):
        raise InputError(
            f"speech is a {type(speech).__name__}; give an Audio, or a Video with its info", field="speech"
        )
    number(longest, "longest", 0.1, 60, "seconds")
    whole(characters, "characters", 1, 1000, "characters of a cue")
    words, sentences = speech.info.get("words"), speech.info.get("sentences")
    if not words and not sentences:
        message = 'speech has neither info["words"] nor info["sentences"]; the tts backend\'s `generate` gives them'
        raise InputError(message, field="speech")
    if not words:
        return checked([(each["start"], each["end"], each["text"]) for each in sentences or ()])
    spoken = _written(words, None if text is None else str(text))
    return checked(list(_lines(words, spoken, longest, characters)))


def srt(lines: Sequence[Cue]) -> str:
    """Cues as SubRip (.srt). Raises InputError for what are no cues."""
    return "\n".join(
        f"{index}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n"
        for index, cue in enumerate(checked(lines), 1)
    )


def vtt(lines: Sequence[Cue]) -> str:
    """Cues as WebVTT (.vtt, W3C 2019). Raises InputError for what are no cues."""
    escaped = [cue._replace(text=html.escape(cue.text, quote=False)) for cue in checked(lines)]
    return "\n".join(
        ["WEBVTT\n", *(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{cue.text}\n" for cue in escaped)]
    )


def save(lines: Sequence[Cue], path: str | Path) -> Path:
    """Write .srt or .vtt, whole or not at all. Raises MediaError for another suffix, InputError, and DiskError."""
    place = Path(path)
    form = {".srt": srt, ".vtt": vtt}.get(place.suffix.lower())
    if form is None:
        raise MediaError(f"{place.name}: subtitles are written as .srt or .vtt")
    storage.write_file(place, form(lines).encode())
    return place


@recorded
def burn(
    film: Video,
    lines: Sequence[Cue],
    *,
    size: int | None = None,
    font: str | None = None,
    colour: tuple[int, int, int] = (255, 255, 255),
    shade: float = 0.6,
) -> Video:
    """The film with the cues drawn into its frames, at the bottom, on a shade of that darkness.

    size: height of the letters in pixels; None takes a fourteenth of the film's. font: a font file; None is Pillow's own,
    which has Latin letters. Raises InputError for letters that the font lacks, and cues that do not fit into the frame.
    """
    made(film, Video, "film")
    listed = checked(lines)
    height, width = film.frames.shape[1:3]
    letters = max(8, round(height / 14)) if size is None else whole(size, "size", 4, 2000, "pixels")
    face = font_of(letters, font)
    ink = checked_colour(colour, "colour")
    number(shade, "shade", 0, 1, "how dark the ground is")
    frames = film.to_numpy()
    margin = max(1, letters // 3)
    for cue in listed:
        if not cue.text.strip():
            continue
        mask = drawn(cue.text, face, width - 2 * margin)
        tall, wide = mask.shape[0] + 2 * margin, mask.shape[1] + 2 * margin
        if tall > height:
            message = f"size={letters}: the cue {shown(cue.text)} takes {tall} of {height} pixels; make letters or cues smaller"
            raise InputError(message, field="size")
        top, left = max(0, height - tall - margin), (width - wide) // 2
        first, last = (
            -(-round(second * film.fps * 1000) // 1000) for second in (cue.start, cue.end)
        )  # shown from its start on
        for frame in frames[first:last]:
            ground = frame[top : top + tall, left : left + wide]
            ground[:] = ground * (1 - shade) + 0.5
            inner = ground[margin : margin + mask.shape[0], margin : margin + mask.shape[1]]
            inner[:] = blended(inner, mask, ink)
    return Video(frames, fps=film.fps, sound=film.sound, sample=film.sample, info=film.info)


def checked(lines: Any) -> list[Cue]:
    """The cues in `lines`, in order and without overlap. Raises InputError."""
    if isinstance(lines, str) or not isinstance(lines, Sequence):
        raise InputError(f"lines is a {type(lines).__name__}; give a list of cues: start, end, text", field="lines")
    found: list[Cue] = []
    for index, each in enumerate(lines):
        where = f"lines[{index}]={shown(each)}"
        if not isinstance(each, list | tuple) or len(each) != 3 or not isinstance(each[2], str):
            raise InputError(f"{where}: a cue is start and end in seconds, and a text", field="lines")
        start = number(each[0], f"{where} start", 0, 360_000, "a second")
        end = number(each[1], f"{where} end", 0, 360_000, "a second")
        if end <= start or (found and start < found[-1].end - 1e-6):
            raise InputError(
                f"{where}: a cue ends after it starts, and starts after the one before ended", field="lines"
            )
        if "\n\n" in each[2] or "-->" in each[2]:
            raise InputError(
                f"{where}: an empty line or an arrow would end the cue in a file; leave it out", field="lines"
            )
        found.append(Cue(start, end, each[2]))
    return found


def _written(words: Sequence[Any], text: str | None) -> list[str]:
    """Each word with what stands behind it up to the next, and in front of the first."""
    if text is None or not all("from" in word and "to" in word for word in words):
        return [word["text"] for word in words]
    if words[-1]["to"] > len(text) or any(text[each["from"] : each["to"]] != each["text"] for each in words):
        raise InputError("text is not what was spoken: the words are not at their places in it", field="text")
    bounds = [
        0,
        *(_gap(text, one["to"], other["from"]) for one, other in pairwise(words)),
        len(text),
    ]
    return [" ".join(text[start:end].split()) for start, end in pairwise(bounds)]


def _gap(text: str, end: int, start: int) -> int:
    """Where, between two words, one's part ends: at the first space, so that an opening quote goes with what it opens."""
    return next((place for place in range(end, start) if text[place].isspace()), start)


def _lines(words: Sequence[Any], spoken: Sequence[str], longest: float, characters: int) -> Iterator[Cue]:
    """Cues that end with a sentence; one that is too long ends at the last comma of its second half, or between words."""
    sentence_ends, first = _last_words(spoken), 0
    while first < len(words):
        last = first + 1
        while last < len(words) and last not in sentence_ends:
            wide = len(" ".join(spoken[first : last + 1])) > characters
            if wide or words[last]["end"] - words[first]["start"] > longest:
                half = (first + last + 1) // 2
                last = next((place for place in range(last, half, -1) if _pauses(spoken[place - 1])), last)
                break
            last += 1
        yield Cue(words[first]["start"], words[last - 1]["end"], " ".join(spoken[first:last]))
        first = last


def _last_words(spoken: Sequence[str]) -> set[int]:
    """How many words there are up to the end of each sentence."""
    places = set(text_ends(" ".join(spoken)))
    found, place = set(), -1
    for index, word in enumerate(spoken, 1):
        place += 1 + len(word)
        if place in places:
            found.add(index)
    return found


def _pauses(word: str) -> bool:
    return word.rstrip(CLOSERS).endswith(PAUSES)


def _clock(seconds: float, mark: str) -> str:
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"

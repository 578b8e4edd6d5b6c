"""Bad calls: each is refused by a typed error that names field, value and remedy. More stand beside what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_sdk import Audio, Image, Video
from aigc_sdk.errors import InputError
from aigc_sdk_process.finish import (
    audio,
    image,
    loudness,
    markup,
    slides,
    soundtrack,
    subtitles,
    suggestions,
    text,
    video,
)

SOUND = Audio(np.full((1, 16_000), 0.1, np.float32), sample_rate=16_000)
SHORT = Audio(np.full((1, 1000), 0.1, np.float32), sample_rate=16_000)
MANY = Audio(np.full((7, 16_000), 0.1, np.float32), sample_rate=16_000)
EMPTY = Audio(np.zeros((1, 0), np.float32), sample_rate=16_000)
QUIET = Audio(np.zeros((1, 16_000), np.float32), sample_rate=16_000)
FILM = Video(np.zeros((10, 8, 12, 3), np.uint8), fps=10)
LARGE = Video(np.zeros((10, 16, 12, 3), np.uint8), fps=10)
BIG = Video(np.zeros((1, 200, 200, 3), np.uint8), fps=10)
SLOW = Video(np.zeros((10, 8, 12, 3), np.uint8), fps=5)
PICTURE = Image(np.zeros((8, 12, 3), np.uint8))
NONE: Any = None

CALLS: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: audio.trim(FILM), "sound", "sound is a Video; give an aigc_sdk.Audio"),  # type: ignore[arg-type]
    (lambda: audio.trim(EMPTY), "sound", "nothing to work on"),
    (lambda: audio.trim(QUIET), "below", "the whole sound is quieter; give a lower level"),
    (lambda: audio.trim(SOUND, below=3), "below", "give a level in dBFS, from -120 to 0"),
    (lambda: audio.trim(SOUND, keep=float("nan")), "keep", "keep=nan: give seconds of silence"),
    (lambda: audio.cut(SOUND, 0.5, 0.5), "end", "end=0.5 is not after start=0.5"),
    (lambda: audio.cut(SOUND, 2.0), "start", "start=2.0: give a second of it, from 0 to 1"),
    (lambda: audio.fade(SOUND, fade_in=2), "fade_in", "at most as long as the sound, from 0 to 1"),
    (lambda: audio.fade(SOUND, fade_in=True), "fade_in", "fade_in=True"),
    (lambda: audio.gate(SOUND, hold=-1), "hold", "hold=-1: give seconds, from 0 to 10"),
    (lambda: audio.resample(SOUND, 44_100.0), "sample_rate", "a whole number from 1000 to 384000"),  # type: ignore[arg-type]
    (lambda: audio.channels(MANY, 2), "count", "7 channels cannot become 2; mix them down to 1 first"),
    (lambda: audio.channels(SOUND, 3), "count", "the number of channels, a whole number from 1 to 2"),
    (lambda: audio.stretch(SOUND, 0), "factor", "factor=0: give times as long, from 0.25 to 4"),
    (lambda: audio.fit(SOUND, 2, policy="longer"), "policy", "use one of refuse, pad, trim, loop, stretch"),
    (lambda: audio.fit(SOUND, 0, policy="trim"), "seconds", "seconds=0: give a length in seconds"),
    (lambda: audio.fit(SOUND, 86_000, policy="loop"), NONE, "bytes of samples; the limit is"),
    (lambda: audio.mix(SOUND, SOUND, start=86_000), NONE, "bytes of samples; the limit is"),
    (lambda: audio.concatenate([]), "sounds", "sounds is empty; give one aigc_sdk.Audio at least"),
    (lambda: audio.concatenate(SOUND), "sounds", "give a list of aigc_sdk.Audio"),  # type: ignore[arg-type]
    (lambda: audio.concatenate([SOUND, PICTURE]), "sounds[1]", "sounds[1] is a Image"),  # type: ignore[list-item]
    (lambda: audio.concatenate([SOUND, SHORT], crossfade=0.5), "crossfade", "at most as long as each sound"),
    (lambda: audio.concatenate([SOUND, SOUND], crossfade=0.1, gap=0.1), "gap", "exclude each other"),
    (
        lambda: audio.mix(SOUND, Audio(SOUND.samples * 9, sample_rate=16_000), level=12, duck=0),
        "level",
        "lower `level`",
    ),
    (lambda: loudness.loudness(SHORT), "sound", "BS.1770 measures blocks of 0.4 s, so give a longer one"),
    (lambda: loudness.loudness(MANY), "sound", "sound has 7 channels; BS.1770 weighs 1, 2, 3, 4, 5, 6"),
    (lambda: loudness.normalized(QUIET), "sound", "sound is silence; no gain makes it louder"),
    (lambda: loudness.normalized(SOUND, 3), "target", "give a loudness in LUFS, from -70 to 0"),
    (lambda: loudness.normalized(SOUND, peaks="clip"), "peaks", "peaks='clip': use one of refuse, limit"),
    (lambda: video.cut(FILM, 0.0, 0.01), "end", "no frame begins from second 0 on; one lasts 0.100 s"),
    (lambda: video.concatenate([FILM, LARGE]), "films", "films[1] is 12x16, the first is 12x8"),
    (
        lambda: video.concatenate([FILM, SLOW]),
        "films",
        "films[1] has 5 frames per second, the first 10; use `interpolate`",
    ),
    (lambda: video.speed(FILM, 9), "factor", "factor=9: give times as fast, from 0.25 to 4"),
    (lambda: video.interpolate(FILM, 0), "fps", "fps=0: give frames per second"),
    (lambda: video.interpolate(FILM, 20, method="flow"), "method", "use one of repeat, blend, motion"),
    (lambda: video.interpolate(FILM, 20, method="motion"), "method", 'needs 32 a side; use "blend"'),
    (lambda: video.fit(BIG, 80_000, policy="loop"), NONE, "bytes of frames; the limit is"),
    (lambda: video.poster(FILM, 2.0), "at", "at=2.0: give a second of the film, from 0 to 1"),
    (lambda: slides.slideshow([], 3), "images", "images is empty"),
    (lambda: slides.slideshow([PICTURE], 0.001), "seconds", "of one frame per image at least"),
    (lambda: slides.slideshow([PICTURE], 2, size=(0, 9)), "size", "width and height in pixels, a whole number"),
    (lambda: slides.slideshow([PICTURE], 2, filter="cubic"), "filter", "Did you mean 'bicubic'?"),
    (lambda: slides.slideshow([PICTURE], 2, background=(0, 0, 300)), "background", "each from 0 to 255"),
    (lambda: slides.animation([PICTURE, Image(np.zeros((4, 4, 3), np.uint8))], 5), "images", "bring them to one size"),
    (lambda: soundtrack.with_sound(FILM, SOUND, leads="voice"), "leads", "use one of film, sound"),
    (lambda: soundtrack.with_sound(FILM, MANY), "channels", "films hold 1 or 2; pass channels=1"),
    (lambda: soundtrack.with_sound(FILM, SOUND, sample_rate=10), "sample_rate", "from 8000 to 96000"),
    (lambda: subtitles.cues(SOUND), "speech", 'neither info["words"] nor info["sentences"]'),
    (lambda: subtitles.cues("hello"), "speech", "speech is a str; give an Audio"),  # type: ignore[arg-type]
    (lambda: subtitles.burn(FILM, [(0, 1, "a")], font="no.ttf"), "font", "there is no such file"),  # type: ignore[list-item]
    (lambda: image.blur(PICTURE, -1), "radius", "radius=-1: give a standard deviation in pixels"),
    (lambda: image.resize(PICTURE, 0, 5), "width", "width=0: give pixels, a whole number from 1"),
    (lambda: image.resize(PICTURE, 5, 5, filter="sinc"), "filter", "use one of nearest, box, bilinear"),
    (lambda: image.tile(image.resize(PICTURE, 20, 20), 1000, 1000), "columns", "the limit is 16384 a side"),
    (lambda: image.colour_temperature(PICTURE, 100), "kelvin", "give a colour temperature in kelvin, from 1667"),
    (lambda: image.watermark(PICTURE, " "), "text", "give the words of the watermark"),
    (lambda: image.watermark(PICTURE, "Demo", size=100), "size", "use smaller letters"),
    (lambda: image.denoise(PICTURE, method="wavelet"), "method", "use one of median, bilateral"),
    (lambda: image.upscale(PICTURE, "big"), "model", "model is a str; give a Generator or a function"),  # type: ignore[arg-type]
    (lambda: text.tidy(5), "text", "text is a int; give a Text or a str"),  # type: ignore[arg-type]
    (lambda: text.joined("ab"), "texts", "give one at least"),
    (lambda: text.without_repeats("a", likeness=0.1), "likeness", "likeness=0.1: give a share, from 0.5 to 1"),
    (lambda: suggestions.spelling("a", language="tlh"), "language", "use one of en, es"),
    (lambda: suggestions.spelling("a", known="word"), "known", "give a list of words"),
    (lambda: markup.safe_html("a", "rst"), "syntax", "use one of plain, markdown, html"),
]


@pytest.mark.parametrize("index", range(len(CALLS)))
def test_a_bad_call_is_refused_by_name(index: int) -> None:
    call, field, words = CALLS[index]
    with pytest.raises(InputError) as caught:
        call()
    assert words in str(caught.value)
    assert caught.value.field == field


def test_a_file_that_is_no_font_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.ttf").write_bytes(b"no font")
    with pytest.raises(InputError, match="it is no font that can be read"):
        image.watermark(PICTURE, "Demo", font=str(tmp_path / "letters.ttf"))

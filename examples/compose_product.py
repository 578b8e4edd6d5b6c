"""A product film: pictures with a watermark, narration over music that makes way for it, subtitles, a poster.

    python examples/compose_product.py [PICTURE ...] [--voice FOLDER] [--to FOLDER]

The text is written by a person, because it is what is promised to a customer. Without pictures of yours it shows digits,
which is what the default model of pictures draws. The music is three notes that are computed here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import aigc_sdk
from aigc_sdk import Audio, Image, Text
from aigc_sdk_process import compose
from aigc_sdk_process.finish import audio, image, loudness, slides, soundtrack, subtitles, suggestions, video

SCRIPT = Text("Meet the little lamp. It folds flat, weighs 90 grams, and shines for 12 hours. Order yours today.")
SIZE, FPS = (320, 180), 25


def main() -> None:
    """Write product.mp4, its subtitles in two formats, and poster.jpg."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--voice", default="tts", help="a backend or a folder of a model of speech")
    parser.add_argument("--to", type=Path, default=Path("runs/product"))
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)

    [speech] = compose.generate(aigc_sdk.load(asked.voice), SCRIPT, seed=0)
    voice = loudness.normalized(speech, -18.0, peaks="limit")
    music = chord(voice.sample_rate)
    bed = audio.fade(audio.fit(music, voice.duration + 1.5, policy="loop"), fade_in=0.5, fade_out=1.0)
    both = audio.channels(audio.mix(voice, bed, level=-14.0, duck=10.0, start=0.5), 2)
    sound = loudness.normalized(both, -16.0, peaks="limit")

    pictures = [opened(each) for each in asked.pictures] or aigc_sdk.load("gan").generate(n=4, seed=3)
    signed = [image.watermark(image.resize(each, *SIZE, filter="bicubic"), "little lamp") for each in pictures]
    show = slides.slideshow(signed, sound.duration, size=SIZE, fps=FPS, zoom=1.1)
    cues = subtitles.cues(sound)
    film = subtitles.burn(soundtrack.with_sound(show, sound, sample_rate=48_000), cues)

    place = film.save(asked.to / "product.mp4")
    for suffix in ("srt", "vtt"):
        subtitles.save(cues, asked.to / f"product.{suffix}")
    video.poster(film).save(asked.to / "poster.jpg")
    doubts = [each.found for each in (*suggestions.spelling(SCRIPT), *suggestions.style(SCRIPT))]
    print(
        f"{place}: {film}, {film.duration:.2f} s, {loudness.loudness(sound):.1f} LUFS; to look at: {doubts or 'nothing'}"
    )
    print(compose.replay(place, given=[music, SCRIPT, *pictures]))


def chord(sample_rate: int, seconds: float = 4.0) -> Audio:
    """Three notes that swell and fade: A3, C sharp 4, E4."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    notes = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220.0, 277.18, 329.63))
    return Audio((notes * np.sin(np.pi * time / seconds) / 6).astype(np.float32)[None], sample_rate=sample_rate)


def opened(path: Path) -> Image:
    """A picture of yours."""
    found = aigc_sdk.read(path)
    if not isinstance(found, Image):
        raise SystemExit(f"{path} holds a {found.kind}, no picture")
    return found


if __name__ == "__main__":
    main()

"""A prompt becomes a narrated film with subtitles: write, judge, correct, speak, show, subtitle, put together, replay.

    python examples/narrated_film.py
    python examples/narrated_film.py "And it came to pass" --to runs/mine
    python examples/narrated_film.py "Once upon a time" --writer ~/models/gpt2-large --voice ~/models/vits

Each model is a backend's name or a folder. The default ones come with the packages, need no network and are small: the
writer knows the King James Bible alone, and what moves is handwritten digits, whatever the story. What was made lies in
the folder's cache, so that a second run makes only what changed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import av

import aigc_sdk
from aigc_sdk import Audio, Image, Text, Video
from aigc_sdk.errors import InputError
from aigc_sdk_process import compose
from aigc_sdk_process.finish import audio, loudness, slides, soundtrack, subtitles, suggestions, text, video

PROMPT = "In the beginning"
SIZE = (384, 216)  # pixels
FPS = 25


def main() -> None:
    """Make the film, look at it with other eyes, and make it again from its own file."""
    asked = arguments()
    folder: Path = asked.to
    folder.mkdir(parents=True, exist_ok=True)
    cache = compose.Cache(folder / "cache")
    started = time.monotonic()

    story = write(cache, asked.writer, asked.prompt)
    print(f"{story}\n")
    speech = speak(cache, asked.voice, story)
    cues = subtitles.cues(speech, story)
    pictures = show(cache, asked.pictures, speech.duration, len(cues))
    film = soundtrack.with_sound(pictures, speech, leads="sound", policy="stretch")
    film = subtitles.burn(film, cues)

    place = film.save(folder / "film.mp4")
    subtitles.save(cues, folder / "film.srt")
    subtitles.save(cues, folder / "film.vtt")
    video.poster(film).save(folder / "poster.png")
    cache.prune()
    print(
        f"{place}: {time.monotonic() - started:.1f} s; made {cache.made or 'nothing'}, kept {cache.kept or 'nothing'}"
    )
    for line in facts(place, speech):
        print(line)
    if not asked.no_replay:
        print(f"replayed from the file alone: {compose.replay(place)}")


def write(cache: compose.Cache, writer: str, prompt: str) -> Text:
    """The best of several drafts by a judge: without what is unfinished or said twice, and typeset."""
    model = aigc_sdk.load(writer)
    drafts = cache.generate(model, prompt, n=8, seed=7, max_new_tokens=60)
    whole = [each for draft in drafts if (each := corrected(prompt, draft)) is not None]
    if not whole:
        raise SystemExit("no draft has a sentence that ends; ask for another prompt")
    best = compose.pick(whole, aigc_sdk.evaluator("gpt2"), by="bits_per_byte")
    judged = best.info["judged"]
    print(
        f"{len(whole)} of {len(drafts)} drafts end a sentence; the chosen one has {judged['value']:.2f} bits per byte"
    )
    for each in [*suggestions.spelling(best), *suggestions.style(best)]:
        print(f"  look at {each.found!r} (character {each.start}): {each.reason} {', '.join(each.instead)}")
    return best


def corrected(prompt: str, draft: Text) -> Text | None:
    """A draft ready to be read out; None where no sentence of it ends."""
    try:
        return text.tidy(text.without_repeats(text.finished(text.joined([prompt, draft]))))
    except InputError:
        return None


def speak(cache: compose.Cache, voice: str, story: Text) -> Audio:
    """The story read out, at the loudness that is usual on the web."""
    [speech] = cache.generate(aigc_sdk.load(voice), story, seed=0)
    quiet = cache.call(audio.trim, speech, keep=0.3)
    return cache.call(loudness.normalized, quiet, -16.0, peaks="limit")


def show(cache: compose.Cache, pictures: str, seconds: float, count: int) -> Video:
    """Something to look at for so long: as many clips of a model of films, or pictures, as there are subtitles."""
    made = cache.generate(aigc_sdk.load(pictures), n=count, seed=0)
    images = [each for each in made if isinstance(each, Image)]
    if images:
        return slides.slideshow(images, seconds, size=SIZE, fps=FPS, zoom=1.2, filter="bicubic")
    clips = [video.framed(video.interpolate(each, FPS, method="motion"), *SIZE, filter="bicubic") for each in made]
    share = seconds / count
    return video.concatenate([video.fit(each, share, policy="loop") for each in clips])


def facts(place: Path, speech: Audio) -> list[str]:
    """What FFmpeg finds in the file, compared with what was put into it."""
    with av.open(str(place)) as file:
        [film], [sound] = file.streams.video, file.streams.audio
        frames = sum(1 for _ in file.decode(film))
        lengths = [float(each.duration * each.time_base) for each in (film, sound)]
        apart = max(abs(each - speech.duration) for each in lengths)
        return [
            f"film: {film.codec_context.name}, {film.width}x{film.height}, {frames} frames at {float(film.average_rate):g} fps",
            f"sound: {sound.codec_context.name}, {sound.rate} Hz, {sound.channels} channel, {loudness.loudness(speech):.1f} LUFS",
            f"film {lengths[0]:.3f} s, sound {lengths[1]:.3f} s, speech {speech.duration:.3f} s: {1000 * apart:.0f} ms apart",
        ]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A prompt becomes a narrated film with subtitles.")
    parser.add_argument("prompt", nargs="?", default=PROMPT)
    parser.add_argument("--to", type=Path, default=Path("runs/film"), help="the folder to write into")
    parser.add_argument("--writer", default="gpt2", help="a model of texts")
    parser.add_argument("--voice", default="tts", help="a model of speech that tells when it says each word")
    parser.add_argument("--pictures", default="video", help="a model of films or pictures")
    parser.add_argument("--no-replay", action="store_true", help="do not make the film again from its file")
    return parser.parse_args()


if __name__ == "__main__":
    main()

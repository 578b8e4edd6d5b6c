"""A narrated film in twenty lines: text, voice, moving pictures and subtitles become one file, which replays from itself.

    python examples/13_narrate.py

narrated_film.py beside it goes further: drafts and a judge, corrections, a cache, and what FFmpeg says of the result.
"""

from pathlib import Path

import aigc_sdk
from aigc_sdk_process import compose
from aigc_sdk_process.finish import loudness, soundtrack, subtitles, text, video

folder = Path("runs/narrate")
folder.mkdir(parents=True, exist_ok=True)

[draft] = compose.generate(aigc_sdk.load("gpt2"), "And the king said", seed=7, max_new_tokens=60)
story = text.tidy(text.finished(text.joined(["And the king said", draft])))
[speech] = compose.generate(aigc_sdk.load("tts"), story, seed=0)
speech = loudness.normalized(speech, -16.0, peaks="limit")
cues = subtitles.cues(speech, story)

clips = compose.generate(aigc_sdk.load("video"), ["a 3 moving right", "a 7 moving up left"], seed=1)
film = video.concatenate([video.framed(each, 320, 180, filter="bicubic") for each in clips], crossfade=0.5)
film = soundtrack.with_sound(film, speech, leads="sound", policy="loop")
film = subtitles.burn(film, cues)

place = film.save(folder / "film.mp4")
print(f"{story}\n\n{subtitles.srt(cues)}")
print(f"{place}: {film.duration:.1f} s, {place.stat().st_size:,} bytes")
print(f"twelve of its frames: {film.sheet(columns=6, count=12).save(folder / 'film.png')}")
print(f"made again from the file alone: {compose.replay(place)}")

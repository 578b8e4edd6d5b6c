"""The figures of the site, made by real runs: build/media/NAME.html, with pictures, sounds and films beside them.

    python docs/media.py [NAME]...

Each figure is a listing that a reader can run, and what it makes: the listing under a figure is the code that made it.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import drawing
import listen

TO = Path(__file__).parents[1] / "build" / "media"

Names = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A listing, what it shows, and how."""

    code: str
    caption: str
    show: Callable[[Names], str]
    """From the listing's names to HTML; pictures lie in the folder that the listing ran in, whose address is `{media}`."""


def picture(file: str, about: str, width: int) -> Callable[[Names], str]:
    return lambda _: f'<img class="pixels" src="{{media}}/{file}" alt="{about}" width="{width}">'


def written(names: Names) -> str:
    """A text with its prompt, and what a replay says of its file."""
    story = names["story"]
    return (
        f'<blockquote class="text"><b>{html.escape(names["prompt"])}</b>{html.escape(story.text)}</blockquote>'
        f"<p>replayed from its file: <b>{html.escape(str(names['again']))}</b></p>"
    )


def spoken(names: Names) -> str:
    """A player over a waveform and a spectrogram, with the words at their times."""
    speech = names["speech"]
    drawing.spectrogram(speech).save("spectrogram.png")
    return (
        f'<audio controls preload="metadata" src="{{media}}/speech.mp3"></audio>\n'
        f"{drawing.waveform(speech)}\n"
        f'<img src="{{media}}/spectrogram.png" alt="spectrogram, 0 to 8 kHz" class="wide">'
    )


def filmed(file: str, about: str, width: int, how: str) -> Callable[[Names], str]:
    return lambda _: f'<video class="pixels" src="{{media}}/{file}" width="{width}" {how} aria-label="{about}"></video>'


def trained(names: Names) -> str:
    """The curves of the run's log, and what the model made along the way."""
    samples = sorted(Path("runs/digits/samples").glob("*.png"))
    shown = "".join(
        f'<figure><img class="pixels" src="{{media}}/{each}" alt="samples" width="150">'
        f"<figcaption>{int(each.stem[-6:])} updates</figcaption></figure>"
        for each in samples
    )
    return f'{drawing.curves(names["log"])}\n<div class="row">{shown}</div>'


def scored(names: Names) -> str:
    return f'<div class="bars">{Path("scores.svg").read_text()}</div>'


FIGURES = {
    "text": Figure(
        """
import aigc_sdk

prompt = "And the king said"
[story] = aigc_sdk.load("gpt2").generate(prompt, seed=1, max_new_tokens=60)
again = aigc_sdk.replay(story.save("story.txt"))
""",
        "Sixty tokens of the default model, which has read one book, the King James Bible.",
        written,
    ),
    "digits": Figure(
        """
import aigc_sdk
from aigc_sdk import media

gan = aigc_sdk.load("gan")
columns = [gan.generate(n=5, label=digit, seed=10 * digit) for digit in range(10)]
rows = [column[row] for row in range(5) for column in columns]
media.grid(rows, columns=10, scale=3).save("digits.png")
""",
        "Digits that nobody wrote: a column for each label of the default GAN.",
        picture("digits.png", "five rows of handwritten digits from 0 to 9", 640),
    ),
    "strokes": Figure(
        """
import aigc_sdk
from aigc_sdk import media

gan = aigc_sdk.load("gan")
latents = gan.latents(1, seed=5)
rows = []
for direction in gan.directions(4):
    for amount in range(-4, 5):
        rows += gan.decode(latents + 0.7 * amount * direction, label=3)
media.grid(rows, columns=9, scale=3).save("strokes.png")
""",
        "One latent, moved along the four directions that change pictures most; a row each.",
        picture("strokes.png", "four rows of threes that change from left to right", 576),
    ),
    "traversal": Figure(
        """
import aigc_sdk
from aigc_sdk import media

vae = aigc_sdk.load("vae")
changed = vae.traverse(label=3, latents=(1, 5, 8, 10, 13, 14), steps=9)
media.grid(changed, columns=9, scale=3).save("traversal.png")
""",
        "What a latent means: along each row one of its numbers goes from -3 to 3.",
        picture("traversal.png", "six rows of threes that change from left to right", 576),
    ),
    "speech": Figure(
        """
import aigc_sdk

[speech] = aigc_sdk.load("tts").generate("In 2026, a small voice costs $0.00, and speaks at once.", seed=0)
speech.save("speech.mp3")
""",
        "The default voice. Under the waveform: each word where it is said, and the spectrogram up to 8 kHz.",
        spoken,
    ),
    "film": Figure(
        """
import aigc_sdk
from aigc_sdk_process.finish import video

[film] = aigc_sdk.load("video").generate("a 3 moving left and a 7 moving up", seed=0, num_frames=48)
film.sheet(columns=12, scale=2).save("frames.png")
video.resize(film, 256, 256, filter="nearest").save("film.mp4")
""",
        "“a 3 moving left and a 7 moving up”, 48 frames of the default model.",
        filmed("film.mp4", "two handwritten digits that move", 256, "autoplay loop muted playsinline controls"),
    ),
    "narrated": Figure(
        """
import aigc_sdk
from aigc_sdk_process import compose
from aigc_sdk_process.finish import loudness, soundtrack, subtitles, video

story = aigc_sdk.Text("A three came in from the right. Above it, a seven went up, and nobody stopped it.")
[speech] = compose.generate(aigc_sdk.load("tts"), story, seed=0)
speech = loudness.normalized(speech, -16.0, peaks="limit")
clips = aigc_sdk.load("video").generate(["a 3 moving left", "a 7 moving up"], seed=1, num_frames=32)
film = video.concatenate([video.framed(each, 480, 270, filter="nearest") for each in clips], crossfade=0.5)
film = soundtrack.with_sound(film, speech, leads="sound", policy="loop")
film = subtitles.burn(film, subtitles.cues(speech, story))
again = compose.replay(film.save("narrated.mp4"))
""",
        "A film with narration and subtitles; the file knows every call that made it, and replays.",
        lambda names: (
            filmed("narrated.mp4", "a film with narration", 480, 'controls preload="metadata"')(names)
            + f"<p>replayed from its file: <b>{html.escape(str(names['again']))}</b></p>"
        ),
    ),
    "training": Figure(
        """
import json
from pathlib import Path

import aigc_sdk

trainer = aigc_sdk.trainer("vae", size=16, classes=10)
trainer.fit(
    "digits/train", max_steps=200, validation="digits/test", evaluate_every=10, save_to="runs/digits", preview_every=40
)
log = [json.loads(line) for line in Path("runs/digits/log.jsonl").read_text().splitlines()]
""",
        "200 updates of a new VAE, from the log of the run, and the samples that it left beside it every 40.",
        trained,
    ),
    "reasons": Figure(
        """
import aigc_sdk
from aigc_sdk_bert.explain import explain

judge = aigc_sdk.evaluator("bert")
why = explain(judge, "And Moses spake unto the priests concerning the offering of the lamb", "law")
""",
        "Why the default judge takes a sentence for law, by integrated gradients.",
        lambda names: names["why"]._repr_html_(),
    ),
    "scores": Figure(
        """
import aigc_sdk

judge = aigc_sdk.evaluator("text-metrics")
references = ["The cat sat on the mat.", "It is raining outside.", "She went home early."]
report = judge.evaluate(["A cat sat on a mat.", "It is rain outside.", "She went home."], references, metrics=("bleu", "rouge"))
report.save("scores.svg")
""",
        "A report as bars: every score with its 95 % interval. Three samples make wide ones.",
        scored,
    ),
}


def make(name: str, figure: Figure) -> None:
    """Run the listing in a folder of its own, keep the files that are shown, and put the listing below them."""
    started = time.process_time()
    names: Names = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        exec(compile(figure.code, name, "exec", dont_inherit=True), names)
        shown = figure.show(names)
        for file in re.findall(r'(?<=src="{media}/)[^"]+', shown):
            (TO / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, TO / file)
    listing = indent(f"```python\n{figure.code.strip()}\n```", "    ")
    page = (
        f'<figure class="made">\n{shown}\n<figcaption>{html.escape(figure.caption)}</figcaption>\n</figure>\n\n'
        f'??? example "The code that made it, in {time.process_time() - started:.1f} seconds of one core"\n\n{listing}\n'
    )
    (TO / f"{name}.html").write_text(page, encoding="utf-8")


def main(wanted: list[str]) -> None:
    """Make the figures in the folder that the site takes them from."""
    TO.mkdir(parents=True, exist_ok=True)
    for name in wanted or FIGURES:
        print(f"figure: {name}", flush=True)
        make(name, FIGURES[name])
    if not wanted:
        (TO / "voice.html").write_text(listen.sections(TO), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

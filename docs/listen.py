"""Writes build/docs/listen.html: what the default voice says, with a player, the text, and when each word is said.

    python docs/listen.py [FILE]

The page holds its sounds itself and needs nothing else.
"""

from __future__ import annotations

import base64
import html
import sys
import tempfile
from pathlib import Path
from typing import Any

import aigc_sdk

PAGE = Path(__file__).parents[1] / "build" / "docs" / "listen.html"
SAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "Plain text": ("The quick brown fox jumps over the lazy dog, and nobody minds.", {}),
    "Figures": ("Dr. Wilson paid $19.99 at 7:30 p.m. on July 4th, 1996; that is 25% less than in Q3.", {}),
    "A question, and an answer": ("Can you hear me? Yes, I can! Well... almost.", {}),
    "Names, and words that are in no lexicon": ("Ms. Kowalczyk flew from Reykjavik to Blorptown.", {}),
    "Faster and higher": ("Hurry up, the train leaves in two minutes.", {"speed": 1.4, "pitch": 1.15}),
    "Slower, with a mark for a pause": ("Breathe in. [pause 0.8] And breathe out.", {"speed": 0.8}),
    "SSML": (
        "<speak>Wait. <break time='400ms'/> <prosody rate='slow' pitch='-10%'>Please.</prosody></speak>",
        {"markup": "ssml"},
    ),
    "Phonemes": ("HH AH0 L OW1 | W ER1 L D .", {"markup": "phonemes"}),
}
STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
section { border-top: 1px solid #ccc; padding: 1rem 0 } h2 { font-size: 1.1rem; margin: 0 } audio { width: 100% }
code, .options { color: #555 } .word { cursor: pointer; padding: 0 .15em; border-radius: .2em } .said { background: #ffe08a }
table { border-collapse: collapse; font-size: .9rem } td, th { padding: 0 .8em 0 0; text-align: left }
"""
SCRIPT = """
for (const section of document.querySelectorAll("section")) {
  const audio = section.querySelector("audio"), words = [...section.querySelectorAll(".word")];
  audio.ontimeupdate = () => words.forEach(word => word.classList.toggle(
    "said", !audio.paused && word.dataset.start <= audio.currentTime && audio.currentTime < word.dataset.end));
  words.forEach(word => word.onclick = () => { audio.currentTime = word.dataset.start; audio.play(); });
}
"""


def page() -> str:
    """The whole page."""
    model = aigc_sdk.load("tts", device="cpu")
    sections = "".join(section(model, title, *sample) for title, sample in SAMPLES.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Listen</title><style>{STYLE}</style><h1>The default voice</h1>"
        f"<p>Made by <code>make docs</code> with the voice that <code>aigc-sdk-tts</code> brings. Words light up as they are "
        f"said, and begin when clicked.</p>{sections}<script>{SCRIPT}</script></html>\n"
    )


def section(model: Any, title: str, text: str, options: dict[str, Any]) -> str:
    """One text, what is said, and when."""
    [speech] = model.generate(text, seed=0, **options)
    words = speech.info["words"]
    spans = " ".join(
        f'<span class="word" data-start="{each["start"]}" data-end="{each["end"]}">{html.escape(each["spoken"])}</span>'
        for each in words
    )
    rows = "".join(
        f"<tr><td>{html.escape(each['text'])}<td>{html.escape(each['spoken'])}<td>{each['start']:.2f}<td>{each['end']:.2f}"
        for each in words
    )
    told = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return (
        f"<section><h2>{html.escape(title)}</h2><p><code>{html.escape(text)}</code> "
        f'<span class="options">{html.escape(told)}</span></p>'
        f'<audio controls preload="metadata" src="{address(speech)}"></audio><p>{spans}</p>'
        f"<details><summary>{len(words)} words in {speech.duration:.2f} s</summary>"
        f"<table><tr><th>text<th>spoken<th>from, s<th>to, s{rows}</table></details></section>"
    )


def address(speech: Any) -> str:
    """The sound as an MP3, in the page itself."""
    with tempfile.TemporaryDirectory() as folder:
        data = speech.save(Path(folder) / "said.mp3").read_bytes()
    return f"data:audio/mpeg;base64,{base64.b64encode(data).decode()}"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(), encoding="utf-8")
    print(f"wrote {target}")

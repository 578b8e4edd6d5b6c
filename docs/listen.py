"""What the default voice says, with a player, the text, and when each word is said; docs/assets/listen.js lights words up."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import aigc_sdk

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


def sections(folder: Path) -> str:
    """All samples as HTML; their sounds are written to `folder`, whose address is `{media}`."""
    model = aigc_sdk.load("tts", device="cpu")
    made = [
        section(model, folder / f"voice-{number}.mp3", title, *each)
        for number, (title, each) in enumerate(SAMPLES.items())
    ]
    return "\n".join(made) + "\n"


def section(model: Any, file: Path, title: str, text: str, options: dict[str, Any]) -> str:
    """One text, what is said, and when."""
    [speech] = model.generate(text, seed=0, **options)
    speech.save(file)
    words = speech.info["words"]
    spans = " ".join(
        f'<span class="word" data-start="{each["start"]}" data-end="{each["end"]}">{html.escape(each["spoken"])}</span>'
        for each in words
    )
    told = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return (
        f'<section class="said"><p><b>{html.escape(title)}</b> <code>{html.escape(text)}</code> {html.escape(told)}</p>'
        f'<audio controls preload="metadata" src="{{media}}/{file.name}"></audio>'
        f"<p>{spans} <small>{speech.duration:.2f} s</small></p></section>"
    )

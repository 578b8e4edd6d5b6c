"""Texts, pictures, sounds and films after they were generated.

    text.py         whitespace and punctuation, unfinished and repeated sentences, spaces between scripts
    suggestions.py  spelling and style, as suggestions with their places; nothing is replaced
    markup.py       Markdown and HTML that are safe to show
    image.py        noise, sharpness, blur, contrast, colour temperature, size, tiles, watermark, models
    loudness.py     loudness by ITU-R BS.1770, and to a target
    audio.py        trim, fade, gate, resample, stretch, mix with ducking, join with cross-fades
    video.py        cut, join with cross-fades, speed, frame rate, poster
    slides.py       pictures in motion
    subtitles.py    cues from speech, SubRip and WebVTT, burnt in
    soundtrack.py   a film and its sound, brought to one length by a policy that is said

Each function takes artifacts and returns a new one, whose origin holds the call and all that it goes back to, so that
`aigc_sdk_process.compose.replay` can make the file again. What cannot be done as asked is refused with an InputError.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["audio", "image", "loudness", "markup", "slides", "soundtrack", "subtitles", "suggestions", "text", "video"]


def __getattr__(name: str) -> ModuleType:
    """The modules, imported when one of them is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")

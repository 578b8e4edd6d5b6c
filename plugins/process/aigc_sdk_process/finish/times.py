"""What an artifact's `info` says happens when: it moves with the sound and the film."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

TIMED = ("sentences", "words", "phonemes")
"""The lists in `info` of things with `start` and `end` in seconds."""


def moved(info: Mapping[str, Any], by: float = 0.0, *, scale: float = 1.0) -> dict[str, Any]:
    """`info` with every time multiplied by `scale`, and `by` seconds later."""
    return {
        key: [_at(each, each["start"] * scale + by, each["end"] * scale + by) for each in value]
        if _is_timed(key, value)
        else value
        for key, value in info.items()
    }


def within(info: Mapping[str, Any], start: float, end: float) -> dict[str, Any]:
    """`info` of the part from `start` to `end`: what lies outside goes, what reaches outside is shortened."""
    kept = {
        key: [
            _at(each, max(start, each["start"]), min(end, each["end"]))
            for each in value
            if each["start"] < end and each["end"] > start
        ]
        if _is_timed(key, value)
        else value
        for key, value in info.items()
    }
    return moved(kept, -start)


def repeated(info: Mapping[str, Any], period: float, end: float) -> dict[str, Any]:
    """`info` of what begins anew every `period` seconds, up to the second `end`."""
    if not any(_is_timed(key, value) and value for key, value in info.items()):
        return dict(info)
    turns = [moved(info, turn * period) for turn in range(math.ceil(end / period - 1e-9))]
    return within(together(*turns), 0.0, end)


def together(*infos: Mapping[str, Any]) -> dict[str, Any]:
    """The lists of all of them one after the other; of other entries, the last."""
    found: dict[str, Any] = {}
    for info in infos:
        for key, value in info.items():
            found[key] = [*found.get(key, ()), *value] if _is_timed(key, value) else value
    return found


def _is_timed(key: str, value: Any) -> bool:
    return (
        key in TIMED
        and isinstance(value, list | tuple)
        and all(isinstance(each, Mapping) and {"start", "end"} <= set(each) for each in value)
    )


def _at(entry: Mapping[str, Any], start: float, end: float) -> dict[str, Any]:
    return {**entry, "start": round(start, 6), "end": round(end, 6)}

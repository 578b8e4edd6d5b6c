"""The checks that every finishing function makes before it touches anything."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

from aigc_sdk.artifacts import Artifact
from aigc_sdk.errors import InputError, shown, suggestion

A = TypeVar("A", bound=Artifact)


def made(value: Any, kind: type[A], field: str) -> A:
    """`value`, if it is an artifact of that kind with something in it."""
    if not isinstance(value, kind):
        raise InputError(f"{field} is a {type(value).__name__}; give an aigc_sdk.{kind.__name__}", field=field)
    content = getattr(value, "samples", getattr(value, "pixels", getattr(value, "frames", None)))
    if content is not None and not content.size:
        raise InputError(f"{field} is empty: {value!r}; there is nothing to work on", field=field)
    return value


def several(values: Any, kind: type[A], field: str) -> list[A]:
    """The artifacts of that kind in `values`, one at least."""
    if isinstance(values, Artifact | str) or not isinstance(values, Iterable):
        raise InputError(f"{field} is a {type(values).__name__}; give a list of aigc_sdk.{kind.__name__}", field=field)
    found = [made(each, kind, f"{field}[{index}]") for index, each in enumerate(values)]
    if not found:
        raise InputError(f"{field} is empty; give one aigc_sdk.{kind.__name__} at least", field=field)
    return found


def number(value: Any, field: str, least: float, most: float, what: str) -> float:
    """`value` as a float, if it is a number from `least` to `most`; `what` says its meaning and unit."""
    try:
        good = not isinstance(value, bool | str | bytes) and least <= float(value) <= most
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        bounds = f"from {least:g} on" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise InputError(f"{field}={shown(value)}: give {what}, {bounds}", field=field)
    return float(value)


def whole(value: Any, field: str, least: int, most: int, what: str) -> int:
    """`value`, if it is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"{field}={shown(value)}: give {what}, a whole number from {least} to {most}", field=field)
    return value


def one_of(value: Any, field: str, known: Iterable[str]) -> str:
    """`value`, if it is one of the known words."""
    words = list(known)
    if not isinstance(value, str) or value not in words:
        hint = suggestion(value, words) if isinstance(value, str) else ""
        raise InputError(f"{field}={shown(value)}: use one of {', '.join(words)}.{hint}", field=field)
    return value


def colour(value: Any, field: str) -> tuple[int, int, int]:
    """`value`, if it is a colour: red, green and blue from 0 to 255."""
    parts = tuple(value) if isinstance(value, list | tuple) else ()
    if len(parts) != 3 or not all(type(each) is int and 0 <= each <= 255 for each in parts):
        raise InputError(f"{field}={shown(value)}: give red, green and blue, each from 0 to 255", field=field)
    return (parts[0], parts[1], parts[2])

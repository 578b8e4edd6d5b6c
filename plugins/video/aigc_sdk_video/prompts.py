"""What prompts of the small models mean: "a 3 moving left and a 7 moving up" is two things, each with its direction."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aigc_sdk.errors import PromptError, shown, suggestion
from aigc_sdk.labels import known

from .architecture import DIRECTIONS, FREE

MOST = 3  # things in a prompt
FILLERS = frozenset(
    {"a", "an", "the", "digit", "number", "that", "which", "is", "are", "to", "towards", "diagonally"}
    | {"moving", "moves", "going", "goes", "flying", "flies", "drifting", "drifts"}
)
SIDES = {"left": "left", "leftwards": "left", "right": "right", "rightwards": "right"}
HEIGHTS = {"up": "up", "upwards": "up", "upper": "up", "down": "down", "downwards": "down", "lower": "down"}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ANY = frozenset({"something", "anything", "thing"})


def parse(prompt: str, labels: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The label and the direction of each thing that `prompt` asks for, as indices, FREE where it does not say.

    Raises PromptError, naming the word that is not known.
    """
    parts = [part for part in re.split(r"\band\b|,|;|&|\+", prompt.lower()) if part.strip(" .!")]
    if not parts:
        raise PromptError(f"the prompt {shown(prompt)} asks for nothing; {_example(labels)}", field="prompt")
    if len(parts) > MOST:
        raise PromptError(f"the prompt asks for {len(parts)} things; the model shows {MOST} at most", field="prompt")
    return tuple(_thing(part, labels, prompt) for part in parts)


def _thing(part: str, labels: Sequence[str], prompt: str) -> tuple[int, int]:
    words = [word for word in re.findall(r"[^\s.!-]+", part) if word not in FILLERS]
    side = [SIDES[word] for word in words if word in SIDES]
    height = [HEIGHTS[word] for word in words if word in HEIGHTS]
    rest = " ".join(word for word in words if word not in SIDES and word not in HEIGHTS)
    if len(side) > 1 or len(height) > 1:
        raise PromptError(f"the prompt {shown(prompt)} gives one thing two directions; give one", field="prompt")
    name = " ".join(height + side)
    direction = DIRECTIONS.index(name) if name else FREE
    if not rest or rest in ANY:
        return FREE, direction
    known = {label.lower(): index for index, label in enumerate(labels)}
    known |= {word: known[str(value)] for value, word in enumerate(WORDS) if str(value) in known and word not in known}
    if rest not in known:
        raise PromptError(
            f"the prompt {shown(prompt)} has {shown(rest)}, which is neither a label nor a direction of this model."
            f"{suggestion(rest, [*known, *SIDES, *HEIGHTS])} {_example(labels)}",
            field="prompt",
        )
    return known[rest], direction


def _example(labels: Sequence[str]) -> str:
    listed = f"{known(labels)} " if labels else ""
    what = f"a {labels[-1]}" if labels else "something"
    return f"{listed}Directions: left, right, up, down and their pairs. Write {what + ' moving up left'!r}, say"

"""Guesses at how rows go on, which the model checks several at a time in one pass.

A guess is right when it is the very token that the row would have got without it, drawn by the row's own random
stream (for greedy decoding: Stern et al. 2018). So guessing changes how many passes a text takes, and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from aigc_sdk_gpt2.engines.engine import Choice, engine_for

from .prefixes import shared

if TYPE_CHECKING:
    from aigc_sdk_gpt2.model import GPT2

NGRAMS = (4, 3, 2)  # tokens that must have stood there before, the longest first
FIRST = 2  # tokens of a row's first guess
PAUSE_LIMIT = 64  # tokens


class Guesser(ABC):
    """Guesses for rows that come, go and are reordered as those of the engine."""

    @abstractmethod
    def join(self, texts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        """New rows behind those that are there; each holds its prompt, and grows by `room` tokens at most."""

    @abstractmethod
    def guess(self, texts: Sequence[Sequence[int]], most: Sequence[int]) -> list[list[int]]:
        """How each row goes on after its tokens so far, at most so many tokens; fewer or none where nothing is known."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order."""


class Pace:
    """How many tokens to guess next in one row: more while guesses come true, and ever more seldom while they do not."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._size = min(FIRST, most)
        self._misses = self._pause = 0

    def size(self) -> int:
        """Tokens to guess now; each call is one pass."""
        if self._pause:
            self._pause -= 1
            return 0
        return self._size

    def learn(self, guessed: int, right: int) -> None:
        """So many tokens were guessed, and the first `right` of them were right."""
        if right == guessed:
            self._size = min(2 * self._size, self.most)
        else:
            self._size = max(1, right)
        self._misses = 0 if 2 * right >= guessed else self._misses + 1
        if self._misses:
            self._pause = min(2 << self._misses, PAUSE_LIMIT)


class LookUp(Guesser):
    """What followed the last time that the row's last tokens stood in it (prompt look-up decoding, Saxena 2023)."""

    def __init__(self) -> None:
        self._rows: list[_Index] = []

    def join(self, texts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        self._rows += [_Index() for _ in texts]

    def guess(self, texts: Sequence[Sequence[int]], most: Sequence[int]) -> list[list[int]]:
        return [row.guess(text, size) if size else [] for row, text, size in zip(self._rows, texts, most, strict=True)]

    def select(self, rows: Sequence[int]) -> None:
        self._rows = [self._rows[row] for row in rows]


class _Index:
    """Where in one text each run of a few tokens stood last."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, ...], int] = {}
        self._read = 0

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        """What followed, as far as it is known; where the text repeats itself without end, so does the guess."""
        for end in range(max(self._read, 1), len(text)):  # runs that end before the last token
            for size in NGRAMS:
                if end >= size:
                    self._ends[tuple(text[end - size : end])] = end
        self._read = len(text)
        for size in NGRAMS:
            start = self._ends.get(tuple(text[-size:]), 0) if len(text) > size else 0
            if start:
                period = len(text) - start
                return [text[start + place % period] for place in range(most)]
        return []


class Draft(Guesser):
    """What a smaller model finds likeliest (Leviathan et al. 2023; Chen et al. 2023)."""

    def __init__(self, model: GPT2, choice: Choice = "auto") -> None:
        self._engine = engine_for(model.network, None, choice)
        self._texts: list[list[int]] = []  # what each row of the engine holds, guesses that were wrong among it

    def join(self, texts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        self._engine.join(texts, room)
        self._texts += [list(each) for each in texts]

    def guess(self, texts: Sequence[Sequence[int]], most: Sequence[int]) -> list[list[int]]:
        rows = [row for row, size in enumerate(most) if size]
        found: list[list[int]] = [[] for _ in texts]
        if not rows:
            return found
        common = {row: min(shared(texts[row], self._texts[row]), len(texts[row]) - 1) for row in rows}
        wrong = [len(held) - common.get(row, len(held)) for row, held in enumerate(self._texts)]
        if any(wrong):
            self._engine.rewind(wrong)
        new = [list(texts[row][common[row] :]) if row in common else [] for row in range(len(texts))]
        for row in rows:
            self._texts[row][common[row] :] = new[row]
        while True:
            tokens = self._likeliest(new)
            for row, token in zip(rows, tokens, strict=True):
                found[row].append(token)
            rows = [row for row in rows if len(found[row]) < most[row]]
            if not rows:
                return found
            new = [found[row][-1:] if row in rows else [] for row in range(len(texts))]
            for row in rows:
                self._texts[row].append(found[row][-1])

    def select(self, rows: Sequence[int]) -> None:
        self._engine.select(rows)
        self._texts = [list(self._texts[row]) for row in rows]

    def _likeliest(self, new: Sequence[Sequence[int]]) -> list[int]:
        """Read new tokens of some rows; the token that each of these rows most likely goes on with."""
        if all(len(each) == 1 for each in new):
            logits = self._engine.step(torch.tensor([each[0] for each in new]))
        else:
            logits = self._engine.extend(new, last=True)
        tokens: list[int] = logits.argmax(-1).tolist()
        return tokens

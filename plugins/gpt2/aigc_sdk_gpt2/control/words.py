"""Strings that a text never holds, however they are cut into tokens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from aigc_sdk.errors import OptionError
from aigc_sdk_gpt2.vocabulary import vocabulary

from .rules import NO_CHANCE, Rule

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class BadWords(Rule):
    """Every token that would complete one of the words is out of the question, whatever tokens it began with.

    A word may begin in the prompt. The bytes of a row's end decide: for each length to which it agrees with the beginning of a
    word, the tokens that begin with the rest of the word are banned; and tokens that hold a whole word always are.
    """

    def __init__(self, words: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> None:
        table = vocabulary(tokenizer).spelt
        if table is None:
            raise OptionError(
                "gpt2 option bad_words: this model's tokens are no fixed strings of bytes, so what they make together cannot be "
                "known in time; use logit_bias against single tokens",
                field="bad_words",
            )
        self._words = [word.encode() for word in words]
        self._table = table
        self._sorted = sorted((spelt, token) for token, spelt in table.items())
        self._always = torch.tensor(
            [token for token, spelt in table.items() if any(word in spelt for word in self._words)], dtype=torch.int64
        )
        self._longest = max(map(len, self._words)) - 1
        self._banned: dict[bytes, list[int]] = {}
        self._tails: list[bytes] = []

    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        for prompt in prompts:
            last = prompt[-self._longest :] if self._longest else ()
            self._tails.append(self._cut(b"".join(self._table.get(token, b"") for token in last)))

    def apply(self, scores: torch.Tensor, rows: Sequence[int]) -> None:
        scores.index_fill_(1, self._always.to(scores.device), NO_CHANCE)
        for place, row in enumerate(rows):
            for rest in self._rests(self._tails[row]):
                scores[place, self._starting(rest)] = NO_CHANCE

    def take(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        for token, row in zip(tokens, rows, strict=True):
            self._tails[row] = self._cut(self._tails[row] + self._table.get(token, b""))

    def select(self, rows: Sequence[int]) -> None:
        self._tails = [self._tails[row] for row in rows]

    def _cut(self, text: bytes) -> bytes:
        return text[max(len(text) - self._longest, 0) :]

    def _rests(self, tail: bytes) -> set[bytes]:
        """What would complete a word that `tail` ends in the beginning of."""
        return {
            word[size:]
            for word in self._words
            for size in range(1, min(len(word), len(tail) + 1))
            if tail.endswith(word[:size])
        }

    def _starting(self, beginning: bytes) -> list[int]:
        """The tokens that begin so."""
        known = self._banned.get(beginning)
        if known is None:
            start = place = bisect_left(self._sorted, (beginning,))
            while place < len(self._sorted) and self._sorted[place][0].startswith(beginning):
                place += 1
            known = self._banned[beginning] = [token for _, token in self._sorted[start:place]]
        return known

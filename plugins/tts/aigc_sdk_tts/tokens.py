"""What the acoustic model reads: the phonemes of a clause with a pause at either end, word boundaries, how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .acoustic import GAP, Phonemes
from .phonemes import SYMBOLS

PAUSE = "pau"
ENDINGS = ("", ",", ";", ":", ".", "?", "!")
START, END = 1, 2  # of a word; a word of one phoneme is both, 3
LEAD, TRAIL = 4, 6  # frames of silence that a clause begins and ends with

_INDEX = {symbol: index for index, symbol in enumerate((PAUSE, *SYMBOLS))}


@dataclass(frozen=True)
class Tokens:
    """One clause as numbers; the first and the last are its pauses."""

    symbols: tuple[int, ...]
    boundaries: tuple[int, ...]
    ending: int
    voice: int = 0


def tokens(words: Sequence[Sequence[str]], ending: str, voice: int = 0) -> Tokens:
    """The tokens of a clause, given as the phonemes of each word."""
    symbols, boundaries = [PAUSE], [0]
    for word in words:
        symbols += word
        boundaries += [START * (place == 0) + END * (place == len(word) - 1) for place in range(len(word))]
    numbers = tuple(_INDEX[each] for each in (*symbols, PAUSE))
    return Tokens(numbers, (*boundaries, 0), ENDINGS.index(ending), voice)


def packed(clauses: Sequence[Tokens]) -> Phonemes:
    """Clauses one after another, with gaps between."""
    columns: list[list[int]] = [[], [], [], [], []]
    for place, each in enumerate(clauses):
        if place:
            for column in columns:
                column += [0] * GAP
        size = len(each.symbols)
        rows = (each.symbols, each.boundaries, [each.ending] * size, [each.voice] * size, [1] * size)
        for column, row in zip(columns, rows, strict=True):
            column += row
    return Phonemes(*(torch.tensor(column) for column in columns))


def packed_durations(durations: Sequence[torch.Tensor]) -> torch.Tensor:
    """Durations of clauses as `packed` lays them out; a gap takes as many frames as it has phonemes."""
    gap = torch.tensor([GAP] + [0] * (GAP - 1))
    parts = [part for each in durations for part in (each, gap)]
    return torch.cat(parts[:-1])

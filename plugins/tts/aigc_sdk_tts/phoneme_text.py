"""Phonemes for a prompt: "HH AH0 | L OW1 , W ER1 L D ." with | between words, and a mark where a clause ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aigc_sdk.errors import PromptError, printable, suggestion

from .front import Clause, Word
from .phonemes import SYMBOLS
from .tokens import ENDINGS

_PIECE = re.compile(r"\S+")


def parse_phonemes(text: str) -> Iterator[Clause]:
    """The clauses. Raises PromptError, which names what is neither a phoneme nor a mark."""
    words: list[Word] = []
    sounds: list[re.Match[str]] = []

    def end_word() -> None:
        if sounds:
            start, end = sounds[0].start(), sounds[-1].end()
            words.append(Word(text[start:end], text[start:end], tuple(each[0] for each in sounds), start, end))
            sounds.clear()

    for piece in _PIECE.finditer(text):
        if piece[0] in SYMBOLS:
            sounds.append(piece)
            continue
        if piece[0] != "|" and piece[0] not in ENDINGS:
            raise PromptError(
                f"{printable(piece[0], 40)!r} at character {piece.start()} is no phoneme.{suggestion(piece[0], SYMBOLS)} "
                "Write ARPAbet with stress, such as HH AH0 L OW1, | between words, and , ; : . ? ! at a clause's end",
                field="prompt",
            )
        end_word()
        if piece[0] != "|" and words:
            yield Clause(tuple(words), piece[0], None, False)
            words.clear()
    end_word()
    if words:
        yield Clause(tuple(words), "", None, False)

"""From tokens to text piece by piece: never half a character, and never a part of a stop string."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .vocabulary import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTEXT = 8  # tokens of the prompt; what a token means can depend on those before it, a leading space say


class Detokenizer(ABC):
    """The text of one growing sequence."""

    @abstractmethod
    def add(self, token: int) -> str:
        """The characters that are complete with `token`."""

    @abstractmethod
    def end(self) -> str:
        """What is left; bytes that make no character become U+FFFD."""


def detokenizer_for(tokenizer: PreTrainedTokenizerFast, prompt: Sequence[int]) -> Detokenizer:
    """A detokenizer for what follows `prompt`."""
    known = vocabulary(tokenizer)
    if known.spelt is not None and known.byte_level:
        return ByteLevel(known.spelt)
    return ByContext(tokenizer, prompt)


class ByteLevel(Detokenizer):
    """For byte-level tokens (GPT-2, GPT-NeoX, Qwen, Llama 3), each of which is a fixed string of bytes."""

    def __init__(self, table: dict[int, bytes]) -> None:
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        return self._decoder.decode(self._table.get(token, b""))

    def end(self) -> str:
        return self._decoder.decode(b"", final=True)


class ByContext(Detokenizer):
    """For any other tokenizer: the difference that new tokens make to the decoded text."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._tokens = list(prompt[-CONTEXT:])
        self._start = 0
        self._read = len(self._tokens)

    def add(self, token: int) -> str:
        self._tokens.append(token)
        piece = self._piece()
        if piece.endswith("�") and len(self._tokens) - self._read <= 4:  # a character has at most four bytes
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return piece

    def end(self) -> str:
        return self._piece()

    def _piece(self) -> str:
        before = self._decoded(self._tokens[self._start : self._read])
        return self._decoded(self._tokens[self._start :])[len(before) :]

    def _decoded(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.backend_tokenizer.decode(tokens, skip_special_tokens=True)
        return text


class Stops:
    """Holds back what may be the beginning of a stop string, and cuts the text at the first whole one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = stops
        self.stopped = False
        self._held = ""

    def add(self, piece: str, *, final: bool = False) -> str:
        """What of the text is safe to hand on; after the stop, nothing."""
        if not self.stops or self.stopped:
            return "" if self.stopped else piece
        text = self._held + piece
        found = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        held = 0 if final else max(_overlap(text, stop) for stop in self.stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that a stop string begins with."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)

"""The bytes that each token of a tokenizer stands for."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # how SentencePiece's vocabularies name a token that is one byte
SPACE = "\u2581"  # and what they write for a space


class Vocabulary(NamedTuple):
    """What is known of a tokenizer's tokens."""

    spelt: dict[int, bytes] | None
    """The bytes of every token; special tokens have none. None where tokens are no fixed bytes."""
    byte_level: bool
    """Whether a token stands for its bytes wherever it is in a text; others lose a space at the beginning."""


def vocabulary(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    """Found once for a tokenizer, and again when it has changed.

    Byte-level vocabularies (GPT-2, GPT-NeoX, Qwen, Llama 3) and those with SentencePiece's spaces (Llama 2, Mistral, Gemma)
    have tokens of fixed bytes; one that joins words by rules of its own (WordPiece) has not.
    """
    backend = tokenizer.backend_tokenizer
    known = tokenizer.__dict__.get("_aigc_vocabulary")
    if known is None or known[0] is not backend or known[1] != len(tokenizer):
        kinds = {each["type"] for each in _decoders(backend)}
        found = Vocabulary(_table(backend), kinds == {"ByteLevel"})
        known = tokenizer.__dict__["_aigc_vocabulary"] = (backend, len(tokenizer), found)
    kept: Vocabulary = known[2]
    return kept


def _table(backend: Any) -> dict[int, bytes] | None:
    kinds = {each["type"] for each in _decoders(backend)}
    if "ByteLevel" in kinds:
        letters = _letters()
        spelt: Callable[[str], bytes] = functools.partial(_spelt_in_letters, letters)
    elif "Metaspace" in kinds or any(_replaces_spaces(each) for each in _decoders(backend)):
        spelt = _spelt_in_pieces if "ByteFallback" in kinds else _spelt_with_spaces
    else:
        return None
    added = backend.get_added_tokens_decoder()
    table = {}
    for text, token in backend.get_vocab(with_added_tokens=True).items():
        if token in added:
            table[token] = b"" if added[token].special else text.encode()
        else:
            table[token] = spelt(text)
    return table


def _decoders(backend: Any) -> list[dict[str, Any]]:
    decoder = json.loads(backend.to_str()).get("decoder") or {"type": None}
    found: list[dict[str, Any]] = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    return found


def _replaces_spaces(decoder: dict[str, Any]) -> bool:
    return (
        decoder["type"] == "Replace" and decoder.get("pattern") == {"String": SPACE} and decoder.get("content") == " "
    )


def _spelt_in_letters(letters: dict[str, bytes], text: str) -> bytes:
    return b"".join(letters[each] if each in letters else each.encode() for each in text)


def _spelt_in_pieces(text: str) -> bytes:
    byte = BYTE.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else _spelt_with_spaces(text)


def _spelt_with_spaces(text: str) -> bytes:
    return text.replace(SPACE, " ").encode()


@functools.cache
def _letters() -> dict[str, bytes]:
    """GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the others for the characters from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): bytes([byte]) for byte in plain}
    return table | {chr(256 + index): bytes([byte]) for index, byte in enumerate(others)}

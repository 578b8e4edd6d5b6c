"""Tokens: the characters of a text, or byte pairs learnt from it."""

from __future__ import annotations

import codecs
import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from aigc_sdk.errors import CorruptFolder
from aigc_sdk.folder import Folder

LINE_END = "\n"  # what stands before a text: every model knows it, so that a text's first token is foreseen too
UNKNOWN = "\ufffd"  # stands for every character that a model has never seen, and is never written
CODE_POINTS = 0x110000  # that Unicode has room for
ASCII = LINE_END + "".join(map(chr, range(32, 127)))
CHARACTERS_FILE = "characters.json"
PAIRS_FILE = "tokenizer.json"


class Tokens(ABC):
    """What the model, the trainer and the judge need of either kind."""

    kind: ClassVar[str]
    unknown: ClassVar[int | None] = None
    """The token of characters that are not known, where there can be such."""
    pieces: list[bytes]
    """What each token writes, as UTF-8; a byte pair may hold part of a character."""

    @classmethod
    @abstractmethod
    def learn(cls, text: str, size: int) -> Self:
        """Tokens for a text; `size` at most."""

    @abstractmethod
    def encode(self, text: str) -> NDArray[np.int64]:
        """The tokens of a text."""

    @abstractmethod
    def describe(self) -> str:
        """Its content, from which its class makes it again."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Its file in a model folder."""


class Characters(Tokens):
    """One token per character; characters that are not in the alphabet are all the same token, number 0."""

    kind = "characters"
    unknown = 0

    def __init__(self, alphabet: str) -> None:
        """alphabet: distinct characters in the order of their code points."""
        self.alphabet = alphabet
        self.pieces = [each.encode() for each in (UNKNOWN, *alphabet)]
        self._points = _points(alphabet)

    @classmethod
    def learn(cls, text: str, size: int) -> Self:
        """The line end, and the most frequent characters of a text; `size` tokens at most, the unknown one included."""
        counts = Counter(text)
        counts.pop(UNKNOWN, None)
        counts[LINE_END] = len(text) + 1
        frequent = sorted(counts, key=lambda each: (-counts[each], each))[: size - 1]
        return cls("".join(sorted(frequent)))

    def encode(self, text: str) -> NDArray[np.int64]:
        points = _points(text)
        places = np.searchsorted(self._points, points).clip(max=len(self._points) - 1)
        return np.where(self._points[places] == points, places + 1, self.unknown)

    def describe(self) -> str:
        return self.alphabet

    def write(self, folder: Path) -> None:
        content = json.dumps({"characters": self.alphabet}, ensure_ascii=True)
        (folder / CHARACTERS_FILE).write_text(content + "\n", encoding="utf-8")


class BytePairs(Tokens):
    """Byte-level byte-pair encoding (Sennrich et al. 2016; on bytes: Radford et al. 2019); nothing is unknown to it."""

    kind = "bpe"

    def __init__(self, content: str) -> None:
        """content: a tokenizer.json of the tokenizers library."""
        self._tokenizer = Tokenizer.from_str(content)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        size = self._tokenizer.get_vocab_size()
        self.pieces = [_bytes_of(self._tokenizer.id_to_token(each)) for each in range(size)]

    @classmethod
    def learn(cls, text: str, size: int) -> Self:
        """The 256 bytes and the merges that shorten a text most; `size` tokens at most."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
        return cls(tokenizer.to_str())

    def encode(self, text: str) -> NDArray[np.int64]:
        rows = self._tokenizer.encode_batch_fast(text.splitlines(keepends=True), add_special_tokens=False)
        return np.concatenate([np.array(each.ids, np.int64) for each in rows] or [np.empty(0, np.int64)])

    def describe(self) -> str:
        return str(self._tokenizer.to_str())

    def write(self, folder: Path) -> None:
        (folder / PAIRS_FILE).write_text(self.describe(), encoding="utf-8")


KINDS: dict[str, Callable[[str], Tokens]] = {"characters": Characters, "bpe": BytePairs}


def learn(kind: str, text: str, size: int) -> Tokens:
    """Tokens of a kind for a text; `size` at most."""
    return BytePairs.learn(text, size) if kind == "bpe" else Characters.learn(text, size)


def first(kind: str, size: int) -> Tokens:
    """What a model knows before it has seen a text: bytes, or the characters of ASCII."""
    return learn(kind, "" if kind == "bpe" else ASCII, size)


def read(opened: Folder, kind: str, size: int) -> Tokens:
    """The tokens in a model folder, which may be `size` at most. Raises CorruptFolder."""
    name = PAIRS_FILE if kind == "bpe" else CHARACTERS_FILE
    found = opened.json(name)
    try:
        tokens = BytePairs(json.dumps(found)) if kind == "bpe" else Characters(_alphabet(found.get("characters")))
        [begin] = tokens.encode(LINE_END)
        if begin == tokens.unknown:
            raise ValueError("the line end is not among the tokens")
        if len(tokens.pieces) > size:
            raise ValueError(f"{len(tokens.pieces)} tokens, and the model has room for {size}")
    except Exception as error:  # the tokenizers library raises Exception itself
        raise CorruptFolder(f"{opened.path}: {name} is not what it should be: {error}; save the model again") from error
    return tokens


def after_line_end(tokens: Tokens, text: str) -> NDArray[np.int64]:
    """The tokens of a text after a line end, which is how every text is read."""
    return np.concatenate([tokens.encode(LINE_END), tokens.encode(text)])


def _alphabet(found: Any) -> str:
    if not isinstance(found, str) or list(found) != sorted(set(found)):
        raise ValueError("no alphabet in the order of its characters")
    return found


def unknown_bits(tokens: Tokens) -> float:
    """The bits that tell which unknown character was meant, all being equally likely."""
    return math.log2(CODE_POINTS - len(tokens.pieces) + 1) if tokens.unknown is not None else 0.0


class Writer:
    """Turns tokens into text, a character as soon as it is whole."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def write(self, token: int, *, last: bool = False) -> str:
        """The text that is ready with this token; after the `last` nothing is held back."""
        return self._decoder.decode(self._pieces[token], final=last)


def _points(text: str) -> NDArray[np.uint32]:
    """The code points of a text; a lone surrogate is one too."""
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.dtype("<u4"))


def _byte_characters() -> dict[str, int]:
    """Which byte each character of a byte-level tokenizer stands for: those that print stand for themselves."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [each for each in range(256) if each not in printing]
    return {chr(each): each for each in printing} | {chr(256 + place): each for place, each in enumerate(others)}


_BYTES = _byte_characters()


def _bytes_of(token: str | None) -> bytes:
    if token is None:
        raise ValueError("its tokens are not numbered from 0 on")
    return bytes(_BYTES[each] for each in token)

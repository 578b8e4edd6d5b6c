"""Texts as words, and words as numbers: what counting n-grams needs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Words = Literal["words", "characters", "whitespace"]

_IDEOGRAPHS = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+(?:['\u2019][^\W{_IDEOGRAPHS}]+)*")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def words(text: str) -> list[str]:
    """Letters, digits and underscores that stand together, in lower case; Chinese and Japanese characters one by one."""
    return _WORD.findall(text.lower())


def characters(text: str) -> list[str]:
    """Every character in lower case, without white space."""
    return list("".join(text.lower().split()))


def whitespace(text: str) -> list[str]:
    """What white space divides, as it is written."""
    return text.split()


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "words": words,
    "characters": characters,
    "whitespace": whitespace,
}
DESCRIBED = {
    "words": "Unicode words in lower case, Chinese and Japanese characters one by one",
    "characters": "characters in lower case without white space",
    "whitespace": "words split at white space",
}


def numbered(texts: Sequence[str], tokenizer: str) -> list[NDArray[np.uint64]]:
    """The words of each text as 64-bit digests, which are the same in every process."""
    split = TOKENIZERS[tokenizer]
    known: dict[str, int] = {}
    rows = []
    for text in texts:
        tokens = split(text)
        for token in tokens:
            if token not in known:
                known[token] = int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "little")
        rows.append(np.array([known[token] for token in tokens], np.uint64))
    return rows


def ngrams(tokens: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """A digest of every `n` words that stand together, in order: (len - n + 1). Different ones collide by less than 1e-9
    among 100,000 of them."""
    count = max(0, len(tokens) - n + 1)
    found = np.zeros(count, np.uint64)
    for place in range(n):
        found = _mixed(found * _MULTIPLIER + tokens[place : place + count])
    return found


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al. 2014): every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * _MIXERS[0]
    values = (values ^ (values >> np.uint64(27))) * _MIXERS[1]
    return values ^ (values >> np.uint64(31))

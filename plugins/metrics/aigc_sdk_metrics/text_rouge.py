"""ROUGE (Lin 2004), equal to the package rouge_score's; the longest common subsequence by bits, a word of the reference at
a time (Crochemore et al. 2001; Hyyrö 2004)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from aigc_sdk.errors import MissingDependency

from .accumulate import KEPT, Array, Figure, Rows, Summed, ratio
from .text_batch import TextBatch
from .text_overlap import counted
from .text_words import characters, words

NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
TOKENIZERS = ("rouge_score", "words", "characters")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
STEMMED_LENGTH = 4  # letters; shorter words are left alone

Tokens = list[str]


class Overlap(NamedTuple):
    """Precision, recall and their harmonic mean, F1."""

    precision: float
    recall: float
    f1: float


class Rouge(Summed):
    """F1 of ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum, each the mean over texts; of several references the best counts.

    ROUGE-Lsum takes lines for sentences. tokenizer: "rouge_score" knows a-z and 0-9 alone; "words" and "characters" are
    for other scripts. stemmer: Porter's, of English, for words of more than three letters.
    """

    name = "rouge"
    batch = TextBatch
    needs_references = True
    size = len(NAMES) + 1

    def __init__(self, tokenizer: str = "rouge_score", *, stemmer: bool = False, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.tokenizer, self.stemmer = tokenizer, stemmer
        self._split = splitter(tokenizer, stemmer=stemmer)

    def measure(self, batch: TextBatch) -> Array:
        """[F1 of each, 1]."""
        return np.array(
            [[*(each.f1 for each in self.best(text, references)), 1.0] for text, references in batch.pairs()]
        )

    def best(self, text: str, references: Sequence[str]) -> tuple[Overlap, ...]:
        """In the order of NAMES: of several references the one with the best F1, for each."""
        found = [self.pair(text, each) for each in references]
        if len(found) == 1:
            return found[0]
        return tuple(max(each, key=lambda overlap: overlap.f1) for each in zip(*found, strict=True))

    def pair(self, text: str, reference: str) -> tuple[Overlap, ...]:
        """In the order of NAMES."""
        mine, its = self._split(text), self._split(reference)
        longest = _f1(common_length(mine, its), len(mine), len(its))
        return (_shared(mine, its, 1), _shared(mine, its, 2), longest, self._summary(text, reference, longest))

    def figures(self) -> dict[str, Figure]:
        """A mean each, 0 to 1."""
        how = f"{self.tokenizer} tokeniser, {'Porter stemmer' if self.stemmer else 'no stemmer'}"
        protocol = f"F1, {how}, sentences are lines, best of several references, mean over texts"
        return {
            name: Figure(partial(ratio, above=index, below=len(NAMES)), f"{name} {protocol}", higher_is_better=True)
            for index, name in enumerate(NAMES)
        }

    def rows(self, statistics: Array) -> Rows:
        """F1 of each."""
        return [dict(zip(NAMES, each, strict=False)) for each in statistics[:, : len(NAMES)].tolist()]

    def _summary(self, text: str, reference: str, longest: Overlap) -> Overlap:
        """The union of each reference sentence's common subsequences with all sentences (section 3.2 of the paper)."""
        mine, its = ([each for each in one.split("\n") if each] for one in (text, reference))
        if len(mine) == len(its) == 1:
            return longest  # of a pair of sentences it is the same
        return union_overlap(list(map(self._split, mine)), list(map(self._split, its)))


def splitter(tokenizer: str, *, stemmer: bool) -> Callable[[str], Tokens]:
    """From text to words."""
    split = {"rouge_score": _ascii_words, "words": words, "characters": characters}[tokenizer]
    return partial(_stemmed, split, porter()) if stemmer else split


def porter() -> Any:
    """The stemmer that rouge_score uses. Raises MissingDependency."""
    try:
        from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]
    except ImportError as error:
        message = 'the stemmer needs nltk; pip install "aigc-sdk-metrics[stemmer]", or pass rouge_stemmer=False'
        raise MissingDependency(message) from error
    return PorterStemmer()


def _ascii_words(text: str) -> Tokens:
    return _ASCII_WORD.findall(text.lower())


def _stemmed(split: Callable[[str], Tokens], stemmer: Any, text: str) -> Tokens:
    return [stemmer.stem(each) if len(each) >= STEMMED_LENGTH else each for each in split(text)]


def _shared(mine: Tokens, its: Tokens, n: int) -> Overlap:
    found, wanted = counted(mine, n), counted(its, n)
    hits = sum(min(found[each], wanted[each]) for each in found.keys() & wanted.keys())
    return _f1(hits, len(mine) - n + 1, len(its) - n + 1)


def _f1(hits: int, mine: int, its: int) -> Overlap:
    if not hits:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = hits / mine, hits / its
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall))


def common_length(mine: Tokens, its: Tokens) -> int:
    """The length of the longest common subsequence."""
    if not mine or not its:
        return 0
    *_, last = _table(mine, its)
    return last.bit_count()


def union_overlap(mine: list[Tokens], its: list[Tokens]) -> Overlap:
    """Of all sentences: each word of the references counts no more often than the text has it."""
    left = Counter(token for sentence in mine for token in sentence)
    hits = 0
    for sentence in its:
        places = sorted({place for each in mine for place in _common_places(each, sentence)})
        for token in (sentence[place] for place in places):
            if left[token] > 0:
                hits += 1
                left[token] -= 1
    return _f1(hits, sum(map(len, mine)), sum(map(len, its)))


def _table(mine: Tokens, its: Tokens) -> list[int]:
    """A row of bits for each beginning of `its`: bit j is set where word j of `mine` makes the subsequence longer."""
    places: dict[str, int] = {}
    for index, token in enumerate(mine):
        places[token] = places.get(token, 0) | 1 << index
    everything = (1 << len(mine)) - 1
    bits, rows = everything, [0]
    for token in its:
        matching = bits & places.get(token, 0)
        bits = (bits + matching | bits - matching) & everything
        rows.append(bits ^ everything)
    return rows


def _common_places(mine: Tokens, its: Tokens) -> list[int]:
    """The places in `its` of one longest common subsequence, the same one that rouge_score finds."""
    rows = _table(mine, its)
    i, j, found = len(its), len(mine), []
    while i and j:
        if its[i - 1] == mine[j - 1]:
            found.append(i - 1)
            i, j = i - 1, j - 1
        elif _length(rows[i], j - 1) > _length(rows[i - 1], j):
            j -= 1
        else:
            i -= 1
    return found


def _length(row: int, upto: int) -> int:
    return (row & (1 << upto) - 1).bit_count()

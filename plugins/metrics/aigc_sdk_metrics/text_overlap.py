"""How much of the references a text has, in n-grams and edits: BLEU, chrF and TER, each equal to sacrebleu's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from aigc_sdk.errors import MissingDependency

from .accumulate import KEPT, Array, Figure, Rows, Summed
from .text_batch import TextBatch

ORDER = 4  # words of the longest n-grams of BLEU
CHARACTERS = 6  # of the longest n-grams of chrF
BETA = 2  # chrF weighs recall twice as much as precision

Counts = Sequence[Counter[Any]]


class Overlap(Summed):
    """What the three share: references, whose number stands in the signature."""

    batch = TextBatch
    needs_references = True

    def __init__(self, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.reference_counts: set[int] = set()

    def settings(self) -> Any:
        """How texts become words, however many references there are."""
        return {name: getattr(self, name, None) for name in ("name", "tokenizer", "lowercase")}

    def measure(self, batch: TextBatch) -> Array:
        """The statistics of each text against its references."""
        self.reference_counts |= {len(references) for _, references in batch.pairs()}
        return np.array([self.pair(text, references) for text, references in batch.pairs()], np.float64)

    def pair(self, text: str, references: Sequence[str]) -> Sequence[float]:
        """What one text adds to the sums."""
        raise NotImplementedError

    def merge(self, other: Any) -> None:
        """Add up; the numbers of references may differ."""
        super().merge(other)
        self.reference_counts |= other.reference_counts


class BLEU(Overlap):
    """BLEU (Papineni et al. 2002) as sacrebleu computes it (Post 2018): corpus level, 4-grams, exponential smoothing.

    Rows have the BLEU of each text alone, of the orders that it is long enough for.
    """

    name = "bleu"
    size = 2 + 2 * ORDER

    def __init__(self, tokenizer: str = "13a", *, lowercase: bool = False, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.tokenizer, self.lowercase = tokenizer, lowercase
        self._split = splitter(tokenizer, lowercase=lowercase)

    def pair(self, text: str, references: Sequence[str]) -> Sequence[float]:
        """[words, words of the reference that is nearest in length, matches of 4 orders, n-grams of 4 orders]."""
        tokens = self._split(text)
        others = [self._split(each) for each in references]
        nearest = min((abs(len(each) - len(tokens)), len(each)) for each in others)[1]
        matches, totals = [0] * ORDER, [max(0, len(tokens) - n) for n in range(ORDER)]
        for n in range(ORDER):
            found, wanted = counted(tokens, n + 1), most_of([counted(each, n + 1) for each in others])
            matches[n] = sum(min(found[each], wanted[each]) for each in found.keys() & wanted.keys())
            if not matches[n]:
                break  # no longer n-gram is shared where no shorter one is
        return [len(tokens), nearest, *matches, *totals]

    def figures(self) -> dict[str, Figure]:
        """One score, 0 to 100."""
        from sacrebleu.metrics.bleu import BLEU as Sacre

        signature = signed(Sacre(tokenize=self.tokenizer, lowercase=self.lowercase), self.reference_counts)
        return {"bleu": Figure(bleu, f"sacrebleu signature {signature}", higher_is_better=True)}

    def rows(self, statistics: Array) -> Rows:
        """Sentence BLEU."""
        return [{"bleu": each} for each in bleu(statistics, effective=True).tolist()]


class ChrF(Overlap):
    """chrF (Popović 2015) as sacrebleu computes it: F2 of character n-grams up to 6, white space left out."""

    name = "chrf"
    size = 3 * CHARACTERS

    def __init__(self, *, lowercase: bool = False, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.lowercase = lowercase

    def pair(self, text: str, references: Sequence[str]) -> Sequence[float]:
        """[n-grams of the text, of the reference, shared] for each order, of the reference that gives the best score."""
        found = self._counted(text)
        against = [self._shared(found, self._counted(each)) for each in references]
        if len(against) == 1:
            return against[0]
        return against[int(np.argmax(chrf(np.array(against, np.float64))))]

    def figures(self) -> dict[str, Figure]:
        """One score, 0 to 100."""
        from sacrebleu.metrics.chrf import CHRF as Sacre

        signature = signed(Sacre(lowercase=self.lowercase), self.reference_counts)
        return {"chrf": Figure(chrf, f"sacrebleu signature {signature}", higher_is_better=True)}

    def _counted(self, text: str) -> Counts:
        joined = "".join((text.lower() if self.lowercase else text).split())
        return [counted(joined, n + 1) for n in range(CHARACTERS)]

    def _shared(self, found: Counts, wanted: Counts) -> list[float]:
        statistics: list[float] = []
        for mine, its in zip(found, wanted, strict=True):
            total = sum(its.values())
            shared = sum(min(mine[each], its[each]) for each in mine.keys() & its.keys())
            statistics += [sum(mine.values()) if total else 0, total, shared]
        return statistics


class TER(Overlap):
    """Translation edit rate (Snover et al. 2006) by sacrebleu: edits and shifts per word of the reference, in per cent."""

    name = "ter"
    size = 2

    def __init__(self, keep: int = KEPT) -> None:
        from sacrebleu.metrics.ter import TER as Sacre

        super().__init__(keep)
        self._sacre = Sacre()

    def pair(self, text: str, references: Sequence[str]) -> Sequence[float]:
        """[edits to the nearest reference, mean words of the references]."""
        found = self._sacre.sentence_score(text, list(references))
        return [found.num_edits, found.ref_length]

    def figures(self) -> dict[str, Figure]:
        """One score; 0 is perfect, and it can exceed 100."""
        from sacrebleu.metrics.ter import TER as Sacre

        signature = signed(Sacre(), self.reference_counts)
        return {"ter": Figure(ter, f"sacrebleu signature {signature}", higher_is_better=False)}


def counted(tokens: Sequence[Any], n: int) -> Counter[Any]:
    """How often each n-gram occurs."""
    if n == 1:
        return Counter(tokens)
    return Counter(zip(*(tokens[place:] for place in range(n)), strict=False))


def most_of(counts: Counts) -> Counter[Any]:
    """Of each n-gram as many as the reference has that has most of them."""
    most = counts[0]
    for each in counts[1:]:
        most = most | each
    return most


def splitter(tokenizer: str, *, lowercase: bool) -> Callable[[str], list[str]]:
    """sacrebleu's tokeniser as a function that gives words. Raises MissingDependency."""
    from sacrebleu.metrics.bleu import BLEU as Sacre

    try:
        split = Sacre(tokenize=tokenizer).tokenizer
    except (ImportError, RuntimeError) as error:
        extra = 'pip install "aigc-sdk-metrics[japanese]"'
        raise MissingDependency(f"the tokenizer {tokenizer!r} is not installed; {extra}") from error
    return partial(_split, split, lowercase)


def _split(tokenizer: Callable[[str], str], lowercase: bool, text: str) -> list[str]:
    return tokenizer((text.lower() if lowercase else text).rstrip()).split()


def signed(metric: Any, reference_counts: set[int]) -> str:
    """sacrebleu's signature of a metric."""
    metric.num_refs = next(iter(reference_counts)) if len(reference_counts) == 1 else -1
    return str(metric.get_signature().format())


def bleu(sums: Array, effective: bool = False) -> Array:
    """BLEU from sums (..., 10) as `BLEU.pair` makes them. effective: of the orders that there are n-grams of."""
    length, wanted = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    there = totals > 0
    halvings = np.cumsum((matches == 0) & there, axis=-1)
    smoothed = np.where(matches > 0, matches, np.exp2(-halvings.astype(np.float64))) / np.where(there, totals, 1)
    logs = np.where(there, np.log(100 * smoothed), 0.0 if effective else -np.inf)
    orders = np.maximum(there.sum(-1), 1) if effective else ORDER
    shortness = np.minimum(0.0, 1 - wanted / np.where(length > 0, length, 1))
    score = np.exp(shortness + logs.sum(-1) / orders)
    return np.where((matches > 0).any(-1), score, 0.0)


def chrf(sums: Array) -> Array:
    """chrF from sums (..., 18) as `ChrF.pair` makes them."""
    found, wanted, shared = (sums[..., place::3] for place in range(3))
    there = (found > 0) & (wanted > 0)
    orders = np.maximum(there.sum(-1), 1)
    precision = (shared * there / np.maximum(found, 1)).sum(-1) / orders
    recall = (shared * there / np.maximum(wanted, 1)).sum(-1) / orders
    both = BETA**2 * precision + recall
    return np.where(both > 0, 100 * (1 + BETA**2) * precision * recall / np.where(both > 0, both, 1), 0.0)


def ter(sums: Array) -> Array:
    """TER from [edits, words]; edits of an empty reference count as 100 %."""
    edits, words = sums[..., 0], sums[..., 1]
    return 100 * np.where(words > 0, edits / np.where(words > 0, words, 1), edits > 0)

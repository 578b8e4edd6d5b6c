"""How varied texts are, without references: distinct n-grams, self-BLEU, repetition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk.errors import DataError, InputError
from aigc_sdk.protocols import Score
from aigc_sdk.statistics import Additive

from .accumulate import KEPT, TIMES, Array, Figure, Metric, Rows, Summed, bootstrapped, ratio, require_samples
from .text_batch import TextBatch
from .text_overlap import ORDER, bleu
from .text_words import DESCRIBED, ngrams, numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARED = -1  # in place of the one text that has an n-gram
SETTLED = 1 << 16  # n-grams that are kept unsorted at least
SELF_BLEU_TEXTS = 10_000  # words of so many texts are kept, 8 bytes each


class Distinct(Metric):
    """Distinct n-grams as part of all n-grams (Li et al. 2016), over all texts together.

    It falls as texts are added, since words come again: compare figures of about as many words alone. Its state holds
    16 bytes per different n-gram. The interval is the jackknife's (Efron and Stein 1981): a bootstrap would draw texts
    twice, and so find them less varied than they are.
    """

    name = "distinct"
    batch = TextBatch

    def __init__(self, n: int = 2, tokenizer: str = "words") -> None:
        self.n, self.tokenizer = n, tokenizer
        self.grams = np.empty(0, np.uint64)
        """All different n-grams, sorted."""
        self.owners = np.empty(0, np.int64)
        """For each the number of the text that alone has it, or SHARED."""
        self.counts: list[int] = []
        """n-grams of each text."""
        self._fresh: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []

    def gather(self, batch: Any) -> Rows:
        """Take in a batch; each row has the part of that text alone."""
        texts = [ngrams(row, self.n) for row in _numbered(batch, self.tokenizer)]
        start = len(self.counts)
        self._add(np.concatenate(texts), np.repeat(np.arange(start, start + len(texts)), list(map(len, texts))))
        self.counts += [len(each) for each in texts]
        return [{f"distinct_{self.n}": len(np.unique(each)) / len(each) if len(each) else None} for each in texts]

    def merge(self, other: Self) -> None:
        """Take in the n-grams of other texts."""
        if type(other) is not type(self) or (other.n, other.tokenizer) != (self.n, self.tokenizer):
            raise InputError(f"distinct_{self.n} of {self.tokenizer} cannot be merged with {other!r}", field="other")
        other._settle()
        owners = np.where(other.owners == SHARED, SHARED, other.owners + len(self.counts))
        self._add(other.grams, owners)
        self.counts += other.counts

    def compute(self, times: int = TIMES, seed: int = 0) -> dict[str, Score]:
        """One score, 0 to 1. times: 0 makes no interval, any other number the same one."""
        require_samples(f"distinct_{self.n}", len(self.counts))
        self._settle()
        counts, total = np.array(self.counts), sum(self.counts)
        if not total:
            message = f"distinct_{self.n} has no value over these samples; it needs a text of {self.n} words or more"
            raise DataError(message, field="samples")
        value = len(self.grams) / total
        interval = self._jackknife(counts, value) if times and len(counts) > 1 and counts.max() < total else None
        protocol = f"different {self.n}-grams by all {self.n}-grams of all texts, {DESCRIBED[self.tokenizer]}"
        protocol += "; 95 % jackknife interval over texts" if interval else ""
        return {f"distinct_{self.n}": Score(value, len(counts), protocol, True, interval)}

    def _jackknife(self, counts: NDArray[np.int64], value: float) -> tuple[float, float]:
        alone = np.bincount(self.owners[self.owners != SHARED], minlength=len(counts))
        without = (len(self.grams) - alone) / (counts.sum() - counts)  # the value, each text left out in turn
        n = len(counts)
        half = 1.96 * math.sqrt((n - 1) / n * float(np.square(without - without.mean()).sum()))
        return max(0.0, value - half), min(1.0, value + half)

    def _add(self, grams: NDArray[np.uint64], owners: NDArray[np.int64]) -> None:
        """Kept apart until they are as many as those that are settled, so that all are sorted a few times alone."""
        self._fresh.append((grams, owners))
        if sum(len(each) for each, _ in self._fresh) > max(SETTLED, len(self.grams)):
            self._settle()

    def _settle(self) -> None:
        """Each n-gram once; who has it is known no more when several do."""
        parts = [(self.grams, self.owners), *self._fresh]
        grams, owners = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(grams, kind="stable")
        grams, owners = grams[order], owners[order]
        first = np.flatnonzero(np.r_[True, grams[1:] != grams[:-1]][: len(grams)])
        least, most = (each.reduceat(owners, first) if len(first) else owners for each in (np.minimum, np.maximum))
        self.grams, self.owners, self._fresh = grams[first], np.where(least == most, least, SHARED), []


class Repetition(Summed):
    """The part of a text's n-grams that it has had before (seq-rep-n, Welleck et al. 2020), the mean over texts.

    Texts of fewer than n words count for nothing.
    """

    name = "repetition"
    batch = TextBatch
    size = 2

    def __init__(self, n: int = 4, tokenizer: str = "words", keep: int = KEPT) -> None:
        super().__init__(keep)
        self.n, self.tokenizer = n, tokenizer

    def measure(self, batch: Any) -> Array:
        """[part, 1], or zeros for a text that is too short."""
        texts = [ngrams(row, self.n) for row in _numbered(batch, self.tokenizer)]
        return np.array([[1 - len(np.unique(each)) / len(each), 1.0] if len(each) else [0.0, 0.0] for each in texts])

    def figures(self) -> dict[str, Figure]:
        """One score, 0 to 1."""
        protocol = f"1 - different by all {self.n}-grams of a text, mean over texts, {DESCRIBED[self.tokenizer]}"
        needs = f"a text of {self.n} words or more"
        return {f"repetition_{self.n}": Figure(ratio, protocol, higher_is_better=False, needs=needs)}


class SelfBLEU(Metric):
    """The BLEU of each text with all others as references (Zhu et al. 2018), the mean over texts: high is monotonous.

    It grows with the number of texts: compare figures of as many alone. Its state holds the words of the first `most`
    texts, 8 bytes each; the time is that of sorting all n-grams. The interval takes the other texts as they are.
    """

    name = "self_bleu"
    batch = TextBatch

    def __init__(self, tokenizer: str = "words", most: int = SELF_BLEU_TEXTS) -> None:
        self.tokenizer, self.most = tokenizer, most
        self.texts: list[NDArray[np.uint64]] = []
        self.count = 0
        self._values: NDArray[np.float64] | None = None

    def gather(self, batch: Any) -> Rows:
        """Keep the words of a batch; what a row says needs all of them."""
        self._take(_numbered(batch, self.tokenizer), len(batch))
        return []

    def merge(self, other: Self) -> None:
        """Take in other texts."""
        if type(other) is not type(self) or (other.most, other.tokenizer) != (self.most, self.tokenizer):
            raise InputError(f"self_bleu of {self.tokenizer} cannot be merged with {other!r}", field="other")
        self._take(other.texts, other.count)

    def compute(self, times: int = TIMES, seed: int = 0) -> dict[str, Score]:
        """One score, 0 to 100."""
        if len(self.texts) < 2:
            message = f"self_bleu compares texts with each other and has {len(self.texts)}; give at least two"
            raise DataError(message, field="samples")
        part = self.parts()["self_bleu"]
        interval = part.interval(times, seed)
        which = "" if self.count == len(self.texts) else f" the first {len(self.texts):,} of {self.count:,} texts,"
        protocol = (
            f"mean over texts of sentence BLEU with all others as references,{which} exponential smoothing, orders up to "
            f"{ORDER} that a text is long enough for, {DESCRIBED[self.tokenizer]}"
        )
        protocol += f"; {bootstrapped(times)}, the others as they are" if interval else ""
        return {"self_bleu": Score(part.total, len(self.texts), protocol, higher_is_better=False, interval=interval)}

    def late_rows(self) -> Rows:
        """The BLEU of each text; none beyond the first `most`."""
        beyond = [None] * (self.count - len(self.texts))
        return [{"self_bleu": each} for each in [*self._each().tolist(), *beyond]]

    def parts(self) -> dict[str, Additive]:
        """A mean over texts."""
        values = self._each()
        return {"self_bleu": Additive(np.stack([values, np.ones_like(values)], axis=1), ratio)}

    def _take(self, rows: list[NDArray[np.uint64]], count: int) -> None:
        self.texts += rows[: self.most - len(self.texts)]
        self.count += count
        self._values = None

    def _each(self) -> NDArray[np.float64]:
        if self._values is None:
            self._values = np.asarray(bleu(_against_others(self.texts), effective=True))
        return self._values


def _numbered(batch: TextBatch, tokenizer: str) -> list[NDArray[np.uint64]]:
    """The words of a batch as numbers, made once for all metrics."""
    return batch.once(("numbered", tokenizer), lambda: numbered(batch.samples, tokenizer))


def _against_others(texts: list[NDArray[np.uint64]]) -> NDArray[np.float64]:
    """What BLEU needs of each text against all others: (texts, 10), as `text_overlap.bleu` takes it."""
    lengths = np.array([len(each) for each in texts])
    matches = [_matches([ngrams(each, n + 1) for each in texts]) for n in range(ORDER)]
    totals = [np.maximum(0, lengths - n) for n in range(ORDER)]
    return np.stack([lengths, _nearest(lengths), *matches, *totals], axis=1).astype(np.float64)


def _matches(rows: list[NDArray[np.uint64]]) -> NDArray[np.int64]:
    """For each text, how many of its n-grams the other text has that has most of them."""
    owners = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    grams = np.concatenate(rows)
    order = np.lexsort((owners, grams))
    grams, owners = grams[order], owners[order]
    first = np.flatnonzero(np.r_[True, (grams[1:] != grams[:-1]) | (owners[1:] != owners[:-1])][: len(grams)])
    counts = np.diff(np.r_[first, len(grams)])  # of an n-gram in a text
    grams, owners = grams[first], owners[first]
    order = np.lexsort((-counts, grams))
    grams, owners, counts = grams[order], owners[order], counts[order]
    starts = np.flatnonzero(np.r_[True, grams[1:] != grams[:-1]][: len(grams)])
    sizes = np.diff(np.r_[starts, len(grams)])
    most = counts[starts]
    second = np.where(sizes > 1, counts[np.minimum(starts + 1, len(counts) - 1)] if len(counts) else most, 0)
    others = np.repeat(most, sizes)
    others[starts] = second  # for the text that has most of it, the next one counts
    return np.bincount(owners, weights=np.minimum(counts, others), minlength=len(rows)).astype(np.int64)


def _nearest(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each text, the length of another that is nearest to its own; of two as near, the shorter."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order].astype(np.float64)
    below, above = np.r_[-np.inf, ordered[:-1]], np.r_[ordered[1:], np.inf]
    found = np.empty(len(lengths), np.int64)
    found[order] = np.where(ordered - below <= above - ordered, below, above)
    return found

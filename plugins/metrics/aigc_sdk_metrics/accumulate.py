"""What all metrics share: they gather in one pass, are added up across processes, and say how far they can be trusted.

A `Metric` is updated with batches of samples, merged with others of its kind, and computed at the end. Its state stays
small whatever the number of samples: most metrics are functions of sums over samples and keep, beside these, what
at most KEPT samples or blocks of samples add to them, which is all that an interval or a comparison needs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import numpy as np

from aigc_sdk.errors import DataError, InputError
from aigc_sdk.protocols import Exam, Report, Score, Step
from aigc_sdk.statistics import Additive, resampled_sums, widened

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")
Array = Any  # of floats; numpy's own type says nothing of shapes, which stand at the line's end
Rows = Sequence[Mapping[str, Any]]

KEPT = 8192  # units that a metric keeps of its samples; of 10 numbers each they take 640 KB
BATCH = 256  # samples that `judge` gives to each metric in turn
TIMES = 1000  # bootstrap resamplings


class Batch:
    """Some samples with their references, and what several metrics need of them, computed once.

    A modality's own subclass refuses, when it is made, samples and references that its metrics cannot judge.
    """

    def __init__(self, samples: Sequence[Any], references: Sequence[Any] | None = None) -> None:
        self.samples = tuple(samples)
        self.references = None if references is None else tuple(references)
        self._known: dict[Hashable, Any] = {}
        if self.references is not None and len(self.references) != len(self.samples):
            message = f"{len(self.references)} references for {len(self.samples)} samples; pass one each"
            raise DataError(message, field="references")

    def __len__(self) -> int:
        return len(self.samples)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns, made when the first metric asks for it under `key`: features, words, transcripts."""
        if key not in self._known:
            self._known[key] = make()
        return cast(T, self._known[key])

    def part(self, start: int, stop: int) -> Self:
        """The samples from `start` to `stop`, which were checked already."""
        part = object.__new__(type(self))
        part.samples = self.samples[start:stop]
        part.references = None if self.references is None else self.references[start:stop]
        part._known = {}
        return part


class Metric(ABC):
    """One metric, or several that are computed from the same things.

    A metric writes `gather`, `merge` and `compute`. Its state can be pickled and sent to another process.
    """

    name: ClassVar[str]
    batch: ClassVar[type[Batch]] = Batch
    """How samples and references are checked and held."""
    needs_references: ClassVar[bool] = False

    def update(self, samples: Sequence[Any], references: Sequence[Any] | None = None) -> None:
        """Take in more samples. Raises DataError for what cannot be judged; nothing is taken in then."""
        batch = self.batch(samples, references)
        self.check(batch)
        if len(batch):
            self.gather(batch)

    def check(self, batch: Batch) -> None:
        """Refuse samples without the references that this metric needs."""
        if self.needs_references and batch.references is None:
            raise DataError(f"{self.name} compares with references; pass references=", field="references")

    @abstractmethod
    def gather(self, batch: Batch) -> Rows:
        """Take in a batch, and return what is to be said of each of its samples."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in what another metric of this kind and these settings has gathered, as from another process."""

    @abstractmethod
    def compute(self, times: int = TIMES, seed: int = 0) -> dict[str, Score]:
        """The scores of all samples so far, with intervals of so many resamplings. Raises DataError where there are none."""

    def late_rows(self) -> Rows | None:
        """What can be said of each sample only when all are known; None: nothing."""
        return None

    def parts(self) -> dict[str, Additive]:
        """What those scores are made of that are functions of sums over samples."""
        return {}


@dataclass(frozen=True)
class Figure:
    """A score as a function of sums."""

    value: Callable[[Array], Array]
    """From sums (..., k) to figures (...), NaN where they give none. A function that can be pickled."""
    protocol: str
    higher_is_better: bool
    needs: str = "other samples"
    """What there must be for it to have a value, such as "a text of four words"."""


class Sums:
    """What samples add to sums, each by itself as long as they are few, and in blocks of neighbours when they are many."""

    def __init__(self, size: int, keep: int = KEPT) -> None:
        self.keep = keep
        self.count = 0
        self.block = 1
        """How many samples each of `blocks` is of."""
        self.blocks = np.empty((0, size))
        self.rest = np.zeros(size)
        self.rest_count = 0

    @property
    def units(self) -> NDArray[np.float64]:
        """What is resampled: (units, k)."""
        return np.vstack([self.blocks, self.rest]) if self.rest_count else self.blocks

    def add(self, statistics: Array) -> None:
        """Take in what samples add: (n, k)."""
        count = len(statistics)
        starts = np.unique(np.maximum(0, np.arange(0, count + self.rest_count, self.block) - self.rest_count))
        sums = np.add.reduceat(np.asarray(statistics, np.float64), starts, axis=0)  # (blocks, k)
        sums[0] += self.rest
        left = (count + self.rest_count) % self.block
        self.rest, self.rest_count = (sums[-1], left) if left else (np.zeros_like(self.rest), 0)
        self.blocks = np.vstack([self.blocks, sums[:-1] if left else sums])
        self.count += count
        self._fold()

    def merge(self, other: Sums) -> None:
        """Take in the samples of another."""
        mine, others = self._of_block(max(self.block, other.block)), other._of_block(max(self.block, other.block))
        self.block = mine.block
        self.blocks = np.vstack([mine.blocks, others.blocks])
        self.rest, self.rest_count = mine.rest + others.rest, mine.rest_count + others.rest_count
        self.count += other.count
        self._settle()
        self._fold()

    def _of_block(self, block: int) -> Sums:
        made = Sums(self.blocks.shape[1], self.keep)
        vars(made).update(vars(self))
        while made.block < block:
            made._double()
        return made

    def _fold(self) -> None:
        while len(self.blocks) > self.keep:
            self._double()

    def _double(self) -> None:
        even = len(self.blocks) // 2 * 2
        self.rest = self.rest + self.blocks[even:].sum(0)
        self.rest_count += self.block * (len(self.blocks) - even)
        self.blocks = self.blocks[:even].reshape(even // 2, 2, -1).sum(1)
        self.block *= 2
        self._settle()

    def _settle(self) -> None:
        """A rest that has grown to a block is one, be it a little larger than the others."""
        if self.rest_count >= self.block:
            self.blocks = np.vstack([self.blocks, self.rest])
            self.rest, self.rest_count = np.zeros_like(self.rest), 0


class Summed(Metric):
    """A metric whose scores are functions of sums over samples. It writes `measure` and `figures`."""

    size: int
    """How many sums there are."""

    def __init__(self, keep: int = KEPT) -> None:
        self.sums = Sums(self.size, keep)

    @abstractmethod
    def measure(self, batch: Any) -> Array:
        """What each sample adds to the sums: (n, k)."""

    @abstractmethod
    def figures(self) -> dict[str, Figure]:
        """The scores."""

    def gather(self, batch: Batch) -> Rows:
        """Take in a batch; each sample's row has the figures of it alone."""
        statistics = self.measure(batch)
        self.sums.add(statistics)
        return self.rows(statistics)

    def rows(self, statistics: Array) -> Rows:
        """What is said of each sample: its own figures, or None for those that it has not."""
        names = list(self.figures())
        columns = [figure.value(statistics).tolist() for figure in self.figures().values()]
        return [
            {name: value if math.isfinite(value) else None for name, value in zip(names, row, strict=True)}
            for row in zip(*columns, strict=True)
        ]

    def merge(self, other: Self) -> None:
        """Add up."""
        theirs = other.settings() if type(other) is type(self) else type(other).__name__
        if theirs != self.settings():
            message = (
                f"{self.name} of {self.settings()} cannot be merged with {theirs}; merge metrics of the same settings"
            )
            raise InputError(message, field="other")
        self.sums.merge(other.sums)

    def compute(self, times: int = TIMES, seed: int = 0) -> dict[str, Score]:
        """The scores, with percentile intervals."""
        require_samples(self.name, self.sums.count)
        units, total = self.sums.units, self.sums.units.sum(0)
        resampled = resampled_sums(units, times, seed) if times and len(units) > 1 else None
        scores = {}
        for name, figure in self.figures().items():
            value = float(figure.value(total))
            if not np.isfinite(value):
                raise DataError(f"{name} has no value over these samples; it needs {figure.needs}", field="samples")
            interval = None if resampled is None else widened(figure.value(resampled), value)
            what = "samples" if self.sums.block == 1 else f"blocks of {self.sums.block:,} samples"
            protocol = figure.protocol + (resampled is not None) * f"; {bootstrapped(times, what)}"
            scores[name] = Score(value, self.sums.count, protocol, figure.higher_is_better, interval)
        return scores

    def parts(self) -> dict[str, Additive]:
        """Every score is made of sums."""
        return {name: Additive(self.sums.units, figure.value) for name, figure in self.figures().items()}

    def settings(self) -> Any:
        """What another of this kind must have alike to be merged: the protocols of its scores."""
        return {name: figure.protocol for name, figure in self.figures().items()}


def judge(makes: Iterable[Metric], exam: Exam, kind: type[Batch], *, times: int = TIMES, seed: int = 0) -> Report:
    """The report of all metrics on an exam, in one pass over its samples, BATCH at a time.

    makes: the metrics; an iterator that makes them is asked for one only when the samples are known to be sound.
    """
    whole = kind(exam.samples, exam.references)
    metrics = list(makes)
    for metric in metrics:
        metric.check(whole)
    rows: list[dict[str, Any]] = [{} for _ in exam.samples]
    for start in range(0, len(whole), BATCH):
        batch = whole.part(start, start + BATCH)
        for metric in metrics:
            _add(rows[start : start + BATCH], metric.gather(batch))
        exam.on_step(Step(start + len(batch), len(whole)))
    scores: dict[str, Score] = {}
    parts: dict[str, Additive] = {}
    for metric in metrics:
        scores |= metric.compute(times, seed)
        parts |= metric.parts()
        _add(rows, metric.late_rows() or ())
    return Report(scores, rows, parts)


def require_samples(name: str, count: int) -> None:
    """Refuse a score of nothing."""
    if not count:
        raise DataError(f"{name} has seen no samples; update it with at least one", field="samples")


def bootstrapped(times: int, what: str = "samples") -> str:
    """How the interval was made, for a protocol."""
    return f"95 % interval of {times:,} bootstrap resamplings of the {what}"


def ratio(sums: Array, above: int = 0, below: int = 1, factor: float = 1.0) -> Array:
    """One sum divided by another; NaN where that is 0."""
    divisor = sums[..., below]
    return factor * np.divide(sums[..., above], divisor, out=np.full(divisor.shape, np.nan), where=divisor != 0)


def _add(rows: Sequence[dict[str, Any]], found: Rows) -> None:
    if found:
        for row, more in zip(rows, found, strict=True):
            row.update(more)

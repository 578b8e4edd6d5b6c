"""Intervals of scores, how far a figure would move with other samples of the same kind; and paired comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERAGE = 0.95
DRAWS_LIMIT = 1 << 22  # random numbers at a time: 32 MB of them


@dataclass(frozen=True)
class Additive:
    """A figure that is a function of sums over samples: of errors and words, of matches and totals, of values and ones.

    Intervals and comparisons are computed from the sums of resampled samples, so the samples are never looked at again.
    """

    statistics: NDArray[np.float64]
    """What each sample, or block of samples, adds to the sums: (samples, k)."""
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """From sums (..., k) to figures (...); NaN where the sums give none, such as errors over no words."""

    @property
    def total(self) -> float:
        """The figure of all samples."""
        return float(self.value(self.statistics.sum(0)))

    def interval(self, times: int = 1000, seed: int = 0) -> tuple[float, float] | None:
        """The 95 % percentile interval (Efron 1979), widened to hold the figure; None where nothing can be resampled."""
        if not times or len(self.statistics) < 2:
            return None
        return widened(self.value(resampled_sums(self.statistics, times, seed)), self.total)


def resamples(count: int, times: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """`times` drawings of `count` out of `count` samples, with replacement: their indices."""
    rng = np.random.default_rng(seed)
    for _ in range(times):
        yield rng.integers(count, size=count)


def interval(values: list[float]) -> tuple[float, float]:
    """The middle 95 % of `values`."""
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def bootstrap(
    figure: Callable[[NDArray[np.int64]], float], count: int, times: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % percentile interval (Efron 1979) of a figure of `count` samples; None where there is nothing to resample.

    figure: from the indices of the samples taken to the value, such as `lambda taken: right[taken].mean()`.
    """
    if not times or count < 2:
        return None
    return interval([figure(taken) for taken in resamples(count, times, seed)])


def widened(values: NDArray[np.float64], figure: float) -> tuple[float, float] | None:
    """The middle 95 % of the finite `values`, and as far as `figure`; None where no value is finite.

    Rounding alone can leave the figure of like samples outside, since the sums of resamples run in another order.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return min(float(low), figure), max(float(high), figure)


def resampled_sums(statistics: NDArray[np.float64], times: int, seed: int = 0) -> NDArray[np.float64]:
    """The sums over each of `times` resamples: (samples, k) to (times, k)."""
    count, size = statistics.shape
    sums = np.empty((times, size))
    for index, taken in enumerate(resamples(count, times, seed)):
        sums[index] = np.bincount(taken, minlength=count) @ statistics
    return sums


def paired_interval(first: Additive, second: Additive, times: int, seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of `second - first`, both over the same resamples (the paired bootstrap, Koehn 2004)."""
    size = first.statistics.shape[1]
    sums = resampled_sums(np.hstack([first.statistics, second.statistics]), times, seed)
    return widened(second.value(sums[:, size:]) - first.value(sums[:, :size]), second.total - first.total)


def exchanged_p(first: Additive, second: Additive, times: int, seed: int = 0) -> float:
    """How often samples exchanged at random between the two set them as far apart as they are: a two-sided p-value.

    Approximate randomisation (Noreen 1989; Riezler and Maxwell 2005), with one added above and below, so that it is
    never 0. Both take the same sums; each sample of the one is exchanged, or not, with that of the other.
    """
    gap = second.statistics - first.statistics
    sums = first.statistics.sum(0), second.statistics.sum(0)
    observed = abs(second.total - first.total)
    rng = np.random.default_rng(seed)
    count, reached = len(gap), 0
    for done in range(0, times, at_a_time := max(1, DRAWS_LIMIT // count)):
        moved = _coins(rng, min(at_a_time, times - done), count) @ gap  # (some, k)
        apart = np.abs(second.value(sums[1] - moved) - first.value(sums[0] + moved))
        reached += int((~(apart < observed - 1e-12 * max(1.0, observed))).sum())  # NaN counts: it shows nothing
    return (1 + reached) / (1 + times)


def _coins(rng: np.random.Generator, times: int, count: int) -> NDArray[Any]:
    """Zeros and ones, evenly: (times, count)."""
    bits = np.frombuffer(rng.bytes(times * -(-count // 8)), np.uint8).reshape(times, -1)
    return np.unpackbits(bits, axis=1, count=count).astype(np.float64)

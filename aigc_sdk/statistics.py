"""Intervals of scores: how far a figure would move with other samples of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERAGE = 0.95


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

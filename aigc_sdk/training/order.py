"""The order of the data: a pure function of (seed, epoch, position), so that nothing about it needs to be stored."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rows(seed: int, size: int, position: int, n: int, *, shuffle: bool = True) -> NDArray[np.int64]:
    """The `n` rows from `position` on, of a data set of `size` rows that is gone through epoch after epoch."""
    places = np.arange(position, position + n)
    if not shuffle:
        return places % size
    drawn = np.empty(n, np.int64)
    for epoch in range(position // size, (position + n - 1) // size + 1):
        inside = places // size == epoch
        drawn[inside] = _permutation(seed, epoch, size)[places[inside] % size]
    return drawn


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(size)


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """The seed of torch's global random state for one step of one process, below 2**63."""
    words = np.random.SeedSequence([seed, step, process]).generate_state(2, np.uint32)
    return int(words[0]) << 31 | int(words[1]) >> 1

"""The kernel distance, KID (Bińkowski et al. 2018): the unbiased squared maximum mean discrepancy under (x'y / d + 1)^3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aigc_sdk.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCK = 1024  # rows of the kernel's matrix at a time


def kernel_contributions(first: NDArray[np.floating], second: NDArray[np.floating]) -> Floats:
    """What each of the features `first` (n, d) adds to the distance to `second` (m, d), (n,): their mean is the distance.

    To the first order (Hoeffding 1948); their scatter gives the standard error. Raises DataError below two of either.
    """
    for name, each in (("samples", first), ("references", second)):
        if len(each) < 2:
            raise DataError(f"a kernel distance needs two {name} or more, got {len(each)}", field=name)
    n, m = len(first), len(second)
    one, other = first.astype(np.float64), second.astype(np.float64)
    within = _row_sums(one, one) - _kernel((one * one).sum(1), one.shape[1])
    beyond = _row_sums(other, other).sum() - _kernel((other * other).sum(1), one.shape[1]).sum()
    across = _row_sums(one, other)
    total = within.sum() / (n * (n - 1)) + beyond / (m * (m - 1)) - 2 * across.sum() / (n * m)
    mine = 2 * (within / (n - 1) - within.sum() / (n * (n - 1)) - across / m + across.sum() / (n * m))
    return np.asarray(total + mine, np.float64)


def kernel_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """KID of all features, (n, d) and (m, d). It is unbiased, and can be a little below 0 for like sets."""
    return float(kernel_contributions(first, second).mean())


def subset_distances(
    first: NDArray[np.floating], second: NDArray[np.floating], *, subsets: int, size: int, seed: int = 0
) -> Floats:
    """The distance of random subsets of `size` of each, (subsets,): the protocol of the paper and of most libraries."""
    for name, each in (("samples", first), ("references", second)):
        if len(each) < size:
            message = (
                f"subsets of {size:,} cannot be drawn of {len(each):,} {name}; set kid_subset_size to at most that"
            )
            raise DataError(message, field=name)
    rng = np.random.default_rng(seed)
    return np.array(
        [
            kernel_distance(*(each[rng.choice(len(each), size, replace=False)] for each in (first, second)))
            for _ in range(subsets)
        ]
    )


def _row_sums(first: Floats, second: Floats) -> Floats:
    """The sum of each row of the kernel's matrix, (n,)."""
    rows = [
        _kernel(first[start : start + BLOCK] @ second.T, first.shape[1]).sum(1) for start in range(0, len(first), BLOCK)
    ]
    return np.concatenate(rows)


def _kernel(products: Floats, size: int) -> Floats:
    scaled = products / size + 1
    return scaled * scaled * scaled

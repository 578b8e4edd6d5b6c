"""What nearest neighbours say of two sets of features: precision and recall (Kynkäänniemi et al. 2019), density and coverage
(Naeem et al. 2020), and copies of training samples (Yoon et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aigc_sdk.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCK = 1024  # rows of the distances' matrix at a time
ROUNDING = 1e-12  # of squared distances, as part of the squared lengths they are computed from; less is 0
COPIED = 1 / 3  # of the distance to the second nearest: nearer ones are copies, as in the paper


@dataclass(frozen=True)
class Manifolds:
    """Where samples and references lie in each other's neighbourhoods; a mean of each is a score."""

    precise: Floats
    """(samples,) 1 for those within a reference's distance to its k-th neighbour."""
    recalled: Floats
    """(references,) 1 for those within a sample's."""


@dataclass(frozen=True)
class Densities:
    """The same, of density and coverage."""

    dense: Floats
    """(samples,) in how many references' neighbourhoods each lies, as part of k."""
    covered: Floats
    """(references,) 1 for those that have a sample in their neighbourhood."""


@dataclass(frozen=True)
class Nearest:
    """The nearest reference of each sample, and how near it is."""

    index: NDArray[np.int64]
    distance: Floats
    ratio: Floats
    """The distance as part of that to the second nearest; 0 where both are 0."""

    @property
    def copied(self) -> Floats:
        """1 for samples that are at most a third as far from the nearest reference as from the second nearest."""
        return (self.ratio < COPIED).astype(np.float64)


def manifolds(samples: NDArray[np.floating], references: NDArray[np.floating], k: int = 3) -> Manifolds:
    """Precision and recall. Raises DataError where either set has no k-th neighbour."""
    _check("samples", samples, k)
    _check("references", references, k)
    first, second = _centred(samples, references)
    mine, its = radii(first, k), radii(second, k)
    precise = np.zeros(len(first))
    recalled = np.zeros(len(second), bool)
    for start, apart in _squared(first, second):
        precise[start : start + len(apart)] = (apart <= its).any(1)
        recalled |= (apart <= mine[start : start + len(apart), None]).any(0)
    return Manifolds(precise, recalled.astype(np.float64))


def densities(samples: NDArray[np.floating], references: NDArray[np.floating], k: int = 5) -> Densities:
    """Density and coverage. Raises DataError where the references have no k-th neighbour."""
    _check("references", references, k)
    first, second = _centred(samples, references)
    its = radii(second, k)
    dense, covered = np.zeros(len(first)), np.zeros(len(second), bool)
    for start, apart in _squared(first, second):
        inside = apart <= its
        dense[start : start + len(apart)] = inside.sum(1) / k
        covered |= inside.any(0)
    return Densities(dense, covered.astype(np.float64))


def nearest(samples: NDArray[np.floating], references: NDArray[np.floating]) -> Nearest:
    """The nearest reference of each sample, of at least two."""
    if len(references) < 2:
        raise DataError(f"copies are sought among two references or more, got {len(references)}", field="references")
    first, second = _centred(samples, references)
    index = np.zeros(len(first), np.int64)
    two = np.zeros((len(first), 2))
    for start, apart in _squared(first, second):
        rows = slice(start, start + len(apart))
        index[rows] = apart.argmin(1)
        two[rows] = np.sqrt(np.partition(apart, 1, axis=1)[:, :2])
    ratio = np.divide(two[:, 0], two[:, 1], out=np.zeros(len(two)), where=two[:, 1] > 0)
    return Nearest(index, two[:, 0], ratio)


def radii(points: Floats, k: int) -> Floats:
    """The squared distance of each point to its k-th neighbour, itself not counted: (n,)."""
    found = np.empty(len(points))
    for start, apart in _squared(points, points):
        rows = np.arange(len(apart))
        apart[rows, start + rows] = np.inf
        found[start : start + len(apart)] = np.partition(apart, k - 1, axis=1)[:, k - 1]
    return found


def _check(name: str, points: NDArray[np.floating], k: int) -> None:
    if len(points) <= k:
        message = f"neighbour {k} of {len(points)} {name} is not there; pass {k + 1} or more, or set a smaller k"
        raise DataError(message, field=name)


def _centred(samples: NDArray[np.floating], references: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Moved to where rounding is smallest."""
    second = references.astype(np.float64)
    middle = second.mean(0)
    return samples.astype(np.float64) - middle, second - middle


def _squared(first: Floats, second: Floats) -> Iterator[tuple[int, Floats]]:
    """Blocks of squared distances, (rows, m), and the row that each begins with."""
    lengths = np.square(second).sum(1)  # (m,)
    for start in range(0, len(first), BLOCK):
        some = first[start : start + BLOCK]
        both = np.square(some).sum(1)[:, None] + lengths
        apart = both - 2 * some @ second.T
        apart[apart < ROUNDING * both] = 0
        yield start, apart

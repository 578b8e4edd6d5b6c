"""The Fréchet distance of two sets of features, taken for samples of normal distributions (Dowson and Landau 1982; Heusel
et al. 2017): |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

With C1 = F F' the trace of the root is the sum of the roots of the eigenvalues of F' C2 F, which is symmetric, so that
no root of a matrix is ever taken. F is Cholesky's where C1 has full rank, else it is thin: as many columns as the rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import numpy as np

from aigc_sdk.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

POINTS = 15  # sizes of subsets that the line of `extrapolated` is fitted to, as in the paper
LEAST = 100  # samples that can be extrapolated from
EPSILON = float(np.finfo(np.float64).eps)


class Moments:
    """Count, mean and scatter of features, gathered batch by batch (Chan et al. 1983); a covariance divides by n - 1."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean: Floats = np.zeros(size)
        self.scatter: Floats = np.zeros((size, size))
        """Sum of (x - mean)(x - mean)'."""

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> Self:
        """Those of features (n, d)."""
        made = cls(features.shape[1])
        made.add(features)
        return made

    @classmethod
    def stated(cls, count: int, mean: Floats, covariance: Floats) -> Self:
        """Those that somebody else has computed."""
        made = cls(len(mean))
        made.count, made.mean, made.scatter = count, mean, covariance * (count - 1)
        return made

    def add(self, features: NDArray[np.floating]) -> None:
        """Take in features (n, d)."""
        precise = features.astype(np.float64)
        mean = precise.mean(0)
        apart = precise - mean
        self._take(len(precise), mean, apart.T @ apart)

    def merge(self, other: Moments) -> None:
        """Take in what another has gathered."""
        self._take(other.count, other.mean, other.scatter)

    @property
    def covariance(self) -> Floats:
        """(d, d)."""
        return self.scatter / (self.count - 1)

    def factor(self) -> Floats:
        """F (d, rank) with F F' the covariance."""
        if self.count > len(self.mean):
            try:
                return np.asarray(np.linalg.cholesky(self.covariance), np.float64)
            except np.linalg.LinAlgError:
                pass  # singular in spite of enough samples: a feature that is constant, or made of others
        values, vectors = np.linalg.eigh(self.covariance)
        rank = min(self.count - 1, int((values > values[-1] * len(values) * EPSILON).sum()))
        start = len(values) - rank
        return np.asarray(vectors[:, start:] * np.sqrt(values[start:]), np.float64)

    def _take(self, count: int, mean: Floats, scatter: Floats) -> None:
        total = self.count + count
        if not count:
            return
        gap = mean - self.mean
        self.scatter = self.scatter + scatter + np.outer(gap, gap) * (self.count * count / total)
        self.mean = self.mean + gap * (count / total)
        self.count = total


def thin_factor(features: NDArray[np.floating]) -> Floats:
    """F (d, n) with F F' the covariance of features (n, d): they themselves, centred and scaled."""
    precise = features.astype(np.float64)
    return np.asarray((precise - precise.mean(0)).T / np.sqrt(len(precise) - 1))


def frechet_distance(first: Moments, second: Moments) -> float:
    """The squared distance of two normal distributions; 0 where they are the same. Raises DataError below two samples."""
    for name, each in (("samples", first), ("references", second)):
        if each.count < 2:
            raise DataError(f"a Fréchet distance needs two {name} or more, got {each.count}", field=name)
    if first.mean.shape != second.mean.shape:
        message = (
            f"features of {len(first.mean)} and {len(second.mean)} numbers cannot be compared; use one network for both"
        )
        raise DataError(message, field="references")
    return _distance(first, second, _root_trace(first, second))


def contributions(first: Moments, second: Moments, features: NDArray[np.floating]) -> Floats:
    """What each feature vector adds to the distance, to the first order, (n,): their mean over all of `first` is the distance.

    The derivative of the distance by the first distribution, whose scatter gives its standard error (Rippl, Munk and
    Sturm 2016, Limit laws of the empirical Wasserstein distance: Gaussian distributions).
    """
    factor = first.factor()
    values, vectors = np.linalg.eigh(factor.T @ second.covariance @ factor)
    roots = np.sqrt(values.clip(0))
    apart = features.astype(np.float64) - first.mean  # (n, d)
    moved = np.square(vectors.T @ _solved(factor, apart.T)).T @ roots  # (n,)
    spread = first.covariance.trace() - 2 * roots.sum()
    linear = 2 * apart @ (first.mean - second.mean)
    share = (first.count - 1) / first.count  # a covariance divides by n - 1, a mean by n
    gradient = linear + np.square(apart).sum(1) - moved - share * (spread + roots.sum())
    return np.asarray(gradient + _distance(first, second, float(roots.sum())))


def extrapolated(
    features: NDArray[np.floating], second: Moments, *, points: int = POINTS, seed: int = 0
) -> tuple[float, float]:
    """The distance that infinitely many samples would have, and its standard error (Chong and Forsyth 2020).

    The distance of n samples is too large by about c / n. It is computed of `points` random subsets, from a tenth to
    all of the features (n, d), and a straight line in 1 / n is followed to 0. The bias of the references' own number
    stays. Raises DataError below 100 samples.
    """
    count = len(features)
    if count < LEAST:
        raise DataError(f"an extrapolated distance needs {LEAST} samples or more, got {count}", field="samples")
    rng = np.random.default_rng(seed)
    sizes = np.linspace(max(LEAST // 2, count // 10), count, points).round().astype(np.int64)
    distance = _to(second)
    found = [distance(features[rng.choice(count, size, replace=False)]) for size in sizes]
    line = np.column_stack([np.ones(points), 1 / sizes])
    fitted, *_ = np.linalg.lstsq(line, np.array(found), rcond=None)
    left = np.square(found - line @ fitted).sum() / max(1, points - 2)
    error = np.sqrt(left * np.linalg.inv(line.T @ line)[0, 0])
    return float(fitted[0]), float(error)


def _to(second: Moments) -> Callable[[NDArray[np.floating]], float]:
    """The distance of features to `second`, whose factor is computed once."""
    factor, covariance = second.factor(), second.covariance
    spread = float(covariance.trace())

    def distance(features: NDArray[np.floating]) -> float:
        moments = Moments.of(features)
        if len(features) < factor.shape[1]:
            mine = thin_factor(features)
            roots = _singular_sum(mine.T @ factor)
        else:
            roots = _eigen_sum(factor.T @ moments.covariance @ factor)
        apart = float(np.square(moments.mean - second.mean).sum())
        return max(0.0, apart + float(moments.scatter.trace()) / (moments.count - 1) + spread - 2 * roots)

    return distance


def _solved(factor: Floats, vectors: Floats) -> Floats:
    """The solution of factor @ x = vectors; a thin factor has columns that are at right angles."""
    if factor.shape[0] == factor.shape[1] and np.array_equal(factor, np.tril(factor)):
        return np.asarray(np.linalg.solve(factor, vectors), np.float64)
    return np.asarray((factor.T @ vectors) / np.square(factor).sum(0)[:, None])


def _distance(first: Moments, second: Moments, roots: float) -> float:
    apart = float(np.square(first.mean - second.mean).sum())
    traces = float(first.scatter.trace()) / (first.count - 1) + float(second.scatter.trace()) / (second.count - 1)
    return max(0.0, apart + traces - 2 * roots)


def _root_trace(first: Moments, second: Moments) -> float:
    """tr (C1 C2)^(1/2), by the set with the lower rank."""
    size = len(first.mean)
    if max(first.count, second.count) <= size:  # both thin: singular values, which no square has made less precise
        return _singular_sum(first.factor().T @ second.factor())
    thin, other = (first, second) if first.count <= second.count else (second, first)
    factor = thin.factor()
    return _eigen_sum(factor.T @ other.covariance @ factor)


def _eigen_sum(matrix: Floats) -> float:
    return float(np.sqrt(np.linalg.eigvalsh(matrix).clip(0)).sum())


def _singular_sum(matrix: Floats) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())

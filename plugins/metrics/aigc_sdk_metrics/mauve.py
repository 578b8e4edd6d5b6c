"""MAUVE: the area under the curve of two kinds of error between two sets of features (Pillutla et al. 2021).

Features are scaled to length 1, brought to as many principal components as hold 90 % of the variance, and sorted into
clusters by k-means; the clusters' shares in both sets are compared. All as in the authors' package, but for k-means,
which is this module's own (k-means++, Arthur and Vassilvitskii 2007; the best of five).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_sdk.errors import DataError, InputError
from aigc_sdk.protocols import Score
from aigc_sdk.statistics import COVERAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE = 5.0  # the paper's c, which spreads the values over 0 to 1
CLUSTERS_LIMIT = 5000
VARIANCE = 0.9  # of the features, that the principal components hold
POINTS = 25  # of the curve
STARTS = 5  # of k-means
ROUNDS = 100  # of k-means, at most


def mauve_score(
    samples: NDArray[Any],
    references: NDArray[Any],
    about: str,
    *,
    clusters: int | None = None,
    scale: float = SCALE,
    times: int = 1000,
    seed: int = 0,
) -> Score:
    """MAUVE of two sets of features of your own, (n, d) and (m, d); `about` says what the features are.

    clusters: None takes a tenth of the smaller set, at least two, as the authors advise. Few samples give values that are
    too low. Raises DataError.
    """
    if not about.strip():
        raise InputError("say what the features are, such as 'gpt2-large, last token'", field="about")
    first, second = _checked(samples, "samples"), _checked(references, "references")
    if first.shape[1] != second.shape[1]:
        message = f"samples have {first.shape[1]} features and references {second.shape[1]}; take both from one network"
        raise DataError(message, field="references")
    count = clusters or max(2, round(min(len(first), len(second)) / 10))
    if count > len(first) + len(second):
        message = f"clusters={count}: there are {len(first) + len(second)} samples and references; give fewer"
        raise DataError(message, field="clusters")
    labels = cluster(_reduced(np.vstack([first, second])), count, seed)
    shares = [np.bincount(part, minlength=count) / len(part) for part in (labels[: len(first)], labels[len(first) :])]
    value = float(area(shares[0], shares[1], scale))
    interval = _interval(shares, (len(first), len(second)), scale, times, seed, value) if times else None
    protocol = (
        f"{about}; {len(first):,} samples and {len(second):,} references, length 1, components of {VARIANCE:.0%} of the "
        f"variance, {count} clusters by k-means (best of {STARTS}, seed {seed}), scale {scale:g}, {POINTS} points"
    )
    protocol += f"; 95 % interval of {times:,} resamplings of both sets in these clusters, centred" if interval else ""
    return Score(value, len(first), protocol, higher_is_better=True, interval=interval)


def area(first: NDArray[np.float64], second: NDArray[np.float64], scale: float = SCALE) -> NDArray[np.float64]:
    """The area under the divergence curve of two distributions (..., k): 1 where they are the same."""
    nothing, everything = np.zeros(first.shape[:-1]), np.ones(first.shape[:-1])
    curve = [(everything, nothing)]
    for weight in np.linspace(1e-6, 1 - 1e-6, POINTS):
        mixed = weight * first + (1 - weight) * second
        curve.append((np.exp(-scale * _divergence(second, mixed)), np.exp(-scale * _divergence(first, mixed))))
    curve.append((nothing, everything))
    x, y = (np.stack(each, axis=-1) for each in zip(*curve, strict=True))
    return np.asarray(_area(x, y))


def cluster(points: NDArray[np.float64], count: int, seed: int) -> NDArray[np.int64]:
    """The cluster of each point (n, d), the same for each in any order of the points."""
    order = np.lexsort(points.T[::-1])
    rng = np.random.default_rng(seed)
    runs = [_k_means(points[order], count, rng) for _ in range(STARTS)]
    labels = np.empty(len(points), np.int64)
    labels[order] = min(runs, key=lambda run: run[1])[0]
    return labels


def _checked(features: NDArray[Any], name: str) -> NDArray[np.float64]:
    found = np.asarray(features)
    if found.ndim != 2 or found.dtype.kind not in "fiu" or len(found) < 2 or not found.shape[1]:
        message = f"{name} is {found.dtype} of shape {found.shape}; give numbers (n, d), n at least 2"
        raise DataError(message, field=name)
    if not np.isfinite(found).all():
        raise DataError(f"{name} holds NaN or infinite features; look at the network they come from", field=name)
    return found.astype(np.float64)


def _reduced(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled to length 1, then the principal components that hold VARIANCE."""
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    centred = points - points.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    shares = np.cumsum(variances[::-1].clip(0))
    if not shares[-1]:
        return np.asarray(centred[:, :1])
    kept = int(np.argmax(shares >= VARIANCE * shares[-1])) + 1
    return np.asarray(centred @ directions[:, ::-1][:, :kept])


def _k_means(points: NDArray[np.float64], count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], float]:
    """Labels, and the sum of squared distances to the clusters' centres."""
    centres = _first_centres(points, count, rng)
    labels = np.full(len(points), -1)
    for _ in range(ROUNDS):
        apart = _squared(points, centres)
        nearest = apart.argmin(1)
        if (nearest == labels).all():
            break
        labels = nearest
        sizes = np.bincount(labels, minlength=count)
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, points)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return labels, float(_squared(points, centres)[np.arange(len(points)), labels].sum())


def _first_centres(points: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """k-means++: each next centre is drawn by the squared distance to the nearest one so far."""
    chosen = [int(rng.integers(len(points)))]
    nearest = _squared(points, points[chosen])[:, 0]
    for _ in range(count - 1):
        total = nearest.sum()
        chances = nearest / total if total > 0 else None
        chosen.append(int(rng.choice(len(points), p=chances)))
        nearest = np.minimum(nearest, _squared(points, points[chosen[-1:]])[:, 0])
    return np.asarray(points[chosen])


def _squared(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances (points, centres)."""
    found = np.square(points).sum(1)[:, None] - 2 * points @ centres.T + np.square(centres).sum(1)
    return np.asarray(found.clip(0))


def _divergence(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kullback-Leibler, in nats; `second` is a mixture, so that it has whatever `first` has."""
    logs = np.log(np.where(first > 0, first, 1)) - np.log(np.where(first > 0, second, 1))
    return np.asarray((first * logs).sum(-1))


def _area(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """By trapezoids along the curve, on which x rises and y falls, or the other way round."""
    return np.asarray(np.abs(np.diff(x, axis=-1) * (y[..., 1:] + y[..., :-1]) / 2).sum(-1))


def _interval(
    shares: list[NDArray[np.float64]], counts: tuple[int, int], scale: float, times: int, seed: int, value: float
) -> tuple[float, float]:
    """Resampling makes shares less even, and so the value lower: its spread is taken, around the value itself."""
    rng = np.random.default_rng(seed)
    first, second = (rng.multinomial(count, each, times) / count for each, count in zip(shares, counts, strict=True))
    low, middle, high = np.quantile(area(first, second, scale), [(1 - COVERAGE) / 2, 0.5, (1 + COVERAGE) / 2])
    return max(0.0, value + float(low - middle)), min(1.0, value + float(high - middle))

"""MAUVE: the curve's area against an independent integral, the ends of the scale, and the clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from sklearn.cluster import KMeans

from aigc_sdk.errors import DataError, InputError
from aigc_sdk_metrics.mauve import POINTS, area, cluster, mauve_score


def divergence(first: np.ndarray, second: np.ndarray) -> float:
    return float(sum(p * np.log(p / q) for p, q in zip(first, second, strict=True) if p > 0))


def by_points(p: np.ndarray, q: np.ndarray, scale: float) -> float:
    """The authors' procedure, step by step: the mean of the areas under both orders of the curve."""
    curve = [[0.0, np.inf]]
    for weight in np.linspace(1e-6, 1 - 1e-6, POINTS):
        mixed = weight * p + (1 - weight) * q
        curve.append([divergence(q, mixed), divergence(p, mixed)])
    curve.append([np.inf, 0.0])
    x, y = np.exp(-scale * np.array(curve)).T
    first, second = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    return 0.5 * float(np.trapezoid(y[first], x[first]) + np.trapezoid(x[second], y[second]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_the_area_is_that_of_the_authors_procedure(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet([0.3] * 12), rng.dirichlet([0.3] * 12)
    p[:2], q[-2:] = 0, 0
    p, q = p / p.sum(), q / q.sum()
    assert float(area(p, q, scale)) == pytest.approx(by_points(p, q, scale), rel=1e-9)


def test_the_area_is_near_the_integral_of_the_curve() -> None:
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])

    def height(x: float) -> float:
        """exp(-c KL(p|r)) where exp(-c KL(q|r)) is x."""
        weights = np.linspace(1e-9, 1 - 1e-9, 20_001)
        mixed = weights[:, None] * p + (1 - weights[:, None]) * q
        xs = np.exp(-5 * (q * np.log(q / mixed)).sum(1))
        ys = np.exp(-5 * (p * np.log(p / mixed)).sum(1))
        return float(np.interp(x, xs[::-1], ys[::-1], left=1.0))

    assert float(area(p, q)) == pytest.approx(quad(height, 0, 1, limit=200)[0], rel=0.01)


def test_the_same_sets_have_one_and_sets_apart_have_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 12))
    same = mauve_score(points, points[::-1].copy(), "numbers")
    assert same.value == pytest.approx(1)
    other = mauve_score(points + 20 * np.eye(12)[0], points - 20 * np.eye(12)[0], "numbers")
    assert other.value < 0.01
    assert other.interval is not None


def test_nearer_sets_have_more_and_the_interval_holds_the_value() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=(500, 8))
    values = []
    for shift in (0.0, 0.5, 1.5):
        score = mauve_score(base, rng.normal(size=(500, 8)) + shift, "numbers", seed=3)
        assert score.interval is not None
        assert score.interval[0] <= score.value <= score.interval[1]
        values.append(score.value)
    assert values[0] > values[1] > values[2]


def test_the_score_does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(60, 5)), rng.normal(size=(60, 5)) + 0.3
    value = mauve_score(first, second, "numbers").value
    assert mauve_score(first[::-1], second[rng.permutation(60)], "numbers").value == pytest.approx(value)


def test_clusters_are_as_tight_as_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.normal(size=(80, 4)) + 6 * centre for centre in rng.normal(size=(6, 4))])
    labels = cluster(points, 6, seed=0)
    inertia = sum(((points[labels == each] - points[labels == each].mean(0)) ** 2).sum() for each in range(6))
    assert inertia <= 1.01 * KMeans(6, n_init=10, random_state=0).fit(points).inertia_


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), {}, "samples have 3 features and references 4"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), {}, "samples holds NaN or infinite"),
        (np.zeros((5, 3)), np.full((5, 3), np.inf), {}, "references holds NaN or infinite"),
        (np.zeros((1, 3)), np.zeros((5, 3)), {}, "n at least 2"),
        (np.zeros(5), np.zeros((5, 3)), {}, "samples is float64 of shape"),
        (np.array([["a"], ["b"]]), np.zeros((5, 1)), {}, "give numbers"),
        (np.zeros((5, 3)), np.zeros((5, 3)), {"clusters": 11}, "clusters=11"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(
    first: np.ndarray, second: np.ndarray, options: dict[str, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        mauve_score(first, second, "numbers", **options)


def test_features_that_are_all_the_same_are_the_same() -> None:
    assert mauve_score(np.ones((5, 3)), np.ones((6, 3)), "ones").value == pytest.approx(1)
    with pytest.raises(InputError, match="say what the features are"):
        mauve_score(np.ones((5, 3)), np.ones((6, 3)), " ")

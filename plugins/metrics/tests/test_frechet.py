from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from aigc_sdk.errors import DataError
from aigc_sdk_metrics.frechet import Moments, contributions, extrapolated, frechet_distance, thin_factor

Floats = NDArray[np.float64]


def features(n: int, d: int, seed: int = 0) -> Floats:
    """Of a normal distribution with a covariance and a mean of its own."""
    rng = np.random.default_rng(seed)
    mixed: Floats = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / np.sqrt(d) + rng.standard_normal(d)
    return mixed


def by_matrix_root(first: Floats, second: Floats) -> float:
    """The formula as it stands, with scipy's root of a matrix."""
    sqrtm = pytest.importorskip("scipy.linalg").sqrtm
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = sqrtm(a @ b).real
    return float(np.square(first.mean(0) - second.mean(0)).sum() + np.trace(a + b - 2 * root))


def distance(first: Floats, second: Floats) -> float:
    return frechet_distance(Moments.of(first), Moments.of(second))


def test_normal_distributions_have_the_distance_that_is_known() -> None:
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.0])  # diagonal: the sum of (sqrt a - sqrt b)^2
    zero = np.zeros(3)
    assert frechet_distance(
        Moments.stated(100, zero, np.diag(a)), Moments.stated(100, zero, np.diag(b))
    ) == pytest.approx(1 + 1 + 9)
    moved = Moments.stated(100, np.array([3.0, 4.0, 0.0]), np.diag(a))
    assert frechet_distance(Moments.stated(100, zero, np.diag(a)), moved) == pytest.approx(25)


def test_many_samples_of_two_distributions_come_near_their_distance() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((200_000, 4)), 2 * rng.standard_normal((200_000, 4)) + 1
    assert distance(first, second) == pytest.approx(4 * (1 + 1), rel=0.02)  # per feature: (2 - 1)^2 and 1^2


@pytest.mark.parametrize("shape", [(50, 8), (300, 40), (9, 8), (500, 1)])
def test_it_is_the_one_of_the_matrix_root(shape: tuple[int, int]) -> None:
    first, second = features(*shape), features(shape[0] + 7, shape[1], seed=1)
    if shape[1] == 1:
        a, b = first.std(ddof=1), second.std(ddof=1)
        expected = float((first.mean() - second.mean()) ** 2 + (a - b) ** 2)
    else:
        expected = by_matrix_root(first, second)
    assert distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert distance(second, first) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (5, 400), (400, 5), (2, 2), (32, 33)])
def test_fewer_samples_than_features_are_no_trouble(n: int, m: int) -> None:
    first, second = features(n, 32), features(m, 32, seed=1)
    a, b = thin_factor(first), thin_factor(second)  # the nuclear norm needs no full rank
    nuclear = float(np.linalg.svd(a.T @ b, compute_uv=False).sum())
    expected = np.square(first.mean(0) - second.mean(0)).sum() + (a**2).sum() + (b**2).sum() - 2 * nuclear
    assert distance(first, second) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("damage", [lambda x: x * [1, 1, 0, 1], lambda x: x[:, [0, 1, 0, 1]], lambda x: x * 0])
def test_features_that_are_constant_or_repeated_are_no_trouble(damage: Callable[[Floats], Floats]) -> None:
    first, second = damage(features(60, 4)), features(60, 4, seed=1)
    a, b = thin_factor(first), thin_factor(second)
    nuclear = float(np.linalg.svd(a.T @ b, compute_uv=False).sum())
    expected = np.square(first.mean(0) - second.mean(0)).sum() + (a**2).sum() + (b**2).sum() - 2 * nuclear
    assert distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(contributions(Moments.of(first), Moments.of(second), first)).all()


@pytest.mark.parametrize("shape", [(300, 16), (10, 64), (64, 64)])
def test_a_set_has_no_distance_from_itself(shape: tuple[int, int]) -> None:
    some = features(*shape)
    spread = float(np.cov(some, rowvar=False).trace())
    assert distance(some, some) == pytest.approx(0, abs=1e-7 * spread)


def test_large_means_cost_no_precision() -> None:
    first, second = features(80, 6), features(90, 6, seed=1)
    assert distance(first + 1e6, second + 1e6) == pytest.approx(by_matrix_root(first, second), rel=1e-6)


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    some = features(101, 5)
    whole, streamed, other = Moments.of(some), Moments(5), Moments(5)
    for start in range(0, 60, 7):
        streamed.add(some[start : min(60, start + 7)])
    other.add(some[60:])
    streamed.merge(other)
    streamed.merge(Moments(5))  # of nothing
    assert streamed.count == whole.count
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(streamed.covariance, np.cov(some, rowvar=False), rtol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(200, 6), (20, 40)])
def test_contributions_average_to_the_distance_and_tell_its_error(n: int, d: int) -> None:
    second = Moments.of(features(1000, d, seed=1))
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((d, d)) / np.sqrt(d)
    values, errors = [], []
    for _ in range(60):
        first = rng.standard_normal((n, d)) @ mixing
        found = contributions(Moments.of(first), second, first)
        value = frechet_distance(Moments.of(first), second)
        assert found.mean() == pytest.approx(value, rel=1e-9)
        values.append(value)
        errors.append(found.std() / np.sqrt(n))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35)


def test_extrapolation_takes_away_most_of_the_bias_of_few_samples() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((24, 24)) / np.sqrt(24)
    second = Moments.of(rng.standard_normal((20_000, 24)) @ mixing)
    true = frechet_distance(Moments.of(rng.standard_normal((100_000, 24)) @ mixing), second)
    plain, endless = [], []
    for seed in range(8):
        first = rng.standard_normal((300, 24)) @ mixing
        plain.append(frechet_distance(Moments.of(first), second) - true)
        endless.append(extrapolated(first, second, seed=seed)[0] - true)
    assert true < 0.1 * np.mean(plain)  # of one distribution, so that nearly all is bias
    assert abs(np.mean(endless)) < 0.4 * np.mean(plain)


def test_extrapolation_repeats_with_its_seed_and_takes_thin_subsets() -> None:
    first, second = features(120, 100), Moments.of(features(300, 100, seed=1))
    assert extrapolated(first, second, seed=3) == extrapolated(first, second, seed=3)
    assert extrapolated(first, second, seed=3) != extrapolated(first, second, seed=4)


@pytest.mark.parametrize(
    ("call", "field", "words"),
    [
        (lambda: frechet_distance(Moments.of(features(1, 3)), Moments.of(features(9, 3))), "samples", "two samples"),
        (
            lambda: frechet_distance(Moments.of(features(9, 3)), Moments.of(features(1, 3))),
            "references",
            "two references",
        ),
        (
            lambda: frechet_distance(Moments.of(features(9, 3)), Moments.of(features(9, 4))),
            "references",
            "3 and 4 numbers",
        ),
        (lambda: extrapolated(features(99, 3), Moments.of(features(99, 3))), "samples", "100 samples or more, got 99"),
    ],
)
def test_too_few_samples_and_unlike_features_are_refused(call: Callable[[], object], field: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        call()
    assert caught.value.field == field

"""Precision, recall, density, coverage, copies and the kernel distance, beside what their papers' formulas say word for word."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from aigc_sdk.errors import DataError
from aigc_sdk_metrics import kernels, neighbours

Floats = NDArray[np.float64]


def features(n: int, d: int = 6, seed: int = 0, apart: float = 0.0) -> Floats:
    made: Floats = np.random.default_rng(seed).standard_normal((n, d)) + apart
    return made


def distances(first: Floats, second: Floats) -> Floats:
    made: Floats = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in second] for a in first])
    return made


def kth(points: Floats, k: int) -> Floats:
    made: Floats = np.sort(distances(points, points), axis=1)[:, k]  # the first is the point itself
    return made


def kernel(x: Floats, y: Floats) -> float:
    return float((x @ y / len(x) + 1) ** 3)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_those_of_the_paper(k: int) -> None:
    first, second = features(40, apart=0.5), features(55, seed=1)
    found = neighbours.manifolds(first, second, k)
    apart = distances(first, second)
    np.testing.assert_array_equal(found.precise, (apart <= kth(second, k)[None]).any(1))
    np.testing.assert_array_equal(found.recalled, (apart <= kth(first, k)[:, None]).any(0))
    assert 0 < found.precise.mean() < 1
    assert 0 < found.recalled.mean() < 1


def test_density_and_coverage_are_those_of_the_paper() -> None:
    first, second, k = features(40, apart=0.5), features(55, seed=1), 5
    found = neighbours.densities(first, second, k)
    inside = distances(first, second) <= kth(second, k)[None]
    np.testing.assert_allclose(found.dense, inside.sum(1) / k, rtol=1e-12)
    np.testing.assert_array_equal(found.covered, inside.any(0))


def test_the_same_set_has_everything_and_a_far_one_nothing() -> None:
    some = features(30)
    for found in (neighbours.manifolds(some, some), neighbours.manifolds(some + 1e4, some + 1e4)):
        assert found.precise.all()
        assert found.recalled.all()
    assert neighbours.densities(some, some).covered.all()
    far = neighbours.manifolds(some + 100, some)
    assert not far.precise.any()
    assert not far.recalled.any()
    assert not neighbours.densities(some + 100, some).dense.any()


def test_one_outlier_among_the_real_ones_raises_precision_and_not_density() -> None:
    real = np.vstack([features(50, 2), [[60.0, 60.0]]])
    fake = features(50, 2, seed=1, apart=12)
    assert neighbours.manifolds(fake, real).precise.mean() == 1  # the outlier's ball holds everything
    assert neighbours.densities(fake, real).dense.mean() <= 0.2


def test_repeated_points_have_a_distance_of_just_zero() -> None:
    real = np.repeat(features(5, apart=1000.0), 6, axis=0)
    assert (neighbours.radii(real, 3) == 0).all()
    assert neighbours.manifolds(real, real).precise.all()


def test_copies_are_found_with_what_they_are_copies_of() -> None:
    real = features(60)
    made = np.vstack([real[[7, 30]], features(20, seed=9) * 3])
    made[1] += 1e-3
    found = neighbours.nearest(made, real)
    assert found.index[:2].tolist() == [7, 30]
    assert found.distance[0] == 0
    assert found.ratio[1] < 0.01
    assert found.copied[:2].all()
    apart = np.sort(distances(made, real), axis=1)
    np.testing.assert_allclose(found.distance, apart[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.ratio, apart[:, 0] / apart[:, 1], rtol=1e-9, atol=1e-12)
    assert not found.copied[5:].any()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = features(50, apart=0.3), features(45, seed=1)
    whole = neighbours.manifolds(first, second), kernels.kernel_contributions(first, second)
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    monkeypatch.setattr(kernels, "BLOCK", 7)
    np.testing.assert_array_equal(neighbours.manifolds(first, second).recalled, whole[0].recalled)
    np.testing.assert_allclose(kernels.kernel_contributions(first, second), whole[1], rtol=1e-9)


def test_the_kernel_distance_is_the_unbiased_one_of_the_paper() -> None:
    first, second = features(25, apart=0.3), features(31, seed=1)
    n, m = len(first), len(second)
    within = sum(kernel(first[i], first[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    beyond = sum(kernel(second[i], second[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(kernel(x, y) for x in first for y in second) / (n * m)
    assert kernels.kernel_distance(first, second) == pytest.approx(within + beyond - 2 * across, rel=1e-9)


def test_the_kernel_distance_is_zero_on_average_between_like_sets() -> None:
    found = [kernels.kernel_distance(features(40, seed=2 * s), features(40, seed=2 * s + 1)) for s in range(80)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0


def test_contributions_to_the_kernel_distance_tell_its_error() -> None:
    second = features(2000, seed=99)
    values, errors = [], []
    for seed in range(60):
        some = kernels.kernel_contributions(features(80, seed=seed, apart=0.4), second)
        values.append(some.mean())
        errors.append(some.std() / np.sqrt(80))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35)


def test_subsets_follow_their_seed_and_come_near_the_whole() -> None:
    first, second = features(300, apart=0.5), features(300, seed=1)
    found = kernels.subset_distances(first, second, subsets=60, size=100, seed=4)
    again = kernels.subset_distances(first, second, subsets=60, size=100, seed=4)
    np.testing.assert_array_equal(found, again)
    assert found.mean() == pytest.approx(kernels.kernel_distance(first, second), rel=0.2)


@pytest.mark.parametrize(
    ("call", "field", "words"),
    [
        (lambda: neighbours.manifolds(features(3), features(9)), "samples", "neighbour 3 of 3 samples"),
        (lambda: neighbours.manifolds(features(9), features(3)), "references", "neighbour 3 of 3 references"),
        (lambda: neighbours.densities(features(2), features(5)), "references", "neighbour 5 of 5"),
        (lambda: neighbours.nearest(features(2), features(1)), "references", "two references or more"),
        (lambda: kernels.kernel_distance(features(1), features(5)), "samples", "two samples or more"),
        (lambda: kernels.kernel_distance(features(5), features(1)), "references", "two references or more"),
        (
            lambda: kernels.subset_distances(features(50), features(20), subsets=2, size=30),
            "references",
            "subsets of 30 cannot be drawn of 20",
        ),
    ],
)
def test_too_few_are_refused(call: Callable[[], object], field: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        call()
    assert caught.value.field == field

"""Intervals, and paired comparison: they cover what they promise, and find what there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from aigc_sdk.statistics import (
    Additive,
    bootstrap,
    exchanged_p,
    interval,
    paired_interval,
    resampled_sums,
    resamples,
    widened,
)


def mean(values: np.ndarray) -> Additive:
    return Additive(np.stack([values, np.ones_like(values)], axis=1), lambda sums: sums[..., 0] / sums[..., 1])


def test_resamples_are_drawn_with_replacement_and_seeded() -> None:
    drawn = list(resamples(50, 3, seed=1))
    assert [len(each) for each in drawn] == [50] * 3
    assert all(each.min() >= 0 and each.max() < 50 and len(set(each)) < 50 for each in drawn)
    assert np.array_equal(drawn, list(resamples(50, 3, seed=1)))
    assert not np.array_equal(drawn, list(resamples(50, 3, seed=2)))


def test_the_interval_is_the_middle_95_percent() -> None:
    assert interval([float(each) for each in range(1001)]) == pytest.approx((25.0, 975.0))


def test_sums_of_resamples_are_those_of_the_samples_taken() -> None:
    statistics = np.random.default_rng(0).normal(size=(20, 3))
    expected = [statistics[taken].sum(0) for taken in resamples(20, 5, seed=4)]
    assert resampled_sums(statistics, 5, seed=4) == pytest.approx(np.array(expected))


def test_an_additive_figure_has_the_interval_that_the_slow_bootstrap_gives() -> None:
    values = np.random.default_rng(1).normal(size=40)
    slow = bootstrap(lambda taken: float(values[taken].mean()), 40, times=500, seed=3)
    assert mean(values).interval(500, seed=3) == pytest.approx(slow)
    assert mean(values).total == pytest.approx(values.mean())


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean(rng.normal(size=60)).interval(300, seed=each) for each in range(300)]
    covered = sum(low <= 0 <= high for low, high in intervals)
    assert 0.90 <= covered / 300 <= 0.98


def test_there_is_no_interval_of_one_sample_or_of_no_resamples() -> None:
    assert mean(np.ones(1)).interval() is None
    assert mean(np.ones(5)).interval(times=0) is None
    assert bootstrap(lambda taken: 0.0, 1) is None


def test_an_interval_holds_its_figure_whatever_the_rounding() -> None:
    low, high = mean(np.full(30, 0.1)).interval() or (1, 0)
    assert low <= mean(np.full(30, 0.1)).total <= high
    assert widened(np.array([1.0, np.nan, 2.0, np.inf]), 0.5) == pytest.approx((0.5, 1.975))
    assert widened(np.array([np.nan]), 0.5) is None


def test_the_interval_of_a_difference_is_narrower_for_pairs_that_vary_together() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(size=200) * 10
    better = base + 0.5 + rng.normal(size=200) * 0.1
    low, high = paired_interval(mean(base), mean(better), 500) or (0, 0)
    assert 0.4 < low < 0.5 < high < 0.6
    unpaired = mean(base).interval(500) or (0, 0)
    assert unpaired[1] - unpaired[0] > 10 * (high - low)


def test_the_p_value_is_near_that_of_all_exchanges() -> None:
    first, second = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 2.0]), np.array([2.0, 2.5, 4.5, 3.0, 6.0, 1.9])
    gaps = second - first
    all_signs = [abs(np.dot(signs, gaps)) for signs in product([-1, 1], repeat=6)]
    exact = np.mean([each >= abs(gaps.sum()) - 1e-12 for each in all_signs])
    assert exchanged_p(mean(first), mean(second), 20_000) == pytest.approx(exact, abs=0.01)


def test_p_values_of_samples_alike_are_even() -> None:
    rng = np.random.default_rng(2)
    found = [exchanged_p(mean(rng.normal(size=30)), mean(rng.normal(size=30)), 200, seed) for seed in range(300)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09
    assert 0.4 < np.mean(np.array(found) < 0.5) < 0.6


def test_what_is_the_same_is_never_told_apart_and_what_differs_always_is() -> None:
    values = np.random.default_rng(3).normal(size=50)
    assert exchanged_p(mean(values), mean(values), 100) == 1.0
    assert exchanged_p(mean(values), mean(values + 1), 999) == pytest.approx(1 / 1000)


def test_exchanges_that_give_no_figure_count_against_a_difference() -> None:
    ratio = Additive(
        np.array([[1.0, 0.0], [1.0, 1.0]]), lambda sums: sums[..., 0] / np.where(sums[..., 1], sums[..., 1], np.nan)
    )
    other = Additive(np.array([[5.0, 1.0], [5.0, 0.0]]), ratio.value)
    assert exchanged_p(ratio, other, 1000) > 0.4

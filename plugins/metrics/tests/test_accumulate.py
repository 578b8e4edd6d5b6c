"""One pass, small states, merged across processes: the same scores however the samples come."""

from __future__ import annotations

import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest

from aigc_sdk.errors import DataError
from aigc_sdk_metrics.accumulate import Batch, Figure, Summed, Sums, ratio
from aigc_sdk_metrics.text import TextMetrics, TextOptions

Pairs = list[tuple[str, str]]
NAMES = ("bleu", "chrf", "ter", "rouge", "distinct", "self_bleu", "repetition", "readability")


class Mean(Summed):
    """The mean of numbers: the smallest metric there is."""

    name = "mean"
    size = 2

    def measure(self, batch: Batch) -> Any:
        return np.array([[each, 1.0] for each in batch.samples])

    def figures(self) -> dict[str, Figure]:
        return {"mean": Figure(ratio, "the mean of the numbers", higher_is_better=True)}


def gathered(pairs: Pairs, size: int) -> list[Any]:
    """All text metrics, updated with so many pairs at a time."""
    metrics = list(TextMetrics().metrics(TextOptions(metrics=NAMES)))
    for start in range(0, len(pairs), size):
        texts, references = zip(*pairs[start : start + size], strict=True)
        for metric in metrics:
            metric.update(texts, references)
    return metrics


def half(pairs: Pairs) -> bytes:
    return pickle.dumps(gathered(pairs, 40))


def scores(metrics: list[Any]) -> dict[str, Any]:
    return {name: score for metric in metrics for name, score in metric.compute(200).items()}


def test_scores_are_the_same_in_any_batches(pairs: Pairs) -> None:
    whole, parts = scores(gathered(pairs[:150], 150)), scores(gathered(pairs[:150], 7))
    for name, score in whole.items():
        assert parts[name].value == pytest.approx(score.value, rel=1e-12), name
        assert parts[name].interval == pytest.approx(score.interval, rel=1e-9), name
        assert parts[name].n == score.n == 150


def test_states_of_two_processes_are_merged(pairs: Pairs) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        states = [pickle.loads(pool.apply(half, (each,))) for each in (pairs[:80], pairs[80:150])]
    for one, other in zip(*states, strict=True):
        one.merge(other)
    whole = scores(gathered(pairs[:150], 150))
    merged = scores(states[0])
    for name, score in whole.items():
        assert merged[name].value == pytest.approx(score.value, rel=1e-12), name
        assert merged[name].n == 150
        assert merged[name].protocol == score.protocol


def test_a_million_samples_take_no_more_than_the_stated_memory() -> None:
    metric, rng = Mean(), np.random.default_rng(0)
    total = 0.0
    for _ in range(20):
        values = rng.normal(1.0, 2.0, 50_000)
        metric.sums.add(np.stack([values, np.ones_like(values)], axis=1))
        total += float(values.sum())
    score = metric.compute()["mean"]
    assert len(metric.sums.units) <= metric.sums.keep + 1
    assert len(pickle.dumps(metric)) < 300_000
    assert score.n == 1_000_000
    assert score.value == pytest.approx(total / 1_000_000)
    assert score.interval is not None
    expected = 2 * 1.96 * 2.0 / 1000  # of a normal mean
    assert score.interval[1] - score.interval[0] == pytest.approx(expected, rel=0.1)
    assert "blocks of 128 samples" in score.protocol


@pytest.mark.parametrize("sizes", [[5], [1] * 23, [3, 40, 2], [16, 1, 16, 1], [100, 7]])
def test_blocks_hold_every_sample_once(sizes: list[int]) -> None:
    sums, rng = Sums(2, keep=8), np.random.default_rng(1)
    rows = [rng.normal(size=(size, 2)) for size in sizes]
    for each in rows:
        sums.add(each)
    assert sums.units.sum(0) == pytest.approx(np.concatenate(rows).sum(0))
    assert sums.count == sum(sizes)
    assert len(sums.blocks) <= 8
    assert len(sums.blocks) * sums.block + sums.rest_count == sum(sizes)


@pytest.mark.parametrize(("one", "other"), [(3, 4), (30, 5), (5, 30), (33, 90), (0, 7)])
def test_merged_blocks_hold_every_sample_once(one: int, other: int) -> None:
    rng = np.random.default_rng(2)
    first, second = (Sums(1, keep=8) for _ in range(2))
    rows = [rng.normal(size=(count, 1)) for count in (one, other)]
    for sums, each in zip((first, second), rows, strict=True):
        if len(each):
            sums.add(each)
    before = second.units.copy()
    first.merge(second)
    assert first.units.sum(0) == pytest.approx(np.concatenate(rows).sum(0))
    assert first.count == one + other
    assert len(first.blocks) <= 8
    assert np.array_equal(second.units, before)


def test_what_several_metrics_need_is_made_once_for_a_batch() -> None:
    made: list[int] = []
    batch = Batch(["a", "b"])
    found = [batch.once("features", lambda: made.append(1) or "features") for _ in range(3)]
    assert found == ["features"] * 3
    assert made == [1]
    assert batch.part(0, 1).samples == ("a",)


def test_a_metric_that_has_seen_nothing_has_no_score() -> None:
    for metric in TextMetrics().metrics(TextOptions(metrics=NAMES)):
        with pytest.raises(DataError):
            metric.compute()


def test_an_update_that_is_refused_leaves_the_state_as_it_was(pairs: Pairs) -> None:
    metric = gathered(pairs[:20], 20)[0]
    before = metric.compute(0)
    with pytest.raises(DataError):
        metric.update(["fine", "bad \ud800"], ["a", "b"])
    with pytest.raises(DataError):
        metric.update(["without a reference"])
    metric.update([], [])
    assert metric.compute(0) == before


def test_a_report_travels_between_processes_with_what_it_is_compared_by(pairs: Pairs) -> None:
    texts, references = zip(*pairs[:30], strict=True)
    report = TextMetrics().evaluate(texts, references, metrics=NAMES)
    again = pickle.loads(pickle.dumps(report))
    assert again.to_dict() == report.to_dict()
    assert {name: part.total for name, part in again.parts.items()} == pytest.approx(
        {name: score.value for name, score in report.scores.items() if not name.startswith("distinct")}
    )


def test_samples_are_checked_before_a_model_is_opened() -> None:
    with pytest.raises(DataError, match="lone surrogate"):
        TextMetrics().evaluate(["\ud800"], ["a"], metrics=("bertscore",), encoder="no-such-folder")

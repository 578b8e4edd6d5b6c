"""The figures of a judge, against the libraries and papers that define them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from sklearn import metrics

from aigc_sdk.errors import DataError
from aigc_sdk.statistics import Additive
from aigc_sdk_bert import scoring

TAGS = st.sampled_from(["O", "B-person", "I-person", "B-place", "I-place"])
SENTENCES = st.lists(st.lists(TAGS, min_size=1, max_size=9), min_size=1, max_size=6)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def drawn(seed: int, n: int = 60, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truths = rng.integers(labels - 1, size=n)  # the last label never is the truth
    return softmax(rng.normal(size=(n, labels)) + 1.5 * np.eye(labels)[truths]), truths


@pytest.mark.parametrize("seed", range(8))
def test_classification_agrees_with_scikit_learn(seed: int) -> None:
    chances, truths = drawn(seed, n=7 + 10 * seed)
    guesses = chances.argmax(1)
    figures = scoring.classification(chances, truths, list("abcd"))
    assert figures["accuracy"].value == pytest.approx(metrics.accuracy_score(truths, guesses))
    assert figures["macro_f1"].value == pytest.approx(metrics.f1_score(truths, guesses, average="macro"))
    assert figures["micro_f1"].value == pytest.approx(metrics.f1_score(truths, guesses, average="micro"))
    assert figures["log_loss"].value == pytest.approx(metrics.log_loss(truths, chances, labels=range(4)))
    each = metrics.f1_score(truths, guesses, average=None, labels=range(4), zero_division=0)
    assert [figures[f"f1[{name}]"].value for name in "abcd"] == pytest.approx(each.tolist())


def test_the_confusion_matrix_and_its_labels_agree_with_scikit_learn() -> None:
    chances, truths = drawn(3)
    guesses = chances.argmax(1)
    matrix = scoring.confusion(truths, guesses, 4)
    assert (matrix == metrics.confusion_matrix(truths, guesses, labels=range(4))).all()
    expected = metrics.precision_recall_fscore_support(truths, guesses, labels=range(4), zero_division=0)
    rows = scoring.by_label(matrix, list("abcd"))
    for key, column in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert [row[key] for row in rows] == pytest.approx(column.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_which_a_sample_has_several_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chances, truths = rng.random((40, 3)), rng.integers(2, size=(40, 3))
    figures = scoring.multi_label(chances, truths, threshold=0.4)
    guesses = chances >= 0.4
    assert figures["accuracy"].value == pytest.approx(metrics.accuracy_score(truths, guesses))
    for average in ("macro", "micro"):
        expected = metrics.f1_score(truths, guesses, average=average)
        assert figures[f"{average}_f1"].value == pytest.approx(expected)


def test_correlations_agree_with_scipy() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    truths = rng.integers(5, size=50).astype(float)
    values = truths + rng.normal(size=50).round() + 1e6  # far from 0, and with ties
    figures = scoring.regression(values, truths)
    assert figures["pearson"].value == pytest.approx(scipy_stats.pearsonr(values, truths)[0], abs=1e-9)
    assert figures["spearman"].value == pytest.approx(scipy_stats.spearmanr(values, truths)[0], abs=1e-9)
    assert figures["rmse"].value == pytest.approx(math.sqrt(((values - truths) ** 2).mean()))


def test_a_side_that_does_not_vary_has_no_correlation() -> None:
    assert math.isnan(scoring.regression([2.1, 2.1, 2.1], [1.0, 2.0, 3.0])["pearson"].value)


@settings(max_examples=150, deadline=None)
@given(SENTENCES, st.data())
def test_entities_agree_with_seqeval(expected: list[list[str]], data: Any) -> None:
    found = [[data.draw(TAGS) for _ in tags] for tags in expected]
    for tags in found:
        assert scoring.spans(tags) == [(name, first, last + 1) for name, first, last in get_entities(tags)]
    figures = scoring.entities([scoring.spans(each) for each in found], [scoring.spans(each) for each in expected])
    for name, function in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        right = function(expected, found, zero_division=0)
        assert figures[f"entity_{name}"].value == pytest.approx(right)
    if any(tag != "O" for tags in expected + found for tag in tags):
        macro = f1_score(expected, found, average="macro", zero_division=0)
        assert figures["entity_macro_f1"].value == pytest.approx(macro)


@settings(max_examples=50, deadline=None)
@given(st.lists(TAGS, max_size=12))
def test_spans_become_tags_and_spans_again(tags: list[str]) -> None:
    found = scoring.spans(tags)
    assert scoring.spans(scoring.bio(found, len(tags))) == found


def test_the_calibration_error_is_the_one_of_its_definition() -> None:
    rng = np.random.default_rng(1)
    sure, right = rng.random(500), rng.random(500) < 0.5
    total = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert scoring.calibration_error(sure, right).value == pytest.approx(total)
    assert scoring.calibration_error([1.0, 1.0], [True, True]).value == 0


@pytest.mark.parametrize("hidden", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_by_which_the_logits_were_multiplied(hidden: float) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(scale=2, size=(40_000, 3))
    truths = (softmax(logits).cumsum(1) > rng.random((40_000, 1))).argmax(1)
    assert scoring.fit_temperature(logits * hidden, truths) == pytest.approx(hidden, rel=0.04)
    several = 1 / (1 + np.exp(-logits)) > rng.random(logits.shape)
    assert scoring.fit_temperature(logits * hidden, several.astype(int)) == pytest.approx(hidden, rel=0.04)


def test_the_temperature_makes_the_log_loss_least() -> None:
    chances, truths = drawn(5)
    logits = 3 * np.log(chances)
    best = scoring.fit_temperature(logits, truths)

    def loss(temperature: float) -> float:
        return scoring.classification(softmax(logits / temperature), truths)["log_loss"].value

    assert loss(best) < min(loss(best * 1.01), loss(best / 1.01))


def test_a_temperature_without_bound_stops_at_the_last_that_is_allowed() -> None:
    assert scoring.fit_temperature([[3.0, 0.0], [0.0, 3.0]], [0, 1]) == pytest.approx(1 / scoring.WIDEST, rel=1e-6)


@pytest.mark.parametrize(
    ("answer", "right", "exact", "f1"),
    [
        ("The Red Sea.", "red sea", 1.0, 1.0),
        ("in the red sea", "the Red Sea", 0.0, 0.8),
        ("a", "", 1.0, 1.0),
        ("Egypt", "", 0.0, 0.0),
        ("Moses and Aaron", "Pharaoh", 0.0, 0.0),
    ],
)
def test_answers_are_compared_as_squad_compares_them(answer: str, right: str, exact: float, f1: float) -> None:
    figures = scoring.answers([answer], [[right]])
    assert figures["exact_match"].value == exact
    assert figures["answer_f1"].value == pytest.approx(f1)


def test_the_accepted_answer_that_fits_best_counts() -> None:
    assert scoring.answers(["red sea"], [["Nile", "the Red Sea"]])["exact_match"].value == 1


def test_sums_over_resampled_samples_give_what_the_samples_give() -> None:
    chances, truths = drawn(7)
    taken = np.random.default_rng(0).integers(len(truths), size=len(truths))
    whole, part = scoring.classification(chances, truths), scoring.classification(chances[taken], truths[taken])
    for name, figure in whole.items():
        assert isinstance(figure.of, Additive)
        assert float(figure.of.value(figure.of.statistics[taken].sum(0))) == pytest.approx(part[name].value), name


def test_scores_have_an_interval_that_holds_them_and_say_how() -> None:
    chances, truths = drawn(7)
    figures = scoring.classification(chances, truths)
    scores, parts = scoring.scored(figures, "held-out texts", times=200)
    for name, score in scores.items():
        assert score.interval is not None
        assert score.interval[0] <= score.value <= score.interval[1], name
        assert "held-out texts" in score.protocol
    assert set(parts) == set(scores)
    assert "spearman" not in scoring.scored(scoring.regression(np.arange(9.0), np.arange(9.0)), "x", times=9)[1]
    assert scoring.scored(figures, "held-out texts", times=0)[0]["accuracy"].interval is None


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: scoring.classification([[0.5, 0.5]], [2]), "truths"),
        (lambda: scoring.classification([[0.5, 0.5]], [0, 1]), "truths"),
        (lambda: scoring.classification([[0.5, 0.5]], [0.5]), "truths"),
        (lambda: scoring.classification([[0.5, 0.2]], [0]), "probabilities"),
        (lambda: scoring.classification([[3.0, -2.0]], [0]), "probabilities"),
        (lambda: scoring.classification([], []), "probabilities"),
        (lambda: scoring.classification([[0.5, 0.5]], [1], ["a"]), "names"),
        (lambda: scoring.multi_label([[0.5, 0.2]], [[0, 2]]), "truths"),
        (lambda: scoring.multi_label([[0.5, 0.2]], [[0, 1]], threshold=1), "threshold"),
        (lambda: scoring.regression([1.0, math.nan], [1.0, 2.0]), "values"),
        (lambda: scoring.regression([1.0], [1.0, 2.0]), "truths"),
        (lambda: scoring.entities([[]], []), "truths"),
        (lambda: scoring.answers(["a"], ["a"]), "accepted"),
        (lambda: scoring.confusion([0], [3], 2), "truths"),
        (lambda: scoring.fit_temperature([[math.inf, 0.0]], [0]), "logits"),
        (lambda: scoring.fit_temperature([[1.0, 0.0]], [[0, 1], [1, 0]]), "truths"),
        (lambda: scoring.bio([("a", 0, 3)], 2), "spans"),
        (lambda: scoring.bio([("a", 0, 2), ("b", 1, 2)], 2), "spans"),
        (lambda: scoring.spans(["B"]), "tags"),
        (lambda: scoring.spans(["X-a"]), "tags"),
    ],
)
def test_what_cannot_be_scored_is_refused(call: Any, field: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert caught.value.field == field

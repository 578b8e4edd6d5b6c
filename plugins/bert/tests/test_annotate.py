"""Labelling a data set together with a judge."""

from __future__ import annotations

import math
import random
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from aigc_sdk.errors import DataError, NotOffered, OptionError
from aigc_sdk_bert.annotate import Annotation, annotate, chosen, k_center, kappa, least_certain, merge
from aigc_sdk_bert.judge import Judge

TEXTS = ["the cow on a hill", "the red by the river", "the two in the house", "by a river of stone"]
NOTES = [Annotation("a", "x", 0.9), Annotation("b", "y", 0.6), Annotation("c", "x", 0.7)]


@pytest.fixture(scope="module")
def judge(small: Any) -> Judge:
    found = small.new(width=32).fit(small.sentences(90), max_steps=90, **small.quick)
    assert isinstance(found, Judge)
    return found


def test_a_text_is_labelled_with_the_judges_probability(judge: Judge) -> None:
    notes = annotate(judge, TEXTS)
    assert [note.label for note in notes[:3]] == ["animal", "colour", "number"]
    assert [note.confidence for note in notes] == judge.predict(TEXTS).max(1).tolist()
    assert {note.by for note in notes} == {"judge"}


@pytest.mark.parametrize("by", ["entropy", "margin", "confidence"])
def test_what_the_judge_is_least_certain_of_comes_first(judge: Judge, by: Any) -> None:
    chances = np.array([[0.98, 0.01, 0.01], [0.4, 0.35, 0.25], [0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    assert least_certain(chances, by).tolist() == [1, 2, 0, 3]
    order = chosen(judge, TEXTS, 4, by=by)
    assert sorted(order) == [0, 1, 2, 3]
    assert order == least_certain(judge.predict(TEXTS), by).tolist()


def test_margin_and_confidence_are_not_the_same_question() -> None:
    chances = np.array([[0.5, 0.49, 0.01], [0.4, 0.3, 0.3]])
    assert least_certain(chances, "margin").tolist() == [0, 1]
    assert least_certain(chances, "confidence").tolist() == [1, 0]


def test_different_texts_are_chosen_before_like_ones(judge: Judge) -> None:
    texts = [
        "the cow on a hill",
        "the cow on a hill",
        "the cow on a hill",
        "the two in the house",
        "the red by the river",
    ]
    found = chosen(judge, texts, 3, by="diversity")
    assert {texts[place] for place in found} == set(texts)
    first = chosen(judge, texts, 1, by="diversity", known=["the cow on a hill", "the red by the river"])
    assert texts[first[0]] == "the two in the house"


def test_both_chooses_different_texts_among_the_uncertain(judge: Judge, small: Any) -> None:
    texts = small.texts(60)
    found = chosen(judge, texts, 2, by="both")
    assert set(found) <= set(least_certain(judge.predict(texts), "margin")[:20].tolist())


def test_no_text_is_chosen_twice_even_among_equal_ones(judge: Judge) -> None:
    assert sorted(chosen(judge, ["the cow"] * 5, 5, by="diversity")) == [0, 1, 2, 3, 4]


def test_greedy_centers_are_at_most_twice_as_far_as_the_best() -> None:
    rng = np.random.default_rng(0)

    def radius(points: np.ndarray, centers: np.ndarray) -> float:
        return float(np.sqrt(((points[:, None] - centers[None]) ** 2).sum(2)).min(1).max())

    for _ in range(10):
        points = rng.normal(size=(9, 2))
        best = min(radius(points, points[list(some)]) for some in combinations(range(9), 3))
        assert radius(points, points[k_center(points, 3, points[:0])]) <= 2 * best + 1e-9


def test_people_win_and_conflicts_are_listed_with_the_surest_first() -> None:
    merged = merge(NOTES, {1: "x", 0: "y", 2: "x"})
    assert [note.label for note in merged.annotations] == ["y", "x", "x"]
    assert {note.by for note in merged.annotations} == {"person"}
    assert [(each.place, each.person, each.judge) for each in merged.conflicts] == [(0, "y", "x"), (1, "x", "y")]


def test_training_data_holds_what_people_said_and_what_is_sure() -> None:
    merged = merge(NOTES, {1: "x"})
    assert merged.data(0.8) == [("a", "x"), ("b", "x")]
    assert len(merged.data()) == 3


def test_a_person_who_agrees_leaves_the_judges_confidence() -> None:
    assert merge(NOTES, {1: "y"}).annotations[1] == Annotation("b", "y", 0.6, "person")
    assert merge(NOTES, {1: "x"}).annotations[1].confidence == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_kappa_agrees_with_scikit_learn(seed: int) -> None:
    rng = random.Random(seed)
    first = [rng.choice("abc") for _ in range(40)]
    second = [each if rng.random() < 0.6 else rng.choice("abd") for each in first]
    assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_of_one_label_says_nothing() -> None:
    assert math.isnan(kappa(["a", "a"], ["a", "a"]))
    assert kappa(["a", "b"], ["a", "b"]) == 1


@pytest.mark.parametrize(
    ("call", "error", "field"),
    [
        (lambda judge: annotate(judge, "the cow"), DataError, "texts"),
        (lambda judge: annotate(judge, []), DataError, "texts"),
        (lambda judge: annotate(judge, [""]), DataError, "texts"),
        (lambda judge: chosen(judge, TEXTS, 5), OptionError, "n"),
        (lambda judge: chosen(judge, TEXTS, 0), OptionError, "n"),
        (lambda judge: chosen(judge, TEXTS, 1, by="random"), OptionError, "by"),
        (lambda judge: merge(NOTES, {3: "x"}), DataError, "people"),
        (lambda judge: merge(NOTES, {0: ""}), DataError, "people"),
        (lambda judge: merge(NOTES, {0: "z"}, labels=["x", "y"]), DataError, "people"),
        (lambda judge: kappa(["a"], []), DataError, "second"),
        (lambda judge: kappa("ab", "ab"), DataError, "second"),
    ],
)
def test_what_cannot_be_annotated_is_refused(judge: Judge, call: Any, error: type[Exception], field: str) -> None:
    with pytest.raises(error) as caught:
        call(judge)
    assert caught.value.field == field


def test_only_single_labels_are_annotated(small: Any) -> None:
    spans = small.new(task="tokens").fit(small.spans(20), max_steps=1, **small.quick)
    with pytest.raises(NotOffered, match="tokens"):
        annotate(spans, ["the cow"])

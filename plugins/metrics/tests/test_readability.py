"""The formulas, on texts whose counts are known."""

from __future__ import annotations

import pytest

from aigc_sdk.errors import DataError
from aigc_sdk_metrics.text_readability import Readability, counts, syllables

SIMPLE = "The cat sat on the mat. It was a big cat!"  # 11 words, 2 sentences, 11 syllables, 29 letters


def test_words_sentences_and_syllables_are_counted() -> None:
    assert counts(SIMPLE) == [11, 2, 11, 29, 29, 0]
    assert counts("A wonderful, unbelievable day in 1999\n\nNo end") == [8, 2, 14, 36, 32, 2]
    assert counts("") == [0] * 6


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("cat", 1),
        ("make", 1),
        ("table", 2),
        ("walked", 1),
        ("wanted", 2),
        ("beautiful", 3),
        ("tree", 1),
        ("the", 1),
        ("rhythm", 1),
    ],
)
def test_syllables_are_estimated(word: str, count: int) -> None:
    assert syllables(word) == count


def test_the_scores_are_the_published_formulas() -> None:
    metric = Readability()
    metric.update([SIMPLE])
    scores = {name: score.value for name, score in metric.compute().items()}
    assert scores["flesch_reading_ease"] == pytest.approx(206.835 - 1.015 * 5.5 - 84.6)
    assert scores["flesch_kincaid_grade"] == pytest.approx(0.39 * 5.5 + 11.8 - 15.59)
    assert scores["ari"] == pytest.approx(4.71 * 29 / 11 + 0.5 * 5.5 - 21.43)
    assert scores["coleman_liau"] == pytest.approx(0.0588 * 100 * 29 / 11 - 0.296 * 100 * 2 / 11 - 15.8)
    assert scores["gunning_fog"] == pytest.approx(0.4 * 5.5)


def test_counts_of_several_texts_are_added_up_first() -> None:
    metric, joined = Readability(), Readability()
    metric.update([SIMPLE, "Incomprehensible bureaucratic terminology."])
    joined.update([SIMPLE + " Incomprehensible bureaucratic terminology."])
    for name, score in joined.compute(0).items():
        assert metric.compute(0)[name].value == pytest.approx(score.value)


def test_harder_words_make_a_text_harder() -> None:
    metric = Readability()
    easy, hard = metric.gather(metric.batch([SIMPLE, "Incomprehensible bureaucratic terminology proliferates."]))
    assert easy["flesch_reading_ease"] > hard["flesch_reading_ease"]
    assert all(easy[name] < hard[name] for name in easy if name != "flesch_reading_ease")


def test_a_text_without_english_words_has_none() -> None:
    metric = Readability()
    metric.update(["天地", "?"])
    with pytest.raises(DataError, match="needs an English word"):
        metric.compute()

"""Distinct n-grams, repetition and self-BLEU against their definitions, and their intervals."""

from __future__ import annotations

import itertools
import logging
import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU as Sacre

from aigc_sdk.errors import DataError, InputError
from aigc_sdk_metrics.text_diversity import Distinct, Repetition, SelfBLEU
from aigc_sdk_metrics.text_words import ngrams, numbered, words

Pairs = list[tuple[str, str]]


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    tokens = words(text)
    return [tuple(tokens[place : place + n]) for place in range(len(tokens) - n + 1)]


def updated(
    metric: Distinct | Repetition | SelfBLEU, texts: list[str], size: int = 17
) -> Distinct | Repetition | SelfBLEU:
    for start in range(0, len(texts), size):
        metric.update(texts[start : start + size])
    return metric


@pytest.mark.parametrize("n", [1, 2, 3])
def test_distinct_is_different_n_grams_by_all(pairs: Pairs, n: int) -> None:
    texts = [text for text, _ in pairs[:200]]
    every = [each for text in texts for each in grams(text, n)]
    score = updated(Distinct(n), texts).compute()[f"distinct_{n}"]
    assert score.value == pytest.approx(len(set(every)) / len(every))
    assert score.n == 200


def test_the_jackknife_leaves_each_text_out_in_turn(pairs: Pairs) -> None:
    texts = [text for text, _ in pairs[20:60]]
    every = [grams(text, 2) for text in texts]

    def value(some: list[list[tuple[str, ...]]]) -> float:
        joined = [each for one in some for each in one]
        return len(set(joined)) / len(joined)

    without = np.array([value(every[:index] + every[index + 1 :]) for index in range(len(every))])
    half = 1.96 * np.sqrt(39 / 40 * np.square(without - without.mean()).sum())
    score = updated(Distinct(2), texts).compute()["distinct_2"]
    assert score.interval == pytest.approx((value(every) - half, min(1, value(every) + half)))


def test_merged_states_know_who_has_what(pairs: Pairs) -> None:
    texts = [text for text, _ in pairs[:100]]
    one, other = updated(Distinct(2), texts[:30]), updated(Distinct(2), texts[30:])
    one.merge(other)  # type: ignore[arg-type]
    assert one.compute() == updated(Distinct(2), texts).compute()
    with pytest.raises(InputError, match=r"distinct_2"):
        one.merge(Distinct(3))  # type: ignore[arg-type]


def test_repetition_is_what_a_text_has_had_before() -> None:
    metric = updated(Repetition(2), ["a b a b a b", "a b c", "a"])
    assert metric.compute()["repetition_2"].value == pytest.approx((3 / 5 + 0) / 2)  # the last is too short to count
    rows = metric.gather(metric.batch(["a b a b a b", "a"]))
    assert [row["repetition_2"] for row in rows] == [pytest.approx(3 / 5), None]


def test_self_bleu_is_sacrebleus_against_all_others() -> None:
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)
    rng = random.Random(3)
    texts = [" ".join(rng.choices("abcdefg", k=rng.randint(1, 14))) for _ in range(40)] + ["a b c d", "a b c d"]
    theirs = Sacre(tokenize="none", effective_order=True)
    expected = [
        theirs.sentence_score(text, texts[:index] + texts[index + 1 :]).score for index, text in enumerate(texts)
    ]
    metric = updated(SelfBLEU("whitespace"), texts)
    assert [row["self_bleu"] for row in metric.late_rows() or []] == pytest.approx(expected, rel=1e-9)
    score = metric.compute()["self_bleu"]
    assert score.value == pytest.approx(np.mean(expected))
    assert score.interval is not None
    assert score.interval[0] < score.value < score.interval[1]


def test_self_bleu_keeps_the_first_texts_and_says_so() -> None:
    metric = updated(SelfBLEU(most=5), ["a b c"] * 5 + ["x y z"] * 3)
    score = metric.compute()["self_bleu"]
    assert score.value == pytest.approx(100)
    assert "the first 5 of 8 texts" in score.protocol
    assert [row["self_bleu"] for row in metric.late_rows() or []][5:] == [None] * 3


def test_texts_without_words_have_no_diversity() -> None:
    with pytest.raises(DataError, match=r"distinct_2 has no value.*2 words or more"):
        updated(Distinct(2), ["one", "", "?!"]).compute()
    with pytest.raises(DataError, match=r"repetition_4 has no value.*4 words or more"):
        updated(Repetition(4), ["a b c"]).compute()
    with pytest.raises(DataError, match="give at least two"):
        updated(SelfBLEU(), ["alone"]).compute()


def test_different_n_grams_have_different_digests() -> None:
    tokens = [list(each) for each in itertools.product("abcdefghij", repeat=4)]
    rows = numbered([" ".join(each) for each in tokens], "whitespace")
    digests = {int(ngrams(row, 4)[0]) for row in rows}
    assert len(digests) == 10_000
    assert len(ngrams(rows[0], 5)) == 0


def test_words_are_those_of_any_script() -> None:
    assert words("Don't  stop—naïve Straße, 天地 x_1!") == ["don't", "stop", "naïve", "straße", "天", "地", "x_1"]

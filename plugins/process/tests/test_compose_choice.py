"""Choosing by what a judge says."""

from __future__ import annotations

import math

import pytest

import aigc_sdk
from aigc_sdk import Evaluator, Text
from aigc_sdk.errors import DataError, InputError
from aigc_sdk_process.compose import pick, ranked

TEXTS = [Text("zxq vvv kkq"), Text("And the LORD said unto Moses"), Text(""), Text("A lamp of the moon")]


@pytest.fixture(scope="module")
def judge() -> Evaluator:
    return aigc_sdk.evaluator("gpt2", device="cpu")


def test_the_best_comes_first_by_the_reports_own_direction(judge: Evaluator) -> None:
    order = ranked(TEXTS, judge, by="bits_per_byte")
    assert [TEXTS.index(each.artifact) for each in order] == [1, 3, 0, 2]
    assert order[0].value < order[1].value < order[2].value
    assert math.isnan(order[3].value)  # nothing can be said of an empty text
    assert ranked(TEXTS[:2], judge, by="tokens", higher_is_better=True)[0].value >= 4


def test_the_chosen_one_says_how_it_was_chosen(judge: Evaluator) -> None:
    best = pick(TEXTS, judge, by="bits_per_byte")
    assert best == TEXTS[1]
    assert best.info["judged"]["of"] == 4
    assert best.info["judged"]["value"] == ranked(TEXTS, judge, by="bits_per_byte")[0].value


def test_a_number_that_the_judge_does_not_give_and_one_without_a_direction_are_refused(judge: Evaluator) -> None:
    with pytest.raises(InputError, match=r"no such number. Did you mean 'bits_per_byte'\?"):
        pick(TEXTS, judge, by="bits_per_bite")
    with pytest.raises(InputError, match="pass higher_is_better"):
        pick(TEXTS, judge, by="nats")
    with pytest.raises(DataError, match="no samples"):
        pick([], judge, by="nats")

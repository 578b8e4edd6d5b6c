"""What a judge still gets right under attack."""

from __future__ import annotations

from typing import Any

import pytest

from aigc_sdk.errors import DataError, NotOffered, OptionError
from aigc_sdk_bert.adversarial import Ball
from aigc_sdk_bert.attack import moved, reworded
from aigc_sdk_bert.judge import Judge


@pytest.fixture(scope="module")
def judge(small: Any) -> Judge:
    found = small.new(width=32).fit(small.sentences(90), max_steps=90, **small.quick)
    assert isinstance(found, Judge)
    return found


def test_the_further_texts_are_moved_the_fewer_stay_right(small: Any, judge: Judge) -> None:
    texts, labels = zip(*small.sentences(45, seed=1), strict=True)
    found = [moved(judge, texts, labels, Ball(epsilon, epsilon / 3, 6)) for epsilon in (1e-6, 0.3, 3.0)]
    assert found[0].under_attack == found[0].accuracy == found[1].accuracy > 0.9
    assert found[0].under_attack >= found[1].under_attack > found[2].under_attack
    assert found[2].under_attack < 0.2
    assert found[1].under_attack == sum(found[1].right) / len(texts)


def test_an_attack_is_the_same_each_time_and_leaves_the_judge_as_it_was(small: Any, judge: Judge) -> None:
    texts, labels = zip(*small.sentences(9, seed=1), strict=True)
    before = judge.fingerprint()
    assert moved(judge, texts, labels) == moved(judge, texts, labels)
    assert judge.fingerprint() == before
    assert all(each.grad is None for each in judge.network.parameters())


def test_words_are_replaced_until_the_judge_is_wrong(judge: Judge) -> None:
    texts, labels = ["the cow on a hill", "the red by the river"], ["animal", "colour"]
    found = reworded(judge, texts, labels, lambda word: {"cow": ["ox", "red"], "hill": ["house"]}.get(word, []))
    assert found.accuracy == 1
    assert found.right == (False, True)
    assert found.texts[0].startswith("the red")
    assert found.texts[1] == texts[1]


def test_no_more_words_are_replaced_than_allowed(judge: Judge) -> None:
    text = "the cow on a hill"
    found = reworded(
        judge, [text], ["animal"], lambda word: ["house", "river", "stone"] if word != "cow" else [], words=2
    )
    changed = sum(old != new for old, new in zip(text.split(), found.texts[0].split(), strict=True))
    assert changed <= 2


def test_a_text_that_was_wrong_already_is_not_attacked(judge: Judge) -> None:
    found = reworded(judge, ["the cow on a hill"], ["number"], lambda word: ["one"])
    assert (found.accuracy, found.texts) == (0.0, ("the cow on a hill",))


@pytest.mark.parametrize(
    ("call", "error", "field"),
    [
        (lambda judge: moved(judge, ["the cow"], []), DataError, "labels"),
        (lambda judge: moved(judge, [], []), DataError, "labels"),
        (lambda judge: moved(judge, ["the cow"], ["plant"]), DataError, "labels"),
        (lambda judge: moved(judge, [""], ["animal"]), DataError, "texts"),
        (lambda judge: reworded(judge, ["the cow"], ["animal"], lambda word: [], words=0), OptionError, "words"),
    ],
)
def test_what_cannot_be_attacked_is_refused(judge: Judge, call: Any, error: type[Exception], field: str) -> None:
    with pytest.raises(error) as caught:
        call(judge)
    assert caught.value.field == field


def test_only_a_classification_is_attacked(small: Any) -> None:
    spans = small.new(task="tokens").fit(small.spans(20), max_steps=1, **small.quick)
    with pytest.raises(NotOffered, match="tokens"):
        moved(spans, ["the cow"], ["animal"])

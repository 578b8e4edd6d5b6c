"""Which tokens made a judge say what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
)

from aigc_sdk.errors import ContextOverflow, DataError, OptionError
from aigc_sdk_bert.encode import encode
from aigc_sdk_bert.explain import explain
from aigc_sdk_bert.folders import learn_tokenizer
from aigc_sdk_bert.judge import Judge, run
from aigc_sdk_bert.tasks import Task

WORDS = ["red", "blue", "green", "one", "two", "three", "the", "sea", "and", "a", "sky", "is", "near", "far"]
TOKENIZER = learn_tokenizer([" ".join(WORDS)] * 3, 200, 16, lowercase=True)
TEXT = "the red sea is near"


def judge(kind: Any = "classification", labels: tuple[str, ...] = ("law", "poetry", "letter"), **changes: Any) -> Judge:
    torch.manual_seed(0)
    task = Task.of(kind, labels)
    config_class = changes.pop("config", BertConfig)
    config = config_class(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        embedding_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.4,  # far from 0, so that words matter
        **task.configuration(),
    )
    network = changes.pop("network", BertForSequenceClassification)
    return Judge(network(config).eval(), TOKENIZER)


def log_odds(said: float) -> float:
    return float(np.log(said) - np.log1p(-said))


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_the_score_is_the_log_odds_of_the_label(method: Any) -> None:
    found = explain(judge(), TEXT, "poetry", method=method)
    assert found.score == pytest.approx(log_odds(judge().predict([TEXT])[0, 1]), abs=1e-4)
    assert found.tokens == tuple(TEXT.split())
    assert found.target == "log odds of poetry"


@pytest.mark.parametrize(
    ("kind", "labels"), [("classification", ("a", "b", "c")), ("multi-label", ("a", "b")), ("regression", ())]
)
def test_gradients_add_up_for_every_kind_of_judge(kind: str, labels: tuple[str, ...]) -> None:
    found = explain(judge(kind, labels), TEXT, labels[0] if labels else None, tolerance=1e-3)
    assert found.complete
    assert sum(found.values) == pytest.approx(found.score - found.baseline_score, abs=1e-3)


def test_another_architecture_is_explained_too() -> None:
    electra = judge(config=ElectraConfig, network=ElectraForSequenceClassification)
    found = explain(electra, TEXT, "law", tolerance=1e-3)
    assert found.complete


def test_the_baseline_is_a_text_of_masks() -> None:
    one = judge()
    masks = one.predict([" ".join(["[MASK]"] * 5)])[0, 0]
    assert explain(one, TEXT, "law").baseline_score == pytest.approx(log_odds(masks), abs=1e-4)


def test_occlusion_is_what_is_lost_when_a_word_is_masked() -> None:
    one = judge()
    found = explain(one, TEXT, "law", method="occlusion")
    for place, value in enumerate(found.values):
        words = TEXT.split()
        words[place] = "[MASK]"
        without = log_odds(one.predict([" ".join(words)])[0, 0])
        assert value == pytest.approx(found.score - without, abs=1e-4)


def test_without_a_label_the_likeliest_is_explained() -> None:
    one = judge()
    assert explain(one, TEXT).target == f"log odds of {one.labels[int(one.predict([TEXT])[0].argmax())]}"


def test_a_calibrated_judge_is_explained_as_it_judges() -> None:
    one = judge()
    one.temperature = 2.5
    found = explain(one, TEXT, "law", tolerance=1e-3)
    assert found.score == pytest.approx(log_odds(one.predict([TEXT])[0, 0]), abs=1e-4)
    assert found.complete


def test_both_texts_of_a_pair_are_coloured() -> None:
    found = explain(judge(), "the red sea", pair="a blue sky", method="occlusion")
    assert found.text == "the red sea\na blue sky"
    assert [found.text[start:stop] for start, stop in found.offsets] == ["the", "red", "sea", "a", "blue", "sky"]


@pytest.mark.parametrize(
    ("call", "error", "field"),
    [
        (lambda: explain(judge(), TEXT, "poem"), OptionError, "label"),
        (lambda: explain(judge("regression", ()), TEXT, "law"), OptionError, "label"),
        (lambda: explain(judge(), TEXT, method="lime"), OptionError, "method"),
        (lambda: explain(judge(), " "), DataError, "text"),
        (lambda: explain(judge(), TEXT, pair=""), DataError, "pair"),
        (lambda: explain(judge(), "sea " * 20), ContextOverflow, "texts"),
    ],
)
def test_what_cannot_be_explained_is_refused(call: Any, error: type[Exception], field: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert caught.value.field == field


def spans() -> Judge:
    return judge("tokens", ("colour", "place"), network=BertForTokenClassification)


def answers() -> Judge:
    return judge("questions", (), network=BertForQuestionAnswering)


@pytest.mark.parametrize("at", [4, 8])
@pytest.mark.parametrize("label", ["colour", "place", "O"])
def test_a_label_of_one_token_is_explained_and_adds_up(label: str, at: int) -> None:
    one = spans()
    one.temperature = 1.5
    found = explain(one, TEXT, label, at=at, tolerance=1e-3)
    [row] = encode(one.tokenizer, [TEXT], [None], one.context)
    [said] = run(one.network, [row])
    place = next(index for index, (start, stop) in enumerate(row.offsets) if start <= at < stop)
    chances = np.exp(said[place] / 1.5) / np.exp(said[place] / 1.5).sum()
    chance = sum(chances[index] for index, tag in enumerate(one.task.labels) if tag.split("-")[-1] == label)
    assert found.score == pytest.approx(log_odds(chance), abs=1e-4)
    assert found.complete
    assert sum(found.values) == pytest.approx(found.score - found.baseline_score, abs=1e-3)
    assert found.target == f"log odds of {label} for {TEXT[at : at + 3]!r}"


def test_without_a_label_that_of_the_tokens_likeliest_tag_is_explained() -> None:
    one = spans()
    [found] = one.predict([TEXT])
    assert found
    assert explain(one, TEXT, at=found[0].start).target.startswith(f"log odds of {found[0].label} for ")


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_an_answers_start_and_end_are_explained(method: Any) -> None:
    one, context = answers(), "a blue sky and the sea"
    found = explain(one, "is red near", pair=context, method=method, tolerance=1e-3)
    [answer] = one.predict(["is red near"], [context])
    [row] = encode(one.tokenizer, ["is red near"], [context], one.context)
    [said] = run(one.network, [row])
    assert answer.text
    assert found.target == f"start and end logits of {answer.text!r}"
    starts = [offset[0] if part == 1 else -1 for offset, part in zip(row.offsets, row.parts, strict=True)]
    stops = [offset[1] if part == 1 else -1 for offset, part in zip(row.offsets, row.parts, strict=True)]
    wanted = said[starts.index(answer.start), 0] + said[stops.index(answer.end), 1]
    assert found.score == pytest.approx(wanted, abs=1e-4)
    assert [found.text[slice(*each)] for each in found.offsets] == f"is red near {context}".split()
    assert found.complete
    if method == "gradients":
        assert sum(found.values) == pytest.approx(found.score - found.baseline_score, abs=1e-3)


def test_that_a_context_has_no_answer_is_explained_too() -> None:
    one = answers()
    with torch.no_grad():
        one.network.qa_outputs.weight.zero_()  # type: ignore[union-attr, operator]
        one.network.qa_outputs.bias.zero_()  # type: ignore[union-attr, operator]
    found = explain(one, "is red near", pair="sea")
    assert found.target == "start and end logits of no answer"


@pytest.mark.parametrize(
    ("call", "error", "field"),
    [
        (lambda: explain(spans(), TEXT, "colour"), OptionError, "at"),
        (lambda: explain(spans(), TEXT, "colour", at=3), OptionError, "at"),  # a space
        (lambda: explain(spans(), TEXT, "colour", at=99), OptionError, "at"),
        (lambda: explain(spans(), TEXT, "color", at=4), OptionError, "label"),
        (lambda: explain(judge(), TEXT, at=4), OptionError, "at"),
        (lambda: explain(answers(), "is red near"), DataError, "pair"),
        (lambda: explain(answers(), "is red near", "colour", pair="sea"), OptionError, "label"),
    ],
)
def test_tokens_and_questions_that_cannot_be_explained_are_refused(
    call: Any, error: type[Exception], field: str
) -> None:
    with pytest.raises(error) as caught:
        call()
    assert caught.value.field == field

"""Which tokens made a judge say what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
)

from aigc_sdk.errors import ContextOverflow, DataError, NotOffered, OptionError
from aigc_sdk_bert.explain import explain
from aigc_sdk_bert.folders import learn_tokenizer
from aigc_sdk_bert.judge import Judge
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


def test_a_judge_of_spans_is_not_explained() -> None:
    with pytest.raises(NotOffered, match="tokens"):
        explain(judge("tokens", ("name",), network=BertForTokenClassification), TEXT)

"""Every option's bad values are refused at the call, and what is recorded of good ones makes the same text again."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_sdk.errors import AigcError, OptionError
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.model import GPT2

CONTEXT = 96
tokenizer = train_tokenizer(["hello world, the quick brown fox jumps over the lazy dog; "] * 4, 340, CONTEXT)
SIZE = len(tokenizer)


@pytest.fixture(scope="module")
def model() -> GPT2:
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": CONTEXT, "vocab_size": SIZE}
    return GPT2(GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval(), tokenizer)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max_new_tokens": 0}, "max_new_tokens"),
    ({"max_new_tokens": "9"}, "max_new_tokens"),
    ({"max_new_tokens": [4, 4]}, "max_new_tokens"),
    ({"min_new_tokens": -1}, "min_new_tokens"),
    ({"temperature": float("nan")}, "temperature"),
    ({"temperature": 101.0}, "temperature"),
    ({"top_k": -1}, "top_k"),
    ({"top_p": 1.5}, "top_p"),
    ({"min_p": 2.0}, "min_p"),
    ({"typical_p": 0.0}, "typical_p"),
    ({"typical_p": 1.1}, "typical_p"),
    ({"repetition_penalty": 0.0}, "repetition_penalty"),
    ({"presence_penalty": 3.0}, "presence_penalty"),
    ({"presence_penalty": "1"}, "presence_penalty"),
    ({"frequency_penalty": -2.5}, "frequency_penalty"),
    ({"no_repeat_ngram": -2}, "no_repeat_ngram"),
    ({"no_repeat_ngram": 2.0}, "no_repeat_ngram"),
    ({"bad_words": [""]}, "bad_words"),
    ({"bad_words": [3]}, "bad_words"),
    ({"bad_words": ["x" * 1025]}, "bad_words"),
    ({"logit_bias": {"fox": 101.0}}, "logit_bias"),
    ({"logit_bias": {"fox": float("inf")}}, "logit_bias"),
    ({"logit_bias": {"": 1.0}}, "logit_bias"),
    ({"logit_bias": {-1: 1.0}}, "logit_bias"),
    ({"logit_bias": {SIZE: 1.0}}, "logit_bias"),
    ({"logit_bias": {"fox jumps": 1.0}}, "logit_bias"),
    ({"logit_bias": {True: 1.0}}, "logit_bias"),
    ({"logit_bias": [["e", 1.0], ["e", 2.0]]}, "logit_bias"),
    ({"logit_bias": ["e"]}, "logit_bias"),
    ({"logits": "numpy.sin"}, "logits"),
    ({"logprobs": -1}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"logprobs": 1000}, "logprobs"),
    ({"stop": [""]}, "stop"),
    ({"stop": ["a"] * 65}, "stop"),
    ({"regex": ""}, "regex"),
    ({"regex": "x" * 70_000}, "regex"),
    ({"regex": "a", "json_schema": {}}, "regex"),
    ({"regex": "a", "stop": "b"}, "stop"),
    ({"json_schema": "{"}, "json_schema"),
    ({"json_schema": "[]"}, "json_schema"),
    ({"json_schema": [1]}, "json_schema"),
    ({"json_schema": {"type": object}}, "json_schema"),
    ({"json_schema": {"enum": ["x" * 70_000]}}, "json_schema"),
    ({"num_beams": 0}, "num_beams"),
    ({"num_beams": 4}, "num_beams"),
    ({"num_beams": 4, "temperature": 0.0, "logprobs": 1}, "logprobs"),
    ({"num_beams": 4, "temperature": 0.0, "speculate": 3}, "speculate"),
    ({"length_penalty": float("inf")}, "length_penalty"),
    ({"early_stopping": "sometimes"}, "early_stopping"),
    ({"early_stopping": 1}, "early_stopping"),
    ({"truncate": "right"}, "truncate"),
    ({"adapter": 5}, "adapter"),
    ({"adapter": "nobody"}, "adapter"),
    ({"presence": 1.0}, "presence"),
]


@pytest.mark.parametrize(("given", "field"), BAD, ids=[f"{place}-{field}" for place, (_, field) in enumerate(BAD)])
def test_a_bad_option_is_refused_at_the_call_and_named(model: GPT2, given: dict[str, Any], field: str) -> None:
    with pytest.raises(AigcError) as caught:
        model.stream("hello", **{"max_new_tokens": 8, **given})
    assert field in str(caught.value)
    if isinstance(caught.value, OptionError):
        assert caught.value.field == field


def test_recorded_options_give_the_same_text_again(model: GPT2) -> None:
    given: dict[str, Any] = {
        "max_new_tokens": 12,
        "logit_bias": {"e": 1.0, 7: -2.0},
        "bad_words": "fox",
        "presence_penalty": 0.5,
        "typical_p": 0.9,
        "logprobs": 2,
        "stop": ["zz"],
    }
    [made] = model.generate("hello", seed=1, **given)
    recorded = json.loads(json.dumps(dict(made.origin["options"])))
    [again] = model.generate("hello", seed=1, **recorded)
    assert again == made
    assert again.info == made.info

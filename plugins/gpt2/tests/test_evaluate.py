"""Perplexity and bits per byte."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_sdk.artifacts import Text
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk.protocols import Step
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.evaluate import Perplexity
from aigc_sdk_gpt2.model import GPT2

CONTEXT = 8
TOKENIZER = train_tokenizer([], 257, CONTEXT)


def tiny() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    end = TOKENIZER.eos_token_id
    config = GPT2Config(
        vocab_size=257,
        n_positions=CONTEXT,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=end,
        eos_token_id=end,
        initializer_range=0.5,  # far from uniform, so that contexts matter
    )
    return GPT2LMHeadModel(config).eval()


JUDGE = Perplexity(GPT2(tiny(), TOKENIZER))


def nats(text: str, context: int, stride: int) -> float:
    """The definition, one token at a time in float64: each token is predicted from the window that it is scored in."""
    model = tiny().double()
    tokens = [TOKENIZER.eos_token_id, *TOKENIZER(text)["input_ids"]]
    total = 0.0
    for place in range(1, len(tokens)):
        stop = place if place <= context else context + -(-(place - context) // stride) * stride
        start = max(0, min(stop, len(tokens) - 1) - context)
        with torch.no_grad():
            logits = model(torch.tensor([tokens[start:place]])).logits[0, -1]
        total -= float(logits.log_softmax(-1)[tokens[place]])
    return total


@settings(max_examples=30, deadline=None)
@given(st.text("abcd é", min_size=1, max_size=40), st.integers(2, CONTEXT), st.integers(1, CONTEXT))
def test_the_figures_are_those_of_the_definition(text: str, context: int, stride: int) -> None:
    stride = min(stride, context)
    report = JUDGE.evaluate([text], context=context, stride=stride)
    expected = nats(text, context, stride)
    size = len(text.encode())
    assert report.rows[0]["nats"] == pytest.approx(expected, rel=1e-5)
    assert report["bits_per_byte"].value == pytest.approx(expected / math.log(2) / size, rel=1e-5)
    assert report["perplexity"].value == pytest.approx(math.exp(expected / report.rows[0]["tokens"]), rel=1e-5)


def test_a_sample_has_the_same_row_alone_and_in_any_batch() -> None:
    texts = ["abc", "a longer text that needs several windows", "x"]
    alone = [JUDGE.evaluate([text]).rows[0] for text in texts]
    for batch_size in (1, 2, 16):
        for row, expected in zip(JUDGE.evaluate(texts, batch_size=batch_size).rows, alone, strict=True):
            assert row["nats"] == pytest.approx(expected["nats"], rel=1e-5)


def test_the_score_is_over_all_bytes_not_over_samples() -> None:
    report = JUDGE.evaluate(["a", "bcdefghij"])
    total = sum(row["nats"] for row in report.rows)
    assert report["bits_per_byte"].value == pytest.approx(total / math.log(2) / 10)


def test_the_protocol_says_what_one_must_know_to_compare() -> None:
    score = JUDGE.evaluate(["abcdefghijk"], stride=3)["bits_per_byte"]
    assert "context 8, stride 3, first token after <|endoftext|>, tokenizer of 257 tokens" in score.protocol
    assert "11 tokens, 11 bytes, float32" in score.protocol
    assert not score.higher_is_better


def test_an_empty_sample_has_a_row_without_figures_and_counts_for_nothing() -> None:
    with_empty = JUDGE.evaluate(["abc", ""])
    assert with_empty.rows[1] == {"nats": None, "tokens": 0, "bytes": 0, "perplexity": None, "bits_per_byte": None}
    assert with_empty["perplexity"].value == JUDGE.evaluate(["abc"])["perplexity"].value
    assert with_empty["perplexity"].n == 1
    with pytest.raises(DataError, match="every sample is an empty text"):
        JUDGE.evaluate(["", ""])


def test_the_interval_is_asked_for_seeded_and_around_the_value() -> None:
    texts = ["abc", "ddddd", "the cat", "é"]
    assert JUDGE.evaluate(texts)["bits_per_byte"].interval is None
    first, again, other = (
        JUDGE.evaluate(texts, bootstrap=200, seed=seed)["bits_per_byte"].interval for seed in (1, 1, 2)
    )
    assert first is not None
    assert first == again != other
    assert first[0] <= JUDGE.evaluate(texts)["bits_per_byte"].value <= first[1]
    assert JUDGE.evaluate(["abc"], bootstrap=200)["bits_per_byte"].interval is None


@pytest.mark.parametrize(("options", "field"), [({"context": 9}, "context"), ({"context": 4, "stride": 5}, "stride")])
def test_windows_that_the_model_cannot_read_are_refused(options: dict[str, int], field: str) -> None:
    with pytest.raises(OptionError) as caught:
        JUDGE.evaluate(["abc"], **options)
    assert caught.value.field == field


def test_a_lone_surrogate_is_refused_with_its_place() -> None:
    with pytest.raises(DataError, match=r"samples\[1\] holds a lone surrogate at character 2"):
        JUDGE.evaluate(["abc", "ab\ud800"])


def test_artifacts_are_judged_like_their_texts_and_progress_is_told() -> None:
    steps: list[Step] = []
    report = JUDGE.evaluate([Text("abcdefghijkl")], batch_size=1, on_step=steps.append)
    assert report.rows == JUDGE.evaluate(["abcdefghijkl"]).rows
    assert [(step.index, step.total) for step in steps] == [(1, 2), (2, 2)]


def test_a_hopeless_model_has_a_perplexity_that_is_infinite_rather_than_an_error() -> None:
    network = tiny()
    with torch.no_grad():
        network.transformer.ln_f.weight.mul_(1e4)
    report = Perplexity(GPT2(network, TOKENIZER)).evaluate(["zqzq"])
    assert report["perplexity"].value == np.inf
    assert np.isfinite(report["bits_per_byte"].value)

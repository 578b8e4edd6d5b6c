"""Perplexity and bits per byte by anything that can score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

import aigc_sdk
from aigc_sdk.comparison import compare
from aigc_sdk.errors import ContextOverflow, DataError, InputError, OptionError
from aigc_sdk_metrics.text import TextMetrics
from aigc_sdk_metrics.text_likelihood import Likelihood


@dataclass
class Scored:
    logprobs: tuple[float, ...]


class Uniform:
    """A model that holds each of so many characters for equally likely."""

    backend = "uniform"

    def __init__(self, characters: int) -> None:
        self.characters = characters

    def score(self, texts: list[str]) -> list[Scored]:
        return [Scored((-math.log(self.characters),) * len(text)) for text in texts]


def test_a_uniform_model_has_the_perplexity_of_its_choices() -> None:
    report = TextMetrics(scorer=Uniform(26)).evaluate(["abc", "", "hello é"], metrics=("perplexity",))
    assert report["perplexity"].value == pytest.approx(26)
    assert report["bits_per_byte"].value == pytest.approx(math.log2(26) * 10 / 11)
    assert report.rows[1] == {"perplexity": None, "bits_per_byte": None}
    assert "scored by uniform; each text by itself" in report["perplexity"].protocol


def test_the_default_model_of_gpt2_agrees_with_its_own_evaluator() -> None:
    pytest.importorskip("aigc_sdk_gpt2")
    texts = ["In the beginning God created the heaven and the earth.", "And God said"]
    report = TextMetrics().evaluate(texts, metrics=("perplexity",), scorer="gpt2")
    theirs = aigc_sdk.evaluator("gpt2").evaluate(texts)
    for name in ("perplexity", "bits_per_byte"):
        assert report[name].value == pytest.approx(theirs[name].value, rel=1e-4)
    assert "scored by gpt2 (" in report["perplexity"].protocol
    with pytest.raises(ContextOverflow, match="split it"):
        TextMetrics().evaluate(["word " * 2000], metrics=("perplexity",), scorer="gpt2")


def test_two_models_are_compared_by_how_well_they_predict_the_same_texts() -> None:
    texts = ["abc", "def", "ghij", "k"] * 5
    reports = [TextMetrics(scorer=Uniform(count)).evaluate(texts, metrics=("perplexity",)) for count in (26, 10)]
    found = compare(*reports, other_protocol=True)["bits_per_byte"]  # same words: "uniform" tells nothing of its size
    assert found.better == "second"
    assert found.difference == pytest.approx(math.log2(10 / 26))


class Broken(Uniform):
    def __init__(self, found: Any) -> None:
        self.found = found

    def score(self, texts: list[str]) -> Any:
        return self.found


@pytest.mark.parametrize(
    ("scorer", "error", "message"),
    [
        (object(), InputError, "has no score"),
        (Broken([]), InputError, "returned 0 scores for 1 texts"),
        (Broken([Scored((0.5,))]), DataError, "no logarithms of probabilities"),
        (Broken([Scored((math.nan,))]), DataError, "no logarithms of probabilities"),
        (Broken([Scored((-math.inf,))]), DataError, "holds it for possible"),
    ],
)
def test_a_model_that_cannot_score_is_refused(scorer: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TextMetrics(scorer=scorer).evaluate(["a"], metrics=("perplexity",))


def test_without_a_model_there_is_no_perplexity() -> None:
    with pytest.raises(OptionError, match="perplexity needs the option scorer") as caught:
        TextMetrics().evaluate(["a"], metrics=("perplexity",))
    assert caught.value.field == "scorer"
    with pytest.raises(DataError, match="not empty"):
        TextMetrics(scorer=Uniform(2)).evaluate(["", ""], metrics=("perplexity",))
    assert Likelihood(Uniform(2)).settings() == Likelihood(Uniform(3)).settings()

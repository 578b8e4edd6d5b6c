"""Bad input is refused at the call, by a typed error that names the field and says what to do."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from aigc_sdk.artifacts import Image, Text
from aigc_sdk.errors import DataError, DeviceError, InputError, MissingDependency, NotOffered, OptionError
from aigc_sdk_metrics.text import TextMetrics, TextOptions
from aigc_sdk_metrics.text_batch import TextBatch

JUDGE = TextMetrics()
PICTURE = Image(np.zeros((2, 2, 3), np.uint8))

BAD: list[tuple[str, Any, Any, dict[str, Any], type[InputError], str, str]] = [
    ("no samples", [], [], {}, DataError, "samples", "at least one"),
    ("no references", ["a"], None, {}, DataError, "references", "bleu compares with references; pass references="),
    ("fewer references", ["a", "b"], ["a"], {}, DataError, "references", "1 references for 2 samples"),
    ("one text for a list", "a", ["a"], {}, DataError, "samples", "pass a list"),
    ("a picture", ["a", PICTURE], ["a", "b"], {}, DataError, "samples", r"samples\[1\] is a Image"),
    ("a picture for a reference", ["a"], [PICTURE], {}, DataError, "references", r"references\[0\] is Image"),
    ("a number for a reference", ["a"], [7], {}, DataError, "references", r"references\[0\] is 7; pass a text"),
    ("nothing for a reference", ["a"], [None], {}, DataError, "references", r"references\[0\] is None"),
    ("a list of no references", ["a"], [[]], {}, DataError, "references", r"references\[0\] holds 0 references"),
    ("a number among references", ["a"], [["a", 7]], {}, DataError, "references", r"references\[0\]\[1\] is a int"),
    ("bytes for a reference", ["a"], [b"a"], {}, DataError, "references", r"references\[0\] is b'a'"),
    ("a lone surrogate", ["a\ud800"], ["a"], {}, DataError, "samples", "lone surrogate at character 1"),
    ("one in a reference", ["a"], [["a", "\udfff"]], {}, DataError, "references", r"references\[0\]\[1\] holds a lone"),
    ("an unknown metric", ["a"], ["a"], {"metrics": ("bleux",)}, OptionError, "metrics", "Did you mean 'bleu'"),
    ("no metric", ["a"], ["a"], {"metrics": ()}, OptionError, "metrics", "at least 1 item"),
    ("a word for metrics", ["a"], ["a"], {"metrics": "bleu"}, OptionError, "metrics", "valid tuple"),
    ("an unknown tokenizer", ["a"], ["a"], {"bleu_tokenizer": "flores"}, OptionError, "bleu_tokenizer", "13a"),
    ("a negative bootstrap", ["a"], ["a"], {"bootstrap": -1}, OptionError, "bootstrap", "greater than or equal to 0"),
    (
        "an n-gram of no words",
        ["a"],
        None,
        {"metrics": ("distinct",), "distinct_sizes": (0,)},
        OptionError,
        "distinct_sizes",
        "greater than or equal to 1",
    ),
    ("too few words", ["a b"], None, {"metrics": ("repetition",)}, DataError, "samples", "4 words or more"),
    ("one text for self-BLEU", ["a b"], None, {"metrics": ("self_bleu",)}, DataError, "samples", "at least two"),
    (
        "no training text",
        ["a"],
        None,
        {"metrics": ("novelty",)},
        OptionError,
        "training",
        "novelty needs the option training",
    ),
    (
        "no encoder",
        ["a"],
        ["a"],
        {"metrics": ("mauve",)},
        OptionError,
        "encoder",
        "bertscore and mauve needs? the option",
    ),
]


@pytest.mark.parametrize(
    ("what", "samples", "references", "options", "error", "field", "message"),
    BAD,
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_it_is_refused(
    what: str, samples: Any, references: Any, options: dict[str, Any], error: type[InputError], field: str, message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        JUDGE.evaluate(samples, references, **options)
    assert caught.value.field == field


@pytest.mark.skipif(importlib.util.find_spec("MeCab") is not None, reason="the Japanese tokenizer is installed")
def test_a_tokenizer_that_is_not_installed_says_how_to_install_it() -> None:
    with pytest.raises(MissingDependency, match=r'pip install "aigc-sdk-metrics\[japanese\]"'):
        JUDGE.evaluate(["a"], ["a"], bleu_tokenizer="ja-mecab")


def test_a_text_for_a_list_of_references_is_refused() -> None:
    with pytest.raises(DataError, match="references is one text"):
        TextBatch(["a"], "a")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError):
        TextMetrics.open(device="no-such-device")


def test_a_judge_with_a_model_of_its_own_is_not_saved(tmp_path: Any) -> None:
    with pytest.raises(NotOffered, match="its own scorer cannot be saved"):
        TextMetrics(scorer=object()).save(tmp_path / "judge")


def test_artifacts_strings_and_lists_of_either_are_references() -> None:
    given = [Text("a b c d"), ["a b c d", Text("e")], ("a b c d",)]
    assert JUDGE.evaluate([Text("a b c d"), "a b c d", "a b c d"], given)["bleu"].value == pytest.approx(100)


def test_one_sample_has_scores_without_intervals() -> None:
    report = JUDGE.evaluate(["the cat"], ["the cat sat"])
    assert all(score.interval is None and "bootstrap" not in score.protocol for score in report.scores.values())


def test_asking_twice_for_a_metric_gives_it_once() -> None:
    assert TextOptions(metrics=("bleu", "rouge", "bleu")).metrics == ("bleu", "rouge")

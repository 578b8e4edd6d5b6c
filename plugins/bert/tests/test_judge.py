"""The judge: what it says does not depend on the batch, is calibrated, and its report holds figures with intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk.artifacts import Text
from aigc_sdk_bert import scoring
from aigc_sdk_bert.encode import encode
from aigc_sdk_bert.judge import Judge, quantised, run

LEARNS: dict[str, Any] = {"batch_size": 16, "learning_rate": 5e-3, "warmup_steps": 10, "precision": "float32"}


@pytest.fixture(scope="module")
def judge(small: Any) -> Judge:
    trainer = small.new(width=32, dropout=0.0)
    return trainer.fit(small.sentences(150), max_steps=60, validation=small.sentences(60, 1), **LEARNS)  # type: ignore[no-any-return]


def test_a_text_gets_the_same_alone_and_in_any_batch(judge: Judge, small: Any) -> None:
    texts = small.texts(40, 5)
    together = judge.predict(texts)
    assert np.allclose(together, np.concatenate([judge.predict([text]) for text in texts]), atol=1e-5)
    assert np.allclose(together[::-1], judge.predict(texts[::-1]), atol=1e-5)


def test_a_report_holds_figures_with_intervals_and_rows_with_probabilities(judge: Judge, small: Any) -> None:
    pairs = small.sentences(60, 2)
    pairs[0] = (pairs[0][0], "number")  # one that the judge gets wrong
    report = judge.evaluate([Text(text) for text, _ in pairs], [label for _, label in pairs])
    json.dumps(report.to_dict(), allow_nan=False)
    assert report["accuracy"].value == pytest.approx(59 / 60)
    assert {"macro_f1", "micro_f1", "log_loss", "calibration_error", "f1[animal]"} <= set(report.scores)
    low, high = report["accuracy"].interval or (0, 0)
    assert low <= report["accuracy"].value <= high
    assert report.rows[0]["label"] == "animal"
    assert report.rows[0]["expected"] == "number"
    assert sum(report.rows[0]["probabilities"].values()) == pytest.approx(1)
    matrix = judge.confusion(report)
    assert matrix.sum() == 60
    assert matrix[judge.labels.index("number"), judge.labels.index("animal")] == 1


def test_probabilities_are_calibrated_on_the_validation_set(small: Any) -> None:
    """Many of the labels are wrong: a judge that learns the rest by heart is too sure, until it is calibrated."""
    noisy = [(text, "number" if index % 7 < 2 else label) for index, (text, label) in enumerate(small.sentences(150))]
    checks = [
        (text, "number" if index % 7 < 2 else label) for index, (text, label) in enumerate(small.sentences(90, 1))
    ]
    judge = small.new(width=32, dropout=0.0).fit(noisy, max_steps=250, validation=checks, **LEARNS)
    assert judge.temperature > 1
    calibrated = judge.evaluate(*zip(*checks, strict=True))["calibration_error"].value
    temperature, judge.temperature = judge.temperature, 1.0
    assert calibrated < judge.evaluate(*zip(*checks, strict=True))["calibration_error"].value
    rows = encode(judge.tokenizer, [text for text, _ in checks], [None] * len(checks), judge.context)
    truths = np.array([judge.labels.index(label) for _, label in checks])
    assert scoring.fit_temperature(np.stack(run(judge.network, rows)), truths) == pytest.approx(temperature, rel=1e-3)


def test_every_task_has_its_own_figures(small: Any) -> None:
    multi = [(text, [label]) for text, label in small.sentences(24)]
    numbers = [(text, float(len(text))) for text in small.texts(24)]
    spans, questions = small.spans(24), small.questions(24)
    told = small.new(task="multi-label").fit(multi, max_steps=1, **LEARNS)
    assert "micro_f1" in told.evaluate(*zip(*multi, strict=True)).scores
    assert (
        "spearman"
        in small.new(task="regression").fit(numbers, max_steps=1, **LEARNS).evaluate(*zip(*numbers, strict=True)).scores
    )
    found = small.new(task="tokens").fit(spans, max_steps=1, **LEARNS)
    report = found.evaluate([each["text"] for each in spans], [each["spans"] for each in spans])
    assert "entity_f1" in report.scores
    assert report.rows[0]["expected"] == [
        {"label": x["label"], "start": x["start"], "end": x["end"]} for x in spans[0]["spans"]
    ]
    answers = small.new(task="questions").fit(questions, max_steps=1, **LEARNS)
    contexts = tuple(each["context"] for each in questions)
    asked = [each["question"] for each in questions]
    report = answers.evaluate(asked, [each["answers"] for each in questions], pairs=contexts)
    assert {"exact_match", "answer_f1"} <= set(report.scores)
    assert report.rows[0]["expected"] == questions[0]["answers"]
    assert "confidence" in answers.evaluate(asked, pairs=contexts).scores


def test_eight_bit_integers_give_the_same_labels(judge: Judge, small: Any) -> None:
    texts = small.texts(60, 6)
    exact, rounded = judge.predict(texts), judge.predict(texts, int8=True)
    assert (exact.argmax(1) == rounded.argmax(1)).mean() >= 0.99
    assert not np.array_equal(exact, rounded)
    linear = [each for each in quantised(judge.network).modules() if type(each) is torch.nn.Linear]
    assert not linear


def test_eight_bit_integers_follow_the_weights(small: Any) -> None:
    trainer = small.new(width=32)
    steps = trainer.steps(small.sentences(24), max_steps=2, **LEARNS)
    found = [trainer.model.predict(["the red on a hill"], int8=True) for _ in steps]
    assert not np.array_equal(found[0], found[1])


def test_texts_are_embedded_with_length_one(judge: Judge, small: Any) -> None:
    found = judge.embed(small.texts(5))
    assert found.shape == (5, 32)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_no_texts_are_judged_as_none(judge: Judge) -> None:
    assert judge.predict([]).shape == (0, 3)


def test_bfloat16_gives_nearly_the_same(judge: Judge, small: Any, tmp_path: Path) -> None:
    judge.save(tmp_path / "judge")
    rough = Judge.open(tmp_path / "judge", device="cpu", dtype="bfloat16")
    assert np.allclose(rough.predict(small.texts(9)), judge.predict(small.texts(9)), atol=0.05)
